"""`shortlist rerank`: the second stage over what another system found."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from shortlist.cli.options import Device, IdField, PrecisionName, TextField, TitleField
from shortlist.cli.show import note, refuse_same
from shortlist.data.collections import Cutting, load
from shortlist.data.columns import Columns
from shortlist.data.queries import read_queries
from shortlist.data.runs import read_candidates, read_run, write_run
from shortlist.errors import UsageError
from shortlist.models.bi_encoder import choose_device
from shortlist.models.cross_encoder import CrossEncoder
from shortlist.models.presets import DEFAULT_PRESET
from shortlist.models.registered import preset as preset_named
from shortlist.pipeline.batch import rerank_run, run_scores
from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import MANIFEST
from shortlist.records import Passage

DEFAULT_RUN_DEPTH = 100


def rerank(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A TREC run, or MS MARCO's run or top1000 file.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The TREC run to write.")],
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", help="The passages: a collection, or an index of it."),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option("--queries", help="Their texts: .jsonl, or .tsv with id, text.")
    ] = None,
    cross_encoder: Annotated[
        str | None, typer.Option("--cross-encoder", help="A name or a folder.")
    ] = None,
    depth: Annotated[
        int, typer.Option("--depth", help="Passages of each query to rescore.")
    ] = DEFAULT_RUN_DEPTH,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    run_tag: Annotated[str, typer.Option("--runtag", help="The name in the run.")] = "shortlist",
    device: Device = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Rescore a foreign run with the cross-encoder: BM25's, another model's, top1000.dev.

    Example: shortlist rerank bm25.trec --corpus corpus.jsonl --queries queries.jsonl -o out.trec
    """
    if depth < 1:
        raise UsageError(f"--depth must be at least 1 (got {depth})")
    refuse_same(output, run, queries)
    device = choose_device(device, precision)
    found = read_run(run)
    inside = read_candidates(run) if corpus is None or queries is None else None
    texts = read_queries(queries) if queries else inside[0] if inside else None
    if texts is None or (corpus is None and inside is None):
        raise UsageError(f"{run} holds ids only; give their texts with --corpus and --queries")
    wanted = {p for scores in found.values() for p in scores}
    if corpus is not None:
        columns = Columns(id_field, title_field, text_field)
        passages = {p.id: p for p in _passages(corpus, columns) if p.id in wanted}
    elif inside:
        passages = {p: Passage(p, text) for p, text in inside[1].items()}
    model = CrossEncoder.load(
        cross_encoder or str(preset_named(DEFAULT_PRESET).cross_encoder),
        device=device,
        precision=precision,
    )
    pairs = sum(min(depth, len(scores)) for scores in found.values())
    with tqdm(total=pairs, desc="reranking", unit=" pairs", disable=None) as bar:
        answers = rerank_run(found, texts, passages, model, depth=depth, on_pairs=bar.update)
        write_run(((query_id, run_scores(hits)) for query_id, hits in answers), output, run_tag)
    note(f"{len(found):,} queries, {pairs:,} pairs: {output}")


def _passages(corpus: str, columns: Columns) -> Iterable[Passage]:
    if (Path(corpus) / MANIFEST).is_file():
        return Index(corpus).all_passages()
    collection = load(corpus, Cutting(_nothing_is_cut, sys.maxsize, cut_records=False), columns)
    if collection.is_cut:
        raise UsageError(
            f"{corpus} is a {collection.kind}: how it was cut into the passages of the run is not "
            "known; give an index of it"
        )
    return collection.passages


def _nothing_is_cut(texts: list[str]) -> list[int]:
    return [1] * len(texts)
