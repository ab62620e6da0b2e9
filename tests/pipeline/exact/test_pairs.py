"""Pairs against a brute force, and against the paraphrase mining of sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import util

from shortlist.errors import UsageError
from shortlist.pipeline.exact.pairs import Pairs, best_pairs, pairs_above
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.exact.unit_rows import UnitRows


def all_pairs(corpus, mask=None):
    """Every pair of rows, best first, equal ones by their rows."""
    wide = corpus.astype(np.float64)
    scores = np.stack([(wide * row).sum(-1) for row in wide]).astype(np.float32)
    first, second = np.triu_indices(len(corpus), 1)
    if mask is not None:
        both = mask[first] & mask[second]
        first, second = first[both], second[both]
    values = scores[first, second]
    order = np.lexsort((second, first, -values))
    return Pairs(first[order], second[order], values[order])


def in_order(parts):
    empty = Pairs(np.empty(0, int), np.empty(0, int), np.empty(0, np.float32))
    first, second, scores = (np.concatenate(part) for part in zip(empty, *parts, strict=True))
    order = np.lexsort((second, first, -scores))
    return Pairs(first[order], second[order], scores[order])


def same(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(1, 90),
    dim=st.integers(1, 40),
    integers=st.booleans(),
    few=st.booleans(),
    hidden=st.booleans(),
    block=st.integers(1, 30),
    chunk=st.integers(1, 60),
    share=st.floats(0, 1),
    seed=st.integers(0, 9999),
)
def test_equal_a_brute_force(rows, dim, integers, few, hidden, block, chunk, share, seed):
    rng = np.random.default_rng(seed)
    # few bits: sums in float64 are exact, whatever the order of their terms
    corpus = (rng.normal(size=(rows, dim)) * 1024).round().astype(np.float32) / 1024
    if few:
        corpus = rng.integers(-1, 2, (rows, dim)).astype(np.float32)
    mask = rng.random(rows) < 0.6 if hidden else None
    expected = all_pairs(corpus, mask)
    engine = ExactSearch(corpus, integers=integers, zeros=True, chunk_rows=chunk)
    wanted = max(1, int(share * len(expected.first)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shortlist.pipeline.exact.pairs.QUERY_BLOCK", block)
        patch.setattr("shortlist.pipeline.exact.pairs.SAMPLE", 1 + seed % 7)
        same(best_pairs(engine, wanted, mask=mask), Pairs(*(part[:wanted] for part in expected)))
        if len(expected.first):
            threshold = float(expected.scores[wanted - 1])
            reach = expected.scores >= threshold
            found = in_order(pairs_above(engine, threshold, mask=mask))
            same(found, Pairs(*(part[reach] for part in expected)))


def test_the_pairs_that_paraphrase_mining_finds():
    rng = np.random.default_rng(0)
    corpus = rng.normal(size=(900, 64)).astype(np.float32)
    corpus[500:700] = corpus[:200] + 0.1 * rng.normal(size=(200, 64))
    engine = ExactSearch(UnitRows([corpus]))
    found = best_pairs(engine, 400)
    theirs = util.paraphrase_mining_embeddings(torch.from_numpy(corpus), top_k=900)[:400]
    np.testing.assert_allclose(found.scores, [pair[0] for pair in theirs], atol=1e-6)
    ours = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert ours == {(int(i), int(j)) for _, i, j in theirs}


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_pair_is_refused(count):
    with pytest.raises(UsageError, match=rf"must be at least 1 \(got {count}\)"):
        best_pairs(ExactSearch(np.ones((2, 2), np.float32)), count)


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match="must be a number, got nan"):
        list(pairs_above(ExactSearch(np.ones((2, 2), np.float32)), float("nan")))


def test_the_rows_that_were_compared_are_told():
    told = []
    list(pairs_above(ExactSearch(np.ones((600, 2), np.float32)), 9.0, on_rows=told.append))
    assert sum(told) == 600
