"""Judgements (qrels): reading and writing them. Ids are strings, whatever they look like."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from shortlist.data import quora, streams
from shortlist.data.atomic import written
from shortlist.errors import DataError, UsageError
from shortlist.records import Qrels

_HEADER = ["query-id", "corpus-id", "score"]  # the first line of a BEIR qrels file


def read_qrels(path: str | os.PathLike[str]) -> dict[str, dict[str, int]]:
    """Query id -> passage id -> grade, in the order of the file.

    The first line tells BEIR (header ``query-id corpus-id score``, three columns, split at tabs
    where the header is) from TREC and MS MARCO (``qid 0 docid grade``, any blanks or tabs). Three
    columns without the header are refused: they may be a run. Of Quora's pairs of questions, each
    question's judgements are the others of its cluster. Files may be compressed.

    A grade of 1 or more is relevant. Negative grades (TREC's mark for junk) are read as they stand
    and are never relevant. A line that repeats an earlier one does no harm; the same pair with
    another grade, a wrong number of columns or a grade that is no integer raises `DataError`.
    """
    path = Path(path)
    if quora.is_pairs(path):
        return quora.read_judged(path).qrels
    qrels: dict[str, dict[str, int]] = {}
    for number, query_id, passage_id, grade in judgements(path):
        grades = qrels.setdefault(query_id, {})
        if grades.setdefault(passage_id, grade) != grade:
            pair = (query_id, passage_id)
            first = next(n for n, q, p, _ in judgements(path) if (q, p) == pair)
            raise DataError(
                f"{path}:{number}: passage {passage_id!r} of query {query_id!r} has grade {grade} "
                f"here and {grades[passage_id]} in line {first}; keep one of the two lines"
            )
    if not qrels:
        raise DataError(f"{path}:1: a header and no judgement below it; expected one a line")
    return qrels


def write_qrels(qrels: Qrels, path: str | os.PathLike[str]) -> None:
    """Write judgements as BEIR does where `path` ends in ``.tsv``, else as TREC and MS MARCO do.

    Gzipped where it ends in ``.gz``. The file appears complete or not at all. An id that is empty
    or has a blank in it raises `UsageError`: the TREC form could not be read back.
    """
    path = Path(path)
    beir = streams.bare_name(path.name).endswith(".tsv")
    with written(path) as stream:
        if beir:
            stream.write(("\t".join(_HEADER) + "\n").encode())
        for query_id, grades in qrels.items():
            for passage_id, grade in grades.items():
                for name in (query_id, passage_id):
                    if not is_writable(name) or re.search(r"[\t\n\r]" if beir else r"\s", name):
                        raise UsageError(f"the id {name!r} cannot be written to {path.name}")
                fields = (query_id, passage_id) if beir else (query_id, "0", passage_id)
                stream.write(("\t".join([*fields, str(grade)]) + "\n").encode())


def judgements(
    path: Path, on_error: Callable[[DataError], None] | None = None
) -> Iterator[tuple[int, str, str, int]]:
    """Yield line number, query id, passage id and grade of each judgement, as the lines stand.

    With `on_error`, what is wrong with a line goes there, and reading goes on.
    """
    columns, tabbed = 0, False
    for number, line in streams.records(path):
        if not columns:
            columns = 3 if split_at_blanks(line.lower()) == _HEADER else 4
            tabbed = columns == 3 and "\t" in line
            if columns == 3:
                continue
        fields = [f.strip() for f in line.split("\t")] if tabbed else split_at_blanks(line)
        try:
            _check_fields(fields, columns, line, f"{path}:{number}")
        except DataError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        yield number, fields[0], fields[-2], int(fields[-1])


def _check_fields(fields: list[str], columns: int, line: str, place: str) -> None:
    if len(fields) != columns or not all(fields):
        shape = "the header's 3 columns" if columns == 3 else "4 columns (qid 0 docid grade)"
        raise DataError(
            f"{place}: expected {shape}, got {line.strip()[:60]!r}; a BEIR file begins "
            f"with the line {' '.join(_HEADER)!r}, and a run (6 columns) holds no grades"
        )
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", fields[-1]):
        raise DataError(f"{place}: the grade is not an integer: {fields[-1][:60]!r}")


def is_writable(name: str) -> bool:
    """Whether an id can stand in a UTF-8 file: not empty, and no half of a character."""
    return bool(name) and not any("\ud800" <= character <= "\udfff" for character in name)


def split_at_blanks(line: str) -> list[str]:
    """Split at blanks and tabs only: str.split() would also cut ids at exotic spaces."""
    return re.split(r"[ \t]+", line.strip(" \t"))
