"""The index on disk, open for reading: one committed state of it, whatever writers do meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shortlist.errors import DamagedIndexError, IndexFolderError, UsageError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.fields import field_values, is_utf8, names_in
from shortlist.pipeline.layout import DRAFT, LOCK, MANIFEST, Manifest
from shortlist.pipeline.segments import TEXT_COLUMNS, CheckLevel, Segment
from shortlist.records import Passage

PASSAGES_AT_ONCE = 8192  # loaded together where all are read
FILTERS_KEPT = 16  # a byte for each passage
_ATTEMPTS = 100  # to open what is committed to all the time
_FIELDS_NAMED = 30  # in an error message
_THREADS = 4  # that read files to check them


_State: TypeAlias = tuple[int, int, int] | None


@dataclass(frozen=True)
class Among:
    """The passages of an index that may be found."""

    index: Index
    mask: NDArray[np.bool_] | None  # over all rows; None for all of them
    count: int
    where: str | None = None  # what they meet


class Index:
    """An open index: the state that was committed last when it was opened.

    What writers commit later is not seen, and does no harm: the files of this state are mapped.

    Args:
        path: the folder.
        check: "standard" compares the manifest and every file of passages with its SHA-256, and of
            the embeddings size and shape; "full" compares the embeddings as well.
        like: an earlier state; what both have in common is not read again.

    Attributes:
        path: the folder.
        manifest: what the index is.
        segments: its parts, in order.
        embeddings: memory-mapped float32 or float16 `[rows, dim]` of each segment, in order.
        live: bool over all rows, False for those that are deleted; None where none is.

    Raises:
        IndexFolderError: not an index, or of another format.
        DamagedIndexError: a file is missing or not what was committed; it is named.
    """

    def __init__(
        self, path: str | Path, *, check: CheckLevel = "standard", like: Index | None = None
    ) -> None:
        if check not in ("standard", "full"):
            raise UsageError(f"check must be 'standard' or 'full', got {check!r}")
        self.path = Path(path)
        known = like.segments if like and check == "standard" else []
        self._set(*_opened(self.path, check, known))

    def _set(self, manifest: Manifest, segments: list[Segment], state: _State) -> None:
        self.manifest = manifest
        self.segments = segments
        self._state = state
        self.embeddings = [segment.embeddings for segment in self.segments]
        self._starts = np.cumsum([0, *(s.record.rows for s in self.segments)])
        self._columns: dict[str, Any] = {}  # of the metadata, as they were asked for
        self._filters: dict[str, NDArray[np.bool_]] = {}
        self._lock = Lock()

    def followed_by(self, manifest: Manifest) -> Index:
        """The state that this writer committed next; what both have in common is not read again."""
        mine = {segment.record: segment for segment in self.segments}
        later = Index.__new__(Index)
        later.path = self.path
        dim, store = manifest.model.dim, manifest.store
        segments = [
            mine.get(record) or Segment(self.path, record, dim, store, check=None)
            for record in manifest.segments
        ]
        later._set(manifest, segments, _state(self.path))
        return later

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def stored_rows(self) -> int:
        """Rows on disk, the deleted ones too: row numbers go from 0 to this."""
        return int(self._starts[-1])

    @cached_property
    def live(self) -> NDArray[np.bool_] | None:
        """Which rows are not deleted, bool `[stored_rows]`; None where all are."""
        if not any(len(segment.deleted) for segment in self.segments):
            return None
        mask = np.ones(self.stored_rows, dtype=np.bool_)
        for start, segment in zip(self._starts, self.segments, strict=False):
            mask[start + segment.deleted] = False
        return mask

    @property
    def live_rows(self) -> Int64Array:
        """The numbers of the rows that are not deleted, rising."""
        if self.live is None:
            return np.arange(self.stored_rows)
        return np.flatnonzero(self.live)

    def passages(self, rows: Int64Array) -> list[Passage]:
        """The passages at the given row numbers, in the order given."""
        rows = np.asarray(rows, dtype=np.int64)
        found: list[Passage | None] = [None] * len(rows)
        for number, places, within in self.by_segment(rows):
            for place, passage in zip(places, self.segments[number].passages(within), strict=True):
                found[place] = passage
        return [passage for passage in found if passage is not None]

    def all_passages(self) -> Iterator[Passage]:
        """Every passage in the order of the rows, a block at a time."""
        rows = self.live_rows
        for start in range(0, len(rows), PASSAGES_AT_ONCE):
            yield from self.passages(rows[start : start + PASSAGES_AT_ONCE])

    def vectors(self, rows: Int64Array) -> FloatArray:
        """The embeddings at the given row numbers, float32 `[len(rows), dim]`, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(rows), self.manifest.model.dim), dtype=np.float32)
        for number, places, within in self.by_segment(rows):
            found[places] = self.embeddings[number][within]
        return found

    def cut_tokens(self, rows: Int64Array) -> Int64Array:
        """Tokens of the passages at these rows that the model did not read, int64."""
        rows = np.asarray(rows, dtype=np.int64)
        found = np.zeros(len(rows), dtype=np.int64)
        for number, places, within in self.by_segment(rows):
            found[places] = self.segments[number].cut_tokens[within]
        return found

    def by_segment(self, rows: Int64Array) -> Iterator[tuple[int, Int64Array, Int64Array]]:
        """Yield each segment's number, the places in `rows` that are in it, and the rows there."""
        homes = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(homes):
            places = np.flatnonzero(homes == number)
            yield number, places, rows[places] - self._starts[number]

    def rows_of(self, ids: Iterable[str], *, deleted: bool = False) -> dict[str, int]:
        """The row number of each of these ids that a passage has, or (`deleted`) had."""
        import pyarrow.compute as pc

        # a lone surrogate is in no id that was kept, and in no Arrow array
        wanted = [name for name in dict.fromkeys(ids) if name.isascii() or is_utf8(name)]
        if not wanted:
            return {}
        values = pa.array(wanted, pa.large_string())
        found: dict[str, int] = {}
        for start, segment in zip(self._starts, self.segments, strict=False):
            column = segment.table.column("id").combine_chunks()
            places = pc.index_in(column, value_set=values)
            rows = np.flatnonzero(np.asarray(places.is_valid()))
            which = np.asarray(places.drop_null())
            gone = np.isin(rows, [] if deleted else segment.deleted)
            for row, number in zip(rows[~gone], which[~gone], strict=True):
                found[wanted[number]] = int(start + row)
        return found

    def ids(self) -> set[str]:
        """All passage ids."""
        found: set[str] = set()
        for segment in self.segments:
            ids = segment.table.column("id").to_pylist()
            found.update(ids if not len(segment.deleted) else (ids[row] for row in segment.live))
        return found

    def among(self, where: str | None) -> Among:
        """Which passages may be found where they must meet an expression.

        Raises:
            UsageError: see `shortlist.pipeline.filters`.
        """
        if where is None:
            return Among(self, self.live, len(self))
        with self._lock:
            if where not in self._filters:
                from shortlist.pipeline.filters import rows_where  # loads Arrow's kernels

                mask = rows_where(where, self.column)
                if self.live is not None:
                    mask &= self.live
                while len(self._filters) >= FILTERS_KEPT:
                    self._filters.pop(next(iter(self._filters)))
                self._filters[where] = mask
            met = self._filters[where]
        return Among(self, met, int(met.sum()), where)

    def column(self, name: str) -> Any:
        """A field of every row as an Arrow array, null where a passage has none of that name.

        Args:
            name: `id`, `title`, `text`, `section`, `document_id`, or a field of the metadata.

        Raises:
            UsageError: no passage has such a field (those that there are, are named), or its values
                are of several types.
        """
        tables = [segment.table for segment in self.segments]
        if name in TEXT_COLUMNS:
            chunks = [chunk for table in tables for chunk in table.column(name).chunks]
            return pa.chunked_array(chunks, pa.large_string()).combine_chunks()
        if name not in self._columns:
            parts = [field_values(table, name) for table in tables]
            self._columns[name] = self._joined(name, parts)
        return self._columns[name]

    def fields(self) -> list[str]:
        """Names of the metadata fields that some passage has."""
        return sorted(set[str]().union(*(names_in(segment.table) for segment in self.segments)))

    def _joined(self, name: str, parts: Sequence[Any]) -> Any:
        """One array from those of the segments, which may differ in type."""
        if all(isinstance(part, pa.NullArray) for part in parts):
            known = self.fields()
            if name not in known:
                names = ", ".join(sorted({*TEXT_COLUMNS, *known})[:_FIELDS_NAMED])
                raise UsageError(
                    f"no passage of {self.path} has a field {name!r}; there are: {names}"
                )
        kinds = {getattr(part, "type", None) for part in parts} - {pa.null()}
        try:
            if len(kinds) == 1 and None not in kinds:
                kind = kinds.pop()
                return pa.chunked_array(
                    [
                        chunk
                        for part in parts
                        for chunk in (
                            part.chunks
                            if isinstance(part, pa.ChunkedArray)
                            else [pa.nulls(len(part), kind)]
                        )
                    ],
                    kind,
                ).combine_chunks()
            values = (part if isinstance(part, list) else part.to_pylist() for part in parts)
            return pa.array([value for part in values for value in part])
        except (pa.ArrowException, OverflowError) as error:
            raise UsageError(
                f"the values of {name!r} are of several types and cannot be compared: {error}"
            ) from error

    def size(self) -> int:
        """Bytes on disk of the files that the manifest names."""
        return self.manifest.bytes

    def has_changed(self) -> bool:
        """Whether another state was committed since this one was opened."""
        return _state(self.path) != self._state


