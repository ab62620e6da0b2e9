"""A million passages on one machine: index, open, search, add, delete, compact, verify.

    python benchmarks/million.py --work work/million | tee benchmarks/logs/million.log

The vectors are given: those of a real sample, encoded here, with noise so that no two are equal;
the rate of encoding is that of the sample. The texts are real, marked where they come again. Every
step runs in a process of its own. Its peak memory has the pages of mapped files in it; what is
anonymous at its end has not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from index_memory import DATA
from index_memory import passages as real_texts

SAMPLE = 4_000
AT_ONCE = 50_000
QUESTIONS = [
    "how do plants make food?",
    "who was the first emperor of rome?",
    "what is the boiling point of water at high altitude?",
    "symptoms of vitamin deficiency",
    "neural machine translation with attention",
]


def prepare(work: Path, count: int) -> None:
    """Encode a sample, and write the vectors of as many passages as there are to be."""
    from shortlist import BiEncoder

    model = BiEncoder.load("all-MiniLM-L6-v2", precision="int8")
    texts = [f"{title} {text}" for title, text in islice(spread(), SAMPLE)]
    started = time.monotonic()
    sample = model.encode_passages(texts)
    rate = SAMPLE / (time.monotonic() - started)
    minutes = count / rate / 60
    print(f"encoding {SAMPLE:,} real passages: {rate:.0f}/s; of {count:,}: {minutes:.0f} min")
    random = np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(
        work / "vectors.npy", "w+", np.float32, (count, sample.shape[1])
    )
    for start in range(0, count, AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, count))
        made = sample[rows % SAMPLE]
        made = made + random.normal(0, 0.03, made.shape).astype(np.float32)
        vectors[rows] = made / np.linalg.norm(made, axis=1, keepdims=True)


def spread() -> Iterator[tuple[str, str]]:
    """Every 40th real passage: of every collection some."""
    return islice(real_texts(DATA), 0, None, 40)


def content(count: int) -> Iterator:
    from shortlist import Passage

    for number, (title, text) in enumerate(islice(real_texts(DATA), count)):
        yield Passage(str(number), text, title, metadata={"year": 1950 + number % 70})


def build(index: Path, count: int, store: str) -> str:
    """Index given vectors; the sample that is compared with the model is skipped."""
    from shortlist import BiEncoder
    from shortlist.pipeline import writing
    from shortlist.pipeline.pipeline import RetrieveRerankPipeline

    writing.check_same_model = lambda *_: None  # these are not the vectors of these texts
    model = BiEncoder.load("all-MiniLM-L6-v2", precision="int8")
    vectors = np.load(index.parent / "vectors.npy", mmap_mode="r")
    RetrieveRerankPipeline.build(
        content(count), index, bi_encoder=model, embeddings=vectors, store=store
    )
    size = sum(file.stat().st_size for file in index.iterdir())
    return f"{size / 1e9:.2f} GB on disk"


def steps(index: Path, verb: str, count: int) -> str:
    from shortlist import RetrieveRerankPipeline
    from shortlist.pipeline.index import Index
    from shortlist.pipeline.verify import faults_of

    if verb == "open":
        return f"{len(Index(index)):,} passages"
    if verb == "open full":
        return f"{len(Index(index, check='full').segments)} segments"
    if verb == "verify":
        return f"{len(faults_of(index))} faults"
    pipeline = RetrieveRerankPipeline.open(index)
    if verb.startswith("search"):
        where = "year >= 2000" if "where" in verb else None
        pipeline.search(QUESTIONS[0], where=where)
        times = []
        for question in QUESTIONS * 2:
            started = time.monotonic()
            pipeline.search(question, rerank="rerank" in verb, where=where)
            times.append(time.monotonic() - started)
        return f"{np.median(times):.2f} s a question, once it is open"
    if verb == "add":
        done = pipeline.add(islice(content(count + 1_000), count, None))
        return f"{done.added:,} added"
    if verb == "delete":
        return f"{pipeline.delete(str(n) for n in range(0, count, count // 1_000)):,} deleted"
    return f"{pipeline.compact():,} rows dropped"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=Path("work/million"))
    parser.add_argument("--stores", nargs="*", default=["float32", "float16"])
    parser.add_argument("--step")
    parser.add_argument("--index", type=Path)
    args = parser.parse_args()
    if args.step:
        one_step(args)
        return
    args.work.mkdir(parents=True, exist_ok=True)
    prepare(args.work, args.passages)
    print("| store | step | seconds, with start | peak MB (anonymous) | |\n|---|---|---|---|---|")
    for store in args.stores:
        index = args.work / f"{store}.idx"
        shutil.rmtree(index, ignore_errors=True)
        verbs = ["index", "open", "open full", "search", "search where", "search rerank", "add"]
        for verb in [*verbs, "delete", "search", "compact", "search", "verify"]:
            command = [sys.executable, __file__, "--passages", str(args.passages)]
            command += ["--index", str(index), "--step", verb]
            subprocess.run(command, check=True)


def one_step(args: argparse.Namespace) -> None:
    started = time.monotonic()
    store = args.index.stem
    if args.step == "index":
        said = build(args.index, args.passages, store)
    else:
        said = steps(args.index, args.step, args.passages)
    seconds = time.monotonic() - started
    status = Path("/proc/self/status").read_text()
    peak, anonymous = (
        int(status.partition(name)[2].split()[0]) * 1024 / 1e6 for name in ("VmHWM:", "RssAnon:")
    )
    print(f"| {store} | {args.step} | {seconds:.1f} | {peak:,.0f} ({anonymous:,.0f}) | {said} |")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
