"""The rows of a collection, wherever they lie, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DataError
from shortlist.pipeline.arrays import (
    FloatArray,
    Int64Array,
    check_finite,
    check_not_zero,
    is_number,
)
from shortlist.pipeline.exact.rounding import SMALLEST, UNIT_ROUNDOFF


class Rows:
    """Arrays of embeddings, searched as if they stood one below the other.

    Args:
        segments: float32 or float16 `[n, dim]` each, memory-mapped ones too.
        zeros: whether rows of zeros may be among them.

    Raises:
        DataError: no array of numbers `[n, dim]`, or arrays of different dimensions.
    """

    def __init__(self, segments: Sequence[NDArray[Any]], *, zeros: bool = True) -> None:
        self.zeros = zeros
        self._given = list(segments)
        self.segments = [_checked(segment) for segment in self._given]
        dims = sorted({segment.shape[1] for segment in self.segments})
        if len(dims) > 1:
            raise DataError(
                f"embeddings of {' and '.join(map(str, dims))} dimensions in one collection; "
                "expected those of one model"
            )
        self.dim: int | None = dims[0] if dims else None
        self.starts = np.cumsum([0, *(len(segment) for segment in self.segments)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def slice(self, start: int, stop: int) -> FloatArray:
        """Rows from `start` to before `stop`, float32; not a copy where it need not be one."""
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        parts = []
        for number in range(first, len(self.segments)):
            begin = int(self.starts[number])
            if begin >= stop:
                break
            parts.append(self.segments[number][max(0, start - begin) : stop - begin])
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return np.ascontiguousarray(whole, dtype=np.float32)

    def take(self, numbers: Int64Array) -> FloatArray:
        """The rows of these numbers, float32, in their order."""
        taken = np.empty((len(numbers), self.dim or 0), np.float32)
        self.read(numbers, taken)
        return taken

    def read(self, numbers: Int64Array, out: NDArray[Any]) -> None:
        """Write the rows of these numbers, in their order, to float32 or float64 `[m, dim]`."""
        if len(self.segments) == 1:
            out[:] = self._read(self.segments[0], numbers)
            return
        home = np.searchsorted(self.starts, numbers, side="right") - 1
        for number in np.flatnonzero(np.bincount(home)):
            places = np.flatnonzero(home == number)
            out[places] = self._read(self.segments[number], numbers[places] - self.starts[number])

    def _read(self, segment: NDArray[Any], numbers: Int64Array) -> NDArray[Any]:
        return segment.take(numbers, axis=0)

    def same_until(self, other: Rows) -> int:
        """How many rows at the beginning are the very same arrays as those of `other`."""
        if type(self) is not type(other) or self.zeros != other.zeros:
            return 0
        same = 0
        for mine, theirs, rows in zip(self._given, other._given, self.segments, strict=False):
            if mine is not theirs:
                break
            same += len(rows)
        return same


def sizes(rows: FloatArray, numbers: Int64Array, *, zeros: bool = True) -> FloatArray:
    """At least the norm of each row, float32 `[n]`.

    Args:
        rows: float32 `[n, dim]`.
        numbers: of the rows, for messages.
        zeros: whether rows of zeros are taken.

    Raises:
        DataError: a row with NaN or infinite values, or one of zeros.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.vecdot(rows, rows)
    if not np.isfinite(squares.sum()):
        check_finite(rows, "corpus", numbers)
        wide = rows.astype(np.float64)
        squares = np.vecdot(wide, wide)
    if not zeros and not squares.all():
        check_not_zero(rows, "corpus", numbers)
    # a float32 sum of squares is off by gamma_d, and squares of small values are cut to 0
    dim = rows.shape[1]
    norms = np.sqrt(squares) * (1 + (dim + 8) * UNIT_ROUNDOFF) + dim**0.5 * SMALLEST
    return np.asarray(norms, dtype=np.float32)


def _checked(segment: Any) -> NDArray[Any]:
    array = np.asarray(segment)
    if array.ndim != 2 or not array.shape[1] or not is_number(array.dtype):
        raise DataError(f"corpus: expected numbers [n, dim], got {array.dtype} {array.shape}")
    if array.dtype not in (np.float32, np.float16):
        with np.errstate(over="ignore"):  # what becomes infinite is refused with its row
            array = np.asarray(array, dtype=np.float32)
    return array
