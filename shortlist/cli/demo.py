"""`shortlist demo`: the whole road on the sample encyclopedia that ships with the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

import shortlist
from shortlist.cli.ask import converse
from shortlist.cli.evaluated_tables import print_evaluation
from shortlist.cli.index import build
from shortlist.cli.options import Device
from shortlist.cli.sample import SAMPLE
from shortlist.cli.show import excerpt, heading, indented, note, stdout
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.errors import IndexFolderError, ModelError
from shortlist.evaluation.evaluate import evaluate
from shortlist.models.loading import cache_folder, sha256
from shortlist.models.presets import DEFAULT_PRESET
from shortlist.pipeline.pipeline import DEFAULT_TOP_K, RetrieveRerankPipeline
from shortlist.pipeline.schedule import DEFAULT_DEPTH
from shortlist.pipeline.stages import load_bi_encoder

QUESTIONS_SHOWN = 5
QUESTIONS_MEASURED = 64  # a seeded sample: all of them would be minutes
QUESTIONS_TIMED = 5  # once more, alone: each takes most of a second
DEPTH_MEASURED = 20  # a third less to wait for than with the default depth


def demo(
    index: Annotated[
        Path | None,
        typer.Option("--index", help="Where to keep the index; in the user's cache by default."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Index the sample encyclopedia, answer questions, measure both stages, then let you ask.

    Example: shortlist demo
    """
    pipeline = _pipeline(SAMPLE / "encyclopedia.xml", index, device)
    queries = read_queries(SAMPLE / "queries.jsonl")
    qrels = read_qrels(SAMPLE / "qrels" / "dev.tsv")
    # Spread over the list, whatever their answers look like: nothing is picked.
    step = max(1, len(qrels) // QUESTIONS_SHOWN)
    for query_id in list(qrels)[::step][:QUESTIONS_SHOWN]:
        _show_both_stages(pipeline, queries[query_id], qrels[query_id])
    note(
        f"measuring both stages on {QUESTIONS_MEASURED} of the sample's {len(qrels)} dev "
        "questions ..."
    )
    print_evaluation(
        evaluate(
            pipeline,
            queries,
            qrels,
            depth=DEPTH_MEASURED,
            limit_queries=QUESTIONS_MEASURED,
            time_queries=QUESTIONS_TIMED,
        )
    )
    if sys.stdin.isatty():
        converse(pipeline, top_k=DEFAULT_TOP_K, depth=DEFAULT_DEPTH)


def _pipeline(dump: Path, place: Path | None, device: str) -> RetrieveRerankPipeline:
    """Open the demo's index, or make it when it is not there or not of this sample and model."""
    name = f"encyclopedia-{shortlist.__version__}-{sha256(dump)[:12]}.idx"
    index = place or cache_folder() / "demo" / name
    model = load_bi_encoder(DEFAULT_PRESET, device=device)
    if index.exists():
        try:
            return RetrieveRerankPipeline.open(
                index, bi_encoder=model, device=device, progress=None
            )
        except (IndexFolderError, ModelError) as error:
            if place is not None:
                raise
            note(f"the demo's index is made again: {error}")
    note(f"indexing the sample encyclopedia into {index} ...")
    return build(str(dump), index, model=model, overwrite=place is None, device=device)


def _show_both_stages(
    pipeline: RetrieveRerankPipeline, question: str, grades: dict[str, int]
) -> None:
    console = stdout()
    hits = pipeline.search(question, top_k=DEFAULT_DEPTH, depth=DEFAULT_DEPTH)
    first = min(hits, key=lambda hit: hit.retrieval_rank)
    console.print(Text(f"? {question}", style="bold yellow"))
    for stage, hit in (("bi-encoder's first", first), ("after reranking", hits[0])):
        judged = {2: "answers", 1: "answers partly"}.get(grades.get(hit.id, 0), "not judged so")
        console.print(Text(f"  {stage} ({judged}):", style="dim"))
        console.print(Text("  ") + heading(hit), soft_wrap=True)
        if stage == "after reranking" or first.id != hits[0].id:
            console.print(indented(excerpt(hit, 320), 6, console), soft_wrap=True)
    console.print()
