"""File names and format version of the index folder.

::

    notes.idx/
      manifest.json                            what the index is, and which files make it up
      segment-000001.passages.arrow            passages, one record batch (Arrow IPC file)
      segment-000001.embeddings.npy            float32 or float16 [rows, dim], little-endian
      segment-000002. ...
      writer.lock                              only while somebody writes: the process's number

Files are never changed once they are written: a commit writes new ones, then puts a manifest that
names them in the place of the old one, then removes what no manifest names any more. The manifest
names every file with its size and SHA-256, says which rows are deleted, and carries its own
SHA-256; a file that it does not name is not part of the index.

This is format 1. It is frozen: every later version of shortlist reads it, and what would not be
read by this one gets another number. docs/index-format.md describes it to others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np

from shortlist.errors import DamagedIndexError, IndexFolderError, UsageError
from shortlist.models.onnx import Precision
from shortlist.pipeline.arrays import Int64Array

FORMAT = 1
MANIFEST = "manifest.json"
DRAFT = MANIFEST + ".draft"  # renamed when it is complete
LOCK = "writer.lock"
OURS = "segment-*"  # files that belong to an index, or did
STAGING = "ray-"  # begins the name of a folder in which other processes write segments
_UNKNOWN = "0" * 64  # stands for the manifest's own SHA-256 while it is computed

Store: TypeAlias = Literal["float32", "float16"]


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The bi-encoder that made the embeddings: whatever decides a number is in here."""

    name: str
    fingerprint: str  # of weights, tokenizer, pooling: every file that the model is loaded from
    dim: int
    metric: str
    max_tokens: int
    query_prompt: str = ""
    passage_prompt: str = ""
    precision: Precision = "float32"  # of the passages; queries may be encoded in another


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file as it was committed."""

    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SegmentRecord:
    """Some rows of the index: passages and their embeddings, never changed once written."""

    rows: int  # the deleted ones too
    passages: FileRecord
    embeddings: FileRecord
    deleted: str = ""  # which rows are: base64 of a bit for each, the lowest first; "" for none
    deleted_rows: int = 0
    cut_passages: int = 0  # of those that are not deleted: longer than the model reads
    cut_tokens: int = 0  # tokens of them that it did not see

    @property
    def deleted_numbers(self) -> Int64Array:
        """The rows that are deleted, int64, rising."""
        bits = np.frombuffer(base64.b64decode(self.deleted, validate=True), dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(bits, bitorder="little"))

    def with_deleted(self, rows: Int64Array, cut_tokens: Int64Array) -> SegmentRecord:
        """The record with these rows deleted; `cut_tokens` are those of all its rows."""
        bits = np.zeros(self.rows, dtype=np.bool_)
        bits[rows] = True
        cut = cut_tokens[~bits]
        return replace(
            self,
            deleted=base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode(),
            deleted_rows=len(rows),
            cut_passages=int((cut > 0).sum()),
            cut_tokens=int(cut.sum()),
        )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an index is."""

    model: ModelRecord
    cross_encoder: str | None  # the second stage that the index was made for
    store: Store = "float32"  # how embeddings are kept
    segments: tuple[SegmentRecord, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)  # kind, options, what was dropped
    created_by: str = ""
    complete: bool = False  # whether the build that made it came to its end
    commit: int = 0  # commits so far: no two states of an index have the same number
    next_segment: int = 1  # no number that was committed comes again
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Passages in the index."""
        return sum(segment.rows - segment.deleted_rows for segment in self.segments)

    @property
    def cut_passages(self) -> int:
        """Passages that are longer than the model reads."""
        return sum(segment.cut_passages for segment in self.segments)

    @property
    def cut_tokens(self) -> int:
        """Tokens of them that it did not see."""
        return sum(segment.cut_tokens for segment in self.segments)

    @property
    def files(self) -> list[FileRecord]:
        """Every file of the index but the manifest."""
        return [f for segment in self.segments for f in (segment.passages, segment.embeddings)]

    @property
    def bytes(self) -> int:
        """What its files take on disk."""
        return sum(file.size for file in self.files)

    def write(self, folder: Path) -> None:
        """Put the manifest in its place in one step, after the files that it names."""
        draft = folder / DRAFT
        text = json.dumps(asdict(self) | {"sha256": _UNKNOWN}, indent=1, ensure_ascii=False)
        # a lone surrogate in the name of a source is no UTF-8
        content = (text + "\n").encode("utf-8", "replace")
        digest = hashlib.sha256(content).hexdigest().encode()
        before, _, after = content.rpartition(_UNKNOWN.encode())
        sync_folder(folder)  # names of new files are durable before a manifest speaks of them
        with draft.open("wb") as file:
            file.write(before + digest + after)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / MANIFEST)
        sync_folder(folder)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an index, and check it.

        Raises:
            IndexFolderError: no folder, not an index, or of another format.
            DamagedIndexError: the manifest is not the one that was committed.
        """
        path = folder / MANIFEST
        if not folder.exists():
            raise IndexFolderError(
                f"no index at {folder}; make one with: shortlist index SOURCE -o {folder}"
            )
        if not path.is_file():
            raise IndexFolderError(
                f"{folder} is not a shortlist index: it has no {MANIFEST}; "
                "make one with: shortlist index SOURCE -o FOLDER"
            )
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise IndexFolderError(f"{path} cannot be read: {error.strerror or error}") from error
        try:
            content = json.loads(raw.decode("utf-8"))
            found = content["format"]
            digest = content.pop("sha256", None)
        except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
            raise _damaged(path, str(error)) from error
        if found != FORMAT:
            raise IndexFolderError(
                f"{folder} has index format {found}, this version of shortlist reads format "
                f"{FORMAT}; build the index again"
                + (", or get a newer shortlist" if isinstance(found, int) and found > 1 else "")
            )
        if not isinstance(digest, str) or _digest(raw, digest) != digest:
            raise _damaged(path, "its SHA-256 differs")
        try:
            return _manifest(content)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, str(error)) from error


