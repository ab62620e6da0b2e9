"""A pipeline's searches as its index changes: int8 copies, additions and deletions."""

from __future__ import annotations

import hashlib

import numpy as np

from shortlist import RetrieveRerankPipeline
from shortlist.models.encoders import FunctionEncoder
from shortlist.records import Passage

DIM = 64


def vectors(texts):
    """A random vector for each text, the same at every call."""
    seeds = (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts)
    return np.stack([np.random.default_rng(seed).normal(size=DIM) for seed in seeds])


def texts(start, stop):
    return [f"text number {number}" for number in range(start, stop)]


def check(pipeline, rows, questions):
    """The hits of every question are those of a brute force over what is in the index."""
    found = pipeline.search_many(questions, top_k=4, rerank=False)
    wide = {text: pipeline.bi_encoder.encode_passages([text])[0].astype(float) for text in rows}
    matrix = np.stack(list(wide.values()))
    for question, hits in list(zip(questions, found, strict=True))[:: len(questions) // 8]:
        query = pipeline.bi_encoder.encode_queries([question])[0].astype(float)
        scores = (matrix * query).sum(-1).astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:4]
        assert [hit.text for hit in hits] == [rows[row] for row in order]
        assert [hit.score for hit in hits] == scores[order].tolist()


def test_an_index_that_is_asked_a_lot_and_changes(tmp_path):
    rows = texts(0, 17_000)
    pipeline = RetrieveRerankPipeline.build(
        [Passage(text, text) for text in rows],
        tmp_path / "x.idx",
        bi_encoder=FunctionEncoder(vectors),
        cross_encoder="none",
    )
    questions = [f"question {number}" for number in range(300)]
    check(pipeline, rows, questions)
    first = pipeline._search_over(pipeline.index)
    assert first.is_rounded

    more = texts(17_000, 17_100)
    pipeline.add(Passage(text, text) for text in more)
    later = pipeline._search_over(pipeline.index)
    assert later is not first
    gone = {rows[5], rows[16_999], more[3]}
    pipeline.delete(gone)
    check(pipeline, [text for text in [*rows, *more] if text not in gone], questions)
    assert pipeline._search_over(pipeline.index).is_rounded
    pipeline.compact()
    check(pipeline, [text for text in [*rows, *more] if text not in gone], questions[:8])
