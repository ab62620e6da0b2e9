"""What int8 costs: the same questions answered in both precisions, all dev questions of the data.

    python benchmarks/precision.py embed                     # a quarter of an hour of two cores
    python benchmarks/precision.py store                     # two minutes, with indexes from embed
    python benchmarks/precision.py score --out work/precision    # hours; resumable, in random order
    python benchmarks/precision.py table --out work/precision    # seconds

`embed`: nDCG@10 of retrieval alone, passages and queries both in int8, against both in float32.
`store`: the same with float32 embeddings that are kept in float16.
`score`: every dev question's first 30 candidates (by float32 embeddings, or by those of the one
precision that is asked for) scored by the cross-encoder in both precisions; a question whose
candidates hold nothing relevant counts as zero in both without being scored. Questions are taken in
a seeded random order over all sets, so that what is there at any moment is a random sample.
`--seven-bits` takes the weights that a CPU without VNNI gets. `table`: MRR@10 and nDCG@10 of the
fused order and of the logits' own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from encode import SHARED, machine
from two_stages import passages_of

from shortlist import BiEncoder, CrossEncoder
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.metrics import has_relevant, score
from shortlist.evaluation.significance import paired_bootstrap
from shortlist.models import onnx as light_path
from shortlist.models.loading import resolve
from shortlist.models.onnx import PrecisionChoice
from shortlist.models.presets import MINILM, OUR_CROSS_ENCODER, PRESETS, Fusion
from shortlist.models.remembered import RememberedScores
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.pipeline import RetrieveRerankPipeline
from shortlist.pipeline.rescoring import rescored
from shortlist.pipeline.schedule import FixedDepth
from shortlist.pipeline.systems import first_stages
from shortlist.pipeline.topk import exact_top_k
from shortlist.records import Passage

ASYMMETRIC = [
    "squad",
    "squadshifts_new_wiki",
    "squadshifts_reddit",
    "squadshifts_amazon_reviews",
    "medquad",
    "msmarco",
]
SYMMETRIC = ["quora", "publications"]
PRECISIONS = ("float32", "int8")
DEPTH = 30
AT_ONCE = 32  # questions between two writes
OWN = {"quora"}  # the query is in the collection


@dataclass(frozen=True)
class Questions:
    """A set with its index in float32, and its dev questions."""

    name: str
    searcher: RetrieveRerankPipeline
    texts: dict[str, str]
    qrels: dict[str, dict[str, int]]


def questions_of(args: argparse.Namespace, name: str, index: PrecisionChoice) -> Questions:
    folder = args.data / name
    (stage,) = first_stages(
        passages_of(folder), args.work, ["minilm"], precision=index, progress=None
    )
    assert isinstance(stage.searcher, RetrieveRerankPipeline)
    qrels = read_qrels(folder / "qrels" / "dev.tsv")
    judged = {query: grades for query, grades in qrels.items() if has_relevant(grades)}
    texts = read_queries(folder / "queries.jsonl")
    return Questions(name, stage.searcher, {q: texts[q] for q in judged}, judged)


def embed(args: argparse.Namespace) -> None:
    models = {p: BiEncoder.load(MINILM, device="cpu", precision=p) for p in PRECISIONS}
    print(f"{MINILM}: {machine()}; retrieval alone, all dev questions\n")
    print("| set | questions | float32 nDCG@10 | int8 nDCG@10 | change (95 %) |")
    print("|---|---|---|---|---|", flush=True)
    pairs = []
    for name in args.sets or [*ASYMMETRIC, *SYMMETRIC]:
        questions = questions_of(args, name, "float32")
        index = questions.searcher.index
        passages = list(index.all_passages())
        ids = list(questions.texts)
        values = []
        for precision, model in models.items():
            vectors = (
                index.embeddings
                if precision == "float32"
                else [model.encode_passages([passage.model_text for passage in passages])]
            )
            queries = model.encode_queries([questions.texts[i] for i in ids])
            values.append(retrieved(questions, passages, queries, vectors))
        pairs.append(values)
        line(name, *values)
    line("all questions", *np.concatenate(pairs, axis=1))
    means = np.array([[part.mean() for part in values] for values in pairs])
    print(f"\nmean of the sets: {means[:, 0].mean():.4f} -> {means[:, 1].mean():.4f}")


def retrieved(
    questions: Questions, passages: list[Passage], queries: FloatArray, vectors: list[FloatArray]
) -> np.ndarray:
    """The nDCG@10 of each question."""
    run = found_by(questions.name, list(questions.texts), passages, queries, vectors, 10)
    return by_question(run, questions.qrels, "nDCG@10")


def found_by(
    name: str,
    asked: list[str],
    passages: list[Passage],
    queries: FloatArray,
    vectors: FloatArray | list[FloatArray],
    depth: int,
) -> dict[str, list[str]]:
    """What each question finds; without itself where the questions are the collection."""
    _, rows = exact_top_k(queries, vectors, min(depth + 1, len(passages)))
    is_own = name in OWN
    return {
        query: [passages[row].id for row in found if not is_own or passages[row].id != query][
            :depth
        ]
        for query, found in zip(asked, rows, strict=True)
    }


def store(args: argparse.Namespace) -> None:
    model = BiEncoder.load(MINILM, device="cpu")
    print(f"{MINILM}: embeddings kept in float16, retrieval alone, all dev questions\n")
    print("| set | questions | float32 nDCG@10 | float16 nDCG@10 | change (95 %) | same top 10 |")
    print("|---|---|---|---|---|---|", flush=True)
    pairs = []
    for name in args.sets or [*ASYMMETRIC, *SYMMETRIC]:
        questions = questions_of(args, name, "float32")
        index = questions.searcher.index
        passages = list(index.all_passages())
        queries = model.encode_queries(list(questions.texts.values()))
        kept = [part.astype(np.float16) for part in index.embeddings]
        rows = [exact_top_k(queries, part, 10)[1] for part in (index.embeddings, kept)]
        values = [retrieved(questions, passages, queries, v) for v in (index.embeddings, kept)]
        pairs.append(values)
        line(name, *values, f" {(rows[0] == rows[1]).all(axis=1).mean():.1%} |")
    line("all questions", *np.concatenate(pairs, axis=1), " |")


def by_question(run: dict[str, list[str]], qrels: dict, measure: str) -> np.ndarray:
    values = score(run, qrels, [measure]).per_query[measure]
    return np.array([values[query] for query in sorted(run)])


def line(name: str, before: np.ndarray, after: np.ndarray, more: str = "") -> None:
    print(
        f"| {name} | {len(before):,} | {before.mean():.4f} | {after.mean():.4f} | "
        f"{change(before, after)} |{more}",
        flush=True,
    )


def change(before: np.ndarray, after: np.ndarray) -> str:
    """The relative change of the mean, with its interval."""
    found = paired_bootstrap(before, after)
    bounds = (found.relative, found.relative_low, found.relative_high)
    relative, low, high = (np.nan if bound is None else bound for bound in bounds)
    return f"{relative:+.2%} ({low:+.2%} to {high:+.2%})"


def results(args: argparse.Namespace) -> Path:
    kind = "-7bit" if args.seven_bits else ""
    model = resolve(OUR_CROSS_ENCODER).fingerprint[:8]
    return args.out / f"depth{args.depth}-{'-'.join(args.precisions)}{kind}-{model}.jsonl"


def score_all(args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    index = "float32" if len(args.precisions) > 1 else args.precisions[0]
    sets = {name: questions_of(args, name, index) for name in args.sets or ASYMMETRIC}
    scorers = {
        p: RememberedScores(
            CrossEncoder.load(OUR_CROSS_ENCODER, device="cpu", precision=p), args.work
        )
        for p in args.precisions
    }
    target = results(args)
    done = {(row["set"], row["query"]) for row in rows_of(target)}
    everything = [(name, query) for name, questions in sets.items() for query in questions.texts]
    order = np.random.default_rng(0).permutation(len(everything))[: args.limit]
    waiting = [everything[i] for i in order if everything[i] not in done]
    print(f"{len(done)} done, {len(waiting)} waiting", flush=True)
    for start in range(0, len(waiting), AT_ONCE):
        made = list(scored(sets, waiting[start : start + AT_ONCE], scorers, args.depth))
        with target.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in made)
        print(len(done) + start + len(made), flush=True)


def scored(
    sets: dict[str, Questions],
    wanted: list[tuple[str, str]],
    scorers: dict[str, RememberedScores],
    depth: int,
) -> Iterator[dict]:
    rows, asked = [], []
    for name, query in wanted:
        questions = sets[name]
        text = questions.texts[query]
        hits = questions.searcher.search(text, top_k=depth, rerank=False)
        row = {"set": name, "query": query}
        if any(questions.qrels[query].get(hit.id, 0) > 0 for hit in hits):
            cosines = [hit.retrieval_score for hit in hits]
            row |= {"ids": [hit.id for hit in hits], "cosines": cosines}
            passages = [Passage(hit.id, hit.text, hit.title) for hit in hits]
            asked.append(Candidates(text, passages, np.array(cosines, np.float32)))
        rows.append(row)
    # by the best window of each, as in a search
    said = {p: iter(rescored(s, asked, FixedDepth(depth), None)) for p, s in scorers.items()}
    for row in rows:
        found = {p: next(own).logits.tolist() for p, own in said.items()} if "ids" in row else {}
        yield row | found


def rows_of(file: Path) -> list[dict]:
    return [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []


def named_rows(file: Path, data: Path) -> tuple[list[dict], dict[str, dict]]:
    """The rows of all sets, each with a name of its own, and the judgements by set."""
    rows = [row | {"name": f"{row['set']} {row['query']}"} for row in rows_of(file)]
    sets = {row["set"] for row in rows}
    return rows, {name: read_qrels(data / name / "qrels" / "dev.tsv") for name in sets}


def table(args: argparse.Namespace) -> None:
    if len(args.precisions) < 2:
        raise SystemExit("a table compares two precisions; one file has one")
    rows = rows_of(results(args))
    print(f"{OUR_CROSS_ENCODER}: depth {args.depth}, {len(rows):,} dev questions\n")
    print("| set | order by | measure | questions | float32 | int8 | change (95 %) |")
    print("|---|---|---|---|---|---|---|")
    names = list(dict.fromkeys(row["set"] for row in rows))
    qrels = {name: read_qrels(args.data / name / "qrels" / "dev.tsv") for name in names}
    for label, rule in (("fused", PRESETS["minilm"].fusion), ("logit", Fusion())):
        for measure in ("MRR@10", "nDCG@10"):
            parts = []
            for name in names:
                own = [row for row in rows if row["set"] == name]
                judged = {row["query"]: qrels[name][row["query"]] for row in own}
                parts.append(
                    [
                        by_question({r["query"]: ranked(r, rule, p) for r in own}, judged, measure)
                        for p in PRECISIONS
                    ]
                )
                line(f"{name} | {label} | {measure}", *parts[-1])
            line(f"all questions | {label} | {measure}", *np.concatenate(parts, axis=1))


def ranked(row: dict, rule: Fusion, precision: str, depth: int | None = None) -> list[str]:
    """The ids of a question's candidates, the first `depth` in the order of the rule."""
    if "ids" not in row:
        return ["nothing relevant was found"]
    scores = [
        rule.score(logit, cosine, rank)
        for rank, (logit, cosine) in enumerate(zip(row[precision], row["cosines"], strict=True), 1)
    ][:depth]
    order = np.argsort(-np.array(scores), kind="stable")
    return [row["ids"][i] for i in order] + row["ids"][len(scores) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    names = ("embed", "store", "score", "table")
    embedding, storing, scoring, showing = (verbs.add_parser(name) for name in names)
    for parsing in (embedding, storing, scoring):
        parsing.add_argument("--sets", nargs="*")
        parsing.add_argument("--work", type=Path, default=Path("work/systems"))
    for parsing in verbs.choices.values():
        parsing.add_argument("--data", type=Path, default=SHARED)
        parsing.add_argument("--seven-bits", action="store_true", help="as without VNNI")
    for parsing in (scoring, showing):
        parsing.add_argument("--depth", type=int, default=DEPTH)
        parsing.add_argument("--out", type=Path, default=Path("work/precision"))
    for parsing in (scoring, showing):
        parsing.add_argument("--precisions", nargs="*", default=list(PRECISIONS))
    scoring.add_argument("--limit", type=int, help="of all sets together")
    args = parser.parse_args()
    if args.seven_bits:
        light_path.products_saturate = lambda: True
    commands = {"embed": embed, "store": store, "score": score_all, "table": table}
    commands[args.verb](args)


if __name__ == "__main__":
    main()
