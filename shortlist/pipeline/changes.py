"""Passages added to an index, replaced in it, or deleted from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.errors import DataError, IndexFolderError
from shortlist.models.encoders import Encoder
from shortlist.pipeline.index import Index
from shortlist.pipeline.known import KnownTexts, encode_once
from shortlist.pipeline.stages import model_record, recorded_encoder
from shortlist.pipeline.writer import IndexWriter
from shortlist.pipeline.writing import UniqueIds, as_passages, batches, progress_bar
from shortlist.records import Passage


@dataclass(frozen=True, slots=True)
class Additions:
    """What an addition did, in passages."""

    added: int = 0
    replaced: int = 0  # had the same id, and differed
    unchanged: int = 0  # were there already as they are
    encoded: int = 0  # different texts that had no embedding


def add_passages(
    passages: Iterable[str | Passage],
    path: str | Path,
    encoder: Encoder,
    *,
    replace: bool = False,
    opened: Index | None = None,
    source: Callable[[], dict[str, Any]] | None = None,
    progress: bool | None = False,
) -> Additions:
    """Add passages to an index; searches see them from the next commit on.

    What takes long is committed every few seconds, always whole passages: after an error or a kill
    the same call goes on, for passages that are there already as they are stay so.

    Args:
        passages: as in `RetrieveRerankPipeline.build`.
        path: the index.
        encoder: the one that the index was made with; see `shortlist.pipeline.stages.encoder_of`.
        replace: a passage whose id is there takes the place of that one; else it is an error if
            they differ.
        opened: a state of the index that is open already.
        source: asked at the end for what to record about where the passages came from.
        progress: as in `RetrieveRerankPipeline.build`.

    Raises:
        DataError: an id that is empty, twice in `passages`, or (without `replace`) in the index
            with other contents.
        IndexFolderError: an unfinished index, another encoder, or another process is writing.
        IndexWriteError: the disk is full or the like; what was committed stays.
    """
    added = replaced = unchanged = encoded = 0
    with (
        IndexWriter(Path(path), opened) as writer,
        progress_bar("adding", None, "passages", progress) as bar,
    ):
        check_can_change(writer.index, encoder)
        ids = UniqueIds(writer)
        for batch in batches(as_passages(passages)):
            ids.claim([passage.id for passage in batch])
            places = writer.index.rows_of(passage.id for passage in batch)
            before, known = _there(writer.index, places)
            new = [passage for passage in batch if before.get(passage.id) != passage]
            changed = [passage.id for passage in new if passage.id in before]
            if changed and not replace:
                raise DataError(
                    f"the id {changed[0][:100]!r} is in {path} already, with other contents; to "
                    "replace it: upsert"
                )
            writer.delete([places[name] for name in changed])
            unchanged += len(batch) - len(new)
            bar.update(len(batch) - len(new))
            if not new:
                continue
            rows, count = encode_once(new, encoder, [known], bar.update)
            writer.append(rows)
            writer.commit_if_due()
            added += len(new) - len(changed)
            replaced += len(changed)
            encoded += count
        if source and (added or replaced):
            writer.commit(source=_with_addition(writer.index.manifest.source, source()))
    return Additions(added, replaced, unchanged, encoded)


def delete_passages(
    path: str | Path,
    ids: Sequence[str] = (),
    where: str | None = None,
    *,
    opened: Index | None = None,
) -> tuple[int, list[str]]:
    """Delete passages from an index, all of them in one commit.

    Args:
        path: the index.
        ids: of the passages to delete.
        where: those that meet this as well; see `shortlist.pipeline.filters`.
        opened: a state of the index that is open already.

    Returns:
        How many were deleted, and which ids no passage has.

    Raises:
        UsageError: a `where` that is none, or names an unknown field.
        IndexFolderError: not an index, an unfinished one, or another process is writing.
    """
    with IndexWriter(Path(path), opened) as writer:
        check_complete(writer.index)
        found = writer.index.rows_of(ids)
        rows = np.array(list(found.values()), dtype=np.int64)
        if where is not None:
            met = writer.index.among(where).mask
            assert met is not None  # noqa: S101 - there is one for every expression
            rows = np.union1d(rows, np.flatnonzero(met))
        writer.delete(rows)
    return len(rows), [name for name in dict.fromkeys(ids) if name not in found]


def compact(path: str | Path, *, opened: Index | None = None) -> int:
    """Take back the space of deleted passages, and join small segments.

    Every step is a commit of its own, and needs the room of one segment.

    Returns:
        How many deleted passages were dropped from disk.
    """
    with IndexWriter(Path(path), opened) as writer:
        check_complete(writer.index)
        return writer.compact()


def check_can_change(index: Index, encoder: Encoder) -> None:
    """Refuse to mix embeddings.

    Raises:
        IndexFolderError: the index is unfinished, or was made with another model or precision.
    """
    check_complete(index)
    recorded_encoder(index.path, index.manifest.model, encoder)
    ours, theirs = model_record(encoder).precision, index.manifest.model.precision
    if ours != theirs:
        raise IndexFolderError(
            f"the passages of {index.path} were encoded in {theirs}, the encoder is in {ours}; "
            f"load it with precision={theirs!r}, or build the index again"
        )


def check_complete(index: Index) -> None:
    """Raise IndexFolderError where the build of an index has not come to its end."""
    if not index.manifest.complete:
        raise IndexFolderError(
            f"the index at {index.path} is unfinished; run the same shortlist index again first"
        )


def is_complete(path: Path) -> bool:
    """Whether there is an index whose build has come to its end."""
    try:
        check_complete(Index(path))
    except IndexFolderError:
        return False
    return True


def _there(index: Index, places: Mapping[str, int]) -> tuple[dict[str, Passage], KnownTexts]:
    """What an index has under some ids, at these rows, and the embeddings of that."""
    rows = np.array(list(places.values()), dtype=np.int64)
    passages = index.passages(rows)
    known = KnownTexts(index)
    known.add(passages, rows)
    return {passage.id: passage for passage in passages}, known


def _with_addition(source: dict[str, Any], addition: dict[str, Any]) -> dict[str, Any]:
    return source | {"added": [*source.get("added", []), addition]}
