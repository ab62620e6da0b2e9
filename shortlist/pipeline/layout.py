"""File names and format version of the index folder.

::

    notes.idx/
      manifest.json                      what the index is, and which files make it up
      segment-000001.passages.arrow      passages, one record batch (Arrow IPC file)
      segment-000001.embeddings.npy      float32 [rows, dim], memory-mapped when searched
      segment-000002. ...

The manifest names every file with its size and SHA-256; a file that it does not name is not part of
the index. Format 0 may still change without notice; a later version freezes format 1.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shortlist.errors import DamagedIndexError, IndexFolderError
from shortlist.models.onnx import Precision

FORMAT = 0
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The bi-encoder that made the embeddings: whatever decides a number is in here."""

    name: str
    fingerprint: str
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

    rows: int
    passages: FileRecord
    embeddings: FileRecord


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an index is."""

    model: ModelRecord
    cross_encoder: str | None  # the second stage that the index was made for
    segments: tuple[SegmentRecord, ...] = ()
    cut_passages: int = 0  # passages longer than the model reads
    cut_tokens: int = 0  # tokens of them that it did not see
    source: dict[str, Any] = field(default_factory=dict)  # kind, counts of what was dropped
    created_by: str = ""
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Passages in the index."""
        return sum(segment.rows for segment in self.segments)

    def write(self, folder: Path) -> None:
        """Put the manifest in its place in one step, after the files that it names."""
        draft = folder / (MANIFEST + ".draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / MANIFEST)
        sync_folder(folder)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an index.

        Raises:
            IndexFolderError: no folder, not an index, or of another format.
            DamagedIndexError: the manifest cannot be read as one.
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
            content = json.loads(path.read_text(encoding="utf-8"))
            found = content["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedIndexError(
                f"{path} is not a manifest ({error}); build the index again"
            ) from error
        if found != FORMAT:
            raise IndexFolderError(
                f"{folder} has index format {found}, this version of shortlist reads format "
                f"{FORMAT}; build the index again"
            )
        try:
            return _manifest(content)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedIndexError(
                f"{path} is not a manifest ({error}); build the index again"
            ) from error


def _manifest(content: dict[str, Any]) -> Manifest:
    segments = tuple(
        SegmentRecord(
            rows=int(segment["rows"]),
            passages=FileRecord(**segment["passages"]),
            embeddings=FileRecord(**segment["embeddings"]),
        )
        for segment in content["segments"]
    )
    for segment in segments:
        for file in (segment.passages, segment.embeddings):
            if Path(file.name).name != file.name:  # nothing outside the folder is ever opened
                raise ValueError(f"file name {file.name!r}")
    fields = content | {"model": ModelRecord(**content["model"]), "segments": segments}
    return Manifest(**fields)


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
    return FileRecord(name=path.name, size=path.stat().st_size, sha256=digest)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
