"""A cascade beside the large cross-encoder alone: what it loses, and what it saves.

    python benchmarks/cascade.py score --student MODEL --out work/cascade   # an hour; resumable
    python benchmarks/cascade.py fit work/cascade                           # seconds
    python benchmarks/cascade.py speed --student MODEL --keep 16            # minutes

`score` keeps, of a seeded sample of each set's dev questions, the logits of both cross-encoders for
100 candidates. `fit` chooses on one half of the questions the student's rule (how its logit and the
cosine make one score) and measures on the other half what each number of candidates that are handed
on loses. `speed` asks both in turn.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from shortlist import BiEncoder, CrossEncoder, RetrieveRerankPipeline
from shortlist.data.collections import Cutting
from shortlist.evaluation.compare import paired, paired_bootstrap
from shortlist.models.presets import MINILM, OUR_CROSS_ENCODER, Fusion
from shortlist.models.registered import fusion_for
from shortlist.training.card import change_of
from shortlist.training.dev import DevSet, indexed, logits_of, mean_of, read_dev

DEPTH = 100
SETS = {"squad": 120, "squadshifts_new_wiki": 120, "squadshifts_reddit": 80, "medquad": 80}
KEEPS = (5, 8, 10, 12, 16, 20, 30)
RULES = [Fusion(logit=1.0, retrieval=weight, floor=floor)
         for floor in (None, -6.0, -2.0) for weight in (0.0, 5.0, 10.0, 20.0, 30.0)]  # fmt: skip


def loaded(args: argparse.Namespace, name: str, encoder: BiEncoder, count: int | None) -> DevSet:
    cutting = Cutting(encoder.count_tokens, encoder.max_tokens)
    return read_dev(args.data / name, encoder, args.work, cutting, questions=count, depth=DEPTH)


def score(args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    encoder = BiEncoder.load(MINILM, precision="auto")
    models = {"large": CrossEncoder.load(args.large, precision="auto"),
              "student": CrossEncoder.load(args.student, precision="auto")}  # fmt: skip
    for name, count in SETS.items():
        dev = loaded(args, name, encoder, args.questions or count)
        for role, model in models.items():
            file = args.out / f"{name}-{role}-{model.fingerprint[:8]}.json"
            if file.exists():
                continue
            start = time.monotonic()
            logits = logits_of(dev, model.score)
            seconds = time.monotonic() - start
            record = {
                "seconds": seconds,
                "logits": {query: own.tolist() for query, own in logits.items()},
                "cosines": {q: one.similarities.tolist() for q, one in dev.questions.items()},
                "candidates": {q: [p.id for p in one.candidates]
                               for q, one in dev.questions.items()},
                "qrels": {q: dict(grades) for q, grades in dev.qrels.items()},
            }  # fmt: skip
            file.write_text(json.dumps(record))
            print(f"{name}, {role}: {len(logits)} questions, {seconds:.0f} s", flush=True)


def reciprocal_rank(order: list[str], grades: dict[str, int]) -> float:
    return next((1 / r for r, p in enumerate(order[:10], 1) if grades.get(p, 0) > 0), 0.0)


def ranked(ids: list[str], logits: list[float], cosines: list[float], places: list[int],
           rule: Fusion) -> list[str]:  # fmt: skip
    """The order of the candidates at these places, best first."""
    scored = [(-rule.score(logits[i], cosines[i], i + 1), i) for i in places]
    return [ids[i] for _, i in sorted(scored)]


def terms(large: dict, student: dict, queries: list[str], rule: Fusion, its: Fusion | None,
          keep: int) -> dict[str, float]:  # fmt: skip
    """MRR@10's terms with the student choosing by `its` rule; None: the large one reads all."""
    found = {}
    for query in queries:
        ids, cosines = large["candidates"][query], large["cosines"][query]
        places = list(range(len(ids)))
        if its is not None:
            said = student["logits"][query]
            scored = [(-its.score(said[i], cosines[i], i + 1), i) for i in places]
            places = sorted(i for _, i in sorted(scored)[:keep])
        order = ranked(ids, large["logits"][query], cosines, places, rule)
        found[query] = reciprocal_rank(order, large["qrels"][query])
    return found


