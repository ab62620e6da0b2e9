"""Runs, what a system found for each query: reading TREC and MS MARCO files, writing TREC.

Runs are written with scores that fall strictly, so that every evaluator sees one order.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from shortlist.data import streams
from shortlist.data.atomic import written
from shortlist.data.qrels import is_writable, split_at_blanks
from shortlist.errors import DataError, UsageError
from shortlist.records import Run

_LARGEST_SCORE = 1e38  # below the largest float32, so that there is room to step down from a tie


def read_run(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Query id -> passage id -> score, best first; compressed or not. Three forms are told apart.

    - TREC, six columns ``qid Q0 docid rank score tag``: the score decides the order, never the rank
      column or the order of the lines. Scores that are equal as float32, which is how trec_eval
      holds them, are ordered as trec_eval does it: by passage id, descending.
    - MS MARCO's run, three columns ``qid<TAB>docid<TAB>rank``: the rank decides; the score is
      1/rank.
    - MS MARCO's candidates (top1000.dev), ``qid<TAB>docid<TAB>query<TAB>passage``: they have no
      order of their own; the score is 1/n for the n-th line of a query.

    Another shape, a score that is not a finite number, or a passage that comes twice for a query
    raises `DataError` with path and line.
    """
    path = Path(path)
    run: dict[str, dict[str, float]] = {}
    for number, query_id, passage_id, score in scored_lines(path):
        scores = run.setdefault(query_id, {})
        if passage_id in scores:
            what = f"passage {passage_id!r} comes twice for query {query_id!r}"
            raise DataError(f"{path}:{number}: {what}; keep the line with the better score")
        if not math.isfinite(score):
            raise DataError(f"{path}:{number}: the score is not a finite number: {score}")
        scores[passage_id] = score
    return {query_id: _best_first(scores) for query_id, scores in run.items()}


def scored_lines(
    path: Path, on_error: Callable[[DataError], None] | None = None
) -> Iterator[tuple[int, str, str, float]]:
    """Yield line number, query id, passage id and score of each line, as the lines stand.

    A score may be NaN or infinite here. With `on_error`, what is wrong with a line goes there, and
    reading goes on.
    """
    form = ""
    lines_of: dict[str, int] = {}
    for number, line in streams.records(path):
        place = f"{path}:{number}"
        try:
            form = form or _form(line, place)
            query_id, passage_id, score = _scored(line, form, place, lines_of)
        except DataError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        yield number, query_id, passage_id, score


def _scored(line: str, form: str, place: str, lines_of: dict[str, int]) -> tuple[str, str, float]:
    if form == "TREC":
        query_id, _, passage_id, _, score = _columns(line, 6, place)[:5]
        return query_id, passage_id, _number(score, place)
    if form == "ranked":
        query_id, passage_id, rank = _columns(line, 3, place)
        if not re.fullmatch(r"[1-9][0-9]{0,8}", rank):
            raise DataError(f"{place}: expected a rank from 1, got {rank[:60]!r}")
        return query_id, passage_id, 1 / int(rank)
    query_id, passage_id = (field.strip() for field in _columns(line, 4, place)[:2])
    lines_of[query_id] = lines_of.get(query_id, 0) + 1
    return query_id, passage_id, 1 / lines_of[query_id]


def read_candidates(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, str]] | None:
    """Return the queries and passages that stand in a top1000 file, by id; None of other runs."""
    path = Path(path)
    queries: dict[str, str] = {}
    passages: dict[str, str] = {}
    for number, line in streams.records(path):
        place = f"{path}:{number}"
        if not queries and _form(line, place) != "candidates":
            return None
        query_id, passage_id, query, passage = map(str.strip, _columns(line, 4, place))
        for texts, name, text in ((queries, query_id, query), (passages, passage_id, passage)):
            if texts.setdefault(name, text) != text:
                raise DataError(f"{place}: the id {name!r} had another text in an earlier line")
    return queries, passages


def _form(line: str, place: str) -> str:
    tabs = line.split("\t")
    if len(tabs) == 4 and " " in tabs[3].strip():
        return "candidates"
    blanks = split_at_blanks(line)
    if len(blanks) in (3, 6):
        return "TREC" if len(blanks) == 6 else "ranked"
    raise DataError(
        f"{place}: expected 6 columns, qid Q0 docid rank score tag, got {len(blanks)}: "
        f"{line.strip()[:60]!r}; MS MARCO's run (qid docid rank) and its top1000 file (qid docid "
        "query passage, with tabs) are read, too"
    )


def _columns(line: str, count: int, place: str) -> list[str]:
    fields = line.split("\t") if count == 4 else split_at_blanks(line)
    if len(fields) != count or not all(field.strip() for field in fields[:3]):
        raise DataError(
            f"{place}: expected {count} columns as in the first line, got {len(fields)}: "
            f"{line.strip()[:60]!r}"
        )
    return fields


def _number(text: str, place: str) -> float:
    with suppress(ValueError):
        return float(text)
    raise DataError(f"{place}: the score is not a finite number: {text[:60]!r}")


def _best_first(scores: dict[str, float]) -> dict[str, float]:
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite there, in trec_eval too
        singles = np.array(list(scores.values())).astype(np.float32).tolist()
    order = sorted(zip(singles, scores, strict=True), reverse=True)
    return {passage_id: scores[passage_id] for _, passage_id in order}


def write_run(
    run: Run | Iterable[tuple[str, Mapping[str, float]]],
    path: str | os.PathLike[str],
    tag: str = "shortlist",
) -> None:
    """Write a TREC run whose scores fall strictly, so that every evaluator sees one order.

    A run that is too long to hold may come as pairs of a query id and its scores.

    The order is by score, descending; equal scores keep the order of the mapping. Scores are
    written as float32, which is what trec_eval compares; one that is not below its predecessor
    there is lowered by the smallest step (and at least 1e-9). Gzipped where `path` ends in ``.gz``.
    The file appears complete or not at all. An id or tag that is empty or has a blank in it, or a
    score beyond 1e38, raises `UsageError`.
    """
    _check_token(tag, "the tag")
    with written(Path(path)) as stream:
        for query_id, scores in run.items() if isinstance(run, Mapping) else run:
            stream.write(_run_lines(query_id, scores, tag).encode())


def check_run_ids(ids: Iterable[str], what: str, path: str | os.PathLike[str]) -> None:
    """Raise UsageError where an id could not be written: it has a blank, or is empty."""
    for identifier in ids:
        if not is_writable(identifier) or re.search(r"\s", identifier):
            raise UsageError(
                f"{path}: the {what} id {identifier!r} has a blank in it, and a TREC run cannot "
                "hold it; rename it, or have JSON lines instead (search --json)"
            )


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
    if not isinstance(text, str) or not is_writable(text) or re.search(r"\s", text):
        raise UsageError(f"{what} is {text!r}; a TREC run needs a string with no blank in it")
