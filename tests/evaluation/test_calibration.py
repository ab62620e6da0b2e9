"""Intervals and p-values over many samples of queries: right as often as they say.

The queries are drawn from a population whose means are known. `benchmarks/calibration.py` is the
long version, with nDCG, with few and with many queries, and with a system that finds little.
"""

from __future__ import annotations

import numpy as np
import pytest

from shortlist.evaluation.significance import mean_interval, paired_bootstrap, randomization_test

RNG = np.random.default_rng(11)
VALUES = np.array([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 7, 1 / 10, 0])  # reciprocal ranks, many tied
FIRST = RNG.choice(VALUES, 5000, p=[0.35, 0.15, 0.08, 0.05, 0.04, 0.02, 0.01, 0.3])
OTHER = RNG.choice(VALUES, 5000, p=[0.45, 0.13, 0.08, 0.04, 0.02, 0.01, 0.02, 0.25])
SECOND = np.where(RNG.random(5000) < 0.6, FIRST, OTHER)  # most queries score the same in both


def test_p_values_of_systems_that_are_alike_are_spread_evenly() -> None:
    rng, trials = np.random.default_rng(0), 1000
    p_values, differences = np.empty(trials), np.empty(trials)
    for number in range(trials):
        drawn, swapped = rng.integers(0, 5000, 60), rng.random(60) < 0.5
        a = np.where(swapped, SECOND[drawn], FIRST[drawn])
        b = np.where(swapped, FIRST[drawn], SECOND[drawn])
        p_values[number] = randomization_test(a, b, resamples=400, seed=number).p_value
        differences[number] = b.mean() - a.mean()
    for share in (0.05, 0.2, 0.5):
        slack = 3 * (share * (1 - share) / trials) ** 0.5
        assert np.mean(p_values < share) == pytest.approx(share, abs=slack)
    assert np.mean(differences[p_values < 0.05] > 0) == pytest.approx(0.5, abs=0.25)  # two-sided


@pytest.mark.parametrize(("level", "trials"), [(0.95, 1000), (0.8, 400)])
def test_intervals_hold_the_truth_as_often_as_their_level_says(level: float, trials: int) -> None:
    truths = (
        SECOND.mean() - FIRST.mean(),
        SECOND.mean() / FIRST.mean() - 1,
        FIRST.mean(),
    )
    rng, held = np.random.default_rng(1), np.zeros(3)
    for number in range(trials):
        drawn = rng.integers(0, 5000, 200)
        a, b = FIRST[drawn], SECOND[drawn]
        found = paired_bootstrap(a, b, resamples=1000, seed=number, level=level)
        assert found.relative_low is not None
        assert found.relative_high is not None
        intervals = (
            (found.low, found.high),
            (found.relative_low, found.relative_high),
            mean_interval(a, resamples=1000, seed=number, level=level),
        )
        held += [low <= truth <= high for (low, high), truth in zip(intervals, truths, strict=True)]
    slack = 3 * (level * (1 - level) / trials) ** 0.5
    assert held / trials == pytest.approx(np.full(3, level), abs=slack)
