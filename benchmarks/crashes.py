"""Hundreds of kills: the crash tests of the suite, as often as is asked.

python benchmarks/crashes.py --kills 40 --operations 20 | tee benchmarks/logs/crashes.log

Each of the five changes (index, add, upsert, delete, compact) is killed `--kills` times at a random
moment and `--operations` times before a random file operation; what is held to what stands in
`tests/pipeline/test_crash.py`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

TEST = Path(__file__).parents[1] / "tests" / "pipeline" / "test_crash.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--operations", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"5 changes, each killed {args.kills} + {args.operations} times, seed {args.seed}")
    sys.stdout.flush()
    os.environ["SHORTLIST_KILLS"] = str(args.kills)
    os.environ["SHORTLIST_KILLED_OPERATIONS"] = str(args.operations)
    os.environ["SHORTLIST_SEED"] = str(args.seed)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TEST.name]
    sys.exit(subprocess.run(command, cwd=TEST.parent, check=False).returncode)


if __name__ == "__main__":
    main()
