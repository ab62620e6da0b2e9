"""The nouns of every hand-over: small frozen records, nothing clever.

Ids are strings everywhere, as they are in qrels files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Passage:
    """One unit of retrieval: what is embedded, searched and shown."""

    id: str
    text: str
    title: str = ""
    section: str = ""  # heading path inside the document, " / " between the levels
    document_id: str = ""  # the document that the passage was cut from; "" where it is its own
    offset: int = 0  # characters into the document's plain text where `text` begins
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)  # what JSON can hold

    @property
    def document(self) -> str:
        """The document that the passage belongs to: itself where it was not cut from one."""
        return self.document_id or self.id

    @property
    def model_text(self) -> str:
        """What the models read: title, a blank, text (the convention of BEIR)."""
        return f"{self.title} {self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Query:
    """A question, or any text that is searched with."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage in an answer, with what both stages said of it.

    `score` is the number that the order is by and `score_kind` its scale: ``cosine`` or ``dot`` or
    ``bm25`` (retrieval alone, and passages below the reranking depth), ``fused`` (both stages
    combined), ``logit`` (the cross-encoder alone). Every hit of kind ``fused`` or ``logit`` ranks
    above every hit that was not reranked. `rerank_score` is the cross-encoder's logit, None where
    it did not look; `relevance` is a calibrated probability, None until a calibration exists.
    """

    rank: int  # 1 is best
    id: str
    title: str
    text: str
    score: float
    score_kind: str
    retrieval_rank: int
    retrieval_score: float
    rerank_score: float | None = None
    relevance: float | None = None
    section: str = ""
    document_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    folded: tuple[str, ...] = ()  # ids of the near-duplicates that this hit stands for
    depth: int = 0  # candidates of the question that the cross-encoder rescored
    window: tuple[int, int] | None = None  # of a long text: where it scored best, in characters
    cut_tokens: int = 0  # of a very long text: tokens that the cross-encoder did not read

    @property
    def document(self) -> str:
        """The document that the passage belongs to: itself where it was not cut from one."""
        return self.document_id or self.id

    def as_json(self) -> dict[str, Any]:
        """The fields that `shortlist search --json` prints, in their documented order."""
        names = (
            "rank id title text score score_kind retrieval_rank retrieval_score rerank_score "
            "relevance section document_id metadata folded depth window cut_tokens"
        )
        fields = {name: getattr(self, name) for name in names.split()}
        return fields | {"metadata": dict(self.metadata), "folded": list(self.folded)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Scores as probabilities that a passage answers: a logistic function, so no order changes.

    Fitted by `shortlist.evaluation.calibration`, for the scores of one pair of models.
    """

    slope: float  # above 0
    intercept: float
    answered_from: float = 0.0  # relevance of a first hit below which there is no good answer

    def relevance(self, score: float) -> float:
        """The probability of one score."""
        logit = self.slope * score + self.intercept
        return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0

    def answering_from(self, relevance: float) -> Calibration:
        """The same with another threshold."""
        return replace(self, answered_from=relevance)


Qrels: TypeAlias = Mapping[str, Mapping[str, int]]
"""query id -> passage id -> grade; a grade of 1 or more is relevant, 0 is judged and not."""

Run: TypeAlias = Mapping[str, Mapping[str, float]]
"""query id -> passage id -> score; higher is better, and no two scores of a query are equal."""
