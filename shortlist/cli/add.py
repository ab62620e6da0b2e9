"""`shortlist add` and `shortlist upsert`: more passages for an index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from shortlist.cli.engines import bring_engines_up_to_date
from shortlist.cli.options import (
    Device,
    IdField,
    IndexArgument,
    SourceArgument,
    TextField,
    TitleField,
)
from shortlist.cli.show import note
from shortlist.data.ledger import counted
from shortlist.pipeline.changes import add_passages, check_can_change
from shortlist.pipeline.index import Index
from shortlist.pipeline.reading import Reading, recorded_options
from shortlist.pipeline.stages import encoder_of


def add(
    index: IndexArgument,
    source: SourceArgument,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    device: Device = "auto",
) -> None:
    """Add a collection to an index; what is there already stays.

    It is cut into passages as the index was. An id that is there with other contents is an error.

    Example: shortlist add notes.idx new-notes/
    """
    fields = {"id_field": id_field, "title_field": title_field, "text_field": text_field}
    _add(index, source, fields, device, replaces=False)


def upsert(
    index: IndexArgument,
    source: SourceArgument,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    device: Device = "auto",
) -> None:
    """Add a collection to an index, in the place of passages with the same ids.

    Example: shortlist upsert papers.idx corrected.jsonl
    """
    fields = {"id_field": id_field, "title_field": title_field, "text_field": text_field}
    _add(index, source, fields, device, replaces=True)


def _add(
    index: Path, source: str, fields: dict[str, str | None], device: str, *, replaces: bool
) -> None:
    opened = Index(index)
    encoder = encoder_of(opened, device=device, precision=opened.manifest.model.precision)
    check_can_change(opened, encoder)
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    options = replace(recorded_options(opened.manifest), **given)
    reading = Reading(source, encoder, options, note, are_recorded=True)
    done = add_passages(
        reading.passages(),
        index,
        encoder,
        replace=replaces,
        opened=opened,
        source=reading.described,
        progress=None,
    )
    reading.report()
    note(
        f"{index}: {counted(done.added, 'passages')} added, {done.replaced:,} replaced, "
        f"{done.unchanged:,} there already; {counted(done.encoded, 'texts')} encoded"
    )
    bring_engines_up_to_date(index, encoder)
