"""How good a pipeline is on judged queries, before and after reranking.

The pipeline is known only as an object that searches. Each query is searched once: the hits say at
which rank retrieval had them, so the ranking without the cross-encoder is read from the same hits.
Candidates are the real ones, never with relevant passages put in, and beside the scores stands
their ceiling: what a perfect reranker would reach with the candidates it was given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.compare import Interval, paired, paired_bootstrap
from shortlist.evaluation.metrics import (
    DEFAULT_MEASURES,
    Measure,
    Scores,
    has_relevant,
    parse_measures,
    score,
)
from shortlist.records import Hit, Qrels

_SELF_SHARE = 0.1  # of the queries that find themselves first, from which it is a warning
_FULL_DEPTH = 1000  # what a measure without a cut-off looks at: the depth of TREC's runs
_CHUNK = 256  # queries a call: enough for full batches, few enough for hits to be let go of


class Searcher(Protocol):
    """What is evaluated: a two-stage pipeline, or retrieval alone."""

    @property
    def has_reranker(self) -> bool:
        """Whether there is a cross-encoder to rerank with."""

    def search_many(
        self, queries: Sequence[str], *, top_k: int, depth: int, rerank: bool
    ) -> list[list[Hit]]:
        """Return the best `top_k` passages of each query, the first `depth` of them reranked."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found."""

    retrieval: Scores
    reranked: Scores | None  # None where the pipeline has no cross-encoder, as the next two
    ceiling: Scores | None  # the same candidates in the order of their grades
    comparison: Mapping[str, Interval] | None  # measure -> the change from retrieval to reranked
    queries: int  # what every mean is divided by
    judged: int  # queries of the qrels with a relevant passage, before `limit_queries`
    without_relevant: int  # queries of the qrels whose grades are all below 1: excluded
    unjudged: int  # queries that the qrels lack: not searched
    missing: tuple[str, ...]  # of the queries counted, those without a text: each counts as zero
    dangling: int  # counted judgements whose passage the corpus lacks; 0 where it was not given
    depth: int  # candidates that the cross-encoder saw
    exclude_self: bool
    seconds: float  # of searching, all queries and stages together
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all but the per-query values; "reranked" is None without a cross-encoder."""
        intervals = self.comparison
        counts = "queries judged without_relevant unjudged dangling depth exclude_self seconds"
        return {
            "retrieval": self.retrieval.as_json(),
            "reranked": self.reranked.as_json() if self.reranked else None,
            "ceiling": self.ceiling.as_json() if self.ceiling else None,
            "comparison": intervals and {name: i.as_json() for name, i in intervals.items()},
            **{name: getattr(self, name) for name in counts.split()},
            "retrieved": self.retrieval.retrieved,
            "missing": len(self.missing),
            "warnings": list(self.warnings),
        }


def evaluate(
    searcher: Searcher,
    queries: Mapping[str, str],
    qrels: Qrels,
    measures: Iterable[str | Measure] = DEFAULT_MEASURES,
    *,
    depth: int = 30,
    limit_queries: int | None = None,
    seed: int = 0,
    exclude_self: bool = False,
    missing_queries: Literal["zero", "error", "drop"] = "zero",
    corpus_ids: Container[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Search every judged query once and score both stages.

    `limit_queries` takes that many judged queries at random (by `seed`, whatever the order of the
    qrels). `exclude_self` drops the hit whose id is the query's own; one candidate more is asked
    for then. A judged query that `queries` lacks counts as zero, is an error, or is dropped.
    `corpus_ids` finds judgements of passages that nobody can retrieve. A measure without a cut-off
    looks at the first 1000. `on_progress` is told (queries done, queries to do).

    Raises `UsageError` for an argument that cannot work, and `DataError` where no judged query is
    among `queries` or, with missing_queries="error", where one is not.
    """
    wanted = parse_measures(measures)
    _check_counts(depth, limit_queries, missing_queries)
    judged = _judged(queries, qrels, missing_queries)
    chosen = _sample(judged, limit_queries, seed)
    counted = {query_id: qrels[query_id] for query_id in chosen}
    texts = {query_id: queries[query_id] for query_id in chosen if query_id in queries}
    started = time.perf_counter()
    answers = _searched(searcher, texts, _top_k(wanted, depth), depth, exclude_self, on_progress)
    orders = _orders(answers, counted, depth + exclude_self)
    seconds = time.perf_counter() - started
    retrieval, reranked, ceiling = (score(rankings, counted, wanted) for rankings in orders)
    both = searcher.has_reranker
    missing = tuple(query_id for query_id in chosen if query_id not in texts)
    dangling = [] if corpus_ids is None else _dangling(counted, corpus_ids)
    return Evaluation(
        retrieval=retrieval,
        reranked=reranked if both else None,
        ceiling=ceiling if both else None,
        comparison=_compared(retrieval, reranked, seed) if both else None,
        queries=len(chosen),
        judged=sum(map(has_relevant, qrels.values())),
        without_relevant=sum(not has_relevant(grades) for grades in qrels.values()),
        unjudged=len(queries.keys() - qrels.keys()),
        missing=missing,
        dangling=len(dangling),
        depth=depth,
        exclude_self=exclude_self,
        seconds=seconds,
        warnings=(
            *_warnings(retrieval, counted, missing, dangling),
            *(() if exclude_self else _self_warnings(orders[0], counted)),
        ),
    )


