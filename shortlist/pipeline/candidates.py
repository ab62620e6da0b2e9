"""What retrieval hands over to the second stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.records import Hit, Passage


@dataclass(frozen=True, slots=True)
class Candidates:
    """What retrieval found for one query, best first."""

    query: str
    passages: Sequence[Passage]
    scores: FloatArray  # [len(passages)]
    similarities: FloatArray | None = None  # where `scores` are none of the bi-encoder
    skipped: int = 0  # better candidates that are not here
    ranks: Int64Array | None = None  # of retrieval, where they stand in another order
    chosen_by: FloatArray | None = None  # the scores by which a student put them in that order

    @property
    def first_stage(self) -> FloatArray:
        """What the second stage's rule takes for the retrieval score."""
        return self.scores if self.similarities is None else self.similarities

    @property
    def retrieval_ranks(self) -> Sequence[int] | Int64Array:
        """Of each, 1 is best."""
        first = self.skipped + 1
        return range(first, first + len(self.passages)) if self.ranks is None else self.ranks

    def hits(self, metric: str) -> list[Hit]:
        """The candidates as an answer of their own."""
        return [
            Hit(
                rank=rank,
                id=passage.id,
                title=passage.title,
                text=passage.text,
                score=float(score),
                score_kind=metric,
                retrieval_rank=int(found_at),
                retrieval_score=float(score),
                section=passage.section,
                document_id=passage.document_id,
                metadata=passage.metadata,
            )
            for rank, (passage, score, found_at) in enumerate(
                zip(self.passages, self.scores, self.retrieval_ranks, strict=True),
                start=self.skipped + 1,
            )
        ]
