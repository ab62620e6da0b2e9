"""Intervals and p-values: those of scipy where it has them, the obvious where it is obvious."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.compare import (
    Change,
    Outcomes,
    compare_all,
    detectable_difference,
    holm,
    mean_interval,
    most_changed,
    outcomes,
    paired,
    paired_bootstrap,
    randomization_test,
)

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


def test_rounding_is_no_difference() -> None:
    assert 0.1 + 0.2 > 0.3
    assert randomization_test([0.3] * 20, [0.1 + 0.2] * 20).p_value == 1.0


def test_scores_are_paired_by_query_id() -> None:
    first, second = paired({"b": 1.0, "a": 2.0}, {"a": 3.0, "b": 4.0})
    assert (first.tolist(), second.tolist()) == ([2.0, 1.0], [3.0, 4.0])
    with pytest.raises(DataError, match=r"2 queries were scored for one .* \['b', 'c'\]"):
        paired({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0})
    with pytest.raises(DataError, match=r"systems only \(bm25, dense\), such as \['b'\]"):
        paired({"a": 1.0, "b": 1.0}, {"a": 1.0}, names=("bm25", "dense"))


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


# the interval of one mean


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    found = mean_interval(A, resamples=4000, seed=3)
    theirs = stats.bootstrap(
        (A,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(3)
    )
    assert found == pytest.approx(tuple(theirs.confidence_interval), abs=2e-3)
    low, high = mean_interval(A, resamples=4000, level=0.5)
    assert found[0] < low < A.mean() < high < found[1]
    assert mean_interval([0.25] * 7, resamples=50) == (0.25, 0.25)
    assert mean_interval([0.5], resamples=50) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"at least one; got an array of shape \(0,\)"),
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
        ([1.0, float("nan"), float("inf")], r"not finite at \[1, 2\]"),
    ],
)
def test_scores_without_a_mean_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mean_interval(values)


@pytest.mark.parametrize("wrong", [{"level": 1.0}, {"resamples": 0}])
def test_settings_that_make_no_interval_of_a_mean_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"level must lie between 0 and 1 .* got"):
        mean_interval([1, 2], **wrong)


# several comparisons


def closed_testing(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's procedure as a closed test: every family that holds a name, by Bonferroni."""
    adjusted = dict.fromkeys(p_values, 0.0)
    for size in range(1, len(p_values) + 1):
        for family in combinations(p_values, size):
            p = min(1.0, size * min(p_values[name] for name in family))
            adjusted |= {name: max(adjusted[name], p) for name in family}
    return adjusted


@given(st.lists(st.floats(0, 1), max_size=7))
@settings(deadline=None, max_examples=100)
def test_holm_is_the_closed_test_of_all_families(values: list[float]) -> None:
    p_values = {f"c{number}": p for number, p in enumerate(values)}
    found = holm(p_values)
    assert found == pytest.approx(closed_testing(p_values))
    assert list(found) == list(p_values)
    assert all(p <= found[name] <= 1 for name, p in p_values.items())


def test_holm_of_a_worked_example() -> None:
    # by hand: the smallest of four times 4, the next times 3, and none below the one before it
    p_values = {"d": 0.0479, "a": 0.0001, "c": 0.0402, "b": 0.0137}
    expected = {"d": 0.0804, "a": 0.0004, "c": 0.0804, "b": 0.0411}
    assert holm(p_values) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [float("nan"), -0.1, 1.1])
def test_what_is_no_p_value_is_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match=rf"between 0 and 1, got \{{'x': {wrong}\}}"):
        holm({"y": 0.5, "x": wrong})


# what could be found


@pytest.mark.parametrize(("queries", "power"), [(50, 0.8), (400, 0.8), (400, 0.5)])
def test_the_detectable_difference_is_found_as_often_as_is_said(queries: int, power: float) -> None:
    rng = np.random.default_rng(queries)
    noise = rng.normal(0, 0.2, queries)
    difference = detectable_difference(np.zeros(queries), noise, power=power)
    assert difference is not None
    samples = rng.normal(difference, noise.std(ddof=1), (4000, queries))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    # 4,000 trials err by 0.02 (three standard errors), the t-test for 50 queries by 0.01 more
    assert found.mean() == pytest.approx(power, abs=0.035)


