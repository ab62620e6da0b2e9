"""Hundreds of changed bytes: the damage tests of the suite, as often as is asked.

python benchmarks/damage.py --flips 500 | tee benchmarks/logs/damage.log

Every file of a small index in turn has a random bit flipped or is cut at a random place; what is
held to what stands in `tests/pipeline/test_damage.py`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

TEST = Path(__file__).parents[1] / "tests" / "pipeline" / "test_damage.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"{args.flips} damaged files, seed {args.seed}")
    sys.stdout.flush()
    os.environ["SHORTLIST_FLIPS"] = str(args.flips)
    os.environ["SHORTLIST_SEED"] = str(args.seed)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", TEST.name]
    command += ["-k", "every_change", "--no-header"]
    sys.exit(subprocess.run(command, cwd=TEST.parent, check=False).returncode)


if __name__ == "__main__":
    main()
