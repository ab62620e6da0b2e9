"""How long one question takes, stage by stage, and what the process holds in memory.

Questions are asked one at a time, as a user does, after a few that are not counted: the first ones
load models and fill caches. What a batch of many saves is not in these figures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shortlist.errors import UsageError
from shortlist.evaluation.answers import Searcher

WARM_UP = 3
STAGES = ("encode", "retrieve", "rerank")


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds that half, and 95 of 100, questions do not exceed."""

    p50: float
    p95: float

    def as_json(self) -> dict[str, float]:
        """Return both by name."""
        return {"p50": self.p50, "p95": self.p95}


@dataclass(frozen=True, slots=True)
class Latency:
    """The times of single questions."""

    queries: int  # that were timed
    total: Quantiles
    first_stage: Quantiles  # encoding and retrieval together
    stages: Mapping[str, Quantiles]  # "encode", "retrieve", "rerank", where there is such a stage
    queries_per_second: float  # one after the other

    def as_json(self) -> dict[str, Any]:
        """Return milliseconds by stage."""
        return {
            "queries": self.queries,
            **self.total.as_json(),
            "first_stage": self.first_stage.as_json(),
            **{name: self.stages[name].as_json() for name in STAGES if name in self.stages},
            "queries_per_second": self.queries_per_second,
        }


def measure_latency(
    searcher: Searcher,
    texts: Sequence[str],
    *,
    depth: int = 30,
    rerank: bool = True,
    top_k: int = 10,
    warm_up: int = WARM_UP,
) -> Latency:
    """Ask each of the texts once, alone, after `warm_up` of them that are not counted.

    Raises `UsageError` where there is no text.
    """
    if not texts:
        raise UsageError("no query was given to be timed; give one at least")
    for text in texts[:warm_up]:
        searcher.search_many([text], top_k=top_k, depth=depth, rerank=rerank)
    times = [_timed(searcher, text, depth=depth, rerank=rerank, top_k=top_k) for text in texts]
    stages = {name: _quantiles(t[name] for t in times) for name in STAGES if name in times[0]}
    return Latency(
        queries=len(texts),
        total=_quantiles(t["total"] for t in times),
        first_stage=_quantiles(t.get("encode", 0.0) + t.get("retrieve", 0.0) for t in times),
        stages=stages,
        queries_per_second=len(times) / sum(t["total"] for t in times),
    )


def _timed(
    searcher: Searcher, text: str, *, depth: int, rerank: bool, top_k: int
) -> dict[str, float]:
    """Seconds of each stage, and of all of it."""
    taken: dict[str, float] = {}

    def add(stage: str, seconds: float) -> None:
        taken[stage] = taken.get(stage, 0.0) + seconds

    started = time.perf_counter()
    searcher.search_many([text], top_k=top_k, depth=depth, rerank=rerank, on_stage=add)
    return {**taken, "total": time.perf_counter() - started}


def _quantiles(seconds: Iterable[float]) -> Quantiles:
    p50, p95 = np.quantile(1000 * np.array(list(seconds)), [0.5, 0.95])
    return Quantiles(float(p50), float(p95))


def peak_memory() -> int | None:
    """Bytes of memory that this process has held at most so far; None where nobody counts them."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    kilobytes = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobytes
