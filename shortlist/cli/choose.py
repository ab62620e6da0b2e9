"""`shortlist choose`: which models and which depth for these texts, by measurement."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from shortlist.cli.options import (
    AsJson,
    CrossEncoderName,
    Device,
    IdField,
    SourceArgument,
    TextField,
    TitleField,
)
from shortlist.cli.show import note, print_json, refuse_same
from shortlist.cli.study import (
    check_depths,
    check_limits,
    finds_itself,
    name_of,
    print_choice,
    step_notes,
    study,
    test_bed,
    warnings_of,
)
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.errors import UsageError
from shortlist.evaluation.choose import DEPTHS, LIMIT_QUERIES, MEASURES
from shortlist.evaluation.choose import choose as choose_system
from shortlist.evaluation.metrics import parse_measures
from shortlist.evaluation.report import check_extra, write_report
from shortlist.models.presets import DEFAULT_PRESET
from shortlist.pipeline.reading import Reading, ReadingOptions
from shortlist.pipeline.stages import load_bi_encoder
from shortlist.pipeline.systems import first_stages

LIMIT_PASSAGES = 20_000


def choose(
    source: SourceArgument,
    queries: Annotated[
        Path | None, typer.Option("--queries", help="queries.jsonl, or .tsv: id, text.")
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option("--qrels", help="Judgements: BEIR, TREC or MS MARCO.")
    ] = None,
    systems: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            help="bm25, a preset, or a bi-encoder's name or folder; may be repeated. By default "
            "all that are on this machine.",
        ),
    ] = None,
    cross_encoder: CrossEncoderName = None,
    depths: Annotated[
        list[int] | None,
        typer.Option("--depth", help="Candidates to rerank, 10, 30 and 50; may be repeated."),
    ] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option("-m", "--measure", help="nDCG@10, MRR@10, ...; the first one decides."),
    ] = None,
    limit_queries: Annotated[
        int, typer.Option("--limit-queries", help="A seeded sample of so many queries.")
    ] = LIMIT_QUERIES,
    limit_passages: Annotated[
        int,
        typer.Option(
            "--limit-passages",
            help="A seeded sample of so many passages and all judged ones; 0 for all.",
        ),
    ] = LIMIT_PASSAGES,
    exclude_self: Annotated[
        bool, typer.Option("--exclude-self", help="Drop the hit that has the query's own id.")
    ] = False,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write an HTML report that opens offline.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option("--work", help="Keep indexes and scores here, for the next time."),
    ] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Measure which models and which depth suit a collection, and recommend.

    With judged queries the figures are what users will see. Without, queries
    are made from the passages themselves, which tells systems apart but
    flatters keyword search. The recommendation is the fastest system within
    1 % of the best; the table shows what it is chosen from, with 95 %
    intervals.

    Example: shortlist choose my-notes/ --queries queries.tsv --qrels qrels.tsv
    """
    if qrels is not None and queries is None:
        raise UsageError("--qrels judges queries that were not given; add --queries")
    limit = limit_passages or None
    check_limits(limit_queries, limit)
    check_depths(depths)
    _check_places(report, work, queries, qrels, Path(source))
    wanted = parse_measures(measures or MEASURES)
    asked = read_queries(queries) if queries else None
    judged = read_qrels(qrels) if qrels else None
    encoder = load_bi_encoder(DEFAULT_PRESET, device=device)
    reading = Reading(source, encoder, ReadingOptions(id_field, title_field, text_field), note)
    bed = test_bed(
        name_of(source),
        reading.passages(),
        asked,
        judged,
        encoder,
        limit_passages=limit,
        known_queries=limit_queries,
    )
    reading.report()
    if bed.kind.kind == "symmetric" and not exclude_self and finds_itself(bed):
        note(
            "warning: the queries are passages of the corpus and will find themselves first; leave "
            "them out of their own results with --exclude-self"
        )
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(TemporaryDirectory(prefix="shortlist-choose-")))
        tell = step_notes()
        stages = first_stages(
            list(bed.passages.values()),
            folder,
            systems,
            cross_encoder=cross_encoder,
            device=device,
            progress=None,
            on_step=tell,
        )
        choice = choose_system(
            list(stages),
            bed.queries,
            bed.qrels,
            depths=depths or DEPTHS,
            measures=wanted,
            limit_queries=limit_queries,
            exclude_self=exclude_self,
            on_step=tell,
        )
        found = study(choice, bed, source, all_queries=asked, all_qrels=judged)
        for warning in warnings_of(choice, bed):
            note(f"warning: {warning}")
        if report is not None:
            write_report(found, report)
            note(f"report: {report}")
    if as_json:
        print_json({name: value for name, value in found.items() if name != "inspector"})
    else:
        print_choice(choice, bed, source)


def _check_places(report: Path | None, work: Path | None, *inputs: Path | None) -> None:
    """Refuse now what could not be written after all the work."""
    refuse_same(report, *inputs)
    if report is not None:
        check_extra()
    if report is not None and (report.is_dir() or not report.parent.is_dir()):
        raise UsageError(f"--report {report}: give the path of a file in a folder that exists")
    if work is not None and work.exists() and not work.is_dir():
        raise UsageError(f"--work {work} is a file; give a folder, or the path of one to be made")
