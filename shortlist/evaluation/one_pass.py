"""An evaluation at one depth and the curve over all depths, from one scoring pass."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from shortlist.evaluation.answers import Answer, OnProgress, Searcher, answer_of
from shortlist.evaluation.depth import DEPTHS, SCORED_TO, DepthCurve, curve_of, timed_curve
from shortlist.evaluation.evaluate import TIMED, Evaluation, evaluate
from shortlist.evaluation.latency import measure_latency
from shortlist.evaluation.metrics import DEFAULT_MEASURES, Measure, parse_measures
from shortlist.records import Hit, Qrels

_TIMED_AT_EACH_DEPTH = 5  # queries, one at a time


def evaluate_with_curve(
    searcher: Searcher,
    queries: Mapping[str, str],
    qrels: Qrels,
    measures: Iterable[str | Measure] = DEFAULT_MEASURES,
    *,
    depth: int = 30,
    depths: Sequence[int] = DEPTHS,
    scored_to: int = SCORED_TO,
    limit_queries: int | None = None,
    seed: int = 0,
    exclude_self: bool = False,
    corpus_ids: Container[str] | None = None,
    time_queries: int = TIMED,
    on_progress: OnProgress | None = None,
) -> tuple[Evaluation, DepthCurve]:
    """Search each judged query once, as deep as the curve needs, and cut both from the answers.

    The evaluation is that of `evaluate` at `depth`, but for `seconds`, which are of the deeper
    search; the curve is of the first measure, at `depths` and at `depth`. The first `scored_to`
    candidates are reranked (or `depth`, where that is more). Times are measured apart, at the depth
    that they are of: of `time_queries` for the evaluation, of five at each depth of the curve, none
    where `time_queries` is 0.

    It holds the answers of all queries, about 200 kB each at a depth of 1,000. Raises what
    `evaluate` and `depth_curve` raise.
    """
    wanted = parse_measures(measures)
    scored_to = max(scored_to, depth) if searcher.has_reranker else 0
    deeper = _Deeper(searcher, max((*depths, depth)) + exclude_self, scored_to + exclude_self)
    result = evaluate(
        deeper,
        queries,
        qrels,
        wanted,
        depth=depth,
        limit_queries=limit_queries,
        seed=seed,
        exclude_self=exclude_self,
        corpus_ids=corpus_ids,
        time_queries=0,
        on_progress=on_progress,
    )
    counted = list(result.rankings["retrieval"])
    texts = {query_id: queries[query_id] for query_id in counted if query_id in queries}
    curve = curve_of(
        {
            query_id: _without(deeper.answers[text], query_id if exclude_self else None)
            for query_id, text in texts.items()
        },
        {query_id: qrels[query_id] for query_id in counted},
        measure=wanted[0],
        depths=[*depths, depth],
        scored_to=scored_to,
    )
    timed = list(texts.values())[:time_queries]
    if not timed:
        return result, curve
    latency = measure_latency(searcher, timed, depth=depth, rerank=searcher.has_reranker)
    return replace(result, latency=latency), timed_curve(
        curve, searcher, timed[:_TIMED_AT_EACH_DEPTH]
    )


class _Deeper:
    """A searcher that looks deeper than it is asked to, keeps what it saw, and returns the cut."""

    def __init__(self, searcher: Searcher, top_k: int, depth: int) -> None:
        self.has_reranker = searcher.has_reranker
        self.footprint: Mapping[str, int | None] = getattr(searcher, "footprint", {})
        self.answers: dict[str, Answer] = {}  # by the query's text
        self._searcher = searcher
        self._top_k = top_k
        self._depth = depth

    def search_many(
        self,
        queries: Sequence[str],
        *,
        top_k: int,
        depth: int,
        rerank: bool,
        on_stage: Callable[[str, float], Any] | None = None,
    ) -> list[list[Hit]]:
        deepest = max(depth, self._depth)
        found = self._searcher.search_many(
            queries,
            top_k=max(top_k, self._top_k, deepest if rerank else 1),
            depth=deepest,
            rerank=rerank,
            on_stage=on_stage,
        )
        for query, hits in zip(queries, found, strict=True):
            self.answers[query] = answer_of(hits)
        return [_cut(hits, depth if rerank else 0)[:top_k] for hits in found]


def _cut(hits: Sequence[Hit], depth: int) -> list[Hit]:
    """What the searcher returns at a smaller depth: a hit's score is the same at every depth."""
    ordered = sorted(hits, key=lambda hit: hit.retrieval_rank)
    rescored = sorted(ordered[:depth], key=lambda hit: -hit.score)  # stable
    return [*rescored, *(replace(hit, rerank_score=None) for hit in ordered[depth:])]


def _without(answer: Answer, passage_id: str | None) -> Answer:
    return tuple(found for found in answer if found.id != passage_id)
