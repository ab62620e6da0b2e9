"""`shortlist evaluate`: both stages on judged questions."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.evaluated import Engine, Evaluated, with_statistics
from shortlist.cli.evaluated_files import check_ids, check_outputs, write_evaluated
from shortlist.cli.evaluated_tables import as_markdown, print_evaluated
from shortlist.cli.judgements import (
    check_passages_fit,
    check_queries_fit,
    judgements_of,
    queries_of,
)
from shortlist.cli.options import (
    AsJson,
    CrossEncoderName,
    Depth,
    Device,
    EngineName,
    FuseName,
    IndexOrAddress,
    NoRerank,
    PrecisionName,
    TargetRecall,
)
from shortlist.cli.show import note, print_json
from shortlist.errors import UsageError
from shortlist.evaluation.changed import changed_queries
from shortlist.evaluation.evaluate import evaluate as evaluate_pipeline
from shortlist.evaluation.metrics import DEFAULT_MEASURES, Measure, parse_measures
from shortlist.evaluation.one_pass import evaluate_with_curve
from shortlist.pipeline.pipeline import DEFAULT_FUSION, EXACT, RetrieveRerankPipeline
from shortlist.pipeline.schedule import DEEPEST, DEFAULT_DEPTH
from shortlist.records import Qrels


def evaluate(
    index: IndexOrAddress,
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
    curve: Annotated[
        bool,
        typer.Option(
            "--curve",
            help="The first measure by depth: recall and ceiling to 1,000, score and ms to 100.",
        ),
    ] = False,
    changed: Annotated[
        int | None,
        typer.Option("--changed", help="Show so many queries that gained most, and that lost."),
    ] = None,
    no_rerank: NoRerank = False,
    outputs: Annotated[
        list[Path] | None,
        typer.Option(
            "-o",
            "--output",
            help="Write .json, .md (tables), .csv (values of each query) or .trec (a run of the "
            "pipeline's order); may be repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print tables in Markdown.")] = False,
    cross_encoder: CrossEncoderName = None,
    engine: EngineName = EXACT,
    target_recall: TargetRecall = None,
    fuse: FuseName = DEFAULT_FUSION,
    device: Device = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Measure retrieval alone and reranked on judged questions.

    One table has retrieval, the cross-encoder's order alone, both together as
    search returns them, and the ceiling: what a perfect reranker would reach
    with the same candidates. Below it stands the change from retrieval to
    reranked with its 95 % interval and the p of a randomisation test. Every
    judged query counts (one with a passage of grade 1 or more); one without
    a text counts as zero.

    --curve scores the first 100 candidates of each query, whatever the depth:
    --limit-queries keeps that affordable, and makes intervals wider.

    Example: shortlist evaluate notes.idx --queries queries.jsonl --qrels qrels/dev.tsv

    Example: shortlist evaluate notes.idx --queries queries.jsonl --qrels qrels/dev.tsv
    --limit-queries 200 --curve --changed 5 -o dev.md -o dev.trec
    """
    if as_json and markdown:
        raise UsageError("--json and --markdown are two forms of one answer; give one of them")
    if changed is not None and changed < 1:
        raise UsageError(f"--changed must be 1 or more, got {changed}")
    wanted = parse_measures(measures or DEFAULT_MEASURES)
    written_to = outputs or []
    check_outputs(written_to, Path(index), queries, qrels)
    asked, judged = queries_of(queries), judgements_of(qrels)
    check_queries_fit(qrels, judged, queries, asked)
    pipeline = RetrieveRerankPipeline.open(
        index,
        cross_encoder="none" if no_rerank else cross_encoder,
        device=device,
        precision=precision,
        engine=engine,
        target_recall=target_recall,
        fuse=fuse,
        progress=None,
    )
    if changed is not None and not pipeline.has_reranker:
        raise UsageError("--changed shows what reranking changed, and nothing is reranked here")
    corpus_ids = pipeline.index.ids()
    check_passages_fit(qrels, judged, corpus_ids)
    check_ids(written_to, asked.keys() & judged.keys(), corpus_ids)
    found = _evaluated(
        pipeline,
        asked,
        judged,
        wanted,
        depth=depth,
        limit_queries=limit_queries,
        exclude_self=exclude_self,
        corpus_ids=corpus_ids,
        curve=curve,
        changed=changed,
    )
    for warning in found.result.warnings:
        note(f"warning: {warning}")
    for output in written_to:
        write_evaluated(found, asked, output)
        note(f"written: {output}")
    if as_json:
        print_json(found.as_json())
    elif markdown:
        typer.echo(as_markdown(found))
    else:
        print_evaluated(found)


def _evaluated(
    pipeline: RetrieveRerankPipeline,
    queries: Mapping[str, str],
    qrels: Qrels,
    measures: list[Measure],
    *,
    depth: int,
    limit_queries: int | None,
    exclude_self: bool,
    corpus_ids: Set[str],
    curve: bool,
    changed: int | None,
) -> Evaluated:
    measure = evaluate_with_curve if curve else evaluate_pipeline
    made = measure(
        pipeline,
        queries,
        qrels,
        measures,
        depth=depth,
        limit_queries=limit_queries,
        exclude_self=exclude_self,
        corpus_ids=corpus_ids,
    )
    result, found_curve = made if isinstance(made, tuple) else (made, None)
    moved = None if changed is None else changed_queries(result, queries, qrels, changed)
    reached = pipeline.measured(DEEPEST)
    engine = Engine(pipeline.engine, reached) if reached else None
    return with_statistics(result, found_curve, moved, engine)