def _digest(raw: bytes, own: str) -> str:
    """The SHA-256 of a manifest's bytes as they were before its own was put in."""
    before, found, after = raw.rpartition(own.encode("utf-8", "replace"))
    return hashlib.sha256(before + _UNKNOWN.encode() + after).hexdigest() if found else ""


def _damaged(path: Path, why: str) -> DamagedIndexError:
    return DamagedIndexError(
        f"{path} is not the manifest that was committed ({why}); build the index again"
    )


def _manifest(content: dict[str, Any]) -> Manifest:
    segments = tuple(
        SegmentRecord(
            **segment | {kind: FileRecord(**segment[kind]) for kind in ("passages", "embeddings")}
        )
        for segment in content["segments"]
    )
    fields = content | {"model": ModelRecord(**content["model"]), "segments": segments}
    manifest = Manifest(**fields)
    for file in manifest.files:
        if Path(file.name).name != file.name:  # nothing outside the folder is ever opened
            raise ValueError(f"file name {file.name!r}")
    return manifest


def checked_store(store: str) -> Store:
    """Return how embeddings are to be kept; UsageError where it is none of the two ways."""
    if store not in get_args(Store):
        raise UsageError(f"store must be float32 or float16, got {store!r}")
    return cast(Store, store)


def passages_file(number: int) -> str:
    """Name of the file that holds the passages of the segment with that number (1 is first)."""
    return f"segment-{number:06}.passages.arrow"


def embeddings_file(number: int) -> str:
    """Name of the file that holds the embeddings of the segment with that number."""
    return f"segment-{number:06}.embeddings.npy"


def file_record(path: Path) -> FileRecord:
    """Size and SHA-256 of a finished file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
    return FileRecord(name=path.name, size=size, sha256=digest)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
