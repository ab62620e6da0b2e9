"""How deep it pays to look: what each depth could reach, what it does reach, and what it takes.

One pass scores the deepest candidates, and every smaller depth is cut from it. Below the depth that
is scored only two things can be known, and are: the first stage's recall, and the ceiling, which is
what a reranker without fault would reach with so many candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from shortlist.errors import UsageError
from shortlist.evaluation.answers import (
    Answer,
    OnProgress,
    Searcher,
    answer_of,
    judged_queries,
    perfect,
    reranked,
    retrieved,
    sampled,
    searched,
)
from shortlist.evaluation.compare import mean_interval
from shortlist.evaluation.latency import measure_latency
from shortlist.evaluation.metrics import Measure, parse_measure, score
from shortlist.records import Qrels

DEPTHS = (1, 2, 5, 10, 20, 30, 50, 100, 200, 500, 1000)
SCORED_TO = 100
KNEE = 0.01  # of the best score: what the knee may lie below it


@dataclass(frozen=True, slots=True)
class Point:
    """What one depth gives."""

    depth: int
    recall: float  # of the first stage, at this depth
    ceiling: float  # what a perfect reranker reaches with so many candidates
    reached: float | None = None  # what the cross-encoder reaches; None where it did not look
    low: float | None = None  # ends of the 95 % interval of `reached`, queries resampled
    high: float | None = None
    ms: float | None = None  # median of single questions, all stages

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DepthCurve:
    """The points of rising depth, and the knee."""

    measure: str
    queries: int  # that each mean is over
    points: tuple[Point, ...]
    knee: int | None  # smallest depth within 1 % of the best score; None without a cross-encoder

    def as_json(self) -> dict[str, Any]:
        """Return the points as a list of mappings."""
        points = [point.as_json() for point in self.points]
        return {
            "measure": self.measure,
            "queries": self.queries,
            "knee": self.knee,
            "points": points,
        }


def depth_curve(
    searcher: Searcher,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    measure: str | Measure = "nDCG@10",
    depths: Sequence[int] = DEPTHS,
    scored_to: int = SCORED_TO,
    limit_queries: int | None = None,
    time_queries: int = 5,
    exclude_self: bool = False,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> DepthCurve:
    """Search each judged query once, `scored_to` candidates deep, and cut the answers again.

    `limit_queries` takes a seeded sample; fewer queries make wider intervals. So many as
    `time_queries` of them are asked once more at every scored depth, one at a time, for `ms`.

    Raises `UsageError` for depths that are not positive, and what `evaluate` raises.
    """
    chosen = sampled(judged_queries(queries, qrels), limit_queries, seed)
    texts = {query_id: queries[query_id] for query_id in chosen if query_id in queries}
    deepest = max(_checked(depths))
    # deeper ones would push candidates out of the answer that the curve is about
    scored_to = min(scored_to, deepest) if searcher.has_reranker else 0
    hits = searched(
        searcher,
        texts,
        top_k=deepest,
        depth=max(1, scored_to),
        rerank=searcher.has_reranker,
        exclude_self=exclude_self,
        on_progress=on_progress,
    )
    answers = {query_id: answer_of(found) for query_id, found in hits}
    counted = {query_id: qrels[query_id] for query_id in chosen}
    curve = curve_of(answers, counted, measure=measure, depths=depths, scored_to=scored_to)
    return timed_curve(curve, searcher, list(texts.values())[:time_queries])


def curve_of(
    answers: Mapping[str, Answer],
    qrels: Qrels,
    *,
    measure: str | Measure = "nDCG@10",
    depths: Sequence[int] = DEPTHS,
    scored_to: int = SCORED_TO,
) -> DepthCurve:
    """Read the curve from answers whose first `scored_to` candidates were reranked.

    Depths at which no query has a further candidate are left out: nothing could change.
    """
    wanted = parse_measure(measure)
    longest = max(map(len, answers.values()), default=0)
    ascending = _checked(depths)
    before = (0, *ascending)
    kept = [d for d, last in zip(ascending, before, strict=False) if last < longest]
    points = [
        _point(answers, qrels, wanted, depth, scored=depth <= scored_to)
        for depth in kept or ascending[:1]
    ]
    return DepthCurve(str(wanted), len(qrels), tuple(points), knee_of(points))


def timed_curve(curve: DepthCurve, searcher: Searcher, texts: Sequence[str]) -> DepthCurve:
    """The curve with the milliseconds of single questions at every depth that was scored."""
    if not texts:
        return curve
    points = [
        point
        if point.reached is None
        else replace(
            point, ms=measure_latency(searcher, texts, depth=point.depth, warm_up=1).total.p50
        )
        for point in curve.points
    ]
    return replace(curve, points=tuple(points))


def knee_of(points: Sequence[Point]) -> int | None:
    """The smallest depth whose score is within 1 % of the best; None where none was scored."""
    scored = [(point.depth, point.reached) for point in points if point.reached is not None]
    best = max((value for _, value in scored), default=0.0)
    return next((depth for depth, value in scored if value >= (1 - KNEE) * best), None)


def _point(
    answers: Mapping[str, Answer], qrels: Qrels, measure: Measure, depth: int, *, scored: bool
) -> Point:
    first = {query_id: retrieved(answer[:depth]) for query_id, answer in answers.items()}
    ideal = {
        query_id: perfect(answer, qrels[query_id], depth) for query_id, answer in answers.items()
    }
    recall = f"Recall@{depth}"
    point = Point(
        depth=depth,
        recall=score(first, qrels, [recall]).mean[recall],
        ceiling=score(ideal, qrels, [measure]).mean[str(measure)],
    )
    if not scored:
        return point
    rankings = {query_id: reranked(answer, depth) for query_id, answer in answers.items()}
    found = score(rankings, qrels, [measure])
    low, high = mean_interval(list(found.per_query[str(measure)].values()))
    return replace(point, reached=found.mean[str(measure)], low=low, high=high)


def _checked(depths: Sequence[int]) -> list[int]:
    if not depths or any(type(depth) is not int or depth < 1 for depth in depths):
        raise UsageError(f"depths must be whole numbers of 1 or more, got {list(depths)}")
    return sorted(set(depths))
