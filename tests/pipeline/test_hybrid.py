"""BM25 over an index, and fused with meaning: what the definitions say, whatever changes."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from notes import NOTES

from shortlist import RetrieveRerankPipeline
from shortlist.errors import UsageError
from shortlist.models.encoders import FunctionEncoder
from shortlist.records import Passage

QUESTIONS = ["dried leaves", "ships and lamps", "germ", "ice under weight", "dancing bees"]
MOST = 100  # of each part count


def vectors(texts):
    """Made of letters: another order than that by words."""
    rows = [[text.lower().count(letter) + 0.1 for letter in "aeioustrn"] for text in texts]
    return np.array(rows, dtype=np.float64)


@pytest.fixture(scope="module")
def encoder():
    return FunctionEncoder(vectors, name="letters")


@pytest.fixture
def path(encoder, tmp_path):
    words = sorted({word for note in NOTES for word in re.findall(r"\w+", note)})
    rng = np.random.default_rng(5)
    texts = NOTES + [" ".join(rng.choice(words, 8)) for _ in range(292)]
    passages = [Passage(f"p{n}", text, metadata={"third": n % 3}) for n, text in enumerate(texts)]
    path = tmp_path / "x.idx"
    RetrieveRerankPipeline.build(passages, path, bi_encoder=encoder, cross_encoder="none")
    return path


def opened(path, encoder, engine, **options):
    return RetrieveRerankPipeline.open(
        path, bi_encoder=encoder, cross_encoder="none", engine=engine, **options
    )


def scores(pipeline, question, **options):
    hits = pipeline.search(question, **{"top_k": MOST, **options})
    return {hit.id: hit.score for hit in hits}


def scaled(found):
    """From 0 to 1."""
    low, high = min(found.values()), max(found.values())
    return {name: (score - low) / (high - low) for name, score in found.items()}


def by_hand(parts, rule):
    """Fused scores by the definitions, in plain Python."""
    fused: dict[str, float] = {}
    for found in parts:
        if rule == "rrf":
            order = sorted(found, key=lambda name: -found[name])
            values = {name: 1 / (60 + rank) for rank, name in enumerate(order, 1)}
        else:
            values = scaled(found)
        for name, value in values.items():
            fused[name] = fused.get(name, 0.0) + value
    return fused


@pytest.mark.parametrize("rule", ["rrf", "weighted"])
@pytest.mark.parametrize("where", [None, "third == 1"])
def test_two_engines_are_fused_by_the_definition(path, encoder, rule, where):
    meaning, words = opened(path, encoder, "exact"), opened(path, encoder, "bm25")
    both = opened(path, encoder, "exact+bm25", fuse=rule)
    for question in QUESTIONS:
        parts = [scores(one, question, where=where) for one in (meaning, words)]
        expected = by_hand(parts, rule)
        hits = both.search(question, top_k=20, where=where)
        assert {hit.score_kind for hit in hits} == {rule}
        best = sorted(expected.values(), reverse=True)[:20]
        assert [hit.score for hit in hits] == pytest.approx(best, abs=1e-6)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(
            {hit.id: expected[hit.id] for hit in hits}, abs=1e-6
        )
        if where:
            assert all(hit.metadata["third"] == 1 for hit in hits)
        few = both.search(question, top_k=3, where=where)
        assert [hit.id for hit in few] == [hit.id for hit in hits[:3]]


def test_words_follow_what_is_changed(path, encoder):
    """As over an index that was made of what is there now."""
    words = opened(path, encoder, "bm25")
    assert {"p0", "p2"} <= scores(words, "photosynthesis glacier").keys()
    words.add([Passage("new", "A zymurgist ferments beer.", metadata={"third": 0})])
    words.delete(["p0", "p2"])
    assert [hit.id for hit in words.search("zymurgist", top_k=5)] == ["new"]
    assert not {"p0", "p2"} & scores(words, "photosynthesis glacier").keys()
    left = list(words.index.all_passages())
    anew = path.with_name("anew.idx")
    RetrieveRerankPipeline.build(left, anew, bi_encoder=encoder, cross_encoder="none")
    other = opened(anew, encoder, "bm25")
    for question in QUESTIONS:
        assert scores(words, question) == pytest.approx(scores(other, question), rel=1e-5)
    reopened = opened(path, encoder, "bm25")
    assert scores(reopened, "zymurgist") == scores(words, "zymurgist")


def test_words_that_nothing_has(path, encoder):
    assert opened(path, encoder, "bm25").search("xyzzy") == []
    found = opened(path, encoder, "exact+bm25").search("xyzzy", top_k=5)
    meant = opened(path, encoder, "exact").search("xyzzy", top_k=5)
    assert [hit.id for hit in found] == [hit.id for hit in meant]


def test_a_damaged_word_index_is_made_anew(path, encoder, caplog):
    before = scores(opened(path, encoder, "bm25"), "dried leaves")
    files = [file for file in (path / "engines").rglob("*") if file.suffix == ".npy"]
    largest = max(files, key=lambda file: file.stat().st_size)
    raw = bytearray(largest.read_bytes())
    raw[-1] ^= 255
    largest.unlink()
    largest.write_bytes(raw)
    assert scores(opened(path, encoder, "bm25"), "dried leaves") == before
    assert "it is built again" in caplog.text


def test_a_second_stage_over_both(path, encoder):
    """Every candidate has its true similarity, which the fusion of both stages counts with."""
    both = RetrieveRerankPipeline.open(
        path, bi_encoder=encoder, cross_encoder="shortlist-cross-encoder-v2", engine="exact+bm25"
    )
    hits = both.search("how is tea made from dried leaves", top_k=3)
    assert hits[0].id == "p1"
    assert all(math.isfinite(hit.rerank_score) for hit in hits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "bm25+bm25"}, "fuses an engine with itself"),
        ({"engine": "exact+bm25", "fuse": "weighted:1"}, "weights"),
        ({"engine": "exact+bm25", "fuse": "weighted:1,-1"}, "weights"),
        ({"engine": "exact+bm25", "fuse": "best"}, "no fusion is named 'best'"),
    ],
)
def test_what_makes_no_sense_is_refused(path, encoder, options, message):
    with pytest.raises(UsageError, match=message):
        opened(path, encoder, **options)
