"""The cache of scores: never another answer, never more than it may hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist import RetrieveRerankPipeline
from shortlist.errors import UsageError
from shortlist.models.score_cache import CachedScores


class Lengths:
    """Scores a pair by its lengths, and counts what it was asked."""

    name = fingerprint = "lengths"

    def __init__(self):
        self.asked = []

    def score(self, pairs, on_batch=None):
        self.asked += pairs
        if on_batch:
            on_batch(len(pairs))
        return np.array([len(a) + 0.5 * len(b) for a, b in pairs], np.float32)


texts = st.text(alphabet="ab\ud800\0", max_size=3)
calls = st.lists(st.lists(st.tuples(texts, texts), max_size=12), max_size=12)


@settings(max_examples=200, deadline=None)
@given(calls=calls, most=st.integers(1, 6))
def test_scores_are_those_of_the_model(calls, most):
    cached, plain = CachedScores(Lengths(), most), Lengths()
    for pairs in calls:
        told = []
        np.testing.assert_array_equal(cached.score(pairs, told.append), plain.score(pairs))
        assert sum(told) == len(pairs)
        assert len(cached) <= most


def test_a_pair_that_was_asked_before_is_not_scored_again():
    model = Lengths()
    cached = CachedScores(model, 100)
    cached.score([("q", "a"), ("q", "b"), ("q", "a")])
    assert model.asked == [("q", "a"), ("q", "b")]
    cached.score([("q", "b"), ("q", "c"), ("qb", "")])
    assert model.asked[2:] == [("q", "c"), ("qb", "")]
    assert cached.scored == 4


def test_the_one_that_was_not_used_for_longest_goes_first():
    model = Lengths()
    cached = CachedScores(model, 2)
    for text in ("a", "b", "a", "c", "a", "b"):
        cached.score([("q", text)])
    assert [text for _, text in model.asked] == ["a", "b", "c", "b"]


def test_from_several_threads():
    cached = CachedScores(Lengths(), 5)
    pairs = [(str(n), "x" * n) for n in range(20)]
    expected = Lengths().score(pairs)
    with ThreadPoolExecutor(8) as pool:
        for scores in pool.map(lambda _: cached.score(pairs), range(50)):
            np.testing.assert_array_equal(scores, expected)


def test_a_cache_that_holds_nothing_is_refused():
    with pytest.raises(UsageError, match="at least 1 score"):
        CachedScores(Lengths(), 0)


def test_a_pipeline_with_a_cache_answers_as_without(notes_index, pipeline):
    cached = RetrieveRerankPipeline.open(notes_index, score_cache=1000)
    question = "how do plants make food?"
    first, again = cached.search(question), cached.search(question)
    assert first == again == pipeline.search(question)
    assert cached.cross_encoder.scored == len(cached.index)
