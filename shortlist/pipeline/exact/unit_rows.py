"""Rows divided by their lengths as they are read: cosines of embeddings that are not normalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.pipeline.arrays import FloatArray, Int64Array, check_finite
from shortlist.pipeline.exact.rows import Rows

SMALLEST_NORM = 1e-12  # shorter rows are divided by it, as in torch.nn.functional.normalize


class UnitRows(Rows):
    """`Rows` of length 1, but for those of zeros.

    A copy of all of them would take as much memory as they do, and as long to write as a search.
    """

    def __init__(self, segments: Sequence[NDArray[Any]]) -> None:
        super().__init__(segments, zeros=True)

    def slice(self, start: int, stop: int) -> FloatArray:
        """See `Rows`."""
        return normalised(super().slice(start, stop), "corpus", np.arange(start, stop))

    def take(self, numbers: Int64Array, out: FloatArray | None = None) -> FloatArray:
        """See `Rows`."""
        taken = super().take(numbers, out)
        taken /= _norms(taken)[:, None]
        return taken


def normalised(rows: FloatArray, what: str, numbers: Int64Array | None = None) -> FloatArray:
    """Rows divided by their norms, float32; `what` they are and their numbers are for messages.

    Raises:
        DataError: a row with NaN or infinite values.
    """
    norms = _norms(rows)
    if not np.isfinite(norms.sum()):
        check_finite(rows, what, numbers)
    unit: FloatArray = rows / norms[:, None]
    return unit


def _norms(rows: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(rows, rows)
    if not np.isfinite(squares.sum()) or squares.min(initial=1) < SMALLEST_NORM:
        wide = rows.astype(np.float64)
        squares = np.vecdot(wide, wide)
    norms: FloatArray = np.maximum(np.sqrt(squares), SMALLEST_NORM).astype(np.float32)
    return norms
