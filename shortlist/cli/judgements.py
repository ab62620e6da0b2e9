"""Reading files whose ids must fit: what is wrong in them is named, up to ten cases of a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from itertools import islice
from pathlib import Path
from typing import TypeVar

from shortlist.cli.show import note
from shortlist.data.check import check
from shortlist.data.checks.qrels import Alike
from shortlist.data.checks.report import Finding, Report
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.errors import DataError
from shortlist.evaluation.metrics import has_relevant
from shortlist.records import Qrels

_UNREADABLE = "lines that cannot be read; mend or remove them"  # `check` goes on without them
_OF_LINES = (
    "unreadable-line",
    "conflicting-grades",
    "repeated-passage",
    "score-not-finite",
    "duplicate-id",
    "empty-query",
)

_IDS_COMPARED = 100_000  # of an index that lacks judged passages: enough to see how ids differ

T = TypeVar("T")


def judgements_of(path: Path) -> Qrels:
    """Read the qrels; say on stderr what in them is harmless but odd.

    Raises:
        DataError: lines that cannot be read or contradict each other; no relevant passage.
    """
    qrels = read_naming(path, read_qrels, lambda: check(qrels=[path]))
    if not any(map(has_relevant, qrels.values())):
        some = [(q, p, grade) for q, grades in qrels.items() for p, grade in grades.items()][:10]
        raise DataError(
            f"{path}: no judgement has a grade of 1 or more, so that there is nothing to measure; "
            f"is the last column the grade? It begins {some}"
        )
    for finding in check(qrels=[path]).findings:
        if finding.code in ("negative-grade", "repeated-line"):
            note(f"note: {path}: {_sentence(finding)}")
    return qrels


def queries_of(path: Path) -> dict[str, str]:
    """Read the queries.

    Raises:
        DataError: lines that cannot be read, or ids that come twice.
    """
    return read_naming(path, read_queries, lambda: check(queries=[path]))


def read_naming(path: Path, reader: Callable[[Path], T], search: Callable[[], Report]) -> T:
    """Read a file; where a line of it is refused, name up to ten of each kind of wrong lines."""
    try:
        return reader(path)
    except DataError as error:
        if not path.is_file():
            raise
        wrong = [finding for finding in search().of("error") if finding.code in _OF_LINES]
        if not wrong:
            raise
        raise DataError(f"{path}: {'; '.join(map(_sentence, wrong))}") from error


def alike(ids: Iterable[str], others: Iterable[str]) -> str:
    """Up to ten pairs of ids that differ only in how they are written; "" where there are none."""
    known = Alike(others)
    pairs = ((own, *match) for own in ids for match in known.matches(own) if match[0] != own)
    shown = [f"{own!r} and {other!r}" for own, other, _ in islice(pairs, 10)]
    return f"; alike but for how they are written: {', '.join(shown)}" if shown else ""


def check_queries_fit(
    qrels_path: Path, qrels: Qrels, queries_path: Path, queries: Mapping[str, str]
) -> None:
    """Refuse queries of which none was judged; where some lack, say how ids could be meant.

    Raises:
        DataError: no judged query has a text; ids of both files are named.
    """
    judged = sorted(query_id for query_id, grades in qrels.items() if has_relevant(grades))
    missing = [query_id for query_id in judged if query_id not in queries]
    similar = alike((query_id for query_id in queries if query_id not in qrels), missing)
    if len(missing) == len(judged):
        raise DataError(
            f"{qrels_path}: no judged query is among those of {queries_path}: {judged[:10]} in the "
            f"qrels, {list(queries)[:10]} in the queries; write the ids alike, or give the "
            f"queries that were judged{similar}"
        )
    if similar:
        note(f"note: {qrels_path}: judged queries are missing{similar}")


def check_passages_fit(qrels_path: Path, qrels: Qrels, passage_ids: Set[str]) -> None:
    """Refuse judgements of another corpus; where some dangle, say how ids could be meant.

    Raises:
        DataError: no passage judged relevant is among `passage_ids`; ids of both are named.
    """
    grades_of = qrels.values()
    relevant = sorted({p for grades in grades_of for p, grade in grades.items() if grade >= 1})
    dangling = [passage_id for passage_id in relevant if passage_id not in passage_ids]
    there = sorted(passage_ids)[:_IDS_COMPARED] if dangling else []
    similar = alike(there, dangling)
    if len(dangling) == len(relevant):
        raise DataError(
            f"{qrels_path}: no passage judged relevant is in the index: {relevant[:10]} in the "
            f"qrels, {there[:10]} in the index; write the ids alike, or index the corpus that "
            f"was judged{similar}"
        )
    if similar:
        note(f"note: {qrels_path}: judged passages are not in the index{similar}")


def _sentence(finding: Finding) -> str:
    """How often, what, and up to ten cases: line, ids, what is said of it."""
    cases = []
    for example in finding.examples:
        lines = [place.rpartition(":")[2] for place in example.places]
        said = (" ".join(map(repr, example.ids)), example.remark)
        cases.append(" ".join(["line", " and ".join(lines), *filter(None, said)]))
    message = _UNREADABLE if finding.code == "unreadable-line" else finding.message
    return f"{finding.count:,}: {message} ({'; '.join(cases)})"
