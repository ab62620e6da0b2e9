"""Whether an index is what was committed, and putting right what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shortlist.errors import DamagedIndexError, IndexFolderError, IndexWriteError
from shortlist.models.encoders import Encoder
from shortlist.pipeline.changes import Additions, add_passages
from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import Manifest, SegmentRecord
from shortlist.pipeline.lock import WriterLock
from shortlist.pipeline.segments import Rows, Segment, SegmentPassages, check_file, write_segment
from shortlist.pipeline.vectors import LEAST_COSINE, cosines_to
from shortlist.pipeline.writer import IndexWriter, remove_leftovers
from shortlist.pipeline.writing import as_passages, batches
from shortlist.records import Passage

LOST = "lost"  # in the manifest's `source`: passages that were dropped, and not restored yet
SAMPLE = 256  # passages encoded again, spread over all segments
LEAST_OF_A_SEGMENT = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """A file of an index that is not what it should be."""

    file: str
    rows: int  # passages that it concerns
    what: str
    is_lost: bool  # nothing that is left could make the file again


def faults_of(
    path: str | Path,
    encoder: Encoder | None = None,
    *,
    on_segment: Callable[[int], object] | None = None,
) -> list[Fault]:
    """Read every file of an index, and encode a sample of its passages again.

    Args:
        path: the index.
        encoder: the one that made it; None to compare checksums only.
        on_segment: told 1 for each segment that was looked at.

    Returns:
        What is wrong, in the order of the segments; nothing where all is well.

    Raises:
        IndexFolderError: not an index.
        DamagedIndexError: the manifest itself is damaged.
    """
    path = Path(path)
    manifest = Manifest.read(path)
    found = []
    each = max(LEAST_OF_A_SEGMENT, SAMPLE // max(1, len(manifest.segments)))
    for record in manifest.segments:
        try:
            fault = _damage(path, manifest, record)
            if fault is None and encoder is not None:
                fault = _mismatch(path, manifest, record, encoder, each)
        except DamagedIndexError as error:  # a file that was there a moment ago
            rows = record.rows - record.deleted_rows
            fault = Fault(record.passages.name, rows, str(error), is_lost=True)
        found += [fault] if fault else []
        if on_segment:
            on_segment(1)
    # Somebody may have written meanwhile, and removed what was looked at
    named = {file.name for file in Manifest.read(path).files} if found else set()
    return [fault for fault in found if fault.file in named]


def repair(
    path: str | Path,
    encoder: Encoder,
    faults: Sequence[Fault],
    *,
    drop_lost: bool = False,
    on_passages: Callable[[int], object] | None = None,
) -> int:
    """Encode the passages of bad segments again; one commit for each segment.

    Args:
        path: the index.
        encoder: the one that made it.
        faults: what `faults_of` found.
        drop_lost: drop segments whose texts are lost, to `restore` their passages then; else they
            stay as they are, and the index cannot be opened. The manifest remembers how many
            passages are lost (`lost` in its `source`).
        on_passages: told of so many passages more as they are encoded.

    Returns:
        How many passages were encoded.

    Raises:
        IndexFolderError: another process is writing, or has changed the index since.
        IndexWriteError: the disk is full or the like.
    """
    path = Path(path)
    encoded = 0
    lock = WriterLock(path)
    try:
        remove_leftovers(path)
        for fault in faults:
            if fault.is_lost and not drop_lost:
                continue
            manifest = Manifest.read(path)
            records = list(manifest.segments)
            place = _place_of(fault, records, path)
            if fault.is_lost:
                del records[place]
                lost = manifest.source.get(LOST, 0) + fault.rows
                manifest = replace(manifest, source=manifest.source | {LOST: lost})
            else:
                rows = _encoded_again(path, records[place], encoder, on_passages)
                records[place] = write_segment(path, manifest.next_segment, rows, manifest.store)
                encoded += len(rows.passages)
            _publish(path, manifest, records)
    except OSError as error:
        raise IndexWriteError(f"cannot write the index at {path}: {error}") from error
    finally:
        lock.release()
    return encoded


def restore(
    path: str | Path,
    passages: Iterable[str | Passage],
    encoder: Encoder,
    *,
    progress: bool | None = False,
) -> Additions:
    """Add passages again that were lost: those whose ids an index does not have, nor had.

    Passages that were deleted out of the lost segments cannot be told from the others, and come
    again as well.

    Args:
        path: the index, after `repair` with `drop_lost`.
        passages: what the index was made from.
        encoder: the one that made it.
        progress: as in `RetrieveRerankPipeline.build`.
    """
    path = Path(path)
    index = Index(path)

    def missing() -> Iterator[Passage]:
        for batch in batches(as_passages(passages)):
            there = index.rows_of((passage.id for passage in batch), deleted=True)
            yield from (passage for passage in batch if passage.id not in there)

    done = add_passages(missing(), path, encoder, opened=index, progress=progress)
    with IndexWriter(path, index) as writer:
        source = {k: v for k, v in writer.index.manifest.source.items() if k != LOST}
        writer.commit(source=source)
    return done


def _publish(path: Path, manifest: Manifest, records: Sequence[SegmentRecord]) -> None:
    changed = replace(
        manifest,
        segments=tuple(records),
        commit=manifest.commit + 1,
        next_segment=manifest.next_segment + 1,
    )
    changed.write(path)
    remove_leftovers(path)


def _place_of(fault: Fault, records: Sequence[SegmentRecord], path: Path) -> int:
    for place, record in enumerate(records):
        if fault.file in (record.passages.name, record.embeddings.name):
            return place
    raise IndexFolderError(f"{path} was changed since it was verified; verify it again")


def _encoded_again(
    path: Path,
    record: SegmentRecord,
    encoder: Encoder,
    on_passages: Callable[[int], object] | None,
) -> Rows:
    """What is not deleted of a segment, with new embeddings."""
    segment = SegmentPassages(path, record)
    passages = segment.passages(segment.live)
    texts = [passage.model_text for passage in passages]
    embeddings = encoder.encode_passages(texts, on_passages)
    return Rows(passages, embeddings, segment.cut_tokens[segment.live])


def _damage(path: Path, manifest: Manifest, record: SegmentRecord) -> Fault | None:
    rows = record.rows - record.deleted_rows
    try:
        texts = SegmentPassages(path, record)
    except DamagedIndexError as error:
        return Fault(record.passages.name, rows, str(error), is_lost=True)
    try:
        check_file(path, record.embeddings)
        Segment(path, record, manifest.model.dim, manifest.store, check=None)
    except DamagedIndexError as error:
        blank = sum(not p.model_text.strip() for p in texts.passages(texts.live))
        if not blank:
            return Fault(record.embeddings.name, rows, str(error), is_lost=False)
        what = f"{error}; {blank:,} of its passages have no text to make embeddings from"
        return Fault(record.embeddings.name, rows, what, is_lost=True)
    return None


def _mismatch(
    path: Path, manifest: Manifest, record: SegmentRecord, encoder: Encoder, count: int
) -> Fault | None:
    """A passage of a segment whose embedding the encoder would not make."""
    segment = Segment(path, record, manifest.model.dim, manifest.store, check=None)
    live = segment.live
    rows = np.sort(np.random.default_rng(0).permutation(live)[:count])
    passages = segment.passages(rows)
    with_text = [place for place, passage in enumerate(passages) if passage.model_text.strip()]
    if not with_text:
        return None
    texts = [passages[place].model_text for place in with_text]
    embeddings = np.asarray(segment.embeddings[rows[with_text]], dtype=np.float32)
    cosines = cosines_to(encoder, texts, embeddings)
    worst = int(np.argmin(cosines))
    if cosines[worst] >= LEAST_COSINE:
        return None
    return Fault(
        record.embeddings.name,
        len(live),
        f"{path / record.embeddings.name}: the embedding of passage "
        f"{passages[with_text[worst]].id[:100]!r} is not what {encoder.name} makes of its text "
        f"(cosine {cosines[worst]:.3f}, expected {LEAST_COSINE})",
        is_lost=False,
    )
