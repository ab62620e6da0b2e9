"""Whether the recall that `tune` promises holds for questions that it has never seen.

    shortlist index ../shared/data/wikipedia -o work/wikipedia.idx --preset fast
    python benchmarks/engine_recall.py work/wikipedia.idx ../shared/data/squad/queries.jsonl

Every engine is built, and its effort found, as for any user: with samples that are made of words of
the index's own passages. Then it is asked real questions. The recall is the share of the true
neighbours that was found, with the standard error of its mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from shortlist import BiEncoder
from shortlist.data.queries import read_queries
from shortlist.pipeline.engines.opening import opened_engine
from shortlist.pipeline.engines.tuning import DEPTHS, TARGET, sample_queries
from shortlist.pipeline.index import Index

ENGINES = ["faiss", "faiss-ivfpq", "hnswlib", "annoy", "milvus"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("queries", type=Path, help="JSON lines of questions, BEIR's queries.jsonl")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--engines", default=",".join(ENGINES))
    options = parser.parse_args()
    index = Index(options.index)
    encoder = BiEncoder.load("all-MiniLM-L6-v2", precision="int8")
    texts = sorted(set(read_queries(options.queries).values()))
    drawn = np.random.default_rng(9).permutation(len(texts))[: options.count]
    queries = encoder.encode_queries([texts[n] for n in drawn])
    print(f"{len(index):,} passages, {len(queries):,} questions, target recall {TARGET}\n")
    print("| engine | " + " | ".join(f"promised @{k} | found @{k}" for k in DEPTHS) + " |")
    print("|---|" + "---|---|" * len(DEPTHS))
    for name in options.engines.split(","):
        search = opened_engine(index, name, lambda: sample_queries(index, encoder))
        cells = []
        for top_k in DEPTHS:
            promised = search.for_depth(top_k)
            assert promised is not None
            best, _ = search.exact.search(queries, top_k)
            scores = search.true_scores(queries, search.search(queries, top_k)[1])
            found = (scores >= best[:, -1:]).mean(axis=1)
            error = found.std() / len(found) ** 0.5
            cells += [f"{promised.recall:.4f}", f"{found.mean():.4f} ± {error:.4f}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
