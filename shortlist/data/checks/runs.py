"""Checking a run: repeated passages, scores, ties, ids that lead nowhere, queries it lacks.

A line is held as five numbers, so that a run of ten million lines needs 400 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from shortlist.data import streams
from shortlist.data.checks.corpus import Corpus
from shortlist.data.checks.leaks import SelfHits
from shortlist.data.checks.qrels import Split, enter_id_types
from shortlist.data.checks.queries import Queries
from shortlist.data.checks.report import Example, Findings, shown
from shortlist.data.ids import fingerprint
from shortlist.data.qrels import split_at_blanks
from shortlist.data.runs import scored_lines
from shortlist.errors import DataError

_CUT_OFFS = (10, 100)


class Run:
    """The lines of a run as columns, and the ids of its queries."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.queries: dict[str, int] = {}  # id -> number, in the order of the file
        self.first_lines: list[int] = []  # of each query
        self._integers = array("q"), array("q"), array("q")  # query number, rank, line
        self._passages, self._scores = array("Q"), array("d")
        self.own_lines: dict[str, int] = {}  # query id -> line of the passage with the same id

    def enter(self, number: int, query_id: str, passage_id: str, score: float, rank: int) -> None:
        """Add a line; a rank of 0 is none."""
        query = self.queries.setdefault(query_id, len(self.queries))
        if query == len(self.first_lines):
            self.first_lines.append(number)
        if query_id == passage_id:
            self.own_lines.setdefault(query_id, number)
        for column, value in zip(self._integers, (query, rank, number), strict=True):
            column.append(value)
        self._passages.append(fingerprint(passage_id))
        self._scores.append(score)

    def columns(self) -> tuple[np.ndarray, ...]:
        """Query numbers, passages' fingerprints, scores, ranks (0: none), line numbers: [lines]."""
        query, rank, line = (np.frombuffer(column, dtype=np.int64) for column in self._integers)
        passage = np.frombuffer(self._passages, dtype=np.uint64)
        return query, passage, np.frombuffer(self._scores, dtype=np.float64), rank, line

    def __len__(self) -> int:
        return len(self._scores)


def check_run(
    path: Path,
    queries: Queries,
    splits: Sequence[Split],
    corpus: Corpus | None,
    hits: SelfHits,
    findings: Findings,
) -> int:
    """Read a run, entering what is wrong with it; how many lines could be read."""
    run = Run(path)
    complete = _read(run, findings)
    if not len(run):
        return 0
    _check_lines(run, findings)
    _check_order(run, findings)
    if queries.given and queries.complete:
        _check_queries(run, queries, findings)
    if corpus and corpus.complete:
        _check_passages(run, corpus, findings)
    _check_own(run, queries, splits, corpus, hits, findings)
    if complete and not findings.stopped("qrels"):
        _check_missing(run, splits, queries, findings)
    return len(run)


def _read(run: Run, findings: Findings) -> bool:
    ranks = _ranks(run.path)
    try:
        lines = scored_lines(
            run.path, lambda error: findings.unreadable_line("run", run.path, error)
        )
        for number, query_id, passage_id, score in lines:
            rank = next(rank for line, rank in ranks if line == number)
            run.enter(number, query_id, passage_id, score, rank)
    except DataError as error:
        findings.unreadable_file("run", run.path, error)
        return False
    return True


def _ranks(path: Path) -> Iterator[tuple[int, int]]:
    """Yield line number and rank column of a TREC run; 0 where there is none."""
    for number, line in streams.records(path):
        fields = split_at_blanks(line)
        rank = fields[3] if len(fields) == 6 else ""
        yield number, int(rank) if rank.isascii() and rank.isdigit() and len(rank) < 10 else 0


def _check_lines(run: Run, findings: Findings) -> None:
    """Enter passages that come twice, and scores that are no numbers."""
    query, passage, score, _, line = run.columns()
    order = np.lexsort((line, passage, query))
    again = (np.diff(query[order]) == 0) & (passage[order][1:] == passage[order][:-1])
    wanted = {}
    for i in np.flatnonzero(again):
        wanted[int(line[order[i + 1]])] = (f"{run.path}:{line[order[i]]}",)
    names = _names(run.path, set(sorted(wanted)[:10]))
    for number in sorted(wanted):
        places = (*wanted[number], f"{run.path}:{number}")
        findings.add("run", "repeated-passage", run.path, Example(places, names.get(number, ())))
    bad = np.flatnonzero(~np.isfinite(score))
    names = _names(run.path, {int(number) for number in line[bad[:10]]})
    for i in bad:
        example = Example(
            (f"{run.path}:{line[i]}",), names.get(int(line[i]), ()), remark=f"score {score[i]}"
        )
        findings.add("run", "score-not-finite", run.path, example)


