"""What is lost where the same questions are written otherwise, next to what is not.

Every system answers the questions as they are and once more for each change; the two are compared
on the questions that the change alters, paired by question. With a lexical system beside the
others, "works with synonyms and misspellings, unlike keyword search" is a measured sentence.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.compare import Interval, mean_interval, paired, paired_bootstrap
from shortlist.evaluation.metrics import Measure, Rankings, has_relevant, parse_measure, score
from shortlist.evaluation.rewrites import REWRITES
from shortlist.records import Qrels

System: TypeAlias = Callable[[Mapping[str, str]], Mapping[str, Sequence[str]]]
"""A function from queries (id -> text) to rankings (id -> passage ids, best first)."""

_FEW = 6  # with fewer queries no two-sided randomisation test falls below 0.05: 2 / 2**5 is more


@dataclass(frozen=True, slots=True)
class Row:
    """What one change does to one system."""

    change: str  # name of the rewrite or of the other wording
    queries: int  # how many were changed: both means are over these
    system: str
    measure: str
    clean: float  # mean of the queries as they were
    changed: float
    interval: Interval  # of changed - clean, paired by query

    def as_json(self) -> dict[str, Any]:
        """Return one flat row of figures; "relative" is None where `clean` is zero."""
        return {
            "change": self.change,
            "queries": self.queries,
            "system": self.system,
            "measure": self.measure,
            "clean": self.clean,
            "changed": self.changed,
            "difference": self.interval.mean_difference,
            "low": self.interval.low,
            "high": self.interval.high,
            "relative": self.interval.relative,
        }


@dataclass(frozen=True, slots=True)
class KindRow:
    """The mean of the queries of one kind, with the ends of its 95 % bootstrap interval."""

    kind: str
    queries: int
    mean: float
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {
            "kind": self.kind,
            "queries": self.queries,
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
        }


def rewritten(queries: Mapping[str, str], name: str, *, seed: int = 0) -> dict[str, str]:
    """The queries that the rewrite `name` changes, by id, as it writes them.

    What becomes of a query depends on its id, its text, the rewrite and `seed`: other queries may
    come and go. Raises `UsageError` for a name that REWRITES lacks.
    """
    if name not in REWRITES:
        raise UsageError(f"unknown change {name!r}; known are {', '.join(map(repr, REWRITES))}")
    rewrite = REWRITES[name].rewrite
    pairs = ((i, rewrite(text, _generator(seed, name, i))) for i, text in queries.items())
    return {query_id: text for query_id, text in pairs if text is not None}


def robustness(
    systems: Mapping[str, System],
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    measure: str | Measure = "nDCG@10",
    changes: Iterable[str] | None = None,
    other_wordings: Mapping[str, Mapping[str, str]] = {},
    seed: int = 0,
) -> list[Row]:
    """Ask every system the judged queries as they are and in each change: a row for each pair.

    The rows come by change, then by system. `changes` are names of REWRITES; by default all that
    change a query. `other_wordings` are further versions of the same queries by name, under the
    same ids: translations, judged paraphrases. A system is asked once for the queries as they are
    and once for every change; a query that it leaves out counts as zero. A judged query without a
    text is in no row, as one that a change leaves as it is.

    Raises `UsageError` for an unknown change or measure, for another wording that has the name of
    one of REWRITES, and where there is no system or nothing to ask; `DataError` where queries and
    qrels have no id in common, where a change that was asked for alters no query, for another
    wording of a query that is not there or without text, and where a system answers what it was
    not asked.
    """
    wanted = parse_measure(measure)
    if not systems:
        raise UsageError("no system was given; give one at least, as name -> function")
    judged = _judged(queries, qrels)
    versions = _rewrites(judged, changes, seed)
    if changes is not None and not versions and not other_wordings:
        raise UsageError(f"no change was given; known are {', '.join(map(repr, REWRITES))}")
    for name, wording in other_wordings.items():
        if name in REWRITES:  # asked for or not: `sentences` would take it for that one
            raise UsageError(f"{name!r} is a change already; give the other wording another name")
        versions[name] = _other_wording(name, wording, queries, judged)
    if not versions:
        raise DataError(f"none of the {len(judged)} judged queries is altered by any change")
    rows: dict[str, list[Row]] = {name: [] for name in versions}
    for system_name, system in systems.items():
        clean = _values(system_name, system, judged, qrels, wanted)
        for name, texts in versions.items():
            changed = _values(system_name, system, texts, qrels, wanted)
            before, after = paired({query_id: clean[query_id] for query_id in texts}, changed)
            found = paired_bootstrap(before, after, seed=seed)
            row = Row(
                change=name,
                queries=len(texts),
                system=system_name,
                measure=str(wanted),
                clean=found.mean_a,
                changed=found.mean_b,
                interval=found,
            )
            rows[name].append(row)
    return [row for name in versions for row in rows[name]]


def by_kind(
    values: Mapping[str, float], kinds: Mapping[str, str], *, seed: int = 0
) -> list[KindRow]:
    """Mean and interval of the per-query `values` for each kind of query, sorted by kind.

    `kinds` is query id -> kind, and may name more queries than there are values. Raises `DataError`
    where there is no value or a query has no kind, `UsageError` for a value that is not finite.
    """
    if not values:
        raise DataError("no query has a value: nothing to sort by kind")
    if without := sorted(values.keys() - kinds.keys()):
        raise DataError(
            f"{len(without)} queries have no kind, such as {without[:10]}; give every query one"
        )
    grouped: dict[str, list[float]] = {}
    for query_id in sorted(values):  # the interval must not hang on the order of the mapping
        grouped.setdefault(kinds[query_id], []).append(values[query_id])
    return [_kind_row(kind, group, seed) for kind, group in sorted(grouped.items())]


def sentences(rows: Iterable[Row]) -> list[str]:
    """One sentence a change, of the rows in the order that `robustness` gives them.

    "With misspellings BM25 keeps 61 % of its nDCG@10 (0.66 → 0.40, 186 queries), minilm 88 %
    (0.65 → 0.57)." A difference whose interval holds zero, or that rests on fewer than six queries,
    is said to be one that could be chance.
    """
    grouped = groupby(rows, key=lambda row: (row.change, row.measure))
    return [_sentence(list(group)) for _, group in grouped]


def _kind_row(kind: str, values: Sequence[float], seed: int) -> KindRow:
    low, high = mean_interval(values, seed=seed)  # first: it refuses what fsum would trip over
    return KindRow(kind, len(values), math.fsum(values) / len(values), low, high)


def _sentence(rows: Sequence[Row]) -> str:
    change, measure = rows[0].change, rows[0].measure
    phrase = REWRITES[change].phrase if change in REWRITES else f"In the wording “{change}”"
    parts, has_said_what = [], False
    for row in rows:
        relative = row.interval.relative
        if relative is None:
            kept = f"has no {measure} to lose"
        elif has_said_what:
            kept = f"{100 * (1 + relative):.0f} %"
        else:
            kept, has_said_what = f"keeps {100 * (1 + relative):.0f} % of its {measure}", True
        parts.append(f"{row.system} {kept} ({_figures(row, counted=row is rows[0])})")
    return f"{phrase} {', '.join(parts)}."


def _figures(row: Row, *, counted: bool) -> str:
    figures = [f"{row.clean:.2f} → {row.changed:.2f}"]
    if counted:
        figures.append(f"{row.queries} {'query' if row.queries == 1 else 'queries'}")
    is_unsure = row.queries < _FEW or row.interval.low <= 0 <= row.interval.high
    if row.interval.mean_difference and is_unsure:
        figures.append("could be chance")
    return ", ".join(figures)


def _generator(seed: int, name: str, query_id: str) -> np.random.Generator:
    """A generator of this query's own, the same in every process."""
    key = f"{seed}\0{name}\0{query_id}".encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key).digest(), "big"))


