"""How good a pipeline is on judged queries, before and after reranking.

The pipeline is known only as an object that searches. Each query is searched once: the hits say at
which rank retrieval had them, so the ranking without the cross-encoder is read from the same hits.
Candidates are the real ones, never with relevant passages put in, and beside the scores stands
their ceiling: what a perfect reranker would reach with the candidates it was given.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from shortlist.errors import UsageError
from shortlist.evaluation.answers import (
    MissingQueries,
    OnProgress,
    Searcher,
    answer_of,
    by_logit,
    judged_queries,
    perfect,
    retrieved,
    sampled,
    searched,
)
from shortlist.evaluation.compare import Interval, paired, paired_bootstrap
from shortlist.evaluation.latency import Latency, measure_latency, peak_memory
from shortlist.evaluation.metrics import (
    DEFAULT_MEASURES,
    Measure,
    Rankings,
    Scores,
    has_relevant,
    parse_measures,
    score,
)
from shortlist.records import Hit, Qrels

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Evaluation", "Searcher", "evaluate"]

_SELF_SHARE = 0.1  # of the queries that find themselves first, from which it is a warning
_FULL_DEPTH = 1000  # what a measure without a cut-off looks at: the depth of TREC's runs
TIMED = 50  # queries that are asked once more, one at a time
SYSTEMS = ("retrieval", "cross_encoder", "reranked")  # in the order of every table


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found.

    Three rankings of the same candidates: by the first stage, by the cross-encoder's logit alone,
    and as the pipeline returns them, where both stages have their say.
    """

    retrieval: Scores
    cross_encoder: Scores | None  # None where the pipeline has no cross-encoder, as the next three
    reranked: Scores | None
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
    latency: Latency | None  # of single queries, both stages; None where none was timed
    footprint: Mapping[str, int | None]  # "index", "bi_encoder", "cross_encoder" -> bytes on disk
    peak_memory: int | None  # bytes that the process has held at most; None where not counted
    warnings: tuple[str, ...]
    rankings: Mapping[str, Rankings] = field(repr=False)  # system -> query id -> passage ids

    @property
    def systems(self) -> dict[str, Scores]:
        """Name -> scores of "retrieval" and, with a cross-encoder, the other two of SYSTEMS."""
        found = {name: getattr(self, name) for name in SYSTEMS}
        return {name: scores for name, scores in found.items() if scores is not None}

    def as_json(self) -> dict[str, Any]:
        """Return all but rankings and per-query values; what was not measured is None."""
        intervals = self.comparison
        counts = "queries judged without_relevant unjudged dangling depth exclude_self seconds"
        scores = {name: getattr(self, name) for name in (*SYSTEMS, "ceiling")}
        return {
            **{name: found.as_json() if found else None for name, found in scores.items()},
            "comparison": intervals and {name: i.as_json() for name, i in intervals.items()},
            **{name: getattr(self, name) for name in counts.split()},
            "retrieved": self.retrieval.retrieved,
            "missing": len(self.missing),
            "latency": self.latency.as_json() if self.latency else None,
            "footprint": dict(self.footprint),
            "peak_memory": self.peak_memory,
            "warnings": list(self.warnings),
        }

    def as_frame(self) -> DataFrame:
        """Return a row for each system: its means, and where timed p50, p95 (ms), queries/s."""
        from pandas import DataFrame

        rows = {name: dict(scores.mean) for name, scores in self.systems.items()}
        if self.ceiling is not None:
            rows["ceiling"] = dict(self.ceiling.mean)
        if self.latency is not None:
            first, total = self.latency.first_stage, self.latency.total
            rows["retrieval"] |= {"p50 (ms)": first.p50, "p95 (ms)": first.p95}
            for name in self.systems.keys() - {"retrieval"}:
                rows[name] |= {"p50 (ms)": total.p50, "p95 (ms)": total.p95}
        return DataFrame.from_dict(rows, orient="index").rename_axis("system")


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
    missing_queries: MissingQueries = "zero",
    corpus_ids: Container[str] | None = None,
    time_queries: int = TIMED,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Search every judged query once and score both stages.

    `limit_queries` takes that many judged queries at random (by `seed`, whatever the order of the
    qrels). `exclude_self` drops the hit whose id is the query's own; one candidate more is asked
    for then. A judged query that `queries` lacks counts as zero, is an error, or is dropped.
    `corpus_ids` finds judgements of passages that nobody can retrieve. A measure without a cut-off
    looks at the first 1000. `time_queries` of the queries are asked once more, one at a time, for
    their times (0: none). A searcher that has a `footprint` has it reported.

    Raises `UsageError` for an argument that cannot work, and `DataError` where no judged query is
    among `queries` or, with missing_queries="error", where one is not.
    """
    wanted = parse_measures(measures)
    _check_arguments(depth, time_queries, missing_queries)
    chosen = sampled(judged_queries(queries, qrels, missing_queries), limit_queries, seed)
    counted = {query_id: qrels[query_id] for query_id in chosen}
    texts = {query_id: queries[query_id] for query_id in chosen if query_id in queries}
    both = searcher.has_reranker
    started = time.perf_counter()
    answers = searched(
        searcher,
        texts,
        top_k=_top_k(wanted, depth),
        depth=depth,
        rerank=both,
        exclude_self=exclude_self,
        on_progress=on_progress,
    )
    rankings = _rankings(answers, counted, depth + exclude_self, both=both)
    seconds = time.perf_counter() - started
    scores = {name: score(ranking, counted, wanted) for name, ranking in rankings.items()}
    ceiling = rankings.pop("ceiling", None)
    retrieval, reranked = scores["retrieval"], scores.get("reranked")
    timed = list(texts.values())[:time_queries]
    missing = tuple(query_id for query_id in chosen if query_id not in texts)
    dangling = [] if corpus_ids is None else _dangling(counted, corpus_ids)
    return Evaluation(
        retrieval=retrieval,
        cross_encoder=scores.get("cross_encoder"),
        reranked=reranked,
        ceiling=scores["ceiling"] if ceiling else None,
        comparison=_compared(retrieval, reranked, seed) if reranked else None,
        queries=len(chosen),
        judged=sum(map(has_relevant, qrels.values())),
        without_relevant=sum(not has_relevant(grades) for grades in qrels.values()),
        unjudged=len(queries.keys() - qrels.keys()),
        missing=missing,
        dangling=len(dangling),
        depth=depth,
        exclude_self=exclude_self,
        seconds=seconds,
        latency=measure_latency(searcher, timed, depth=depth, rerank=both) if timed else None,
        footprint=dict(getattr(searcher, "footprint", {})),
        peak_memory=peak_memory(),
        warnings=(
            *_warnings(retrieval, counted, missing, dangling),
            *(() if exclude_self else _self_warnings(rankings["retrieval"], counted)),
        ),
        rankings=rankings,
    )


def _check_arguments(depth: int, time_queries: int, missing_queries: str) -> None:
    if depth < 1 or time_queries < 0:
        what = f"got {depth} and {time_queries}"
        raise UsageError(f"depth must be 1 or more and time_queries 0 or more, {what}")
    if missing_queries not in get_args(MissingQueries):
        raise UsageError(f"missing_queries must be zero, error or drop, got {missing_queries!r}")


def _top_k(measures: Iterable[Measure], depth: int) -> int:
    """How many passages to ask for: all that are reranked, so that both orders are of one set."""
    cutoffs = [_FULL_DEPTH if measure.cutoff is None else measure.cutoff for measure in measures]
    return max(depth, *cutoffs)


def _rankings(
    answers: Iterable[tuple[str, list[Hit]]], qrels: Qrels, depth: int, *, both: bool
) -> dict[str, dict[str, list[str]]]:
    """Rank each query's hits as retrieved and, with both stages, in the three other ways."""
    names = (*SYSTEMS, "ceiling") if both else ("retrieval",)
    rankings = {name: {query_id: list[str]() for query_id in qrels} for name in names}
    for query_id, hits in answers:
        answer = answer_of(hits)
        rankings["retrieval"][query_id] = retrieved(answer)
        if both:
            scored = sum(found.rerank_score is not None for found in answer)
            rankings["cross_encoder"][query_id] = by_logit(answer, scored)
            rankings["reranked"][query_id] = [hit.id for hit in hits]
            rankings["ceiling"][query_id] = perfect(answer, qrels[query_id], depth)
    return rankings


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
