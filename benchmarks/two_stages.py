"""What the second stage adds, set by set; and the fit of the fusion rule.

    python benchmarks/two_stages.py score --split dev --out work/dev    # hours of CPU: resumable
    python benchmarks/two_stages.py fit work/dev                        # seconds
    python benchmarks/two_stages.py table work/dev                      # seconds

`--system fast` or `--system bm25` does the same for another first stage.

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
from dataclasses import replace
from pathlib import Path

import numpy as np

from shortlist.cli.sample import SAMPLE
from shortlist.data.collections import Cutting, load, read_table
from shortlist.data.ledger import Ledger
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.compare import paired_bootstrap
from shortlist.models.presets import BM25_FUSION, PRESETS, Fusion
from shortlist.pipeline.stages import load_bi_encoder
from shortlist.pipeline.systems import first_stages
from shortlist.records import Passage
from shortlist.training.fusing import FLOORS, WEIGHTS

DEPTH = 30
DEV_SETS = {
    "squad": 500,
    "squadshifts_new_wiki": 500,
    "squadshifts_reddit": 300,
    "squadshifts_amazon_reviews": 300,
    "medquad": 300,
    "publications": 200,
    "sample": 300,  # ours, foreign ground: the cross-encoder saw no question of its kind
}
TITLE_IS_THE_QUESTION = {"publications"}  # the answer would leak
RETRIEVAL = Fusion(logit=0.0, retrieval=1.0)
LOGIT = Fusion()
OTHER_WEIGHTS = {"bm25": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)}  # its scores go to 30 and more
RULES = {"bm25": BM25_FUSION}


def passages_of(folder: Path) -> list[Passage]:
    if folder == SAMPLE:
        model = load_bi_encoder("minilm")
        cutting = Cutting(model.count_tokens, model.max_tokens)
        return list(load(SAMPLE / "encyclopedia.xml", cutting).passages)
    passages = read_table(folder / "corpus.jsonl", Ledger())
    if folder.name in TITLE_IS_THE_QUESTION:
        passages = (replace(passage, title="") for passage in passages)
    return list(passages)


def sample(qrels: dict, limit: int) -> list[str]:
    ids = sorted(q for q, grades in qrels.items() if max(grades.values()) > 0)
    if len(ids) <= limit:
        return ids
    chosen = np.random.default_rng(0).choice(len(ids), limit, replace=False)
    return [ids[i] for i in sorted(chosen)]


def score(args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.sets or DEV_SETS:
        folder = SAMPLE if name == "sample" else args.data / name
        (stage,) = first_stages(
            passages_of(folder), args.work, [args.system], cross_encoder=args.cross_encoder,
            progress=None,
        )  # fmt: skip
        fingerprint = stage.searcher.cross_encoder.fingerprint
        limit = args.limit or DEV_SETS.get(name, 300)
        model = fingerprint[:8] + fingerprint[32:]  # with the mark of int8
        key = f"{args.system}-{name}-{args.split}-{limit}-{model}"
        target = args.out / f"{key}.json"
        if target.exists():
            continue
        queries = read_queries(folder / "queries.jsonl")
        qrels = read_qrels(folder / "qrels" / f"{args.split}.tsv")
        ids = sample(qrels, limit)
        rows, start = [], time.monotonic()
        answers = stage.searcher.search_many([queries[i] for i in ids], top_k=DEPTH, depth=DEPTH)
        for query, hits in zip(ids, answers, strict=True):
            for hit in hits:
                grade = qrels[query].get(hit.id, 0)
                rows.append(
                    (query, hit.retrieval_rank, hit.retrieval_score, hit.rerank_score, grade)
                )
        record = {
            "set": name,
            "system": args.system,
            "split": args.split,
            "questions": len(ids),
            "of": sum(max(g.values()) > 0 for g in qrels.values()),
            "cross_encoder": fingerprint,
            "seconds": time.monotonic() - start,
            "rows": rows,
        }
        target.write_text(json.dumps(record))
        print(f"{name}: {len(ids)} questions, {record['seconds']:.0f} s", flush=True)


def read(folder: Path, system: str) -> dict[str, dict]:
    records = (json.loads(file.read_text()) for file in sorted(folder.glob(f"{system}-*.json")))
    return {record["set"]: record for record in records}


def halves(rows: list) -> tuple[list, list]:
    ids = sorted({row[0] for row in rows})
    order = np.random.default_rng(1).permutation(len(ids))
    first = {ids[i] for i in order[: len(ids) // 2]}
    return [r for r in rows if r[0] in first], [r for r in rows if r[0] not in first]


def questions(rows: list) -> list[np.ndarray]:
    """One array per question, in the order of their ids: rank, cosine, logit, relevant."""
    by_query: dict[str, list] = {}
    for query, rank, cosine, logit, grade in rows:
        by_query.setdefault(query, []).append((rank, cosine, logit, grade > 0))
    return [np.array(group, dtype=float) for _, group in sorted(by_query.items())]


def reciprocal_ranks(rule: Fusion, rows: list) -> np.ndarray:
    """MRR@10's terms, question by question; ties by retrieval rank."""
    values = []
    for group in questions(rows):
        scores = [rule.score(logit, cosine, int(rank)) for rank, cosine, logit, _ in group]
        order = np.lexsort((group[:, 0], -np.array(scores)))
        found = np.flatnonzero(group[order, 3][:10])
        values.append(1 / (found[0] + 1) if len(found) else 0.0)
    return np.array(values)


