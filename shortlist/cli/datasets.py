"""The evaluation script on datasets: every system on every folder, kept, and a report of each.

`python -m shortlist.evaluation --dataset data/squad --dataset data/quora -o evaluation/`

What is done is kept by the hashes of all that it depends on: started again, the script goes on
where it was, and a dataset, model or option that changed is measured anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import shortlist
from shortlist.cli.__main__ import run
from shortlist.cli.markdown import markdown_table
from shortlist.cli.options import CrossEncoderName, Device
from shortlist.cli.show import note, stdout, table
from shortlist.cli.study import (
    TestBed,
    check_depths,
    check_limits,
    finds_itself,
    print_choice,
    study,
    test_bed,
)
from shortlist.data.atomic import written
from shortlist.data.judged import JudgedFolder, judged_folder
from shortlist.data.queries import read_queries
from shortlist.errors import UsageError
from shortlist.evaluation.answers import Searcher, searched
from shortlist.evaluation.choose import MEASURES, Choice, choose
from shortlist.evaluation.metrics import Measure, parse_measures
from shortlist.evaluation.report import check_extra, write_report
from shortlist.evaluation.robustness import Row, robustness, sentences
from shortlist.models.loading import sha256
from shortlist.models.presets import DEFAULT_PRESET
from shortlist.models.registered import known_presets
from shortlist.pipeline.reading import Reading, ReadingOptions
from shortlist.pipeline.stages import load_bi_encoder
from shortlist.pipeline.systems import fingerprints, first_stages, local_systems

Task = Literal["auto", "symmetric", "asymmetric"]
DEPTHS = (10, 30, 100)
LIMIT_QUERIES = 200

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured, and how; all of it is a part of what a finished dataset is kept by."""

    task: Task
    split: str | None
    systems: tuple[str, ...]
    cross_encoder: str | None
    depths: tuple[int, ...]
    measures: tuple[Measure, ...]
    limit_queries: int | None
    limit_passages: int | None
    robustness: bool
    device: str


@app.command()
def evaluate_datasets(
    datasets: Annotated[
        list[Path],
        typer.Option("--dataset", help="A BEIR, MS MARCO or Quora folder; may be repeated."),
    ],
    task: Annotated[Task, typer.Option("--task", help="auto measures which it is.")] = "auto",
    split: Annotated[
        str | None, typer.Option("--split", help="By default dev, else test, else train.")
    ] = None,
    systems: Annotated[
        list[str] | None,
        typer.Option("--system", help="bm25, a preset or a bi-encoder; by default all there are."),
    ] = None,
    cross_encoder: CrossEncoderName = None,
    depths: Annotated[
        list[int] | None, typer.Option("--depth", help="Candidates to rerank: 10, 30 and 100.")
    ] = None,
    measures: Annotated[
        list[str] | None, typer.Option("-m", "--measure", help="The first one decides.")
    ] = None,
    limit_queries: Annotated[
        int, typer.Option("--limit-queries", help="A seeded sample of each set; 0 for all.")
    ] = LIMIT_QUERIES,
    limit_passages: Annotated[
        int, typer.Option("--limit-passages", help="So many and all judged ones; 0 for all.")
    ] = 0,
    with_robustness: Annotated[
        bool, typer.Option("--robustness/--no-robustness", help="Ask in other spellings, too.")
    ] = True,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where studies, reports and indexes are kept.")
    ] = Path("evaluation"),
    device: Device = "auto",
) -> None:
    """Measure every system on every dataset, and write a report of each.

    A dataset's folder holds passages, queries and judgements; without
    judgements, queries are made from its passages. Started again, it goes on
    where it was.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; give a folder, or one to be made")
    settings = Settings(
        task,
        split,
        tuple(systems or local_systems()),
        cross_encoder,
        tuple(depths or DEPTHS),
        tuple(parse_measures(measures or MEASURES)),
        limit_queries or None,
        limit_passages or None,
        with_robustness,
        device,
    )
    check_limits(settings.limit_queries, settings.limit_passages)
    check_depths(settings.depths)
    check_extra()
    folders = [judged_folder(path, split) for path in datasets]  # all, before hours of work
    names = _names(folders)
    output.mkdir(parents=True, exist_ok=True)
    studies = {
        name: _kept_or_made(name, folder, settings, output)
        for name, folder in zip(names, folders, strict=True)
    }
    _summary(studies, output / "summary.md")


def main() -> None:
    """Run the script; errors end as those of `shortlist` do."""
    run(app)


def _names(folders: Sequence[JudgedFolder]) -> list[str]:
    """What the files of each dataset are called; UsageError for two that would be one."""
    plain = [folder.path.resolve().name for folder in folders]
    names = [
        f"{name}-{folder.split}" if folder.split else name
        for name, folder in zip(plain, folders, strict=True)
    ]
    if len(set(names)) < len(names):
        raise UsageError(f"two datasets have one name: {sorted(names)}; rename a folder")
    return names


def _kept_or_made(
    name: str, folder: JudgedFolder, settings: Settings, output: Path
) -> dict[str, Any]:
    file, key = output / f"{name}.json", _key(folder.path, settings, output)
    if file.exists():
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            kept = {}  # not ours, or damaged: it is made again
        if isinstance(kept, dict) and kept.get("key") == key:
            note(f"{name}: kept from before")
            return kept
    note(f"{name}: {folder.split or 'no judgements'}")
    found = {**_measured(folder, settings, output), "key": key}
    write_report(found, output / f"{name}.html")
    _write(output / f"{name}.md", _systems_table(name, found))
    _write(file, json.dumps(found, ensure_ascii=True, allow_nan=False))  # last: it says "done"
    note(f"{name}: {output / name}.html")
    return found


def _key(folder: Path, settings: Settings, output: Path) -> str:
    """A hash of all that a study depends on: files, models, settings, our own version."""
    own = output.resolve()  # may lie in the dataset's folder
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    read = (path for path in files if not path.resolve().is_relative_to(own))
    parts = [
        shortlist.__version__,
        repr(settings),
        *fingerprints(settings.systems, settings.cross_encoder),
        *(f"{path.relative_to(folder)}:{sha256(path)}" for path in read),
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _measured(folder: JudgedFolder, settings: Settings, output: Path) -> dict[str, Any]:
    queries, qrels = folder.read()
    encoder = load_bi_encoder(DEFAULT_PRESET, device=settings.device)
    reading = Reading(str(folder.path), encoder, ReadingOptions(), note)
    bed = test_bed(
        folder.path.resolve().name,
        reading.passages(),
        queries,
        qrels,
        encoder,
        limit_passages=settings.limit_passages,
        known_queries=settings.limit_queries or LIMIT_QUERIES,
    )
    reading.report()
    if settings.task not in ("auto", bed.kind.kind):
        note(f"warning: {settings.task} was asked for, and it looks {bed.kind.kind}")
    own = _leaves_itself_out(bed, settings.task)
    stages = list(
        first_stages(
            list(bed.passages.values()),
            output / "work",
            settings.systems,
            cross_encoder=settings.cross_encoder,
            device=settings.device,
            progress=None,
            on_step=note,
        )
    )
    choice = choose(
        stages,
        bed.queries,
        bed.qrels,
        depths=settings.depths,
        measures=settings.measures,
        limit_queries=settings.limit_queries,
        exclude_self=own,
        on_step=note,
    )
    rows = []
    if settings.robustness:
        rows = _robustness(folder, choice, settings.systems, exclude_self=own)
    print_choice(choice, bed, str(folder.path))
    return study(
        choice,
        bed,
        str(folder.path),
        split=folder.split,
        all_queries=queries,
        all_qrels=qrels,
        robustness=[row.as_json() for row in rows],
        robustness_sentences=sentences(rows),
    )


def _leaves_itself_out(bed: TestBed, task: Task) -> bool:
    """Whether a query's own passage is no answer: in symmetric tasks, unless it is judged one."""
    leaves = (bed.kind.kind if task == "auto" else task) == "symmetric" and finds_itself(bed)
    if leaves:
        note("a query's own passage is left out of its results (symmetric)")
    return leaves


