"""Checking queries: ids, empty and repeated texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shortlist.data import quora, streams
from shortlist.data.checks.report import Example, Findings, folded, of_error, shown
from shortlist.data.ids import fingerprint
from shortlist.data.queries import EmptyQueryError, numbered_queries
from shortlist.errors import DataError


@dataclass(slots=True)
class Queries:
    """All queries of all files: id -> text, and where the id stood first."""

    texts: dict[str, str] = field(default_factory=dict)
    places: dict[str, tuple[Path, int]] = field(default_factory=dict)
    complete: bool = True  # whether every file was read to its end
    given: bool = False

    def place(self, query_id: str) -> str:
        """Return "path:line" of a query."""
        path, number = self.places[query_id]
        return f"{path}:{number}" if number else str(path)


def check_queries(paths: Iterable[Path], findings: Findings) -> Queries:
    """Read all files of queries, entering what is wrong with them."""
    queries = Queries()
    first_of_text: dict[int, str] = {}
    for path in paths:
        queries.given = True
        try:
            for number, query_id, text in _lines(path, _sink(path, findings)):
                _enter(queries, first_of_text, path, number, query_id, text, findings)
        except DataError as error:
            queries.complete = False
            findings.unreadable_file("queries", path, error)
    return queries


def _lines(path: Path, on_error: Callable[[DataError], None]) -> Iterator[tuple[int, str, str]]:
    streams.check(path)
    if not quora.is_pairs(path):
        yield from numbered_queries(path, on_error)
        return
    for query_id, text in quora.read_duplicates(path).queries.items():
        yield 0, query_id, text  # a query comes from several lines


def _sink(path: Path, findings: Findings) -> Callable[[DataError], None]:
    def enter(error: DataError) -> None:
        if isinstance(error, EmptyQueryError):
            findings.add("queries", "empty-query", path, of_error(path, error))
        else:
            findings.unreadable_line("queries", path, error)

    return enter


def _enter(
    queries: Queries,
    first_of_text: dict[int, str],
    path: Path,
    number: int,
    query_id: str,
    text: str,
    findings: Findings,
) -> None:
    place = f"{path}:{number}" if number else str(path)
    if query_id in queries.texts:
        # MS MARCO's dev.small repeats lines of dev: two files may agree
        if queries.places[query_id][0] == path or queries.texts[query_id] != text:
            texts = (shown(queries.texts[query_id]), shown(text))
            example = Example((queries.place(query_id), place), (query_id,), texts)
            findings.add("queries", "duplicate-id", path, example)
        return
    queries.texts[query_id] = text
    queries.places[query_id] = (path, number)
    if any(character.isspace() for character in query_id):
        findings.add("queries", "id-with-blank", path, Example((place,), (query_id,)))
    first = first_of_text.setdefault(fingerprint(folded(text)), query_id)
    if first != query_id:
        example = Example((queries.place(first), place), (first, query_id), (shown(text),))
        findings.add("queries", "duplicate-text", path, example)
