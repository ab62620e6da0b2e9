"""A cascade beside the large cross-encoder alone: what it loses, and what it saves.

    python benchmarks/precision.py score --depth 100 --precisions int8 --limit 800  # half an hour
    python benchmarks/cascade.py score work/precision/depth100-int8-*.jsonl --student S  # minutes
    python benchmarks/cascade.py fit work/cascade.jsonl                             # minutes
    python benchmarks/cascade.py speed --student S --keep 40                        # minutes

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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from encode import SHARED
from precision import AT_ONCE, by_question, change, named_rows, questions_of, ranked, rows_of

from shortlist import BiEncoder, CrossEncoder, RetrieveRerankPipeline
from shortlist.data.collections import Cutting
from shortlist.models.presets import MINILM, OUR_CROSS_ENCODER, PRESETS, Fusion
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.rescoring import rescored
from shortlist.pipeline.schedule import AdaptiveCascade, FixedDepth
from shortlist.records import Passage
from shortlist.training.dev import indexed, read_dev

DEPTH = 100
FUSION = PRESETS["minilm"].fusion
KEEPS = (5, 8, 10, 12, 16, 20, 25, 30, 40)
MOST = (30, 40, 60)  # that are handed on where the student decides how many
FITTED_KEEP = 16
ALLOWED = 0.005  # of MRR@10, on the half that is fitted on
PLAUSIBLE = [float(value) for value in range(-4, 11)]
RULES = [Fusion(logit=1.0, retrieval=weight, floor=floor)
         for floor in (None, -6.0, -2.0) for weight in (0.0, 5.0, 10.0, 20.0, 30.0)]  # fmt: skip


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


def chosen(row: dict, its: Fusion) -> tuple[np.ndarray, np.ndarray]:
    """The candidates in the student's order, and its scores."""
    scores = np.array(its.scores(row["student"], row["cosines"]))
    order = np.argsort(-scores, kind="stable")
    return order, scores[order]


def handed_on(row: dict, its: Fusion, keep: int) -> int:
    """How many the rule of the package hands on, at most `keep`."""
    if "ids" not in row or its.plausible is None:
        return keep
    order, scores = chosen(row, its)
    cosines, logits = (np.array(row[kind], np.float32)[order] for kind in ("cosines", "int8"))
    passages = [Passage(row["ids"][i], "") for i in order]
    found = Candidates(
        "", passages, cosines, ranks=order + 1, chosen_by=scores[:keep].astype(np.float32)
    )
    plan = AdaptiveCascade(keep, FUSION, its.plausible)
    done = 0
    while more := plan.more(found, logits[:done]):
        done += more
    return done


def after_student(row: dict, its: Fusion, count: int) -> list[str]:
    """What is shown: the large one's order of those that it is handed, then the others."""
    if "ids" not in row:
        return ranked(row, FUSION, "int8")
    order, _ = chosen(row, its)
    places = np.sort(order[:count])
    scored = [(-FUSION.score(row["int8"][i], row["cosines"][i], i + 1), i) for i in places]
    first = [i for _, i in sorted(scored)]
    return [row["ids"][i] for i in (*first, *np.setdiff1d(np.arange(len(order)), places))]


def fit(args: argparse.Namespace) -> None:
    rows, qrels = named_rows(args.file, args.data)
    ours, others = rows[::2], rows[1::2]  # they are in random order

    def values(part: list[dict], orders: list[list[str]]) -> FloatArray:
        run = {row["name"]: order for row, order in zip(part, orders, strict=True)}
        judged = {row["name"]: qrels[row["set"]][row["query"]] for row in part}
        return by_question(run, judged, "MRR@10")

    def tried(part: list[dict], its: Fusion, keep: int) -> tuple[float, FloatArray]:
        """How many are handed on in the mean, and MRR@10 of each question."""
        counts = [handed_on(row, its, keep) for row in part]
        orders = [after_student(r, its, n) for r, n in zip(part, counts, strict=True)]
        mean = np.mean([n for n, row in zip(counts, part, strict=True) if "ids" in row])
        return float(mean), values(part, orders)

    fitted, before = (values(part, [ranked(r, FUSION, "int8") for r in part])
                      for part in (ours, others))  # fmt: skip
    print(
        f"{len(rows)} questions; MRR@10 with all {DEPTH} read by the large one: "
        f"{fitted.mean():.4f} on the half that is fitted on, {before.mean():.4f} on the other\n"
    )
    print("| rule, fitted | handed on | fitted on | other half: handed on | MRR@10 | change (95 %) "
          "|\n|---|---|---|---|---|---|")  # fmt: skip

    def show(rule: str, keep: str, loss: str, mean: float, after: FloatArray) -> None:
        cells = (rule, keep, loss, f"{mean:.1f}", f"{after.mean():.4f}", change(before, after))
        print(f"| {' | '.join(cells)} |", flush=True)

    for depth in (10, 30):
        after = values(others, [ranked(row, FUSION, "int8", depth) for row in others])
        show("no student", f"first {depth}", "", depth, after)
    its = max(RULES, key=lambda rule: tried(ours, rule, FITTED_KEEP)[1].mean())
    for keep in KEEPS:
        loss = tried(ours, its, keep)[1].mean() / fitted.mean() - 1
        show(_named(its), str(keep), f"{loss:+.2%}", *tried(others, its, keep))
    for most in MOST:
        its, mean, loss = _fewest(ours, fitted, most, tried)
        show(_named(its), f"at most {most}", f"{mean:.1f}, {loss:+.2%}", *tried(others, its, most))


def _fewest(part: Sequence[dict], all_read: FloatArray, most: int, tried) -> tuple:
    """The rule that hands on the fewest of those that lose at most `ALLOWED`."""
    found = []
    for rule in RULES:
        for plausible in PLAUSIBLE:
            its = replace(rule, plausible=plausible)
            mean, got = tried(part, its, most)
            loss = got.mean() / all_read.mean() - 1
            if loss >= -ALLOWED:
                found.append((mean, -loss, its))
                break
    mean, loss, its = min(found, key=lambda one: one[:2])
    return its, mean, -loss


def _named(its: Fusion) -> str:
    plausible = "" if its.plausible is None else f", plausible {its.plausible:g}"
    return f"floor {its.floor}, cosine {its.retrieval:g}{plausible}"


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
    timing.add_argument("--keep", type=int, nargs="+", default=[16, 20])
    timing.add_argument("--most", type=int, default=40)
    timing.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    {"score": score, "fit": fit, "speed": speed}[args.verb](args)


if __name__ == "__main__":
    main()