def _judged(queries: Mapping[str, str], qrels: Qrels) -> dict[str, str]:
    """The queries with a relevant passage, sorted by id."""
    judged = sorted(query_id for query_id in qrels if has_relevant(qrels[query_id]))
    if not judged:
        what = f"none of the {len(qrels)} queries of the qrels has a relevant passage"
        raise DataError(f"{what} (grade 1 or more): nothing to measure; check the grades' column")
    texts = {query_id: queries[query_id] for query_id in judged if query_id in queries}
    if not texts:
        ids = f"the queries are {list(queries)[:10]}, those with a relevant passage {judged[:10]}"
        raise DataError(f"no judged query is among the queries given: {ids}")
    return texts


def _rewrites(
    judged: Mapping[str, str], changes: Iterable[str] | None, seed: int
) -> dict[str, dict[str, str]]:
    """Name of each change -> the queries that it alters; a change asked for must alter one."""
    if isinstance(changes, str):
        raise UsageError(f"changes must be a list, got a string; write [{changes!r}]")
    names = REWRITES if changes is None else changes
    versions = {name: rewritten(judged, name, seed=seed) for name in names}
    altering = {name: texts for name, texts in versions.items() if texts}
    if changes is not None and len(altering) < len(versions):
        idle = sorted(versions.keys() - altering.keys())
        raise DataError(
            f"{idle} alter none of the {len(judged)} judged queries, such as "
            f"{list(judged.values())[:3]}; leave them out"
        )
    return altering


def _other_wording(
    name: str, wording: Mapping[str, str], queries: Mapping[str, str], judged: Mapping[str, str]
) -> dict[str, str]:
    """The judged queries that `wording` words otherwise, sorted by id."""
    if unknown := sorted(wording.keys() - queries.keys()):
        raise DataError(
            f"the wording {name!r} has {len(unknown)} ids that the queries lack, such as "
            f"{unknown[:10]}; give it the ids of the queries that it words otherwise"
        )
    if blank := sorted(query_id for query_id, text in wording.items() if not text.strip()):
        raise DataError(f"the wording {name!r} has no text for {blank[:10]}; leave these out")
    texts = {i: wording[i] for i in judged if i in wording and wording[i] != judged[i]}
    if not texts:
        raise DataError(
            f"the wording {name!r} words none of the {len(judged)} judged queries otherwise; its "
            f"ids are {list(wording)[:10]}, the judged ones {list(judged)[:10]}"
        )
    return texts


def _values(
    name: str, system: System, texts: Mapping[str, str], qrels: Qrels, measure: Measure
) -> Mapping[str, float]:
    """What `system` reaches on each query asked; one that it leaves out counts as zero."""
    answers = system(texts)
    if unasked := sorted(answers.keys() - texts.keys()):
        raise DataError(
            f"system {name!r} answered {len(unasked)} queries that it was not asked, such as "
            f"{unasked[:10]}; its rankings must have the ids of the queries"
        )
    rankings: Rankings = {query_id: answers.get(query_id, ()) for query_id in texts}
    try:
        scores = score(rankings, {query_id: qrels[query_id] for query_id in texts}, [measure])
    except (DataError, UsageError) as error:
        raise type(error)(f"system {name!r}: {error}") from error
    return scores.per_query[str(measure)]
