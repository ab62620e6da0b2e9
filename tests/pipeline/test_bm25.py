"""BM25 against the formula written out in numpy, with a stemmer of another library."""

from __future__ import annotations

import math
import re
from importlib import util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notes import NOTES
from snowballstemmer import stemmer

from shortlist import Passage
from shortlist.data.collections import read_table
from shortlist.data.ledger import Ledger
from shortlist.data.queries import read_queries
from shortlist.errors import DataError, MissingExtraError, UsageError
from shortlist.models.presets import Fusion
from shortlist.pipeline.bm25 import BM25Pipeline

# Lucene's EnglishAnalyzer.ENGLISH_STOP_WORDS_SET
STOP_WORDS = re.findall(
    r"\w+",
    """a an and are as at be but by for if in into is it no not of on or such that the their then
    there these they this to was will with""",
)
STEM = stemmer("english")


def words(text):
    kept = [w for w in re.findall(r"\b\w\w+\b", text.lower()) if w not in STOP_WORDS]
    return STEM.stemWords(kept)


class BruteForce:
    """Robertson's formula with the idf of Lucene, k1 = 1.5, b = 0.75, in float64."""

    def __init__(self, texts):
        self.passages = [words(text) for text in texts]
        self.lengths = np.array([len(p) for p in self.passages], dtype=np.float64)
        self.n = {}
        for passage in self.passages:
            for word in set(passage):
                self.n[word] = self.n.get(word, 0) + 1

    def scores(self, query):
        total = np.zeros(len(self.passages))
        relative = self.lengths / (self.lengths.mean() or 1)
        for word in words(query):
            n = self.n.get(word, 0)
            idf = math.log(1 + (len(self.passages) - n + 0.5) / (n + 0.5))
            f = np.array([passage.count(word) for passage in self.passages], dtype=np.float64)
            total += idf * f / (f + 1.5 * (1 - 0.75 + 0.75 * relative))
        return total


def agrees(pipeline, texts, brute, query):
    """All hits of a query, with the scores of the brute force, in the order of score and place."""
    expected = brute.scores(query)
    hits = pipeline.search(query, top_k=len(texts) + 5)
    assert {int(hit.id) for hit in hits} == set(np.flatnonzero(expected).tolist())
    for hit in hits:
        assert hit.score == pytest.approx(expected[int(hit.id)], rel=1e-5)
        assert hit.retrieval_score == hit.score
    order = [(-hit.score, int(hit.id)) for hit in hits]
    assert order == sorted(order)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    for k in (1, 2, 3):
        assert pipeline.search(query, top_k=k) == hits[:k]


VOCABULARY = ["red", "green", "greens", "Blue", "the", "of", "x", "naïve", "小", "42", "_", "…"]
TEXT = st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=9), query=TEXT.filter(lambda text: text.strip()))
def test_small_collections(texts, query):
    agrees(BM25Pipeline(texts), texts, BruteForce(texts), query)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=6), data=st.data())
def test_any_characters(texts, data):
    query = data.draw(st.one_of(st.sampled_from(texts), st.text())) or "x"
    hits = BM25Pipeline(texts).search(query if query.strip() else "x", top_k=9)
    assert all(hit.score > 0 for hit in hits)


def test_notes():
    brute, pipeline = BruteForce(NOTES), BM25Pipeline(NOTES)
    for query in [
        *NOTES,
        "How are plants making sugars?",
        "water water tea",
        "the ice of a glacier",
    ]:
        agrees(pipeline, NOTES, brute, query)


@pytest.mark.collections
def test_a_real_collection(shared_data):
    folder = shared_data / "cranfield"
    texts = [p.model_text for p in read_table(folder / "corpus.jsonl", Ledger())]
    queries = list(read_queries(folder / "queries.jsonl").values())[:25]
    brute, pipeline = BruteForce(texts), BM25Pipeline(texts)
    for query in queries:
        agrees(pipeline, texts, brute, query)


def test_equal_scores_go_to_the_earlier_passage():
    texts = ["other", *["same words here"] * 40, "other"]
    hits = BM25Pipeline(texts).search("words", top_k=7)
    assert [int(hit.id) for hit in hits] == list(range(1, 8))
    assert len({hit.score for hit in hits}) == 1


def test_a_hit_tells_everything_of_its_passage():
    passage = Passage(
        "p7", "Water boils.", title="Kettle", section="Use", document_id="d", metadata={"y": 1}
    )
    (hit,) = BM25Pipeline([Passage("p1", "Ice melts."), passage]).search("kettles")
    assert (hit.id, hit.title, hit.text, hit.section) == ("p7", "Kettle", "Water boils.", "Use")
    assert (hit.document, hit.metadata, hit.score_kind) == ("d", {"y": 1}, "bm25")
    assert (hit.retrieval_rank, hit.rerank_score) == (1, None)


