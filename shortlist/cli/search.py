"""`shortlist search`: one question and the best passages, or a file of questions and a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from shortlist.cli.engines import note_engine
from shortlist.cli.options import (
    Adaptive,
    AsJson,
    BudgetMs,
    CascadeKeep,
    CrossEncoderName,
    DepthOrNone,
    Device,
    EngineName,
    FoldDuplicates,
    FuseName,
    GroupBy,
    IndexOrAddress,
    NoRerank,
    PrecisionName,
    StudentName,
    TargetRecall,
    Where,
)
from shortlist.cli.show import note, note_unanswered, print_hits, print_json, refuse_same
from shortlist.data.atomic import written
from shortlist.data.queries import read_queries
from shortlist.data.runs import check_run_ids, write_run
from shortlist.errors import UsageError
from shortlist.pipeline.batch import run_scores, search_all
from shortlist.pipeline.pipeline import DEFAULT_FUSION, DEFAULT_TOP_K, EXACT, RetrieveRerankPipeline
from shortlist.pipeline.schedule import DEFAULT_DEPTH
from shortlist.records import Hit

RUN_TOP_K = 100  # of each query of a file


def search(
    index: IndexOrAddress,
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="What to look for.", show_default=False)
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "-k",
            "--top-k",
            help=f"Passages for each query: {DEFAULT_TOP_K}, or {RUN_TOP_K} in a run.",
        ),
    ] = None,
    depth: DepthOrNone = None,
    where: Where = None,
    adaptive: Adaptive = False,
    budget_ms: BudgetMs = None,
    cascade: CascadeKeep = None,
    student: StudentName = None,
    queries: Annotated[
        Path | None, typer.Option("--queries", help="Many queries: .jsonl, or .tsv with id, text.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A TREC run; with --json the hits as JSON lines."),
    ] = None,
    run_tag: Annotated[str, typer.Option("--runtag", help="The name in a run.")] = "shortlist",
    group_by: GroupBy = None,
    fold_duplicates: FoldDuplicates = False,
    no_rerank: NoRerank = False,
    as_json: AsJson = False,
    cross_encoder: CrossEncoderName = None,
    engine: EngineName = EXACT,
    target_recall: TargetRecall = None,
    fuse: FuseName = DEFAULT_FUSION,
    device: Device = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Show the best passages for a question, or write a run for a file of them.

    Example: shortlist search notes.idx "how do plants make food?"

    Example: shortlist search notes.idx --queries queries.jsonl -o run.trec
    """
    if (query is None) == (queries is None):
        raise UsageError("give one QUERY, or a file of them with --queries")
    if (queries is None) != (output is None):
        raise UsageError("--queries and -o belong together: where from, and where to")
    refuse_same(output, queries)
    questions = read_queries(queries) if queries else {}
    pipeline = RetrieveRerankPipeline.open(
        index,
        cross_encoder="none" if no_rerank else cross_encoder,
        device=device,
        precision=precision,
        student=student,
        engine=engine,
        target_recall=target_recall,
        fuse=fuse,
        progress=None,
    )
    if output is None:
        hits = pipeline.search(
            query or "",
            top_k=DEFAULT_TOP_K if top_k is None else top_k,
            depth=depth,
            group_by=group_by,
            fold_duplicates=fold_duplicates,
            where=where,
            adaptive=adaptive,
            budget_ms=budget_ms,
            cascade=cascade,
        )
        if as_json:
            print_json([hit.as_json() for hit in hits])
        else:
            print_hits(hits)
            note_unanswered(pipeline.is_answered(hits), hits)
        note_engine(engine, pipeline.measured(depth or DEFAULT_DEPTH))
        return
    if not as_json:  # before the searching, not after it
        check_run_ids(questions, "query", output)
        check_run_ids(pipeline.index.ids(), "passage", output)
        check_run_ids([run_tag], "run", output)
    pipeline.show_progress(False)  # there is one bar over all queries
    with tqdm(total=len(questions), desc="searching", unit=" queries", disable=None) as bar:
        answers = search_all(
            pipeline,
            questions,
            top_k=RUN_TOP_K if top_k is None else top_k,
            depth=depth,
            group_by=group_by,
            fold_duplicates=fold_duplicates,
            where=where,
            adaptive=adaptive,
            budget_ms=budget_ms,
            cascade=cascade,
            on_queries=bar.update,
        )
        if as_json:
            _write_json_lines(answers, questions, output)
        else:
            by_document = group_by is not None
            scores = ((q, run_scores(hits, by_document=by_document)) for q, hits in answers)
            write_run(scores, output, run_tag)
    note(f"{len(questions):,} queries: {output}")
    note_engine(engine, pipeline.measured(top_k or RUN_TOP_K))


def _write_json_lines(
    answers: Iterator[tuple[str, list[Hit]]], questions: dict[str, str], output: Path
) -> None:
    with written(output) as stream:
        for query_id, hits in answers:
            row = {
                "query_id": query_id,
                "query": questions[query_id],
                "hits": [hit.as_json() for hit in hits],
            }
            stream.write((json.dumps(row, allow_nan=False) + "\n").encode())
