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
from precision import OWN, by_question, change
from two_stages import passages_of

from shortlist import BiEncoder
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.metrics import has_relevant
from shortlist.models.presets import MINILM
from shortlist.pipeline.topk import exact_top_k

MEASURES = ("nDCG@10", "MRR@10", "Recall@100")
DEPTH = 100

Run = dict[str, list[str]]


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
        before, after = (run_of(model, folder, list(qrels), name in OWN) for model in models)
        for measure in MEASURES:
            values = [by_question(run, qrels, measure) for run in (before, after)]
            cells = " | ".join(f"{one.mean():.4f}" for one in values)
            print(
                f"| {name} | {len(qrels):,} | {measure} | {cells} | {change(*values)} |", flush=True
            )


def run_of(model: BiEncoder, folder: Path, questions: list[str], own: bool) -> Run:
    """What each question finds; without itself where the questions are the collection."""
    passages = passages_of(folder)
    texts = read_queries(folder / "queries.jsonl")
    vectors = model.encode_passages([passage.model_text for passage in passages])
    queries = model.encode_queries([texts[question] for question in questions])
    _, rows = exact_top_k(queries, vectors, min(DEPTH + own, len(passages)))
    return {
        question: [passages[row].id for row in found if not own or passages[row].id != question][
            :DEPTH
        ]
        for question, found in zip(questions, rows, strict=True)
    }


if __name__ == "__main__":
    main()
