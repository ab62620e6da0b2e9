"""A push to a Milvus server, killed at random moments: complete and equal in the end?

    python benchmarks/push_kills.py [INDEX] [--kills 10] [--seed 0]

The server is started for it (PyPI package `milvus`), in a network namespace of its own. After each
kill the push is begun again; at the end every passage and embedding is read back and compared.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests" / "pipeline" / "engines"))

from milvus_server import milvus_server  # noqa: E402

from shortlist.pipeline.index import Index  # noqa: E402
from shortlist.pipeline.push import push  # noqa: E402
from shortlist.pipeline.remote import Collection, passage_from  # noqa: E402

PUSH = "import sys; from shortlist.pipeline.push import push; push(sys.argv[1], sys.argv[2])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", nargs="?", type=Path, default=HERE / "work" / "wikipedia.idx")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    moments = random.Random(args.seed)  # noqa: S311 - moments to kill at
    index = Index(args.index)
    with (
        tempfile.TemporaryDirectory() as folder,
        milvus_server(Path(folder)) as address,
    ):
        place = address.replace("http", "milvus") + "/kills"
        for number in range(args.kills):
            seconds = moments.uniform(1, 8)
            with subprocess.Popen([sys.executable, "-c", PUSH, str(args.index), place]) as process:
                time.sleep(seconds)
                ended = process.poll() is not None
                if not ended:
                    os.kill(process.pid, signal.SIGKILL)
            print(f"{number}: killed after {seconds:.1f} s" if not ended else f"{number}: done")
        started = time.perf_counter()
        done = push(args.index, place)
        print(f"then in {time.perf_counter() - started:.0f} s: {done}")
        compare(index, Collection(place))


def compare(index: Index, collection: Collection) -> None:
    rows = index.live_rows
    by_id = {p.id: (p, row) for p, row in zip(index.all_passages(), rows, strict=True)}
    seen = set()
    for part in collection.entities(["id", "passage", "vector"]):
        for entity in part:
            passage, row = by_id[entity["id"]]
            assert passage_from(entity["passage"]) == passage
            assert (np.float32(entity["vector"]) == index.vectors(np.array([row]))[0]).all()
            assert entity["id"] not in seen
            seen.add(entity["id"])
    assert seen == by_id.keys()
    print(f"{len(seen):,} passages and embeddings are equal, none is missing or there twice")


if __name__ == "__main__":
    main()
