"""Approximate engines: recall against queries per second, build time, size, memory, overhead.

    python benchmarks/engines.py --work work/search --rows 100000 --plot docs/engines-100k.svg
    python benchmarks/engines.py --work work/search --rows 1000000 --queries 200 \
        --vicinity hnswlib --plot docs/engines-1m.svg

Needs `pip install 'shortlist[faiss,hnswlib,annoy,milvus]' vicinity matplotlib`. The rows are those
of benchmarks/search.py: 100,000 real questions encoded by all-MiniLM-L6-v2; a million are ten
copies of each with noise. The queries (1,000, or as --queries says) are further real questions,
which no effort was found with: that is done with samples that the index makes of its own texts, as
for every user.

Every engine answers the same queries, 100 a call, in turn with all others, several times
over; medians count. "bare" is the library's own call on the very index that our engine searches,
with the same effort: no true scores, no deletes, no filters, and whatever order it returns. Of
IVF-PQ the bare call is FAISS's own rescoring (IndexRefine) over the same lists. vicinity builds its
own indexes, with its defaults. What our call adds to the bare one is told by 200 of each (as many
as half a minute allows), one after the other.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from search import PAUSE, queries_of, real_texts, rows_of, watched

from shortlist import BiEncoder
from shortlist.pipeline.building import building
from shortlist.pipeline.engines.approximate import ApproximateSearch, Measured
from shortlist.pipeline.engines.opening import opened_engine
from shortlist.pipeline.engines.protocol import Effort
from shortlist.pipeline.engines.tuning import sample_queries
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.index import Index
from shortlist.pipeline.segments import Rows
from shortlist.pipeline.stages import new_manifest
from shortlist.records import Passage

ENGINES = ["faiss", "faiss-ivfpq", "hnswlib", "annoy", "milvus"]
AROUND = (-8, -4, 0, 4)  # steps of the effort around the one that was found: a quarter to twice
CALL = 100  # queries
PAIRS, PAIRS_SECONDS = 200, 30  # of calls that tell the overhead
APPEND = 8192

Search = Callable[[np.ndarray, int], np.ndarray]


@dataclass
class Line:
    """One way to search, at some efforts."""

    name: str
    points: list[Search]
    at_target: int | None = None  # which point is the effort that was found
    recall: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)  # of a call of 100 queries
    efforts: list[Effort] = field(default_factory=list)


# --- an index of the rows


def index_of(work: Path, rows: int, encoder: BiEncoder) -> Index:
    path = work / f"engines-{rows}.idx"
    if not path.exists():
        manifest = new_manifest(
            encoder, cross_encoder="none", preset="fast", store="float32", source={}
        )
        texts, matrix = real_texts(), rows_of(work, rows)
        with building(path, manifest) as writer:
            for start in range(0, rows, APPEND):
                block = np.array(matrix[start : start + APPEND])
                numbers = range(start, start + len(block))
                passages = [Passage(str(n), texts[n % 100_000]) for n in numbers]
                writer.append(Rows(passages, block, np.zeros(len(block), np.int64)))
    return Index(path)


def opened(index: Index, name: str, encoder: BiEncoder) -> ApproximateSearch:
    """The engine; how long it took to build is kept."""
    there = (index.path / "engines" / f"{name}.json").exists()
    started = time.perf_counter()
    search = opened_engine(index, name, lambda: sample_queries(index, encoder))
    if not there:
        seconds = time.perf_counter() - started
        (index.path / f"built-{name}.json").write_text(json.dumps(seconds))
        print(f"{name}: built, measured and saved in {seconds:.0f} s", flush=True)
    return search


def size_mb(index: Index, name: str) -> float:
    folders = (index.path / "engines").glob(f"{name}-[0-9]*")
    return sum(f.stat().st_size for d in folders for f in d.rglob("*") if f.is_file()) / 1e6


# --- ways to search


def ours(search: ApproximateSearch, top_k: int) -> Line:
    """Our engine at efforts around the one that was found."""
    found = search.for_depth(top_k)
    assert found is not None
    efforts = list(search.engine.efforts(top_k))
    place = efforts.index(dict(found.effort))
    chosen = [efforts[place + step] for step in AROUND if 0 <= place + step < len(efforts)]

    def at(effort: Effort) -> Search:
        trial = search.with_efforts([Measured(top_k, 0, 0, 0, effort, 0, 0, 0)])
        return lambda queries, k: trial.search(queries, k)[1]

    points = [at(effort) for effort in chosen]
    at_target = chosen.index(efforts[place])
    return Line(f"shortlist {search.kind.name}", points, at_target, efforts=chosen)


def bare(search: ApproximateSearch, corpus: np.ndarray, line: Line) -> Line:
    """The library's own call on the same index, with the same efforts."""
    name = search.kind.name
    if name == "faiss-ivfpq":
        points = [bare_refined(search.engine, corpus, effort) for effort in line.efforts]
    else:
        calls = {
            "faiss": bare_faiss,
            "hnswlib": bare_hnswlib,
            "annoy": bare_annoy,
            "milvus": bare_milvus,
        }
        points = [calls[name](search.engine, effort) for effort in line.efforts]
    return Line(f"bare {name}", points, line.at_target)


