"""The queries that reranking helped and hurt most, and where their relevant passages went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shortlist.errors import UsageError
from shortlist.evaluation.compare import Change, most_changed
from shortlist.evaluation.evaluate import Evaluation
from shortlist.records import Qrels


@dataclass(frozen=True, slots=True)
class Moved:
    """A relevant passage and its ranks; None where it is not in the ranking."""

    id: str
    grade: int
    rank_before: int | None
    rank_after: int | None


@dataclass(frozen=True, slots=True)
class ChangedQuery:
    """A query that both stages answer differently well."""

    id: str
    text: str
    before: float  # its score by retrieval alone
    after: float  # ... and reranked
    relevant: tuple[Moved, ...]  # the highest grade first, then as reranked

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name, the id as "query"."""
        return {
            "query": self.id,
            "text": self.text,
            "before": self.before,
            "after": self.after,
            "relevant": [asdict(moved) for moved in self.relevant],
        }


@dataclass(frozen=True, slots=True)
class Changed:
    """The queries that changed most, the largest change first."""

    measure: str
    gained: tuple[ChangedQuery, ...]
    lost: tuple[ChangedQuery, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the measure and two lists."""
        return {
            "measure": self.measure,
            "gained": [query.as_json() for query in self.gained],
            "lost": [query.as_json() for query in self.lost],
        }


def changed_queries(
    result: Evaluation, queries: Mapping[str, str], qrels: Qrels, number: int = 10
) -> Changed:
    """Return the `number` queries that gained and the `number` that lost most by reranking.

    By the first measure of the evaluation, of `queries` and `qrels` that it was made with. Raises
    `UsageError` where nothing was reranked, and for a number below 1.
    """
    if result.reranked is None:
        raise UsageError(
            "nothing was reranked, so that no query gained or lost; evaluate a pipeline that has a "
            "cross-encoder"
        )
    if number < 1:
        raise UsageError(f"the number of queries to show must be 1 or more, got {number}")
    measure = next(iter(result.retrieval.mean))
    gained, lost = most_changed(
        result.retrieval.per_query[measure], result.reranked.per_query[measure], number
    )

    def with_ranks(changes: Iterable[Change]) -> tuple[ChangedQuery, ...]:
        return tuple(
            ChangedQuery(
                change.query_id,
                queries[change.query_id],
                change.before,
                change.after,
                _moved(result, change.query_id, qrels[change.query_id]),
            )
            for change in changes
        )

    return Changed(measure, with_ranks(gained), with_ranks(lost))


def _moved(result: Evaluation, query_id: str, grades: Mapping[str, int]) -> tuple[Moved, ...]:
    before, after = (
        {passage_id: rank for rank, passage_id in enumerate(result.rankings[name][query_id], 1)}
        for name in ("retrieval", "reranked")
    )
    moved = [
        Moved(passage_id, grade, before.get(passage_id), after.get(passage_id))
        for passage_id, grade in grades.items()
        if grade >= 1
    ]
    return tuple(sorted(moved, key=lambda m: (-m.grade, m.rank_after or len(after) + 1, m.id)))
