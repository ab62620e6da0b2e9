"""What the API takes and gives, as pydantic models: the OpenAPI page is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shortlist.pipeline.pipeline import DEFAULT_TOP_K
from shortlist.pipeline.schedule import DEFAULT_DEPTH
from shortlist.web.service import Answer, Options

LONGEST_QUERY = 1_000  # characters
LONGEST_FILTER = 500
MOST_HITS = 100
DEEPEST = 200

Query = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_QUERY)
]


class SearchRequest(BaseModel):
    """A question, and how it is to be answered."""

    model_config = ConfigDict(extra="forbid")

    q: Query = Field(description="The question, or any text to search with.")
    top_k: int = Field(DEFAULT_TOP_K, ge=1, le=MOST_HITS, description="Passages to return.")
    depth: int = Field(
        DEFAULT_DEPTH, ge=1, le=DEEPEST, description="Candidates that the cross-encoder rescores."
    )
    rerank: bool = Field(True, description="Whether to use the second stage, where there is one.")
    where: str | None = Field(
        None,
        max_length=LONGEST_FILTER,
        description="Only among passages like: year >= 2018 and venue in ('ACL', 'EMNLP')",
    )
    adaptive: bool = Field(False, description="Rescore until no candidate can beat the best.")
    group_by: Literal["document"] | None = Field(
        None, description="The best passage of each document."
    )
    fold_duplicates: bool = Field(False, description="One of several nearly equal passages.")

    @property
    def options(self) -> Options:
        """All but the question."""
        return Options(
            top_k=self.top_k,
            depth=self.depth,
            rerank=self.rerank,
            where=self.where or None,
            adaptive=self.adaptive,
            group_by=self.group_by,
            fold_duplicates=self.fold_duplicates,
        )


class FoundPassage(BaseModel):
    """One passage of an answer; see `shortlist.Hit`."""

    rank: int
    id: str
    title: str
    text: str
    section: str
    document_id: str
    metadata: dict[str, Any]
    score: float = Field(description="What the order is by, on the scale of `score_kind`.")
    score_kind: str
    retrieval_rank: int = Field(description="Where the first stage had it.")
    retrieval_score: float
    rerank_score: float | None = Field(description="The cross-encoder's logit.")
    relevance: float | None = Field(description="A calibrated probability, where there is one.")
    folded: list[str] = Field(description="Ids of near-duplicates that it stands for.")
    depth: int
    window: tuple[int, int] | None = Field(description="Of a long text: where it scored best.")
    cut_tokens: int
    highlight: tuple[int, int] | None = Field(
        description="The sentence that answers best: its first and last character."
    )


class SearchResponse(BaseModel):
    """An answer: the first stage's (`final` is false), or the whole one."""

    q: str
    final: bool
    reranked: bool
    answered: bool | None = Field(
        description="Whether the first passage is a good answer; null where nobody knows."
    )
    hits: list[FoundPassage]
    ms: dict[str, float] = Field(description="wait, encode, retrieve, rerank, total")


class Info(BaseModel):
    """What is searched, and with what."""

    name: str
    version: str
    passages: int
    bi_encoder: str
    cross_encoder: str | None
    engine: str
    symmetric: bool = Field(description="Whether texts like the query are looked for.")
    fields: list[str] = Field(description="Metadata fields that `where` may name.")
    samples: list[str] = Field(description="Questions to begin with.")
    top_k: int
    depth: int
    budget_ms: float = Field(description="Milliseconds within which an accepted query is answered.")
    limits: dict[str, int]
    token: bool = Field(description="Whether the API wants a bearer token.")


class Health(BaseModel):
    """Whether the server lives, and how it fares."""

    status: Literal["ok"]
    passages: int
    waiting: int
    answered: int
    refused: int


class Problem(BaseModel):
    """What went wrong, and what to do."""

    error: str


def response_of(query: str, answer: Answer) -> SearchResponse:
    """An answer as the API gives it."""
    spans = [*answer.spans, *[None] * (len(answer.hits) - len(answer.spans))]
    return SearchResponse(
        q=query,
        final=answer.final,
        reranked=answer.reranked,
        answered=answer.answered,
        hits=[
            FoundPassage(**hit.as_json(), highlight=span)
            for hit, span in zip(answer.hits, spans, strict=True)
        ],
        ms={stage: round(seconds * 1000, 1) for stage, seconds in answer.seconds.items()},
    )
