"""Reranking against sentence-transformers' CrossEncoder.predict, and what int8 does to the order.

    python benchmarks/rerank.py speed                # minutes
    python benchmarks/rerank.py quality              # the bi-encoder's first 30, dev questions

`speed` scores the same pairs with the same weights, round by round in turn (see encode.py): Quora's
questions as passages, SQuAD's paragraphs, and several of them joined. `quality` reranks the same
candidates in both precisions: MRR@10 of the cross-encoder's own order and of the fused one, with
the interval of the change, and the rank correlation of the logits of a question.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from encode import SHARED, collections, in_turn, machine
from two_stages import passages_of, sample

from shortlist import CrossEncoder
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.compare import paired_bootstrap
from shortlist.models.loading import resolve
from shortlist.models.presets import OUR_CROSS_ENCODER, PRESETS, Fusion
from shortlist.pipeline.systems import first_stages

PRECISIONS = ("float32", "int8")
QUESTIONS = 8
Group = tuple[np.ndarray, np.ndarray, np.ndarray]  # cosines, logits [2, n], relevant


def speed(args: argparse.Namespace) -> None:
    from sentence_transformers import CrossEncoder as Reference
    from torch.nn import Identity

    reference = Reference(str(resolve(args.model).path), device="cpu", activation_fn=Identity())
    reference.model.float()  # stored in half precision
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


def quality(args: argparse.Namespace) -> None:
    models = {p: CrossEncoder.load(args.model, device="cpu", precision=p) for p in PRECISIONS}
    print(f"{args.model}: {machine()}; {args.limit} dev questions of a set, depth {args.depth}\n")
    print("| set | order by | float32 MRR@10 | int8 MRR@10 | change (95 %) | rank correlation |")
    print("|---|---|---|---|---|---|")
    for name in args.sets:
        groups = candidates(args, name, models)
        correlation = np.mean([rank_correlation(*logits) for _, logits, _ in groups])
        for label, rule in (("logit", Fusion()), ("fused", PRESETS["minilm"].fusion)):
            before, after = (
                np.array([reciprocal_rank(rule, group, row) for group in groups]) for row in (0, 1)
            )
            change = paired_bootstrap(before, after)
            bounds = (change.relative, change.relative_low, change.relative_high)
            relative, low, high = (np.nan if bound is None else bound for bound in bounds)
            print(
                f"| {name} | {label} | {before.mean():.4f} | {after.mean():.4f} | "
                f"{relative:+.2%} ({low:+.2%} to {high:+.2%}) | {correlation:.4f} |",
                flush=True,
            )


def candidates(args: argparse.Namespace, name: str, models: dict[str, CrossEncoder]) -> list[Group]:
    folder = args.data / name
    (stage,) = first_stages(passages_of(folder), args.work, ["minilm"], progress=None)
    queries = read_queries(folder / "queries.jsonl")
    qrels = read_qrels(folder / "qrels" / "dev.tsv")
    ids = sample(qrels, args.limit)
    found = stage.searcher.search_many([queries[i] for i in ids], top_k=args.depth, rerank=False)
    texts = [
        [f"{hit.title} {hit.text}" if hit.title else hit.text for hit in hits] for hits in found
    ]
    pairs = [(queries[i], text) for i, group in zip(ids, texts, strict=True) for text in group]
    logits = np.array([models[p].score(pairs) for p in PRECISIONS])
    ends = np.cumsum([len(hits) for hits in found])[:-1]
    return [
        (
            np.array([hit.retrieval_score for hit in hits]),
            part,
            np.array([qrels[i].get(hit.id, 0) > 0 for hit in hits]),
        )
        for i, hits, part in zip(ids, found, np.split(logits, ends, axis=1), strict=True)
    ]


def reciprocal_rank(rule: Fusion, group: Group, row: int) -> float:
    cosines, logits, relevant = group
    scores = [
        rule.score(float(logit), float(cosine), rank)
        for rank, (cosine, logit) in enumerate(zip(cosines, logits[row], strict=True), start=1)
    ]
    order = np.argsort(-np.array(scores), kind="stable")[:10]
    places = np.flatnonzero(relevant[order])
    return 1 / (int(places[0]) + 1) if len(places) else 0.0


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, of the logits of one question's candidates."""
    ranks = [np.argsort(np.argsort(-logits)) for logits in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    timing = verbs.add_parser("speed")
    timing.add_argument("--pairs", type=int, default=256)
    timing.add_argument("--rounds", type=int, default=5)
    measuring = verbs.add_parser("quality")
    measuring.add_argument("--sets", nargs="*", default=["squad"])
    measuring.add_argument("--limit", type=int, default=100, help="questions of each set")
    measuring.add_argument("--depth", type=int, default=30)
    measuring.add_argument("--work", type=Path, default=Path("work/systems"))
    for parsing in verbs.choices.values():
        parsing.add_argument("--model", default=OUR_CROSS_ENCODER)
        parsing.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args()
    {"speed": speed, "quality": quality}[args.verb](args)


if __name__ == "__main__":
    main()
