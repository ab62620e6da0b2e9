"""`shortlist compare`: runs of any systems, scored and compared on the same judgements."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from shortlist.cli.comparisons import (
    DETECTABLE,
    change_cell,
    detectable_cell,
    ends,
    outcomes_cell,
    p_cell,
)
from shortlist.cli.judgements import alike, judgements_of, read_naming
from shortlist.cli.markdown import markdown_table
from shortlist.cli.options import AsJson
from shortlist.cli.show import note, print_json, stdout, table
from shortlist.data.check import check
from shortlist.data.checks.report import shown
from shortlist.data.runs import read_run
from shortlist.errors import DataError, UsageError
from shortlist.evaluation.compare import Change, Comparison, compare_all, mean_interval
from shortlist.evaluation.metrics import (
    DEFAULT_MEASURES,
    Measure,
    Scores,
    has_relevant,
    parse_measures,
    ranking_of,
    score,
    tied_at,
)
from shortlist.records import Qrels, Run

_IDS_COMPARED = 100_000  # of a run that knows no judged passage: enough to see how ids differ
_SHOWN = 5  # queries that gained and lost, in a table; JSON has ten
_ENDINGS = r"(\.(trec|run|txt|tsv|res|out))?(\.(gz|bz2|zst))?$"


@dataclass(frozen=True, slots=True)
class _System:
    name: str
    path: Path
    scores: Scores
    tied: Mapping[int, int]  # cut-off -> judged queries with a tie across it
    intervals: Mapping[str, tuple[float, float]]  # measure -> of the mean

    def as_json(self) -> dict[str, Any]:
        scores = self.scores
        return {
            "name": self.name,
            "judged": scores.judged,
            "retrieved": scores.retrieved,
            "unjudged": scores.unjudged,
            "tied": {str(cutoff): count for cutoff, count in self.tied.items()},
            "mean": dict(scores.mean),
            "interval": {name: list(ends) for name, ends in self.intervals.items()},
        }


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="TREC runs, or MS MARCO's; may be compressed."),
    ],
    qrels: Annotated[Path, typer.Option("--qrels", help="Judgements: BEIR, TREC or MS MARCO.")],
    measures: Annotated[
        list[str] | None,
        typer.Option("-m", "--measure", help="MRR@10, nDCG@10, Recall@100, ...; may be repeated."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Compare with this system only; by default all pairs."),
    ] = None,
    as_json: AsJson = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print tables in Markdown.")
    ] = False,
) -> None:
    """Score runs of any systems on the same judgements, and compare them query by query.

    The order of a run is that of its scores, never of its rank column or its
    lines; scores that are equal as float32 are ordered by passage id,
    descending, as trec_eval does it. Every judged query counts (one with a
    passage of grade 1 or more); one that a run lacks counts as zero.

    Systems are called by their files, without endings. Intervals are 95 %
    bootstrap intervals over queries. Systems are compared by the first
    measure: p is of a randomisation test, Holm's correction stands beside it.
    No model is needed.

    Example: shortlist compare bm25.trec dense.trec --qrels qrels/dev.tsv --baseline bm25
    """
    if as_json and as_markdown:
        raise UsageError("--json and --markdown are two forms of one answer; give one of them")
    wanted = parse_measures(measures or DEFAULT_MEASURES)
    paths = _named(runs)
    if baseline is not None and (baseline not in paths or len(paths) < 2):
        raise UsageError(
            f"--baseline {baseline!r} is compared with the other runs; the runs given are called "
            f"{list(paths)}"
        )
    judged = judgements_of(qrels)
    systems = [_scored(name, path, judged, wanted) for name, path in paths.items()]
    first = str(wanted[0])
    comparisons = (
        compare_all(
            {system.name: system.scores.per_query[first] for system in systems},
            measure=first,
            baseline=baseline,
        )
        if len(systems) > 1
        else []
    )
    if as_json:
        without = systems[0].scores.without_relevant
        print_json(
            {
                "measures": [str(measure) for measure in wanted],
                "without_relevant": without,
                "systems": [system.as_json() for system in systems],
                "comparisons": [comparison.as_json() for comparison in comparisons],
            }
        )
        return
    show = _print_markdown if as_markdown else table
    _print_systems(systems, show)
    if comparisons:
        _print_comparisons(comparisons, show)
        said = _said(comparisons)
        stdout().print(("\n\n" if as_markdown else "\n").join(said), soft_wrap=True)


# reading


def _named(paths: Iterable[Path]) -> dict[str, Path]:
    """Call each run by its file's name without endings: runs/bm25.trec.gz is bm25."""
    named: dict[str, Path] = {}
    for path in paths:
        name = re.sub(_ENDINGS, "", path.name, flags=re.IGNORECASE) or path.name
        if name in named:
            raise UsageError(
                f"{named[name]} and {path} would both be called {name!r}; rename one of the files"
            )
        named[name] = path
    return named


