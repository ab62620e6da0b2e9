"""Several rankings of the same questions made into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import UsageError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.records import Run

Ranking: TypeAlias = tuple[FloatArray, Int64Array]
"""Scores float32 `[q, k]`, falling, and rows int64 `[q, k]`; -inf and -1 where there are none."""


@dataclass(frozen=True)
class ReciprocalRank:
    """A passage's score is the sum of ``weight / (k + rank)`` over the rankings that have it.

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods", SIGIR 2009. It looks at ranks alone, so scores of any scale go together.
    """

    k: float = 60.0
    weights: tuple[float, ...] | None = None

    name = "rrf"

    def shares(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each hit of one ranking adds, best first."""
        shares: NDArray[np.float64] = 1.0 / (self.k + np.arange(1.0, len(scores) + 1))
        return shares


@dataclass(frozen=True)
class Weighted:
    """A passage's score is the weighted sum of its scores, each ranking's brought to 0 to 1.

    The best of a ranking has 1 and the last that it found has 0, as a passage that it did not find;
    where all are equal, all have 1.
    """

    weights: tuple[float, ...] | None = None

    name = "weighted"

    def shares(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each hit of one ranking adds, best first."""
        if not len(scores) or scores[0] == scores[-1]:
            return np.ones(len(scores))
        shares: NDArray[np.float64] = (scores - scores[-1]) / (scores[0] - scores[-1])
        return shares


RankFusion: TypeAlias = ReciprocalRank | Weighted
_RULES: dict[str, type[RankFusion]] = {"rrf": ReciprocalRank, "weighted": Weighted}
_EXAMPLE = 'such as "rrf", "weighted" or "weighted:0.7,0.3"'


def fusion_named(text: str) -> RankFusion:
    """The rule that a user names: ``rrf`` or ``weighted``, with weights behind a colon.

    Raises:
        UsageError: there is none of that name, or the weights are none.
    """
    name, _, numbers = text.partition(":")
    if name not in _RULES:
        raise UsageError(f"no fusion is named {name!r}; expected rrf or weighted, {_EXAMPLE}")
    try:
        weights = tuple(float(number) for number in numbers.split(",")) if numbers else None
    except ValueError as error:
        raise UsageError(f"{text!r}: the weights are no numbers; {_EXAMPLE}") from error
    rule = _RULES[name](weights=weights)
    if weights is not None:
        check_weights(rule, len(weights))
    return rule


def check_weights(rule: RankFusion, rankings: int) -> None:
    """Refuse weights that do not fit.

    Raises:
        UsageError: their number differs from that of the rankings, or one is negative or not
            finite, or all are zero, or `k` is not above zero.
    """
    if isinstance(rule, ReciprocalRank) and not 0 < rule.k < float("inf"):
        raise UsageError(f"k of reciprocal rank fusion must be above 0, got {rule.k:g}")
    if rule.weights is None:
        return
    if len(rule.weights) != rankings:
        raise UsageError(
            f"{len(rule.weights)} weights for {rankings} rankings; give one for each, in order"
        )
    if not all(0 <= weight < float("inf") for weight in rule.weights) or not any(rule.weights):
        shown = ", ".join(f"{weight:g}" for weight in rule.weights)
        raise UsageError(f"weights must be 0 or more, and one of them above 0; got {shown}")


def fused(rankings: Sequence[Ranking], top_k: int, rule: RankFusion | None = None) -> Ranking:
    """One ranking of each query; equal scores by row number.

    Args:
        rankings: of the same queries.
        top_k: how many rows to return of each.
        rule: reciprocal ranks with equal weights by default.

    Raises:
        UsageError: no ranking, `top_k` below 1, or weights that do not fit.
    """
    rule = rule or ReciprocalRank()
    if not rankings or top_k < 1:
        raise UsageError(f"fusing takes rankings and a top_k above 0, got {len(rankings)}, {top_k}")
    check_weights(rule, len(rankings))
    queries = len(rankings[0][1])
    scores = np.full((queries, top_k), -np.inf, np.float32)
    rows = np.full((queries, top_k), -1, np.int64)
    for number in range(queries):
        lists = [(s[number][r[number] >= 0], r[number][r[number] >= 0]) for s, r in rankings]
        found, sums = _sums(lists, rule)
        order = np.lexsort((found, -sums))[:top_k]
        scores[number, : len(order)] = sums[order]
        rows[number, : len(order)] = found[order]
    return scores, rows


def _sums(
    lists: Sequence[tuple[NDArray[Any], Int64Array]], rule: RankFusion
) -> tuple[Int64Array, NDArray[np.float64]]:
    """Every row that one of the lists has, and its score."""
    weights = rule.weights or (1.0,) * len(lists)
    found, places = np.unique(np.concatenate([rows for _, rows in lists]), return_inverse=True)
    shares = np.concatenate(
        [
            weight * rule.shares(scores.astype(np.float64))
            for weight, (scores, _) in zip(weights, lists, strict=True)
        ]
    )
    sums = np.zeros(len(found))
    np.add.at(sums, places, shares)
    return found, sums


def fused_runs(
    runs: Sequence[Run],
    rule: RankFusion | None = None,
    *,
    depth: int | None = None,
    top_k: int | None = None,
) -> dict[str, dict[str, float]]:
    """One run of several; a query that only some of them have is fused of those.

    Args:
        runs: query id -> passage id -> score.
        rule: reciprocal ranks with equal weights by default.
        depth: how many passages of each query of a run count; all by default.
        top_k: how many are kept of each query; all by default.

    Returns:
        Scores in falling order; equal ones in the order in which the runs name the passages, the
        first run first.

    Raises:
        UsageError: weights that do not fit.
    """
    rule = rule or ReciprocalRank()
    check_weights(rule, len(runs))
    names = dict.fromkeys(query for run in runs for query in run)
    return {query: _fused_query(query, runs, rule, depth, top_k) for query in names}


def _fused_query(
    query: str, runs: Sequence[Run], rule: RankFusion, depth: int | None, top_k: int | None
) -> dict[str, float]:
    numbers = dict[str, int]()
    lists = []
    for run in runs:
        hits = _best_first(run.get(query, {}))[:depth]
        rows = [numbers.setdefault(name, len(numbers)) for name, _ in hits]
        scores = np.array([score for _, score in hits], dtype=np.float64)
        lists.append((scores, np.array(rows, dtype=np.int64)))
    found, sums = _sums(lists, rule)
    order = np.lexsort((found, -sums))[:top_k]
    named = list(numbers)
    return {named[found[place]]: float(sums[place]) for place in order}


def _best_first(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda hit: -hit[1])  # stable
