"""Intervals and p-values: those of scipy where it has them, the obvious where it is obvious."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.compare import paired, paired_bootstrap, randomization_test

RNG = np.random.default_rng(7)
A = RNG.random(200) * (RNG.random(200) < 0.6)  # many zeros, as reciprocal ranks have them
B = np.clip(A + RNG.normal(0.03, 0.2, 200), 0, 1)


def test_the_interval_is_that_of_scipy() -> None:
    found = paired_bootstrap(A, B, resamples=4000, seed=3)
    settings = {"paired": True, "n_resamples": 4000, "method": "percentile", "batch": 100}
    for statistic, ends in (
        (lambda a, b, axis: b.mean(axis=axis) - a.mean(axis=axis), (found.low, found.high)),
        (
            lambda a, b, axis: b.mean(axis=axis) / a.mean(axis=axis) - 1,
            (found.relative_low, found.relative_high),
        ),
    ):
        theirs = stats.bootstrap((A, B), statistic, rng=np.random.default_rng(3), **settings)
        assert ends == pytest.approx(tuple(theirs.confidence_interval), abs=2e-3)
    assert found.mean_difference == pytest.approx(B.mean() - A.mean())
    assert found.relative == pytest.approx(B.mean() / A.mean() - 1)
    assert (found.mean_a, found.mean_b) == pytest.approx((A.mean(), B.mean()))
    assert (found.queries, found.level) == (200, 0.95)
    assert found.as_json()["low"] == found.low


def test_the_interval_is_near_that_of_the_normal_approximation() -> None:
    a = RNG.random(3000)
    b = a + RNG.normal(0.01, 0.1, 3000)  # 3,000 queries: resampled in many pieces
    found = paired_bootstrap(a, b, resamples=2000)
    half = 1.96 * (b - a).std() / 3000**0.5
    expected = ((b - a).mean() - half, (b - a).mean() + half)
    assert (found.low, found.high) == pytest.approx(expected, abs=half / 10)


def test_the_same_seed_gives_the_same_interval_and_a_wider_level_a_wider_one() -> None:
    first, again = (paired_bootstrap(A, B, resamples=500, seed=1) for _ in range(2))
    assert first == again
    wide = paired_bootstrap(A, B, resamples=500, seed=1, level=0.99)
    assert wide.low < first.low < first.mean_difference < first.high < wide.high


def test_swapping_the_systems_turns_the_interval_round() -> None:
    forth, back = paired_bootstrap(A, B, resamples=500), paired_bootstrap(B, A, resamples=500)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


@pytest.mark.parametrize("queries", [1, 2, 50])
def test_a_constant_change_has_an_interval_without_width(queries: int) -> None:
    same = paired_bootstrap([0.5] * queries, [0.75] * queries, resamples=100)
    assert (same.mean_difference, same.low, same.high) == (0.25, 0.25, 0.25)
    assert (same.relative, same.relative_low, same.relative_high) == (0.5, 0.5, 0.5)


def test_a_ratio_to_nothing_is_none() -> None:
    nothing = paired_bootstrap([0, 0, 0], [1, 0, 1], resamples=100)
    assert nothing.relative is nothing.relative_low is nothing.relative_high is None
    sometimes = paired_bootstrap([0, 0, 1], [1, 1, 1], resamples=1000)  # a third draws no 1
    assert sometimes.relative == pytest.approx(2)
    assert sometimes.relative_low is sometimes.relative_high is None


def test_the_p_value_is_exact_for_few_queries() -> None:
    # all eight of 3 signs: the mean is as far from zero in 2 of them
    found = randomization_test([0.1, 0.2, 0.3], [0.2, 0.4, 0.7])
    assert found.p_value == pytest.approx(2 / 8)
    assert found.mean_difference == pytest.approx(0.7 / 3)
    assert found.as_json() == {
        "mean_difference": found.mean_difference,
        "p_value": 0.25,
        "queries": 3,
    }


def test_the_p_value_is_near_that_of_the_t_test_for_many() -> None:
    found = randomization_test(A, B, resamples=4000)
    assert found.p_value == pytest.approx(stats.ttest_rel(A, B).pvalue, abs=0.02)
    assert randomization_test(A, B + 0.2, resamples=999).p_value == pytest.approx(2 / 1000)
    assert randomization_test(B, A, resamples=4000, seed=5).p_value == pytest.approx(
        found.p_value, abs=0.02
    )


@pytest.mark.parametrize("scores", [[0.3], [0.3, 0.4, 0.5], A.tolist()])
def test_equal_systems_have_the_p_value_one(scores: list[float]) -> None:
    assert randomization_test(scores, scores).p_value == 1.0
    assert randomization_test(scores[:1], [0.9]).p_value == 1.0  # nor does one query tell


def test_scores_are_paired_by_query_id() -> None:
    first, second = paired({"b": 1.0, "a": 2.0}, {"a": 3.0, "b": 4.0})
    assert (first.tolist(), second.tolist()) == ([2.0, 1.0], [3.0, 4.0])
    with pytest.raises(DataError, match=r"2 queries were scored for one .* \['b', 'c'\]"):
        paired({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0})


@pytest.mark.parametrize("compare", [paired_bootstrap, randomization_test])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [], r"at least one; got arrays of shapes \(0,\) and \(0,\)"),
        ([1, 2], [1], r"shapes \(2,\) and \(1,\)"),
        ([[1, 2]], [[1, 2]], r"shapes \(1, 2\)"),
        ([1, 2], [1, float("nan")], r"system b are not finite at \[1\]"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(
    compare: object, a: list[float], b: list[float], message: str
) -> None:
    assert callable(compare)
    with pytest.raises(UsageError, match=message):
        compare(a, b)


@pytest.mark.parametrize("wrong", [{"level": 0.0}, {"level": 95.0}, {"resamples": 0}])
def test_settings_that_make_no_interval_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"level must lie between 0 and 1 .* got"):
        paired_bootstrap([1, 2], [2, 3], **wrong)
