"""Whatever turns texts into embeddings: our bi-encoders, and any function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from shortlist.errors import UsageError
from shortlist.models.batches import FloatArray
from shortlist.models.bi_encoder import Metric

EncodeFunction: TypeAlias = Callable[[list[str]], Any]
"""Texts -> embeddings, an array (or what numpy makes one of) `[n, dim]`."""

TEXTS_AT_ONCE = 256  # handed to a function in one call
_PROBE = "The quick brown fox jumps over the lazy dog."
OWN = "function:"  # how the name of a function begins where an index records it


class Encoder(Protocol):
    """What a pipeline asks of its first stage; `BiEncoder` is one."""

    name: str
    fingerprint: str
    dim: int
    max_tokens: int
    metric: Metric
    query_prompt: str
    passage_prompt: str

    def encode_queries(
        self, texts: Sequence[str], on_batch: Callable[[int], object] | None = None
    ) -> FloatArray:
        """Embeddings of queries, float32 `[n, dim]`."""

    def encode_passages(
        self,
        texts: Sequence[str],
        on_batch: Callable[[int], object] | None = None,
        on_cut: Callable[[int, int], object] | None = None,
    ) -> FloatArray:
        """Embeddings of passages, float32 `[n, dim]`."""


class FunctionEncoder:
    """Any function from texts to embeddings as an encoder.

    Args:
        encode: texts -> `[n, dim]`.
        encode_queries: the same for queries, where they are encoded in another way.
        name: what an index records; the name of the function by default.
        metric: ``cosine`` (embeddings are made unit length) or ``dot`` (they stay as they are).

    An index remembers the name only: that the function is the same when the index is opened again
    is checked by encoding four of its passages anew.
    """

    max_tokens = 0  # unknown
    query_prompt = ""
    passage_prompt = ""

    def __init__(
        self,
        encode: EncodeFunction,
        *,
        encode_queries: EncodeFunction | None = None,
        name: str = "",
        metric: Metric = "cosine",
    ) -> None:
        if metric not in ("cosine", "dot"):
            raise UsageError(f"metric must be cosine or dot, got {metric!r}")
        self._encode_passages = encode
        self._encode_queries = encode_queries or encode
        self.name = OWN + (name or getattr(encode, "__qualname__", type(encode).__name__))
        self.metric: Metric = metric
        self.dim = 0
        self.dim = self._encode(encode, [_PROBE], None).shape[1]
        self.fingerprint = f"{self.name}:{self.dim}"

    def encode_queries(
        self, texts: Sequence[str], on_batch: Callable[[int], object] | None = None
    ) -> FloatArray:
        """Embeddings of queries, float32 `[n, dim]`, in the order given."""
        return self._encode(self._encode_queries, texts, on_batch)

    def encode_passages(
        self,
        texts: Sequence[str],
        on_batch: Callable[[int], object] | None = None,
        on_cut: Callable[[int, int], object] | None = None,  # noqa: ARG002 - the function cuts unseen
    ) -> FloatArray:
        """Embeddings of passages, float32 `[n, dim]`, in the order given."""
        return self._encode(self._encode_passages, texts, on_batch)

    def _encode(
        self,
        encode: EncodeFunction,
        texts: Sequence[str],
        on_batch: Callable[[int], object] | None,
    ) -> FloatArray:
        parts = [np.empty((0, self.dim), np.float32)] if self.dim else []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = list(texts[start : start + TEXTS_AT_ONCE])
            made = np.asarray(encode(part), dtype=np.float32)
            width = self.dim or (made.shape[1] if made.ndim == 2 else 0)
            if made.shape != (len(part), width):
                raise UsageError(
                    f"{self.name} returned embeddings of shape {made.shape} for {len(part)} texts; "
                    f"expected ({len(part)}, {self.dim or 'dim'})"
                )
            parts.append(made)
            if on_batch:
                on_batch(len(part))
        embeddings = np.concatenate(parts)
        return unit_length(embeddings) if self.metric == "cosine" else embeddings


def unit_length(embeddings: FloatArray) -> FloatArray:
    """Divide each row by its norm; rows of zeros stay what they are."""
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    scaled: FloatArray = (embeddings / np.where(norms > 0, norms, 1)).astype(np.float32)
    return scaled
