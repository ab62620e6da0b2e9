"""One search of each judged query, and every ranking that can be read from it.

A hit says at which rank retrieval had it and what the second stage made of it, and that depends on
no other candidate. So nothing is searched twice: the ranking without the cross-encoder, by its
logit alone, of a perfect reranker and of any smaller depth are the same candidates, cut and sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.metrics import has_relevant
from shortlist.records import Hit, Qrels

OnProgress: TypeAlias = Callable[[int, int], object]
"""Told (queries done, queries to do)."""

MissingQueries: TypeAlias = Literal["zero", "error", "drop"]

_HITS_AT_ONCE = 1 << 16  # of one call: enough for full batches, few enough to be held with texts


class Searcher(Protocol):
    """What is evaluated: a two-stage pipeline, or retrieval alone."""

    @property
    def has_reranker(self) -> bool:
        """Whether there is a cross-encoder to rerank with."""

    def search_many(
        self,
        queries: Sequence[str],
        *,
        top_k: int,
        depth: int,
        rerank: bool,
        on_stage: Callable[[str, float], Any] | None = None,
    ) -> list[list[Hit]]:
        """Return the best `top_k` passages of each query, the first `depth` of them reranked.

        `on_stage` is told the seconds that "encode", "retrieve" and "rerank" took.
        """


class Found(NamedTuple):
    """One candidate: all that a ranking needs of a hit."""

    id: str
    retrieval_score: float
    score: float  # what the order of the pipeline is by
    rerank_score: float | None  # the logit; None below the depth


Answer: TypeAlias = tuple[Found, ...]
"""The candidates of one query in the order of the first stage."""


def judged_queries(
    queries: Mapping[str, str], qrels: Qrels, missing_queries: MissingQueries = "zero"
) -> list[str]:
    """Sorted ids of the queries that count: those with a relevant passage.

    Raises `DataError` where none of them has a text and, with "error", where one has none; with
    "drop" those are left out.
    """
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


def sampled(ids: Sequence[str], limit: int | None, seed: int) -> list[str]:
    """At most `limit` of the ids, in their order; which ones depends on the seed alone.

    Raises `UsageError` for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit_queries must be 1 or more, or None for all, got {limit}")
    if limit is None or limit >= len(ids):
        return list(ids)
    drawn = np.random.default_rng(seed).choice(len(ids), size=limit, replace=False)
    return [ids[i] for i in sorted(drawn.tolist())]


def searched(
    searcher: Searcher,
    texts: Mapping[str, str],
    *,
    top_k: int,
    depth: int,
    rerank: bool,
    exclude_self: bool = False,
    on_progress: OnProgress | None = None,
) -> Iterator[tuple[str, list[Hit]]]:
    """Yield id and hits of each query, in the order of the pipeline's answer.

    `exclude_self` drops the hit whose id is the query's own; one candidate more is asked for then.
    """
    ids = list(texts)
    step = max(1, min(256, _HITS_AT_ONCE // top_k))
    for start in range(0, len(ids), step):
        chunk = ids[start : start + step]
        answers = searcher.search_many(
            [texts[query_id] for query_id in chunk],
            top_k=top_k + exclude_self,
            depth=depth + exclude_self,
            rerank=rerank,
        )
        for query_id, hits in zip(chunk, answers, strict=True):
            yield query_id, [hit for hit in hits if not (exclude_self and hit.id == query_id)]
        if on_progress is not None:
            on_progress(start + len(chunk), len(ids))


def answer_of(hits: Sequence[Hit]) -> Answer:
    """Put the hits of one query into the order of the first stage; their texts are let go of."""
    ordered = sorted(hits, key=lambda hit: hit.retrieval_rank)
    return tuple(Found(h.id, h.retrieval_score, h.score, h.rerank_score) for h in ordered)


def retrieved(answer: Answer) -> list[str]:
    """Rank as the first stage alone."""
    return [found.id for found in answer]


def reranked(answer: Answer, depth: int) -> list[str]:
    """Rank as the pipeline does with this depth: the first candidates by score, then the rest."""
    _check_scored(answer, depth)
    return _first_by(answer, depth, lambda found: -found.score)


def by_logit(answer: Answer, depth: int) -> list[str]:
    """Rank the first candidates by the cross-encoder alone, without what the first stage said."""
    _check_scored(answer, depth)
    return _first_by(answer, depth, lambda found: -(found.rerank_score or 0.0))


def perfect(answer: Answer, grades: Mapping[str, int], depth: int) -> list[str]:
    """Rank the first candidates by their grades: what no reranker can do better."""
    return _first_by(answer, depth, lambda found: -grades.get(found.id, 0))


def _first_by(answer: Answer, depth: int, key: Callable[[Found], float]) -> list[str]:
    return [found.id for found in (*sorted(answer[:depth], key=key), *answer[depth:])]  # stable


def _check_scored(answer: Answer, depth: int) -> None:
    scored = next((n for n, f in enumerate(answer) if f.rerank_score is None), len(answer))
    if scored < min(depth, len(answer)):
        raise UsageError(
            f"the cross-encoder scored the first {scored} candidates; a ranking at depth {depth} "
            "cannot be read from them"
        )
