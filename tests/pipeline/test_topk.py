"""`exact_top_k`; the search itself is tested in `exact/`."""

from __future__ import annotations

import numpy as np
import pytest

from shortlist.errors import DataError, UsageError
from shortlist.pipeline.topk import exact_top_k


def test_the_best_rows_of_several_arrays():
    corpus = [np.eye(3, dtype=np.float32), np.array([[0, 2, 0], [0, 1, 0]], np.float32)]
    scores, rows = exact_top_k(np.array([[0, 1, 0]], np.float32), corpus, 3)
    np.testing.assert_array_equal(rows, [[3, 1, 4]])
    np.testing.assert_array_equal(scores, [[2, 1, 1]])


def test_an_empty_corpus_gives_nothing():
    scores, rows = exact_top_k(np.ones((2, 3), np.float32), np.empty((0, 3), np.float32), 4)
    assert (rows == -1).all()
    assert np.isneginf(scores).all()


def test_no_queries_give_nothing():
    scores, rows = exact_top_k(np.empty((0, 3), np.float32), np.ones((2, 3), np.float32), 4)
    assert scores.shape == rows.shape == (0, 4)


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one_is_refused(top_k):
    with pytest.raises(UsageError, match=f"top_k must be at least 1 .got {top_k}"):
        exact_top_k(np.ones((1, 3), np.float32), np.ones((2, 3), np.float32), top_k)


def test_another_dimension_is_refused():
    with pytest.raises(DataError, match="queries have 3 dimensions"):
        exact_top_k(np.ones((1, 3), np.float32), np.ones((2, 4), np.float32), 1)
