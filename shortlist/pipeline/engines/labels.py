"""Which row of an index each label of an engine is, whatever was added and deleted since.

A label remembers its segment and its row there. When a segment is gone (the last one is written
again with what is added, and compacting writes others), its labels are found again by the digests
of their embeddings: between rows with one embedding any choice is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DamagedIndexError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.engines.protocol import Vectors
from shortlist.pipeline.engines.space import Space
from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import SegmentRecord

FILE = "labels.npy"
ROWS_AT_ONCE = 4096

_PLACE = np.dtype([("segment", "<i4"), ("row", "<i4"), ("digest", "<u8")])


@dataclass(frozen=True)
class Labels:
    """What each label stands for.

    Attributes:
        segments: names of segments, to be counted from 0.
        places: structured `[labels]`: the number of its segment, its row there, and the first 64
            bits of the BLAKE2 of its embedding as it is stored.
    """

    segments: tuple[str, ...] = ()
    places: NDArray[Any] = field(default_factory=lambda: np.empty(0, _PLACE))

    def __len__(self) -> int:
        return len(self.places)

    def extended(self, index: Index, rows: Int64Array) -> Labels:
        """With further labels for these rows of an index, in their order."""
        names = list(dict.fromkeys([*self.segments, *map(_name, _records(index))]))
        places = np.empty(len(rows), _PLACE)
        for number, positions, within in index.by_segment(rows):
            places["segment"][positions] = names.index(_name(_records(index)[number]))
            places["row"][positions] = within
        places["digest"] = _digests(index, rows)
        return Labels(tuple(names), np.concatenate([self.places, places]))

    def rows_in(self, index: Index) -> Int64Array:
        """The row of each label in a state of the index, int64; -1 where it is not there more."""
        starts = dict(zip(map(_name, _records(index)), _starts(index), strict=True))
        first = np.array([starts.get(name, -1) for name in self.segments] or [-1])[
            self.places["segment"]
        ]
        rows: Int64Array = np.where(first < 0, -1, first + self.places["row"])
        if (rows < 0).any():
            self._find_again(index, rows)
        if index.live is not None:
            rows[~index.live[rows]] = -1  # -1 stays: whatever the last row is
        return rows

    def _find_again(self, index: Index, rows: Int64Array) -> None:
        """Give the labels of segments that are gone the rows with the same embeddings."""
        gone, new = np.flatnonzero(rows < 0), uncovered(rows, index)
        one, other = self.places["digest"][gone], _digests(index, new)
        if not len(new):
            return
        mine, theirs = _numbered(one, other)
        _, here, there = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
        rows[gone[here]] = new[there]

    def save(self, folder: Path) -> None:
        """Write the places beside the engine."""
        np.save(folder / FILE, self.places, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, segments: tuple[str, ...]) -> Labels:
        """Read what `save` wrote.

        Raises:
            DamagedIndexError: it is something else.
        """
        path = folder / FILE
        try:
            places = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DamagedIndexError(f"{path} cannot be read: {error}") from error
        if places.dtype != _PLACE or places.ndim != 1:
            raise DamagedIndexError(f"{path} has {places.dtype}, expected {_PLACE}")
        return cls(segments, places)


def uncovered(rows: Int64Array, index: Index) -> Int64Array:
    """The live rows of an index that no label stands for; `rows` are those of the labels."""
    free = np.ones(index.stored_rows, np.bool_) if index.live is None else index.live.copy()
    free[rows[rows >= 0]] = False
    return np.flatnonzero(free)


def vectors_of(index: Index, rows: Int64Array, space: Space, on_vectors: Any = None) -> Vectors:
    """The embeddings at these rows as an engine takes them."""
    make = partial(_blocks, index, rows, space)
    return Vectors(len(rows), space.dim, make, on_vectors or (lambda _: None))


def _blocks(index: Index, rows: Int64Array, space: Space) -> Iterator[FloatArray]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield space.of_rows(index.vectors(rows[start : start + ROWS_AT_ONCE]))


def _numbered(*parts: NDArray[Any]) -> list[Int64Array]:
    """Make equal digests different by counting them: the first of each part are equal again."""
    values, codes = np.unique(np.concatenate(parts), return_inverse=True)
    found, start = list[Int64Array](), 0
    for part in parts:
        own = codes[start : start + len(part)]
        start += len(part)
        order = np.argsort(own, kind="stable")
        ordered = own[order]
        before = np.arange(len(own)) - np.searchsorted(ordered, ordered)
        numbered = np.empty(len(own), np.int64)
        numbered[order] = before * len(values) + ordered
        found.append(numbered)
    return found


def _digests(index: Index, rows: Int64Array) -> NDArray[np.uint64]:
    found = np.empty(len(rows), "<u8")
    for number, positions, within in index.by_segment(rows):
        embeddings = index.embeddings[number]
        found[positions] = np.frombuffer(
            b"".join(
                hashlib.blake2b(embeddings[row].tobytes(), digest_size=8).digest() for row in within
            ),
            "<u8",
        )
    return found


def _records(index: Index) -> tuple[SegmentRecord, ...]:
    return index.manifest.segments


def _starts(index: Index) -> list[int]:
    counts = [record.rows for record in _records(index)]
    return [0, *np.cumsum(counts).tolist()][: len(counts)]


def _name(record: SegmentRecord) -> str:
    """No two segments of an index ever have the same."""
    return f"{record.embeddings.name} {record.embeddings.sha256}"
