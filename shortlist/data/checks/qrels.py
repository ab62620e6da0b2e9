"""Checking judgements, each file a split: grades, repeated lines, ids that lead nowhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shortlist.data import quora, streams
from shortlist.data.checks.queries import Queries
from shortlist.data.checks.report import Example, Findings, shown
from shortlist.data.qrels import judgements
from shortlist.errors import DataError


@dataclass(slots=True)
class Split:
    """One file of judgements."""

    path: Path
    name: str  # "train", "dev.small"
    grades: dict[str, dict[str, int]] = field(default_factory=dict)  # the first of each pair
    lines: dict[tuple[str, str], int] = field(default_factory=dict)  # (query, passage) -> line

    @property
    def family(self) -> str:
        """Return what the split is a part of: dev.small is one of dev."""
        return self.name.split(".")[0]

    def relevant(self) -> Iterable[tuple[str, str]]:
        """Yield the pairs of query and passage with a grade of at least 1."""
        for query_id, grades in self.grades.items():
            for passage_id, grade in grades.items():
                if grade > 0:
                    yield query_id, passage_id

    def place(self, query_id: str, passage_id: str) -> str:
        """Return "path:line" of a judgement."""
        number = self.lines[query_id, passage_id]
        return f"{self.path}:{number}" if number else str(self.path)


def split_name(path: Path) -> str:
    """Name a split after its file.

    >>> split_name(Path("qrels.dev.small.tsv.gz")), split_name(Path("qrels/Test.tsv"))
    ('dev.small', 'test')
    """
    stem = re.sub(r"\.(tsv|txt|trec|qrels?|csv)$", "", streams.bare_name(path.name))
    return re.sub(r"^qrels?[._-]+", "", stem)


def check_qrels(paths: Iterable[Path], queries: Queries, findings: Findings) -> list[Split]:
    """Read all files of judgements, entering what is wrong with them and with their query ids."""
    splits = []
    for path in paths:
        split = Split(path, split_name(path))
        complete = _read(split, findings)
        if not split.grades:
            if complete and not findings.has("qrels", "unreadable-line", path):
                findings.add("qrels", "empty-file", path, Example((str(path),)))
            continue
        splits.append(split)
        _check_grades(split, queries.texts, findings)
        if queries.given and queries.complete:
            _check_queries(split, queries, findings)
    judged = {query_id for split in splits for query_id in split.grades}
    if splits and not findings.stopped("qrels"):
        for query_id in queries.texts:
            if query_id not in judged:
                where = queries.places[query_id][0]
                example = Example(
                    (queries.place(query_id),), (query_id,), (shown(queries.texts[query_id]),)
                )
                findings.add("queries", "query-without-judgement", where, example)
    return splits


def _read(split: Split, findings: Findings) -> bool:
    """Fill a split; whether its file could be read to its end."""
    path = split.path
    try:
        streams.check(path)
        if quora.is_pairs(path):
            split.grades = quora.read_duplicates(path).qrels
            split.lines = {(q, p): 0 for q, grades in split.grades.items() for p in grades}
            return True
        for line in judgements(path, lambda error: findings.unreadable_line("qrels", path, error)):
            _enter(split, *line, findings)
    except DataError as error:
        findings.unreadable_file("qrels", path, error)
        return False
    return True


def _enter(
    split: Split, number: int, query_id: str, passage_id: str, grade: int, findings: Findings
) -> None:
    grades = split.grades.setdefault(query_id, {})
    if passage_id not in grades:
        grades[passage_id] = grade
        split.lines[query_id, passage_id] = number
        return
    places = (split.place(query_id, passage_id), f"{split.path}:{number}")
    ids = (query_id, passage_id)
    if grades[passage_id] == grade:
        findings.add("qrels", "repeated-line", split.path, Example(places, ids))
    else:
        remark = f"grades {grades[passage_id]} and {grade}"
        example = Example(places, ids, remark=remark)
        findings.add("qrels", "conflicting-grades", split.path, example)


def _check_grades(split: Split, texts: Mapping[str, str], findings: Findings) -> None:
    for query_id, grades in split.grades.items():
        for passage_id, grade in grades.items():
            if grade < 0:
                place = split.place(query_id, passage_id)
                example = Example((place,), (query_id, passage_id), remark=f"grade {grade}")
                findings.add("qrels", "negative-grade", split.path, example)
        if max(grades.values()) <= 0:
            place = split.place(query_id, next(iter(grades)))
            shown_text = (shown(texts[query_id]),) if query_id in texts else ()
            example = Example((place,), (query_id,), shown_text)
            findings.add("qrels", "no-relevant-passage", split.path, example)


def _check_queries(split: Split, queries: Queries, findings: Findings) -> None:
    dangling = {
        query_id: split.place(query_id, next(iter(grades)))
        for query_id, grades in split.grades.items()
        if query_id not in queries.texts
    }
    for query_id, place in dangling.items():
        findings.add("qrels", "dangling-query", split.path, Example((place,), (query_id,)))
    if dangling:
        known = ((query_id, queries.place(query_id)) for query_id in queries.texts)
        enter_id_types(split.path, dangling, known, findings)


def enter_id_types(
    path: Path,
    dangling: Mapping[str, str],
    known: Iterable[tuple[str, str]],
    findings: Findings,
    subject: str = "qrels",
) -> None:
    """Enter dangling ids that a harmless normalisation finds among known ones: ids and places."""
    alike = Alike(dangling)
    matched: dict[str, tuple[str, str, str]] = {}
    for identifier, place in known:
        for other, rule in alike.matches(identifier):
            matched.setdefault(other, (identifier, place, rule))
    for other, (identifier, place, rule) in matched.items():
        remark = f"alike but for {rule}"
        example = Example((dangling[other], place), (other, identifier), remark=remark)
        findings.add(subject, "id-type", path, example)


def _without_zeros(identifier: str) -> str:
    return re.sub(r"^0+(?=[0-9])", "", identifier)


def _without_fraction(identifier: str) -> str:
    return re.sub(r"(?<=[0-9])\.0+$", "", identifier)


def _nfc(identifier: str) -> str:
    return unicodedata.normalize("NFC", identifier)


_RULES: Mapping[str, Callable[[str], str]] = {
    "surrounding blanks": str.strip,
    "leading zeros": _without_zeros,
    'a trailing ".0"': _without_fraction,
    "upper and lower case": str.casefold,
    "Unicode normalisation (NFC)": _nfc,
    "several of blanks, zeros, fraction, case and Unicode form": lambda identifier: _without_zeros(
        _without_fraction(_nfc(identifier.strip()).casefold())
    ),
}


class Alike:
    """Ids, to be found again under other spellings."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._forms: dict[str, dict[str, list[str]]] = {rule: {} for rule in _RULES}
        for identifier in ids:
            for rule, normal in _RULES.items():
                self._forms[rule].setdefault(normal(identifier), []).append(identifier)

    def matches(self, identifier: str) -> list[tuple[str, str]]:
        """Return the ids that equal this one after a rule, each with the first such rule."""
        found: dict[str, str] = {}
        for rule, normal in _RULES.items():
            for other in self._forms[rule].get(normal(identifier), ()):
                found.setdefault(other, rule)
        return list(found.items())
