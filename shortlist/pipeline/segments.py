"""One segment of an index on disk: written once, opened memory-mapped and checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shortlist.errors import DamagedIndexError, IndexFolderError, UsageError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.fields import REST, columns_of, is_json, metadata_of
from shortlist.pipeline.layout import (
    FileRecord,
    SegmentRecord,
    Store,
    embeddings_file,
    file_record,
    passages_file,
)
from shortlist.records import Passage

CheckLevel: TypeAlias = Literal["standard", "full"]
"""Which files are compared with their SHA-256 when an index is opened: those of the passages, or
those of the embeddings as well, whose size and shape are looked at anyway."""

SCHEMA = pa.schema(
    [
        ("id", pa.large_string()),
        ("title", pa.large_string()),
        ("text", pa.large_string()),
        ("section", pa.large_string()),
        ("document_id", pa.large_string()),
        ("offset", pa.int64()),
        ("cut_tokens", pa.int64()),  # tokens that the model did not read
    ]
)
"""The columns that every segment has; those of the metadata follow them."""

TEXT_COLUMNS = ("id", "title", "text", "section", "document_id")
_OF_PASSAGE = (*TEXT_COLUMNS, "offset")
_DTYPES = {"float32": "<f4", "float16": "<f2"}
_HEADER = 128  # bytes before the numbers of a .npy file of ours


def weight(passage: Passage) -> int:
    """About how many bytes a passage takes, in memory and on disk."""
    size = len(passage.text) + len(passage.title) + len(passage.section) + 100
    for value in passage.metadata.values():
        size += len(value) if isinstance(value, str) else len(repr(value))
    return size


@dataclass(frozen=True, slots=True)
class Rows:
    """Passages on their way into an index.

    Attributes:
        passages: as they will be read back.
        embeddings: `[len(passages), dim]`.
        cut_tokens: int64 `[len(passages)]`, tokens of each that the model did not read.
    """

    passages: Sequence[Passage]
    embeddings: FloatArray
    cut_tokens: Int64Array


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows one after the other."""
    return Rows(
        [passage for part in parts for passage in part.passages],
        np.concatenate([part.embeddings for part in parts]),
        np.concatenate([part.cut_tokens for part in parts]),
    )


def npy_header(store: Store, shape: tuple[int, ...]) -> bytes:
    """The first 128 bytes of a `.npy` file, version 1.0, in the one form that we write and read."""
    fields = str({"descr": _DTYPES[store], "fortran_order": False, "shape": shape})
    length = _HEADER - 10  # after the magic, the version and the length itself
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + fields.encode().ljust(
        length - 1
    ) + b"\n"  # fmt: skip


def write_segment(folder: Path, number: int, rows: Rows, store: Store) -> SegmentRecord:
    """Write the files of a segment and make them durable; no manifest names them yet.

    Raises:
        UsageError: an embedding has values that float16 cannot hold.
        OSError: the disk is full, or the like.
    """
    embeddings = stored_as(store, rows.embeddings)
    texts = folder / passages_file(number)
    _write_passages(texts, rows)
    vectors = folder / embeddings_file(number)
    _write_embeddings(vectors, embeddings, store)
    cut = rows.cut_tokens
    return SegmentRecord(
        rows=len(rows.passages),
        passages=file_record(texts),
        embeddings=file_record(vectors),
        cut_passages=int((cut > 0).sum()),
        cut_tokens=int(cut.sum()),
    )


def moved_segment(source: Path, folder: Path, record: SegmentRecord, number: int) -> SegmentRecord:
    """Move the files of a segment into an index, under another number; its record there.

    Raises:
        OSError: another disk, or the like.
    """
    passages = replace(record.passages, name=passages_file(number))
    embeddings = replace(record.embeddings, name=embeddings_file(number))
    (source / record.passages.name).rename(folder / passages.name)
    (source / record.embeddings.name).rename(folder / embeddings.name)
    return replace(record, passages=passages, embeddings=embeddings)


def stored_as(store: Store, embeddings: FloatArray) -> NDArray[np.floating[Any]]:
    """Embeddings rounded to what an index keeps.

    Raises:
        UsageError: values that float16 cannot hold.
    """
    if store == "float32":
        return embeddings
    with np.errstate(over="ignore"):
        rounded = embeddings.astype(np.float16)
    if not np.isfinite(rounded).all():
        largest = float(np.abs(embeddings).max())
        raise UsageError(
            f"an embedding has a value of {largest:g}, float16 holds up to 65504; keep these "
            "embeddings with --store float32"
        )
    return rounded


def _write_embeddings(path: Path, embeddings: NDArray[Any], store: Store) -> None:
    with path.open("wb") as file:
        file.write(npy_header(store, embeddings.shape))
        file.write(np.ascontiguousarray(embeddings, dtype=_DTYPES[store]).data)
        file.flush()
        os.fsync(file.fileno())


