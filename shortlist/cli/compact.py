"""`shortlist compact`: the space of what was deleted."""

from __future__ import annotations

from shortlist.cli.options import IndexArgument
from shortlist.cli.show import note
from shortlist.data.ledger import counted
from shortlist.pipeline.changes import compact as compact_index
from shortlist.pipeline.index import Index


def compact(index: IndexArgument) -> None:
    """Take back the space of deleted passages, and join small segments.

    Example: shortlist compact notes.idx
    """
    before = Index(index)
    dropped = compact_index(index)
    after = Index(index)
    note(
        f"{index}: {counted(dropped, 'deleted passages')} dropped, "
        f"{len(before.segments)} segments became {len(after.segments)}, "
        f"{before.size() / 1e6:.1f} MB became {after.size() / 1e6:.1f} MB"
    )