@pytest.mark.parametrize("query", ["zebra", "the of and", "?", "x", "小"])
def test_an_answer_may_be_empty(query):
    assert BM25Pipeline(NOTES).search(query) == []


@pytest.mark.parametrize("texts", [[""], ["the", "of the", "?"], ["", ""]])
def test_passages_without_words(texts):
    assert BM25Pipeline(texts).search_many(["tea", "the"]) == [[], []]


def test_one_passage():
    (hit,) = BM25Pipeline(["a cup of tea"]).search("tea", top_k=3)
    # idf ln(1 + 0.5 / 1.5), and a passage as long as the mean
    assert hit.score == pytest.approx(math.log(4 / 3) / (1 + 1.5))


class LengthIsTheLogit:
    """A cross-encoder that likes long passages."""

    name = fingerprint = "length"

    def score(self, pairs, on_batch=None):
        return np.array([len(text) for _, text in pairs], dtype=np.float32)


TEXTS = ["tea", "tea and cake", "tea, milk and cake for two", "tea with milk", "ice"]


def test_the_second_stage_reorders_what_was_found():
    pipeline = BM25Pipeline(TEXTS, LengthIsTheLogit())
    first = [hit.text for hit in pipeline.search("tea", rerank=False)]
    assert first[0] == "tea"
    assert len(first) == 4
    hits = pipeline.search("tea", top_k=2)
    assert [hit.text for hit in hits] == sorted(first, key=len, reverse=True)[:2]
    assert {hit.score_kind for hit in hits} == {"logit"}
    assert [hit.retrieval_rank for hit in hits] == [first.index(hit.text) + 1 for hit in hits]
    shallow = pipeline.search("tea", top_k=4, depth=2)
    assert [hit.text for hit in shallow] == [*sorted(first[:2], key=len, reverse=True), *first[2:]]
    assert [hit.score_kind for hit in shallow] == ["logit", "logit", "bm25", "bm25"]
    assert pipeline.search("zebra") == []


def test_the_two_stages_can_be_fused():
    pipeline = BM25Pipeline(TEXTS, LengthIsTheLogit(), fusion=Fusion(logit=0.0, retrieval=2.0))
    hits = pipeline.search("tea")
    assert [hit.text for hit in hits] == [hit.text for hit in pipeline.search("tea", rerank=False)]
    assert [hit.score for hit in hits] == pytest.approx([2 * hit.retrieval_score for hit in hits])


def test_a_real_cross_encoder_behind_it(pipeline):
    hits = BM25Pipeline(NOTES, pipeline.cross_encoder).search("how do plants make food?")
    assert hits[0].text == NOTES[0]
    assert hits[0].rerank_score == pytest.approx(
        pipeline.cross_encoder.score([("how do plants make food?", NOTES[0])])[0], abs=1e-4
    )


@pytest.mark.parametrize(
    ("rerank", "stages"), [(None, ["retrieve", "rerank"]), (False, ["retrieve"])]
)
def test_each_stage_is_told_once(rerank, stages):
    told = []
    pipeline = BM25Pipeline(TEXTS, LengthIsTheLogit())
    pipeline.search_many(
        ["tea", "cake"], rerank=rerank, on_stage=lambda name, seconds: told.append((name, seconds))
    )
    assert [name for name, _ in told] == stages
    assert all(seconds >= 0 for _, seconds in told)


def test_wrong_use():
    pipeline = BM25Pipeline(NOTES)
    assert not pipeline.has_reranker
    with pytest.raises(UsageError, match="no cross-encoder"):
        pipeline.search("tea", rerank=True)
    with pytest.raises(UsageError, match="the query is empty"):
        pipeline.search(" ")
    with pytest.raises(UsageError, match="top_k must be at least 1"):
        pipeline.search("tea", top_k=0)
    with pytest.raises(DataError, match="no passages to search"):
        BM25Pipeline([])
    with pytest.raises(
        DataError, match="the id 'a' of passage number 2 is that of passage number 0"
    ):
        BM25Pipeline([Passage("a", "x"), Passage("b", "x"), Passage("a", "y")])


@pytest.mark.parametrize("missing", ["bm25s", "Stemmer"])
def test_a_missing_extra_names_the_command(monkeypatch, missing):
    found = util.find_spec
    monkeypatch.setattr(
        "shortlist.pipeline.engines.bm25.find_spec",
        lambda name: None if name == missing else found(name),
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'shortlist\[bm25\]'"):
        BM25Pipeline(NOTES)
