"""Fitting the fusion rule: arithmetic on scores and labels, no model and no search.

The rule is a pointwise score, logit·w1 + retrieval·w2 + log(rank)·w3. It knows nothing of the other
candidates of its query, so the score of a passage does not change with the depth of reranking, and
weights that were fitted at one depth can be used at another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shortlist.errors import DataError, UsageError

Floats: TypeAlias = NDArray[np.float64]

# how much the spread of a feature counts against the spread of the logit in `fit_mrr`
_COARSE = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True)
class FusionWeights:
    """logit·x + retrieval·x + log_rank·ln(rank) + intercept; only ratios matter for the order."""

    logit: float
    retrieval: float
    log_rank: float  # below zero where an early rank speaks for a passage
    intercept: float = 0.0  # moves no order; with `fit_logistic` the score is a log-odds


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """Scored candidates of many queries, one row each: five arrays [candidates].

    Raises `UsageError` for columns of different lengths or none at all, numbers that are not
    finite, ranks below 1 and labels other than 0 and 1.
    """

    query: NDArray[np.int64]  # which query the row belongs to: any integers, in any order
    logit: Floats
    retrieval: Floats  # the retriever's score, a cosine
    rank: NDArray[np.int64]  # of the retriever, 1 is best
    label: NDArray[np.int64]  # 1 relevant, 0 not

    @classmethod
    def of(
        cls,
        query: ArrayLike,
        logit: ArrayLike,
        retrieval: ArrayLike,
        rank: ArrayLike,
        label: ArrayLike,
    ) -> CandidateTable:
        """Make a table of anything that numpy takes for an array."""
        return cls(
            np.asarray(query, np.int64),
            np.asarray(logit, np.float64),
            np.asarray(retrieval, np.float64),
            np.asarray(rank, np.int64),
            np.asarray(label, np.int64),
        )

    def __post_init__(self) -> None:
        columns = (self.query, self.logit, self.retrieval, self.rank, self.label)
        shapes = [column.shape for column in columns]
        if len(set(shapes)) > 1 or len(shapes[0]) != 1 or not shapes[0][0]:
            raise UsageError(
                "query, logit, retrieval, rank and label need one value for each candidate, at "
                f"least one candidate; got the shapes {shapes}"
            )
        good = np.isfinite(self.logit) & np.isfinite(self.retrieval)
        good &= (self.rank >= 1) & np.isin(self.label, (0, 1))
        if len(bad := np.flatnonzero(~good)):
            raise UsageError(
                "scores must be finite, ranks 1 or more and labels 0 or 1; they are not in rows "
                f"{bad[:10].tolist()}"
            )

    @property
    def features(self) -> Floats:
        """What the weights multiply: logit, retrieval score, ln(rank); [candidates, 3]."""
        return np.stack([self.logit, self.retrieval, np.log(self.rank)], axis=1)


def fused(weights: FusionWeights, table: CandidateTable) -> Floats:
    """Return the fused score of each candidate, [candidates]."""
    vector = np.array([weights.logit, weights.retrieval, weights.log_rank])
    return np.asarray(table.features @ vector + weights.intercept)


def mrr_of(weights: FusionWeights, table: CandidateTable, k: int = 10) -> float:
    """Mean reciprocal rank, first `k`, of the candidates in the order of their fused scores.

    Over the queries of the table; one whose candidates are all irrelevant counts as zero. Equal
    scores are ordered by retrieval rank.
    """
    if k < 1:
        raise UsageError(f"k must be 1 or more, got {k}")
    return _mrr(fused(weights, table), table, k)


def fit_logistic(table: CandidateTable, *, l2: float = 1.0) -> FusionWeights:
    """Fit by logistic regression of the label on the three features: the score is a log-odds.

    The features are standardised, so that the penalty `l2` (the inverse of scikit-learn's C) weighs
    on all alike, and the weights mapped back. A feature that never varies gets the weight zero.

    Raises `DataError` where all labels are equal and `UsageError` for a penalty not above zero.
    """
    from sklearn.linear_model import LogisticRegression

    if not l2 > 0:
        raise UsageError(f"l2 must be above zero, got {l2}")
    _check_labels(table)
    features = table.features
    centre, spread = features.mean(axis=0), _spread(features)
    model = LogisticRegression(C=1 / l2, max_iter=1000)
    model.fit((features - centre) / spread, table.label)
    slopes = model.coef_[0] / spread
    logit, retrieval, log_rank = slopes.tolist()
    return FusionWeights(logit, retrieval, log_rank, float(model.intercept_[0] - slopes @ centre))


def fit_mrr(
    table: CandidateTable, *, k: int = 10, ratios: Sequence[float] = _COARSE
) -> FusionWeights:
    """Search for the weights of the best MRR@k, the logit's weight fixed at 1.

    `ratios` is the grid for both free weights, in units of a standard deviation: at ratio 1 the
    retrieval score (or the falling log rank) moves the fused score as much as the logit does. Of
    equal results the smallest sum of the two wins, so that a part which does not help is left out.

    Raises `DataError` where all labels or all logits are equal, `UsageError` for an empty grid.
    """
    if not ratios or k < 1:
        raise UsageError(f"fit_mrr needs one ratio and k of 1 at least, got {list(ratios)}, {k}")
    _check_labels(table)
    spread = _spread(table.features)
    if np.isinf(spread[0]):
        raise DataError(
            f"all {len(table.logit)} logits are equal; a fusion needs logits that differ"
        )
    units = spread[0] / spread
    grid = [
        FusionWeights(1.0, float(cosine * units[1]), float(-early * units[2]))
        for cosine, early in sorted(
            ((cosine, early) for cosine in ratios for early in ratios),
            key=lambda pair: (abs(pair[0]) + abs(pair[1]), abs(pair[1])),
        )
    ]
    return max(grid, key=lambda weights: _mrr(fused(weights, table), table, k))  # first of equals


def _mrr(scores: Floats, table: CandidateTable, k: int) -> float:
    order = np.lexsort((table.rank, -scores, table.query))  # last key first: query, score, rank
    query, label = table.query[order], table.label[order]
    begins = np.flatnonzero(np.r_[True, query[1:] != query[:-1]])  # [queries]
    sizes = np.diff(np.r_[begins, len(query)])
    place = np.arange(len(query)) - np.repeat(begins, sizes) + 1  # 1-based within the query
    gains = np.where((label == 1) & (place <= k), 1.0 / place, 0.0)
    return float(np.maximum.reduceat(gains, begins).mean())


def _spread(features: Floats) -> Floats:
    """Return the standard deviations; infinite, which makes the weight zero, for a constant."""
    spread = features.std(axis=0)
    constant = spread <= 1e-12 * np.abs(features).max(axis=0)  # rounding leaves it just above zero
    return np.where(constant, np.inf, spread)


def _check_labels(table: CandidateTable) -> None:
    if len(set(table.label.tolist())) < 2:
        raise DataError(
            f"all {len(table.label)} candidates have the label {table.label[0]}; fitting needs "
            "relevant ones and others"
        )
