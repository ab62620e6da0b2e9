"""Checking a corpus in one pass: 16 bytes a passage are held, and no text.

A second pass is made only where something is wrong, to find the places of both copies.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shortlist.data import msmarco, quora, streams
from shortlist.data.checks.codes import Level
from shortlist.data.checks.report import MOST_EXAMPLES, Example, Findings, folded, shown
from shortlist.data.columns import Columns, PlacedPassage, placed_passages
from shortlist.data.ids import fingerprint
from shortlist.data.ledger import Ledger
from shortlist.data.rows import kind_of, read_rows
from shortlist.errors import DataError

Visit = Callable[[PlacedPassage], None]
Sink = Callable[[Path, DataError], None]

_SOUGHT = 1000  # repeated ids, or texts, whose places are looked for
_PROGRESS = 100_000  # passages between two remarks


@dataclass(frozen=True, slots=True)
class Corpus:
    """What later checks ask of a corpus that was read."""

    paths: tuple[Path, ...]
    columns: Columns
    passages: int
    ids: np.ndarray  # uint64 [different ids], sorted hashes
    complete: bool  # whether every file was read to its end, and there was something

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Return those of some ids that the corpus does not have."""
        asked = list(ids)
        hashes = np.array([fingerprint(identifier) for identifier in asked], dtype=np.uint64)
        there = self.has(hashes)
        return [
            identifier for identifier, is_there in zip(asked, there, strict=True) if not is_there
        ]

    def has(self, hashes: np.ndarray) -> np.ndarray:
        """Whether ids are in the corpus: bool [n], of their fingerprints uint64 [n]."""
        if not len(self.ids):
            return np.zeros(len(hashes), dtype=bool)
        places = np.minimum(np.searchsorted(self.ids, hashes), len(self.ids) - 1)
        found: np.ndarray = self.ids[places] == hashes
        return found

    def ids_and_places(self) -> Iterator[tuple[str, str]]:
        """Read the corpus again, for the ids as they stand."""
        for placed in read_corpus(self.paths, self.columns):
            yield placed.passage.id, placed.place


def read_corpus(
    paths: Iterable[Path],
    columns: Columns,
    on_line: Sink | None = None,
    on_file: Sink | None = None,
) -> Iterator[PlacedPassage]:
    """Yield the passages of all files; what cannot be read goes to the sinks, or is left out."""
    for path in paths:
        enter_line = partial(on_line, path) if on_line else _leave_out
        try:
            yield from _passages(path, columns, enter_line)
        except DataError as error:
            if on_file:
                on_file(path, error)


def _leave_out(_error: DataError) -> None:
    pass


def _passages(
    path: Path, columns: Columns, on_error: Callable[[DataError], None]
) -> Iterator[PlacedPassage]:
    streams.check(path)
    if quora.is_pairs(path):
        for passage in quora.read_questions(path, Ledger()):
            yield PlacedPassage(str(path), passage, id_is_made=False)
        return
    if streams.bare_name(path.name) == msmarco.COLLECTION:
        rows = msmarco.read_collection(path, on_error)
    elif kind_of(path):
        rows = read_rows(path, columns.named(), on_error)
    else:
        raise DataError(f"{path}: unknown kind of file; expected .jsonl, .tsv, .csv or .parquet")
    yield from placed_passages(rows, columns, Ledger(), on_error)


