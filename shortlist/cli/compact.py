"""`shortlist compact`: the space of what was deleted."""

from __future__ import annotations

from shortlist.cli.options import IndexArgument
from shortlist.cli.show import note
from shortlist.data.ledger import counted
from shortlist.pipeline.changes import compact as compact_index
from shortlist.pipeline.layout import Manifest


def compact(index: IndexArgument) -> None:
    """Take back the space of deleted passages, and join small segments.

    Example: shortlist compact notes.idx
    """
    before = Manifest.read(index)
    dropped = compact_index(index)
    after = Manifest.read(index)
    note(
        f"{index}: {counted(dropped, 'deleted passages')} dropped, "
        f"{counted(len(before.segments), 'segments')} became {len(after.segments)}, "
        f"{before.bytes / 1e6:.1f} MB became {after.bytes / 1e6:.1f} MB"
    )
