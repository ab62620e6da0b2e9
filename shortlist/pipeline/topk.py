"""Exact top-k over embeddings in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from shortlist.pipeline.arrays import BoolArray, FloatArray, Int64Array
from shortlist.pipeline.exact.search import ExactSearch


def exact_top_k(
    queries: FloatArray,
    corpus: NDArray[Any] | Sequence[NDArray[Any]],
    top_k: int,
    *,
    mask: BoolArray | None = None,
    device: str = "cpu",
    memory_budget: int | None = None,
) -> tuple[FloatArray, Int64Array]:
    """The `top_k` rows of the corpus with the largest dot product, for every query.

    Who searches a collection again keeps an `ExactSearch`, which is several times as fast.

    Args:
        queries: float32 `[q, dim]`.
        corpus: float32 or float16 `[n, dim]`, or several such arrays (memory-mapped ones too) that
            are searched as if they stood one below the other.
        top_k: how many rows to return, at least 1.
        mask: bool `[n]`, the rows that may be returned; all of them by default.
        device: where the products are computed: `cpu`, a torch device such as `cuda`, or `auto`.
        memory_budget: see `ExactSearch`.

    Returns:
        Scores float32 `[q, top_k]`, falling, and row numbers int64 `[q, top_k]`; equal scores by
        row number. A score is a dot product summed in float64 and rounded to float32. Where the
        corpus (or the mask) has fewer than `top_k` rows: -inf and -1.

    Raises:
        UsageError: `top_k` below 1, or no such device.
        DataError: dimensions differ, the mask has another length, a value is NaN or infinite or a
            row all zeros (it is named), or scores would be too large for float32.
    """
    search = ExactSearch(corpus, device=device, memory_budget=memory_budget)
    return search.search(queries, top_k, mask=mask)
