"""Rows divided by their lengths as they are read: cosines of embeddings that are not normalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.pipeline.arrays import FloatArray, Int64Array, check_finite
from shortlist.pipeline.exact.rows import Rows
from shortlist.pipeline.exact.workers import buffer

SMALLEST_SQUARE, LARGEST_SQUARE = 1e-24, 1e37  # that float32 sums well
SMALLEST_NORM = 1e-12  # shorter rows are divided by it, as in torch.nn.functional.normalize


class UnitRows(Rows):
    """`Rows` of length 1, but for those of zeros.

    A copy of all of them would take as much memory as they do, and as long to write as a search.
    """

    def __init__(self, segments: Sequence[NDArray[Any]]) -> None:
        super().__init__(segments, zeros=True)

    def slice(self, start: int, stop: int) -> FloatArray:
        """See `Rows`; in memory that the next call in this thread takes again."""
        rows = super().slice(start, stop)
        unit = buffer("unit rows", rows.size, np.float32).reshape(rows.shape)
        return normalised(rows, "corpus", np.arange(start, stop), unit)

    def _read(self, segment: NDArray[Any], numbers: Int64Array) -> NDArray[Any]:
        taken = super()._read(segment, numbers).astype(np.float32, copy=False)
        taken /= _norms(taken)[:, None]
        return taken


def normalised(
    rows: FloatArray,
    what: str,
    numbers: Int64Array | None = None,
    out: FloatArray | None = None,
) -> FloatArray:
    """Rows divided by their norms, float32; `what` they are and their numbers are for messages.

    Raises:
        DataError: a row with NaN or infinite values.
    """
    norms = _norms(rows)
    if not np.isfinite(norms).all():
        check_finite(rows, what, numbers)
    unit: FloatArray = np.divide(rows, norms[:, None], out=out)
    return unit


def _norms(rows: FloatArray) -> FloatArray:
    """The norm of each row, whatever rows are beside it: a row must not change with its company."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(rows, rows)
        odd = np.flatnonzero(~((squares >= SMALLEST_SQUARE) & (squares <= LARGEST_SQUARE)))
        norms: FloatArray = np.sqrt(squares)
    if len(odd):
        wide = rows[odd].astype(np.float64)
        norms[odd] = np.sqrt(np.vecdot(wide, wide))
    return np.maximum(norms, np.float32(SMALLEST_NORM))
