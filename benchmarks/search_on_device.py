"""Exact search on a GPU against sentence-transformers and a plain torch matmul with topk.

    python benchmarks/search_on_device.py --rows 5000000          # on the GPU
    python benchmarks/search_on_device.py --rows 20000 --device cpu

The rows are random, of length 1, in clusters of ten; 1,000 queries, top 100, float32 everywhere but
in our first pass. Every engine has the rows on the device already; the answers are interleaved, and
the medians compared. Needs 2 + 4 bytes of the device's memory a value: 12 GB for five million rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from sentence_transformers import util

from shortlist.pipeline.exact.on_device import DeviceSearch, HostRows
from shortlist.pipeline.exact.rows import Rows

DIM, QUERIES, TOP_K = 384, 1_000, 100
AT_ONCE = 500_000


def rows(count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    made = np.empty((count, DIM), np.float32)
    for start in range(0, count, AT_ONCE):
        size = min(AT_ONCE, count - start)
        centres = random.standard_normal((-(-size // 10), DIM), np.float32)
        part = np.repeat(centres, 10, axis=0)[:size]
        part += 0.5 * random.standard_normal((size, DIM), np.float32)
        made[start : start + size] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return made


def plain(queries: torch.Tensor, corpus: torch.Tensor) -> np.ndarray:
    """Products of 50 queries with all rows, 1 GB, and their topk."""
    parts = [
        torch.topk(queries[start : start + 50] @ corpus.T, TOP_K).indices
        for start in range(0, len(queries), 50)
    ]
    return torch.cat(parts).cpu().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    corpus = rows(args.rows)
    noise = 0.5 * np.random.default_rng(1).standard_normal((QUERIES, DIM), np.float32)
    asked = corpus[:: args.rows // QUERIES][:QUERIES] + noise / DIM**0.5
    on_device = torch.from_numpy(corpus).to(args.device)
    queries = torch.from_numpy(asked).to(args.device)
    search = DeviceSearch(HostRows(Rows([corpus])), args.device)
    engines: dict[str, Callable[[], np.ndarray]] = {
        "shortlist": lambda: search.search(asked, TOP_K, None, len(corpus))[1],
        "torch matmul + topk": lambda: plain(queries, on_device),
        "sentence-transformers": lambda: np.array(
            [
                [hit["corpus_id"] for hit in hits]
                for hits in util.semantic_search(
                    queries, on_device, top_k=TOP_K, score_function=util.dot_score
                )
            ]
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in engines}
    answers = {}
    for turn in range(args.rounds + 1):
        for name, run in engines.items():
            started = time.perf_counter()
            answers[name] = run()  # its answer is on the host: the device has finished
            if turn:
                times[name].append(time.perf_counter() - started)
    name = torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device
    print(f"{name}: {args.rows:,} x {DIM}, {QUERIES:,} queries, top {TOP_K}\n")
    print("| engine | ms | times ours | of its results ours |\n|---|---|---|---|")
    ours = float(np.median(times["shortlist"]))
    for engine, seconds in times.items():
        middle = float(np.median(seconds))
        same = np.mean(
            [
                len(set(a) & set(b)) / TOP_K
                for a, b in zip(answers[engine], answers["shortlist"], strict=True)
            ]
        )
        print(f"| {engine} | {middle * 1e3:,.0f} | {middle / ours:.1f} | {same:.5f} |")


if __name__ == "__main__":
    main()
