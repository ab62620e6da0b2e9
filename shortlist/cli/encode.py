"""`shortlist encode`: texts to vectors in a file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from shortlist.cli.options import (
    BiEncoderName,
    CutRecords,
    Device,
    IdField,
    Overlap,
    PassageTokens,
    PrecisionName,
    PresetName,
    SourceArgument,
    TextField,
    TitleField,
)
from shortlist.cli.show import note, refuse_same, report_cuts
from shortlist.data.atomic import written
from shortlist.data.queries import read_queries
from shortlist.errors import DataError, UsageError
from shortlist.models.presets import DEFAULT_PRESET
from shortlist.pipeline.reading import Reading, ReadingOptions
from shortlist.pipeline.stages import load_bi_encoder
from shortlist.pipeline.vectors import NpyWriter
from shortlist.pipeline.writing import PASSAGES_AT_ONCE


def encode(
    source: SourceArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The .npy file, float32 [n, dim].")
    ],
    ids: Annotated[
        Path | None, typer.Option("--ids", help="The id of each row, one a line; OUTPUT.ids.txt.")
    ] = None,
    queries: Annotated[
        bool, typer.Option("--queries", help="SOURCE is a file of queries, with their own prompt.")
    ] = False,
    preset: PresetName = DEFAULT_PRESET,
    bi_encoder: BiEncoderName = None,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    passage_tokens: PassageTokens = None,
    overlap: Overlap = 0,
    cut_records: CutRecords = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Write the embeddings of a collection or of queries, without an index.

    Example: shortlist encode corpus.jsonl -o corpus.npy
    """
    ids = ids or output.with_name(output.name.removesuffix(".npy") + ".ids.txt")
    options = ReadingOptions(
        id_field, title_field, text_field, passage_tokens, overlap, cut_records
    )
    for written_file in (output, ids):
        refuse_same(written_file, Path(source))
    if queries and options != ReadingOptions():
        raise UsageError("--queries reads queries as they are; leave out --...-field and the cuts")
    model = load_bi_encoder(preset, bi_encoder, device=device, precision=precision)
    reading = None if queries else Reading(source, model, options, note)
    pairs: Iterator[tuple[str, str]]
    if reading:
        pairs = ((passage.id, passage.model_text) for passage in reading.passages())
    else:
        pairs = iter(read_queries(source).items())
    rows, cuts = 0, list[int]()
    with (
        tqdm(desc="encoding", unit=" texts", disable=None) as bar,
        written(ids) as names,
        NpyWriter(output, model.dim) as vectors,
    ):
        for batch in _batches(pairs):
            texts = [text for _, text in batch]
            vectors.write(
                model.encode_queries(texts, bar.update)
                if queries
                else model.encode_passages(texts, bar.update, lambda _, cut: cuts.append(cut))
            )
            names.write("".join(f"{name}\n" for name, _ in batch).encode("utf-8", "replace"))
            rows += len(batch)
        if not rows:
            raise DataError(f"{source}: there is nothing to encode")
    if reading:
        reading.report()
    report_cuts(model, len(cuts), sum(cuts))
    note(f"{rows:,} embeddings of {model.dim} dimensions: {output}, ids: {ids}")


def _batches(pairs: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    while batch := list(islice(pairs, PASSAGES_AT_ONCE)):
        yield batch