def _check_counts(depth: int, limit_queries: int | None, missing_queries: str) -> None:
    if depth < 1 or (limit_queries is not None and limit_queries < 1):
        what = f"got {depth} and {limit_queries}"
        raise UsageError(f"depth and limit_queries must be 1 or more, {what}")
    if missing_queries not in ("zero", "error", "drop"):
        raise UsageError(f"missing_queries must be zero, error or drop, got {missing_queries!r}")


def _judged(queries: Mapping[str, str], qrels: Qrels, missing_queries: str) -> list[str]:
    """Sorted ids of the queries that count: those with a relevant passage, by the missing rule."""
    judged = sorted(query_id for query_id in qrels if has_relevant(qrels[query_id]))
    given = [query_id for query_id in judged if query_id in queries]
    if not given:
        ids = f"the queries are {list(queries)[:10]}, those with a relevant passage {judged[:10]}"
        raise DataError(f"no judged query is among the queries given: {ids}")
    if missing_queries == "error" and len(given) < len(judged):
        missing = [query_id for query_id in judged if query_id not in queries]
        raise DataError(
            f"{len(missing)} judged queries are not among the queries given, such as "
            f"{missing[:10]}; add them, or count them as zero or drop them with missing_queries"
        )
    return given if missing_queries == "drop" else judged


def _sample(ids: Sequence[str], limit: int | None, seed: int) -> list[str]:
    if limit is None or limit >= len(ids):
        return list(ids)
    drawn = np.random.default_rng(seed).choice(len(ids), size=limit, replace=False)
    return [ids[i] for i in sorted(drawn.tolist())]


def _top_k(measures: Iterable[Measure], depth: int) -> int:
    """How many passages to ask for: all that are reranked, so that both orders are of one set."""
    cutoffs = [_FULL_DEPTH if measure.cutoff is None else measure.cutoff for measure in measures]
    return max(depth, *cutoffs)


def _searched(
    searcher: Searcher,
    texts: Mapping[str, str],
    top_k: int,
    depth: int,
    exclude_self: bool,
    on_progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[str, list[Hit]]]:
    """Query id and hits of each query, in the order of the answer."""
    ids = list(texts)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        answers = searcher.search_many(
            [texts[query_id] for query_id in chunk],
            top_k=top_k + exclude_self,
            depth=depth + exclude_self,
            rerank=searcher.has_reranker,
        )
        for query_id, hits in zip(chunk, answers, strict=True):
            yield query_id, [hit for hit in hits if not (exclude_self and hit.id == query_id)]
        if on_progress is not None:
            on_progress(start + len(chunk), len(ids))


def _orders(
    answers: Iterable[tuple[str, list[Hit]]], qrels: Qrels, depth: int
) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]]]:
    """Rank each query's hits as retrieved, as reranked, and as a perfect reranker would."""
    retrieved, reranked, ideal = ({i: list[str]() for i in qrels} for _ in range(3))
    for query_id, hits in answers:
        reranked[query_id] = [hit.id for hit in hits]
        hits = sorted(hits, key=lambda hit: hit.retrieval_rank)
        retrieved[query_id] = [hit.id for hit in hits]
        seen = [hit.id for hit in hits if hit.retrieval_rank <= depth]
        grades = qrels[query_id]
        ideal[query_id] = sorted(seen, key=lambda passage_id: -grades.get(passage_id, 0))
        ideal[query_id] += retrieved[query_id][len(seen) :]
    return retrieved, reranked, ideal


def _compared(retrieval: Scores, reranked: Scores, seed: int) -> dict[str, Interval]:
    return {
        name: paired_bootstrap(*paired(before, reranked.per_query[name]), seed=seed)
        for name, before in retrieval.per_query.items()
    }


def _dangling(qrels: Qrels, corpus_ids: Container[str]) -> list[tuple[str, int]]:
    """Passage id and grade of each judgement whose passage is not in the corpus."""
    judgements = (pair for grades in qrels.values() for pair in grades.items())
    return [(passage_id, grade) for passage_id, grade in judgements if passage_id not in corpus_ids]


def _self_warnings(rankings: Mapping[str, Sequence[str]], qrels: Qrels) -> Iterator[str]:
    selves = [
        query_id
        for query_id, ranking in rankings.items()
        if ranking[:1] == [query_id] and qrels[query_id].get(query_id, 0) < 1
    ]
    if len(selves) > _SELF_SHARE * len(rankings):  # a few may have the id of a passage by chance
        yield (
            f"{len(selves)} of {len(rankings)} queries find themselves first, such as "
            f"{selves[:10]}: the queries are in the corpus; leave them out of their own results "
            "with exclude_self (--exclude-self)"
        )


def _warnings(
    retrieval: Scores, qrels: Qrels, missing: Sequence[str], dangling: Sequence[tuple[str, int]]
) -> Iterator[str]:
    if missing:
        what = f"{len(missing)} judged queries are not among the queries given"
        yield f"{what} and count as zero: {list(missing[:10])}"
    if dangling:
        relevant = sum(grade >= 1 for _, grade in dangling)
        yield (
            f"{len(dangling)} judgements, {relevant} of them relevant, name passages that the "
            f"corpus lacks, such as {sorted({passage_id for passage_id, _ in dangling})[:10]}"
        )
    if not retrieval.known_passages:
        judged = sorted({passage_id for grades in qrels.values() for passage_id in grades})
        yield (
            "no retrieved passage has a judgement: do corpus and qrels use the same passage ids? "
            f"The qrels have {judged[:10]}"
        )
