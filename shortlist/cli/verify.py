"""`shortlist verify` and `shortlist repair`: whether an index is whole, and making it so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from shortlist.cli.options import Device, IndexArgument
from shortlist.cli.show import note
from shortlist.data.ledger import counted
from shortlist.errors import DamagedIndexError, IndexFolderError, ModelError
from shortlist.models.encoders import Encoder
from shortlist.pipeline.engines.derived import check_files, read_record, saved_engines
from shortlist.pipeline.layout import Manifest
from shortlist.pipeline.reading import Reading, recorded_options
from shortlist.pipeline.stages import recorded_encoder
from shortlist.pipeline.verify import LOST, Fault, faults_of, restore
from shortlist.pipeline.verify import repair as repair_index


def verify(index: IndexArgument, device: Device = "auto") -> None:
    """Read every file of an index, and encode a sample of its passages again.

    Exit code 1 where something is wrong; each bad file is named.

    Example: shortlist verify notes.idx
    """
    manifest = Manifest.read(index)
    encoder: Encoder | None = None
    try:
        encoder = _encoder(index, manifest, device)
    except (ModelError, IndexFolderError) as error:
        note(f"warning: checksums only, no passage is encoded again: {error}")
    faults = _faults(index, encoder)
    for fault in faults:
        note(fault.what)
    _check_engines(index)
    if faults:
        lost = sum(fault.rows for fault in faults if fault.is_lost)
        hint = " SOURCE (texts are lost, and read again from there)" if lost else ""
        raise DamagedIndexError(
            f"{len(faults)} of {counted(len(manifest.segments), 'segments')} damaged, "
            f"{counted(sum(fault.rows for fault in faults), 'passages')}; to put it right: "
            f"shortlist repair {index}{hint}"
        )
    if manifest.source.get(LOST):
        raise DamagedIndexError(_what_is_lost(index, [], manifest))
    note(f"{index}: {counted(manifest.rows, 'passages')}, every file is as it was committed")


def _check_engines(index: Path) -> None:
    """Compare what engines have left beside an index; it is made again when it is needed."""
    for name in saved_engines(index):
        try:
            if record := read_record(index, name):
                check_files(record, index)
        except DamagedIndexError as error:
            note(f"warning: {error}; the engine is built again when it is used next")


def repair(
    index: IndexArgument,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="What the index was made from: read again where texts are lost.",
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Encode the passages of damaged segments again, and only those.

    Example: shortlist repair notes.idx
    """
    manifest = Manifest.read(index)
    encoder = _encoder(index, manifest, device)
    # what cannot be read is an error before anything is dropped
    options = recorded_options(manifest)
    reading = Reading(source, encoder, options, note, are_recorded=True) if source else None
    faults = _faults(index, encoder)
    if not faults and not manifest.source.get(LOST):
        note(f"{index} is whole: there is nothing to repair")
        return
    total = sum(fault.rows for fault in faults if not fault.is_lost)
    with tqdm(desc="encoding", total=total, unit=" passages", disable=None) as bar:
        count = repair_index(
            index, encoder, faults, drop_lost=reading is not None, on_passages=bar.update
        )
    note(f"{index}: {counted(count, 'passages')} encoded again")
    lost = [fault for fault in faults if fault.is_lost]
    if not lost and not manifest.source.get(LOST):
        return
    if reading is None:
        raise DamagedIndexError(_what_is_lost(index, lost, manifest))
    wanted = Manifest.read(index).source[LOST]
    done = restore(index, reading.passages(), encoder, progress=None)
    note(f"{counted(wanted, 'passages')} were lost, {done.added:,} are added again")


def _what_is_lost(index: Path, lost: list[Fault], manifest: Manifest) -> str:
    count = sum(fault.rows for fault in lost) + manifest.source.get(LOST, 0)
    where = f" in {', '.join(fault.file for fault in lost)}" if lost else ""
    return (
        f"{counted(count, 'passages')}{where} are lost; to read them again from what the index was "
        f"made from: shortlist repair {index} SOURCE"
    )


def _encoder(index: Path, manifest: Manifest, device: str) -> Encoder:
    return recorded_encoder(
        index, manifest.model, device=device, precision=manifest.model.precision
    )


def _faults(index: Path, encoder: Encoder | None) -> list[Fault]:
    total = len(Manifest.read(index).segments)
    with tqdm(desc="verifying", total=total, unit=" segments", disable=None, delay=2) as bar:
        return faults_of(index, encoder, on_segment=bar.update)
