"""Exact search against the libraries people use for it: time, and memory.

    python benchmarks/search.py --work work/search | tee benchmarks/logs/search.log
    python benchmarks/search.py --work work/search --plot             # growth
    python benchmarks/search.py --work work/search --large 10000000   # 15 GB on disk
    python benchmarks/search.py --work work/search --drop-in          # semantic_search

Needs `pip install faiss-cpu usearch`. The embeddings are those of 100,000 real questions of the
public collections beside the checkout, encoded once by all-MiniLM-L6-v2 and kept; a million rows
are ten copies of each with random noise of 0.3 of its length, normalised again: real rows in small
clusters. The 1,000 queries are further real questions. Every engine answers the same call in turn,
several times over; the medians are compared. All of them search the same rows, in memory or in the
page cache; ours has its int8 copy, as after some hundred queries. Memory is measured in a process
of its own for each engine, from before it has seen the rows: the peaks of anonymous memory and of
mapped files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[2] / "shared" / "data"
REAL = 100_000
QUERIES = 1_000
NOISE = 0.3  # of a row's length
CASES = [(1, 10), (100, 10), (1000, 10), (100, 100), (1000, 100)]
MEMORY_CASES = [(1, 10), (100, 10), (100, 100)]
PAUSE = 0.1  # seconds: threads of OpenBLAS and OpenMP go on spinning for 20 ms and more
SLOW = 25  # seconds: an engine that takes longer is not asked again
DEEPEST_CHECK = 200  # queries whose answers are compared

Run = Callable[[np.ndarray, int], np.ndarray]


# --- the engines: a corpus -> a function of queries and k that returns row numbers


def ours(corpus: np.ndarray) -> Run:
    from shortlist.pipeline.exact.search import ExactSearch

    search = ExactSearch(corpus, integers=True)
    search.search(corpus[:1], 1)  # makes the int8 copy
    return lambda queries, k: search.search(queries, k)[1]


def ours_float32(corpus: np.ndarray) -> Run:
    from shortlist.pipeline.exact.search import ExactSearch

    search = ExactSearch(corpus, integers=False)
    return lambda queries, k: search.search(queries, k)[1]


def sentence_transformers(function: str) -> Callable[[np.ndarray], Run]:
    def make(corpus: np.ndarray) -> Run:
        import torch
        from sentence_transformers import util

        tensor = torch.from_numpy(np.require(corpus, requirements="W"))
        score = getattr(util, function)

        def run(queries: np.ndarray, k: int) -> np.ndarray:
            found = util.semantic_search(
                torch.from_numpy(queries), tensor, top_k=k, score_function=score
            )
            return np.array([[hit["corpus_id"] for hit in hits] for hits in found])

        return run

    return make


def faiss_flat(corpus: np.ndarray) -> Run:
    import faiss

    index = faiss.IndexFlatIP(corpus.shape[1])
    index.add(corpus)
    return lambda queries, k: index.search(queries, k)[1]


def usearch_exact(corpus: np.ndarray) -> Run:
    from usearch.index import MetricKind, search

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        found = search(corpus, queries, k, MetricKind.IP, exact=True)
        return np.atleast_2d(found.keys).astype(np.int64)

    return run


def plain_numpy(corpus: np.ndarray) -> Run:
    def run(queries: np.ndarray, k: int) -> np.ndarray:
        parts = []
        for start in range(0, len(queries), 100):  # 400 MB of scores of a million rows
            scores = queries[start : start + 100] @ corpus.T
            best = np.argpartition(scores, -k, axis=1)[:, -k:]
            order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
            parts.append(np.take_along_axis(best, order, axis=1))
        return np.concatenate(parts)

    return run


def plain_torch(corpus: np.ndarray) -> Run:
    import torch

    tensor = torch.from_numpy(np.require(corpus, requirements="W"))

    def run(queries: np.ndarray, k: int) -> np.ndarray:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(queries), 100):
                scores = torch.from_numpy(queries[start : start + 100]) @ tensor.T
                parts.append(torch.topk(scores, k).indices.numpy())
        return np.concatenate(parts)

    return run


ENGINES: dict[str, Callable[[np.ndarray], Run]] = {
    "shortlist": ours,
    "shortlist float32": ours_float32,
    "ST dot": sentence_transformers("dot_score"),
    "ST cosine": sentence_transformers("cos_sim"),
    "FAISS Flat": faiss_flat,
    "usearch exact": usearch_exact,
    "numpy": plain_numpy,
    "torch": plain_torch,
}
OURS = ("shortlist", "shortlist float32")


# --- the rows


def real_rows(work: Path) -> np.ndarray:
    """100,000 rows and 1,000 queries."""
    file = work / "real.npy"
    if not file.exists():
        from shortlist import BiEncoder

        model = BiEncoder.load("all-MiniLM-L6-v2", precision="int8")
        np.save(file, model.encode_passages(real_texts()))
    return np.load(file, mmap_mode="r")


def real_texts() -> list[str]:
    """What they were made from."""
    files = [*sorted(DATA.glob("*/queries.jsonl")), DATA / "quora" / "corpus.jsonl"]
    texts = sorted({json.loads(line)["text"] for path in files for line in path.open()})
    chosen = np.random.default_rng(0).permutation(len(texts))[: REAL + QUERIES]
    return [texts[number] for number in chosen]


def rows_of(work: Path, count: int) -> np.ndarray:
    """So many rows, real ones first, mapped."""
    real = real_rows(work)[:REAL]
    if count <= REAL:
        return real[:count]
    file = work / f"{count}.npy"
    if not file.exists():
        draft = np.lib.format.open_memmap(
            file.with_suffix(".draft"), "w+", np.float32, (count, real.shape[1])
        )
        random = np.random.default_rng(1)
        for start in range(0, count, REAL):
            part = np.array(real[: count - start])
            if start:
                noise = random.normal(size=part.shape).astype(np.float32)
                part += noise * np.float32(NOISE / part.shape[1] ** 0.5)
                part /= np.linalg.norm(part, axis=1, keepdims=True)
            draft[start : start + len(part)] = part
        draft.flush()
        file.with_suffix(".draft").rename(file)
    return np.load(file, mmap_mode="r")


def queries_of(work: Path) -> np.ndarray:
    return np.array(real_rows(work)[REAL:])


# --- time


def compare(
    corpus: np.ndarray,
    queries: np.ndarray,
    cases: list[tuple[int, int]],
    names: list[str],
    rounds: int,
) -> dict[tuple[int, int], dict[str, float]]:
    """Median seconds of every engine for every case, and whether they agree."""
    runs = {name: ENGINES[name](corpus) for name in names}
    measured = {}
    for count, k in cases:
        times: dict[str, list[float]] = {name: [] for name in names}
        answers = {}
        # calls of less than 10 ms are repeated more often
        for turn in range(rounds * (3 if count == 1 else 1) + 1):
            for name, run in runs.items():
                if max(times[name], default=0) > SLOW:
                    continue
                some = queries[turn % 7 : turn % 7 + 1] if count == 1 else queries[:count]
                time.sleep(PAUSE)
                started = time.perf_counter()
                answers[name] = run(some, k)
                seconds = time.perf_counter() - started
                if turn or seconds > SLOW:
                    times[name].append(seconds)
        for name in names:
            check = agreement(answers[name], answers[names[0]])
            if check < 0.999:
                print(f"{name}: only {check:.4f} of the results at {count} x {k} are ours")
        measured[count, k] = {name: float(np.median(times[name])) for name in names}
    return measured


def agreement(some: np.ndarray, others: np.ndarray) -> float:
    pairs = list(zip(some[:DEEPEST_CHECK], others[:DEEPEST_CHECK], strict=True))
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


def table(measured: dict[tuple[int, int], dict[str, float]], names: list[str]) -> str:
    peers = [name for name in names if name not in OURS]
    lines = [
        "| queries x k | " + " | ".join(names) + " | fastest peer / shortlist |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for (count, k), times in measured.items():
        fastest = min(peers, key=times.__getitem__)
        cells = " | ".join(f"{times[name] * 1e3:,.1f}" for name in names)
        ratio = times[fastest] / times["shortlist"]
        lines.append(f"| {count:,} x {k} | {cells} | {ratio:.1f} ({fastest}) |")
    return "\n".join(lines)


def drop_in(work: Path, rounds: int) -> None:
    """The function of the same name against that of sentence-transformers, on fresh tensors."""
    import torch
    from sentence_transformers import util

    from shortlist import semantic_search

    corpus = torch.from_numpy(np.array(rows_of(work, 200_000)))
    queries = torch.from_numpy(queries_of(work))
    both = (util.semantic_search, semantic_search)
    print("| score | queries x k | sentence-transformers ms | shortlist ms | ratio |")
    print("|---|---|---|---|---|")
    for score in (util.dot_score, util.cos_sim):
        for count, k in CASES[:3]:
            times: tuple[list[float], list[float]] = ([], [])
            for turn in range(rounds + 1):
                for function, taken in zip(both, times, strict=True):
                    time.sleep(PAUSE)
                    started = time.perf_counter()
                    function(queries[:count], corpus, top_k=k, score_function=score)
                    if turn:
                        taken.append(time.perf_counter() - started)
            theirs, ours = (float(np.median(taken)) * 1e3 for taken in times)
            print(
                f"| {score.__name__} | {count:,} x {k} | {theirs:,.1f} | {ours:,.1f} | "
                f"{theirs / ours:.2f} |",
                flush=True,
            )


# --- memory


def memory_of(work: Path, count: int, name: str) -> tuple[float, float, float]:
    """MB: the peaks of anonymous memory and of mapped files, and seconds until it can search."""
    command = [sys.executable, __file__, "--work", str(work), "--rows", str(count)]
    done = subprocess.run([*command, "--alone", name], check=True, capture_output=True, text=True)
    anonymous, mapped, opening = json.loads(done.stdout.splitlines()[-1])
    return anonymous, mapped, opening


def alone(work: Path, count: int, name: str) -> None:
    corpus, queries = rows_of(work, count), queries_of(work)
    small = np.array(corpus[:64])
    ENGINES[name](small)(queries[:1], 1)  # libraries are loaded and threads started
    with watched() as peaks:
        started = time.perf_counter()
        run = ENGINES[name](corpus)
        opening = time.perf_counter() - started
        for queries_asked, k in MEMORY_CASES:
            run(queries[:queries_asked], k)
    print(json.dumps([*peaks.tolist(), opening]))


@contextmanager
def watched() -> Iterator[np.ndarray]:
    """MB: the peaks of `resident` above what it was, when it is left."""
    before, peaks, done = resident(), np.zeros(2), threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            np.maximum(peaks, resident() - before, out=peaks)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()


def resident() -> np.ndarray:
    """MB of anonymous memory and of mapped files."""
    status = Path("/proc/self/status").read_text()
    names = ("RssAnon:", "RssFile:")
    return np.array([int(status.partition(n)[2].split()[0]) * 1024 / 1e6 for n in names])


def memory_table(work: Path, count: int, names: list[str]) -> str:
    whole = count * 384 * 4 / 1e6
    lines = [
        f"The matrix has {whole:,.0f} MB in float32.\n",
        "| engine | anonymous MB | of the matrix | mapped files MB | opening s |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        anonymous, mapped, opening = memory_of(work, count, name)
        share = anonymous / whole
        lines.append(f"| {name} | {anonymous:,.0f} | {share:.2f} | {mapped:,.0f} | {opening:.1f} |")
    return "\n".join(lines)


# --- ten millions


def large(work: Path, count: int) -> None:
    """Rows with the covariance of real ones, on disk, searched by us alone."""
    file = work / f"spectrum-{count}.npy"
    if not file.exists():
        generate(real_rows(work)[:REAL], file, count)
    corpus, queries = np.load(file, mmap_mode="r"), queries_of(work)
    with watched() as peaks:
        started = time.perf_counter()
        run = ours(corpus)
        print(f"{count:,} rows: int8 copy made in {time.perf_counter() - started:.0f} s")
        for asked, k in [*CASES[:3], (100, 100)]:
            times = []
            for _ in range(3):
                started = time.perf_counter()
                run(queries[:asked], k)
                times.append(time.perf_counter() - started)
            print(f"{asked:,} x {k}: {np.median(times) * 1e3:,.0f} ms")
    anonymous, mapped = peaks
    print(f"anonymous {anonymous:,.0f} MB, mapped files {mapped:,.0f} MB")
    found = run(queries[:20], 100)
    print(
        f"equal to a brute force in float64: {np.array_equal(found, brute(corpus, queries[:20]))}"
    )


def brute(corpus: np.ndarray, queries: np.ndarray, k: int = 100) -> np.ndarray:
    """Scores summed in float64 and rounded, equal ones by row, of the candidates of float32."""
    best: list[np.ndarray] = [np.empty(0, np.int64)] * len(queries)
    for start in range(0, len(corpus), REAL):
        part = np.array(corpus[start : start + REAL])
        rough = queries @ part.T
        for number, values in enumerate(rough):
            rows = start + np.argpartition(values, -3 * k)[-3 * k :]
            best[number] = np.concatenate([best[number], rows])
    found = []
    for query, rows in zip(queries.astype(np.float64), best, strict=True):
        rows = np.sort(rows)
        scores = (corpus[rows].astype(np.float64) * query).sum(axis=1).astype(np.float32)
        found.append(rows[np.argsort(-scores, kind="stable")[:k]])
    return np.array(found)


def generate(real: np.ndarray, file: Path, count: int) -> None:
    wide = np.array(real, np.float64)
    factor = np.linalg.cholesky(np.cov(wide.T) + 1e-9 * np.eye(wide.shape[1])).astype(np.float32)
    mean = wide.mean(axis=0).astype(np.float32)
    random = np.random.default_rng(2)
    draft = np.lib.format.open_memmap(
        file.with_suffix(".draft"), "w+", np.float32, (count, wide.shape[1])
    )
    for start in range(0, count, REAL):
        size = (min(REAL, count - start), wide.shape[1])
        rows = random.standard_normal(size, np.float32) @ factor.T + mean
        draft[start : start + REAL] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    draft.flush()
    file.with_suffix(".draft").rename(file)


# --- growth


def plots(work: Path, names: list[str], rounds: int) -> None:
    sizes = [100_000, 200_000, 500_000, 1_000_000]
    by_rows: dict[str, list[float]] = {name: [] for name in names}
    for count in sizes:
        found = compare(rows_of(work, count), queries_of(work), [(100, 10)], names, rounds)
        for name in names:
            by_rows[name].append(found[100, 10][name] * 1e3)
    counts = [1, 10, 100, 1000]
    cases = [(count, 10) for count in counts]
    found = compare(rows_of(work, 1_000_000), queries_of(work), cases, names, rounds)
    by_queries = {name: [found[case][name] * 1e3 / case[0] for case in cases] for name in names}
    print(chart("100 queries, top 10", "rows", [f"{n:,}" for n in sizes], by_rows))
    print(
        chart("1,000,000 rows, top 10, ms a query", "queries", list(map(str, counts)), by_queries)
    )


def chart(title: str, axis: str, places: list[str], lines: dict[str, list[float]]) -> str:
    shown = "\n".join(
        f"    line [{', '.join(f'{value:.2f}' for value in values)}]" for values in lines.values()
    )
    labels = ", ".join(f'"{place}"' for place in places)
    rows = "\n".join(
        f"| {name} | " + " | ".join(f"{value:,.1f}" for value in values) + " |"
        for name, values in lines.items()
    )
    return (
        f'\n```mermaid\nxychart-beta\n    title "{title} (milliseconds)"\n'
        f'    x-axis "{axis}" [{labels}]\n    y-axis "ms"\n{shown}\n```\n\n'
        f"| {axis} | {' | '.join(places)} |\n|---|{'---|' * len(places)}\n{rows}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("work/search"))
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--drop-in", action="store_true")
    parser.add_argument("--large", type=int, help="ours alone, with so many generated rows")
    parser.add_argument("--alone")
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    args.work.mkdir(parents=True, exist_ok=True)
    if args.alone:
        alone(args.work, args.rows[0], args.alone)
        return
    if args.drop_in:
        drop_in(args.work, args.rounds)
        return
    if args.large:
        large(args.work, args.large)
        return
    if args.plot:
        plots(args.work, args.engines, args.rounds)
        return
    from shortlist.models.saturation import products_saturate

    print(
        f"cores: {len(os.sched_getaffinity(0))}; bytes multiply rightly: {not products_saturate()}"
    )
    for count in args.rows:
        corpus = np.array(rows_of(args.work, count))
        print(f"\n{count:,} rows, milliseconds\n")
        print(
            table(
                compare(corpus, queries_of(args.work), CASES, args.engines, args.rounds),
                args.engines,
            )
        )
        del corpus
        if not args.no_memory:
            print("\n" + memory_table(args.work, count, args.engines), flush=True)


if __name__ == "__main__":
    main()
