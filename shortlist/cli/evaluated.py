"""All that `shortlist evaluate` found: the evaluation, and what is worked out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shortlist.evaluation.changed import Changed
from shortlist.evaluation.compare import Comparison, compare_all, mean_interval
from shortlist.evaluation.depth import DepthCurve
from shortlist.evaluation.evaluate import Evaluation

if TYPE_CHECKING:
    from shortlist.pipeline.engines.approximate import Measured


@dataclass(frozen=True, slots=True)
class Engine:
    """An approximate engine, and what it reaches."""

    name: str
    measured: Measured


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation with its statistics; the curve and the queries that changed where asked for."""

    result: Evaluation
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]  # system -> measure -> of the mean
    comparisons: Mapping[str, Comparison]  # measure -> from retrieval to reranked; {} without
    curve: DepthCurve | None = None
    changed: Changed | None = None
    engine: Engine | None = None  # None: the exact search

    @property
    def passages(self) -> dict[str, int]:
        """Passages in the rankings of retrieval, and how many of them were judged."""
        retrieval = self.result.rankings["retrieval"]
        retrieved, judged = sum(map(len, retrieval.values())), self.result.retrieval.known_passages
        return {"retrieved": retrieved, "judged": judged, "unjudged": retrieved - judged}

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints; what was not asked for or not measured is None."""
        return {
            **self.result.as_json(),
            "passages": self.passages,
            "intervals": {
                system: {measure: list(ends) for measure, ends in found.items()}
                for system, found in self.intervals.items()
            },
            "comparisons": {name: found.as_json() for name, found in self.comparisons.items()},
            "curve": self.curve and self.curve.as_json(),
            "changed": self.changed and self.changed.as_json(),
            "engine": self.engine and asdict(self.engine),
        }


def with_statistics(
    result: Evaluation,
    curve: DepthCurve | None = None,
    changed: Changed | None = None,
    engine: Engine | None = None,
) -> Evaluated:
    """Work out the intervals of the means, and compare the stages by every measure."""
    comparisons = {}
    for name, after in result.reranked.per_query.items() if result.reranked else ():
        stages = {"retrieval": result.retrieval.per_query[name], "reranked": after}
        (comparisons[name],) = compare_all(stages, measure=name)
    return Evaluated(
        result=result,
        intervals={
            system: {
                name: mean_interval(list(values.values()))
                for name, values in scores.per_query.items()
            }
            for system, scores in result.systems.items()
        },
        comparisons=comparisons,
        curve=curve,
        changed=changed,
        engine=engine,
    )
