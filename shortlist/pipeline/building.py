"""A new index, or the rest of one whose making was interrupted.

An index is made in its place, so that what is committed can be searched and is never encoded again.
One that replaces another is made beside it, in ``.NAME.building``, and takes its place in one step
when it is complete.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from shortlist.errors import DataError, IndexFolderError, IndexWriteError
from shortlist.pipeline.engines.derived import keep_engines
from shortlist.pipeline.index import Index, empty_place, refuse_to_replace
from shortlist.pipeline.layout import LOCK, MANIFEST, Manifest, sync_folder
from shortlist.pipeline.lock import WriterLock
from shortlist.pipeline.writer import IndexWriter

logger = logging.getLogger(__name__)


@contextmanager
def building(
    path: Path, manifest: Manifest, *, overwrite: bool = False, resume: bool = True
) -> Iterator[IndexWriter]:
    """Write an index that is complete when the block is left without an error.

    What an interrupted build of the same kind has committed is in `writer.index` at the beginning.
    Left by an error, Ctrl-C included, the index stays unfinished, or away where nothing was
    committed; an index that was to be replaced stays as it is.

    Args:
        path: where to make it.
        manifest: what it is to be; `segments` and the like are the writer's.
        overwrite: replace a complete index that is there already.
        resume: go on with what an interrupted build has committed; else it is dropped.

    Raises:
        IndexFolderError: something is at `path` that must stay, or another process is writing.
        IndexWriteError: it cannot be written there.
    """
    path = path.resolve()  # a link stays what it is: what it points to is written
    refuse_to_replace(path, overwrite)
    in_place = empty_place(path) or _may_go_on(path, manifest, overwrite)
    held = None if in_place else _held(path)
    try:
        writer = _opened(path, manifest) if in_place else _drafted(path, manifest)
        writer.keeps_deleted = True
        try:
            _check_still_unfinished(writer, manifest)
            if not resume:
                writer.keeps_deleted = False
                writer.delete(writer.index.live_rows)
            elif len(writer.index):
                logger.info("going on with %s passages of an interrupted build", len(writer.index))
            writer.commit(**_same_as(manifest))
            yield writer
            if not writer.abandoned:
                _finish(writer, path, overwrite)
        finally:
            _leave(writer)
    finally:
        if held:
            held.release()


def _held(path: Path) -> WriterLock:
    """The lock of an index that is to be replaced: nobody may add to it meanwhile."""
    if path.is_mount():
        raise IndexFolderError(
            f"{path} is a mounted volume, and cannot be replaced in one step; make the index in a "
            "folder inside it"
        )
    return WriterLock(path)


def _may_go_on(path: Path, manifest: Manifest, overwrite: bool) -> bool:
    """Whether an unfinished index is at `path` that this build can go on with.

    Raises:
        IndexFolderError: it is an unfinished index of another kind, and not to be replaced.
    """
    try:
        before = Index(path).manifest
    except IndexFolderError:  # another format, or damaged
        if not overwrite:
            raise
        return False
    if before.complete:
        return False
    why = _differences(before, manifest)
    if why and not overwrite:
        raise IndexFolderError(
            f"there is an unfinished index at {path}, of {before.rows:,} passages, {why}; finish "
            "it in the way it was begun, or replace it with --overwrite (overwrite=True)"
        )
    return not why


def _differences(before: Manifest, now: Manifest) -> str:
    """What keeps a build from going on with an unfinished index; empty if nothing does."""
    if before.model != now.model:
        one, other = before.model, now.model
        return (
            f"made with {one.name} (fingerprint {one.fingerprint}, {one.precision}), not with "
            f"{other.name} (fingerprint {other.fingerprint}, {other.precision})"
        )
    if before.store != now.store:
        return f"made with --store {before.store}, not {now.store}"
    keys = ("name", "kind", "options")
    then, new = ({key: m.source.get(key) for key in keys} for m in (before, now))
    if any(then.values()) and any(new.values()) and then != new:
        return f"made from {_told(then)}, not {_told(new)}"
    return ""


def _told(source: dict[str, object]) -> str:
    options = source.get("options") or {}
    chosen = {k: v for k, v in options.items() if v} if isinstance(options, dict) else {}
    return f"{source['name']} ({source['kind']})" + (f" with {chosen}" if chosen else "")


def _same_as(manifest: Manifest) -> dict[str, object]:
    """The fields that a build may change from one run to the next."""
    return {
        "cross_encoder": manifest.cross_encoder,
        "source": manifest.source,
        "created_by": manifest.created_by,
        "complete": False,
    }


def _opened(path: Path, manifest: Manifest) -> IndexWriter:
    """The writer of the unfinished index at `path`, made there where there is nothing."""
    try:
        if not path.exists():
            _make_draft(path, manifest).rename(path)
            sync_folder(path.parent)
        elif empty_place(path):  # it may be a mounted volume
            lock = WriterLock(path)
            try:
                _first(manifest).write(path)
            finally:
                lock.release()
    except OSError as error:
        raise IndexWriteError(f"cannot write an index at {path}: {error}") from error
    return IndexWriter(path)


def _drafted(path: Path, manifest: Manifest) -> IndexWriter:
    """The writer of the index that is to replace the one at `path`."""
    try:
        return IndexWriter(_make_draft(path, manifest))
    except OSError as error:
        raise IndexWriteError(f"cannot write an index at {path}: {error}") from error


def _draft_of(path: Path) -> Path:
    """Where an index is made that has no place yet."""
    return path.with_name(f".{path.name}.building")


def _make_draft(path: Path, manifest: Manifest) -> Path:
    """Have an unfinished index beside `path`: the one that was left there, or an empty one."""
    draft = _draft_of(path)
    draft.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(draft)
    try:
        if (draft / MANIFEST).exists() and not _may_go_on(draft, manifest, overwrite=True):
            for file in draft.iterdir():
                if file.is_dir():  # engines, or what workers of a cluster wrote
                    shutil.rmtree(file)
                elif file.name != LOCK:
                    file.unlink()
        if not (draft / MANIFEST).exists():
            _first(manifest, path).write(draft)
    finally:
        lock.release()
    return draft


def _first(manifest: Manifest, replaced: Path | None = None) -> Manifest:
    """The first state of a build. The numbers go on from those of the index that is replaced."""
    empty = replace(manifest, complete=False, segments=(), commit=0, next_segment=1)
    try:
        before = Manifest.read(replaced) if replaced else empty
    except IndexFolderError:  # there is none
        return empty
    return replace(empty, commit=before.commit + 1, next_segment=before.next_segment)


def _check_still_unfinished(writer: IndexWriter, manifest: Manifest) -> None:
    """Look again, now that nobody else writes: another build may have come to its end."""
    if writer.index.manifest.complete:
        refuse_to_replace(writer.path, overwrite=False)
    if why := _differences(writer.index.manifest, manifest):
        raise IndexFolderError(f"another build has begun at {writer.path}, {why}")


def _finish(writer: IndexWriter, path: Path, overwrite: bool) -> None:
    """Commit the rest, put the index in its place, and say then that it is complete.

    In that order: a build that is interrupted in between is gone on with, and not made again.
    """
    writer.compact()  # what the source had no more when the build was resumed
    if not len(writer.index):
        raise DataError("there are no passages to index")
    if writer.path != path:
        try:
            refuse_to_replace(path, overwrite)  # something may have come since
            if path.exists():
                _exchange(writer.path, path)
                keep_engines(writer.path, path)  # what fits is found by the embeddings
            else:
                writer.path.rename(path)
            sync_folder(path.parent)
        except OSError as error:
            raise IndexWriteError(f"cannot write the index at {path}: {error}") from error
        writer.moved_to(path)
    writer.commit(complete=True)
    shutil.rmtree(_draft_of(path), ignore_errors=True)  # where the old one is now, if any


def _leave(writer: IndexWriter) -> None:
    """Let others write; an unfinished index without passages is removed."""
    manifest = writer.index.manifest
    if writer.abandoned or (not manifest.complete and not manifest.segments):
        shutil.rmtree(writer.path, ignore_errors=True)
    elif not manifest.complete and writer.path.exists():
        logger.info(
            "%s passages are committed in %s; the same again goes on from there",
            manifest.rows,
            writer.path,
        )
    writer.close()


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step where the system can, so that no moment is without an index."""
    libc = ctypes.CDLL(None, use_errno=True)
    at_cwd, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
    if hasattr(libc, "renameat2"):
        swapped = libc.renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange)
        if swapped == 0:
            return
    aside = one.with_name(one.name + ".replaced")
    shutil.rmtree(aside, ignore_errors=True)  # of a time before, when `other` was not there yet
    other.rename(aside)
    try:
        one.rename(other)
    except BaseException:
        aside.rename(other)
        raise
    aside.rename(one)
