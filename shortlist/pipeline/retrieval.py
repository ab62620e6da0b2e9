"""The first stage as the pipeline sees it: by meaning, by words, or both fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.exact.ranking import scores_of
from shortlist.pipeline.exact.rows import Rows
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.fuse import RankFusion, Ranking, fused
from shortlist.pipeline.index import Among

if TYPE_CHECKING:  # imported where one is used
    from shortlist.pipeline.engines.approximate import ApproximateSearch
    from shortlist.pipeline.engines.bm25 import BM25Search

LEAST_FUSED = 100  # of each part that is fused: what one part ranks low the other may rank high


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries on their way through the first stage."""

    texts: Sequence[str]
    embeddings: FloatArray | None  # [len(texts), dim]; None where no part of the stage needs them

    def __getitem__(self, number: int) -> Asked:
        """One of them."""
        part = slice(number, number + 1)
        embeddings = None if self.embeddings is None else self.embeddings[part]
        return Asked(self.texts[part], embeddings)


class Retriever(Protocol):
    """A first stage over one state of an index."""

    @property
    def kind(self) -> str:
        """Of its scores: ``cosine``, ``dot``, ``bm25``, ``rrf``, ``weighted``."""

    @property
    def encodes(self) -> bool:
        """Whether it needs the embeddings of queries."""

    def search(self, asked: Asked, top_k: int, among: Among) -> Ranking:
        """The best rows of each query.

        Args:
            asked: the queries.
            top_k: how many rows.
            among: which may be found.
        """


@dataclass(frozen=True)
class ByMeaning:
    """The nearest embeddings, found exactly or by an engine."""

    embeddings: ExactSearch | ApproximateSearch
    kind: str
    encodes = True

    def search(self, asked: Asked, top_k: int, among: Among) -> Ranking:
        """See `Retriever`."""
        assert asked.embeddings is not None  # noqa: S101 - `encodes`
        return self.embeddings.search(asked.embeddings, top_k, mask=among.mask)


@dataclass(frozen=True)
class ByWords:
    """BM25; `rows` are those of its texts, rising."""

    words: BM25Search
    rows: Int64Array
    kind = "bm25"
    encodes = False

    def search(self, asked: Asked, top_k: int, among: Among) -> Ranking:
        """See `Retriever`."""
        own = None if among.mask is None else among.mask[self.rows]
        scores, places = self.words.search(asked.texts, top_k, own)
        return scores, np.where(places >= 0, self.rows[places] if len(self.rows) else -1, -1)


@dataclass(frozen=True)
class Fused:
    """Several first stages made into one."""

    parts: Sequence[Retriever]
    rule: RankFusion

    @property
    def kind(self) -> str:
        """The name of the rule."""
        return self.rule.name

    @property
    def encodes(self) -> bool:
        """Whether a part does."""
        return any(part.encodes for part in self.parts)

    def search(self, asked: Asked, top_k: int, among: Among) -> Ranking:
        """See `Retriever`. A passage has the same score at every `top_k` up to 100."""
        depth = max(top_k, LEAST_FUSED)
        return fused([part.search(asked, depth, among) for part in self.parts], top_k, self.rule)


def similarities(asked: Asked, rows: Int64Array, embeddings: Rows) -> FloatArray:
    """The true scores of rows `[q, k]` that were found in another way; -inf in places without."""
    scores = np.full(rows.shape, -np.inf, np.float32)
    assert asked.embeddings is not None  # noqa: S101 - for parts that encode
    numbers, places = np.nonzero(rows >= 0)
    found = scores_of(asked.embeddings.astype(np.float64), embeddings, numbers, rows[rows >= 0])
    scores[numbers, places] = found
    return scores
