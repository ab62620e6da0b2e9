"""What a fine-tuned bi-encoder is worth: retrieval alone, before and after, on a held-out split.

    python benchmarks/bi_encoders.py work/train/quora-bi-encoder quora --split test    # minutes
    python benchmarks/bi_encoders.py work/train/squad-bi-encoder squad xquad --split test

nDCG@10, MRR@10 and Recall@100 of every judged question over the whole collection, passages and
queries encoded by each model, the intervals by a paired bootstrap over questions. Test splits are
read once, with everything decided.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from encode import SHARED, machine
from precision import by_question, change, found_by
from two_stages import passages_of

from shortlist import BiEncoder
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.metrics import has_relevant
from shortlist.models.presets import MINILM

MEASURES = ("nDCG@10", "MRR@10", "Recall@100")
DEPTH = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a folder that `shortlist train bi-encoder` wrote")
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--before", default=MINILM)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args()
    models = [
        BiEncoder.load(name, device="cpu", precision=args.precision)
        for name in (args.before, args.model)
    ]
    print(f"{machine()}; {args.split}, retrieval alone, {args.precision}\n")
    print(
        "| set | questions | measure | before | after | change (95 %) |\n|---|---|---|---|---|---|"
    )
    for name in args.sets:
        folder = args.data / name
        qrels = read_qrels(folder / "qrels" / f"{args.split}.tsv")
        qrels = {query: grades for query, grades in qrels.items() if has_relevant(grades)}
        passages, texts = passages_of(folder), read_queries(folder / "queries.jsonl")
        before, after = (
            found_by(
                name,
                list(qrels),
                passages,
                model.encode_queries([texts[question] for question in qrels]),
                model.encode_passages([passage.model_text for passage in passages]),
                DEPTH,
            )
            for model in models
        )
        for measure in MEASURES:
            values = [by_question(run, qrels, measure) for run in (before, after)]
            cells = " | ".join(f"{one.mean():.4f}" for one in values)
            print(
                f"| {name} | {len(qrels):,} | {measure} | {cells} | {change(*values)} |", flush=True
            )


if __name__ == "__main__":
    main()