def _write_passages(path: Path, rows: Rows) -> None:
    passages = rows.passages
    own = [
        pa.array([getattr(passage, name) for passage in passages], SCHEMA.field(name).type)
        for name in _OF_PASSAGE
    ]
    fields, arrays = columns_of([passage.metadata for passage in passages])
    schema = pa.schema([*SCHEMA, *fields])
    table = pa.table([*own, pa.array(rows.cut_tokens.tolist(), pa.int64()), *arrays], schema=schema)
    with path.open("wb") as file:
        with pa.ipc.new_file(file, schema) as writer:
            writer.write_table(table, max_chunksize=max(1, len(passages)))
        file.flush()
        os.fsync(file.fileno())


class SegmentPassages:
    """The passages of an open segment.

    Attributes:
        record: what the manifest says of it.
        table: its passages, an Arrow table over the mapped file.
        deleted: int64, the rows that are deleted, rising.

    Raises:
        DamagedIndexError: the file is missing or not what was committed; it is named.
    """

    def __init__(self, folder: Path, record: SegmentRecord, *, check: bool = True) -> None:
        self.record = record
        check_file(folder, record.passages, content=check)
        self.table = _read_passages(folder / record.passages.name, record)
        self.deleted = record.deleted_numbers
        schema = self.table.schema
        self._json_columns = frozenset(field.name for field in schema if is_json(field))

    def passages(self, rows: Int64Array) -> list[Passage]:
        """The passages at the given rows of it."""
        return [
            Passage(
                **{name: row[name] for name in _OF_PASSAGE},
                metadata=metadata_of(row, self._json_columns),
            )
            for row in self.table.take(arrow_rows(rows)).to_pylist()
        ]

    @cached_property
    def cut_tokens(self) -> Int64Array:
        """Tokens of each row that the model did not read."""
        return np.asarray(self.table.column("cut_tokens").combine_chunks(), dtype=np.int64)

    @property
    def live(self) -> Int64Array:
        """The rows that are not deleted."""
        return self._without(self.deleted)

    def _without(self, deleted: Int64Array) -> Int64Array:
        return np.setdiff1d(np.arange(self.record.rows), deleted, assume_unique=True)


class Segment(SegmentPassages):
    """An open segment.

    Attributes:
        embeddings: memory-mapped float32 or float16 `[rows, dim]`.

    Raises:
        DamagedIndexError: a file is missing or not what was committed; it is named.
    """

    def __init__(
        self,
        folder: Path,
        record: SegmentRecord,
        dim: int,
        store: Store,
        check: CheckLevel | None = "standard",
    ) -> None:
        super().__init__(folder, record, check=check is not None)
        check_file(folder, record.embeddings, content=check == "full")
        path = folder / record.embeddings.name
        self.embeddings: NDArray[Any] = _mapped(path, store, (record.rows, dim))

    def live_rows(self, deleted: Int64Array | None = None) -> Rows:
        """What is not deleted, in memory; with other rows `deleted` than the committed ones."""
        live = self.live if deleted is None else self._without(deleted)
        embeddings = np.asarray(self.embeddings[live], dtype=np.float32)
        return Rows(self.passages(live), embeddings, self.cut_tokens[live])


def check_file(folder: Path, file: FileRecord, *, content: bool = True) -> None:
    """Compare a file with what was committed: its size, and (`content`) every byte of it.

    Raises:
        DamagedIndexError: it differs, or is missing.
        IndexFolderError: it is there and cannot be read.
    """
    path = folder / file.name
    try:
        size = path.stat().st_size
        if size != file.size:
            raise _damaged(path, f"has {size} bytes, expected {file.size}")
        if content and file_record(path) != file:
            raise _damaged(path, "is not the file that was committed (its SHA-256 differs)")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> IndexFolderError:
    """A file that is gone is damage; one that cannot be read now may be whole."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return _damaged(path, "is missing")
    return IndexFolderError(f"{path} cannot be read: {error.strerror or error}")


def _damaged(path: Path, state: str) -> DamagedIndexError:
    return DamagedIndexError(f"{path} {state}; put it right with: shortlist repair {path.parent}")


def _mapped(path: Path, store: Store, shape: tuple[int, int]) -> NDArray[Any]:
    """A `.npy` file of exactly that kind, memory-mapped."""
    try:
        # not np.memmap: it keeps a file descriptor for every segment
        buffer = pa.memory_map(str(path)).read_buffer()
    except OSError as error:
        raise _unreadable(path, error) from error
    if buffer.slice(0, _HEADER).to_pybytes() != npy_header(store, shape):
        raise _damaged(path, f"does not begin as an array of {store} {shape}")
    numbers = np.frombuffer(buffer, _DTYPES[store], offset=_HEADER)
    return numbers.reshape(shape)


def _read_passages(path: Path, record: SegmentRecord) -> Any:
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowException as error:
        raise _damaged(path, f"cannot be read ({error})") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    head = pa.schema(list(table.schema)[: len(SCHEMA)])
    if head != SCHEMA or REST not in table.column_names or table.num_rows != record.rows:
        raise _damaged(
            path,
            f"has {table.num_rows} rows of {', '.join(table.column_names[:10])}, expected "
            f"{record.rows} of {', '.join(SCHEMA.names)}",
        )
    return table


def arrow_rows(rows: Int64Array) -> Any:
    """An Arrow array over the same memory; `pa.array` would import pandas, half a second."""
    contiguous = np.ascontiguousarray(rows)
    return pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(contiguous)])
