"""Where the nearest by Euclidean distance is the best by dot product: one space for all engines.

Unit vectors are there already. Of others each row gets one coordinate more, so that all are equally
long: Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for
inner-product spaces", RecSys 2014.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from shortlist.pipeline.arrays import FloatArray


@dataclass(frozen=True)
class Space:
    """How embeddings become vectors of an engine.

    Attributes:
        embedding_dim: of the embeddings.
        largest: the largest squared length of a row; None where all are of unit length.
    """

    embedding_dim: int
    largest: float | None = None

    @property
    def dim(self) -> int:
        """Dimensions of the vectors."""
        return self.embedding_dim + (self.largest is not None)

    def of_rows(self, embeddings: FloatArray) -> FloatArray:
        """Vectors float32 `[n, dim]`. Rows that are longer than the longest before are cut."""
        if self.largest is None:
            return np.ascontiguousarray(embeddings, dtype=np.float32)
        rest = np.maximum(self.largest - _squares(embeddings), 0)
        return np.concatenate(
            [embeddings, np.sqrt(rest)[:, None].astype(np.float32)], axis=1, dtype=np.float32
        )

    def of_queries(self, embeddings: FloatArray) -> FloatArray:
        """Vectors float32 `[q, dim]`, as long as the rows are: their length decides nothing."""
        vectors = np.ascontiguousarray(embeddings, dtype=np.float32)
        if self.largest is None:
            return vectors
        lengths = np.sqrt(_squares(vectors))[:, None]
        scaled = vectors * (self.largest**0.5 / np.where(lengths > 0, lengths, 1))
        return np.concatenate([scaled, np.zeros((len(vectors), 1))], axis=1, dtype=np.float32)

    def holds(self, embeddings: FloatArray) -> bool:
        """Whether no row is longer than the longest before."""
        return self.largest is None or bool((_squares(embeddings) <= self.largest).all())


def space_of(blocks: Iterable[FloatArray], dim: int, metric: str) -> Space:
    """The space for these embeddings, float32 `[some, dim]` at a time."""
    if metric == "cosine":
        return Space(dim)
    return Space(dim, max((float(_squares(block).max()) for block in blocks), default=0.0))


def _squares(embeddings: FloatArray) -> FloatArray:
    squares: FloatArray = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    return squares
