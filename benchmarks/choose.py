"""Is what `choose` recommends right? Chosen on dev or known-item queries, judged on test.

    python benchmarks/choose.py --out work/choose          # about half an hour on two cores

For every set: what `shortlist choose` recommends (nDCG@10 decides) from a seeded sample of the dev
questions or, where there is no dev split, from known-item queries; then every system on a seeded
sample of the test questions, the regret of the recommended one, and whether it is significantly
worse than the best (randomisation test and Holm over all systems). A set that is done is kept in
--out and not done again. Reads test splits: once a release.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from shortlist.cli.study import test_bed
from shortlist.data.collections import read_table
from shortlist.data.ledger import Ledger
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.answers import (
    answer_of,
    judged_queries,
    reranked,
    retrieved,
    sampled,
    searched,
)
from shortlist.evaluation.choose import choose
from shortlist.evaluation.compare import compare_all
from shortlist.evaluation.metrics import score
from shortlist.models.bi_encoder import BiEncoder
from shortlist.models.presets import MINILM
from shortlist.pipeline.systems import first_stages

MEASURE = "nDCG@10"
DEPTHS = (10, 30)
SETS = {  # set -> the split that is chosen on; None for known-item queries
    "squad": "dev",
    "squadshifts_new_wiki": "dev",
    "publications": "dev",
    "quora": "dev",
    "squadshifts_reddit": "dev",
    "scifact": None,
}
SYMMETRIC = {"quora"}  # every query is a passage, too


def chosen_and_judged(name: str, args: argparse.Namespace) -> dict:
    folder, encoder = args.data / name, BiEncoder.load(MINILM)
    queries = read_queries(folder / "queries.jsonl")
    split = SETS[name]
    judged = read_qrels(folder / "qrels" / f"{split}.tsv") if split else None
    passages = list(read_table(folder / "corpus.jsonl", Ledger()))
    bed = test_bed(name, passages, queries if split else None, judged, encoder)
    own = name in SYMMETRIC
    stages = list(first_stages(list(bed.passages.values()), args.work, progress=None))
    choice = choose(
        stages,
        bed.queries,
        bed.qrels,
        depths=DEPTHS,
        limit_queries=args.choose_on,
        exclude_self=own,
        on_step=lambda step: print(f"  {step}", flush=True),
    )
    if bed.known:  # its queries were cut out of the passages; the test has the whole ones
        stages = list(first_stages(passages, args.work, progress=None))
    test = read_qrels(folder / "qrels" / "test.tsv")
    ids = sampled(judged_queries(queries, test), args.test_on, 0)
    counted = {query_id: test[query_id] for query_id in ids}
    values = {}
    for stage in stages:
        found = searched(
            stage.searcher,
            {query_id: queries[query_id] for query_id in ids},
            top_k=100,
            depth=max(DEPTHS),
            rerank=True,
            exclude_self=own,
        )
        answers = {query_id: answer_of(hits) for query_id, hits in found}
        for depth in (0, *DEPTHS):
            system = f"{stage.name} + rerank {depth}" if depth else stage.name
            rankings = {
                query_id: reranked(answer, depth) if depth else retrieved(answer)
                for query_id, answer in answers.items()
            }
            values[system] = score(rankings, counted, [MEASURE]).per_query[MEASURE]
        print(f"  {stage.name}: {len(ids)} test questions", flush=True)
    return {
        "set": name,
        "chosen_on": f"{len(choice.qrels)} {split or 'known-item'}",
        "kind": bed.kind.kind,
        "recommended": choice.recommended.name,
        "dev": {s.name: s.scores.mean[MEASURE] for s in choice.systems},
        "milliseconds": {s.name: s.latency.total.p50 for s in choice.systems},
        "test_questions": len(ids),
        "test": {system: dict(found) for system, found in values.items()},
    }


def summary(records: list[dict]) -> None:
    print(
        f"\n| set | kind | chosen on | recommended | dev | test {MEASURE} | best on test | "
        "regret | difference (95 %) | p, Holm |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    regrets = []
    for record in records:
        values, chosen = record["test"], record["recommended"]
        means = {name: float(np.mean(list(column.values()))) for name, column in values.items()}
        best = max(means, key=lambda name: means[name])
        regrets.append(1 - means[chosen] / means[best])
        compared = {c.b: c for c in compare_all(values, measure=MEASURE, baseline=chosen)}
        apart = (
            "-|-"
            if best == chosen
            else f"{compared[best].interval.mean_difference:+.4f} "
            f"({compared[best].interval.low:+.4f} to {compared[best].interval.high:+.4f}) "
            f"| {compared[best].p_holm:.2f}"
        )
        print(
            f"| {record['set']} | {record['kind']} | {record['chosen_on']} | {chosen} | "
            f"{record['dev'][chosen]:.4f} | {means[chosen]:.4f} | {best} {means[best]:.4f} | "
            f"{regrets[-1]:.1%} | {apart} |"
        )
    print(f"\nmean regret: {np.mean(regrets):.2%}, relative {MEASURE}\n")
    names = list(records[0]["test"])
    print("| set | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for record in records:
        row = [float(np.mean(list(record["test"][name].values()))) for name in names]
        print(f"| {record['set']} test | " + " | ".join(f"{mean:.4f}" for mean in row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--choose-on", type=int, default=150, help="questions of dev")
    parser.add_argument("--test-on", type=int, default=100, help="questions of test")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=beside)
    parser.add_argument("--work", type=Path, default=Path("work/systems"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    records = []
    for name in args.sets:
        kept = args.out / f"{name}-{args.choose_on}-{args.test_on}.json"
        if not kept.exists():
            started = time.monotonic()
            print(name, flush=True)
            kept.write_text(json.dumps(chosen_and_judged(name, args)))
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        records.append(json.loads(kept.read_text()))
    summary(records)


if __name__ == "__main__":
    main()
