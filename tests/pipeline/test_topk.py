"""Exact top-k against a brute force in float64, whatever the shapes and the chunking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.errors import DataError, UsageError
from shortlist.pipeline.topk import exact_top_k


def brute_force(queries, corpus, top_k):
    """Every dot product summed in float64 and rounded; equal scores by row."""
    products = (queries[:, None, :].astype(np.float64) * corpus[None].astype(np.float64)).sum(-1)
    scores = products.astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(scores, order, axis=1), order


@st.composite
def searches(draw):
    rows, dim = draw(st.integers(1, 70)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["normal", "few values", "duplicates", "near ties", "huge"]))
    corpus = rng.normal(size=(rows, dim))
    if kind == "few values":
        corpus = rng.integers(-1, 2, (rows, dim)).astype(float)
    elif kind == "duplicates":
        corpus = corpus[rng.integers(0, max(1, rows // 3), rows)]
    elif kind == "near ties":
        corpus = corpus[:1] + rng.normal(size=(rows, dim)) * 1e-7
    elif kind == "huge":
        corpus *= 10.0 ** rng.integers(-12, 12, (rows, 1))
    queries = rng.normal(size=(draw(st.integers(1, 6)), dim)) * draw(
        st.sampled_from([1e-6, 1, 1e6])
    )
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=3)))
    segments = np.split(corpus.astype(np.float32), cuts)
    return {
        "queries": queries.astype(np.float32),
        "segments": segments,
        "top_k": draw(st.integers(1, rows + 3)),
        "chunk_rows": draw(st.integers(1, rows + 1)),
        "query_block": draw(st.integers(1, 7)),
    }


@pytest.mark.parametrize("device", ["cpu", "cpu:0"], ids=["numpy", "torch"])
@settings(max_examples=150, deadline=None)
@given(search=searches())
def test_equals_brute_force(device, search):
    corpus = np.concatenate(search["segments"])
    scores, rows = exact_top_k(
        search["queries"],
        search["segments"],
        search["top_k"],
        device=device,
        chunk_rows=search["chunk_rows"],
        query_block=search["query_block"],
    )
    expected_scores, expected_rows = brute_force(search["queries"], corpus, search["top_k"])
    there = min(search["top_k"], len(corpus))
    np.testing.assert_array_equal(rows[:, :there], expected_rows)
    np.testing.assert_array_equal(scores[:, :there], expected_scores)
    assert (rows[:, there:] == -1).all()
    assert np.isneginf(scores[:, there:]).all()


def test_a_query_has_the_same_answer_alone_in_a_batch_and_as_the_head_of_a_larger_k():
    rng = np.random.default_rng(3)
    corpus = rng.normal(size=(5000, 64)).astype(np.float32)
    queries = rng.normal(size=(40, 64)).astype(np.float32)
    scores, rows = exact_top_k(queries, corpus, 100)
    for number in range(0, 40, 13):
        alone_scores, alone_rows = exact_top_k(queries[number : number + 1], corpus, 10)
        np.testing.assert_array_equal(alone_rows[0], rows[number, :10])
        np.testing.assert_array_equal(alone_scores[0], scores[number, :10])


def test_without_the_rounding_bound_near_ties_would_be_lost(monkeypatch):
    """The property above must be able to fail: with the bound removed, it does."""
    rng = np.random.default_rng(0)
    wrong = 0
    monkeypatch.setattr("shortlist.pipeline.topk.UNIT_ROUNDOFF", 0.0)
    for _ in range(60):
        base = rng.normal(size=(1, 384))
        corpus = (base + rng.normal(size=(200, 384)) * 1e-7).astype(np.float32)
        queries = rng.normal(size=(3, 384)).astype(np.float32)
        _, rows = exact_top_k(queries, corpus, 5, chunk_rows=64)
        wrong += not np.array_equal(rows, brute_force(queries, corpus, 5)[1])
    assert wrong > 0


def test_an_empty_corpus_gives_nothing():
    scores, rows = exact_top_k(np.ones((2, 3), np.float32), np.empty((0, 3), np.float32), 4)
    assert (rows == -1).all()
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one_is_refused(top_k):
    with pytest.raises(UsageError, match=f"top_k must be at least 1 .got {top_k}"):
        exact_top_k(np.ones((1, 3), np.float32), np.ones((2, 3), np.float32), top_k)


def test_another_dimension_is_refused():
    with pytest.raises(DataError, match="queries have 3 dimensions"):
        exact_top_k(np.ones((1, 3), np.float32), np.ones((2, 4), np.float32), 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["queries", "corpus"])
def test_values_that_are_no_numbers_are_refused_with_the_row(value, where):
    arrays = {"queries": np.ones((3, 4), np.float32), "corpus": np.ones((5, 4), np.float32)}
    arrays[where][2, 1] = value
    with pytest.raises(DataError, match="row 2 has NaN or infinite values"):
        exact_top_k(arrays["queries"], arrays["corpus"], 2)


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    rng = np.random.default_rng(5)
    corpus = rng.normal(size=(50_000, 384)).astype(np.float32)
    corpus[1000:1100] = corpus[0]
    queries = rng.normal(size=(70, 384)).astype(np.float32)
    on_gpu = exact_top_k(queries, corpus, 50, device="cuda")
    on_cpu = exact_top_k(queries, corpus, 50)
    np.testing.assert_array_equal(on_gpu[1], on_cpu[1])
    np.testing.assert_array_equal(on_gpu[0], on_cpu[0])
