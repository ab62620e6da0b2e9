"""Peak memory and rate of `shortlist index` on a collection, in a process of its own.

python benchmarks/index_memory.py ../shared/data/wikipedia/corpus.jsonl work/wikipedia.idx
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("index", type=Path)
    args = parser.parse_args()
    command = [sys.executable, "-m", "shortlist.cli.__main__"]
    start = time.monotonic()
    subprocess.run([*command, "index", args.source, "-o", args.index], check=True)
    seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # Linux counts in KiB
    done = subprocess.run(
        [*command, "info", args.index, "--json"], check=True, capture_output=True, text=True
    )
    rows = json.loads(done.stdout)["rows"]
    print(f"{rows} passages, {seconds:.0f} s ({rows / seconds:.0f}/s), peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
