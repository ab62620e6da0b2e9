"""The most similar pairs of an index's passages, by their cosines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from shortlist.errors import UsageError
from shortlist.pipeline.exact.pairs import Pairs, best_pairs, pairs_above
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.exact.unit_rows import UnitRows
from shortlist.pipeline.index import Index
from shortlist.pipeline.segments import arrow_rows

_AT_ONCE = 8_192  # pairs whose ids are looked up together


class ScoredPair(NamedTuple):
    """Two passages: their rows, their ids and the cosine of their embeddings."""

    first: int
    second: int
    first_id: str
    second_id: str
    score: float


def similar_pairs(
    index: Index,
    *,
    threshold: float | None = None,
    count: int | None = None,
    where: str | None = None,
    on_rows: Callable[[int], object] | None = None,
) -> Iterator[ScoredPair]:
    """All pairs of passages above a cosine, or the most similar ones.

    Args:
        index: an open index.
        threshold: all pairs of at least this cosine, in the order in which they are found.
        count: instead of it, how many of the most similar pairs, best first.
        where: only among passages that meet this; see `shortlist.pipeline.filters`.
        on_rows: told of so many passages more that are compared with all later ones.

    Raises:
        UsageError: not exactly one of `threshold` and `count`, or one out of range.
    """
    if (threshold is None) == (count is None):
        raise UsageError("give a threshold or a count of pairs")
    if threshold is not None and not -1 <= threshold <= 1:
        raise UsageError(f"a cosine is between -1 and 1, got a threshold of {threshold}")
    among = index.among(where)
    search = ExactSearch(UnitRows(index.embeddings))
    if threshold is not None:
        return _named(index, pairs_above(search, threshold, mask=among.mask, on_rows=on_rows))
    best = best_pairs(search, count or 0, mask=among.mask, on_rows=on_rows)
    return _named(index, [best])


def _named(index: Index, parts: Iterable[Pairs]) -> Iterator[ScoredPair]:
    ids = index.column("id")
    for pairs in parts:
        for start in range(0, len(pairs.first), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            first, second = pairs.first[part], pairs.second[part]
            names = (ids.take(arrow_rows(rows)).to_pylist() for rows in (first, second))
            yield from map(
                ScoredPair, first.tolist(), second.tolist(), *names, pairs.scores[part].tolist()
            )
