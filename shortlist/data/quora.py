"""Pairs of questions, labelled as asking the same or not -> questions, queries and judgements.

Two forms are read: the file that Quora published (``id qid1 qid2 question1 question2
is_duplicate``, tabs or commas) and pairs without ids (``text1 text2 score``, other columns aside).
Asking the same is transitive here: questions that are linked by pairs form a cluster, every
question of a cluster is a query, and the others are what answers it. A query is thus in the corpus
itself; leave it out of its own results (`exclude_self`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shortlist.data import streams
from shortlist.data.ledger import Ledger
from shortlist.data.rows import Row, kind_of, read_rows
from shortlist.errors import DataError
from shortlist.records import Passage

NAMES = ("quora_duplicate_questions.tsv", "questions.csv")
_PUBLISHED = {"qid1", "qid2", "question1", "question2", "is_duplicate"}
_WITHOUT_IDS = {"text1", "text2", "score"}


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What a file of pairs holds."""

    questions: dict[str, str]  # id -> text of every question
    queries: dict[str, str]  # of those that have a duplicate
    qrels: dict[str, dict[str, int]]  # query id -> id of each other question of its cluster -> 1


def is_pairs(path: Path) -> bool:
    """Whether a file is one of the two forms, by its header."""
    if kind_of(path) not in ("TSV", "CSV") or not path.is_file():
        return False
    try:
        header = next((line for _, line in streams.lines(path)), "")
    except DataError:
        return False  # whoever reads it on will say what is wrong
    names = {name.strip().strip('"') for name in header.replace(",", "\t").split("\t")}
    return names >= _PUBLISHED or names >= _WITHOUT_IDS


def read_duplicates(path: Path, ledger: Ledger | None = None) -> Duplicates:
    """Read a file of pairs; it is held in memory (a gigabyte for two million questions).

    Raises DataError with file and line for a label that is neither 0 nor 1, and for an id that
    stands for two different questions.
    """
    ledger = ledger if ledger is not None else Ledger()
    questions: dict[str, str] = {}
    clusters = _Clusters()
    different: list[tuple[str, str]] = []
    for row in read_rows(path):
        if not any(row.values.keys() >= names for names in (_PUBLISHED, _WITHOUT_IDS)):
            raise DataError(
                f"{row.place}: expected the columns {', '.join(sorted(_PUBLISHED))} with tabs "
                f"between them in a .tsv file, got {', '.join(map(repr, row.values))[:120]}"
            )
        pair = [_question(row, side, questions, ledger) for side in ("1", "2")]
        if not all(pair):
            ledger.drop("pairs with an empty question")
            continue
        one, other = pair
        if _is_duplicate(row):
            clusters.join(one, other)
        else:
            different.append((one, other))
    members = clusters.members()
    conflicts = sum(clusters.same(one, other) for one, other in different if one != other)
    if conflicts:
        ledger.note("pairs labelled different whose questions other pairs link", conflicts)
    qrels = {
        query: {other: 1 for other in cluster if other != query}
        for cluster in members
        for query in cluster
    }
    order = [question for question in questions if question in qrels]
    return Duplicates(
        questions, {q: questions[q] for q in order}, {q: qrels[q] for q in order}
    )  # fmt: skip


def read_judged(path: Path) -> Duplicates:
    """Read a file of pairs that some are to be judged by; DataError where none ask the same."""
    found = read_duplicates(path)
    if not found.queries:
        raise DataError(f"{path}: no pair is labelled as asking the same; expected labels of 1")
    return found


def read_questions(path: Path, ledger: Ledger) -> Iterator[Passage]:
    """Yield every question of a file of pairs once, as a passage."""
    for identifier, text in read_duplicates(path, ledger).questions.items():
        ledger.kept += 1
        yield Passage(identifier, text)


def _question(row: Row, side: str, questions: dict[str, str], ledger: Ledger) -> str:
    """Enter one question of a pair, and return its id; "" where there is no text."""
    published = row.values.keys() >= _PUBLISHED
    value = row.values[("question" if published else "text") + side]
    text = str(value or "").strip()
    if not text:
        return ""
    if published:
        identifier = str(row.values["qid" + side] or "").strip()
        if not identifier:
            raise DataError(f"{row.place}: qid{side} is empty; expected the id of a question")
    else:
        identifier = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    known = questions.setdefault(identifier, text)
    if known != text:
        if " ".join(known.casefold().split()) != " ".join(text.casefold().split()):
            raise DataError(
                f"{row.place}: the id {identifier!r} is that of {known[:60]!r} in an earlier pair, "
                f"and of {text[:60]!r} here; ids must be unique"
            )
        ledger.note("questions whose spelling differs between pairs")
    return identifier


def _is_duplicate(row: Row) -> bool:
    label = str(row.values.get("is_duplicate", row.values.get("score"))).strip()
    if label not in ("0", "1", "0.0", "1.0"):
        raise DataError(f"{row.place}: expected a label of 0 or 1, got {label[:60]!r}")
    return float(label) == 1


class _Clusters:
    """Sets that grow together: union-find with path halving."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def _root(self, item: str) -> str:
        parent = self._parent
        while parent.setdefault(item, item) != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, one: str, other: str) -> None:
        self._parent[self._root(one)] = self._root(other)

    def same(self, one: str, other: str) -> bool:
        return (
            one in self._parent and other in self._parent and self._root(one) == self._root(other)
        )

    def members(self) -> list[list[str]]:
        """The clusters of at least two."""
        found: dict[str, list[str]] = {}
        for item in self._parent:
            found.setdefault(self._root(item), []).append(item)
        return [cluster for cluster in found.values() if len(cluster) > 1]
