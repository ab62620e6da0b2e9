"""A cascade beside the large cross-encoder alone: what it loses, and what it saves.

    python benchmarks/precision.py score --depth 100 --precisions int8 --limit 800  # half an hour
    python benchmarks/cascade.py score work/precision/depth100-int8-*.jsonl --student S  # minutes
    python benchmarks/cascade.py fit work/cascade.jsonl                             # minutes
    python benchmarks/cascade.py speed --student S                                  # minutes

The questions are a random sample of the dev questions of the asymmetric sets; the large one's
logits of 100 candidates are in the file of precision.py. `score` adds those of the student, which
reads the start of a passage. `fit` chooses on one half of the questions the student's rule (how its
logit and the cosine make one score, and what it may be wrong by) and measures on the other half
what each number of candidates that are handed on loses. `speed` asks all of them in turn.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from encode import SHARED
from precision import AT_ONCE, by_question, change, named_rows, questions_of, ranked, rows_of

from shortlist import BiEncoder, CrossEncoder, RetrieveRerankPipeline
from shortlist.data.collections import Cutting
from shortlist.models.presets import MINILM, OUR_CROSS_ENCODER, PRESETS, Fusion
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.cascade import Cascade
from shortlist.pipeline.rerank import reranked
from shortlist.pipeline.rescoring import rescored
from shortlist.pipeline.schedule import Effort, FixedDepth, Pace
from shortlist.records import Passage
from shortlist.training.dev import indexed, read_dev

DEPTH = 100
FUSION = PRESETS["minilm"].fusion
KEEPS = (8, 12, 16, 20, 30, 40)
MEASURES = ("MRR@10", "nDCG@10")
MOST = (40,)  # that are handed on where the student decides how many
FITTED_KEEP = 16
ALLOWED = 0.0075  # of MRR@10, on the half that is fitted on; 1 % is the aim for others
STUDENT_COST = 0.27  # of a pair, beside the large one's: see `speed`
WRONG_BY = [float(value) for value in range(-4, 7)]
RULES = [Fusion(logit=1.0, retrieval=weight, floor=floor)
         for floor in (None, -2.0) for weight in (5.0, 10.0, 20.0, 30.0)]  # fmt: skip


def score(args: argparse.Namespace) -> None:
    rows = rows_of(args.file)
    student = CrossEncoder.load(args.student, precision="auto")
    sets = {name: questions_of(args, name, "auto") for name in sorted({r["set"] for r in rows})}
    passages = {
        name: {p.id: p for p in questions.searcher.index.all_passages()}
        for name, questions in sets.items()
    }
    start = time.monotonic()
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
            said = rescored(student, found, FixedDepth(DEPTH), None, windows=False)
            for row, one in zip(asked, said, strict=True):
                row["student"] = one.logits.tolist()
            file.writelines(json.dumps(row) + "\n" for row in part)
    print(f"{len(rows)} questions in {time.monotonic() - start:.0f} s")


class Recorded:
    """Says what a model said before: its logit of the candidate whose number is the text."""

    name = fingerprint = "recorded"

    def __init__(self, rows: Sequence[dict], what: str) -> None:
        self._logits = [row.get(what, []) for row in rows]
        self.pairs = 0

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        on_batch: Callable[[int], object] | None = None,  # noqa: ARG002
    ) -> FloatArray:
        self.pairs += len(pairs)
        return np.array([self._logits[int(row)][int(place)] for row, place in pairs], np.float32)


@dataclass(frozen=True)
class Tried:
    """What a rule did: the passages of each question in order, and what was read in the mean."""

    orders: list[list[str]]
    by_large: float
    by_student: float


def tried(rows: Sequence[dict], its: Fusion, keep: int) -> Tried:
    """Ask the cascade of the package, with what both models said."""
    found = [
        Candidates(
            str(number),
            [Passage(str(place), str(place)) for place in range(len(row.get("ids", [])))],
            np.array(row.get("cosines", []), np.float32),
        )
        for number, row in enumerate(rows)
    ]
    large, student = Recorded(rows, "int8"), Recorded(rows, "student")
    effort = Effort(cascade=keep, adaptive=its.wrong_by is not None)
    plan = effort.plan(FUSION, Pace(), 0.0, its)
    answers = reranked(
        large, FUSION, found, depth=plan, metric="cosine",
        cascade=Cascade(student, its, DEPTH, keep),
    )  # fmt: skip
    orders = [
        [row["ids"][int(hit.id)] for hit in hits] if hits else ranked(row, FUSION, "int8")
        for row, hits in zip(rows, answers, strict=True)
    ]
    asked = sum("ids" in row for row in rows)
    return Tried(orders, large.pairs / asked, student.pairs / asked)


def fit(args: argparse.Namespace) -> None:
    rows, qrels = named_rows(args.file, args.data)
    ours, others = rows[::2], rows[1::2]  # they are in random order

    def values(part: list[dict], orders: list[list[str]], measure: str = "MRR@10") -> FloatArray:
        run = {row["name"]: order for row, order in zip(part, orders, strict=True)}
        judged = {row["name"]: qrels[row["set"]][row["query"]] for row in part}
        return by_question(run, judged, measure)

    all_of_ours, all_of_others = ([ranked(r, FUSION, "int8") for r in part]
                                  for part in (ours, others))  # fmt: skip
    fitted = values(ours, all_of_ours)
    before = {measure: values(others, all_of_others, measure) for measure in MEASURES}

    def loss(done: Tried) -> float:
        return float(1 - values(ours, done.orders).mean() / fitted.mean())

    def show(rule: str, keep: str, on_ours: str, read: tuple[float, float], orders: list) -> None:
        changes = [
            change(all_read, values(others, orders, measure))
            for measure, all_read in before.items()
        ]
        cells = (rule, keep, on_ours, f"{read[0]:.1f}", f"{read[1]:.1f}", *changes)
        print(f"| {' | '.join(cells)} |", flush=True)

    def show_tried(its: Fusion, keep: int, how: str) -> None:
        done = tried(others, its, keep)
        read = (done.by_student, done.by_large)
        show(_named(its), how, f"{-loss(tried(ours, its, keep)):+.2%}", read, done.orders)

    print(
        f"{len(rows)} questions; MRR@10 with all {DEPTH} read by the large one: "
        f"{fitted.mean():.4f} on the half that is fitted on, {before['MRR@10'].mean():.4f} on the "
        "other\n"
    )
    print("| rule, fitted | handed on | fitted on | other half: read by the student | by the large "
          "one | its MRR@10 (95 %) | its nDCG@10 |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for depth in (10, 30):
        orders = [ranked(row, FUSION, "int8", depth) for row in others]
        show("no student", f"first {depth}", "", (0, depth), orders)
    its = min(RULES, key=lambda rule: loss(tried(ours, rule, FITTED_KEEP)))
    for keep in KEEPS:
        show_tried(its, keep, str(keep))
    for most in MOST:
        show_tried(_fewest(ours, most, loss), most, f"at most {most}")


def _fewest(part: Sequence[dict], most: int, loss: Callable[[Tried], float]) -> Fusion:
    """The rule that costs least, of those that lose at most `ALLOWED`.

    So must the same rule with every larger `wrong_by`: one that loses less by chance is no better.
    """
    found = []
    for rule in RULES:
        for wrong_by in reversed(WRONG_BY):
            its = replace(rule, wrong_by=wrong_by)
            done = tried(part, its, most)
            if loss(done) > ALLOWED:
                break
            found.append((done.by_large + STUDENT_COST * done.by_student, wrong_by, its))
    if not found:
        raise SystemExit(f"no rule loses as little as {ALLOWED:.2%} with at most {most} handed on")
    return min(found, key=lambda one: one[:2])[2]


def _named(its: Fusion) -> str:
    wrong_by = "" if its.wrong_by is None else f", wrong by {its.wrong_by:g}"
    return f"floor {its.floor}, cosine {its.retrieval:g}{wrong_by}"


def speed(args: argparse.Namespace) -> None:
    """Questions of squad, asked in every way in turn; the ratio of every round."""
    encoder = BiEncoder.load(MINILM, precision="auto")
    cutting = Cutting(encoder.count_tokens, encoder.max_tokens)
    index = indexed(args.data / "squad", encoder, args.work, cutting)
    pipeline = RetrieveRerankPipeline.open(
        index.path, bi_encoder=encoder, cross_encoder=args.large, student=args.student
    )
    dev = read_dev(args.data / "squad", encoder, args.work, cutting, questions=args.questions)
    questions = [question.text for question in dev.questions.values()]
    ways: dict[str, dict] = {
        "large, 100": {"depth": DEPTH},
        "large, 30": {"depth": 30},
        "large, adaptive": {"adaptive": True},
        **{f"cascade, 100 -> {keep}": {"cascade": keep} for keep in args.keep},
        f"cascade, 100 -> {args.most} at most": {"cascade": args.most, "adaptive": True},
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    depths = {}
    for number in range(args.rounds + 1):
        for name, options in ways.items():
            began = time.perf_counter()
            answers = pipeline.search_many(questions if number else questions[:1], **options)
            if number:
                seconds[name].append(time.perf_counter() - began)
            depths[name] = np.mean([hits[0].depth for hits in answers])
    print(f"{len(questions)} questions, {args.rounds} rounds in turn")
    print("| | read by the large one, mean | seconds, median | ratio to all 100 | ratios of the "
          "rounds |\n|---|---|---|---|---|")  # fmt: skip
    first = np.array(seconds["large, 100"])
    for name, own in seconds.items():
        ratios = first / np.array(own)
        rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {name} | {depths[name]:.1f} | {np.median(own):.1f} | {np.median(ratios):.2f} | "
              f"{rounds} |")  # fmt: skip


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
    timing.add_argument("--keep", type=int, nargs="+", default=[20])
    timing.add_argument("--most", type=int, default=40)
    timing.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    {"score": score, "fit": fit, "speed": speed}[args.verb](args)


if __name__ == "__main__":
    main()
