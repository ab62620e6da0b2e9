"""The drop-in against the function of sentence-transformers that it takes the place of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import util

import shortlist
from shortlist.errors import DataError, UsageError
from shortlist.pipeline import semantic_search as ours
from shortlist.pipeline.semantic_search import semantic_search


def embeddings(rows, dim=16, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def check(queries, corpus, tolerance=2e-6, **options):
    """The same scores; the same rows, but for those of nearly equal scores."""
    theirs = util.semantic_search(queries, corpus, **options)
    found = semantic_search(queries, corpus, **options)
    assert len(found) == len(theirs)
    for mine, expected in zip(found, theirs, strict=True):
        assert [set(hit) for hit in mine] == [{"corpus_id", "score"}] * len(expected)
        assert all(type(hit["corpus_id"]) is int for hit in mine)
        assert all(type(hit["score"]) is float for hit in mine)
        scores = np.array([hit["score"] for hit in expected])
        np.testing.assert_allclose([hit["score"] for hit in mine], scores, atol=tolerance)
        clear = np.abs(np.diff(scores, prepend=np.inf, append=-np.inf)) > 2 * tolerance
        for place in np.flatnonzero(clear[:-1] & clear[1:])[: len(scores) - 1]:
            assert mine[place]["corpus_id"] == expected[place]["corpus_id"]


def euclidean(a, b):
    return -torch.cdist(a, b)


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 60),
    count=st.integers(1, 5),
    top_k=st.integers(1, 70),
    chunks=st.tuples(st.integers(1, 4), st.integers(1, 40)),
    function=st.sampled_from(
        [util.cos_sim, util.dot_score, ours.cos_sim, ours.dot_score, euclidean, util.euclidean_sim]
    ),
    seed=st.integers(0, 999),
)
def test_every_option(rows, count, top_k, chunks, function, seed):
    check(
        torch.from_numpy(embeddings(count, seed=seed)),
        torch.from_numpy(embeddings(rows, seed=seed + 1)),
        query_chunk_size=chunks[0],
        corpus_chunk_size=chunks[1],
        top_k=top_k,
        score_function=function,
        tolerance=5e-6,
    )


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")  # of theirs
@pytest.mark.parametrize("function", [util.cos_sim, util.dot_score])
@pytest.mark.parametrize(
    "make",
    [
        torch.from_numpy,
        np.asarray,
        lambda array: array.tolist(),
        list,  # of arrays
        lambda array: list(torch.from_numpy(array)),
        lambda array: torch.from_numpy(array).double(),
        lambda array: array.astype(np.float64),
        lambda array: torch.from_numpy(array).to_sparse(),
        lambda array: torch.from_numpy(array).requires_grad_(),
        np.asfortranarray,
    ],
    ids=[
        "tensor",
        "array",
        "lists",
        "arrays",
        "tensors",
        "double",
        "float64",
        "sparse",
        "grad",
        "fortran",
    ],
)
def test_every_type(make, function):
    check(make(embeddings(3)), make(embeddings(40, seed=1)), score_function=function)


@pytest.mark.parametrize("function", [util.cos_sim, util.dot_score])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_are_computed_in_float32(dtype, function):
    queries, corpus = (
        torch.from_numpy(array).to(dtype) for array in (embeddings(3), embeddings(40, seed=1))
    )
    found = semantic_search(queries, corpus, score_function=function)
    expected = util.semantic_search(queries.float(), corpus.float(), score_function=function)
    for mine, theirs in zip(found, expected, strict=True):
        for hit, other in zip(mine, theirs, strict=True):
            assert hit["score"] == pytest.approx(other["score"], abs=2e-3)


def test_float16_queries_are_normalised_in_float32():
    queries = (embeddings(3, 64) * 1e-4).astype(np.float16)
    found = semantic_search(queries, queries.astype(np.float32), top_k=1)
    assert [hits[0]["score"] for hits in found] == pytest.approx([1, 1, 1], abs=1e-6)


def test_a_function_that_hides_rows():
    def hiding(a, b):
        scores = util.dot_score(a, b)
        scores[:, ::2] = -torch.inf
        return scores

    found = semantic_search(embeddings(2), embeddings(9, seed=1), top_k=4, score_function=hiding)
    assert all(hit["corpus_id"] % 2 for hits in found for hit in hits)


def test_one_row_without_a_dimension_for_it():
    check(embeddings(2), embeddings(1, seed=1)[0])


def test_one_query_without_a_dimension_for_it():
    check(torch.from_numpy(embeddings(1)[0]), torch.from_numpy(embeddings(9, seed=1)))
    check(embeddings(1)[0].tolist(), embeddings(9, seed=1))


def test_a_query_that_was_computed_elsewhere_and_zeros():
    corpus = embeddings(30, seed=1)
    corpus[4] = 0
    check(torch.from_numpy(embeddings(2)), torch.from_numpy(corpus), top_k=30)
    check(np.zeros((1, 16), np.float32), corpus[:1], top_k=5)


def test_embeddings_of_different_lengths():
    corpus = embeddings(300, seed=1) * 10.0 ** np.random.default_rng(2).integers(-6, 6, (300, 1))
    check(embeddings(4), corpus.astype(np.float32), top_k=50)


def test_real_embeddings(sample_texts):
    from shortlist import BiEncoder

    model = BiEncoder.load("all-MiniLM-L6-v2")
    vectors = model.encode_passages(sample_texts)
    for function in (util.cos_sim, util.dot_score):
        check(vectors[:40], vectors, top_k=len(vectors), score_function=function)


@pytest.fixture(scope="module")
def sample_texts():
    from shortlist.data.queries import read_queries

    folder = Path(shortlist.__file__).parent / "data" / "sample"
    return list(read_queries(folder / "queries.jsonl").values())[:200]


def test_a_corpus_that_is_mapped_and_may_not_be_written(tmp_path):
    np.save(tmp_path / "corpus.npy", embeddings(50))
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    found = semantic_search(embeddings(2, seed=1), mapped)
    assert found == semantic_search(embeddings(2, seed=1), embeddings(50))


@pytest.mark.parametrize("count", [0, 2])
def test_nothing_to_find(count):
    queries = np.empty((count, 3), np.float32) + 1
    assert semantic_search(queries, np.empty((0, 3), np.float32)) == [[]] * count
    assert semantic_search([], embeddings(4)) == []


@pytest.mark.parametrize("name", ["top_k", "query_chunk_size", "corpus_chunk_size"])
@pytest.mark.parametrize("value", [0, -3])
def test_numbers_below_one_are_refused(name, value):
    with pytest.raises(UsageError, match=rf"{name} must be at least 1 \(got {value}\)"):
        semantic_search(embeddings(1), embeddings(2), **{name: value})


@pytest.mark.parametrize("function", [util.cos_sim, util.dot_score, euclidean])
@pytest.mark.parametrize("where", ["queries", "corpus"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused_with_the_row(where, value, function):
    arrays = {"queries": embeddings(3), "corpus": embeddings(8)}
    arrays[where][2, 1] = value
    with pytest.raises(DataError, match=f"{where}: row 2 has NaN or infinite"):
        semantic_search(arrays["queries"], arrays["corpus"], score_function=function)


@pytest.mark.parametrize(
    ("queries", "corpus", "message"),
    [
        (embeddings(1, 3), embeddings(2, 4), "queries have 3 dimensions, the corpus has 4"),
        (embeddings(1), embeddings(2)[None], r"corpus: expected numbers \[n, dim\]"),
        (embeddings(1), [[1.0], [2.0, 3.0]], r"corpus: expected numbers \[n, dim\]"),
        (np.ones((1, 2), complex), embeddings(2, 2), "queries: expected an array of numbers"),
        (np.array([["a"]]), embeddings(2), "queries: expected an array of numbers"),
    ],
)
def test_what_are_no_embeddings_is_refused(queries, corpus, message):
    with pytest.raises(DataError, match=message):
        semantic_search(queries, corpus)


@pytest.mark.parametrize("name", ["cos_sim", "dot_score"])
@pytest.mark.parametrize("make", [torch.from_numpy, np.asarray, lambda array: array.tolist()])
def test_scores_of_all_pairs(name, make):
    a, b = make(embeddings(3)), make(embeddings(4, seed=1))
    mine, theirs = getattr(ours, name)(a, b), getattr(util, name)(a, b)
    assert mine.dtype == theirs.dtype
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(getattr(ours, name)(a[0], b), getattr(util, name)(a[0], b))


def test_normalised_embeddings():
    tensor = torch.from_numpy(embeddings(3))
    torch.testing.assert_close(ours.normalize_embeddings(tensor), util.normalize_embeddings(tensor))
    assert torch.equal(ours.similarity(tensor, tensor), ours.cos_sim(tensor, tensor))