def _opened(
    path: Path, check: CheckLevel, known: Sequence[Segment]
) -> tuple[Manifest, list[Segment], _State]:
    """The last committed state. A commit in between may remove files that its manifest named.

    What was opened in vain is kept for the next attempt, so that it has little to do.
    """
    there = _Opening(path, check, known)
    for attempt in range(_ATTEMPTS):
        state, identity = _state(path), _identity(path)
        manifest = Manifest.read(path)
        try:
            segments = there.segments(manifest)
        except DamagedIndexError:
            if _state(path) == state or attempt == _ATTEMPTS - 1:
                raise
            continue
        # Names come again only in another folder, which may have taken the place of this one
        if _identity(path) == identity:
            return manifest, segments, state
        there = _Opening(path, check, known)
    raise IndexFolderError(f"{path} is replaced all the time; try again")


class _Opening:
    """Opens the segments of an index, none of them twice."""

    def __init__(self, path: Path, check: CheckLevel, known: Sequence[Segment]) -> None:
        self._path = path
        self._check = check
        self._open = {segment.record: segment for segment in known}

    def segments(self, manifest: Manifest) -> list[Segment]:
        missing = [record for record in manifest.segments if record not in self._open]
        dim, store = manifest.model.dim, manifest.store
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
            opening = [
                threads.submit(Segment, self._path, record, dim, store, self._check)
                for record in missing
            ]
        failed = None
        for record, segment in zip(missing, opening, strict=True):
            if segment.exception():
                failed = failed or segment
            else:
                self._open[record] = segment.result()
        if failed:
            failed.result()  # raises
        return [self._open[record] for record in manifest.segments]


