"""`shortlist index`: embed a collection once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.engines import note_engine
from shortlist.cli.options import (
    BiEncoderName,
    CrossEncoderName,
    CutRecords,
    Device,
    EngineName,
    IdField,
    Overlap,
    PassageTokens,
    PrecisionName,
    PresetName,
    TargetRecall,
    TextField,
    TitleField,
)
from shortlist.cli.show import note, report_cuts
from shortlist.errors import UsageError
from shortlist.models.bi_encoder import BiEncoder, choose_device
from shortlist.models.presets import DEFAULT_PRESET
from shortlist.pipeline.index import Index, refuse_to_replace
from shortlist.pipeline.layout import Store
from shortlist.pipeline.pipeline import EXACT, RetrieveRerankPipeline, check_engine
from shortlist.pipeline.ray_building import build_on_ray, require_ray
from shortlist.pipeline.reading import Reading, ReadingOptions
from shortlist.pipeline.schedule import DEFAULT_DEPTH
from shortlist.pipeline.stages import NO_MODEL, load_bi_encoder, new_manifest, precision_beside
from shortlist.pipeline.vectors import OwnVectors, read_vectors
from shortlist.pipeline.writing import progress_bar
from shortlist.records import Passage


def index(
    output: Annotated[Path, typer.Option("-o", "--output", help="The index folder to make.")],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A MediaWiki dump, a .jsonl, .csv, .tsv or .parquet table, a BEIR or MS MARCO "
            "folder, Quora's pairs, a folder of notes (.txt, .md, .html, .pdf, ...), or "
            "hf://NAMESPACE/NAME.",
        ),
    ] = None,
    preset: PresetName = DEFAULT_PRESET,
    bi_encoder: BiEncoderName = None,
    cross_encoder: CrossEncoderName = None,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    passage_tokens: PassageTokens = None,
    overlap: Overlap = 0,
    cut_records: CutRecords = None,
    embeddings: Annotated[
        Path | None,
        typer.Option("--embeddings", help="Your own vectors, .npy [n, dim], of that bi-encoder."),
    ] = None,
    ids: Annotated[
        Path | None, typer.Option("--ids", help="The passage id of each of their rows, one a line.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an index that is there already.")
    ] = False,
    store: Annotated[
        Store,
        typer.Option("--store", help="How embeddings are kept: float16 takes half the space."),
    ] = "float32",
    engine: EngineName = EXACT,
    target_recall: TargetRecall = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Read and encode on a Ray cluster: HOST:PORT of its head, auto, or local.",
        ),
    ] = None,
    device: Device = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Embed a collection of texts once, to be searched by meaning.

    Interrupted or killed, the same command goes on where it was.

    Example: shortlist index my-notes/ -o notes.idx
    """
    options = ReadingOptions(
        id_field, title_field, text_field, passage_tokens, overlap, cut_records
    )
    if source is None and (embeddings is None or ids is None):
        raise UsageError("what to index? Give a SOURCE, or --embeddings with --ids")
    if source is None and (options != ReadingOptions() or cross_encoder):
        raise UsageError("vectors without a SOURCE have no columns, no texts and no second stage")
    if ids is not None and embeddings is None:
        raise UsageError("--ids names the rows of --embeddings; give both")
    if ray is not None:
        if embeddings is not None:
            raise UsageError("own vectors are not encoded; leave --ray out")
        require_ray()
    refuse_to_replace(output, overwrite)  # before the models are loaded
    check_engine(engine, target_recall)
    vectors = read_vectors(embeddings, ids) if embeddings else None
    precision = precision_beside(vectors, precision)
    model = load_bi_encoder(preset, bi_encoder, device=device, precision=precision)
    if source is None and vectors is not None:
        _index_vectors(
            vectors, output, model, preset, overwrite=overwrite, store=store, device=device
        )
    elif ray is not None:
        _build_on_cluster(
            str(source),
            output,
            ray,
            preset=preset,
            model=model,
            cross_encoder=cross_encoder,
            options=options,
            overwrite=overwrite,
            store=store,
            device=device,
        )
    else:
        build(
            str(source),
            output,
            preset=preset,
            model=model,
            cross_encoder=cross_encoder,
            options=options,
            vectors=vectors,
            overwrite=overwrite,
            store=store,
            device=device,
        )
    if engine != EXACT:
        found = RetrieveRerankPipeline.open(
            output,
            bi_encoder=model,
            cross_encoder=NO_MODEL,
            engine=engine,
            target_recall=target_recall,
            progress=None,
        )
        note_engine(engine, found.measured(DEFAULT_DEPTH))


def build(
    source: str,
    output: Path,
    *,
    model: BiEncoder,
    preset: str = DEFAULT_PRESET,
    cross_encoder: str | None = None,
    options: ReadingOptions | None = None,
    vectors: OwnVectors | None = None,
    overwrite: bool = False,
    store: Store = "float32",
    device: str = "auto",
) -> RetrieveRerankPipeline:
    """Index a collection and say on stderr what was kept, dropped and cut."""
    reading = Reading(source, model, options or ReadingOptions(), note)
    pipeline = RetrieveRerankPipeline.build(
        reading.passages(),
        output,
        preset=preset,
        bi_encoder=model,
        cross_encoder=cross_encoder,
        embeddings=vectors.embeddings if vectors else None,
        ids=list(vectors.rows) if vectors and vectors.rows is not None else None,
        overwrite=overwrite,
        store=store,
        source=reading.described,
        device=device,
        progress=None,
    )
    reading.report()
    _report_index(output, pipeline.index, model)
    return pipeline


def _build_on_cluster(
    source: str,
    output: Path,
    address: str,
    *,
    model: BiEncoder,
    preset: str,
    cross_encoder: str | None,
    options: ReadingOptions,
    overwrite: bool,
    store: Store,
    device: str,
) -> None:
    """The same, with the workers of a Ray cluster."""
    reading = Reading(source, model, options, note)
    manifest = new_manifest(
        model,
        cross_encoder=cross_encoder,
        preset=preset,
        store=store,
        source=reading.described(),
    )
    with progress_bar("indexing", None, "passages", None) as bar:
        index = build_on_ray(
            reading,
            output,
            address,
            manifest,
            device=choose_device(device, model.precision),
            overwrite=overwrite,
            bar=bar,
        )
    _report_index(output, index, model)


def _report_index(output: Path, index: Index, model: BiEncoder) -> None:
    report_cuts(model, index.manifest.cut_passages, index.manifest.cut_tokens)
    note(f"index: {output} ({index.size() / 1e6:.1f} MB)")


def _index_vectors(
    vectors: OwnVectors,
    output: Path,
    model: BiEncoder,
    preset: str,
    *,
    overwrite: bool,
    store: Store,
    device: str,
) -> None:
    """Index vectors without texts: searches answer with ids, and nothing can be reranked."""
    names = list(vectors.rows or ())
    pipeline = RetrieveRerankPipeline.build(
        (Passage(id=name, text="") for name in names),
        output,
        preset=preset,
        bi_encoder=model,
        cross_encoder=NO_MODEL,
        embeddings=vectors.embeddings,
        overwrite=overwrite,
        store=store,
        device=device,
        progress=None,
    )
    note(f"{len(names):,} vectors without texts: searches answer with ids, without reranking")
    note(f"index: {output} ({pipeline.index.size() / 1e6:.1f} MB)")
