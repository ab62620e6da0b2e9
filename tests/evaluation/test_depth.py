"""The depth curve against brute force: sets, sorting, and for the ceiling every order there is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise, permutations
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_searcher import (
    Clock,
    TableSearcher,
    mean_over,
    ndcg,
    random_table,
    ranked_by_hand,
    recall,
    reciprocal_rank,
)

from shortlist.errors import DataError, UsageError
from shortlist.evaluation import latency
from shortlist.evaluation.answers import Answer, Found, by_logit, perfect, reranked, retrieved
from shortlist.evaluation.depth import (
    DepthCurve,
    Point,
    curve_of,
    depth_curve,
    knee_of,
    timed_curve,
)

PASSAGES = [f"p{n}" for n in range(40)]
QUERIES = {f"q{n}": f"question {n}" for n in range(6)} | {"p3": "a passage"}
MEASURES = {"nDCG@10": ndcg, "MRR@10": reciprocal_rank}


def answer_with(rows: Sequence[tuple[str, float]], scored_to: int) -> Answer:
    return tuple(
        Found(passage_id, -float(n), logit, logit)
        if n < scored_to
        else Found(passage_id, -float(n), -float(n), None)
        for n, (passage_id, logit) in enumerate(rows)
    )


@st.composite
def collections(draw: st.DrawFn) -> tuple[dict[str, list[tuple[str, float]]], dict[str, Any]]:
    """One to three queries: up to ten passages each in some order with logits; and their grades."""
    table, qrels = {}, {}
    for number in range(draw(st.integers(1, 3))):
        found = draw(st.lists(st.sampled_from(PASSAGES[:10]), max_size=10, unique=True))
        logits = draw(st.permutations(range(len(found))))
        table[f"q{number}"] = [(i, float(x)) for i, x in zip(found, logits, strict=True)]
        grades = st.dictionaries(st.sampled_from(PASSAGES[:12]), st.integers(0, 3), max_size=6)
        qrels[f"q{number}"] = draw(grades) | {draw(st.sampled_from(PASSAGES[:12])): 1}
    return table, qrels


def best_of_all_orders(
    rows: Sequence[tuple[str, float]], grades: dict[str, int], depth: int, measure: Any
) -> float:
    ids = [passage_id for passage_id, _ in rows]
    return max(measure([*order, *ids[depth:]], grades) for order in permutations(ids[:depth]))


@settings(max_examples=60, deadline=None)
@given(made=collections(), measure=st.sampled_from(list(MEASURES)), scored_to=st.integers(0, 5))
def test_every_point_is_what_brute_force_finds(made: Any, measure: str, scored_to: int) -> None:
    table, qrels = made
    answers = {query_id: answer_with(rows, scored_to) for query_id, rows in table.items()}
    found = curve_of(answers, qrels, measure=measure, depths=range(1, 6), scored_to=scored_to)
    by_hand = MEASURES[measure]
    longest = max(map(len, table.values()))
    assert [point.depth for point in found.points] == [*range(1, max(2, min(5, longest) + 1))]
    assert (found.measure, found.queries) == (measure, len(qrels))
    for point in found.points:
        depth = point.depth
        first = {i: [p for p, _ in rows] for i, rows in table.items()}
        assert point.recall == pytest.approx(
            sum(recall(first[i], qrels[i], depth) for i in table) / len(table)
        )
        assert point.ceiling == pytest.approx(
            sum(best_of_all_orders(table[i], qrels[i], depth, by_hand) for i in table) / len(table)
        )
        if depth <= scored_to:
            rankings = {i: ranked_by_hand(rows, depth) for i, rows in table.items()}
            assert point.reached == pytest.approx(mean_over(by_hand, rankings, qrels))
            assert point.low is not None
            assert point.high is not None
            assert point.low - 1e-9 <= point.reached <= point.high + 1e-9
        else:
            assert (point.reached, point.low, point.high) == (None, None, None)


@settings(max_examples=60, deadline=None)
@given(
    made=collections(),
    measure=st.sampled_from(["nDCG@10", "nDCG@3", "MRR@10", "MAP", "P@5", "Success@1", "Recall@3"]),
    depths=st.sets(st.integers(1, 12), min_size=1),
)
def test_deeper_is_never_worse_for_recall_and_ceiling_and_nobody_passes_the_ceiling(
    made: Any, measure: str, depths: set[int]
) -> None:
    table, qrels = made
    answers = {query_id: answer_with(rows, 100) for query_id, rows in table.items()}
    points = curve_of(answers, qrels, measure=measure, depths=list(depths)).points
    assert [point.depth for point in points] == sorted(point.depth for point in points)
    for before, after in pairwise(points):
        assert after.recall >= before.recall
        assert after.ceiling >= before.ceiling - 1e-12
    for point in points:
        assert point.reached is not None
        assert point.reached <= point.ceiling + 1e-12
        assert 0 <= point.recall <= 1


def test_depths_at_which_nobody_has_a_further_candidate_are_left_out() -> None:
    answers = {
        "a": answer_with([(p, 0.0) for p in PASSAGES[:12]], 100),
        "b": answer_with([(p, 0.0) for p in PASSAGES[:3]], 100),
    }
    qrels = {"a": {"p11": 1}, "b": {"p2": 1}}
    found = curve_of(answers, qrels, depths=(20, 5, 1, 10, 5, 50))
    assert [point.depth for point in found.points] == [1, 5, 10, 20]  # 20 holds the last two
    assert [point.recall for point in found.points] == [0.0, 0.5, 0.5, 1.0]
    nothing = curve_of({"a": (), "b": ()}, qrels, depths=(5, 10))
    assert [(p.depth, p.recall, p.ceiling, p.reached) for p in nothing.points] == [(5, 0, 0, 0)]


# the knee


@pytest.mark.parametrize(
    ("scores", "knee"),
    [
        ({1: 0.5, 10: 0.98, 30: 0.985, 100: 0.99}, 30),  # 0.98 < 0.99 * 0.99 = 0.9801 < 0.985
        ({1: 0.5, 10: 0.981, 30: 0.985, 100: 0.99}, 10),
        ({1: 0.4, 10: 0.8, 30: 0.7, 100: 0.6}, 10),  # deeper is worse
        ({1: 0.5, 10: 0.5}, 1),
        ({1: 0.0, 10: 0.0}, 1),
        ({1: 0.2, 10: 0.8, 30: None, 100: None}, 10),
        ({1: None, 10: None}, None),
        ({}, None),
    ],
)
def test_the_knee_is_the_first_depth_within_one_percent_of_the_best(
    scores: dict[int, float | None], knee: int | None
) -> None:
    points = [Point(depth, 1.0, 1.0, reached) for depth, reached in scores.items()]
    assert knee_of(points) == knee


def test_the_knee_of_a_curve_is_that_of_its_points() -> None:
    table = {"q": [(f"p{n}", -1.0 * (n != 6)) for n in range(30)]}  # the seventh is lifted
    answers = {"q": answer_with(table["q"], 20)}
    found = curve_of(answers, {"q": {"p6": 1}}, depths=(1, 5, 10, 20, 25), scored_to=20)
    seventh = pytest.approx(1 / 3)  # 1 / log2(8)
    assert [point.reached for point in found.points] == [seventh, seventh, 1, 1, None]
    assert found.knee == 10


# one search


def test_one_search_holds_every_depth() -> None:
    table = random_table(3, list(QUERIES.values()), PASSAGES, 40)
    qrels = {i: {"p1": 2, "p8": 1, "p30": 1} for i in QUERIES}
    searcher, told = TableSearcher(table), []
    found = depth_curve(
        searcher,
        QUERIES,
        qrels,
        depths=(1, 5, 20, 30, 100),
        scored_to=20,
        time_queries=0,
        on_progress=lambda done, of: told.append((done, of)),
    )
    assert len(searcher.calls) == 1
    assert searcher.calls[0][1:] == (100, 20, True)
    assert told == [(7, 7)]
    for point in found.points:
        rankings = {i: ranked_by_hand(table[text], point.depth) for i, text in QUERIES.items()}
        if point.depth <= 20:
            assert point.reached == pytest.approx(mean_over(ndcg, rankings, qrels))
        else:
            assert point.reached is None
        first = {i: ranked_by_hand(table[text], 0)[: point.depth] for i, text in QUERIES.items()}
        assert point.recall == pytest.approx(
            mean_over(lambda ids, grades: recall(ids, grades, 100), first, qrels)
        )
    assert [point.depth for point in found.points] == [1, 5, 20, 30, 100]
    assert {point.ms for point in found.points} == {None}


@pytest.mark.parametrize("scored_to", [3, 10, 30, 100])
def test_scoring_deeper_than_the_curve_goes_changes_nothing(scored_to: int) -> None:
    table = random_table(3, list(QUERIES.values()), PASSAGES, 40)
    qrels = {i: {"p1": 2, "p8": 1, "p30": 1} for i in QUERIES}
    found = depth_curve(
        TableSearcher(table), QUERIES, qrels, depths=(1, 3, 10), scored_to=scored_to
    )
    for point in found.points:
        first = {i: ranked_by_hand(table[text], 0)[: point.depth] for i, text in QUERIES.items()}
        assert point.recall == pytest.approx(
            mean_over(lambda ids, grades: recall(ids, grades, 100), first, qrels)
        )
        if point.depth <= scored_to:
            rankings = {i: ranked_by_hand(table[text], point.depth) for i, text in QUERIES.items()}
            assert point.reached == pytest.approx(mean_over(ndcg, rankings, qrels))


def test_a_query_can_be_kept_from_finding_itself() -> None:
    table = {"question": [("p3", 9.0), ("a", 1.0), ("p1", 2.0), ("b", 3.0)]}
    found = depth_curve(
        TableSearcher(table),
        {"p3": "question"},
        {"p3": {"p1": 1}},
        measure="MRR@10",
        depths=(1, 2, 3),
        exclude_self=True,
    )
    assert [point.recall for point in found.points] == [0.0, 1.0, 1.0]
    assert [point.reached for point in found.points] == [0.5, 1.0, 0.5]


def test_without_a_cross_encoder_there_are_recall_and_ceiling() -> None:
    table = random_table(3, list(QUERIES.values()), PASSAGES, 40)
    searcher = TableSearcher(table, has_reranker=False)
    found = depth_curve(searcher, QUERIES, {i: {"p1": 1} for i in QUERIES})
    assert {call[3] for call in searcher.calls} == {False}
    assert {(point.reached, point.ms) for point in found.points} == {(None, None)}
    assert found.knee is None
    assert found.points[-1].recall == found.points[-1].ceiling == 1.0


def test_a_sample_of_the_queries_is_seeded_and_widens_the_intervals() -> None:
    queries = {f"q{n}": f"question {n}" for n in range(200)}
    table = random_table(1, list(queries.values()), PASSAGES, 40)
    qrels = {query_id: {"p1": 1} for query_id in queries}

    def curve(limit: int | None, seed: int = 0) -> DepthCurve:
        searcher = TableSearcher(table)
        found = depth_curve(
            searcher, queries, qrels, depths=(10,), limit_queries=limit, seed=seed, time_queries=0
        )
        assert sum(len(call[0]) for call in searcher.calls) == (limit or 200)
        return found

    part, whole = curve(20), curve(None)
    assert (part.queries, whole.queries) == (20, 200)
    assert curve(20) == part != curve(20, seed=1)
    widths = [c.points[0].high - c.points[0].low for c in (whole, part)]  # type: ignore[operator]
    assert 2 < widths[1] / widths[0] < 5  # the square root of ten is 3.2


def test_a_judged_query_without_a_text_counts_as_zero() -> None:
    found = depth_curve(
        TableSearcher({"question": [("p1", 0.0)]}),
        {"q": "question"},
        {"q": {"p1": 1}, "lost": {"p1": 1}},
        depths=(1,),
    )
    (point,) = found.points
    assert (found.queries, point.recall, point.ceiling, point.reached) == (2, 0.5, 0.5, 0.5)


# times


def test_every_depth_that_was_scored_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    table = random_table(3, list(QUERIES.values()), PASSAGES, 40)
    searcher = TableSearcher(table, clock=clock, first_ms=5.0, pair_ms=2.0)
    qrels = {i: {"p1": 1} for i in QUERIES}
    found = depth_curve(
        searcher, QUERIES, qrels, depths=(1, 10, 20, 30), scored_to=20, time_queries=3
    )
    assert {p.depth: p.ms for p in found.points} == {
        1: pytest.approx(7),
        10: pytest.approx(25),
        20: pytest.approx(45),
        30: None,
    }
    asked = [call for call in searcher.calls if len(call[0]) == 1]
    assert len(asked) == 3 * (1 + 3)  # one to warm up at each depth
    assert timed_curve(found, searcher, []) is found


# reading answers


def test_rankings_are_read_from_one_answer() -> None:
    answer = answer_with([("a", 1.0), ("b", 3.0), ("c", 3.0), ("d", 9.0)], 3)
    assert retrieved(answer) == ["a", "b", "c", "d"]
    assert reranked(answer, 3) == by_logit(answer, 3) == ["b", "c", "a", "d"]  # ties by rank
    assert reranked(answer, 2) == ["b", "a", "c", "d"]
    assert perfect(answer, {"d": 2, "c": 1, "a": -1}, 3) == ["c", "b", "a", "d"]
    assert perfect(answer, {"d": 2, "c": 1}, 9) == ["d", "c", "a", "b"]
    fused = tuple(f._replace(score=-f.score) if f.rerank_score else f for f in answer)
    assert reranked(fused, 3) == ["a", "b", "c", "d"]
    assert by_logit(fused, 3) == ["b", "c", "a", "d"]


@pytest.mark.parametrize("ranked", [reranked, by_logit])
def test_a_depth_that_was_not_scored_cannot_be_read(ranked: Any) -> None:
    answer = answer_with([(p, 0.0) for p in PASSAGES], 10)
    with pytest.raises(
        UsageError, match="scored the first 10 candidates; a ranking at depth 11 cannot be read"
    ):
        ranked(answer, 11)
    assert len(ranked(answer[:10], 11)) == 10  # there are no more


# mistakes


@pytest.mark.parametrize("depths", [(), (0, 5), (2.5,), (True,), ("5",)])
def test_depths_that_are_none_are_refused_before_a_search(depths: Any) -> None:
    searcher = TableSearcher({"question": [("p1", 0.0)]})
    with pytest.raises(UsageError, match="depths must be whole numbers of 1 or more, got"):
        depth_curve(searcher, {"q": "question"}, {"q": {"p1": 1}}, depths=depths)
    assert not searcher.calls
    with pytest.raises(UsageError, match="depths must be whole numbers of 1 or more, got"):
        curve_of({"q": ()}, {"q": {"p1": 1}}, depths=depths)


def test_queries_that_nobody_judged_are_refused() -> None:
    with pytest.raises(DataError, match="no judged query is among the queries given"):
        depth_curve(TableSearcher({}), {"q": "question"}, {"other": {"p1": 1}})
    with pytest.raises(UsageError, match="limit_queries must be 1 or more"):
        depth_curve(TableSearcher({}), {"q": "x"}, {"q": {"p1": 1}}, limit_queries=0)


def test_the_json_names_every_field() -> None:
    answers = {"q": answer_with([("a", 0.0), ("b", 1.0)], 1)}
    found = curve_of(answers, {"q": {"b": 1}}, depths=(1, 2), scored_to=1)
    low = pytest.approx(0.6309297535714575)  # 1 / log2(3)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False)) == {
        "measure": "nDCG@10",
        "queries": 1,
        "knee": 1,
        "points": [
            {"depth": 1, "recall": 0.0, "ceiling": low, "reached": low, "low": low, "high": low,
             "ms": None},
            {"depth": 2, "recall": 1.0, "ceiling": 1.0, "reached": None, "low": None, "high": None,
             "ms": None},
        ],
    }  # fmt: skip
