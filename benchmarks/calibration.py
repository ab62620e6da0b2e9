"""Do the intervals and p-values of `shortlist.evaluation.significance` keep what they promise?

Systems whose true means are known: three populations of 20,000 made queries, each answered by two
systems that share much of what they get wrong, so that many queries score the same in both. A trial
draws queries from a population, as somebody does who writes a test set; the truth is the mean over
the population. Two questions:

- How often is p < 0.05 where the systems are alike (the two scores of each query, swapped by a
  coin)? In 3 to 7 % of the trials, or the test is not calibrated.
- How often does the 95 % interval hold the truth? In 93 to 97 % of the trials with 200 queries or
  more; with fewer it is too narrow, and the table says how much. A relative change that has no
  interval (the first system scored nothing in some resample) counts as missed.

Each share comes with its standard error, and "broken" where it leaves its bounds; then the exit
status is 1. Each call resamples 1,000 times (`--resamples`); the package does 10,000 times, unless
told otherwise: p-values are finer then, and intervals should cover 0.2 points more.

    python benchmarks/calibration.py                 # about eight minutes on one core
    python benchmarks/calibration.py --trials 200    # quicker; too rough for the bounds
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from shortlist.evaluation.significance import mean_interval, paired_bootstrap, randomization_test

Floats: TypeAlias = NDArray[np.float64]

SIZE, CANDIDATES, CUTOFF = 20_000, 50, 10  # queries, passages of each, ranks that are looked at
OWN = 0.5  # noise of one system, where that of both is 1
BETTER = 0.1  # by which the second system scores relevant passages higher
OF_TEST = (50, 200, 1000)  # queries of a trial
OF_INTERVALS = (20, 50, 200, 500, 1000)
ENOUGH = 200  # queries from which on intervals must be right


@dataclass(frozen=True, slots=True)
class Population:
    """Per-query scores of two systems, [queries] each."""

    name: str
    a: Floats
    b: Floats

    @property
    def truths(self) -> dict[str, float]:
        """What the three intervals are to hold."""
        a, b = float(self.a.mean()), float(self.b.mean())
        return {"difference": b - a, "relative": b / a - 1, "mean": a}


@dataclass(frozen=True, slots=True)
class Row:
    """A share of trials, and where it should lie; no bounds where it is only shown."""

    what: str
    population: str
    queries: int
    share: float
    trials: int
    bounds: tuple[float, float] | None

    @property
    def broken(self) -> bool:
        return self.bounds is not None and not self.bounds[0] <= self.share <= self.bounds[1]

    def __str__(self) -> str:
        error = (self.share * (1 - self.share) / self.trials) ** 0.5
        bounds = "{:.0%} to {:.0%}".format(*self.bounds) if self.bounds else "-"
        verdict = "" if self.bounds is None else "broken" if self.broken else "kept"
        return (
            f"{self.what:24} {self.population:17} {self.queries:7,} {self.share:7.2%} "
            f"{error:6.2%} {bounds:>10} {verdict}"
        ).rstrip()


def population(name: str, rng: np.random.Generator, ease: float, most_relevant: int) -> Population:
    """Make queries: one relevant passage and reciprocal ranks, or graded ones and nDCG.

    Passages score noise, most of it common to both systems; relevant ones score more by their grade
    and by how easy the query is, `ease` on average.
    """
    if most_relevant == 1:
        grades = np.zeros((SIZE, CANDIDATES))
        grades[:, 0] = 1
    else:
        relevant = np.arange(CANDIDATES) < rng.integers(1, most_relevant + 1, (SIZE, 1))
        grades = rng.choice([1, 2, 3], (SIZE, CANDIDATES), p=[0.6, 0.3, 0.1]) * relevant
    easy = rng.normal(ease, 1.5, (SIZE, 1))
    common = rng.normal(size=(SIZE, CANDIDATES))
    systems = []
    for better in (0, BETTER):
        scores = grades * (easy + better) + common + rng.normal(0, OWN, (SIZE, CANDIDATES))
        first = np.argsort(-scores, axis=1)[:, :CUTOFF]
        found = np.take_along_axis(grades, first, axis=1)
        systems.append(reciprocal_ranks(found) if most_relevant == 1 else ndcg(found, grades))
    return Population(name, *systems)


def reciprocal_ranks(found: Floats) -> Floats:
    """Score grades by rank, [queries, ranks]."""
    values: Floats = ((found > 0) / np.arange(1, CUTOFF + 1)).max(axis=1)
    return values


def ndcg(found: Floats, grades: Floats) -> Floats:
    """Score grades by rank, [queries, ranks], where `grades` [queries, passages] could be found."""
    discounts = 1 / np.log2(np.arange(2, CUTOFF + 2))
    best = -np.sort(-grades, axis=1)[:, :CUTOFF]
    return (found @ discounts) / (best @ discounts)


def small_p_values(
    systems: Population, queries: int, options: argparse.Namespace, rng: np.random.Generator
) -> Row:
    """Share of trials with p < 0.05 where the systems are alike."""
    small = 0
    for number in range(options.trials):
        drawn = rng.integers(0, SIZE, queries)
        swapped = rng.random(queries) < 0.5
        a, b = systems.a[drawn], systems.b[drawn]
        sides = np.where(swapped, b, a), np.where(swapped, a, b)
        found = randomization_test(*sides, resamples=options.resamples, seed=number)
        small += found.p_value < 0.05
    share = small / options.trials
    return Row("p < 0.05", systems.name, queries, share, options.trials, (0.03, 0.07))


def coverages(
    systems: Population, queries: int, options: argparse.Namespace, rng: np.random.Generator
) -> list[Row]:
    """Share of trials whose intervals hold the truth: of the difference, the ratio, one mean."""
    held = dict.fromkeys(systems.truths, 0)
    for number in range(options.trials):
        drawn = rng.integers(0, SIZE, queries)
        a, b = systems.a[drawn], systems.b[drawn]
        found = paired_bootstrap(a, b, resamples=options.resamples, seed=number)
        ends = {
            "difference": (found.low, found.high),
            "relative": (found.relative_low, found.relative_high),
            "mean": mean_interval(a, resamples=options.resamples, seed=number),
        }
        for what, (low, high) in ends.items():
            if low is not None and high is not None:
                held[what] += low <= systems.truths[what] <= high
    bounds = (0.93, 0.97) if queries >= ENOUGH else None
    return [
        Row(f"coverage, {what}", systems.name, queries, n / options.trials, options.trials, bounds)
        for what, n in held.items()
    ]


def rows(populations: list[Population], options: argparse.Namespace) -> Iterator[Row]:
    rng = np.random.default_rng([options.seed, 1])
    for systems in populations:
        for queries in OF_TEST:
            yield small_p_values(systems, queries, options, rng)
    for systems in populations:
        for queries in OF_INTERVALS:
            yield from coverages(systems, queries, options, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    rng = np.random.default_rng([options.seed, 0])
    populations = [
        population("reciprocal rank", rng, ease=2.5, most_relevant=1),
        population("nDCG, graded", rng, ease=1.0, most_relevant=8),
        population("RR, mostly zero", rng, ease=0.0, most_relevant=1),
    ]
    for systems in populations:
        same = np.mean(systems.a == systems.b)
        print(f"{systems.name}: {systems.a.mean():.4f} -> {systems.b.mean():.4f}, ", end="")
        print(f"{same:.0%} of the queries score the same, {np.mean(systems.a == 0):.0%} zero")
    print(f"{options.trials:,} trials, {options.resamples:,} resamples, seed {options.seed}\n")
    print(f"{'what':24} {'scores':17} {'queries':>7} {'share':>7} {'error':>6} {'bounds':>10}")
    broken = 0
    for row in rows(populations, options):
        print(row, flush=True)
        broken += row.broken
    print(f"\n{broken} outside the bounds; {time.process_time():.0f} s of one core")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
