"""Fitting a fusion rule: planted weights are found again, and the arithmetic is that of a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.fusion_fit import (
    CandidateTable,
    FusionWeights,
    fit_logistic,
    fit_mrr,
    fused,
    mrr_of,
)

COLUMNS = ("query", "logit", "retrieval", "rank", "label")


def planted(weights: FusionWeights, queries: int, depth: int = 20, seed: int = 0) -> CandidateTable:
    """Candidates whose labels are drawn with the log-odds that `weights` gives them."""
    rng = np.random.default_rng(seed)
    shape = (queries, depth)
    retrieval = -np.sort(-rng.uniform(0.1, 0.9, shape), axis=1)
    logit = 6 * retrieval - 4 + rng.normal(0, 2, shape)
    rank = np.broadcast_to(np.arange(1, depth + 1), shape)
    query = np.broadcast_to(np.arange(queries)[:, None], shape)
    zeros = np.zeros(shape, int)
    table = CandidateTable.of(*(x.ravel() for x in (query, logit, retrieval, rank, zeros)))
    chance = 1 / (1 + np.exp(-fused(weights, table)))
    return CandidateTable.of(
        table.query, table.logit, table.retrieval, table.rank, rng.random(len(chance)) < chance
    )


def slow_mrr(weights: FusionWeights, table: CandidateTable, k: int) -> float:
    rows = list(
        zip(
            *(getattr(table, n).tolist() for n in COLUMNS),
            strict=True,
        )
    )
    total = 0.0
    for query in {row[0] for row in rows}:
        scored = [
            (-(weights.logit * x + weights.retrieval * c + weights.log_rank * math.log(r)), r, y)
            for q, x, c, r, y in rows
            if q == query
        ]
        ranks = [n for n, (_, _, label) in enumerate(sorted(scored), 1) if label and n <= k]
        total += 1 / ranks[0] if ranks else 0.0
    return total / len({row[0] for row in rows})


row = st.tuples(
    st.integers(-2, 2),
    st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
    st.sampled_from([0.0, 0.5]),
    st.integers(0, 1),
)


@given(rows=st.lists(row, min_size=1, max_size=20), k=st.integers(1, 6))
@settings(deadline=None, max_examples=100)
def test_mrr_is_that_of_a_loop(rows: list[tuple[int, float, float, int]], k: int) -> None:
    query, logit, retrieval, label = zip(*rows, strict=True)
    ranks = [query[:i].count(q) + 1 for i, q in enumerate(query)]  # 1-based within the query
    table = CandidateTable.of(query, logit, retrieval, ranks, label)
    weights = FusionWeights(1.0, 2.0, -1.0, 0.5)
    assert mrr_of(weights, table, k) == pytest.approx(slow_mrr(weights, table, k), abs=1e-12)


def test_equal_scores_are_ordered_by_retrieval_rank() -> None:
    table = CandidateTable.of([0, 0, 0], [1, 1, 1], [0, 0, 0], [3, 1, 2], [0, 1, 0])
    assert mrr_of(FusionWeights(1, 0, 0), table) == 1.0


def test_logistic_regression_finds_planted_weights() -> None:
    truth = FusionWeights(0.8, 3.0, -0.5, -2.0)
    found = fit_logistic(planted(truth, queries=3000), l2=0.01)
    assert found.logit == pytest.approx(truth.logit, abs=0.05)
    assert found.retrieval == pytest.approx(truth.retrieval, abs=0.5)
    assert found.log_rank == pytest.approx(truth.log_rank, abs=0.1)
    assert found.intercept == pytest.approx(truth.intercept, abs=0.4)


def test_a_strong_penalty_shrinks_the_weights() -> None:
    table = planted(FusionWeights(0.8, 3.0, -0.5, -2.0), queries=100)
    assert abs(fit_logistic(table, l2=1e6).logit) < abs(fit_logistic(table).logit) / 10


@pytest.mark.parametrize("fit", [fit_logistic, fit_mrr])
def test_a_fitted_rule_beats_each_part_on_other_queries(fit: object) -> None:
    truth = FusionWeights(1.0, 6.0, -1.0, -6.0)
    assert callable(fit)
    found = fit(planted(truth, queries=400, seed=1))
    other = planted(truth, queries=400, seed=2)
    alone = [mrr_of(FusionWeights(*part), other) for part in ((1, 0, 0), (0, 1, 0), (0, 0, -1))]
    assert mrr_of(found, other) > max(alone)
    assert mrr_of(found, other) > mrr_of(truth, other) - 0.02


def test_the_grid_leaves_out_what_does_not_help() -> None:
    table = planted(FusionWeights(1.0, 0.0, 0.0), queries=50)
    perfect = CandidateTable.of(
        table.query, table.label * 5.0 + table.logit / 100, table.retrieval, table.rank, table.label
    )
    assert fit_mrr(perfect) == FusionWeights(1.0, 0.0, -0.0)


def test_the_grid_is_searched_whole_and_in_units_of_spread() -> None:
    table = planted(FusionWeights(1.0, 6.0, -1.0, -6.0), queries=100)
    ratios = (0.0, 0.5, 3.0)
    spread = table.features.std(axis=0)
    grid = [
        FusionWeights(1.0, c * spread[0] / spread[1], -e * spread[0] / spread[2])
        for c in ratios
        for e in ratios
    ]
    found = fit_mrr(table, ratios=ratios, k=5)
    assert mrr_of(found, table, 5) == max(mrr_of(weights, table, 5) for weights in grid)
    assert any(found.retrieval == pytest.approx(weights.retrieval) for weights in grid)


def test_a_score_does_not_depend_on_the_depth() -> None:
    weights = FusionWeights(1.0, 6.0, -1.0, -6.0)
    deep = planted(weights, queries=5)
    keep = deep.rank <= 7
    shallow = CandidateTable.of(*(getattr(deep, n)[keep] for n in COLUMNS))
    np.testing.assert_array_equal(fused(weights, shallow), fused(weights, deep)[keep])


def test_a_feature_that_never_varies_gets_no_weight() -> None:
    table = planted(FusionWeights(1.0, 0.0, 0.0), queries=50)
    same = np.full(len(table.logit), 0.1)
    flat = CandidateTable.of(table.query, table.logit, same, table.rank, table.label)
    assert fit_logistic(flat).retrieval == fit_mrr(flat).retrieval == 0.0
    with pytest.raises(DataError, match="logits are equal"):
        fit_mrr(CandidateTable.of(table.query, same, table.retrieval, table.rank, table.label))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([], [], [], [], []), r"at least one candidate; got the shapes \[\(0,\)"),
        (([0, 0], [1], [1, 1], [1, 2], [0, 1]), r"one value for each candidate.*\(1,\)"),
        (([[0]], [[1]], [[1]], [[1]], [[1]]), r"got the shapes \[\(1, 1\)"),
        (([0, 0], [1, math.nan], [1, 1], [1, 2], [0, 1]), r"not in rows \[1\]"),
        (([0, 0], [1, 1], [math.inf, 1], [1, 2], [0, 1]), r"not in rows \[0\]"),
        (([0, 0], [1, 1], [1, 1], [0, 1], [0, 1]), r"ranks 1 or more .* rows \[0\]"),
        (([0, 0], [1, 1], [1, 1], [1, 2], [0, 2]), r"labels 0 or 1; .* rows \[1\]"),
    ],
)
def test_tables_that_make_no_sense_are_refused(
    columns: tuple[list[float], ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        CandidateTable.of(*columns)


def test_settings_and_labels_that_cannot_be_fitted_are_refused() -> None:
    table = CandidateTable.of([0, 0], [1, 2], [1, 2], [1, 2], [1, 1])
    for fit in (fit_logistic, fit_mrr):
        with pytest.raises(DataError, match="all 2 candidates have the label 1"):
            fit(table)
    with pytest.raises(UsageError, match="l2 must be above zero, got 0"):
        fit_logistic(table, l2=0)
    with pytest.raises(UsageError, match=r"needs one ratio .* got \[\], 10"):
        fit_mrr(table, ratios=())
    with pytest.raises(UsageError, match="k must be 1 or more, got 0"):
        mrr_of(FusionWeights(1, 0, 0), table, k=0)
