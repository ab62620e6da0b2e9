"""What could chance have done? Intervals, a test and what it could find, from per-query scores.

The bootstrap interval says how far a mean or a difference could move with other queries of the same
kind; the randomisation test says how often chance alone would make a difference as large. Smucker,
Allan and Carterette, "A comparison of statistical significance tests for information retrieval
evaluation", CIKM 2007, compare the two and find that they agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shortlist.errors import UsageError

Floats: TypeAlias = NDArray[np.float64]

SAME = 1e-9  # scores of a query no further apart are equal: sums in another order differ by less

_CELLS = 1 << 17  # numbers held at once while resampling: a megabyte, which stays in cache


@dataclass(frozen=True, slots=True)
class Interval:
    """The difference b - a of two means, with the ends of its bootstrap interval.

    `relative` is mean_b / mean_a - 1 with its own ends. It is None where mean_a is not above zero,
    and its ends are None where that is so in any resample: the ratio has no interval then.
    """

    mean_a: float
    mean_b: float
    mean_difference: float
    low: float
    high: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    level: float  # share of the resamples that lie between the ends
    queries: int

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Significance:
    """What `randomization_test` found: the difference b - a and its two-sided p-value."""

    mean_difference: float
    p_value: float
    queries: int

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def mean_interval(
    values: ArrayLike, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Interval of one system's mean over per-query scores `values` [queries], queries resampled.

    The percentile interval, as in `paired_bootstrap`. Two of these that overlap do not mean that
    the systems are alike: compare them by `paired_bootstrap`, query by query.

    Raises `UsageError` for a level outside (0, 1) or no resamples, and for scores that are empty or
    not finite.
    """
    scores = _checked(values)[None]
    _check_settings(level, resamples)
    sums = np.concatenate(list(_resampled_sums(scores, resamples, seed)), axis=1)[0]
    low, high = np.quantile(sums / scores.shape[1], _ends(level))
    return float(low), float(high)


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Interval of the change from per-query scores `a` to `b` [queries each], queries resampled.

    The percentile interval (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter
    13): queries are drawn with replacement, the same for both systems. It is too narrow for few
    queries: at 95 %, it held the true difference in 87 to 91 % of simulations with 20 queries, 91
    to 93 % with 50, and 94 to 95 % with 200 or more (benchmarks/calibration.py). Memory is bounded,
    however many queries and resamples there are.

    Raises `UsageError` for a level outside (0, 1) or no resamples, and for scores that are empty,
    not finite or not of one length.
    """
    first, second = _checked_pair(a, b)
    _check_settings(level, resamples)
    sums = np.concatenate(list(_resampled_sums(np.stack([first, second]), resamples, seed)), axis=1)
    n, ends = len(first), _ends(level)
    low, high = np.quantile((sums[1] - sums[0]) / n, ends)
    mean_a, mean_b = float(first.mean()), float(second.mean())
    relative_low = relative_high = None
    if sums[0].min() > 0:
        relative_low, relative_high = map(float, np.quantile(sums[1] / sums[0] - 1, ends))
    return Interval(
        mean_a=mean_a,
        mean_b=mean_b,
        mean_difference=float((second - first).mean()),
        low=float(low),
        high=float(high),
        relative=mean_b / mean_a - 1 if mean_a > 0 else None,
        relative_low=relative_low,
        relative_high=relative_high,
        level=level,
        queries=n,
    )


def randomization_test(
    a: ArrayLike, b: ArrayLike, *, resamples: int = 10_000, seed: int = 0
) -> Significance:
    """Two-sided p-value of the mean difference b - a, per-query scores [queries each] swapped.

    Fisher's randomisation test: were the systems alike, each query's two scores could as well
    change places. All 2^queries ways are tried where they are at most `resamples` (the p-value is
    exact then), else that many at random; by scipy.stats.permutation_test.

    Raises `UsageError` for scores that are empty, not finite or not of one length.
    """
    from scipy.stats import permutation_test

    first, second = _checked_pair(a, b)
    difference = second - first  # swapping a query's two scores turns the sign of its difference
    difference[np.abs(difference) <= SAME] = 0  # or rounding alone, where all of one sign, is a p
    p_value = 1.0  # of one query too: both ways to put its scores differ as much
    if difference.any() and len(difference) > 1:
        found = permutation_test(
            (difference,),
            lambda x, axis: x.mean(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, _CELLS // len(difference)),
            rng=np.random.default_rng(seed),
        )
        p_value = float(found.pvalue)
    return Significance(float((second - first).mean()), p_value, len(difference))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust the p-values of a family of comparisons, name -> p; the order of the names is kept.

    The chance that any of the true null hypotheses has an adjusted value of at most x is at most x,
    however the comparisons depend on each other (Holm, "A simple sequentially rejective multiple
    test procedure", Scandinavian Journal of Statistics 6, 1979).

    Raises `UsageError` for a value that is NaN or outside [0, 1]; up to ten are named.

    >>> holm({"x": 0.01, "y": 0.04, "z": 0.03})
    {'x': 0.03, 'y': 0.06, 'z': 0.06}
    """
    if wrong := {name: p for name, p in p_values.items() if not 0 <= p <= 1}:
        raise UsageError(
            f"p-values lie between 0 and 1, got {dict(list(wrong.items())[:10])}; "
            "give those that a test found"
        )
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def detectable_difference(
    a: ArrayLike, b: ArrayLike, *, level: float = 0.05, power: float = 0.8
) -> float | None:
    """Smallest true mean difference that a test with so many queries would be likely to show.

    "To show" is a p-value below `level`, "likely" is in a share `power` of all samples of queries:
    (z(1 - level / 2) + z(power)) sd / sqrt(queries), where sd is the standard deviation of the
    per-query differences b - a [queries] and z the normal quantile (Sakai, "Topic set size design",
    Information Retrieval Journal 19, 2016, asks the same of the number of queries). It is of one
    test alone: a correction for several needs more. None where the scores cannot say it: there is
    one query, or all differences are equal.

    Raises `UsageError` for a level or power outside (0, 1), and for scores that are empty, not
    finite or not of one length.
    """
    from scipy.stats import norm

    first, second = _checked_pair(a, b)
    if not (0 < level < 1 and 0 < power < 1):
        raise UsageError(f"level and power must lie between 0 and 1, got {level} and {power}")
    difference = second - first
    if len(difference) < 2 or np.ptp(difference) <= SAME:
        return None
    error = difference.std(ddof=1) / len(difference) ** 0.5
    return float((norm.ppf(1 - level / 2) + norm.ppf(power)) * error)


