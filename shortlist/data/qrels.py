"""Queries, judgements (qrels) and runs: reading, checking, writing.

Ids are strings, whatever they look like. Files may be gzipped (told by their first bytes, not by
their name), blank lines are skipped, and every error is a `DataError` that begins "path:line:".
"""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.errors import DataError, UsageError
from shortlist.records import Run

_HEADER = ["query-id", "corpus-id", "score"]  # the first line of a BEIR qrels file
_LARGEST_SCORE = 1e38  # below the largest float32, so that there is room to step down from a tie


def read_queries(path: str | os.PathLike[str]) -> dict[str, str]:
    """Query id -> text, in the order of the file.

    Either JSON lines with `_id` (or `id`; an integer becomes its decimal string) and `text`, as in
    BEIR (files named ``.jsonl`` or ``.json``, or beginning with "{"), or ``id<TAB>text`` as in MS
    MARCO. Another shape, an empty id or text, or an id that comes twice raises `DataError`.
    """
    queries: dict[str, str] = {}
    is_json = Path(path).name.removesuffix(".gz").endswith((".jsonl", ".json"))
    for number, line in _lines(path):
        is_json = is_json or (not queries and line.lstrip().startswith("{"))
        place = f"{path}:{number}"
        query_id, text = _json_query(line, place) if is_json else _tabbed_query(line, place)
        if not query_id.strip() or not text.strip():
            raise DataError(f"{place}: the query's id or text is empty, got {_shown(line)}")
        if query_id in queries:
            first = 1 + list(queries).index(query_id)
            raise DataError(f"{place}: query id {query_id!r} is also that of query number {first}")
        queries[query_id] = text
    return queries


def read_qrels(path: str | os.PathLike[str]) -> dict[str, dict[str, int]]:
    """Query id -> passage id -> grade, in the order of the file.

    The first line tells BEIR (header ``query-id corpus-id score``, three columns, split at tabs
    where the header is) from TREC and MS MARCO (``qid 0 docid grade``, any blanks or tabs). Three
    columns without the header are refused: they may be a run.

    A grade of 1 or more is relevant. Negative grades (TREC's mark for junk) are read as they stand
    and are never relevant. A line that repeats an earlier one does no harm; the same pair with
    another grade, a wrong number of columns or a grade that is no integer raises `DataError`.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, query_id, passage_id, grade in _judgements(path):
        grades = qrels.setdefault(query_id, {})
        if grades.setdefault(passage_id, grade) != grade:
            pair = (query_id, passage_id)
            first = next(n for n, q, p, _ in _judgements(path) if (q, p) == pair)
            raise DataError(
                f"{path}:{number}: passage {passage_id!r} of query {query_id!r} has grade {grade} "
                f"here and {grades[passage_id]} in line {first}; keep one of the two lines"
            )
    if not qrels:
        raise DataError(f"{path}:1: a header and no judgement below it; expected one a line")
    return qrels


def read_run(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Query id -> passage id -> score, best first; the file is ``qid Q0 docid rank score tag``.

    The score decides the order, never the rank column or the order of the lines. Scores that are
    equal as float32, which is how trec_eval holds them, are ordered as trec_eval does it: by
    passage id, descending. A wrong number of columns, a score that is not a finite number, or a
    passage that comes twice for a query raises `DataError`.
    """
    run: dict[str, dict[str, float]] = {}
    for number, line in _lines(path):
        fields = _fields(line)
        place = f"{path}:{number}"
        if len(fields) != 6:
            what = f"got {len(fields)}: {_shown(line)}"
            raise DataError(f"{place}: expected 6 columns, qid Q0 docid rank score tag, {what}")
        query_id, _, passage_id, _, score, _ = fields
        scores = run.setdefault(query_id, {})
        if passage_id in scores:
            what = f"passage {passage_id!r} comes twice for query {query_id!r}"
            raise DataError(f"{place}: {what}; keep the line with the better score")
        scores[passage_id] = _score(score, place)
    return {query_id: _best_first(scores) for query_id, scores in run.items()}


def write_run(run: Run, path: str | os.PathLike[str], tag: str = "shortlist") -> None:
    """Write a TREC run whose scores fall strictly, so that every evaluator sees one order.

    The order is by score, descending; equal scores keep the order of the mapping. Scores are
    written as float32, which is what trec_eval compares; one that is not below its predecessor
    there is lowered by the smallest step (and at least 1e-9). Gzipped where `path` ends in ``.gz``.
    The file appears complete or not at all: it is written beside `path` and renamed. An id or tag
    that is empty or has a blank in it, or a score beyond 1e38, raises `UsageError`.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    _check_token(tag, "the tag")
    try:
        with temporary.open("wb") as raw:
            # no name and no time in the gzip header: the same run gives the same bytes
            zipped = target.suffix == ".gz"
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if zipped else raw as stream:
                for query_id, scores in run.items():
                    stream.write(_run_lines(query_id, scores, tag).encode())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Line number (1-based, blank lines counted as an editor does) and text of each full line."""
    number, empty = 0, True
    try:
        with Path(path).open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            for number, line in enumerate(gzip.GzipFile(fileobj=raw) if zipped else raw, 1):
                if text := _decoded(line, f"{path}:{number}"):
                    empty = False
                    yield number, text
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}:{number + 1}: damaged gzip data; fetch the file anew") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a file") from error
    if empty:
        raise DataError(f"{path}:1: the file is empty; expected one record a line")


