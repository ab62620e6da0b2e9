"""The most similar pairs of one collection: near duplicates, questions asked twice.

Every pair is compared, through the same two passes as a search; nothing is left out. Memory holds
the pairs of a block of rows, or as many as are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from shortlist.errors import UsageError
from shortlist.pipeline.arrays import BoolArray, FloatArray, Int64Array
from shortlist.pipeline.exact.bounds import LARGEST_SCORE
from shortlist.pipeline.exact.search import QUERY_BLOCK, ExactSearch

SAMPLE = 2_048  # rows whose neighbours say what a score must reach to be among the best


class Pairs(NamedTuple):
    """Pairs of rows, all of `[m]`.

    Attributes:
        first: number of a row.
        second: number of a later row.
        scores: float32.
    """

    first: Int64Array
    second: Int64Array
    scores: FloatArray


def pairs_above(
    search: ExactSearch,
    threshold: float,
    *,
    mask: BoolArray | None = None,
    on_rows: Callable[[int], object] | None = None,
) -> Iterator[Pairs]:
    """All pairs with a score of at least `threshold`, a block at a time.

    Args:
        search: over the collection.
        threshold: of the score.
        mask: bool `[n]`, the rows that are compared; all by default.
        on_rows: told of so many rows more that are compared with all later ones.

    Yields:
        Pairs, in no order within a block of rows.

    Raises:
        UsageError: `threshold` is no number.
        DataError: as in `ExactSearch.search`.
    """
    if not abs(threshold) <= LARGEST_SCORE:
        raise UsageError(f"the threshold must be a number, got {threshold}")
    for numbers in _blocks_of_rows(search, mask):
        yield from _reaching(search, numbers, threshold, mask)
        if on_rows:
            on_rows(len(numbers))


def best_pairs(
    search: ExactSearch,
    count: int,
    *,
    mask: BoolArray | None = None,
    on_rows: Callable[[int], object] | None = None,
) -> Pairs:
    """The `count` pairs with the highest scores, best first; equal ones by their rows.

    Args:
        search: over the collection.
        count: how many, at least 1; fewer where there are fewer.
        mask: as in `pairs_above`.
        on_rows: as in `pairs_above`.

    Raises:
        UsageError: `count` below 1.
        DataError: as in `ExactSearch.search`.
    """
    if count < 1:
        raise UsageError(f"the number of pairs must be at least 1 (got {count})")
    best = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    floor = _reached_by(search, count, mask)
    for numbers in _blocks_of_rows(search, mask):
        waiting = [best]
        for pairs in _reaching(search, numbers, floor, mask):
            waiting.append(pairs)
            if sum(len(part.first) for part in waiting) > 2 * count + SAMPLE:
                waiting = [_best_of(waiting, count)]
        best = _best_of(waiting, count)
        if len(best.scores) == count:
            floor = max(floor, float(best.scores[-1]))
        if on_rows:
            on_rows(len(numbers))
    return best


def _reaching(
    search: ExactSearch, numbers: Int64Array, floor: float, mask: BoolArray | None
) -> Iterator[Pairs]:
    """Pairs of these rows with later ones whose score reaches a floor."""
    rows = search.rows.take(numbers)
    for of, second, scores in search.reaching(rows, floor, numbers, mask):
        yield Pairs(numbers[of], second, scores)


def _best_of(parts: list[Pairs], count: int) -> Pairs:
    first, second, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((second, first, -scores))[:count]
    return Pairs(first[order], second[order], scores[order])


def _reached_by(search: ExactSearch, count: int, mask: BoolArray | None) -> float:
    """A score that at least `count` pairs reach, from the neighbours of some rows."""
    rows = _rows(search, mask)
    sample = rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int)]
    if not len(sample):
        return -LARGEST_SCORE
    # a pair can be found from both of its rows, and a row finds itself
    neighbours = min(len(rows), 2 * -(-count // len(sample)) + 2)
    scores, found = search.search(search.rows.take(sample), neighbours, mask=mask)
    low, high = np.minimum(found, sample[:, None]), np.maximum(found, sample[:, None])
    real = (found >= 0) & (low != high)
    _, once = np.unique(low[real] * len(search) + high[real], return_index=True)
    reached = np.sort(scores[real][once])[::-1]
    return float(reached[count - 1]) if len(reached) >= count else -LARGEST_SCORE


def _blocks_of_rows(search: ExactSearch, mask: BoolArray | None) -> Iterator[Int64Array]:
    rows = _rows(search, mask)
    for start in range(0, len(rows), QUERY_BLOCK):
        yield rows[start : start + QUERY_BLOCK]


def _rows(search: ExactSearch, mask: BoolArray | None) -> Int64Array:
    return np.arange(len(search)) if mask is None else np.flatnonzero(mask)
