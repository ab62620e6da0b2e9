"""Times of single questions, by a clock that only the searcher moves; memory as the kernel says."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from shortlist.errors import UsageError
from shortlist.evaluation import latency
from shortlist.evaluation.latency import measure_latency, peak_memory
from shortlist.records import Hit


class Clock:
    """Seconds that pass only where somebody says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=made.perf_counter))
    return made


class Slow:
    """Each question takes as many milliseconds as it says, a tenth of them outside the stages."""

    has_reranker = True

    def __init__(self, clock: Clock, stages: Sequence[str]) -> None:
        self.clock = clock
        self.stages = stages
        self.asked: list[str] = []

    def search_many(
        self,
        queries: Sequence[str],
        *,
        top_k: int,
        depth: int,
        rerank: bool,
        on_stage: Callable[[str, float], object] | None = None,
    ) -> list[list[Hit]]:
        self.asked += [f"{query} {top_k} {depth} {rerank}" for query in queries]
        seconds = sum(map(float, queries)) / 1000
        self.clock.now += seconds
        for stage in self.stages:
            if on_stage:
                on_stage(stage, 0.9 * seconds / len(self.stages))
        return [[] for _ in queries]


def test_quantiles_are_of_single_questions_without_the_warm_up(clock: Clock) -> None:
    times = [40, 10, 20, 30, 90]
    searcher = Slow(clock, ["encode", "retrieve", "rerank"])
    found = measure_latency(searcher, [str(ms) for ms in times], depth=7, warm_up=2)
    each = [f"{ms} 10 7 True" for ms in times]
    assert searcher.asked == [*each[:2], *each]
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    assert (found.queries, found.total.p50) == (5, pytest.approx(30))
    assert found.total.p95 == pytest.approx(p95)
    assert found.queries_per_second == pytest.approx(1000 * 5 / sum(times))
    for stage in ("encode", "retrieve", "rerank"):
        assert found.stages[stage].p50 == pytest.approx(9)
        assert found.stages[stage].p95 == pytest.approx(0.3 * p95)
    assert found.first_stage.p50 == pytest.approx(18)


def test_stages_that_come_in_parts_are_added_up_and_those_that_do_not_are_absent(
    clock: Clock,
) -> None:
    found = measure_latency(Slow(clock, ["retrieve"] * 3), ["10"], rerank=False, warm_up=0)
    assert {name: stage.p50 for name, stage in found.stages.items()} == {
        "retrieve": pytest.approx(9)
    }
    assert found.first_stage.p50 == pytest.approx(9)
    written = found.as_json()
    assert list(written) == [
        "queries", "p50", "p95", "first_stage", "retrieve", "queries_per_second",
    ]  # fmt: skip
    assert written["retrieve"] == {"p50": pytest.approx(9), "p95": pytest.approx(9)}
    assert written["queries_per_second"] == pytest.approx(100)


def test_nothing_to_time_is_refused(clock: Clock) -> None:
    with pytest.raises(UsageError, match="no query was given to be timed; give one at least"):
        measure_latency(Slow(clock, []), [])


def test_peak_memory_is_in_bytes_and_remembers_what_was_let_go_of() -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc to compare with")

    def kernel(name: str) -> int:
        (line,) = [text for text in status.read_text().splitlines() if text.startswith(name)]
        return 1024 * int(line.split()[1])

    block = np.ones(25_000_000)  # 200 MB
    there = kernel("VmRSS")
    del block
    found = peak_memory()
    assert found is not None
    assert found >= 0.95 * there > 190_000_000
    assert found < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
