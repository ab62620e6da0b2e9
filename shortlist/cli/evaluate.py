"""`shortlist evaluate`: both stages on judged questions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.options import (
    AsJson,
    CrossEncoderName,
    Depth,
    Device,
    IndexArgument,
    NoRerank,
    PrecisionName,
)
from shortlist.cli.show import note, print_json, table
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.compare import Interval
from shortlist.evaluation.evaluate import Evaluation
from shortlist.evaluation.evaluate import evaluate as evaluate_pipeline
from shortlist.evaluation.metrics import DEFAULT_MEASURES
from shortlist.pipeline.pipeline import DEFAULT_DEPTH, RetrieveRerankPipeline


def evaluate(
    index: IndexArgument,
    queries: Annotated[Path, typer.Option("--queries", help="queries.jsonl, or .tsv: id, text.")],
    qrels: Annotated[Path, typer.Option("--qrels", help="Judgements: BEIR, TREC or MS MARCO.")],
    measures: Annotated[
        list[str] | None,
        typer.Option("-m", "--measure", help="MRR@10, nDCG@10, Recall@100, ...; may be repeated."),
    ] = None,
    depth: Depth = DEFAULT_DEPTH,
    limit_queries: Annotated[
        int | None, typer.Option("--limit-queries", help="A seeded sample of so many queries.")
    ] = None,
    exclude_self: Annotated[
        bool, typer.Option("--exclude-self", help="Drop the hit that has the query's own id.")
    ] = False,
    no_rerank: NoRerank = False,
    as_json: AsJson = False,
    cross_encoder: CrossEncoderName = None,
    device: Device = "auto",
    precision: PrecisionName = "float32",
) -> None:
    """Measure retrieval alone and reranked on judged questions.

    Example: shortlist evaluate notes.idx --queries queries.jsonl --qrels qrels/dev.tsv
    """
    pipeline = RetrieveRerankPipeline.open(
        index,
        cross_encoder="none" if no_rerank else cross_encoder,
        device=device,
        precision=precision,
        progress=None,
    )
    result = evaluate_pipeline(
        pipeline,
        read_queries(queries),
        read_qrels(qrels),
        measures or DEFAULT_MEASURES,
        depth=depth,
        limit_queries=limit_queries,
        exclude_self=exclude_self,
        corpus_ids=pipeline.index.ids(),
    )
    for warning in result.warnings:
        note(f"warning: {warning}")
    if as_json:
        print_json(result.as_json())
    else:
        print_evaluation(result)


def print_evaluation(result: Evaluation) -> None:
    """Both stages side by side, with the ceiling at this depth and the interval of the change."""
    retrieval = result.retrieval.as_json()
    reranked = result.reranked.as_json() if result.reranked else {}
    ceiling = result.ceiling.as_json() if result.ceiling else {}
    rows = []
    for name, value in retrieval.items():
        row = [name, f"{value:.4f}"]
        if name in reranked:
            change = (result.comparison or {}).get(name)
            row += [f"{reranked[name]:.4f}", _change(change), f"{ceiling[name]:.4f}"]
        rows.append(row)
    columns = ["measure", "retrieval"]
    if reranked:
        columns += ["reranked", "change (95 %)", "ceiling"]
    title = f"{result.queries} queries"
    if reranked:
        title += f", depth {result.depth}"
    table(title, columns, rows)


def _change(change: Interval | None) -> str:
    if change is None or change.relative is None:
        return "-"
    if change.relative_low is None or change.relative_high is None:
        return f"{change.relative:+.1%}"
    return f"{change.relative:+.1%} ({change.relative_low:+.1%} to {change.relative_high:+.1%})"
