"""How often does the 95 % interval of `paired_bootstrap` hold the true difference?

Per-query reciprocal ranks of two systems are drawn from a known distribution (the second system
keeps the first one's rank for a share of the queries and draws a new, slightly better one for the
rest), many experiments for each number of queries. An experiment without an interval for the
relative change (the first system scored nothing in some resample) counts as missed. The share of
the experiments whose interval holds the truth should be 95 %; the simulation's own error is printed
beside it.

    python benchmarks/bootstrap_coverage.py                    # about a minute on one core
    python benchmarks/bootstrap_coverage.py --experiments 300  # quicker and rougher
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from shortlist.evaluation.compare import paired_bootstrap

RANKS = np.arange(1, 12)  # 11 stands for "not in the first ten"
VALUES = np.where(RANKS <= 10, 1 / RANKS, 0.0)


def chances(decay: float, missed: float) -> np.ndarray:
    """Probability of each first relevant rank: geometric, and `missed` for none at all."""
    found = decay ** RANKS[:10]
    return np.append((1 - missed) * found / found.sum(), missed)


OLD, NEW = chances(0.6, 0.3), chances(0.55, 0.27)


def experiment(
    rng: np.random.Generator, queries: int, kept: float
) -> tuple[np.ndarray, np.ndarray]:
    a = rng.choice(VALUES, size=queries, p=OLD)
    b = np.where(rng.random(queries) < kept, a, rng.choice(VALUES, size=queries, p=NEW))
    return a, b


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, nargs="+", default=[10, 30, 100, 300, 1000, 3000])
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument(
        "--kept", type=float, default=0.6, help="share of queries that stay as they are"
    )
    parser.add_argument("--level", type=float, default=0.95)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    old, new = VALUES @ OLD, VALUES @ NEW
    difference = (1 - options.kept) * (new - old)
    relative = difference / old
    rng = np.random.default_rng(options.seed)
    print(
        f"true MRR@10 {old:.4f} -> {old + difference:.4f} ({relative:+.2%}), "
        f"level {options.level:.0%}"
    )
    print(
        f"{'queries':>8} {'difference':>11} {'relative':>9} {'+-':>6} {'width':>7} {'seconds':>8}"
    )
    for queries in options.queries:
        started, held, held_relative, widths = time.perf_counter(), 0, 0, []
        for number in range(options.experiments):
            a, b = experiment(rng, queries, options.kept)
            found = paired_bootstrap(
                a, b, resamples=options.resamples, seed=number, level=options.level
            )
            held += found.low <= difference <= found.high
            if found.relative_low is not None and found.relative_high is not None:
                held_relative += found.relative_low <= relative <= found.relative_high
            widths.append(found.high - found.low)
        n = options.experiments
        error = 1.96 * (options.level * (1 - options.level) / n) ** 0.5
        print(
            f"{queries:8d} {held / n:11.1%} {held_relative / n:9.1%} {error:6.1%} "
            f"{np.mean(widths):7.4f} {time.perf_counter() - started:8.1f}"
        )


if __name__ == "__main__":
    main()
