"""`shortlist delete`: passages taken out of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.options import IndexArgument
from shortlist.cli.show import note
from shortlist.data.ledger import counted
from shortlist.errors import UsageError
from shortlist.pipeline.changes import delete_passages
from shortlist.pipeline.vectors import read_ids

_NAMED = 5  # ids in a message


def delete(
    index: IndexArgument,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of passages.")
    ] = None,
    ids_file: Annotated[
        Path | None, typer.Option("--ids", help="A file of ids, one a line.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", help="Those that meet this, such as: document_id == 'old.md'."),
    ] = None,
) -> None:
    """Delete passages by id, or those that meet an expression.

    Nothing is found any more that was deleted; `shortlist compact` takes back the space.

    Example: shortlist delete notes.idx --where "document_id == 'old.md'"
    """
    wanted = [*(ids or ()), *(read_ids(ids_file) if ids_file else ())]
    if not wanted and where is None:
        raise UsageError("what to delete? Give ids, a file of them (--ids), or --where")
    count, missing = delete_passages(index, wanted, where)
    if missing:
        named = ", ".join(repr(name[:100]) for name in missing[:_NAMED])
        more = ", ..." if len(missing) > _NAMED else ""
        note(f"warning: {counted(len(missing), 'ids')} of no passage: {named}{more}")
    note(f"{index}: {counted(count, 'passages')} deleted")