def _scored(name: str, path: Path, qrels: Qrels, measures: Sequence[Measure]) -> _System:
    run = read_naming(path, read_run, lambda: check(runs=[path]))
    if not run.keys() & qrels.keys():
        raise DataError(
            f"{path}: no query id in common with the qrels: {list(run)[:10]} in the run, "
            f"{list(qrels)[:10]} in the qrels; write the ids alike, or give the qrels of these "
            f"queries{alike(run, qrels)}"
        )
    scores = score(ranking_of(run), qrels, measures)
    for warning in _warnings(run, qrels, scores):
        note(f"warning: {path}: {warning}")
    judged = {query_id: run[query_id] for query_id in run if has_relevant(qrels.get(query_id, {}))}
    cutoffs = dict.fromkeys(m.cutoff for m in measures if m.cutoff is not None)
    return _System(
        name=name,
        path=path,
        scores=scores,
        tied={cutoff: tied_at(judged, cutoff) for cutoff in cutoffs},
        intervals={
            measure: mean_interval(list(column.values()))
            for measure, column in scores.per_query.items()
        },
    )


def _warnings(run: Run, qrels: Qrels, scores: Scores) -> Iterator[str]:
    missing = sorted(q for q, grades in qrels.items() if has_relevant(grades) and not run.get(q))
    if missing:
        similar = alike((query_id for query_id in run if query_id not in qrels), missing)
        what = f"lacks {len(missing):,} of {scores.judged:,} judged queries, counted as zero"
        yield f"{what}: {missing[:10]}{similar}"
    if not scores.known_passages:
        found = dict.fromkeys(p for q in qrels if q in run for p in run[q])
        judged = sorted({passage_id for grades in qrels.values() for passage_id in grades})
        yield (
            "no passage of the run has a judgement: do run and qrels use the same passage ids? "
            f"{list(found)[:10]} in the run, {judged[:10]} in the qrels"
            f"{alike(islice(found, _IDS_COMPARED), judged)}"
        )


# showing

_Show = Callable[[str, Sequence[str], Sequence[Sequence[str]]], None]


def _print_systems(systems: Sequence[_System], show: _Show) -> None:
    """Counts, then the scores with their intervals."""
    scores = systems[0].scores
    title = f"{scores.judged:,} judged queries"
    if scores.without_relevant:
        title += f"; {scores.without_relevant:,} without a relevant passage left out"
    ties = [f"ties at {cutoff}" for cutoff in systems[0].tied]
    counts = [
        [s.name, *(f"{n:,}" for n in (s.scores.judged, s.scores.retrieved, s.scores.unjudged)),
         *(f"{n:,}" for n in s.tied.values())]
        for s in systems
    ]  # fmt: skip
    show(title, ["system", "judged", "retrieved", "unjudged", *ties], counts)
    rows = [
        [s.name, *(f"{mean:.4f} ({ends(*s.intervals[m])})" for m, mean in s.scores.mean.items())]
        for s in systems
    ]
    show("mean (95 % interval)", ["system", *scores.mean], rows)


def _print_comparisons(comparisons: Sequence[Comparison], show: _Show) -> None:
    family = f"{len(comparisons)} comparisons" if len(comparisons) > 1 else "one comparison"
    rows = []
    for c in comparisons:
        ps = [p_cell(c.p_value), p_cell(c.p_holm)]
        cells = [change_cell(c), *ps, outcomes_cell(c), detectable_cell(c)]
        rows.append([f"{c.a} → {c.b}", *cells])
    columns = ["from → to", "change (95 %)", "p", "p (Holm)", "won/tied/lost", "detectable"]
    show(f"{comparisons[0].measure}, {family}", columns, rows)


def _said(comparisons: Iterable[Comparison]) -> list[str]:
    """What the table's last column means, and the queries that changed most."""
    return [DETECTABLE, *(line for c in comparisons for line in _changes(c))]


def _changes(comparison: Comparison) -> Iterator[str]:
    for what, changes in (("gained", comparison.gained), ("lost", comparison.lost)):
        if changes:
            cases = ", ".join(map(_change, changes[:_SHOWN]))
            yield f"{comparison.a} → {comparison.b}: {what} most: {cases}"


def _change(change: Change) -> str:
    return f"{shown(change.query_id)} {change.before:.2f} → {change.after:.2f}"


def _print_markdown(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    typer.echo(markdown_table(title, columns, rows))
