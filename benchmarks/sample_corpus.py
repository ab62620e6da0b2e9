"""How hard the sample corpus is, by kind of question: BM25, retrieval alone, both stages.

    pip install 'shortlist[bm25]'
    python benchmarks/sample_corpus.py [--split dev] [--depth 30]

MRR@10 with graded judgements counted as relevant from 1. The test split is for releases.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from shortlist import RetrieveRerankPipeline
from shortlist.cli.sample import SAMPLE
from shortlist.data.collections import Cutting, load
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.metrics import score
from shortlist.pipeline.bm25 import BM25Pipeline
from shortlist.pipeline.stages import load_bi_encoder
from shortlist.records import Passage

MEASURE = "MRR@10"


def lexical(passages: Sequence[Passage], queries: Mapping[str, str]) -> dict[str, list[str]]:
    """Rankings of BM25, without the query itself."""
    answers = BM25Pipeline(passages).search_many(list(queries.values()), top_k=11)
    return {
        query_id: [hit.id for hit in hits if hit.id != query_id][:10]
        for query_id, hits in zip(queries, answers, strict=True)
    }


def two_stages(
    pipeline: RetrieveRerankPipeline, queries: Mapping[str, str], depth: int
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Rankings of the first stage and of both, without the query itself."""
    answers = pipeline.search_many(list(queries.values()), top_k=depth, depth=depth)
    first, both = {}, {}
    for query_id, hits in zip(queries, answers, strict=True):
        hits = [hit for hit in hits if hit.id != query_id]
        both[query_id] = [hit.id for hit in hits]
        first[query_id] = [hit.id for hit in sorted(hits, key=lambda hit: hit.retrieval_rank)]
    return first, both


def report(name: str, kinds: Mapping[str, str], qrels: Mapping, *systems: Mapping) -> None:
    """One line a kind of question."""
    groups = {"all": list(qrels)}
    for query_id in qrels:
        if query_id in kinds:
            groups.setdefault(kinds[query_id], []).append(query_id)
    for kind, ids in groups.items():
        judged = {i: qrels[i] for i in ids}
        values = [
            score({i: ranking[i] for i in ids}, judged, [MEASURE]).mean[MEASURE]
            for ranking in systems
        ]
        print(f"| {name}: {kind} | {len(ids)} | " + " | ".join(f"{v:.3f}" for v in values) + " |")


def measure(name: str, source: Path, folder: Path, split: str, depth: int) -> None:
    """Index one part of the sample and measure the three systems."""
    model = load_bi_encoder("minilm")
    collection = load(source, Cutting(model.count_tokens, model.max_tokens))
    passages = list(collection.passages)
    rows = map(json.loads, (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines())
    kinds = {row["_id"]: row["kind"] for row in rows if "kind" in row}
    qrels = read_qrels(folder / "qrels" / f"{split}.tsv")
    queries = {i: text for i, text in read_queries(folder / "queries.jsonl").items() if i in qrels}
    with tempfile.TemporaryDirectory() as place:
        pipeline = RetrieveRerankPipeline.build(passages, Path(place) / "i", bi_encoder=model)
        systems = lexical(passages, queries), *two_stages(pipeline, queries, depth)
    report(name, kinds, qrels, *systems)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--depth", type=int, default=30)
    options = parser.parse_args()
    print(
        f"| {options.split} | questions | BM25 | retrieval | both stages |\n|---|---|---|---|---|"
    )
    measure("encyclopedia", SAMPLE / "encyclopedia.xml", SAMPLE, options.split, options.depth)
    similar = SAMPLE / "similar_questions"
    measure("similar questions", similar, similar, options.split, options.depth)


if __name__ == "__main__":
    main()