def fit(args: argparse.Namespace) -> None:
    """The rule that is best on one half, by the mean of the sets; all on the other half."""
    records, weights = read(args.folder, args.system), OTHER_WEIGHTS.get(args.system, WEIGHTS)
    split = {name: halves(record["rows"]) for name, record in records.items()}
    rules = [
        Fusion(logit=1.0, retrieval=weight, floor=floor) for floor in FLOORS for weight in weights
    ]
    means = [
        float(np.mean([reciprocal_ranks(rule, first).mean() for first, _ in split.values()]))
        for rule in rules
    ]
    print("mean of the sets' MRR@10 on the half that is fitted on; columns: weight of retrieval")
    print(f"{'floor':>8}" + "".join(f"{weight:8g}" for weight in weights))
    for number, floor in enumerate(FLOORS):
        row = means[number * len(weights) : (number + 1) * len(weights)]
        print(f"{floor!s:>8}" + "".join(f"{mean:8.4f}" for mean in row))
    chosen = rules[int(np.argmax(means))]
    print(f"\nchosen: {chosen}\n\nMRR@10 on the other half")
    print(f"{'set':30}{'retrieval':>12}{'logit':>12}{'chosen':>12}")
    for name, (_, second) in split.items():
        cells = [reciprocal_ranks(rule, second).mean() for rule in (RETRIEVAL, LOGIT, chosen)]
        print(f"{name:30}" + "".join(f"{cell:12.4f}" for cell in cells))


def table(args: argparse.Namespace) -> None:
    rule = RULES[args.system] if args.system in RULES else PRESETS[args.system].fusion
    print(f"rule: {rule}\n")
    print("| set | questions | retrieval | cross-encoder alone | fused | change (95 %) |")
    print("|---|---|---|---|---|---|")
    for name, record in read(args.folder, args.system).items():
        before, alone, after = (
            reciprocal_ranks(r, record["rows"]) for r in (RETRIEVAL, LOGIT, rule)
        )
        change = paired_bootstrap(before, after)
        relative, low, high = (
            np.nan if value is None else value
            for value in (change.relative, change.relative_low, change.relative_high)
        )
        print(
            f"| {name} {record['split']} | {record['questions']} of {record['of']} | "
            f"{before.mean():.4f} | {alone.mean():.4f} | {after.mean():.4f} | {relative:+.1%} "
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
    scoring.add_argument("--cross-encoder", help="another one than the preset's")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    scoring.add_argument("--data", type=Path, default=beside)
    scoring.add_argument("--work", type=Path, default=Path("work/systems"))
    for verb in ("fit", "table"):
        verbs.add_parser(verb).add_argument("folder", type=Path)
    for parsing in verbs.choices.values():
        parsing.add_argument("--system", choices=["minilm", "fast", "bm25"], default="minilm")
    args = parser.parse_args()
    {"score": score, "fit": fit, "table": table}[args.verb](args)


if __name__ == "__main__":
    main()
