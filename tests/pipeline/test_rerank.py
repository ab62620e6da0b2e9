"""The order that two stages make, with a cross-encoder whose logits are written in the texts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shortlist import Passage
from shortlist.models.presets import Fusion
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.rerank import QUERIES_AT_ONCE, reranked


class WrittenLogits:
    """Scores a passage by the number that is its text."""

    def __init__(self):
        self.calls = []

    def score(self, pairs, on_batch=None):
        self.calls.append(len(pairs))
        return np.array([float(text) for _, text in pairs], dtype=np.float32)


def candidates(logits, query="q"):
    cosines = np.linspace(0.9, 0.1, len(logits), dtype=np.float32)
    passages = [Passage(f"p{n}", str(logit)) for n, logit in enumerate(logits)]
    return Candidates(query, passages, cosines)


def order(hits):
    return [int(hit.id[1:]) for hit in hits]


def test_by_the_logit_alone_and_ties_by_retrieval_rank():
    (hits,) = reranked(
        WrittenLogits(), Fusion(), [candidates([1, 3, 2, 3, 9])], depth=4, metric="cosine"
    )
    assert order(hits) == [1, 3, 2, 0, 4]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert [hit.retrieval_rank for hit in hits] == [2, 4, 3, 1, 5]
    assert [hit.score_kind for hit in hits] == ["logit"] * 4 + ["cosine"]
    assert hits[4].rerank_score is None


def test_by_the_weighted_sum():
    fusion = Fusion(logit=1.0, retrieval=10.0, log_rank=-2.0)
    logits = [0.0, 4.0, 1.0, 12.0]
    (hits,) = reranked(WrittenLogits(), fusion, [candidates(logits)], depth=4, metric="cosine")
    cosines = np.linspace(0.9, 0.1, 4, dtype=np.float32)
    expected = [
        logit + 10.0 * float(cosine) - 2.0 * math.log(rank)
        for rank, (logit, cosine) in enumerate(zip(logits, cosines, strict=True), 1)
    ]
    assert order(hits) == np.argsort([-score for score in expected]).tolist()
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected, reverse=True))
    assert {hit.score_kind for hit in hits} == {"fused"}


def test_many_queries_keep_their_own_answers():
    count = QUERIES_AT_ONCE + 3
    model = WrittenLogits()
    answers = reranked(
        model,
        Fusion(),
        [candidates(np.roll([1, 2, 3], n).tolist(), f"q{n}") for n in range(count)],
        depth=2,
        metric="cosine",
    )
    assert model.calls == [2 * QUERIES_AT_ONCE, 6]
    for n, hits in enumerate(answers):
        logits = np.roll([1, 2, 3], n)
        assert order(hits) == [*np.argsort(-logits[:2], kind="stable").tolist(), 2]


def test_no_queries():
    assert reranked(WrittenLogits(), Fusion(), [], depth=3, metric="cosine") == []