def _state(path: Path) -> _State:
    """What changes with every commit."""
    try:
        file = (path / MANIFEST).stat()
    except OSError:
        return None
    return file.st_dev, file.st_ino, file.st_mtime_ns


def _identity(path: Path) -> tuple[int, int] | None:
    """What changes when another folder takes the place of this one."""
    try:
        folder = path.stat()
    except OSError:
        return None
    return folder.st_dev, folder.st_ino


def empty_place(path: Path) -> bool:
    """Whether nothing is at a path, or a folder with nothing in it but what a killed start left."""
    if not path.is_dir():
        return not path.exists()
    return all(entry.name in (LOCK, DRAFT) for entry in path.iterdir())


def refuse_to_replace(path: Path, overwrite: bool) -> None:
    """Only an index (or an empty folder) may be replaced, and only when asked to.

    Raises:
        IndexFolderError: something is at `path` that must stay.
    """
    if empty_place(path):
        return
    if not (path / MANIFEST).is_file():
        raise IndexFolderError(
            f"{path} exists and is not an index; it is left as it is: choose another place"
        )
    if not overwrite and _is_complete(path):
        raise IndexFolderError(
            f"there is an index at {path} already; choose another place, add to it with shortlist "
            "add, or replace it with --overwrite (overwrite=True)"
        )


def _is_complete(path: Path) -> bool:
    try:
        return Manifest.read(path).complete
    except IndexFolderError:
        return True  # another format, or damaged: not to be gone on with
