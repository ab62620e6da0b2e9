"""`shortlist sync`: an index follows a folder that changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.engines import bring_engines_up_to_date
from shortlist.cli.index import build
from shortlist.cli.options import Device, SourceArgument
from shortlist.cli.show import note, report_cuts
from shortlist.data.ledger import counted
from shortlist.errors import IndexFolderError
from shortlist.models.presets import DEFAULT_PRESET
from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import Manifest
from shortlist.pipeline.reading import Reading, recorded_options
from shortlist.pipeline.stages import encoder_of, load_bi_encoder
from shortlist.pipeline.sync import sync as sync_index


def sync(
    source: SourceArgument,
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Made where there is none.")],
    force: Annotated[
        bool, typer.Option("--force", help="Delete more than half of the documents if need be.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Add what is new in a collection, replace what changed, delete what is gone.

    Only what is new or changed is encoded. It is read as it was when the index was made.

    Example: shortlist sync my-notes/ notes.idx
    """
    if not index.exists():
        build(source, index, model=load_bi_encoder(DEFAULT_PRESET, device=device), device=device)
        return
    opened = Index(index)
    recorded = opened.manifest.source
    encoder = encoder_of(opened, device=device, precision=opened.manifest.model.precision)
    reading = Reading(source, encoder, recorded_options(opened.manifest), note, are_recorded=True)
    if recorded.get("kind") != reading.collection.kind:
        raise IndexFolderError(
            f"{index} was made from a {recorded.get('kind', 'list of passages')}, and {source} is "
            f"a {reading.collection.kind}; sync the collection that it was made from"
        )
    changes = sync_index(
        reading.passages(),
        index,
        encoder,
        unreadable=reading.is_unreadable,
        force=force,
        source=reading.described,
        progress=None,
    )
    reading.report()
    manifest = Manifest.read(index)
    report_cuts(encoder, manifest.cut_passages, manifest.cut_tokens)
    kept = f", {changes.kept:,} kept that cannot be read now" if changes.kept else ""
    if not changes:
        documents = counted(changes.unchanged, "documents")
        note(f"{index} is up to date: {documents}{kept}, nothing changed")
        return
    note(
        f"{index}: {counted(changes.added, 'documents')} added, {changes.replaced:,} replaced, "
        f"{changes.deleted:,} deleted, {changes.unchanged:,} unchanged{kept}; "
        f"{counted(changes.encoded, 'passages')} encoded"
    )
    bring_engines_up_to_date(index, encoder)