def test_the_detectable_difference_grows_with_what_is_asked() -> None:
    usual = detectable_difference(A, B)
    strict, sure = detectable_difference(A, B, level=0.01), detectable_difference(A, B, power=0.9)
    assert usual is not None
    assert strict is not None
    assert sure is not None
    assert usual < min(strict, sure)
    assert usual == pytest.approx(2.80159 * np.std(B - A, ddof=1) / 200**0.5, rel=1e-5)
    assert detectable_difference(B, A) == pytest.approx(usual)


@pytest.mark.parametrize(
    ("a", "b"), [([0.5], [1.0]), ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4]), ([1, 2], [1, 2])]
)
def test_what_scores_cannot_say_is_none(a: list[float], b: list[float]) -> None:
    assert detectable_difference(a, b) is None


def test_a_power_that_cannot_be_is_refused() -> None:
    for wrong in ({"power": 1.0}, {"level": 0.0}):
        with pytest.raises(UsageError, match="level and power must lie between 0 and 1, got"):
            detectable_difference([1, 2], [2, 4], **wrong)


# query by query

scores_of_queries = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0]), st.sampled_from([0.0, 0.1, 0.3, 1.0])),
    min_size=1,
    max_size=30,
)


@given(scores_of_queries, st.integers(0, 12))
@settings(deadline=None, max_examples=100)
def test_wins_losses_and_the_most_changed_are_those_of_a_plain_count(
    values: list[tuple[float, float]], number: int
) -> None:
    a = {f"q{i}": before for i, (before, _) in enumerate(values)}
    b = {f"q{i}": after for i, (_, after) in enumerate(values)}
    found = outcomes(a, b)
    assert found.wins == sum(after > before for before, after in values)
    assert found.losses == sum(after < before for before, after in values)
    assert found.wins + found.ties + found.losses == len(values)
    assert outcomes(b, a) == Outcomes(found.losses, found.ties, found.wins)
    gained, lost = most_changed(a, b, number)
    assert len(gained) == min(number, found.wins)
    assert len(lost) == min(number, found.losses)
    for changes, sign in ((gained, 1), (lost, -1)):
        sizes = [round(sign * (change.after - change.before), 9) for change in changes]
        assert all(size > 0 for size in sizes)
        assert [(-size, c.query_id) for size, c in zip(sizes, changes, strict=True)] == sorted(
            (-size, c.query_id) for size, c in zip(sizes, changes, strict=True)
        )
        others = [
            sign * (b[query_id] - a[query_id])
            for query_id in a
            if query_id not in {change.query_id for change in changes}
        ]
        if changes and others:
            assert max(others) <= min(sizes) + 1e-9
        assert all((c.before, c.after) == (a[c.query_id], b[c.query_id]) for c in changes)
    assert most_changed(b, a, number) == (
        [Change(c.query_id, c.after, c.before) for c in lost],
        [Change(c.query_id, c.after, c.before) for c in gained],
    )


def test_equal_changes_come_by_id_and_rounding_is_a_tie() -> None:
    a = {"q3": 0.2, "q1": 0.5, "q2": 0.0, "q4": 0.3}
    b = {"q3": 0.5, "q1": 0.8, "q2": 1.0, "q4": 0.1 + 0.2}  # 0.3 twice, unequal in the last bit
    assert b["q3"] - a["q3"] != b["q1"] - a["q1"]
    gained, lost = most_changed(a, b)
    assert [change.query_id for change in gained] == ["q2", "q1", "q3"]
    assert lost == []
    assert outcomes(a, b) == Outcomes(3, 1, 0)
    with pytest.raises(UsageError, match="must not be negative, got -1"):
        most_changed(a, b, -1)
    with pytest.raises(DataError, match=r"such as \['q4'\]"):
        most_changed(a, {q: v for q, v in b.items() if q != "q4"})


# systems