def bare_faiss(engine: Any, effort: Effort) -> Search:
    import faiss

    graph = engine._index
    parameters = faiss.SearchParametersHNSW(efSearch=effort["ef"])
    return lambda queries, k: graph.search(queries, k, params=parameters)[1]


_flat: dict[int, object] = {}


def bare_refined(engine: Any, corpus: np.ndarray, effort: Effort) -> Search:
    import faiss

    if id(corpus) not in _flat:
        _flat[id(corpus)] = flat = faiss.IndexFlatL2(corpus.shape[1])
        flat.add(np.ascontiguousarray(corpus))
    refined = faiss.IndexRefine(engine._index, _flat[id(corpus)])
    parameters = faiss.IndexRefineSearchParameters(
        k_factor=effort["factor"],
        base_index_params=faiss.SearchParametersIVF(nprobe=effort["nprobe"]),
    )
    return lambda queries, k: refined.search(queries, k, params=parameters)[1]


def bare_hnswlib(engine: Any, effort: Effort) -> Search:
    graph = engine._index

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        graph.set_ef(effort["ef"])
        return graph.knn_query(queries, k)[0].astype(np.int64)

    return run


def bare_annoy(engine: Any, effort: Effort) -> Search:
    forest, size = engine._forest, effort["search_k"]

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        found = [forest.get_nns_by_vector(query, k, search_k=size) for query in queries]
        return np.array([labels + [-1] * (k - len(labels)) for labels in found])

    return run


def bare_milvus(engine: Any, effort: Effort) -> Search:
    client, collection = engine._client, engine.collection

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        answers = client.search(
            collection, queries, limit=k, search_params={"params": {"ef": effort["ef"]}}
        )
        return np.array([hits.ids for hits in answers])

    return run


def vicinity_lines(corpus: np.ndarray, names: list[str]) -> list[Line]:
    """Its backends over the same libraries, with its own defaults."""
    from vicinity import Backend, Vicinity

    kinds = {
        "hnswlib": ("vicinity HNSW", Backend.HNSW, {}),
        "faiss": ("vicinity FAISS hnsw", Backend.FAISS, {"index_type": "hnsw"}),
        "annoy": ("vicinity ANNOY", Backend.ANNOY, {}),
    }
    lines = []
    for key, (name, backend, options) in kinds.items():
        if key not in names:
            continue
        started = time.perf_counter()
        made = Vicinity.from_vectors_and_items(
            np.array(corpus), list(range(len(corpus))), backend_type=backend, **options
        )
        print(f"{name}: built in {time.perf_counter() - started:.0f} s", flush=True)

        def run(queries: np.ndarray, k: int, made: Vicinity = made) -> np.ndarray:
            answers = made.query(queries, k=k)
            found = np.full((len(queries), k), -1, np.int64)
            for number, hits in enumerate(answers):
                found[number, : len(hits)] = [item for item, _ in hits]
            return found

        lines.append(Line(name, [run], 0))
    return lines