def _decoded(line: bytes, place: str) -> str:
    """Return the text of a line without its end, "" for a blank one."""
    if b"\0" in line:
        raise DataError(f"{place}: a binary file (it has a zero byte); expected lines of text")
    try:
        text = line.decode("utf-8-sig" if place.endswith(":1") else "utf-8")
    except UnicodeDecodeError as error:
        what = f"byte {error.start + 1} of the line is not UTF-8"
        raise DataError(f"{place}: {what}; convert the file to UTF-8") from error
    return text.rstrip("\r\n") if text.strip() else ""


def _json_query(line: str, place: str) -> tuple[str, str]:
    expected = f'{place}: expected {{"_id": "...", "text": "..."}}, got {_shown(line)}'
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(expected) from error
    query_id = row.get("_id", row.get("id")) if isinstance(row, dict) else None
    if isinstance(query_id, int) and not isinstance(query_id, bool):
        query_id = str(query_id)
    if not isinstance(query_id, str) or not isinstance(row.get("text"), str):
        raise DataError(expected)
    return query_id, row["text"]


def _tabbed_query(line: str, place: str) -> tuple[str, str]:
    fields = line.split("\t")
    if len(fields) != 2:
        raise DataError(f"{place}: expected id<TAB>text, got {len(fields)} columns: {_shown(line)}")
    return fields[0].strip(), fields[1].strip()


def _judgements(path: str | os.PathLike[str]) -> Iterator[tuple[int, str, str, int]]:
    """Line number, query id, passage id and grade of each judgement, as the lines stand."""
    columns, tabbed = 0, False
    for number, line in _lines(path):
        if not columns:
            columns = 3 if _fields(line.lower()) == _HEADER else 4
            tabbed = columns == 3 and "\t" in line
            if columns == 3:
                continue
        fields = [field.strip() for field in line.split("\t")] if tabbed else _fields(line)
        if len(fields) != columns or not all(fields):
            shape = "the header's 3 columns" if columns == 3 else "4 columns (qid 0 docid grade)"
            raise DataError(
                f"{path}:{number}: expected {shape}, got {_shown(line)}; a BEIR file begins with "
                f"the line {' '.join(_HEADER)!r}, and a run (6 columns) holds no grades"
            )
        if not re.fullmatch(r"[+-]?[0-9]+", fields[-1]):
            raise DataError(f"{path}:{number}: the grade is not an integer: {_shown(fields[-1])}")
        yield number, fields[0], fields[-2], int(fields[-1])


def _fields(line: str) -> list[str]:
    """Split at blanks and tabs only: str.split() would also cut ids at exotic spaces."""
    return re.split(r"[ \t]+", line.strip(" \t"))


def _score(text: str, place: str) -> float:
    with suppress(ValueError):
        if math.isfinite(score := float(text)):
            return score
    raise DataError(f"{place}: the score is not a finite number: {_shown(text)}")


def _best_first(scores: dict[str, float]) -> dict[str, float]:
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite there, in trec_eval too
        singles = np.array(list(scores.values())).astype(np.float32).tolist()
    order = sorted(zip(singles, scores, strict=True), reverse=True)
    return {passage_id: scores[passage_id] for _, passage_id in order}


def _run_lines(query_id: str, scores: Mapping[str, float], tag: str) -> str:
    _check_token(query_id, "the query id")
    ranked = sorted(scores.items(), key=lambda item: item[1], reverse=True)  # stable
    for passage_id, score in ranked:
        _check_token(passage_id, f"a passage id of query {query_id!r}")
        if not abs(score) <= _LARGEST_SCORE:
            what = f"the score of passage {passage_id!r} of query {query_id!r}"
            raise UsageError(f"{what} is {score}; expected a number of at most {_LARGEST_SCORE:g}")
    numbers = _strictly_falling(np.array([score for _, score in ranked], dtype=np.float32))
    return "".join(
        f"{query_id} Q0 {passage_id} {rank} {number} {tag}\n"
        for rank, ((passage_id, _), number) in enumerate(zip(ranked, numbers, strict=True), 1)
    )


def _strictly_falling(scores: np.ndarray) -> list[str]:
    """Print float32 scores [n] so that they read back strictly falling; they come falling."""
    falling = scores.copy()
    if (scores[1:] >= scores[:-1]).any():
        for i in range(1, len(scores)):
            step = max(float(np.spacing(np.abs(falling[i - 1]))), 1e-9)
            if falling[i] >= falling[i - 1]:
                falling[i] = float(falling[i - 1]) - step
    return [str(score) for score in falling]


def _check_token(text: str, what: str) -> None:
    if not isinstance(text, str) or not text or re.search(r"\s", text):
        raise UsageError(f"{what} is {text!r}; a TREC run needs a string with no blank in it")


def _shown(text: str) -> str:
    return repr(text.strip()[:60])
