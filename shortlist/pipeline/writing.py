"""Passages -> embeddings -> an index: encoded, or taken from vectors that the user brings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from tqdm import tqdm

from shortlist.data.ids import HashedRows, fingerprint
from shortlist.errors import DataError, UsageError
from shortlist.models.encoders import Encoder, unit_length
from shortlist.pipeline.arrays import check_embeddings
from shortlist.pipeline.known import KnownTexts, encode_once
from shortlist.pipeline.segments import Rows, weight
from shortlist.pipeline.stages import check_function
from shortlist.pipeline.vectors import SAMPLE, OwnVectors, check_same_model
from shortlist.pipeline.writer import ROWS_PER_SEGMENT, IndexWriter
from shortlist.records import Passage

PASSAGES_AT_ONCE = 1024  # encoded together: enough to sort by length, soon committed
BYTES_AT_ONCE = 1 << 24  # of their texts and metadata: fewer passages where they are long
QUIET_SECONDS = 2.0  # a progress bar appears on what takes longer


def write_encoded(
    writer: IndexWriter,
    passages: Iterable[Passage],
    encoder: Encoder,
    bar: Any,
    known: Iterable[KnownTexts] = (),
) -> int:
    """Make a new index hold these passages, going on with what `writer` has of them already.

    What it has is compared with the first passages. From the first one that differs on the source
    has changed since, and of what is committed only embeddings of texts that come again are used.

    Args:
        writer: of an index that is being built.
        passages: all that it is to hold, checked records.
        encoder: makes the embeddings; every different text is encoded once.
        bar: told of so many passages more.
        known: other embeddings of that encoder.

    Returns:
        How many texts were encoded.

    Raises:
        DataError: an id that is empty or not unique; both places are named.
        IndexFolderError: a function that does not make the embeddings that are committed.
    """
    check_function(writer.index, encoder)  # it may have been mended since
    ids = UniqueIds(writer)
    own = KnownTexts(writer)
    stores = [own, *known]
    count = 0
    for batch in batches(_not_committed(writer, iter(passages), ids, own, bar)):
        ids.claim([passage.id for passage in batch])
        rows, encoded = encode_once(batch, encoder, stores, bar.update)
        count += encoded
        own.add(batch, range(len(writer), len(writer) + len(batch)))
        writer.append(rows)
        writer.commit_if_due()
    return count


def _not_committed(
    writer: IndexWriter, stream: Iterator[Passage], ids: UniqueIds, own: KnownTexts, bar: Any
) -> Iterator[Passage]:
    """Draw the passages that are committed, and yield those that come after them.

    What is committed and comes no more is deleted, and stays on disk until the end: its embeddings
    are used where its texts come again, in this run or the next.
    """
    before = writer.index
    committed = before.live_rows
    compared, rest = 0, list[Passage]()
    while compared < len(committed) and not rest:
        rows = committed[compared : compared + PASSAGES_AT_ONCE]
        there = before.passages(rows)
        now = list(islice(stream, len(rows)))
        same = next((i for i, p in enumerate(there) if now[i : i + 1] != [p]), len(there))
        ids.claim([passage.id for passage in now[:same]])
        own.add(now[:same], rows[:same])
        bar.update(same)
        compared += same
        rest = now[same:]
        if same < len(there):
            writer.delete(committed[compared:])
            break
    others = np.setdiff1d(np.arange(before.stored_rows), committed[:compared])
    for start in range(0, len(others), PASSAGES_AT_ONCE):
        part = others[start : start + PASSAGES_AT_ONCE]
        own.add(before.passages(part), part)
    yield from rest
    yield from stream


def write_vectors(
    writer: IndexWriter,
    passages: Iterable[Passage],
    vectors: OwnVectors,
    encoder: Encoder,
    bar: Any,
) -> None:
    """Take each passage's embedding from the user's vectors, and check a sample of every batch.

    Raises:
        DataError: vectors of another model or dimension, or that do not match the passages; an id
            that is empty or not unique.
    """
    if vectors.dim != encoder.dim:
        raise DataError(
            f"the embeddings have {vectors.dim} dimensions, those of {encoder.name} {encoder.dim}; "
            "name the model that made them: queries are encoded with it"
        )
    ids = UniqueIds(writer)
    places: list[int] = []  # of each passage that was drawn and not written yet
    drawn = (_noted(place, places, passage) for passage, place in vectors.matched(passages))
    for batch in batches(drawn, ROWS_PER_SEGMENT):
        rows = np.array(places)
        places.clear()
        ids.claim([passage.id for passage in batch])
        embeddings = check_embeddings(vectors.embeddings[rows], "own embeddings")
        sample = np.linspace(0, len(batch) - 1, min(SAMPLE, len(batch))).astype(int)
        texts = [batch[i].model_text for i in sample]
        check_same_model(encoder, texts, embeddings[sample], "the embeddings")
        if encoder.metric == "cosine":
            embeddings = unit_length(embeddings)
        writer.append(Rows(batch, embeddings, np.zeros(len(batch), dtype=np.int64)))
        writer.commit_if_due()
        bar.update(len(batch))


def _noted(place: int, places: list[int], passage: Passage) -> Passage:
    places.append(place)
    return passage


def batches(passages: Iterable[Passage], count: int | None = None) -> Iterator[list[Passage]]:
    """Passages that are encoded together: many short ones, few long ones."""
    most = count or PASSAGES_AT_ONCE
    batch: list[Passage] = []
    size = 0
    for passage in passages:
        batch.append(passage)
        size += weight(passage)
        if len(batch) == most or size >= BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class UniqueIds:
    """Refuses ids that are empty, or that stand for two of the passages that are being written.

    In few bytes an id: where the hash of one was there before, `writer` is asked for the id.
    """

    def __init__(self, writer: IndexWriter) -> None:
        self._writer = writer
        self._numbers = HashedRows()
        self._count = 0

    def claim(self, ids: Sequence[str]) -> None:
        """Take the ids of the next passages.

        Raises:
            DataError: an id is empty, or was there before; both places are named.
        """
        batch: set[str] = set()
        for number, name in enumerate(ids, self._count):
            if not name:
                raise DataError(f"passage number {number} has an empty id; give every passage one")
            key = fingerprint(name)
            before = self._numbers.get(key)
            # Two ids may share a hash, and nothing is wrong then
            if before >= 0 and (name in batch or self._is_written(name)):
                raise DataError(
                    f"the id {_short(name)} of passage number {number} is that of passage "
                    f"number {before}; ids must be unique"
                )
            self._numbers.add(key, number)
            batch.add(name)
        self._count += len(ids)

    def _is_written(self, passage_id: str) -> bool:
        waiting = (passage.id for passage in self._writer.waiting)
        return passage_id in waiting or bool(self._writer.index.rows_of([passage_id]))


def _short(identifier: str) -> str:
    return repr(identifier if len(identifier) <= 100 else identifier[:100] + "...")


def as_passages(passages: Iterable[str | Passage]) -> Iterator[Passage]:
    """Texts (their ids are "0", "1", ...) and `Passage` records, as they will be read back.

    A lone surrogate in a text is no UTF-8, and becomes "?".

    Raises:
        UsageError: something else; its number is named.
    """
    if isinstance(passages, str):
        raise UsageError("passages must be several texts or Passage records, got one text")
    for number, item in enumerate(passages):
        if isinstance(item, Passage):
            yield _plain(item, number)
        elif isinstance(item, str):
            yield Passage(id=str(number), text=_utf8(item))
        else:
            raise UsageError(
                f"passage number {number} is a {type(item).__name__}; expected a text or a Passage"
            )


def _plain(passage: Passage, number: int) -> Passage:
    texts = (passage.id, passage.text, passage.title, passage.section, passage.document_id)
    if not all(isinstance(text, str) for text in texts):
        raise UsageError(f"passage number {number}: its texts must be strings, got {passage}")
    changes: dict[str, Any] = {}
    if not all(map(str.isascii, texts)):
        names = ("id", "text", "title", "section", "document_id")
        changes = {name: _utf8(text) for name, text in zip(names, texts, strict=True)}
    if passage.metadata:
        try:
            changes["metadata"] = json.loads(json.dumps(dict(passage.metadata), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(
                f"passage number {number}: its metadata must be what JSON can hold ({error})"
            ) from error
    return replace(passage, **changes) if changes else passage


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def progress_bar(what: str, total: int | None, unit: str, progress: bool | None) -> Any:
    """A bar on stderr for what takes longer than two seconds; None: only on a terminal."""
    disable = None if progress is None else not progress
    return tqdm(total=total, desc=what, unit=f" {unit}", delay=QUIET_SECONDS, disable=disable)
