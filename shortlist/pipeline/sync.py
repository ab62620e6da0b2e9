"""An index made equal to what a collection holds now, without encoding again what it has already.

The new index is written beside the old one and takes its place in one step: a search sees the old
state or the new one, and a sync that is interrupted changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import shortlist
from shortlist.data.ids import fingerprint
from shortlist.errors import IndexFolderError
from shortlist.models.bi_encoder import BiEncoder
from shortlist.models.encoders import Encoder
from shortlist.pipeline.index import Index, IndexWriter
from shortlist.pipeline.layout import Manifest
from shortlist.pipeline.stages import model_record
from shortlist.pipeline.topk import FloatArray
from shortlist.pipeline.writing import PASSAGES_AT_ONCE, Batch, Cuts, as_passages, progress_bar
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
    path = Path(path)
    old = Index(path)
    _check_precision(old, encoder)
    known = _Known(old)
    now: dict[str, bytes] = {}
    cuts = Cuts()
    count = 0
    manifest = Manifest(
        model=old.manifest.model,
        cross_encoder=old.manifest.cross_encoder,
        created_by=f"shortlist {shortlist.__version__}",
    )
    with (
        IndexWriter(path, manifest, overwrite=True) as writer,
        progress_bar("syncing", None, "passages", progress) as bar,
    ):
        stream = _digested(as_passages(passages), now)
        while batch := list(islice(stream, PASSAGES_AT_ONCE)):
            embeddings, missing = known.embeddings_of(batch)
            _count_cuts(encoder, batch, missing, cuts)
            if len(missing):
                texts = [batch[i].model_text for i in missing]
                embeddings[missing] = encoder.encode_passages(texts, on_cut=cuts.count)
                count += len(missing)
            bar.update(len(batch))
            writer.add(batch, embeddings)
        before = known.documents
        kept = {d for d in before.keys() - now.keys() if unreadable and unreadable(d)}
        for batch, embeddings in known.rows_of(kept):
            writer.add(batch, embeddings)
        changes = _compared(before, now, kept, count)
        if now and not force and 2 * changes.deleted > len(before):
            raise IndexFolderError(
                f"{changes.deleted} of the {len(before)} documents of {path} are not in this "
                "collection; is it another one? If they are to be deleted: --force"
            )
        writer.manifest = replace(
            writer.manifest,
            cut_passages=cuts.passages,
            cut_tokens=cuts.tokens,
            source=source() if source else old.manifest.source,
        )
        if now and not changes:
            writer.abandon()
    return changes


def _check_precision(index: Index, encoder: Encoder) -> None:
    ours, theirs = model_record(encoder).precision, index.manifest.model.precision
    if ours != theirs:
        raise IndexFolderError(
            f"the passages of {index.path} were encoded in {theirs}, the encoder is in {ours}; "
            f"load it with precision={theirs!r}, or build the index again"
        )


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


def _count_cuts(
    encoder: Encoder, batch: list[Passage], missing: NDArray[np.int64], cuts: Cuts
) -> None:
    """Count what the model did not read of the texts that are not encoded again."""
    if not isinstance(encoder, BiEncoder):
        return
    reused = np.setdiff1d(np.arange(len(batch)), missing)
    for tokens in encoder.count_tokens([batch[i].model_text for i in reused]):
        if tokens > encoder.max_tokens:
            cuts.count(tokens - encoder.max_tokens)


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


class _Known:
    """The embeddings that an index has, found by the text that they were made from."""

    def __init__(self, index: Index) -> None:
        self._index = index
        keys = np.empty(len(index), dtype=np.uint64)
        self.documents: dict[str, bytes] = {}  # the digest of each
        for row, passage in enumerate(_digested(index.all_passages(), self.documents)):
            keys[row] = fingerprint(passage.model_text)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def rows_of(self, documents: set[str]) -> Iterator[Batch]:
        """Yield the passages of some documents with their embeddings, in batches."""
        rows = [
            row
            for row, passage in enumerate(self._index.all_passages() if documents else ())
            if passage.document in documents
        ]
        for start in range(0, len(rows), PASSAGES_AT_ONCE):
            part = np.array(rows[start : start + PASSAGES_AT_ONCE])
            yield self._index.passages(part), self._index.vectors(part)

    def embeddings_of(self, batch: list[Passage]) -> tuple[FloatArray, NDArray[np.int64]]:
        """Return embeddings `[len(batch), dim]`, and the numbers of those that are missing."""
        wanted = np.array([fingerprint(passage.model_text) for passage in batch], dtype=np.uint64)
        places = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        hits = np.flatnonzero(self._keys[places] == wanted)
        rows = self._order[places[hits]]
        # 64 bits of hash may lie: the text decides
        same = np.array(
            [
                found.model_text == batch[number].model_text
                for number, found in zip(hits, self._index.passages(rows), strict=True)
            ],
            dtype=bool,
        )
        hits, rows = hits[same], rows[same]
        embeddings = np.zeros((len(batch), self._index.manifest.model.dim), dtype=np.float32)
        embeddings[hits] = self._index.vectors(rows)
        return embeddings, np.setdiff1d(np.arange(len(batch)), hits)
