"""Which first stage, reranked or not, and how deep: measured on one set of questions, and said why.

Every first stage is asked once, with the deepest candidates reranked; the systems at smaller depths
are cut from its answers. The recommendation is a rule, not a taste: of the systems whose primary
measure is within 1 % of the best, the one that answers fastest. What the questions cannot tell
apart is said, and so is what the recommendation gives up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shortlist.errors import UsageError
from shortlist.evaluation.answers import (
    Answer,
    Searcher,
    answer_of,
    judged_queries,
    reranked,
    retrieved,
    sampled,
    searched,
)
from shortlist.evaluation.compare import Comparison, compare_all, mean_interval
from shortlist.evaluation.depth import DEPTHS as CURVE
from shortlist.evaluation.depth import DepthCurve, curve_of
from shortlist.evaluation.latency import WARM_UP, Latency, measure_latency
from shortlist.evaluation.metrics import Measure, Scores, parse_measures, score
from shortlist.records import Qrels

MEASURES = ("nDCG@10", "MRR@10", "Recall@100")
DEPTHS = (10, 30, 50)
LIMIT_QUERIES = 100
TOLERANCE = 0.01  # of the best mean: what a faster system may lie below it and be recommended
SIGNIFICANT = 0.05
LEXICAL = "bm25"  # the name of the baseline among the first stages
_TIMED_FIRST, _TIMED_BOTH = 50, 10  # queries: a first stage takes little time, a reranker much


@dataclass(frozen=True, slots=True)
class FirstStage:
    """A candidate: a first stage with the cross-encoder that would stand behind it."""

    name: str
    searcher: Searcher  # asked for the rankings; may remember scores
    clock: Searcher | None = None  # asked for the times, where the searcher remembers
    cross_encoder: str | None = None  # its name
    task: str = "both"  # what its model was made for: symmetric, asymmetric or both


@dataclass(frozen=True, slots=True)
class System:
    """A first stage at one depth of reranking, 0 for none, and what it reached."""

    name: str
    stage: FirstStage
    depth: int
    scores: Scores
    intervals: Mapping[str, tuple[float, float]]  # measure -> ends of the 95 % interval of the mean
    latency: Latency
    on_frontier: bool = False  # no system is better without being slower

    def as_json(self) -> dict[str, Any]:
        """Return means, intervals, milliseconds and bytes; the names are those of a study."""
        footprint = getattr(self.stage.searcher, "footprint", {})
        second = footprint.get("cross_encoder") if self.depth else None
        models = [size for size in (footprint.get("bi_encoder"), second) if size is not None]
        times = self.latency.as_json()
        return {
            "name": self.name,
            "retriever": self.stage.name,
            "cross_encoder": self.stage.cross_encoder if self.depth else None,
            "depth": self.depth,
            "mean": dict(self.scores.mean),
            "interval": {name: list(ends) for name, ends in self.intervals.items()},
            "ms": times,
            "queries_per_second": times.pop("queries_per_second"),
            "index_bytes": footprint.get("index"),
            "model_bytes": sum(models) if models else None,
            "pareto": self.on_frontier,
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """What `choose` found."""

    primary: str  # the measure that decides
    systems: tuple[System, ...]  # fastest first, of equally fast ones the best
    recommended: System
    best: System  # by the primary measure
    comparisons: tuple[Comparison, ...]  # from the recommended system to every other
    reasons: tuple[str, ...]  # sentences with the figures in them
    curves: Mapping[str, DepthCurve]  # first stage -> what each depth gives
    queries: Mapping[str, str]  # that were asked
    qrels: Qrels  # their judgements
    of_queries: int  # judged queries, before the limit
    answers: Mapping[str, Mapping[str, Answer]] = field(
        repr=False
    )  # first stage -> query id -> ...

    def as_json(self) -> dict[str, Any]:
        """Return the table, the recommendation and its evidence."""
        systems = [
            {**system.as_json(), "recommended": system is self.recommended}
            for system in self.systems
        ]
        return {
            "primary": self.primary,
            "queries": len(self.qrels),
            "of_queries": self.of_queries,
            "recommended": self.recommended.name,
            "best": self.best.name,
            "reasons": list(self.reasons),
            "systems": systems,
            "comparisons": [comparison.as_json() for comparison in self.comparisons],
            "depth_curves": [
                {"retriever": name, **curve.as_json()} for name, curve in self.curves.items()
            ],
        }

    def rankings(self, system: System) -> dict[str, list[str]]:
        """Query id -> passage ids, best first, as the system ranks them."""
        return _rankings(self.answers[system.stage.name], system.depth)


def choose(
    stages: Sequence[FirstStage],
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    depths: Sequence[int] = DEPTHS,
    measures: Iterable[str | Measure] = MEASURES,
    limit_queries: int | None = LIMIT_QUERIES,
    exclude_self: bool = False,
    seed: int = 0,
    on_step: Callable[[str], object] | None = None,
) -> Choice:
    """Measure every first stage without reranking and at each of `depths`, and recommend one.

    The first of `measures` decides. `limit_queries` takes a seeded sample of the judged queries.
    Each system is timed on a few of them, asked one at a time. `on_step` is told what is begun.

    Raises `UsageError` where no first stage or two of one name are given or a depth is below 1, and
    `DataError` where no judged query is among `queries`.
    """
    wanted = parse_measures(measures)
    _check(stages, depths)
    judged = judged_queries(queries, qrels)
    chosen = sampled(judged, limit_queries, seed)
    texts = {query_id: queries[query_id] for query_id in chosen if query_id in queries}
    counted = {query_id: qrels[query_id] for query_id in chosen}
    tell = on_step or (lambda _: None)
    answers: dict[str, dict[str, Answer]] = {}
    systems: list[System] = []
    for stage in stages:
        tell(f"{stage.name}: searching {len(texts)} queries")
        deepest = max(depths) if stage.searcher.has_reranker else 0
        answers[stage.name] = _answers(stage.searcher, texts, deepest, exclude_self)
        tell(f"{stage.name}: timing")
        for depth in (0, *sorted(set(depths))) if deepest else (0,):
            rankings = _rankings(answers[stage.name], depth)
            systems.append(_system(stage, depth, score(rankings, counted, wanted), texts))
    primary = str(wanted[0])
    ordered = _with_frontier(
        sorted(systems, key=lambda s: (s.latency.total.p50, -s.scores.mean[primary])), primary
    )
    best = max(ordered, key=lambda system: system.scores.mean[primary])
    recommended = _recommended(ordered, best, primary)
    comparisons = _compared(ordered, recommended, primary)
    return Choice(
        primary=primary,
        systems=tuple(ordered),
        recommended=recommended,
        best=best,
        comparisons=tuple(comparisons),
        reasons=tuple(_reasons(ordered, recommended, best, comparisons, primary)),
        curves={
            stage.name: curve_of(
                answers[stage.name],
                counted,
                measure=wanted[0],
                depths=[*CURVE, *depths],
                scored_to=max(depths) if stage.searcher.has_reranker else 0,
            )
            for stage in stages
        },
        queries=texts,
        qrels=counted,
        of_queries=len(judged),
        answers=answers,
    )


def _check(stages: Sequence[FirstStage], depths: Sequence[int]) -> None:
    names = [stage.name for stage in stages]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"first stages must be one or more, of different names; got {names}")
    if not depths or any(type(depth) is not int or depth < 1 for depth in depths):
        raise UsageError(f"depths must be whole numbers of 1 or more, got {list(depths)}")


def _answers(
    searcher: Searcher, texts: Mapping[str, str], deepest: int, exclude_self: bool
) -> dict[str, Answer]:
    hits = searched(
        searcher,
        texts,
        top_k=max(*CURVE, deepest),  # the deepest candidates must not be cut off after reranking
        depth=max(1, deepest),
        rerank=bool(deepest),
        exclude_self=exclude_self,
    )
    return {query_id: answer_of(found) for query_id, found in hits}


def _rankings(answers: Mapping[str, Answer], depth: int) -> dict[str, list[str]]:
    return {
        query_id: reranked(answer, depth) if depth else retrieved(answer)
        for query_id, answer in answers.items()
    }


def _system(stage: FirstStage, depth: int, scores: Scores, texts: Mapping[str, str]) -> System:
    timed = list(texts.values())[: _TIMED_BOTH if depth else _TIMED_FIRST]
    return System(
        name=f"{stage.name} + rerank {depth}" if depth else stage.name,
        stage=stage,
        depth=depth,
        scores=scores,
        intervals={
            name: mean_interval(list(column.values())) for name, column in scores.per_query.items()
        },
        latency=measure_latency(
            stage.clock or stage.searcher,
            timed,
            depth=max(1, depth),
            rerank=bool(depth),
            warm_up=1 if depth else WARM_UP,  # the first stage is warm by then
        ),
    )


def _with_frontier(systems: Sequence[System], primary: str) -> list[System]:
    """Mark, of systems in the order of their times, those better than all before them."""
    marked, highest = [], -1.0
    for system in systems:
        value = system.scores.mean[primary]
        marked.append(replace(system, on_frontier=value > highest))
        highest = max(highest, value)
    return marked


def _recommended(systems: Sequence[System], best: System, primary: str) -> System:
    """The fastest that is good enough; `systems` stand in the order of their times."""
    enough = (1 - TOLERANCE) * best.scores.mean[primary]
    return next(system for system in systems if system.scores.mean[primary] >= enough)


def _compared(systems: Sequence[System], recommended: System, primary: str) -> list[Comparison]:
    if len(systems) < 2:
        return []
    values = {system.name: system.scores.per_query[primary] for system in systems}
    return compare_all(values, measure=primary, baseline=recommended.name)


# why


def _reasons(
    systems: Sequence[System],
    recommended: System,
    best: System,
    comparisons: Sequence[Comparison],
    primary: str,
) -> Iterator[str]:
    """First what is recommended, then what it is better than, then what stays open."""
    low, high = recommended.intervals[primary]
    value = recommended.scores.mean[primary]
    yield (
        f"{recommended.name} reaches {primary} {value:.3f} ({low:.3f} to {high:.3f} with 95 % "
        f"confidence, {recommended.scores.judged} queries) in {_ms(recommended)} a query."
    )
    if best is not recommended:
        gap = best.scores.mean[primary] / value - 1
        yield (
            f"The highest figure, {best.scores.mean[primary]:.3f} by {best.name}, is {gap:.1%} "
            f"above it and takes {_ms(best)}; up to {TOLERANCE:.0%} is left to the faster one."
        )
    by_name = {comparison.b: comparison for comparison in comparisons}
    yield from _on_reranking(systems, recommended, by_name)
    if recommended.stage.name != LEXICAL and (lexical := by_name.get(LEXICAL)):
        yield f"Keyword search (bm25) {_against(lexical)}."
    open_ones = [c.b for c in comparisons if c.p_holm >= SIGNIFICANT]
    if open_ones:
        yield (
            f"These queries cannot tell it from {', '.join(open_ones)}: the differences could be "
            "chance (randomisation test, Holm's correction). More judged queries would."
        )


def _on_reranking(
    systems: Sequence[System], recommended: System, by_name: Mapping[str, Comparison]
) -> Iterator[str]:
    """What the same first stage does without the second, or with it."""
    same = [s for s in systems if s.stage is recommended.stage and s is not recommended]
    if recommended.depth:
        for alone in (s for s in same if not s.depth):
            yield f"Without reranking it {_against(by_name[alone.name])}, in {_ms(alone)}."
    elif same:
        deepest = max(same, key=lambda system: system.depth)
        yield (
            f"With {deepest.depth} candidates reranked it {_against(by_name[deepest.name])}, in "
            f"{_ms(deepest)}."
        )


def _against(comparison: Comparison) -> str:
    """How the other system stands to the recommended one."""
    interval = comparison.interval
    sure = "" if comparison.p_holm < SIGNIFICANT else "; could be chance"
    return (
        f"reaches {interval.mean_b:.3f} ({interval.mean_difference:+.3f}, "
        f"{interval.low:+.3f} to {interval.high:+.3f}{sure})"
    )


def _ms(system: System) -> str:
    value = system.latency.total.p50
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"
