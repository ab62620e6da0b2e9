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
    draft = path.with_name(f".{path.name}.building")
    in_place = empty_place(path) or _may_go_on(path, manifest, overwrite)
    held = None if in_place else WriterLock(path)  # nobody may add to what is about to be replaced
    try:
        writer = _opened(path if in_place else draft, draft, manifest)
        try:
            if not resume:
                writer.truncate(0)
            if len(writer.index):
                logger.info("going on with %s passages of an interrupted build", len(writer.index))
            writer.commit(**_same_as(manifest))
            yield writer
            if not writer.abandoned:
                writer.commit()
                _finish(writer, path, overwrite)
        finally:
            _leave(writer)
    finally:
        if held:
            held.release()


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


def _opened(place: Path, draft: Path, manifest: Manifest) -> IndexWriter:
    """The writer of the unfinished index at `place`, made there where there is none."""
    try:
        if place == draft or empty_place(place):
            _make_draft(draft, manifest)
        if place != draft and empty_place(place):
            draft.rename(place)
            sync_folder(place.parent)
    except OSError as error:
        raise IndexWriteError(f"cannot write an index at {place}: {error}") from error
    return IndexWriter(place)


def _make_draft(draft: Path, manifest: Manifest) -> None:
    """Have an unfinished index at `draft`: the one that was left there, or an empty one."""
    draft.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(draft)
    try:
        if (draft / MANIFEST).exists() and not _may_go_on(draft, manifest, overwrite=True):
            for path in draft.iterdir():
                if path.name != LOCK:
                    path.unlink()
        if not (draft / MANIFEST).exists():
            replace(manifest, complete=False, segments=(), commit=0).write(draft)
    finally:
        lock.release()


def _finish(writer: IndexWriter, path: Path, overwrite: bool) -> None:
    if not len(writer.index):
        raise DataError("there are no passages to index")
    writer.commit(complete=True)
    if writer.path == path:
        return
    try:
        refuse_to_replace(path, overwrite)  # something may have come since
        if path.exists():
            _exchange(writer.path, path)
            shutil.rmtree(writer.path, ignore_errors=True)  # which is the old one now
        else:
            writer.path.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise IndexWriteError(f"cannot write the index at {path}: {error}") from error
    writer.moved_to(path)


def _leave(writer: IndexWriter) -> None:
    """Let others write; an unfinished index without passages is removed."""
    manifest = writer.index.manifest
    if writer.abandoned or (not manifest.complete and not manifest.segments):
        shutil.rmtree(writer.path, ignore_errors=True)
    elif not manifest.complete:
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
    other.rename(aside)
    try:
        one.rename(other)
    except BaseException:
        aside.rename(other)
        raise
    aside.rename(one)
