"""A cascade beside the large cross-encoder alone: what it loses, and what it saves.

    python benchmarks/precision.py score --depth 100 --precisions int8 --limit 800  # half an hour
    python benchmarks/cascade.py score work/precision/depth100-int8-*.jsonl --student S  # minutes
    python benchmarks/cascade.py fit work/cascade.jsonl                             # seconds
    python benchmarks/cascade.py speed --student S --keep 16                        # minutes

The questions are a random sample of the dev questions of the asymmetric sets; the large one's
logits of 100 candidates are in the file of precision.py. `score` adds those of the student, which
reads the best window of a passage or its start alone. `fit` chooses on one half of the questions
the student's rule (how its logit and the cosine make one score) and measures on the other half what
each number of candidates that are handed on loses. `speed` asks all of them in turn.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from encode import SHARED
from precision import AT_ONCE, by_question, change, named_rows, questions_of, ranked, rows_of

from shortlist import BiEncoder, CrossEncoder, RetrieveRerankPipeline
from shortlist.data.collections import Cutting
from shortlist.models.cross_encoder import Scorer
from shortlist.models.presets import MINILM, OUR_CROSS_ENCODER, PRESETS, Fusion
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.rescoring import rescored
from shortlist.pipeline.schedule import FixedDepth
from shortlist.training.dev import indexed, read_dev

DEPTH = 100
FUSION = PRESETS["minilm"].fusion
READINGS = ("windows", "start")
KEEPS = (5, 8, 10, 12, 16, 20, 25, 30)
FITTED_KEEP = 16
RULES = [Fusion(logit=1.0, retrieval=weight, floor=floor)
         for floor in (None, -6.0, -2.0) for weight in (0.0, 5.0, 10.0, 20.0, 30.0)]  # fmt: skip


class Start:
    """A cross-encoder that reads the start of a passage, whatever its length."""

    def __init__(self, scorer: CrossEncoder) -> None:
        self.name, self.fingerprint, self.score = scorer.name, scorer.fingerprint, scorer.score


def score(args: argparse.Namespace) -> None:
    rows = rows_of(args.file)
    student = CrossEncoder.load(args.student, precision="auto")
    ways: dict[str, Scorer] = {"windows": student, "start": Start(student)}
    sets = {name: questions_of(args, name, "auto") for name in sorted({r["set"] for r in rows})}
    passages = {
        name: {p.id: p for p in questions.searcher.index.all_passages()}
        for name, questions in sets.items()
    }
    seconds = dict.fromkeys(ways, 0.0)
    with args.out.open("w") as file:
        for first in range(0, len(rows), AT_ONCE):
            part = rows[first : first + AT_ONCE]
            asked = [row for row in part if "ids" in row]
            found = [
                Candidates(sets[row["set"]].texts[row["query"]],
                           [passages[row["set"]][i] for i in row["ids"]],
                           np.array(row["cosines"], np.float32))
                for row in asked
            ]  # fmt: skip
            for way, scorer in ways.items():
                start = time.monotonic()
                said = rescored(scorer, found, FixedDepth(DEPTH), None)
                seconds[way] += time.monotonic() - start
                for row, one in zip(asked, said, strict=True):
                    row[way] = one.logits.tolist()
            file.writelines(json.dumps(row) + "\n" for row in part)
    print(f"{len(rows)} questions; seconds: {seconds}")


def after_student(row: dict, reading: str, its: Fusion, keep: int) -> list[str]:
    """What is shown: the large one's order of the `keep` that it is handed, then the others."""
    if "ids" not in row:
        return ranked(row, FUSION, "int8")
    scores = np.array(its.scores(row[reading], row["cosines"]))
    places = np.sort(np.argsort(-scores, kind="stable")[:keep])
    scored = [(-FUSION.score(row["int8"][i], row["cosines"][i], i + 1), i) for i in places]
    order = [i for _, i in sorted(scored)]
    return [row["ids"][i] for i in (*order, *np.setdiff1d(np.arange(len(scores)), places))]


