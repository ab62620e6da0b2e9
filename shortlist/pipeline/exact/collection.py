"""A collection cut into chunks, as it is and rounded to int8."""

from __future__ import annotations

from collections.abc import Container, Iterator
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.models.onnx import cores
from shortlist.pipeline.arrays import BoolArray, FloatArray, Int64Array
from shortlist.pipeline.exact import memory
from shortlist.pipeline.exact.first_pass import Chunk, FloatChunk, IntegerChunk
from shortlist.pipeline.exact.rows import Rows
from shortlist.pipeline.exact.workers import in_threads

CHUNK_ROWS = 8_192  # of a large collection: products with a block of queries stay in the cache
SMALLEST_CHUNK = 2_048

Looked = tuple[Chunk, NDArray[Any] | None]
"""A chunk, and what hides those of its rows that may not be found."""


class Collection:
    """Rows in chunks of equal length.

    Args:
        rows: where they are.
        memory_budget: bytes for the int8 copy, n · dim; what does not fit has none. By default half
            of what is available when it is made.
        like: an earlier state, of which is used what is the same.
        chunk_rows: rows in one product; by default as many as are best.
    """

    def __init__(
        self,
        rows: Rows,
        memory_budget: int | None = None,
        like: Collection | None = None,
        chunk_rows: int | None = None,
    ) -> None:
        self.rows = rows
        self.chunk_rows = chunk_rows or _chunk_rows(len(rows))
        self.starts = range(0, len(rows), self.chunk_rows)
        self._budget = memory_budget
        self._rounded: dict[int, IntegerChunk] = {}
        self._as_they_are: dict[int, FloatChunk] = {}
        self._rounding = Lock()
        if like is not None and like.chunk_rows == self.chunk_rows:
            same = rows.same_until(like.rows)
            for start in self.starts:
                if self._stop(start) <= same and self._stop(start) == like._stop(start):
                    self._share(like, start)

    def _share(self, like: Collection, start: int) -> None:
        rounded = like._rounded.get(start)
        if rounded is not None:
            self._rounded[start] = rounded
        known = like._as_they_are.get(start)
        if known is not None and known.is_known:
            # a chunk of its own: the other would keep the earlier state's files open
            self._as_they_are[start] = self._read(start, known.sizes[0, : len(known.numbers)])

    def _stop(self, start: int) -> int:
        return min(start + self.chunk_rows, len(self.rows))

    @property
    def has_rounded(self) -> bool:
        """Whether there is any int8 copy."""
        return bool(self._rounded)

    def round(self) -> None:
        """Make the int8 copy as far as it fits, unless another thread is at it.

        Raises:
            DataError: a row with NaN or infinite values, or one of zeros.
        """
        missing = [start for start in self.starts if start not in self._rounded]
        if not missing or not self._rounding.acquire(blocking=False):
            return
        try:
            each = self.chunk_rows * (self.rows.dim or 1)
            if self._budget is None:
                self._budget = each * len(self._rounded) + memory.available() // 2
            budget = self._budget - each * len(self._rounded)
            in_threads(self._round_one, missing[: max(0, budget // each)])
        finally:
            self._rounding.release()
            memory.trim()

    def _round_one(self, start: int) -> None:
        rows = self.rows.slice(start, self._stop(start))
        self._rounded[start] = IntegerChunk(rows, start, zeros=self.rows.zeros)
        memory.trim()

    def forget_rounded(self) -> None:
        """Let the int8 copy go."""
        self._rounded.clear()

    def rounded(self, mask: BoolArray | None) -> dict[int, Looked]:
        """The chunks that are rounded and have rows that may be found, by their first rows."""
        return {
            start: (chunk, None if mask is None else chunk.cap(mask))
            for start, chunk in sorted(self._rounded.copy().items())
            if self._has_any(start, mask)
        }

    def as_it_is(self, mask: BoolArray | None, without: Container[int]) -> Iterator[Looked]:
        """Every other chunk that has rows that may be found, in float32.

        Args:
            mask: which rows may be found.
            without: first rows of the chunks that were looked at. More may have been rounded since.
        """
        for start in self.starts:
            if start in without or not self._has_any(start, mask):
                continue
            chunk = self._as_they_are.get(start)
            if chunk is None:
                chunk = self._as_they_are[start] = self._read(start)
            yield chunk, None if mask is None else chunk.cap(mask)

    def copied(self, numbers: Int64Array) -> Iterator[Looked]:
        """Chunks of the rows of these numbers alone, in float32."""
        for start in range(0, len(numbers), self.chunk_rows):
            some = numbers[start : start + self.chunk_rows]
            yield FloatChunk(partial(self.rows.take, some), some, zeros=self.rows.zeros), None

    def _read(self, start: int, size: FloatArray | None = None) -> FloatChunk:
        stop = self._stop(start)
        read = partial(self.rows.slice, start, stop)
        return FloatChunk(read, np.arange(start, stop), size, zeros=self.rows.zeros)

    def _has_any(self, start: int, mask: BoolArray | None) -> bool:
        return mask is None or bool(mask[start : self._stop(start)].any())


def _chunk_rows(rows: int) -> int:
    """Long chunks for a large collection; of a small one each core has some to do."""
    size = CHUNK_ROWS
    while size > SMALLEST_CHUNK and size * cores() > rows:
        size //= 2
    return size
