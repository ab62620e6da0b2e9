"""What `shortlist evaluate` shows: one list of tables and sentences, for a terminal or a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shortlist.cli.comparisons import (
    DETECTABLE,
    change_cell,
    detectable_cell,
    ends,
    outcomes_cell,
    p_cell,
    relative_cell,
)
from shortlist.cli.engines import reached
from shortlist.cli.evaluated import Evaluated, with_statistics
from shortlist.cli.markdown import markdown_table
from shortlist.cli.show import stdout, table
from shortlist.data.checks.report import shown
from shortlist.data.ledger import counted
from shortlist.evaluation.changed import ChangedQuery, Moved
from shortlist.evaluation.depth import DepthCurve, Point
from shortlist.evaluation.evaluate import Evaluation
from shortlist.evaluation.latency import STAGES, Latency

_NAMES = {"cross_encoder": "cross-encoder alone", "bi_encoder": "bi-encoder"}  # of JSON, of tables
_RELEVANT_SHOWN = 3  # relevant passages of a query that changed; JSON has all
_NOTHING = "-"


class _Table(NamedTuple):
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def print_evaluation(result: Evaluation) -> None:
    """Print the scores of all systems, the change, times and sizes."""
    print_evaluated(with_statistics(result))


def print_evaluated(found: Evaluated) -> None:
    """Print all that was found."""
    for block in _blocks(found):
        if isinstance(block, str):
            stdout().print(block, soft_wrap=True)
        else:
            table(*block)


def as_markdown(found: Evaluated) -> str:
    """The same as a page."""
    return "\n".join(
        f"{block}\n" if isinstance(block, str) else markdown_table(*block)
        for block in _blocks(found)
    )


def _blocks(found: Evaluated) -> Iterator[_Table | str]:
    yield from _counts(found)
    yield _systems(found.result)
    yield _intervals(found)
    if found.comparisons:
        yield _changes(found)
        yield DETECTABLE
    if found.result.latency is not None:
        yield _times(found.result.latency)
    yield _sizes(found.result)
    if found.engine is not None:
        yield f"engine {found.engine.name}: {reached(found.engine.measured)}"
    if found.curve is not None:
        yield _depths(found.curve)
        yield _knee(found.curve)
    if found.changed is not None:
        measure = found.changed.measure
        yield from _queries(f"{measure}: gained most by reranking", measure, found.changed.gained)
        yield from _queries(f"{measure}: lost most by reranking", measure, found.changed.lost)


def _counts(found: Evaluated) -> Iterator[str]:
    """What every mean is over, and what was left out of it."""
    result, passages = found.result, found.passages
    of = f" of {result.judged:,} judged" if result.queries < result.judged else ", all that are"
    yield (
        f"queries: {result.queries:,} counted{of}; {result.without_relevant:,} excluded (no "
        f"relevant passage), {len(result.missing):,} missing (without a text: they count as zero), "
        f"{result.unjudged:,} unjudged (not searched)"
    )
    yield (
        f"passages: {passages['retrieved']:,} retrieved, {passages['judged']:,} of them judged, "
        f"{passages['unjudged']:,} unjudged; {counted(result.dangling, 'judgements')} dangling "
        f"(not in the index); a query's own passage is "
        f"{'excluded (--exclude-self)' if result.exclude_self else 'not excluded'}"
    )


def _systems(result: Evaluation) -> _Table:
    latency, both = result.latency, result.reranked is not None
    scores = dict(result.systems)
    if result.ceiling is not None:
        scores["ceiling"] = result.ceiling
    rows = []
    for name, found in scores.items():
        row = [_NAMES.get(name, name), *(f"{mean:.4f}" for mean in found.mean.values())]
        rows.append(row + _times_of(name, latency, both=both) if latency else row)
    times = ["p50 ms", "p95 ms", "queries/s"] if latency else []
    title = f"depth {result.depth}" if both else "retrieval alone"
    return _Table(title, ["system", *result.retrieval.mean, *times], rows)


def _times_of(system: str, latency: Latency, *, both: bool) -> list[str]:
    if system == "ceiling":
        return [_NOTHING] * 3
    if system == "retrieval" and both:
        return [_ms(latency.first_stage.p50), _ms(latency.first_stage.p95), _NOTHING]
    rate = f"{latency.queries_per_second:,.1f}"
    return [_ms(latency.total.p50), _ms(latency.total.p95), rate]


def _intervals(found: Evaluated) -> str:
    system = "reranked" if "reranked" in found.intervals else "retrieval"
    parts = [f"{name} {ends(*interval)}" for name, interval in found.intervals[system].items()]
    return f"95 % intervals, {system}: {', '.join(parts)}"


def _changes(found: Evaluated) -> _Table:
    rows = [
        [name, change_cell(c), relative_cell(c), p_cell(c.p_value), outcomes_cell(c),
         detectable_cell(c)]
        for name, c in found.comparisons.items()
    ]  # fmt: skip
    columns = ["measure", "change (95 %)", "relative", "p", "won/tied/lost", "detectable"]
    return _Table("retrieval → reranked", columns, rows)


def _times(latency: Latency) -> _Table:
    stages = {name: latency.stages[name] for name in STAGES if name in latency.stages}
    rows = [
        [name, _ms(taken.p50), _ms(taken.p95)]
        for name, taken in {**stages, "all": latency.total}.items()
    ]
    title = f"{counted(latency.queries, 'questions')}, one at a time"
    return _Table(title, ["stage", "p50 ms", "p95 ms"], rows)


def _sizes(result: Evaluation) -> str:
    parts = [
        f"{_NAMES.get(name, name).removesuffix(' alone')} {_megabytes(size)}"
        for name, size in result.footprint.items()
        if size is not None
    ]
    memory = f"peak memory of the process: {_megabytes(result.peak_memory)}"
    return f"on disk: {', '.join(parts)}; {memory}" if parts else memory


def _depths(curve: DepthCurve) -> _Table:
    rows = []
    for point in curve.points:
        scored = [_NOTHING] * 2 if point.reached is None else [f"{point.reached:.4f}", _of(point)]
        ms = _NOTHING if point.ms is None else _ms(point.ms)
        fixed = [f"{point.depth:,}", f"{point.recall:.4f}", f"{point.ceiling:.4f}"]
        rows.append([*fixed, *scored, ms])
    columns = ["depth", "recall", f"ceiling of {curve.measure}", "reached", "95 %", "p50 ms"]
    return _Table(f"{curve.measure} by depth, {counted(curve.queries, 'questions')}", columns, rows)


def _of(point: Point) -> str:
    return _NOTHING if point.low is None or point.high is None else ends(point.low, point.high)


def _knee(curve: DepthCurve) -> str:
    reached = {point.depth: point.reached for point in curve.points}.get(curve.knee or 0)
    if curve.knee is None or reached is None:
        return "knee: none; nothing was reranked"
    return (
        f"knee: depth {curve.knee}, the smallest that is within 1 % of the best {curve.measure} "
        f"reached ({reached:.4f}); recall is of the first stage, the ceiling what a perfect "
        "reranker reaches"
    )


def _queries(title: str, measure: str, changed: Sequence[ChangedQuery]) -> Iterator[_Table | str]:
    if not changed:
        yield f"{title}: no query"
        return
    rows = [
        [
            f"{shown(query.id)}: {shown(query.text)}",
            f"{query.before:.4f} → {query.after:.4f}",
            _relevant(query.relevant),
        ]
        for query in changed
    ]
    yield _Table(title, ["query", measure, "ranks of relevant passages"], rows)


def _relevant(passages: Sequence[Moved]) -> str:
    """Where the relevant passages were and are, "-" where not among those retrieved."""
    parts = [
        f"{shown(p.id)} {p.rank_before or _NOTHING} → {p.rank_after or _NOTHING}"
        for p in passages[:_RELEVANT_SHOWN]
    ]
    if len(passages) > _RELEVANT_SHOWN:
        parts.append(f"{len(passages) - _RELEVANT_SHOWN} more")
    return ", ".join(parts)


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _megabytes(size: int | None) -> str:
    return "not counted here" if size is None else f"{size / 1e6:,.1f} MB"
