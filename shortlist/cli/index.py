"""`shortlist index`: embed a collection once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shortlist.cli.options import CrossEncoderName, Device
from shortlist.cli.show import note
from shortlist.data.collections import Collection, Cutting, load
from shortlist.models.bi_encoder import BiEncoder
from shortlist.models.presets import DEFAULT_PRESET
from shortlist.pipeline.index import refuse_to_replace
from shortlist.pipeline.pipeline import RetrieveRerankPipeline, load_bi_encoder


def index(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A MediaWiki dump (.xml, .xml.bz2, .xml.gz), a .jsonl file, a BEIR folder, or a "
            "folder of .txt and .md notes.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The index folder to make.")],
    preset: Annotated[
        str, typer.Option("--preset", help="Which models, by the kind of task.")
    ] = DEFAULT_PRESET,
    bi_encoder: Annotated[
        str | None, typer.Option("--bi-encoder", help="Another first stage: a name or a folder.")
    ] = None,
    cross_encoder: CrossEncoderName = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an index that is there already.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Embed a collection of texts once, to be searched by meaning.

    Example: shortlist index my-notes/ -o notes.idx
    """
    refuse_to_replace(output, overwrite)  # before the models are loaded
    build(
        source,
        output,
        preset=preset,
        model=load_bi_encoder(preset, bi_encoder, device=device),
        cross_encoder=cross_encoder,
        overwrite=overwrite,
        device=device,
    )


def build(
    source: Path,
    output: Path,
    *,
    model: BiEncoder,
    preset: str = DEFAULT_PRESET,
    cross_encoder: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> RetrieveRerankPipeline:
    """Index a collection and say on stderr what was kept, dropped and cut."""
    collection = load(source, Cutting(model.count_tokens, model.max_tokens))

    def described() -> dict[str, Any]:
        return _described(source, collection)

    pipeline = RetrieveRerankPipeline.build(
        collection.passages,
        output,
        preset=preset,
        bi_encoder=model,
        cross_encoder=cross_encoder,
        overwrite=overwrite,
        source=described,
        device=device,
        progress=None,
    )
    for warning in collection.ledger.warnings:
        note(f"warning: {warning}")
    note(f"{collection.kind}: {collection.ledger.summary()}")
    manifest = pipeline.index.manifest
    if manifest.cut_passages:
        note(
            f"{manifest.cut_passages} passages are longer than the {model.max_tokens} tokens that "
            f"{model.name} reads; {manifest.cut_tokens} tokens of them cannot be found"
        )
    note(f"index: {output} ({pipeline.index.size() / 1e6:.1f} MB)")
    return pipeline


def _described(source: Path, collection: Collection) -> dict[str, Any]:
    ledger = collection.ledger
    return {
        "name": source.name,
        "kind": collection.kind,
        "passages": ledger.kept,
        "documents": ledger.documents,
        "dropped": dict(ledger.dropped),
        "noted": dict(ledger.noted),
        "warnings": ledger.warnings,
    }
