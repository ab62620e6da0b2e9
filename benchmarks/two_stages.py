"""What the second stage adds, set by set; and the fit of the fusion rule.

    python benchmarks/two_stages.py score --split dev --out work/dev    # hours of CPU: resumable
    python benchmarks/two_stages.py fit work/dev                        # seconds
    python benchmarks/two_stages.py table work/dev                      # seconds

`score` searches a seeded sample of each set's judged questions, reranks the first 30 candidates and
writes for every candidate its cosine, rank, logit and grade, so that any rule that combines them
can be measured without scoring again. `fit` fits the rule on one half of the dev questions and
measures it on the other half. `table` prints what the package's own rule reaches, with intervals.

Test splits are read once per release, by `score --split test` and `table`, and never fitted on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from shortlist import RetrieveRerankPipeline
from shortlist.data.jsonl import read_jsonl
from shortlist.data.ledger import Ledger
from shortlist.data.qrels import read_qrels, read_queries
from shortlist.errors import IndexFolderError
from shortlist.evaluation.compare import paired_bootstrap
from shortlist.evaluation.fusion_fit import (
    CandidateTable,
    FusionWeights,
    fit_logistic,
    fit_mrr,
    mrr_of,
)

DEPTH = 30
DEV_SETS = {
    "squad": 500,
    "squadshifts_new_wiki": 500,
    "squadshifts_reddit": 300,
    "squadshifts_amazon_reviews": 300,
    "medquad": 300,
}
RETRIEVAL = FusionWeights(logit=0.0, retrieval=1.0, log_rank=0.0)
LOGIT = FusionWeights(logit=1.0, retrieval=0.0, log_rank=0.0)


def open_or_build(folder: Path, place: Path) -> RetrieveRerankPipeline:
    try:
        return RetrieveRerankPipeline.open(place, progress=None)
    except IndexFolderError:
        passages = read_jsonl(folder / "corpus.jsonl", Ledger())
        return RetrieveRerankPipeline.build(passages, place, overwrite=True, progress=None)


def sample(qrels: dict, limit: int) -> list[str]:
    ids = sorted(q for q, grades in qrels.items() if max(grades.values()) > 0)
    if len(ids) <= limit:
        return ids
    chosen = np.random.default_rng(0).choice(len(ids), limit, replace=False)
    return [ids[i] for i in sorted(chosen)]


def score(args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.sets or DEV_SETS:
        folder = args.data / name
        pipeline = open_or_build(folder, args.indexes / f"{name}.idx")
        limit = args.limit or DEV_SETS.get(name, 300)
        key = f"{name}-{args.split}-{limit}-{pipeline.cross_encoder.fingerprint[:8]}"
        target = args.out / f"{key}.json"
        if target.exists():
            continue
        queries = read_queries(folder / "queries.jsonl")
        qrels = read_qrels(folder / "qrels" / f"{args.split}.tsv")
        ids = sample(qrels, limit)
        rows, start = [], time.monotonic()
        answers = pipeline.search_many([queries[i] for i in ids], top_k=DEPTH, depth=DEPTH)
        for query, hits in zip(ids, answers, strict=True):
            for hit in hits:
                grade = qrels[query].get(hit.id, 0)
                rows.append(
                    (query, hit.retrieval_rank, hit.retrieval_score, hit.rerank_score, grade)
                )
        record = {
            "set": name,
            "split": args.split,
            "questions": len(ids),
            "of": sum(max(g.values()) > 0 for g in qrels.values()),
            "cross_encoder": pipeline.cross_encoder.fingerprint,
            "seconds": time.monotonic() - start,
            "rows": rows,
        }
        target.write_text(json.dumps(record))
        print(f"{name}: {len(ids)} questions, {record['seconds']:.0f} s", flush=True)


def read(folder: Path) -> dict[str, dict]:
    return {r["set"]: r for r in (json.loads(f.read_text()) for f in sorted(folder.glob("*.json")))}


def table_of(rows: list) -> CandidateTable:
    queries, ranks, cosines, logits, grades = zip(*rows, strict=True)
    return CandidateTable.of(
        query=np.unique(queries, return_inverse=True)[1],
        logit=np.array(logits),
        retrieval=np.array(cosines),
        rank=np.array(ranks),
        label=(np.array(grades) > 0).astype(int),
    )


def halves(rows: list) -> tuple[list, list]:
    ids = sorted({row[0] for row in rows})
    order = np.random.default_rng(1).permutation(len(ids))
    first = {ids[i] for i in order[: len(ids) // 2]}
    return [r for r in rows if r[0] in first], [r for r in rows if r[0] not in first]


def reciprocal_ranks(weights: FusionWeights, rows: list) -> np.ndarray:
    """MRR@10's terms, by question in sorted order."""
    by_query: dict[str, list] = {}
    for row in rows:
        by_query.setdefault(row[0], []).append(row)
    values = []
    for _, group in sorted(by_query.items()):
        scored = sorted(
            group,
            key=lambda r: (
                -(
                    weights.logit * r[3]
                    + weights.retrieval * r[2]
                    + weights.log_rank * np.log(r[1])
                ),
                r[1],
            ),
        )
        found = next((n for n, r in enumerate(scored[:10], 1) if r[4] > 0), None)
        values.append(1 / found if found else 0.0)
    return np.array(values)


