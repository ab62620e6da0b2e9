"""`shortlist calibrate`: scores of an index as probabilities, and when to say no."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from shortlist.cli.judgements import (
    check_passages_fit,
    check_queries_fit,
    judgements_of,
    queries_of,
)
from shortlist.cli.options import AsJson, CrossEncoderName, Depth, Device, IndexArgument
from shortlist.cli.show import note, print_json, table
from shortlist.evaluation.calibration import (
    COVERAGE,
    Reliability,
    asked,
    check_coverage,
    fitted,
    halves,
)
from shortlist.evaluation.calibration import reliability as measured_on
from shortlist.pipeline.calibrated import write_calibration
from shortlist.pipeline.pipeline import RetrieveRerankPipeline
from shortlist.pipeline.schedule import DEFAULT_DEPTH

_BAR = 20  # characters


def calibrate(
    index: IndexArgument,
    queries: Annotated[Path, typer.Option("--queries", help="queries.jsonl, or .tsv: id, text.")],
    qrels: Annotated[Path, typer.Option("--qrels", help="Judgements: BEIR, TREC or MS MARCO.")],
    coverage: Annotated[
        float,
        typer.Option("--coverage", help="The share of questions with an answer to be answered."),
    ] = COVERAGE,
    depth: Depth = DEFAULT_DEPTH,
    limit_queries: Annotated[
        int | None, typer.Option("--limit-queries", help="A seeded sample of so many queries.")
    ] = 1000,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure, and leave the index as it is.")
    ] = False,
    as_json: AsJson = False,
    cross_encoder: CrossEncoderName = None,
    device: Device = "auto",
) -> None:
    """Fit probabilities of relevance on judged questions, and when to say no.

    One half of the questions is fitted on, the other measured on: how far the
    probabilities are from what is seen, and what is answered where the
    passages that answer are taken away, with their document. What was fitted
    is kept in the index folder and used by search, ask and serve. Give
    questions of a dev split; 200 are enough, 100 the least.

    Example: shortlist calibrate notes.idx --queries queries.jsonl --qrels qrels/dev.tsv
    """
    check_coverage(coverage)  # before minutes of asking
    texts, judged = queries_of(queries), judgements_of(qrels)
    check_queries_fit(qrels, judged, queries, texts)
    pipeline = RetrieveRerankPipeline.open(index, cross_encoder=cross_encoder, device=device)
    check_passages_fit(qrels, judged, pipeline.index.ids())
    with tqdm(total=len(judged), desc="asking", unit=" questions", disable=None) as bar:

        def on_progress(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        questions = asked(
            pipeline,
            texts,
            judged,
            depth=depth,
            limit_queries=limit_queries,
            on_progress=on_progress,
        )
    ours, others = halves(questions)
    calibration = fitted(ours, coverage)
    found = measured_on(calibration, others)
    if not dry_run:
        measured = {
            "questions": len(ours),
            "held_out": {"questions": found.questions, "error": found.error},
            "coverage": coverage,
        }
        path = write_calibration(pipeline.index, pipeline.stages, calibration, measured)
        note(f"calibration: {path}")
    if as_json:
        record = {
            "slope": calibration.slope,
            "intercept": calibration.intercept,
            "answered_from": calibration.answered_from,
            "fitted_on": len(ours),
        }
        print_json(record | found.as_json())
        return
    _print(found, len(ours))


def _print(found: Reliability, fitted_on: int) -> None:
    table(
        f"{found.questions:,} other questions than the {fitted_on:,} of the fit, {found.hits:,} "
        f"hits: expected calibration error {found.error:.3f}",
        ["relevance", "hits", "said", "seen", ""],
        [
            [
                f"{one.low:.0%} to {one.high:.0%}",
                f"{one.count:,}",
                f"{one.said:.1%}",
                f"{one.seen:.1%}",
                ("█" * round(_BAR * one.seen)).ljust(_BAR, "░"),
            ]
            for one in found.bins
        ],
    )
    at = found.at_threshold
    answering = [point for point in found.curve if point.coverage or point.answered_without]
    shown = sorted({point.answered_from: point for point in [*answering, at]}.items())
    table(
        "Answered from so much relevance of the first hit; as many questions without an answer",
        ["relevance", "with an answer", "without one", "right"],
        [
            [
                f"{threshold:.1%}" + (" *" if point == at else ""),
                f"{point.coverage:.1%}",
                _share(point.answered_without),
                f"{point.precision:.1%}",
            ]
            for threshold, point in shown
        ],
    )
    note(
        f'* below {at.answered_from:.1%} search, ask and serve say "no good answer": '
        f"{1 - at.coverage:.1%} of these questions"
        + (
            ""
            if at.answered_without is None
            else f", and {1 - at.answered_without:.1%} of those without an answer"
        )
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