def fit(args: argparse.Namespace) -> None:
    rows, qrels = named_rows(args.file, args.data)
    halves = rows[::2], rows[1::2]  # they are in random order

    def values(part: list[dict], orders: list[list[str]]) -> FloatArray:
        run = {row["name"]: order for row, order in zip(part, orders, strict=True)}
        judged = {row["name"]: qrels[row["set"]][row["query"]] for row in part}
        return by_question(run, judged, "MRR@10")

    ours, others = halves
    all_read, before = (values(part, [ranked(r, FUSION, "int8") for r in part]) for part in halves)
    print(f"{len(rows)} questions; MRR@10 with all {DEPTH} read by the large one: "
          f"{all_read.mean():.4f} on the half that is fitted on, {before.mean():.4f} on the "
          "other\n\n| reads | rule, fitted | handed on | MRR@10 of the other half | change (95 %) "
          "|\n|---|---|---|---|---|")  # fmt: skip
    for depth in (10, 30):
        after = values(others, [ranked(row, FUSION, "int8", depth) for row in others])
        print(f"| no student | | first {depth} | {after.mean():.4f} | {change(before, after)} |")
    for reading in READINGS:
        means = [
            values(ours, [after_student(r, reading, its, FITTED_KEEP) for r in ours]).mean()
            for its in RULES
        ]
        its = RULES[int(np.argmax(means))]
        for keep in KEEPS:
            after = values(others, [after_student(row, reading, its, keep) for row in others])
            print(f"| {reading} | floor {its.floor}, cosine {its.retrieval:g} | {keep} | "
                  f"{after.mean():.4f} | {change(before, after)} |")  # fmt: skip


def speed(args: argparse.Namespace) -> None:
    """Questions of squad, asked in every way in turn; the ratio of every round."""
    encoder = BiEncoder.load(MINILM, precision="auto")
    cutting = Cutting(encoder.count_tokens, encoder.max_tokens)
    index = indexed(args.data / "squad", encoder, args.work, cutting)
    large, student = (
        CrossEncoder.load(name, precision="auto") for name in (args.large, args.student)
    )
    windows, start = (
        RetrieveRerankPipeline.open(
            index.path, bi_encoder=encoder, cross_encoder=large, student=one
        )
        for one in (student, Start(student))
    )
    dev = read_dev(args.data / "squad", encoder, args.work, cutting, questions=args.questions)
    questions = [question.text for question in dev.questions.values()]
    cascade = {"depth": DEPTH, "cascade": args.keep}
    ways = {
        "large, 100": (windows, {"depth": DEPTH}),
        "large, 30": (windows, {"depth": 30}),
        f"cascade, 100 -> {args.keep}": (windows, cascade),
        f"cascade, 100 -> {args.keep}, by the start": (start, cascade),
    }
    for pipeline, options in ways.values():
        pipeline.search(questions[0], **options)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, (pipeline, options) in ways.items():
            began = time.perf_counter()
            pipeline.search_many(questions, **options)
            seconds[name].append(time.perf_counter() - began)
    print(f"{len(questions)} questions, {args.rounds} rounds in turn")
    print("| | seconds, median | ratio to all 100 | ratios of the rounds |\n|---|---|---|---|")
    first = np.array(seconds["large, 100"])
    for name, own in seconds.items():
        ratios = first / np.array(own)
        rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {name} | {np.median(own):.1f} | {np.median(ratios):.2f} | {rounds} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    scoring, fitting, timing = (verbs.add_parser(verb) for verb in ("score", "fit", "speed"))
    for parsing in (scoring, fitting, timing):
        parsing.add_argument("--data", type=Path, default=SHARED)
    for parsing in (scoring, timing):
        parsing.add_argument("--student", required=True)
    scoring.add_argument("file", type=Path)
    scoring.add_argument("--work", type=Path, default=Path("work/systems"))
    scoring.add_argument("--out", type=Path, default=Path("work/cascade.jsonl"))
    fitting.add_argument("file", type=Path)
    timing.add_argument("--work", type=Path, default=Path("work/cascade-indexes"))
    timing.add_argument("--large", default=OUR_CROSS_ENCODER)
    timing.add_argument("--questions", type=int, default=20)
    timing.add_argument("--keep", type=int, default=16)
    timing.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    {"score": score, "fit": fit, "speed": speed}[args.verb](args)


if __name__ == "__main__":
    main()
