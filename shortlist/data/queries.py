"""Queries: reading and writing them. Ids are strings, whatever they look like."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from shortlist.data import quora, streams
from shortlist.data.atomic import written
from shortlist.data.rows import json_object
from shortlist.errors import DataError, UsageError

_HEADERS = {("id", "text"), ("_id", "text"), ("qid", "query"), ("query_id", "query")}


class EmptyQueryError(DataError):
    """A query whose id or text is empty."""


def read_queries(path: str | os.PathLike[str]) -> dict[str, str]:
    """Query id -> text, in the order of the file.

    JSON lines with `_id` (or `id`; an integer becomes its decimal string) and `text`, as in BEIR
    (files named ``.jsonl`` or ``.json``, or beginning with "{"); or ``id<TAB>text`` as in MS MARCO;
    or pairs of duplicate questions as Quora published them, of which every question that has a
    duplicate is a query. Files may be compressed (.gz, .bz2, .zst). Another shape, an empty id or
    text, or an id that comes twice raises `DataError` that begins "path:line:".
    """
    path = Path(path)
    if quora.is_pairs(path):
        return quora.read_judged(path).queries
    queries: dict[str, str] = {}
    for number, query_id, text in numbered_queries(path):
        if query_id in queries:
            first = next(n for n, i, _ in numbered_queries(path) if i == query_id)
            raise DataError(
                f"{path}:{number}: query id {query_id!r} stands already in line {first}; "
                "keep one of the two lines"
            )
        queries[query_id] = text
    return queries


def numbered_queries(
    path: Path, on_error: Callable[[DataError], None] | None = None
) -> Iterator[tuple[int, str, str]]:
    """Yield line number, id and text of each query as the lines stand; DataError as above.

    With `on_error`, what is wrong with a line goes there, and reading goes on.
    """
    suffix = Path(streams.bare_name(path.name)).suffix
    is_json, tabbed = suffix in (".jsonl", ".json", ".ndjson"), suffix == ".tsv"
    first = True
    for number, line in streams.records(path):
        is_json = is_json or (first and not tabbed and line.lstrip().startswith("{"))
        first = False
        place = f"{path}:{number}"
        if number == 1 and not is_json and tuple(line.lower().split("\t")) in _HEADERS:
            continue
        try:
            query_id, text = _query(line, place, is_json=is_json)
        except DataError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        yield number, query_id, text


def write_queries(queries: Mapping[str, str], path: str | os.PathLike[str]) -> None:
    """Write queries as BEIR does, or as ``id<TAB>text`` where `path` ends in ``.tsv``.

    Gzipped where it ends in ``.gz``. The file appears complete or not at all. An id or text that
    could not be read back raises `UsageError`.
    """
    path = Path(path)
    tabbed = streams.bare_name(path.name).endswith(".tsv")
    with written(path) as stream:
        for query_id, text in queries.items():
            if (
                not query_id.strip()
                or not text.strip()
                or (tabbed and query_id.split() != [query_id])
            ):
                raise UsageError(
                    f"the query {query_id!r} cannot be written: expected an id (without blanks in "
                    f"a .tsv file) and a text, got {text[:60]!r}"
                )
            if tabbed:
                line = f"{query_id}\t{' '.join(text.split())}\n"
            else:
                line = json.dumps({"_id": query_id, "text": text}, ensure_ascii=False) + "\n"
            stream.write(line.encode("utf-8", "replace"))


def _query(line: str, place: str, *, is_json: bool) -> tuple[str, str]:
    query_id, text = _json_query(line, place) if is_json else _tabbed_query(line, place)
    if not query_id.strip() or not text.strip():
        shown = repr(line.strip()[:60])
        raise EmptyQueryError(f"{place}: the query's id or text is empty, got {shown}")
    return query_id, text


def _json_query(line: str, place: str) -> tuple[str, str]:
    expected = f'{place}: expected {{"_id": "...", "text": "..."}}, got {line.strip()[:60]!r}'
    row = json_object(place, line)
    query_id = row.get("_id", row.get("id"))
    if isinstance(query_id, int) and not isinstance(query_id, bool):
        query_id = str(query_id)
    if not isinstance(query_id, str) or not isinstance(row.get("text"), str):
        raise DataError(expected)
    return query_id, row["text"]


def _tabbed_query(line: str, place: str) -> tuple[str, str]:
    fields = line.split("\t")
    if len(fields) != 2:
        shown = repr(line.strip()[:60])
        raise DataError(f"{place}: expected id<TAB>text, got {len(fields)} columns: {shown}")
    return fields[0].strip(), fields[1].strip()