def check_corpus(
    paths: Iterable[Path],
    findings: Findings,
    visits: Iterable[Visit] = (),
    *,
    columns: Columns,
    judged: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Corpus:
    """Read the corpus once, entering what is wrong with it; each passage is shown to `visits`.

    `judged` says that there are judgements or runs, which name passages by their ids.
    """
    sweep = _Sweep(tuple(paths), columns, findings, judged)
    visits = tuple(visits)
    for placed in read_corpus(sweep.paths, columns, sweep.unreadable_line, sweep.unreadable_file):
        sweep.enter(placed)
        for visit in visits:
            visit(placed)
        if progress and sweep.passages % _PROGRESS == 0:
            progress(f"{sweep.passages:,} passages")
    return sweep.close()


class _Sweep:
    """One pass: what has been seen so far."""

    def __init__(
        self, paths: tuple[Path, ...], columns: Columns, findings: Findings, judged: bool
    ) -> None:
        self.paths = paths
        self.columns = columns
        self.passages = 0
        self._findings = findings
        self._judged = judged
        self._complete = True
        self._ids, self._texts = array("Q"), array("Q")

    def unreadable_line(self, path: Path, error: DataError) -> None:
        self._findings.unreadable_line("corpus", path, error)

    def unreadable_file(self, path: Path, error: DataError) -> None:
        self._complete = False
        self._findings.unreadable_file("corpus", path, error)

    def enter(self, placed: PlacedPassage) -> None:
        self.passages += 1
        passage = placed.passage
        where = placed.place.rsplit(":", 1)[0]
        if placed.id_is_made:
            # Judgements cannot name such a passage
            level: Level | None = "warning" if self._judged else None
            example = Example((placed.place,), (), (shown(passage.model_text),))
            self._findings.add("corpus", "made-ids", where, example, level=level)
        else:
            self._ids.append(fingerprint(passage.id))
            if any(character.isspace() for character in passage.id):
                example = Example((placed.place,), (passage.id,))
                self._findings.add("corpus", "id-with-blank", where, example)
        text = folded(passage.model_text)
        if text:
            self._texts.append(fingerprint(text))
        else:
            example = Example((placed.place,), () if placed.id_is_made else (passage.id,))
            self._findings.add("corpus", "empty-passage", where, example)

    def close(self) -> Corpus:
        ids, repeated_ids, id_count = _repeated(self._ids)
        _, repeated_texts, text_count = _repeated(self._texts)
        if self.paths and self._complete and not self.passages:
            for path in self.paths:
                if not self._findings.has("corpus", "unreadable-line", path):
                    self._findings.add("corpus", "empty-file", path, Example((str(path),)))
        if id_count or text_count:
            self._enter_repeated(repeated_ids, id_count, repeated_texts, text_count)
        return Corpus(
            self.paths, self.columns, self.passages, ids, self._complete and self.passages > 0
        )

    def _enter_repeated(
        self, ids: set[int], id_count: int, texts: set[int], text_count: int
    ) -> None:
        """Read again for the places, and enter all copies under the first file."""
        by_id: dict[int, PlacedPassage] = {}
        by_text: dict[int, PlacedPassage] = {}
        shown_ids: list[tuple[PlacedPassage, PlacedPassage]] = []
        shown_texts: list[tuple[PlacedPassage, PlacedPassage]] = []
        for placed in read_corpus(self.paths, self.columns):
            if not placed.id_is_made and (key := fingerprint(placed.passage.id)) in ids:
                first = by_id.setdefault(key, placed)
                if first is not placed and len(shown_ids) < MOST_EXAMPLES:
                    shown_ids.append((first, placed))
            text = folded(placed.passage.model_text)
            if text and (key := fingerprint(text)) in texts:
                first = by_text.setdefault(key, placed)
                if first is not placed and len(shown_texts) < MOST_EXAMPLES:
                    shown_texts.append((first, placed))
        for code, pairs, count in (
            ("duplicate-id", shown_ids, id_count),
            ("duplicate-text", shown_texts, text_count),
        ):
            where = ", ".join(map(str, self.paths))
            for first, second in pairs[:count]:
                self._findings.add("corpus", code, where, _both(first, second))
            if count > len(pairs):
                self._findings.add("corpus", code, where, count=count - len(pairs))


def _both(first: PlacedPassage, second: PlacedPassage) -> Example:
    ids = tuple(dict.fromkeys((first.passage.id, second.passage.id)))
    texts = tuple(
        dict.fromkeys((shown(first.passage.model_text), shown(second.passage.model_text)))
    )
    return Example((first.place, second.place), ids, texts)


def _repeated(hashes: array[int]) -> tuple[np.ndarray, set[int], int]:
    """Sort hashes: the different ones, some of those that repeat, how many are repetitions."""
    ordered = np.sort(np.frombuffer(hashes, dtype=np.uint64)) if hashes else np.empty(0, np.uint64)
    again = ordered[1:] == ordered[:-1]
    keys = set(np.unique(ordered[1:][again])[:_SOUGHT].tolist())
    first = np.concatenate([np.ones(min(1, len(ordered)), dtype=bool), ~again])
    return ordered[first], keys, int(again.sum())
