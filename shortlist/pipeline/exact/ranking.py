"""The best k of each query by their true scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.models.onnx import cores
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.exact.rows import Rows
from shortlist.pipeline.exact.workers import buffer, in_threads, parts

_IN_CACHE = 65_536  # values that one thread works on at a time
_IN_THREADS = 196_608  # and of several: each waits for the others whenever it calls numpy
_FEW = 2_048  # pairs that a second thread is not worth waking for
_ALIKE = 24  # pairs of one query, in the mean, that are worth a call of their own
_WIDEST = 16_384  # columns of a table that a query with many rows makes wide for all
_NOTHING = np.uint64(2**64 - 1)


def true_scores(
    queries: NDArray[np.float64],
    rows: Rows,
    query_numbers: Int64Array,
    numbers: Int64Array,
    at_once: int = _IN_CACHE,
) -> FloatArray:
    """Dot products summed in float64 and rounded to float32, `[m]`, of pairs `[m]`."""
    scores = np.empty(len(numbers), np.float32)
    dim = queries.shape[1]
    step = max(1, at_once // dim)
    for start in range(0, len(numbers), step):
        part = slice(start, min(start + step, len(numbers)))
        count = part.stop - start
        wide = buffer("wide", count * dim, np.float64).reshape(count, dim)
        rows.read(numbers[part], wide)
        asked = query_numbers[part]
        changes = np.flatnonzero(asked[1:] != asked[:-1]) + 1
        if len(changes) * _ALIKE < count:
            for of in map(slice, [0, *changes], [*changes, count]):
                scores[part][of] = np.vecdot(wide[of], queries[asked[of.start]])
        else:
            copies = buffer("asked", count * dim, np.float64).reshape(count, dim)
            # mode="clip" lets numpy write to `out` directly; no number is out of range
            np.take(queries, asked, axis=0, out=copies, mode="clip")
            scores[part] = np.vecdot(copies, wide)
    return scores


def scores_of(
    queries: NDArray[np.float64], rows: Rows, query_numbers: Int64Array, numbers: Int64Array
) -> FloatArray:
    """`true_scores` on every core."""
    scores = np.empty(len(numbers), np.float32)

    def score(part: slice) -> None:
        found = true_scores(queries, rows, query_numbers[part], numbers[part], at_once)
        scores[part] = found

    threads = cores() if len(numbers) > _FEW else 1
    at_once = _IN_THREADS if threads > 1 else _IN_CACHE
    in_threads(score, parts(len(numbers), threads))
    return scores


def products_of(queries: NDArray[Any], rows: Rows, numbers: Int64Array) -> NDArray[Any]:
    """Dot products with the rows of these numbers `[q, w]`, `[q, w]`, on every core.

    Args:
        queries: `[q, dim]`, in the dtype that is to be summed in: in float64 the products, rounded
            to float32, are the true scores.
        rows: all rows.
        numbers: of rows.
    """
    count, width = numbers.shape
    dim = queries.shape[1]
    products = np.empty((count, width), queries.dtype)

    def multiply(part: slice) -> None:
        some = numbers[part]
        taken = buffer("wide", some.size * dim, queries.dtype.type).reshape(*some.shape, dim)
        rows.read(some.reshape(-1), taken.reshape(-1, dim))
        np.vecdot(taken, queries[part, None], out=products[part])

    at_once = _IN_THREADS if numbers.size > _FEW and cores() > 1 else _IN_CACHE
    step = max(1, at_once // (dim * max(1, width)))
    in_threads(multiply, [slice(a, min(a + step, count)) for a in range(0, count, step)])
    return products


class Ranking:
    """The best `top_k` rows of each query, of those that were merged into it.

    A row is one integer: its score, so that larger ones come first, and its number below it.
    """

    def __init__(self, queries: int, top_k: int) -> None:
        self._keys = np.full((queries, top_k), _NOTHING)

    def merge(self, queries: Int64Array, numbers: Int64Array, scores: FloatArray) -> None:
        """Take account of further rows, all of `[m]`, none of which was there before.

        Args:
            queries: numbers of queries, rising.
            numbers: row numbers below 2**32.
            scores: true scores.
        """
        keys = _keys(scores, numbers)
        count = len(self._keys)
        places = places_in(queries, count)
        for start in range(0, int(places.max(initial=-1)) + 1, _WIDEST):
            some = (places >= start) & (places < start + _WIDEST)
            columns = places[some] - start
            table = np.full((count, columns.max(initial=0) + 1), _NOTHING)
            table[queries[some], columns] = keys[some]
            self._merge(table)

    def merge_table(self, numbers: Int64Array, scores: FloatArray) -> None:
        """Take account of further rows of every query, none of which was there before.

        Args:
            numbers: row numbers `[queries, w]` below 2**32; -1 where there is none.
            scores: true scores `[queries, w]`.
        """
        self._merge(np.where(numbers < 0, _NOTHING, _keys(scores, numbers)))

    def _merge(self, table: NDArray[np.uint64]) -> None:
        together = np.concatenate([self._keys, table], axis=1)
        together.sort(axis=1)
        self._keys = together[:, : self._keys.shape[1]]

    @property
    def scores(self) -> FloatArray:
        """float32 `[queries, top_k]`, falling; -inf where there is none."""
        scores = _unfalling(self._keys >> np.uint64(32))
        scores[self._keys == _NOTHING] = -np.inf
        return scores

    @property
    def kth_best(self) -> FloatArray:
        """The last column of `scores`."""
        scores = _unfalling(self._keys[:, -1] >> np.uint64(32))
        scores[self._keys[:, -1] == _NOTHING] = -np.inf
        return scores

    @property
    def numbers(self) -> Int64Array:
        """int64 `[queries, top_k]`; equal scores by number; -1 where there is none."""
        numbers = (self._keys & np.uint64(2**32 - 1)).astype(np.int64)
        numbers[self._keys == _NOTHING] = -1
        return numbers


def places_in(queries: Int64Array, count: int) -> Int64Array:
    """Of each of these rising numbers of queries, how many equal ones are before it."""
    starts = np.searchsorted(queries, np.arange(count))
    return np.arange(len(queries)) - starts[queries]


def near_best(queries: Int64Array, values: FloatArray, count: int, top_k: int) -> FloatArray:
    """A value of each query that at least `top_k` of its values reach, and not many more.

    Args:
        queries: numbers of queries, rising, `[m]`.
        values: `[m]`.
        count: how many queries there are.
        top_k: k.

    Returns:
        float32 `[count]`; -inf where there are not so many values.
    """
    places = places_in(queries, count)
    some = places < _WIDEST
    width = max(top_k, int(places[some].max(initial=-1)) + 1)
    table = np.full((count, width), -np.inf, np.float32)
    table[queries[some], places[some]] = values[some]
    limits: FloatArray = np.partition(table, width - top_k, axis=1)[:, width - top_k]
    return limits


def _keys(scores: FloatArray, numbers: Int64Array) -> NDArray[np.uint64]:
    return _falling(scores) << np.uint64(32) | numbers.astype(np.uint64)


def _falling(scores: FloatArray) -> NDArray[np.uint64]:
    """Integers below 2**32 whose order is that of the scores from the largest on."""
    bits = (scores + np.float32(0)).view(np.uint32)  # there is no -0
    negative = bits >> 31 == 1
    return np.where(negative, bits, ~(bits | np.uint32(1 << 31))).astype(np.uint64)


def _unfalling(integers: NDArray[np.uint64]) -> FloatArray:
    bits = integers.astype(np.uint32)
    negative = bits >> 31 == 1
    scores: FloatArray = np.where(negative, bits, ~bits & np.uint32(2**31 - 1)).view(np.float32)
    return scores
