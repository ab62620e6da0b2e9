"""A part of a corpus that keeps what the judgements are about."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable
from dataclasses import dataclass

from shortlist.errors import UsageError
from shortlist.evaluation.task_kind import seeded_rank
from shortlist.records import Passage


@dataclass(frozen=True, slots=True)
class PassageSample:
    """Passages in the order in which they came, and how many there were."""

    passages: list[Passage]
    of: int

    @property
    def is_part(self) -> bool:
        """Whether any was left out: figures on a part flatter every system."""
        return len(self.passages) < self.of


def passage_sample(
    passages: Iterable[Passage],
    limit: int | None = None,
    *,
    keep: Container[str] = frozenset(),
    seed: int = 0,
) -> PassageSample:
    """Take the passages whose id is in `keep`, and others up to `limit` in all; None takes all.

    Which others depends on their ids and the seed, not on their order. Memory is bounded by the
    limit and what is kept. Raises `UsageError` for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a sample of passages must be of 1 or more, got {limit}")
    kept: list[tuple[int, Passage]] = []
    others: list[tuple[int, int, Passage]] = []  # a heap with the largest rank on top
    number = -1
    for number, passage in enumerate(passages):
        if limit is None or passage.id in keep:
            kept.append((number, passage))
        else:
            heapq.heappush(others, (-seeded_rank(passage.id, seed), number, passage))
        while others and limit is not None and len(others) + len(kept) > limit:
            heapq.heappop(others)
    found = sorted([*kept, *((n, passage) for _, n, passage in others)], key=lambda pair: pair[0])
    return PassageSample([passage for _, passage in found], number + 1)
