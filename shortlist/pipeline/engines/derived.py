"""What engines leave beside an index: files that can be made again, each with its checksum.

``INDEX/engines/NAME.json`` says what there is and is put in its place in one step, after the folder
of files that it names, ``INDEX/engines/NAME-NUMBER/``. A library's native code opens nothing of it
before its size and SHA-256 were compared. The index itself does not need any of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shortlist.errors import DamagedIndexError
from shortlist.pipeline.layout import FileRecord, file_record, sync_folder
from shortlist.pipeline.lock import WriterLock

ENGINES = "engines"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
    """An engine as it was saved.

    Attributes:
        engine: its name.
        number: of its folder.
        library: with its version.
        model: fingerprint of the bi-encoder that made the embeddings.
        settings: how it was built.
        segments: that the labels name; see `shortlist.pipeline.engines.labels`.
        largest: of its `Space`.
        files: of its folder, by their path there.
        measured: the fields of each `Measured`.
    """

    engine: str
    number: int
    library: str
    model: str
    settings: Mapping[str, Any]
    segments: tuple[str, ...] = ()
    largest: float | None = None
    files: tuple[FileRecord, ...] = ()
    measured: tuple[Mapping[str, Any], ...] = ()
    format: int = FORMAT

    def folder(self, index: Path) -> Path:
        """Where its files are."""
        return index / ENGINES / f"{self.engine}-{self.number:06}"

    @property
    def bytes(self) -> int:
        """What its files take on disk."""
        return sum(file.size for file in self.files)


def saved_engines(index: Path) -> list[str]:
    """Names of the engines that are beside an index."""
    return sorted(path.stem for path in (index / ENGINES).glob("*.json"))


def saved_records(index: Path) -> list[EngineRecord]:
    """What engines are beside an index.

    Raises:
        DamagedIndexError: a record is not the one that was written.
    """
    return [record for name in saved_engines(index) if (record := read_record(index, name))]


def read_record(index: Path, engine: str) -> EngineRecord | None:
    """What is beside an index of an engine; None where there is nothing.

    Raises:
        DamagedIndexError: the record is not the one that was written.
    """
    path = _record_path(index, engine)
    try:
        content = json.loads(path.read_bytes())
        digest = content.pop("sha256")
        if content.get("format") != FORMAT:
            return None  # of another version of shortlist: made again
        if _digest(content) != digest:
            raise DamagedIndexError(f"{path} is not what was written (its SHA-256 differs)")
        files = tuple(FileRecord(**file) for file in content.pop("files"))
        record = EngineRecord(
            files=files,
            segments=tuple(content.pop("segments")),
            measured=tuple(content.pop("measured")),
            **content,
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedIndexError(f"{path} cannot be read: {error}") from error
    for file in files:
        if Path(file.name).is_absolute() or ".." in Path(file.name).parts:
            raise DamagedIndexError(f"{path} names a file outside of its folder: {file.name!r}")
    return record


def check_files(record: EngineRecord, index: Path) -> None:
    """Compare every file of an engine with what was written.

    Raises:
        DamagedIndexError: one is missing, or differs; it is named.
    """
    folder = record.folder(index)
    there = set(_files_in(folder))
    for file in record.files:
        path = folder / file.name
        try:
            if path.stat().st_size != file.size or file_record(path).sha256 != file.sha256:
                raise DamagedIndexError(f"{path} is not what was written")
        except OSError as error:
            raise DamagedIndexError(f"{path} cannot be read: {error.strerror or error}") from error
        there.discard(file.name)
    if there:
        raise DamagedIndexError(f"{folder} has files that nobody wrote: {', '.join(sorted(there))}")


def write_engine(
    index: Path,
    name: str,
    save: Callable[[Path], object],
    described: Callable[..., EngineRecord],
) -> EngineRecord:
    """Save an engine beside an index, in the place of the one that is there.

    Args:
        index: the folder of the index.
        name: of the engine.
        save: writes its files into an empty folder.
        described: the record, but for its files, given the `number` of its folder.

    Raises:
        OSError: no space, or no right to write; what was there stays.
    """
    place = index / ENGINES
    place.mkdir(exist_ok=True)
    taken = [int(path.name.rpartition("-")[2]) for path in _folders(place, name)]
    record = described(number=max(taken, default=0) + 1)
    folder = record.folder(index)
    try:
        folder.mkdir()
        save(folder)
        names = sorted(_files_in(folder))
        files = []
        for inside in names:
            with (folder / inside).open("rb") as file:
                os.fsync(file.fileno())
            found = file_record(folder / inside)
            files.append(FileRecord(name=inside, size=found.size, sha256=found.sha256))
        record = replace(record, files=tuple(files))
        write_record(index, record)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for other in _folders(place, name):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return record


def write_record(index: Path, record: EngineRecord) -> None:
    """Put a record in its place in one step."""
    path = _record_path(index, record.engine)
    content = json.loads(json.dumps(asdict(record)))
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content | {"sha256": _digest(content)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def keep_engines(old: Path, new: Path) -> None:
    """Put the engines of an index beside the one that has taken its place.

    They know their vectors again, if the same model made the embeddings; else they are made anew.
    """
    with suppress(OSError):  # there are none
        (old / ENGINES).rename(new / ENGINES)


@contextmanager
def engine_lock(index: Path) -> Iterator[None]:
    """One process at a time writes engines.

    Raises:
        IndexFolderError: another one does.
        IndexWriteError: the folder cannot be written to.
    """
    place = index / ENGINES
    try:
        place.mkdir(exist_ok=True)
    except OSError:
        place = index  # the lock says what is wrong
    lock = WriterLock(place)
    try:
        yield
    finally:
        lock.release()


def _record_path(index: Path, name: str) -> Path:
    return index / ENGINES / f"{name}.json"


def _folders(place: Path, name: str) -> list[Path]:
    digits = "[0-9]" * 6
    return sorted(place.glob(f"{name}-{digits}"))


def _files_in(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