def fit(args: argparse.Namespace) -> None:
    rule = fusion_for(MINILM, args.large)
    records = {
        name: [json.loads(next(args.folder.glob(f"{name}-{role}-*.json")).read_text())
               for role in ("large", "student")]
        for name in SETS if list(args.folder.glob(f"{name}-student-*.json"))
    }  # fmt: skip
    halves = {}
    for name, (large, _) in records.items():
        ids = sorted(large["logits"])
        order = np.random.default_rng(1).permutation(len(ids))
        middle = len(ids) // 2
        halves[name] = [[ids[i] for i in part] for part in (order[:middle], order[middle:])]

    def mean(its: Fusion | None, keep: int, half: int) -> float:
        return float(np.mean([
            mean_of(terms(*records[name], halves[name][half], rule, its, keep)) for name in records
        ]))  # fmt: skip

    print("mean of the sets' MRR@10 on the half that is fitted on; 16 are handed on")
    means = {its: mean(its, 16, 0) for its in RULES}
    for its, value in means.items():
        print(f"  floor {its.floor!s:>5} weight {its.retrieval:4g}: {value:.4f}")
    chosen = max(means, key=means.__getitem__)
    print(f"  all 100 by the large one: {mean(None, 0, 0):.4f}\nchosen: {chosen}\n")
    print("the other half, MRR@10 and the change against the large one on all 100 (95 %)")
    print("| handed on | " + " | ".join(records) + " | all | change |")
    print("|---" * (len(records) + 3) + "|")
    whole = {name: terms(*records[name], halves[name][1], rule, None, 0) for name in records}
    for keep in KEEPS:
        cells, before, after = [], {}, {}
        for name in records:
            own = terms(*records[name], halves[name][1], rule, chosen, keep)
            cells.append(f"{mean_of(own):.4f}")
            before |= {f"{name} {q}": v for q, v in whole[name].items()}
            after |= {f"{name} {q}": v for q, v in own.items()}
        change = change_of(paired_bootstrap(*paired(before, after)))
        print(f"| {keep} | {' | '.join(cells)} | {mean_of(after):.4f} | {change} |")
    print("| all 100 | " + " | ".join(f"{mean_of(v):.4f}" for v in whole.values())
          + f" | {mean_of(before):.4f} | |")  # fmt: skip


def speed(args: argparse.Namespace) -> None:
    """Questions of squad, both ways in turn; the ratio of every round."""
    encoder = BiEncoder.load(MINILM, precision="auto")
    cutting = Cutting(encoder.count_tokens, encoder.max_tokens)
    index = indexed(args.data / "squad", encoder, args.work, cutting)
    pipeline = RetrieveRerankPipeline.open(
        index.path, bi_encoder=encoder, cross_encoder=args.large, student=args.student
    )
    dev = read_dev(args.data / "squad", encoder, args.work, cutting, questions=args.questions or 20)
    questions = [question.text for question in dev.questions.values()]
    ways = {"large, 100": {"depth": DEPTH}, "large, 30": {"depth": 30},
            f"cascade, 100 -> {args.keep}": {"depth": DEPTH, "cascade": args.keep}}  # fmt: skip
    for options in ways.values():
        pipeline.search(questions[0], **options)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, options in ways.items():
            start = time.perf_counter()
            pipeline.search_many(questions, **options)
            seconds[name].append(time.perf_counter() - start)
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
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    for verb in ("score", "speed"):
        parsing = verbs.add_parser(verb)
        parsing.add_argument("--student", required=True)
        parsing.add_argument("--questions", type=int)
        parsing.add_argument("--data", type=Path, default=beside)
        parsing.add_argument("--work", type=Path, default=Path("work/cascade-indexes"))
    verbs.choices["score"].add_argument("--out", type=Path, required=True)
    verbs.choices["speed"].add_argument("--keep", type=int, default=16)
    verbs.choices["speed"].add_argument("--rounds", type=int, default=3)
    verbs.add_parser("fit").add_argument("folder", type=Path)
    for parsing in verbs.choices.values():
        parsing.add_argument("--large", default=OUR_CROSS_ENCODER)
    args = parser.parse_args()
    {"score": score, "fit": fit, "speed": speed}[args.verb](args)


if __name__ == "__main__":
    main()