def _robustness(
    folder: JudgedFolder, choice: Choice, names: Sequence[str], *, exclude_self: bool
) -> list[Row]:
    """The first stages on the same questions, written otherwise."""
    stages = {system.stage.name: system.stage.searcher for system in choice.systems}
    wordings: dict[str, dict[str, str]] = {}
    if any(_is_multilingual(name) for name in names):
        for language, file in folder.wordings().items():
            worded = read_queries(file)
            asked = {i: text for i, text in worded.items() if i in choice.queries}
            if any(choice.queries[i] != text for i, text in asked.items()):
                wordings[language] = asked
    note("robustness: asking in other spellings")
    return robustness(
        {name: partial(_ranked, stages[name], exclude_self) for name in names if name in stages},
        choice.queries,
        choice.qrels,
        measure=choice.primary,
        other_wordings=wordings,
    )


def _ranked(
    searcher: Searcher, exclude_self: bool, queries: Mapping[str, str]
) -> dict[str, list[str]]:
    found = searched(searcher, queries, top_k=100, depth=1, rerank=False, exclude_self=exclude_self)
    return {query_id: [hit.id for hit in hits] for query_id, hits in found}


def _is_multilingual(name: str) -> bool:
    row = known_presets().get(name)
    return row is not None and row.languages != {"en"}


def _write(path: Path, text: str) -> None:
    with written(path) as file:
        file.write(text.encode("utf-8", "replace"))


def _systems_table(name: str, found: Mapping[str, Any]) -> str:
    measures = found["measures"]
    rows = [
        [
            f"{system['name']}{' (recommended)' if system['recommended'] else ''}",
            *(
                f"{system['mean'][m]:.4f} ({system['interval'][m][0]:.4f} to "
                f"{system['interval'][m][1]:.4f})"
                for m in measures
            ),
            f"{system['ms']['p50']:.1f}",
            f"{system['ms']['p95']:.1f}",
        ]
        for system in found["systems"]
    ]
    columns = ["system", *(f"{m} (95 %)" for m in measures), "p50 ms", "p95 ms"]
    title = f"{name}: {found['dataset']['queries']} of {found['dataset']['of_queries']} queries"
    said = "\n".join(found["robustness_sentences"])
    return markdown_table(title, columns, rows) + (f"\n{said}\n" if said else "")


def _summary(studies: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """One row a dataset: its kind, what is recommended, what that reaches, and the best."""
    rows = []
    for name, found in studies.items():
        by_name = {system["name"]: system for system in found["systems"]}
        chosen = by_name[found["recommendation"]["system"]]
        primary = found["primary"]
        best = max((system["mean"][primary], system["name"]) for system in found["systems"])
        rows.append(
            [
                name,
                found["task"]["kind"],
                chosen["name"],
                f"{primary} {chosen['mean'][primary]:.4f}",
                f"{chosen['ms']['p50']:.0f}",
                f"{best[1]} {best[0]:.4f}",
            ]
        )
    columns = ["dataset", "task", "recommended", "reaches", "p50 ms", "best"]
    table("", columns, rows)
    _write(file, markdown_table("Every dataset", columns, rows))
    stdout().print(f"{file}", soft_wrap=True)
