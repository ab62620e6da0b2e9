"""Writing to an index: whatever is appended or deleted becomes visible in one step, by a commit."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from shortlist.errors import DataError, IndexWriteError
from shortlist.pipeline.arrays import FloatArray, Int64Array, check_embeddings
from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import DRAFT, OURS, STAGING, Manifest, SegmentRecord
from shortlist.pipeline.lock import WriterLock
from shortlist.pipeline.segments import (
    Rows,
    Segment,
    joined,
    moved_segment,
    stored_as,
    weight,
    write_segment,
)
from shortlist.records import Passage

ROWS_PER_SEGMENT = 32_768
BYTES_PER_SEGMENT = 1 << 28  # of passages: a segment of long ones is begun earlier
_NO_ROWS = np.empty(0, dtype=np.int64)
COMMIT_SECONDS = 5.0  # at least so often where passages are encoded


class IndexWriter:
    """The one writer of an index.

    A commit fills up the last segment, or what is left of it, before it begins another one, so
    that many small additions do not make many small segments.

    Use it as a context manager: leaving it by an exception drops what is not committed.

    Args:
        path: an index.
        like: an earlier state of it that is open; what both have in common is not read again.

    Attributes:
        index: the state that was committed last; row numbers are those of it, and those of rows
            that are appended go on from there.
        keeps_deleted: leave rows that were deleted on disk, where `index` finds them by their
            numbers, until `compact`; else a commit may drop them and move the rows behind them.
        abandoned: set by who builds an index, to leave everything as it was before.

    Raises:
        IndexFolderError: not an index, or another process is writing.
        IndexWriteError: it cannot be written to.
    """

    def __init__(self, path: Path, like: Index | None = None) -> None:
        self.path = path.resolve()  # a link stays what it is: what it points to is written
        if not self.path.is_dir():
            Index(self.path)  # which says what is wrong
        self._lock = WriterLock(self.path)
        try:
            self.index = Index(self.path, like=like)
            remove_leftovers(self.path)
            for staging in self.path.glob(STAGING + "*"):  # of workers whose driver was killed
                shutil.rmtree(staging, ignore_errors=True)
        except BaseException:
            self._lock.release()
            raise
        self._passages: list[Passage] = []
        self._embeddings: list[FloatArray] = []  # one a passage
        self._cut_tokens: list[int] = []
        self._weight = 0  # of the passages
        self._deleted: list[Int64Array] = []  # rows of `index`
        self._committed_at = time.monotonic()
        self.keeps_deleted = False
        self.abandoned = False

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()

    def close(self) -> None:
        """Let others write; what is not committed is dropped. A second call does nothing."""
        self._lock.release()

    def moved_to(self, path: Path) -> None:
        """Say that the folder has another name now."""
        self.path = path
        self.index.path = path
        self._lock.moved_to(path)

    def append(self, rows: Rows) -> None:
        """Append passages, to be committed.

        Raises:
            DataError: an empty id, or embeddings that do not fit. That ids are unique is up to the
                caller.
            UsageError: embeddings that float16 cannot hold, in an index that keeps it.
        """
        manifest = self.index.manifest
        embeddings = check_rows(rows, len(self), manifest.model.dim)
        stored_as(manifest.store, embeddings)  # what does not fit is refused here
        self._passages += rows.passages
        self._embeddings.extend(embeddings)
        self._cut_tokens += rows.cut_tokens.tolist()
        self._weight += sum(map(weight, rows.passages))
        if len(self._passages) >= ROWS_PER_SEGMENT or self._weight >= BYTES_PER_SEGMENT:
            self.commit()

    def delete(self, rows: Sequence[int] | Int64Array) -> None:
        """Delete rows of `index`, with the next commit."""
        if len(rows):
            self._deleted.append(np.asarray(rows, dtype=np.int64))

    def __len__(self) -> int:
        return self.index.stored_rows + len(self._passages)

    @property
    def waiting(self) -> Sequence[Passage]:
        """What is appended and not committed yet."""
        return self._passages

    def passages(self, rows: Int64Array) -> list[Passage]:
        """Passages by their rows, those that are not committed yet too."""
        first = self.index.stored_rows
        committed = iter(self.index.passages(rows[rows < first]))
        return [next(committed) if r < first else self._passages[r - first] for r in rows]

    def vectors(self, rows: Int64Array) -> FloatArray:
        """Embeddings float32 `[len(rows), dim]` by their rows, those not committed yet too."""
        first = self.index.stored_rows
        found = np.empty((len(rows), self.index.manifest.model.dim), dtype=np.float32)
        found[rows < first] = self.index.vectors(rows[rows < first])
        for place in np.flatnonzero(rows >= first):
            found[place] = self._embeddings[rows[place] - first]
        return found

    def cut_tokens(self, rows: Int64Array) -> Int64Array:
        """Tokens that the model did not read of the passages at these rows, likewise."""
        first = self.index.stored_rows
        found = np.empty(len(rows), dtype=np.int64)
        found[rows < first] = self.index.cut_tokens(rows[rows < first])
        for place in np.flatnonzero(rows >= first):
            found[place] = self._cut_tokens[rows[place] - first]
        return found

    def commit_if_due(self) -> None:
        """Commit what took long to make."""
        if time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self.commit()

    def commit(self, **changes: Any) -> None:
        """Make everything that was appended and deleted visible, and safe.

        Args:
            changes: other fields of the manifest.

        Raises:
            IndexWriteError: the disk is full or the like; the index is as it was.
        """
        self._committed_at = time.monotonic()
        if not (self._passages or self._deleted or changes):
            return
        parts = self._parts()
        with self._committing():
            waiting = [*self._to_fill_up(parts), self._waiting()] if self._passages else []
            added = self._written(waiting)
            records = [self._record(segment, deleted) for segment, deleted in parts]
            self._publish([*records, *added], changes)
        self._passages, self._embeddings, self._cut_tokens = [], [], []
        self._deleted, self._weight = [], 0

    def adopt(self, folder: Path, record: SegmentRecord) -> None:
        """Commit a segment that was written to another folder of the same disk; it is moved.

        Args:
            folder: where it is.
            record: as `write_segment` returned it.

        Raises:
            IndexWriteError: it cannot be moved, or the manifest not be written.
        """
        self.commit()  # what was appended comes first
        with self._committing():
            moved = moved_segment(folder, self.path, record, self._next_segment)
            self._next_segment += 1
            self._publish([*(segment.record for segment in self.index.segments), moved], {})

    def rewrite(self, made: Mapping[int, Sequence[Rows]]) -> None:
        """Put other rows in the place of some segments, by their number; one commit.

        Args:
            made: the rows of each, one after the other; none drops the segment.
        """
        with self._committing():
            records = list[SegmentRecord]()
            for number, segment in enumerate(self.index.segments):
                if number not in made:
                    records.append(segment.record)
                else:
                    records += self._written(made[number])
            self._publish(records, {})

    def compact(self) -> int:
        """Drop deleted rows for good, and join small segments: one commit for each that is made.

        Returns:
            How many rows were dropped.
        """
        self.commit()
        before = self.index.stored_rows
        place = 0
        while place < len(self.index.segments):
            group = _that_fit_together(self.index.segments[place:])
            left = [segment for segment in group if len(segment.deleted) < segment.record.rows]
            if len(group) > 1 or len(group[0].deleted):
                others = {place + number: () for number in range(1, len(group))}
                self.rewrite({place: [segment.live_rows() for segment in left], **others})
            place += bool(left)
        return before - self.index.stored_rows

    def _parts(self) -> list[tuple[Segment, Int64Array]]:
        """The committed segments that have rows left, and which rows of each are deleted by now."""
        gone = np.unique(np.concatenate([_NO_ROWS, *self._deleted]))
        within = {number: rows for number, _, rows in self.index.by_segment(gone)}
        parts = [
            (segment, np.union1d(segment.deleted, within.get(number, _NO_ROWS)))
            for number, segment in enumerate(self.index.segments)
        ]
        return [
            (segment, gone)
            for segment, gone in parts
            if self.keeps_deleted or len(gone) < segment.record.rows
        ]

    def _to_fill_up(self, parts: list[tuple[Segment, Int64Array]]) -> list[Rows]:
        """Take the last segment off where it has room for more: what is left in it."""
        if not parts:
            return []
        segment, deleted = parts[-1]
        is_full = segment.record.rows - len(deleted) >= ROWS_PER_SEGMENT or _is_heavy(segment)
        if is_full or (self.keeps_deleted and len(deleted)):
            return []
        parts.pop()
        return [segment.live_rows(deleted)]

    def _waiting(self) -> Rows:
        cut = np.array(self._cut_tokens, dtype=np.int64)
        return Rows(self._passages, np.stack(self._embeddings), cut)

    def _written(self, rows: Sequence[Rows]) -> list[SegmentRecord]:
        """Write rows as new segments."""
        records = []
        for part in _cut_into_segments(joined(rows)) if rows else ():
            records.append(
                write_segment(self.path, self._next_segment, part, self.index.manifest.store)
            )
            self._next_segment += 1
        return records

    def _record(self, segment: Segment, deleted: Int64Array) -> SegmentRecord:
        """The record of a committed segment with these rows deleted."""
        if len(deleted) == len(segment.deleted):
            return segment.record
        return segment.record.with_deleted(deleted, segment.cut_tokens)

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """What fails leaves the index as it was, and no file of its own."""
        self._next_segment = self.index.manifest.next_segment
        try:
            yield
        except OSError as error:
            raise IndexWriteError(f"cannot write the index at {self.path}: {error}") from error
        finally:
            remove_leftovers(self.path)

    def _publish(self, records: Sequence[SegmentRecord], changes: Mapping[str, Any]) -> None:
        before = self.index.manifest
        manifest = replace(
            before,
            segments=tuple(records),
            commit=before.commit + 1,
            next_segment=self._next_segment,
            **changes,
        )
        manifest.write(self.path)
        self.index = self.index.followed_by(manifest)


def check_rows(rows: Rows, first: int, dim: int) -> FloatArray:
    """The embeddings of passages that may go into an index.

    Args:
        rows: the passages.
        first: the number of the first one, for the messages.
        dim: of the model.

    Raises:
        DataError: an empty id, or embeddings of another shape, not finite, or all zeros.
    """
    embeddings = check_embeddings(rows.embeddings, f"embeddings of passages from {first}")
    expected = (len(rows.passages), dim)
    if embeddings.shape != expected:
        raise DataError(
            f"got embeddings of shape {embeddings.shape} for {len(rows.passages)} passages, "
            f"expected {expected}"
        )
    lengths = np.einsum("ij,ij->i", embeddings, embeddings)
    for row in np.flatnonzero(lengths == 0):
        raise DataError(f"the embedding of passage number {first + row} is all zeros")
    for number, passage in enumerate(rows.passages, first):
        if not passage.id:
            raise DataError(f"passage number {number} has an empty id; give every passage one")
    return embeddings


def remove_leftovers(folder: Path) -> None:
    """Remove what the manifest does not name: of commits that failed, or that others followed.

    The manifest on disk decides: Ctrl-C may have come when it was there already.
    """
    named = {file.name for file in Manifest.read(folder).files}
    for path in [*folder.glob(OURS), folder / DRAFT]:
        if path.name not in named:
            path.unlink(missing_ok=True)


def _is_heavy(segment: Segment) -> bool:
    return segment.record.passages.size >= BYTES_PER_SEGMENT


def _that_fit_together(segments: Sequence[Segment]) -> Sequence[Segment]:
    """As many segments from the first on as one segment can hold."""
    rows = bytes_ = count = 0
    for segment in segments:
        rows += segment.record.rows - len(segment.deleted)
        bytes_ += segment.record.passages.size
        if count and (rows > ROWS_PER_SEGMENT or bytes_ > BYTES_PER_SEGMENT):
            break
        count += 1
    return segments[:count]


def _cut_into_segments(rows: Rows) -> Iterator[Rows]:
    start = size = 0
    for stop, passage in enumerate(rows.passages, 1):
        size += weight(passage)
        full = stop - start == ROWS_PER_SEGMENT or size >= BYTES_PER_SEGMENT
        if full or stop == len(rows.passages):
            part = slice(start, stop)
            yield Rows(rows.passages[part], rows.embeddings[part], rows.cut_tokens[part])
            start, size = stop, 0
