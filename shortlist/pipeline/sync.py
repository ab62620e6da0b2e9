"""An index made equal to what a collection holds now, without encoding again what it has already.

The new index is written beside the old one and takes its place in one step: a search sees the old
state or the new one. A sync that is interrupted changes nothing, and what it has encoded is there
for the next one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

import shortlist
from shortlist.errors import IndexFolderError
from shortlist.models.encoders import Encoder
from shortlist.pipeline.building import building
from shortlist.pipeline.changes import check_can_change
from shortlist.pipeline.index import Index
from shortlist.pipeline.known import KnownTexts
from shortlist.pipeline.segments import Rows
from shortlist.pipeline.writing import PASSAGES_AT_ONCE, as_passages, progress_bar, write_encoded
from shortlist.records import Passage


@dataclass(frozen=True, slots=True)
class Changes:
    """What a sync did, in documents (a passage that was not cut from one is its own)."""

    added: int
    replaced: int
    deleted: int
    unchanged: int
    kept: int  # cannot be read now, and stay as they were
    encoded: int  # passages

    def __bool__(self) -> bool:
        return bool(self.added or self.replaced or self.deleted)


def sync(
    passages: Iterable[str | Passage],
    path: str | Path,
    encoder: Encoder,
    *,
    unreadable: Callable[[str], bool] | None = None,
    force: bool = False,
    source: Callable[[], dict[str, Any]] | None = None,
    progress: bool | None = False,
) -> Changes:
    """Make the index at `path` hold exactly these passages.

    Args:
        passages: everything that the collection holds now; read as a stream.
        path: an index made with `encoder`.
        encoder: see `shortlist.pipeline.stages.encoder_of`.
        unreadable: asked, when all passages were read, whether a document is still there and only
            could not be read: what the index has of it is kept.
        force: delete more than half of the documents if it must be.
        source: as in `RetrieveRerankPipeline.build`.
        progress: as in `RetrieveRerankPipeline.build`.

    Returns:
        The changes; where there are none, the index is not touched.

    Raises:
        IndexFolderError: `encoder` has another precision than the passages of the index, or more
            than half of the documents would be deleted, and not `force`: it may
            be another collection.
        DataError: no passages at all, or ids that are empty or not unique.
    """
    path = Path(path).resolve()
    opened = Index(path)
    check_can_change(opened, encoder)
    now: dict[str, bytes] = {}
    manifest = replace(
        opened.manifest,
        created_by=f"shortlist {shortlist.__version__}",
        source=source() if source else opened.manifest.source,
    )
    with (
        building(path, manifest, overwrite=True) as writer,
        progress_bar("syncing", None, "passages", progress) as bar,
    ):
        old = Index(path, like=opened)  # nobody else writes from here on
        before = dict[str, bytes]()
        known = KnownTexts(old)
        known.add(_digested(old.all_passages(), before), old.live_rows)
        stream = _digested(as_passages(passages), now)
        count = write_encoded(writer, stream, encoder, bar, [known])
        kept = {d for d in before.keys() - now.keys() if unreadable and unreadable(d)}
        for rows in _rows_of(old, kept):
            writer.append(rows)
        changes = _compared(before, now, kept, count)
        if (now or kept) and not force and 2 * changes.deleted > len(before):
            raise IndexFolderError(
                f"{changes.deleted} of the {len(before)} documents of {path} are not in this "
                "collection; is it another one? If they are to be deleted: --force"
            )
        if now and not changes:
            writer.abandoned = True
        else:
            writer.commit(source=source() if source else old.manifest.source)
    return changes


def _digested(passages: Iterator[Passage], documents: dict[str, bytes]) -> Iterator[Passage]:
    """Pass passages on, and keep what each document consists of, as a digest."""
    for passage in passages:
        before = documents.get(passage.document, b"")
        documents[passage.document] = _chained(before, passage)
        yield passage


def _chained(before: bytes, passage: Passage) -> bytes:
    fields = [passage.id, passage.title, passage.section, passage.text, passage.offset]
    content = json.dumps([*fields, dict(passage.metadata)], sort_keys=True)
    return blake2b(before + content.encode(), digest_size=12).digest()


def _compared(
    before: dict[str, bytes], now: dict[str, bytes], kept: set[str], encoded: int
) -> Changes:
    unchanged = sum(before.get(document) == digest for document, digest in now.items())
    both = len(before.keys() & now.keys())
    return Changes(
        added=len(now) - both,
        replaced=both - unchanged,
        deleted=len(before) - both - len(kept),
        unchanged=unchanged,
        kept=len(kept),
        encoded=encoded,
    )


def _rows_of(index: Index, documents: set[str]) -> Iterator[Rows]:
    """Yield what an index has of some documents, in batches."""
    if not documents:
        return
    places = zip(index.live_rows, index.all_passages(), strict=True)
    rows = np.array([row for row, passage in places if passage.document in documents])
    for start in range(0, len(rows), PASSAGES_AT_ONCE):
        part = rows[start : start + PASSAGES_AT_ONCE]
        yield Rows(index.passages(part), index.vectors(part), index.cut_tokens(part))
