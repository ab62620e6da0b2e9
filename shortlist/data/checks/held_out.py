"""Passages of a corpus that nearly repeat what dev and test of other folders judge relevant."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from shortlist.data.checks.corpus import read_corpus
from shortlist.data.checks.files import Files
from shortlist.data.checks.qrels import split_name
from shortlist.data.checks.report import Example, Findings, shown
from shortlist.data.columns import Columns, PlacedPassage
from shortlist.data.near_duplicates import NearDuplicates
from shortlist.data.qrels import judgements
from shortlist.errors import DataError, UsageError


class HeldOutFolder:
    """The judged passages of a folder's dev and test, all in memory; shown every passage."""

    def __init__(self, folder: Path, findings: Findings) -> None:
        self._where = str(folder)
        self._findings = findings
        files = Files.of_folder(folder)
        qrels = [path for path in files.qrels if not split_name(path).startswith("train")]
        if not qrels or not files.corpus:
            raise UsageError(
                f"{folder}: expected a corpus and judgements of dev or test in a held-out folder"
            )
        wanted = self._relevant(qrels)
        self._ids: list[str] = []
        self._places: list[str] = []
        self._texts: list[str] = []
        for placed in read_corpus(
            files.corpus, Columns(), self._unreadable_line, self._unreadable_file
        ):
            if placed.passage.id in wanted:
                self._ids.append(placed.passage.id)
                self._places.append(placed.place)
                self._texts.append(placed.passage.text or placed.passage.title)
        self._index = NearDuplicates(self._texts)

    def __len__(self) -> int:
        return len(self._ids)

    def __call__(self, placed: PlacedPassage) -> None:
        """Look at one passage, and enter the nearest that it repeats."""
        text = placed.passage.text or placed.passage.title
        for match in self._index.matches(text)[:1]:
            example = Example(
                (placed.place, self._places[match.number]),
                (placed.passage.id, self._ids[match.number]),
                (shown(text), shown(self._texts[match.number])),
                f"overlap {match.overlap:.2f}",
            )
            self._findings.add("held-out", "near-duplicate-passage", self._where, example)

    def _relevant(self, qrels: Sequence[Path]) -> set[str]:
        wanted = set()
        for path in qrels:
            try:
                lines = judgements(path, partial(self._unreadable_line, path))
                for _, _, passage_id, grade in lines:
                    if grade > 0:
                        wanted.add(passage_id)
            except DataError as error:
                self._unreadable_file(path, error)
        return wanted

    def _unreadable_line(self, path: Path, error: DataError) -> None:
        self._findings.unreadable_line("held-out", path, error)

    def _unreadable_file(self, path: Path, error: DataError) -> None:
        self._findings.unreadable_file("held-out", path, error)
