"""What is known of some questions between the two stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.distinct import Distinct
from shortlist.pipeline.index import Among
from shortlist.pipeline.retrieval import Asked
from shortlist.pipeline.schedule import Effort


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Candidates of some questions, and what is to become of them.

    Attributes:
        asked: the questions, and their embeddings.
        found: candidates of each.
        kind: of their scores.
        among: the passages that may be found, of one state of the index.
        top_k: hits that are wanted.
        effort: of the second stage; None for the first stage alone.
        distinct: what may not come twice.
        started: when they were asked, by `time.perf_counter`.
    """

    asked: Asked
    found: Sequence[Candidates]
    kind: str
    among: Among
    top_k: int
    effort: Effort | None
    distinct: Distinct
    started: float


def parted(retrieved: Retrieved) -> list[Retrieved]:
    """One for each question."""
    return [
        replace(retrieved, asked=retrieved.asked[number], found=[found])
        for number, found in enumerate(retrieved.found)
    ]


def joined(parts: Sequence[Retrieved]) -> Retrieved:
    """One of several that differ in their questions alone; they count as begun with the first."""
    asked = [part.asked for part in parts]
    vectors = [one.embeddings for one in asked if one.embeddings is not None]
    return replace(
        parts[0],
        asked=Asked(
            [text for one in asked for text in one.texts],
            np.concatenate(vectors) if vectors else None,
        ),
        found=[found for part in parts for found in part.found],
    )
