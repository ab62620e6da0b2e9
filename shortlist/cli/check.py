"""`shortlist check`: the linter for test collections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.options import AsJson, IdField, TextField, TitleField
from shortlist.cli.show import note, print_json, stdout
from shortlist.data.check import check as check_files
from shortlist.data.checks.codes import LEVELS
from shortlist.data.checks.report import Example, Finding, Report
from shortlist.data.columns import Columns

_Files = list[Path] | None


def check(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="A BEIR or MS MARCO folder.")
    ] = None,
    corpus: Annotated[
        _Files, typer.Option("--corpus", help="A .jsonl, .tsv, .csv or .parquet of passages.")
    ] = None,
    queries: Annotated[
        _Files, typer.Option("--queries", help="queries.jsonl, or .tsv: id, text.")
    ] = None,
    qrels: Annotated[
        _Files, typer.Option("--qrels", help="Judgements; several files are several splits.")
    ] = None,
    run: Annotated[_Files, typer.Option("--run", help="A run: TREC, or MS MARCO's.")] = None,
    held_out: Annotated[
        _Files,
        typer.Option(
            "--held-out", help="A folder whose dev and test must not stand in this corpus."
        ),
    ] = None,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    errors_only: Annotated[
        bool, typer.Option("--errors-only", help="End with 1 for errors, not for warnings.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find what makes figures wrong: in a corpus, its queries, judgements and runs.

    Ends with 0 where there is no error and no warning, else with 1. Options may be repeated.

    Example: shortlist check scifact --run bm25.trec --held-out squad
    """
    report = check_files(
        folder,
        corpus=corpus or (),
        queries=queries or (),
        qrels=qrels or (),
        runs=run or (),
        held_out=held_out or (),
        columns=Columns(id_field, title_field, text_field),
        progress=note,
    )
    if as_json:
        print_json(report.as_json())
    else:
        print_report(report)
    if report.of("error") or (report.of("warning") and not errors_only):
        raise typer.Exit(1)


def print_report(report: Report) -> None:
    """What was read, then the findings, the worst first, each with its examples."""
    lines = ["read: " + (", ".join(f"{n:,} {name}" for name, n in report.read.items()) or "-"), ""]
    for finding in report.findings:
        lines += [*_finding(finding), ""]
    numbers = {level: len(report.of(level)) for level in LEVELS}
    lines.append(", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in numbers.items()))
    stdout().print("\n".join(lines), soft_wrap=True)


def _finding(finding: Finding) -> list[str]:
    head = f"{finding.level}  {finding.subject}/{finding.code}  {finding.where}"
    lines = [head, f"  {finding.count:,}: {finding.message}"]
    lines += [f"    {_example(example)}" for example in finding.examples]
    more = finding.count - len(finding.examples)
    return [*lines, f"    … and {more:,} more"] if more else lines


def _example(example: Example) -> str:
    parts = [
        " and ".join(example.places),
        ", ".join(map(repr, example.ids)),
        " | ".join(example.texts),
        example.remark,
    ]
    return "  ".join(part for part in parts if part)