# --- measuring


def measure(lines: list[Line], queries: np.ndarray, best: np.ndarray, k: int, rounds: int) -> None:
    """Fill in recall and milliseconds of every point of every line."""
    points = [(line, run) for line in lines for run in line.points]
    calls = [queries[start : start + CALL] for start in range(0, len(queries), CALL)]
    times: list[list[float]] = [[] for _ in points]
    for turn in range(rounds + 1):
        for number, (line, run) in enumerate(points):
            if turn == 0:
                line.recall.append(recall(np.concatenate([run(call, k) for call in calls]), best))
            elif turn == 1 or sum(times[number][:10]) < 20:  # slow ones are asked once
                time.sleep(PAUSE)
                for call in calls:
                    started = time.perf_counter()
                    run(call, k)
                    times[number].append(time.perf_counter() - started)
    for (line, _), taken in zip(points, times, strict=True):
        line.ms.append(float(np.median(taken)) * 1e3)


def recall(found: np.ndarray, best: np.ndarray) -> float:
    return float(np.mean([len(set(f) & set(b)) / len(b) for f, b in zip(found, best, strict=True)]))


def overhead(line: Line, other: Line, queries: np.ndarray, k: int) -> str:
    """Of our call over the library's own, both with the same effort, call by call in turn."""
    assert line.at_target is not None
    runs = [one.points[line.at_target] for one in (line, other)]
    calls = [queries[start : start + CALL] for start in range(0, len(queries), CALL)]
    for run in runs:
        run(calls[0], k)
    times: list[list[float]] = [[], []]
    time.sleep(PAUSE)
    began = time.perf_counter()
    while len(times[0]) < PAIRS and time.perf_counter() - began < PAIRS_SECONDS:
        turn = len(times[0])
        for which in (0, 1) if turn % 2 else (1, 0):
            call = calls[(turn + which) % len(calls)]  # not the one that was just answered
            started = time.perf_counter()
            runs[which](call, k)
            times[which].append(time.perf_counter() - started)
    ms, theirs = (float(np.median(taken)) * 1e3 for taken in times)
    return f"{theirs:.2f} {ms - theirs:+.2f} ms ({ms / theirs - 1:+.1%})"


def added_by(search: ApproximateSearch, corpus: np.ndarray, queries: np.ndarray) -> list[str]:
    told = []
    for k in (10, 100):
        mine = ours(search, k)
        told.append(overhead(mine, bare(search, corpus, mine), queries, k))
    return told