def _resampled_sums(scores: Floats, resamples: int, seed: int) -> Iterator[Floats]:
    """Draw queries with replacement and sum: [n, queries] -> [n, some], `resamples` in all."""
    rng = np.random.default_rng(seed)
    n = scores.shape[1]
    step = max(1, _CELLS // n)
    for start in range(0, resamples, step):
        drawn = rng.integers(0, n, size=(min(step, resamples - start), n))
        yield np.stack([row[drawn].sum(axis=1) for row in scores])


def _ends(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def _check_settings(level: float, resamples: int) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise UsageError(
            f"level must lie between 0 and 1 and resamples be at least 1, got {level}, {resamples}"
        )


def _checked(values: ArrayLike, what: str = "the system") -> Floats:
    scores = np.asarray(values, float)
    if scores.ndim != 1 or not len(scores):
        raise UsageError(
            f"expected one score for each query, at least one; got an array of shape {scores.shape}"
        )
    if len(bad := np.flatnonzero(~np.isfinite(scores))):
        raise UsageError(
            f"scores of {what} are not finite at {bad[:10].tolist()}; each query needs a number"
        )
    return scores


def _checked_pair(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise UsageError(
            "the two systems need one score each for the same queries, at least one; got arrays of "
            f"shapes {first.shape} and {second.shape}"
        )
    return _checked(first, "system a"), _checked(second, "system b")
