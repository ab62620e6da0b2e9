"""The order of what an engine found is that of the true scores, however near they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.pipeline.engines import faiss
from shortlist.pipeline.engines.rescoring import best_of
from shortlist.pipeline.exact.ranking import products_of
from shortlist.pipeline.exact.rows import Rows

DIM = 48


def crowded(seed: int, rows: int, near: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """Unit vectors, many of them equal or as near to each other as float32 can tell."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, rows // 8), DIM))
    corpus = centres[rng.integers(len(centres), size=rows)]
    corpus += rng.normal(size=corpus.shape) * near * rng.integers(2, size=(rows, 1))
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    queries = rng.normal(size=(5, DIM))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    cuts = sorted(rng.integers(rows + 1, size=2))
    return queries.astype(np.float32), np.split(corpus.astype(np.float32), cuts)


def expected(queries, corpus, found, top_k):
    """By numpy alone: sums in float64, rounded; the best first, equal ones by number."""
    best = []
    for query, numbers in zip(queries.astype(np.float64), found, strict=True):
        there = np.sort(numbers[numbers >= 0])
        scores = (corpus[there].astype(np.float64) * query).sum(axis=1).astype(np.float32)
        order = np.argsort(-scores, kind="stable")[:top_k]
        best.append((there[order], scores[order]))
    return best


@pytest.mark.parametrize("multiply", [products_of, faiss.FAISS_IVFPQ.multiply])
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 120),
    width=st.integers(1, 90),
    top_k=st.integers(1, 30),
    near=st.sampled_from([0.0, 1e-8, 1e-6, 1e-4, 1e-2]),
    says=st.booleans(),
)
def test_it_is_the_order_of_the_true_scores(multiply, seed, rows, width, top_k, near, says):
    queries, segments = crowded(seed, rows, near)
    corpus = np.concatenate(segments)
    rng = np.random.default_rng(seed)
    width = min(width, rows)
    found = np.stack([rng.permutation(rows)[:width] for _ in queries])
    found[rng.random(found.shape) < 0.1] = -1
    products = None
    if says:  # in an order of summing of its own, as those of an engine
        products = np.einsum("qd,qwd->qw", queries, corpus[found])
    best = best_of(queries, Rows(segments), found, products, top_k, 1.0, multiply)
    for place, (numbers, scores) in enumerate(expected(queries, corpus, found, top_k)):
        assert best.numbers[place, : len(numbers)].tolist() == numbers.tolist()
        assert (best.numbers[place, len(numbers) :] == -1).all()
        np.testing.assert_allclose(best.scores[place, : len(scores)], scores, rtol=0, atol=3e-7)
        assert (best.scores[place, len(scores) :] == -np.inf).all()
        assert (np.diff(best.scores[place, : len(scores)]) <= 0).all()


def test_scores_are_the_true_ones_where_nothing_else_is_said():
    queries, segments = crowded(1, 100, 1e-7)
    found = np.arange(40)[None].repeat(5, axis=0)
    best = best_of(queries, Rows(segments), found, None, 30, 1.0)
    for place, (numbers, scores) in enumerate(
        expected(queries, np.concatenate(segments), found, 30)
    ):
        assert best.numbers[place].tolist() == numbers.tolist()
        np.testing.assert_array_equal(best.scores[place], scores)