def fit(args: argparse.Namespace) -> None:
    records = read(args.folder)
    split = {name: halves(record["rows"]) for name, record in records.items()}
    pooled = table_of(
        [(f"{name} {r[0]}", *r[1:]) for name, (first, _) in split.items() for r in first]
    )
    rules = {
        "retrieval": RETRIEVAL,
        "logit": LOGIT,
        "logistic": fit_logistic(pooled),
        "grid on MRR@10": fit_mrr(pooled),
    }
    for name, rule in rules.items():
        print(f"{name}: {rule}")
    print("\nMRR@10 on the half that was not fitted on")
    print(f"{'set':30}" + "".join(f"{name:>16}" for name in rules))
    for name, (_, second) in split.items():
        cells = [mrr_of(rule, table_of(second)) for rule in rules.values()]
        print(f"{name:30}" + "".join(f"{cell:16.4f}" for cell in cells))


def table(args: argparse.Namespace) -> None:
    from shortlist.models.presets import PRESETS

    fusion = PRESETS["minilm"].fusion
    own = FusionWeights(logit=fusion.logit, retrieval=fusion.retrieval, log_rank=fusion.log_rank)
    print(f"rule: {own}\n")
    print("| set | questions | retrieval | cross-encoder alone | fused | change (95 %) |")
    print("|---|---|---|---|---|---|")
    for name, record in read(args.folder).items():
        a = reciprocal_ranks(RETRIEVAL, record["rows"])
        alone = reciprocal_ranks(LOGIT, record["rows"])
        b = reciprocal_ranks(own, record["rows"])
        change = paired_bootstrap(a, b)
        relative, low, high = (
            np.nan if value is None else value
            for value in (change.relative, change.relative_low, change.relative_high)
        )
        print(
            f"| {name} {record['split']} | {record['questions']} of {record['of']} | {a.mean():.4f}"
            f" | {alone.mean():.4f} | {b.mean():.4f} | {relative:+.1%} "
            f"({low:+.1%} to {high:+.1%}) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    scoring = verbs.add_parser("score")
    scoring.add_argument("--split", choices=["dev", "test"], required=True)
    scoring.add_argument("--out", type=Path, required=True)
    scoring.add_argument("--sets", nargs="*")
    scoring.add_argument("--limit", type=int, help="questions of each set")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    scoring.add_argument("--data", type=Path, default=beside)
    scoring.add_argument("--indexes", type=Path, default=Path("work/indexes"))
    for verb in ("fit", "table"):
        verbs.add_parser(verb).add_argument("folder", type=Path)
    args = parser.parse_args()
    {"score": score, "fit": fit, "table": table}[args.verb](args)


if __name__ == "__main__":
    main()
