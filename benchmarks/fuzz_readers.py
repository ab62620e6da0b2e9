"""Throw hostile files at every reader, for longer than the tests do.

python benchmarks/fuzz_readers.py --examples 10000
python benchmarks/fuzz_readers.py --reader csv --reader tsv.zst --seed 7
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "data"))

from test_readers_fuzz import STRATEGIES, is_accepted


@dataclass
class Tally:
    """What happened to the files of one reader."""

    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0  # seconds of CPU
    slowest_file: tuple[str, bytes] = ("", b"")

    def line(self, reader: str, seconds: float) -> str:
        """Say it on one line."""
        name, content = self.slowest_file
        return (
            f"{reader:14} {self.accepted:6,} accepted {self.refused:6,} refused in "
            f"{seconds:4.0f} s; slowest {1000 * self.slowest:5.0f} ms ({name}, "
            f"{len(content):,} bytes)"
        )


def fuzz(reader: str, examples: int, number: int) -> Tally:
    """Read `examples` hostile files; an error that is not ours comes out with the file's bytes."""
    read, files = STRATEGIES[reader]
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:

        @seed(number)
        @given(files)
        @settings(
            deadline=None,
            max_examples=examples,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        def run(file: tuple[str, bytes]) -> None:
            start = time.process_time()  # not of a machine that has other things to do
            accepted = is_accepted(read, Path(folder), *file)
            took = time.process_time() - start
            tally.accepted += accepted
            tally.refused += not accepted
            if took > tally.slowest:
                tally.slowest, tally.slowest_file = took, file

        run()
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=10_000, help="files for each reader")
    parser.add_argument("--reader", action="append", choices=list(STRATEGIES), help="only these")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for reader in args.reader or STRATEGIES:
        start = time.perf_counter()
        tally = fuzz(reader, args.examples, args.seed)
        print(tally.line(reader, time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
