"""What verbs say of approximate engines, and do for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shortlist.cli.show import note
from shortlist.models.encoders import Encoder
from shortlist.pipeline.engines.derived import saved_engines
from shortlist.pipeline.index import Index

if TYPE_CHECKING:
    from shortlist.pipeline.engines.approximate import Measured


def note_engine(name: str, found: Measured | None) -> None:
    """Say on stderr what an approximate engine reaches, beside its speed."""
    if found is not None:
        note(f"engine {name}: {reached(found)}")


def reached(found: Measured) -> str:
    """Recall and speed of an engine in words."""
    effort = ", ".join(f"{name} {value:,}" for name, value in found.effort.items())
    missed = "" if found.is_met else f" ({found.target:g} was wanted)"
    return (
        f"recall@{found.top_k} {found.recall:.3f}{missed} of the exact search's, with "
        f"{found.queries:,} sample queries and {effort}; {found.ms:.2f} ms a query, exact "
        f"{found.exact_ms:.2f}"
    )


def bring_engines_up_to_date(index: Path, encoder: Encoder) -> None:
    """Extend the engines beside an index, where much was added, and say so."""
    if not saved_engines(index):
        return
    from shortlist.pipeline.engines.opening import update_engines
    from shortlist.pipeline.engines.tuning import sample_queries

    opened = Index(index)
    for name in update_engines(opened, lambda: sample_queries(opened, encoder), progress=None):
        note(f"engine {name}: brought up to date")
