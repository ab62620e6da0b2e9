"""Reranking against sentence-transformers' CrossEncoder.predict, with the same weights.

    python benchmarks/rerank.py speed                # minutes
    python benchmarks/rerank.py questions            # a quarter of an hour: 50 questions x 100
    python benchmarks/rerank.py budget               # minutes: 200 questions in 300 and 1,000 ms

`speed` scores the same pairs, round by round in turn (see encode.py): Quora's questions as
passages, SQuAD's paragraphs, and several of them joined. `questions` reranks the first 100
candidates of dev questions of squad, cut as `predict` cuts them, in windows as the pipeline reads
them, with an adaptive depth, and behind our student; both sides sort by length.
`budget` asks one question after the other and tells how many answers came in time. What int8 and
an adaptive depth cost in quality is measured by precision.py and adaptive_depth.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from encode import SHARED, collections, in_turn, machine
from precision import questions_of

from shortlist import CrossEncoder, RetrieveRerankPipeline
from shortlist.data.queries import read_queries
from shortlist.models.loading import resolve
from shortlist.models.presets import MINILM, OUR_CROSS_ENCODER, OUR_STUDENT, PRESETS
from shortlist.models.registered import fusion_for
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.cascade import Cascade
from shortlist.pipeline.rerank import reranked
from shortlist.pipeline.rescoring import rescored
from shortlist.pipeline.schedule import DEEPEST, Effort, FixedDepth, Pace

PRECISIONS = ("float32", "int8")
QUESTIONS = 8
HANDED_ON = 40  # at most
FUSION = PRESETS["minilm"].fusion


def reference_of(name: str) -> Any:
    from sentence_transformers import CrossEncoder as Reference
    from torch.nn import Identity

    reference = Reference(str(resolve(name).path), device="cpu", activation_fn=Identity())
    reference.model.float()  # stored in half precision
    return reference


def speed(args: argparse.Namespace) -> None:
    reference = reference_of(args.model)
    models = {p: CrossEncoder.load(args.model, device="cpu", precision=p) for p in PRECISIONS}
    questions = list(
        islice(read_queries(args.data / "squad" / "queries.jsonl").values(), QUESTIONS)
    )
    print(f"{args.model}: {machine()}\n")
    print("| passages | characters | system | pairs/s | ratio | largest difference | correlation |")
    print("|---|---|---|---|---|---|---|")
    for kind, texts in collections(args.data, args.pairs // QUESTIONS * 2).items():
        passages = texts[: args.pairs // QUESTIONS]
        pairs = [(question, passage) for question in questions for passage in passages]
        systems: dict[str, Callable[[], object]] = {
            "sentence-transformers": lambda pairs=pairs: reference.predict(pairs),
            **{
                name: lambda model=model, pairs=pairs: model.score(pairs)
                for name, model in models.items()
            },
        }
        seconds = in_turn(systems, args.rounds)
        expected = np.asarray(reference.predict(pairs))
        for name, values in seconds.items():
            ratio = np.median(seconds["sentence-transformers"] / values)
            logits = models[name].score(pairs) if name in models else expected
            print(
                f"| {len(pairs)} {kind} | {np.mean([len(p) for p in passages]):.0f} | {name} | "
                f"{len(pairs) / np.median(values):.1f} | {ratio:.2f} | "
                f"{np.abs(logits - expected).max():.4f} | "
                f"{np.corrcoef(logits, expected)[0, 1]:.5f} |",
                flush=True,
            )


def questions(args: argparse.Namespace) -> None:
    found = [
        Candidates(text, passages, scores)
        for text, passages, scores in candidates(args, args.questions)
    ]
    pairs = [(c.query, passage.model_text) for c in found for passage in c.passages]
    reference = reference_of(args.model)
    models = {p: CrossEncoder.load(args.model, device="cpu", precision=p) for p in PRECISIONS}

    student = CrossEncoder.load(OUR_STUDENT, device="cpu", precision="int8")
    cascade = Cascade(student, fusion_for(MINILM, OUR_STUDENT), DEEPEST, HANDED_ON)

    def ours(precision: str, effort: Effort) -> Callable[[], float]:
        def work() -> float:
            plan = effort.plan(FUSION, Pace(), 0.0, cascade.fusion)
            answers = reranked(
                models[precision], FUSION, found, depth=plan, metric="cosine",
                cascade=cascade if effort.cascade else None,
            )  # fmt: skip
            return float(np.mean([hits[0].depth for hits in answers]))

        return work

    def cut() -> object:
        return rescored(models["int8"], found, FixedDepth(DEEPEST), None, windows=False)

    whole = Effort(depth=DEEPEST)
    adaptive = ours("int8", Effort(adaptive=True))
    behind_student = ours("int8", Effort(adaptive=True, cascade=HANDED_ON))
    systems: dict[str, Callable[[], Any]] = {
        "CrossEncoder.predict": lambda: reference.predict(pairs),
        "int8, cut as predict cuts": cut,
        "float32": ours("float32", whole),
        "int8": ours("int8", whole),
        "int8, adaptive": adaptive,
        "int8, adaptive, behind the student": behind_student,
    }
    depths = f"{adaptive():.1f}, behind the student {behind_student():.1f}"
    reference.predict(pairs[:64])
    seconds = in_turn(systems, args.rounds, warm=False)
    print(f"{args.model}: {machine()}")
    print(f"{len(found)} questions of squad dev, {len(pairs):,} pairs; adaptive: {depths} each\n")
    print("| system | seconds, median | ratio | ratios of the rounds |")
    print("|---|---|---|---|")
    for name, values in seconds.items():
        ratios = seconds["CrossEncoder.predict"] / values
        print(
            f"| {name} | {np.median(values):.1f} | {np.median(ratios):.2f} | "
            f"{', '.join(f'{ratio:.2f}' for ratio in ratios)} |"
        )


def candidates(args: argparse.Namespace, count: int) -> list[tuple[str, Any, Any]]:
    """The first 100 of seeded dev questions of squad."""
    asked = questions_of(args, "squad", "float32")
    order = np.random.default_rng(0).permutation(sorted(asked.texts))[:count]
    known = {passage.id: passage for passage in asked.searcher.index.all_passages()}
    found = []
    for question in order:
        text = asked.texts[question]
        hits = asked.searcher.search(text, top_k=DEEPEST, rerank=False)
        passages = [known[hit.id] for hit in hits]
        found.append((text, passages, np.array([h.retrieval_score for h in hits], np.float32)))
    return found


def budget(args: argparse.Namespace) -> None:
    asked = questions_of(args, "squad", "float32")
    order = np.random.default_rng(0).permutation(sorted(asked.texts))[: args.questions]
    print(f"{args.model}: {machine()}; {len(order)} questions of squad dev, one after the other\n")
    print("| budget, ms | in time | median ms | 95 % | most | depth: median (5 to 95 %) |")
    print("|---|---|---|---|---|---|")
    for milliseconds in (300, 1000):
        pipeline = RetrieveRerankPipeline.open(asked.searcher.index.path, cross_encoder=args.model)
        _ = pipeline.cross_encoder
        taken, depths = [], []
        for question in order:
            start = time.perf_counter()
            hits = pipeline.search(asked.texts[question], budget_ms=milliseconds)
            taken.append(1000 * (time.perf_counter() - start))
            depths.append(hits[0].depth)
        print(
            f"| {milliseconds} | {np.mean(np.array(taken) <= milliseconds):.1%} | "
            f"{np.median(taken):.0f} | {np.quantile(taken, 0.95):.0f} | {max(taken):.0f} | "
            f"{np.median(depths):.0f} ({np.quantile(depths, 0.05):.0f} to "
            f"{np.quantile(depths, 0.95):.0f}) |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    timing, asking, budgeting = (verbs.add_parser(v) for v in ("speed", "questions", "budget"))
    timing.add_argument("--pairs", type=int, default=256)
    timing.add_argument("--rounds", type=int, default=5)
    asking.add_argument("--rounds", type=int, default=3)
    for parsing, count in ((asking, 50), (budgeting, 200)):
        parsing.add_argument("--questions", type=int, default=count)
        parsing.add_argument("--work", type=Path, default=Path("work/systems"))
    for parsing in verbs.choices.values():
        parsing.add_argument("--model", default=OUR_CROSS_ENCODER)
        parsing.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args()
    {"speed": speed, "questions": questions, "budget": budget}[args.verb](args)


if __name__ == "__main__":
    main()
