"""A first answer: `shortlist search` on 100,000 passages in a new process, from import to print.

    python benchmarks/cold_start.py              # minutes; the index is kept in work/cold_start

Beside it, round by round in turn, the same with sentence-transformers: its retrieve-and-rerank
example on the same weights, with embeddings loaded from a file. Peak memory is the process's
largest resident set, files that are mapped included. The passages are real ones of the public
collections; where there are too few, they come again with a marker.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from encode import SHARED, machine
from two_stages import passages_of

from shortlist import RetrieveRerankPipeline
from shortlist.models.loading import resolve
from shortlist.models.presets import MINILM, OUR_CROSS_ENCODER
from shortlist.pipeline.systems import first_stages
from shortlist.records import Passage

SETS = ["squad", "medquad", "msmarco", "quora", "publications", "squadshifts_new_wiki"]
QUESTION = "Which monks introduced the first printing press to the island?"
DEPTH = 30
REFERENCE = """
import json, sys
import numpy as np
from sentence_transformers import CrossEncoder, SentenceTransformer, util
from torch.nn import Identity
folder, bi, cross, question, depth = sys.argv[1:]
texts = json.load(open(folder + "/texts.json"))
embeddings = np.load(folder + "/embeddings.npy")
model = SentenceTransformer(bi, device="cpu")
found = util.semantic_search(model.encode([question]), embeddings, top_k=int(depth))[0]
scorer = CrossEncoder(cross, device="cpu", activation_fn=Identity())
scorer.model.float()
scores = scorer.predict([(question, texts[hit["corpus_id"]]) for hit in found])
for place in np.argsort(-scores)[:5]:
    print(scores[place], texts[found[place]["corpus_id"]])
"""


def pooled(args: argparse.Namespace) -> Iterator[tuple[Passage, np.ndarray]]:
    """Passages of several sets with their embeddings, again and again with a marker."""
    again = 0
    while True:
        for name in SETS:
            (stage,) = first_stages(
                passages_of(args.data / name), args.work, ["minilm"], precision="float32"
            )
            assert isinstance(stage.searcher, RetrieveRerankPipeline)
            index = stage.searcher.index
            mark = f" (again: {again})" if again else ""
            for row, passage in enumerate(index.all_passages()):
                changed = replace(
                    passage,
                    id=f"{name}/{passage.id}/{again}",
                    text=passage.text + mark,
                    document_id="",
                )
                yield changed, index.vectors(np.array([row]))[0]
        again += 1


def prepare(args: argparse.Namespace) -> Path:
    folder: Path = args.out / f"{args.passages}"
    if (folder / "index" / "manifest.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    passages, vectors = zip(*islice(pooled(args), args.passages), strict=True)
    embeddings = np.stack(vectors)
    np.save(folder / "embeddings.npy", embeddings)
    (folder / "texts.json").write_text(json.dumps([p.model_text for p in passages]))
    RetrieveRerankPipeline.build(
        passages, folder / "index", embeddings=embeddings, bi_encoder=MINILM, overwrite=True
    )
    return folder


def measured(command: list[str]) -> tuple[float, int, str]:
    """Wall-clock seconds, peak memory in MB, and what was printed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[:3]} failed:\n{process.stderr.read()}")  # type: ignore[union-attr]
    return time.perf_counter() - start, usage.ru_maxrss // 1024, printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--work", type=Path, default=Path("work/systems"))
    parser.add_argument("--out", type=Path, default=Path("work/cold_start"))
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--only-prepare", action="store_true")
    args = parser.parse_args()
    if args.only_prepare:
        prepare(args)
        return
    # in a process of its own: one that is started has the memory of its parent as its first peak
    subprocess.run([sys.executable, *sys.argv, "--only-prepare"], check=True)
    folder = prepare(args)
    search = [
        str(Path(sys.executable).with_name("shortlist")),
        "search",
        str(folder / "index"),
        QUESTION,
    ]
    systems = {
        f"shortlist, {p}": [*search, "--depth", str(DEPTH), "--precision", p]
        for p in ("float32", "int8")
    }
    if not args.no_reference:
        models = [str(resolve(name).path) for name in (MINILM, OUR_CROSS_ENCODER)]
        reference = [sys.executable, "-c", REFERENCE, str(folder), *models, QUESTION, str(DEPTH)]
        systems = {"sentence-transformers": reference} | systems
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in systems}
    for number in range(args.rounds + 1):
        for name, command in systems.items():
            seconds, memory, printed = measured(command)
            if number:  # the first reads the files into memory and may export the models
                found[name].append((seconds, memory))
            else:
                print(f"{name}: {printed.strip().splitlines()[0][:100]}", flush=True)
    print(f"\n{args.passages:,} passages, depth {DEPTH}; {machine()}\n")
    print("| system | seconds, median | least | most | peak MB |")
    print("|---|---|---|---|---|")
    for name, values in found.items():
        seconds = [value for value, _ in values]
        print(
            f"| {name} | {np.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} | "
            f"{max(memory for _, memory in values)} |"
        )


if __name__ == "__main__":
    main()