def _names(path: Path, numbers: set[int]) -> dict[int, tuple[str, str]]:
    """Read the ids in some lines again."""
    if not numbers:
        return {}
    lines = scored_lines(path, lambda _error: None)
    try:
        return {number: (q, p) for number, q, p, _ in lines if number in numbers}
    except DataError:  # it breaks off further down
        return {}


def _check_order(run: Run, findings: Findings) -> None:
    """Enter queries with a tie at a cut-off, and those whose ranks contradict their scores."""
    query, _, score, rank, _ = run.columns()
    with np.errstate(over="ignore"):
        single = score.astype(np.float32)
    order = np.lexsort((rank, query))
    starts = np.searchsorted(query[order], np.arange(len(run.queries) + 1))
    for query_id, number in run.queries.items():
        own = order[starts[number] : starts[number + 1]]  # by rank
        place = (f"{run.path}:{run.first_lines[number]}",)
        falling = np.sort(single[own][np.isfinite(single[own])])[::-1]
        for k in _CUT_OFFS:
            if len(falling) > k and falling[k - 1] == falling[k]:
                remark = f"score {falling[k]:g}"
                example = Example(place, (query_id,), remark=remark)
                findings.add("run", f"tie-at-{k}", run.path, example)
        if rank[own].all() and (np.diff(single[own]) > 0).any():
            i = int(np.flatnonzero(np.diff(single[own]) > 0)[0])
            remark = (
                f"rank {rank[own[i]]} has {score[own[i]]:g}, "
                f"rank {rank[own[i + 1]]} has {score[own[i + 1]]:g}"
            )
            example = Example(place, (query_id,), remark=remark)
            findings.add("run", "rank-contradicts-score", run.path, example)


def _check_queries(run: Run, queries: Queries, findings: Findings) -> None:
    dangling = {
        query_id: f"{run.path}:{run.first_lines[number]}"
        for query_id, number in run.queries.items()
        if query_id not in queries.texts
    }
    for query_id, place in dangling.items():
        findings.add("run", "dangling-query", run.path, Example((place,), (query_id,)))
    if dangling:
        known = ((query_id, queries.place(query_id)) for query_id in queries.texts)
        enter_id_types(run.path, dangling, known, findings, "run")


def _check_passages(run: Run, corpus: Corpus, findings: Findings) -> None:
    _, passage, _, _, line = run.columns()
    different, first = np.unique(passage, return_index=True)
    lines = np.sort(line[first[~corpus.has(different)]])
    names = _names(run.path, set(lines.tolist()))
    dangling = {}
    for number in lines.tolist():
        place = f"{run.path}:{number}"
        ids = names.get(number, ())
        findings.add("run", "dangling-passage", run.path, Example((place,), ids))
        if ids:
            dangling[ids[1]] = place
    if dangling:
        enter_id_types(run.path, dangling, corpus.ids_and_places(), findings, "run")


def _check_own(
    run: Run,
    queries: Queries,
    splits: Sequence[Split],
    corpus: Corpus | None,
    hits: SelfHits,
    findings: Findings,
) -> None:
    """Enter queries that found themselves; without their texts, the ids decide."""
    relevant = {query_id for split in splits for query_id, p in split.relevant() if query_id == p}
    for query_id, number in run.own_lines.items():
        if corpus and query_id in queries.texts and query_id not in hits.same:
            continue  # the passage has that id by chance
        example = Example((f"{run.path}:{number}",), (query_id,))
        if query_id in relevant:
            findings.add("run", "self-hit-judged", run.path, example)
        else:
            findings.add("run", "self-hit", run.path, example)


def _check_missing(run: Run, splits: Sequence[Split], queries: Queries, findings: Findings) -> None:
    """Enter judged queries that the run lacks: of the splits that it has any query of."""
    touched = [split for split in splits if not run.queries.keys().isdisjoint(split.grades)]
    for split in touched or splits:
        for query_id, grades in split.grades.items():
            if query_id not in run.queries:
                place = split.place(query_id, next(iter(grades)))
                text = (shown(queries.texts[query_id]),) if query_id in queries.texts else ()
                findings.add("run", "missing-query", run.path, Example((place,), (query_id,), text))