SYSTEMS = {
    "bm25": {f"q{i}": float(v) for i, v in enumerate(A)},
    "dense": {f"q{i}": float(v) for i, v in enumerate(B)},
    "both": {f"q{i}": float(v) for i, v in enumerate(np.clip(B + 0.05, 0, 1))},
}


def test_all_pairs_are_compared_and_corrected_together() -> None:
    found = compare_all(SYSTEMS, measure="MRR@10", resamples=500)
    assert [(c.a, c.b) for c in found] == [("bm25", "dense"), ("bm25", "both"), ("dense", "both")]
    assert {c.measure for c in found} == {"MRR@10"}
    for c in found:
        sides = paired(SYSTEMS[c.a], SYSTEMS[c.b])
        assert c.p_value == randomization_test(*sides, resamples=500).p_value
        assert c.interval == paired_bootstrap(*sides, resamples=500)
        assert c.detectable == detectable_difference(*sides)
        assert c.outcomes == outcomes(SYSTEMS[c.a], SYSTEMS[c.b])
        assert (list(c.gained), list(c.lost)) == most_changed(SYSTEMS[c.a], SYSTEMS[c.b])
    expected = closed_testing({f"{c.a} {c.b}": c.p_value for c in found})
    assert [c.p_holm for c in found] == pytest.approx(list(expected.values()))
    smallest = min(found, key=lambda c: c.p_value)
    assert smallest.p_holm == pytest.approx(3 * smallest.p_value)


def test_a_baseline_is_compared_with_each_and_the_family_is_smaller() -> None:
    found = compare_all(SYSTEMS, measure="MRR@10", baseline="dense", resamples=500)
    assert [(c.a, c.b) for c in found] == [("dense", "bm25"), ("dense", "both")]
    pairs = compare_all(SYSTEMS, measure="MRR@10", resamples=500)
    assert found[0].interval.mean_difference == pytest.approx(-pairs[0].interval.mean_difference)
    assert found[0].p_value == pytest.approx(pairs[0].p_value, abs=0.05)
    assert found[1].p_holm <= pairs[2].p_holm
    (alone,) = compare_all(
        {name: SYSTEMS[name] for name in ("bm25", "dense")}, measure="MRR@10", resamples=500
    )
    assert alone.p_holm == alone.p_value == pairs[0].p_value


def test_a_comparison_as_json_is_flat_and_has_stable_keys() -> None:
    a, b = {"q1": 0.0, "q2": 1.0, "q3": 0.5}, {"q1": 1.0, "q2": 0.5, "q3": 0.5}
    (found,) = compare_all({"old": a, "new": b}, measure="P@1", resamples=100)
    answer = json.loads(json.dumps(found.as_json(), allow_nan=False))
    keys = (
        "a b measure mean_a mean_b difference low high relative relative_low relative_high p "
        "p_holm wins ties losses detectable queries gained lost"
    )
    assert list(answer) == keys.split()
    assert (answer["a"], answer["b"], answer["measure"]) == ("old", "new", "P@1")
    assert (answer["wins"], answer["ties"], answer["losses"], answer["queries"]) == (1, 1, 1, 3)
    assert answer["gained"] == [{"query": "q1", "before": 0.0, "after": 1.0}]
    assert answer["lost"] == [{"query": "q2", "before": 1.0, "after": 0.5}]
    assert answer["difference"] == pytest.approx(0.5 / 3)
    assert answer["p"] == 1.0  # of the signs of 1 and -0.5, all four are as far or further


def test_systems_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UsageError, match=r"two systems or more can be compared, got \['bm25'\]"):
        compare_all({"bm25": SYSTEMS["bm25"]}, measure="MRR@10")
    with pytest.raises(UsageError, match=r"baseline 'x' is none of the systems: \['bm25', 'den"):
        compare_all(SYSTEMS, measure="MRR@10", baseline="x")
    with pytest.raises(DataError, match=r"199 queries were scored .* \(bm25, few\), such as"):
        compare_all({"bm25": SYSTEMS["bm25"], "few": {"q0": 1.0}}, measure="MRR@10")