def memory(work: Path, rows: int, name: str) -> list[float]:
    """MB of a process that opens the engine and answers 100 queries: its own, mapped files."""
    command = [sys.executable, __file__, "--work", str(work), "--rows", str(rows)]
    done = subprocess.run([*command, "--alone", name], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def alone(work: Path, rows: int, name: str) -> None:
    index, queries = Index(work / f"engines-{rows}.idx"), queries_of(work)
    ExactSearch(np.eye(64, 384, dtype=np.float32)).search(queries[:1], 1)
    with watched() as peaks:
        started = time.perf_counter()
        if name == "exact":
            search = ExactSearch(index.embeddings, integers=True)
        else:
            search = opened_engine(index, name, lambda: queries)
        seconds = time.perf_counter() - started
        search.search(queries[:100], 10)
    print(json.dumps([*peaks.tolist(), seconds]))


# --- what is printed


def table(lines: dict[int, list[Line]]) -> str:
    out = [
        "| | " + " | ".join(f"recall@{k} | ms / 100 queries | queries/s" for k in lines) + " |",
        "|---|" + "---|---|---|" * len(lines),
    ]
    for group in zip(*lines.values(), strict=True):
        cells = []
        for line in group:
            place = line.at_target or 0
            ms = line.ms[place]
            cells += [f"{line.recall[place]:.4f}", f"{ms:.1f}", f"{CALL / ms * 1e3:,.0f}"]
        out.append(f"| {group[0].name} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def added(told: dict[str, list[str]]) -> str:
    out = ["\n| bare ms for 100 queries, and what we add | top 10 | top 100 |", "|---|---|---|"]
    return "\n".join([*out, *(f"| {name} | {' | '.join(cells)} |" for name, cells in told.items())])


def plot(file: Path, rows: int, lines: dict[int, list[Line]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(lines), figsize=(12, 5), sharey=True)
    colours = {"faiss": "C0", "faiss-ivfpq": "C1", "hnswlib": "C2", "annoy": "C3", "milvus": "C4"}
    for axis, (k, group) in zip(axes, lines.items(), strict=True):
        for line in group:
            if line.name == "exact":
                axis.axhline(CALL / line.ms[0] * 1e3, color="black", label="shortlist exact")
                continue
            maker, _, name = line.name.partition(" ")
            style = {"shortlist": "-o", "bare": "--x", "vicinity": "s"}[maker]
            colour = colours.get(name, colours.get({"HNSW": "hnswlib"}.get(name, ""), "C5"))
            speed = [CALL / ms * 1e3 for ms in line.ms]
            axis.plot(line.recall, speed, style, color=colour, label=line.name, markersize=4)
        axis.set(xlabel=f"recall@{k}", yscale="log", title=f"{rows:,} rows, top {k}")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("queries per second, 100 a call")
    axes[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vicinity", default="hnswlib,faiss,annoy", help="which of its backends")
    parser.add_argument("--only-overhead", action="store_true")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        return alone(options.work, options.rows, options.alone)
    options.work.mkdir(parents=True, exist_ok=True)
    names = options.engines.split(",")
    encoder = BiEncoder.load("all-MiniLM-L6-v2", precision="int8")
    corpus = rows_of(options.work, options.rows)
    queries = queries_of(options.work)[: options.queries]
    index = index_of(options.work, options.rows, encoder)
    exact = ExactSearch(index.embeddings, integers=True)
    searches = {name: opened(index, name, encoder) for name in names}
    if options.only_overhead:
        print(added({name: added_by(search, corpus, queries) for name, search in searches.items()}))
        return None
    theirs = vicinity_lines(corpus, options.vicinity.split(","))
    lines: dict[int, list[Line]] = {}
    for k in (10, 100):
        _, best = exact.search(queries, k)
        group = [Line("exact", [lambda some, k: exact.search(some, k)[1]], 0)]
        for search in searches.values():
            mine = ours(search, k)
            group += [mine, bare(search, corpus, mine)]
        group += [Line(line.name, line.points, 0) for line in theirs]
        measure(group, queries, best, k, options.rounds)
        lines[k] = group
    asked = f"recall on {len(queries):,} fresh questions"
    print(f"\n{options.rows:,} rows; {asked}; the effort of target .99\n")
    print(table(lines))
    print("\n| engine | built and measured s | on disk MB | own memory MB | mapped MB | opened s |")
    print("|---|---|---|---|---|---|")
    for name in ["exact", *names]:
        built = index.path / f"built-{name}.json"
        seconds = f"{json.loads(built.read_text()):.0f}" if built.exists() else ""
        own, mapped, opening = memory(options.work, options.rows, name)
        size = size_mb(index, name) if name != "exact" else 0.0
        print(f"| {name} | {seconds} | {size:.0f} | {own:.0f} | {mapped:.0f} | {opening:.1f} |")
    print(added({name: added_by(search, corpus, queries) for name, search in searches.items()}))
    if options.plot:
        plot(options.plot, options.rows, lines)
    return None


if __name__ == "__main__":
    main()
