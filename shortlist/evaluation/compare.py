"""Is one system better than another, on the same queries, and where? Paired by query id.

The statistics are those of `significance`, whose names can be had from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.significance import (
    SAME,
    Floats,
    Interval,
    Significance,
    detectable_difference,
    holm,
    mean_interval,
    paired_bootstrap,
    randomization_test,
)

__all__ = [
    "Change",
    "Comparison",
    "Floats",
    "Interval",
    "Outcomes",
    "Significance",
    "compare_all",
    "detectable_difference",
    "holm",
    "mean_interval",
    "most_changed",
    "outcomes",
    "paired",
    "paired_bootstrap",
    "randomization_test",
]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Queries that b answers better than a, as well, and worse."""

    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, slots=True)
class Change:
    """A query that two systems answer differently well."""

    query_id: str
    before: float
    after: float

    def as_json(self) -> dict[str, Any]:
        """Return the id as "query", and both values."""
        return {"query": self.query_id, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems by one measure: how far b is from a, how surely, and on which queries."""

    a: str
    b: str
    measure: str
    interval: Interval
    p_value: float  # of the randomisation test, two-sided
    p_holm: float  # the same, adjusted for all comparisons of the family
    outcomes: Outcomes
    detectable: float | None  # the smallest difference that so many queries can show
    gained: tuple[Change, ...]  # the most first
    lost: tuple[Change, ...]

    def as_json(self) -> dict[str, Any]:
        """Return one flat mapping; "gained" and "lost" are lists of {query, before, after}."""
        interval = self.interval
        return {
            "a": self.a,
            "b": self.b,
            "measure": self.measure,
            "mean_a": interval.mean_a,
            "mean_b": interval.mean_b,
            "difference": interval.mean_difference,
            "low": interval.low,
            "high": interval.high,
            "relative": interval.relative,
            "relative_low": interval.relative_low,
            "relative_high": interval.relative_high,
            "p": self.p_value,
            "p_holm": self.p_holm,
            **asdict(self.outcomes),
            "detectable": self.detectable,
            "queries": interval.queries,
            "gained": [change.as_json() for change in self.gained],
            "lost": [change.as_json() for change in self.lost],
        }


def paired(
    a: Mapping[str, float],
    b: Mapping[str, float],
    *,
    names: tuple[str, str] = ("the first", "the second"),
) -> tuple[Floats, Floats]:
    """Put the per-query scores of two systems side by side: two arrays [queries], by query id.

    Raises `DataError` where the two were not scored on the same queries; up to ten ids are named.
    """
    if apart := sorted(a.keys() ^ b.keys()):
        raise DataError(
            f"{len(apart)} queries were scored for one of the two systems only ({names[0]}, "
            f"{names[1]}), such as {apart[:10]}; score both against the same qrels"
        )
    ids = sorted(a)
    return np.array([a[i] for i in ids], float), np.array([b[i] for i in ids], float)


def outcomes(a: Mapping[str, float], b: Mapping[str, float]) -> Outcomes:
    """Count the queries that `b` wins, ties and loses against `a`, query id -> score.

    Scores within 1e-9 tie. Raises `DataError` where the queries are not the same.
    """
    first, second = paired(a, b)
    wins, losses = (second - first > SAME).sum(), (first - second > SAME).sum()
    return Outcomes(int(wins), len(first) - int(wins) - int(losses), int(losses))


def most_changed(
    a: Mapping[str, float], b: Mapping[str, float], number: int = 10
) -> tuple[list[Change], list[Change]]:
    """Return the queries that gained and those that lost most from `a` to `b`, query id -> score.

    At most `number` each, the largest change first, equal ones by id; a change within 1e-9 is none.
    Raises `DataError` where the queries are not the same, `UsageError` for a negative number.
    """
    if number < 0:
        raise UsageError(f"the number of queries to name must not be negative, got {number}")
    paired(a, b)
    changes = [Change(query_id, a[query_id], b[query_id]) for query_id in a]
    gained = [change for change in changes if change.after - change.before > SAME]
    lost = [change for change in changes if change.before - change.after > SAME]
    # Rounded, or the last bit of a difference would decide between equal ones, and not the id.
    gained.sort(key=lambda change: (round(change.before - change.after, 9), change.query_id))
    lost.sort(key=lambda change: (round(change.after - change.before, 9), change.query_id))
    return gained[:number], lost[:number]


def compare_all(
    per_query: Mapping[str, Mapping[str, float]],
    *,
    measure: str,
    baseline: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Comparison]:
    """Compare systems, name -> query id -> score: all with the baseline, or each with each.

    In the order of the names; of a pair, `a` is the baseline or the one that comes first. The
    family that Holm's correction is for is all that is returned. `measure` is what the scores are
    of; it is handed through.

    Raises `UsageError` for fewer than two systems and for a baseline that is not among them, and
    `DataError` where two systems were not scored on the same queries.
    """
    if len(per_query) < 2:
        raise UsageError(f"two systems or more can be compared, got {list(per_query)}")
    if baseline is not None and baseline not in per_query:
        raise UsageError(f"the baseline {baseline!r} is none of the systems: {list(per_query)}")
    pairs = (
        list(combinations(per_query, 2))
        if baseline is None
        else [(baseline, name) for name in per_query if name != baseline]
    )
    sides = {pair: paired(per_query[pair[0]], per_query[pair[1]], names=pair) for pair in pairs}
    tests = [randomization_test(*sides[pair], resamples=resamples, seed=seed) for pair in pairs]
    p_values = {str(number): test.p_value for number, test in enumerate(tests)}
    adjusted = holm(p_values)
    found = []
    for number, (a, b) in enumerate(pairs):
        gained, lost = most_changed(per_query[a], per_query[b])
        comparison = Comparison(
            a=a,
            b=b,
            measure=measure,
            interval=paired_bootstrap(*sides[a, b], resamples=resamples, seed=seed),
            p_value=p_values[str(number)],
            p_holm=adjusted[str(number)],
            outcomes=outcomes(per_query[a], per_query[b]),
            detectable=detectable_difference(*sides[a, b]),
            gained=tuple(gained),
            lost=tuple(lost),
        )
        found.append(comparison)
    return found
