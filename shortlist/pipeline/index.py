"""The index on disk: immutable segments of passages and embeddings under one manifest."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from shortlist.data.ids import SeenIds
from shortlist.errors import (
    DamagedIndexError,
    DataError,
    IndexFolderError,
    IndexWriteError,
    UsageError,
)
from shortlist.pipeline.layout import (
    MANIFEST,
    FileRecord,
    Manifest,
    SegmentRecord,
    embeddings_file,
    file_record,
    passages_file,
    sync_folder,
)
from shortlist.pipeline.topk import FloatArray, Int64Array, check_embeddings
from shortlist.records import Passage

ROWS_PER_SEGMENT = 32_768
PASSAGES_AT_ONCE = 8192  # loaded together where all are read
_OWN_COLUMNS = ("id", "title", "text", "section", "document_id")
_FIELDS_NAMED = 30  # in an error message

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("text", pa.large_string()),
        ("section", pa.string()),
        ("document_id", pa.string()),
        ("offset", pa.int64()),
        ("metadata", pa.string()),  # JSON, "" where there is none
    ]
)


class IndexWriter:
    """Makes a new index: written beside its place, moved there when it is complete.

    Use it as a context manager. Leaving it normally commits; leaving it by an exception, Ctrl-C
    included, removes what was written and leaves whatever was at `path` before.

    Raises:
        IndexFolderError: `path` exists already, or cannot be written to.
    """

    def __init__(self, path: Path, manifest: Manifest, *, overwrite: bool = False) -> None:
        path = path.resolve()  # a link stays what it is: what it points to is written
        self.path = path
        self.manifest = manifest
        self._overwrite = overwrite
        refuse_to_replace(path, overwrite)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".building", dir=path.parent)
        except OSError as error:
            raise IndexWriteError(f"cannot write an index at {path}: {error}") from error
        self._draft = Path(draft)
        self._draft.chmod(0o777 & ~_umask())  # mkdtemp makes folders that only their owner reads
        self._passages: list[Passage] = []
        self._embeddings: list[FloatArray] = []
        self._ids = SeenIds()
        self._abandoned = False

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and not self._abandoned:
                self._commit()
        finally:
            shutil.rmtree(self._draft, ignore_errors=True)

    def abandon(self) -> None:
        """Leave what is at `path` as it is when the block is left."""
        self._abandoned = True

    def add(self, passages: Sequence[Passage], embeddings: FloatArray) -> None:
        """Append passages and their embeddings, float32 `[len(passages), dim]`.

        Raises:
            DataError: an id that is empty or not unique, or embeddings that do not fit.
        """
        dim = self.manifest.model.dim
        first = self.manifest.rows + sum(len(part) for part in self._embeddings)
        embeddings = check_embeddings(embeddings, f"embeddings of passages from {first}")
        if embeddings.shape != (len(passages), dim):
            raise DataError(
                f"got embeddings of shape {embeddings.shape} for {len(passages)} passages, "
                f"expected ({len(passages)}, {dim})"
            )
        lengths = np.einsum("ij,ij->i", embeddings, embeddings)
        for row in np.flatnonzero(lengths == 0):
            raise DataError(f"the embedding of passage number {first + row} is all zeros")
        for number, passage in enumerate(passages, first):
            self._claim(passage.id, number)
            self._passages.append(passage)
        self._embeddings.append(embeddings)
        while len(self._passages) >= ROWS_PER_SEGMENT:
            self._write_segment(ROWS_PER_SEGMENT)

    def _claim(self, passage_id: str, number: int) -> None:
        if not passage_id:
            raise DataError(f"passage number {number} has an empty id; give every passage one")
        if self._ids.add(passage_id):
            return
        first = self._number_of(passage_id)
        if first is not None:  # None: two ids share a hash, and nothing is wrong
            raise DataError(
                f"the id {passage_id!r} of passage number {number} is that of passage number "
                f"{first}; ids must be unique"
            )

    def _number_of(self, passage_id: str) -> int | None:
        """Where a passage was written; it reads everything, once something is wrong."""
        number = 0
        for segment in self.manifest.segments:
            table = _read_passages(self._draft / segment.passages.name)
            ids: list[str] = table.column("id").to_pylist()
            if passage_id in ids:
                return number + ids.index(passage_id)
            number += segment.rows
        waiting = (i for i, p in enumerate(self._passages, number) if p.id == passage_id)
        return next(waiting, None)

    def _write_segment(self, rows: int) -> None:
        number = len(self.manifest.segments) + 1
        embeddings = np.concatenate(self._embeddings)
        passages, self._passages = self._passages[:rows], self._passages[rows:]
        self._embeddings = [embeddings[rows:]]
        try:
            texts = self._draft / passages_file(number)
            _write_passages(texts, passages)
            vectors = self._draft / embeddings_file(number)
            with vectors.open("wb") as file:
                np.save(file, embeddings[:rows], allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise IndexWriteError(f"cannot write the index at {self.path}: {error}") from error
        segment = SegmentRecord(
            rows=rows, passages=file_record(texts), embeddings=file_record(vectors)
        )
        self.manifest = replace(self.manifest, segments=(*self.manifest.segments, segment))

    def _commit(self) -> None:
        if self._passages:
            self._write_segment(len(self._passages))
        if not self.manifest.segments:
            raise DataError("there are no passages to index")
        try:
            self.manifest.write(self._draft)
            refuse_to_replace(self.path, self._overwrite)  # something may have come since
            if self.path.exists():
                _exchange(self._draft, self.path)  # the old one is the draft now, and removed
            else:
                self._draft.rename(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise IndexWriteError(f"cannot write the index at {self.path}: {error}") from error


def refuse_to_replace(path: Path, overwrite: bool) -> None:
    """Only an index (or an empty folder) may be replaced, and only when asked to.

    Raises:
        IndexFolderError: something is at `path` that must stay.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / MANIFEST).is_file():
        raise IndexFolderError(
            f"{path} exists and is not an index; it is left as it is: choose another place"
        )
    if not overwrite:
        raise IndexFolderError(
            f"there is an index at {path} already; choose another place, or replace it with "
            "--overwrite (overwrite=True)"
        )


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step where the system can, so that no moment is without an index."""
    libc = ctypes.CDLL(None, use_errno=True)
    at_cwd, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
    if hasattr(libc, "renameat2"):
        swapped = libc.renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange)
        if swapped == 0:
            return
    aside = one.with_name(one.name + ".replaced")
    other.rename(aside)
    try:
        one.rename(other)
    except BaseException:
        aside.rename(other)
        raise
    aside.rename(one)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _write_passages(path: Path, passages: Sequence[Passage]) -> None:
    columns = [[_cell(passage, name) for passage in passages] for name in SCHEMA.names]
    table = pa.table(columns, schema=SCHEMA)
    with path.open("wb") as file:
        with pa.ipc.new_file(file, SCHEMA) as writer:
            writer.write_table(table, max_chunksize=len(passages))
        file.flush()
        os.fsync(file.fileno())


def _cell(passage: Passage, column: str) -> Any:
    value = getattr(passage, column)
    if column == "metadata":
        return json.dumps(dict(value), ensure_ascii=True, allow_nan=False) if value else ""
    # a lone surrogate is no UTF-8: it becomes "?"
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _passage(row: dict[str, Any]) -> Passage:
    return Passage(**row | {"metadata": json.loads(row["metadata"]) if row["metadata"] else {}})


def _read_passages(path: Path) -> Any:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _arrow(rows: Int64Array) -> Any:
    """An Arrow array over the same memory; `pa.array` would import pandas, half a second."""
    contiguous = np.ascontiguousarray(rows)
    return pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(contiguous)])


class Index:
    """An open index; nothing but the manifest is read until it is needed.

    Attributes:
        path: the folder.
        manifest: what the index is.
        embeddings: memory-mapped float32 `[rows, dim]` of each segment, in order.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = Manifest.read(self.path)
        for segment in self.manifest.segments:
            for file in (segment.passages, segment.embeddings):
                self._check_size(file)
        self.embeddings = [self._map_embeddings(s) for s in self.manifest.segments]
        self._tables = [self._map_passages(s) for s in self.manifest.segments]
        self._columns: dict[str, Any] = {}  # of the metadata, as they were asked for
        self._starts = np.cumsum([0, *(s.rows for s in self.manifest.segments)])

    def __len__(self) -> int:
        return self.manifest.rows

    def passages(self, rows: Int64Array) -> list[Passage]:
        """The passages at the given row numbers, in the order given."""
        rows = np.asarray(rows, dtype=np.int64)
        found: list[Passage | None] = [None] * len(rows)
        for number, places, within in self._by_segment(rows):
            taken = self._tables[number].take(_arrow(within))
            for place, row in zip(places, taken.to_pylist(), strict=True):
                found[place] = _passage(row)
        return [passage for passage in found if passage is not None]

    def all_passages(self) -> Iterator[Passage]:
        """Every passage in the order of the rows, a block at a time."""
        for start in range(0, len(self), PASSAGES_AT_ONCE):
            yield from self.passages(np.arange(start, min(start + PASSAGES_AT_ONCE, len(self))))

    def vectors(self, rows: Int64Array) -> FloatArray:
        """The embeddings at the given row numbers, float32 `[len(rows), dim]`, in that order."""
        found = np.empty((len(rows), self.manifest.model.dim), dtype=np.float32)
        for number, places, within in self._by_segment(rows):
            found[places] = self.embeddings[number][within]
        return found

    def _by_segment(self, rows: Int64Array) -> Iterator[tuple[int, Int64Array, Int64Array]]:
        """Yield each segment's number, the places in `rows` that are in it, and the rows there."""
        homes = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(homes):
            places = np.flatnonzero(homes == number)
            yield number, places, rows[places] - self._starts[number]

    def column(self, name: str) -> Any:
        """A field of every passage as an Arrow array, null where a passage has none of that name.

        Args:
            name: `id`, `title`, `text`, `section`, `document_id`, or a field of the metadata.

        Raises:
            UsageError: no passage has such a field (those that there are, are named), or its values
                are of several types.
        """
        if name in _OWN_COLUMNS:
            chunks = [chunk for table in self._tables for chunk in table.column(name).chunks]
            return pa.chunked_array(chunks).combine_chunks()
        if name not in self._columns:
            self._columns[name] = self._from_metadata(name)
        return self._columns[name]

    def _from_metadata(self, name: str) -> Any:
        values: list[Any] = []
        known: set[str] = set()
        for table in self._tables:
            for text in table.column("metadata").to_pylist():
                fields = json.loads(text) if text else {}
                known.update(fields)
                values.append(fields.get(name))
        if name not in known:
            names = ", ".join(sorted({*_OWN_COLUMNS, *known})[:_FIELDS_NAMED])
            raise UsageError(f"no passage of {self.path} has a field {name!r}; there are: {names}")
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError) as error:
            raise UsageError(
                f"the values of {name!r} are of several types and cannot be compared: {error}"
            ) from error

    def ids(self) -> set[str]:
        """All passage ids."""
        return {i for table in self._tables for i in table.column("id").to_pylist()}

    def verify(self) -> None:
        """Read every file and compare it with its checksum.

        Raises:
            DamagedIndexError: a file is not what was committed; it is named.
        """
        for segment in self.manifest.segments:
            for file in (segment.passages, segment.embeddings):
                if file_record(self.path / file.name) != file:
                    raise DamagedIndexError(
                        f"{self.path / file.name} is not the file that was committed (its SHA-256 "
                        "differs); build the index again"
                    )

    def size(self) -> int:
        """Bytes on disk of the files that the manifest names."""
        return sum(s.passages.size + s.embeddings.size for s in self.manifest.segments)

    def _check_size(self, file: FileRecord) -> None:
        path = self.path / file.name
        size = path.stat().st_size if path.is_file() else None
        if size != file.size:
            state = "is missing" if size is None else f"has {size} bytes, expected {file.size}"
            raise DamagedIndexError(f"{path} {state}; build the index again")

    def _map_embeddings(self, segment: SegmentRecord) -> FloatArray:
        path = self.path / segment.embeddings.name
        try:
            array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DamagedIndexError(f"{path}: {error}; build the index again") from error
        expected = (segment.rows, self.manifest.model.dim)
        if array.shape != expected or array.dtype != np.float32:
            raise DamagedIndexError(
                f"{path} has {array.dtype} {array.shape}, expected float32 {expected}; "
                "build the index again"
            )
        result: FloatArray = array
        return result

    def _map_passages(self, segment: SegmentRecord) -> Any:
        path = self.path / segment.passages.name
        try:
            table = _read_passages(path)
        except (OSError, pa.ArrowException) as error:
            raise DamagedIndexError(f"{path}: {error}; build the index again") from error
        if table.schema != SCHEMA or table.num_rows != segment.rows:
            raise DamagedIndexError(
                f"{path} has {table.num_rows} rows of {table.schema.names}, expected "
                f"{segment.rows} of {SCHEMA.names}; build the index again"
            )
        return table
