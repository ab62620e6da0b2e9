"""choose: figures cut from one search against searching anew, and the rule that recommends.

Searchers answer from tables, in a time that is told; what they must reach is worked out by hand.
Both stages of real pipelines are searched anew at each depth and scored by pytrec_eval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytrec_eval
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

from shortlist import RetrieveRerankPipeline
from shortlist.cli.sample import SAMPLE
from shortlist.data.collections import Cutting, load
from shortlist.data.qrels import read_qrels
from shortlist.errors import DataError, UsageError
from shortlist.evaluation import latency
from shortlist.evaluation.choose import Choice, FirstStage, choose
from shortlist.pipeline.bm25 import BM25Pipeline
from shortlist.records import Passage

PASSAGES = [f"p{n}" for n in range(60)]
QUERIES = {f"q{n}": f"question {n}" for n in range(12)} | {"p7": "a passage", "x": "not judged"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=made.perf_counter))
    return made


def random_qrels(seed: int) -> dict[str, dict[str, int]]:
    """Grades 0 to 2; "p7" and one other query are passages as well, one has nothing relevant."""
    rng = np.random.default_rng(seed)
    judged = [query_id for query_id in QUERIES if query_id != "x"]
    qrels = {i: {str(p): int(rng.integers(0, 3)) for p in rng.choice(PASSAGES, 9)} for i in judged}
    return {i: {**grades, "p1": 1} for i, grades in qrels.items()} | {"nothing": {"p2": 0}}


def means_by_hand(
    rankings: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, float]:
    measures = {"nDCG@10": ndcg, "MRR@10": reciprocal_rank, "Recall@100": partial(recall, k=100)}
    return {name: mean_over(measure, rankings, qrels) for name, measure in measures.items()}


# figures


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("depths", [(1, 3, 7, 20), (50,), (30, 200), (30, 30, 10)])
def test_each_depth_is_cut_as_if_it_had_been_searched(
    depths: tuple[int, ...], exclude_self: bool
) -> None:
    tables = [random_table(seed, list(QUERIES.values()), PASSAGES, 50) for seed in (1, 2)]
    stages = [FirstStage(f"s{n}", TableSearcher(table)) for n, table in enumerate(tables)]
    qrels = random_qrels(3)
    found = choose(stages, QUERIES, qrels, depths=depths, exclude_self=exclude_self)
    assert {(s.stage.name, s.depth) for s in found.systems} == {
        (name, depth) for name in ("s0", "s1") for depth in (0, *depths)
    }
    assert len(found.systems) == 2 * (1 + len(set(depths)))
    for system in found.systems:
        table = tables[int(system.stage.name[1])]
        rankings = {
            i: ranked_by_hand(table[QUERIES[i]], system.depth, i if exclude_self else None)
            for i in qrels
            if i in QUERIES
        }
        assert found.rankings(system) == rankings
        assert system.scores.mean == pytest.approx(means_by_hand(rankings, qrels), abs=1e-12)
    if exclude_self:
        assert not any("p7" in found.rankings(s)["p7"] for s in found.systems)


def test_candidates_deeper_than_the_curve_are_not_lost() -> None:
    passages = [f"p{n}" for n in range(1_300)]
    table = random_table(4, ["a", "b"], passages, 1_300)
    queries, qrels = {"q1": "a", "q2": "b"}, {"q1": {"p5": 1}, "q2": {"p9": 1}}
    found = choose([FirstStage("s", TableSearcher(table))], queries, qrels, depths=(3, 1_200))
    for system in found.systems:
        expected = {i: ranked_by_hand(table[queries[i]], system.depth)[:1_200] for i in queries}
        assert {i: ids[:1_200] for i, ids in found.rankings(system).items()} == expected


@pytest.fixture(scope="module")
def sample() -> tuple[list[Passage], dict[str, str], dict[str, dict[str, int]]]:
    """The beginnings of 80 passages, eight misspelt questions to them, and one of no word."""
    cutting = Cutting(lambda texts: [len(text.split()) for text in texts], 256)
    passages = list(load(SAMPLE / "encyclopedia.xml", cutting).passages)
    lines = (SAMPLE / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    hard = {q["_id"]: q["text"] for q in map(json.loads, lines) if q["kind"] == "misspelt"}
    judged = read_qrels(SAMPLE / "qrels" / "dev.tsv")
    chosen = [i for i in hard if i in judged][:8]
    qrels = {i: dict(judged[i]) for i in chosen} | {"none": {passages[0].id: 1}}
    held = {passage_id for grades in qrels.values() for passage_id in grades}
    near = [p for p in passages if p.id in held] + [p for p in passages if p.id not in held]
    short = [replace(p, text=" ".join(p.text.split()[:40])) for p in near[:80]]
    return short, {i: hard[i] for i in chosen} | {"none": "xyzzy"}, qrels


def test_real_pipelines_reach_at_each_depth_what_a_new_search_reaches(
    pipeline: Any, sample: Any, tmp_path: Path
) -> None:
    passages, queries, qrels = sample
    model = pipeline.cross_encoder
    RetrieveRerankPipeline.build(passages, tmp_path / "x.idx", preset="fast")
    searchers = {
        "fast": RetrieveRerankPipeline.open(tmp_path / "x.idx", cross_encoder=model),
        "bm25": BM25Pipeline(passages, model),
    }
    told = TableSearcher(dict.fromkeys(queries.values(), ()))  # times are no matter here
    stages = [FirstStage(name, searcher, told) for name, searcher in searchers.items()]
    found = choose(stages, queries, qrels, depths=(2, 4, 8), measures=["nDCG@10", "MRR"])
    assert len(found.systems) == 8
    trec_eval = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recip_rank"})
    for system in found.systems:
        answers = system.stage.searcher.search_many(
            list(queries.values()),
            top_k=len(passages),
            depth=max(1, system.depth),
            rerank=system.depth > 0,
        )
        rankings = {i: [hit.id for hit in hits] for i, hits in zip(queries, answers, strict=True)}
        assert found.rankings(system) == rankings
        values = trec_eval.evaluate(
            {i: {p: -float(n) for n, p in enumerate(ids)} for i, ids in rankings.items() if ids}
        )
        assert len(values) == (8 if system.stage.name == "bm25" else 9)
        for ours, theirs in (("nDCG@10", "ndcg_cut_10"), ("MRR", "recip_rank")):
            each = {i: values.get(i, {}).get(theirs, 0.0) for i in queries}
            assert system.scores.per_query[ours] == pytest.approx(each, abs=1e-9)
            assert system.scores.mean[ours] == pytest.approx(math.fsum(each.values()) / 9)
    assert len({system.scores.mean["MRR"] for system in found.systems}) > 4  # depth matters here


def test_each_stage_is_searched_once_in_parts_that_fit() -> None:
    queries = {f"q{n}": f"question {n}" for n in range(150)}
    qrels = {query_id: {"p1": 1} for query_id in queries}
    table = random_table(0, list(queries.values()), PASSAGES, 60)
    searcher, timed = TableSearcher(table), TableSearcher(table)
    stage = FirstStage("s", searcher, timed)
    found = choose([stage], queries, qrels, depths=(5, 20), limit_queries=None)
    assert (len(found.qrels), found.of_queries) == (150, 150)
    asked = [query for call in searcher.calls for query in call[0]]
    assert sorted(asked) == sorted(queries.values())
    assert {call[1:] for call in searcher.calls} == {(1_000, 20, True)}
    assert len(searcher.calls) > 1
    # the clock: three to warm up and fifty alone, then one and ten at each depth
    first = [call for call in timed.calls if not call[3]]
    assert len(first) == 3 + 50
    for depth in (5, 20):
        assert sum(call[2:] == (depth, True) for call in timed.calls) == 1 + 10
    assert all(len(call[0]) == 1 for call in timed.calls)


def test_times_are_those_of_the_clock_and_not_of_what_remembers(clock: Clock) -> None:
    table = random_table(0, list(QUERIES.values()), PASSAGES, 60)
    remembers = TableSearcher(table, clock=clock, first_ms=0.01, pair_ms=0.0)
    honest = TableSearcher(table, clock=clock, first_ms=4.0, pair_ms=2.5)
    found = choose([FirstStage("s", remembers, honest)], QUERIES, random_qrels(1), depths=(2, 10))
    times = {system.name: system.latency.total.p50 for system in found.systems}
    assert times == pytest.approx({"s": 4, "s + rerank 2": 9, "s + rerank 10": 29})
    assert [system.name for system in found.systems] == ["s", "s + rerank 2", "s + rerank 10"]
    assert found.systems[2].latency.stages["rerank"].p50 == pytest.approx(25)
    found = choose([FirstStage("s", remembers)], QUERIES, random_qrels(1), depths=(2,))
    assert found.systems[0].latency.total.p50 == pytest.approx(0.01)


# the rule


def at_ranks(ranks: Sequence[int | None]) -> dict[str, list[tuple[str, float]]]:
    """Query 0, 1, ... -> its answer "yes" at that rank, behind others; without it for None."""
    return {
        f"question {n}": [(f"other{k}", 0.0) for k in range(1, rank or 1)]
        + ([("yes", 0.0)] if rank else [])
        for n, rank in enumerate(ranks)
    }


def one_stage(
    clock: Clock, name: str, ms: float, ranks: Sequence[int | None], task: str = "both"
) -> FirstStage:
    searcher = TableSearcher(at_ranks(ranks), has_reranker=False, clock=clock, first_ms=ms)
    return FirstStage(name, searcher, task=task)


def chosen(stages: Sequence[FirstStage], queries: int, **options: Any) -> Choice:
    asked = {f"q{n}": f"question {n}" for n in range(queries)}
    qrels = {query_id: {"yes": 1} for query_id in asked}
    return choose(stages, asked, qrels, measures=["MRR@10", "Recall@10"], **options)


@pytest.mark.parametrize(
    ("seconds", "mean", "is_enough"),
    [(0, 1.0, True), (1, 0.995, True), (2, 0.99, True), (3, 0.985, False), (50, 0.75, False)],
)
def test_the_fastest_within_one_percent_of_the_best_is_recommended(
    clock: Clock, seconds: int, mean: float, is_enough: bool
) -> None:
    best = one_stage(clock, "slow", 8.0, [1] * 100)
    faster = one_stage(clock, "fast", 2.0, [2] * seconds + [1] * (100 - seconds))
    slowest = one_stage(clock, "slowest", 9.0, [1] * 100)
    found = chosen([slowest, best, faster], 100)
    assert found.systems[0].name == "fast"
    assert found.systems[0].scores.mean["MRR@10"] == pytest.approx(mean)
    assert found.recommended.name == ("fast" if is_enough else "slow")
    assert found.best.name == ("slow" if mean < 1 else "fast")
    assert found.primary == "MRR@10"
    gap = [reason for reason in found.reasons if reason.startswith("The highest figure")]
    if is_enough and mean < 1:
        assert gap == [
            f"The highest figure, 1.000 by slow, is {1 / mean - 1:.1%} above it and takes 8 ms; "
            "up to 1% is left to the faster one."
        ]
    else:
        assert not gap


def test_the_first_measure_decides(clock: Clock) -> None:
    deep = one_stage(clock, "deep", 5.0, [2, 2, 2, 2])  # finds everything, second
    sharp = one_stage(clock, "sharp", 6.0, [1, 1, 1, None])
    asked = {f"q{n}": f"question {n}" for n in range(4)}
    qrels = {query_id: {"yes": 1} for query_id in asked}
    for measures, name in ((["MRR@10", "Recall@10"], "sharp"), (["Recall@10", "MRR@10"], "deep")):
        found = choose([deep, sharp], asked, qrels, measures=measures)
        assert (found.recommended.name, found.primary) == (name, measures[0])


def test_of_equal_systems_the_fastest_is_recommended(clock: Clock) -> None:
    ranks = [1, 2, 3, None]
    stages = [one_stage(clock, f"s{ms}", ms, ranks) for ms in (4, 2, 3)]
    found = chosen(stages, 4)
    assert found.recommended is found.best is found.systems[0]
    assert [system.name for system in found.systems] == ["s2", "s3", "s4"]
    assert [system.on_frontier for system in found.systems] == [True, False, False]


def test_of_equally_fast_systems_the_best_is_recommended_and_it_alone_is_on_the_frontier(
    clock: Clock,
) -> None:
    ms = 1000 / 512  # a time that floats hold exactly
    worse, better = (one_stage(clock, f"s{r}", ms, [r] * 4) for r in (2, 1))
    nearly = one_stage(clock, "nearly", ms, [1] * 99 + [2])
    for stages in ([worse, better], [better, worse]):
        found = chosen(stages, 4)
        assert found.recommended.name == "s1"
        assert {s.name: s.on_frontier for s in found.systems} == {"s1": True, "s2": False}
    whole = one_stage(clock, "whole", ms, [1] * 100)
    assert chosen([nearly, whole], 100, limit_queries=None).recommended.name == "whole"


def test_where_nothing_is_found_the_fastest_is_recommended(clock: Clock) -> None:
    found = chosen([one_stage(clock, f"s{ms}", ms, [None] * 3) for ms in (4, 2)], 3)
    assert found.recommended.name == "s2"
    assert found.recommended.scores.mean == {"MRR@10": 0.0, "Recall@10": 0.0}
    json.dumps(found.as_json(), allow_nan=False)


@pytest.mark.parametrize("seed", range(5))
def test_the_frontier_is_what_nothing_dominates(clock: Clock, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = [random_table(int(rng.integers(99)), list(QUERIES.values()), PASSAGES, 30)] * 2
    tables.append(random_table(7, list(QUERIES.values()), PASSAGES, 30))
    stages = [
        FirstStage(f"s{n}", TableSearcher(table, clock=clock, first_ms=float(rng.random() + n)))
        for n, table in enumerate(tables)
    ]
    found = choose(stages, QUERIES, random_qrels(seed), depths=(2, 5, 20))
    points = [(s.latency.total.p50, -s.scores.mean["nDCG@10"]) for s in found.systems]
    assert points == sorted(points)
    dominated = [
        any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in points)
        for own in points
    ]
    assert [not s.on_frontier for s in found.systems] == dominated
    assert 0 < sum(dominated) < len(dominated)
    enough = 0.99 * max(s.scores.mean["nDCG@10"] for s in found.systems)
    good = [s for s in found.systems if s.scores.mean["nDCG@10"] >= enough]
    assert found.recommended is min(good, key=lambda s: s.latency.total.p50)
    assert found.recommended.on_frontier


def test_one_system_is_recommended_for_want_of_others(clock: Clock) -> None:
    found = chosen([one_stage(clock, "only", 12.0, [1, 2, None, 1])], 4)
    assert [system.name for system in found.systems] == ["only"]
    assert found.recommended is found.best is found.systems[0]
    assert found.recommended.on_frontier
    assert found.comparisons == ()
    (reason,) = found.reasons
    assert reason.startswith("only reaches MRR@10 0.625 (")
    assert reason.endswith(" with 95 % confidence, 4 queries) in 12 ms a query.")


def test_a_stage_without_a_cross_encoder_is_one_system() -> None:
    table = random_table(0, list(QUERIES.values()), PASSAGES, 60)
    plain, both = TableSearcher(table, has_reranker=False), TableSearcher(table)
    stages = [FirstStage("plain", plain), FirstStage("both", both, cross_encoder="model")]
    found = choose(stages, QUERIES, random_qrels(0), depths=(10,))
    assert {s.name for s in found.systems} == {"plain", "both", "both + rerank 10"}
    assert {call[3] for call in plain.calls} == {False}
    assert found.curves["plain"].knee is None
    assert {point.reached for point in found.curves["plain"].points} == {None}
    assert found.curves["both"].knee is not None
    names = {s["name"]: s["cross_encoder"] for s in found.as_json()["systems"]}
    assert names == {"plain": None, "both": None, "both + rerank 10": "model"}


def test_each_stage_has_its_depth_curve_with_the_depths_that_were_asked_for() -> None:
    table = random_table(0, list(QUERIES.values()), PASSAGES, 60)
    found = choose(
        [FirstStage("s", TableSearcher(table))], QUERIES, random_qrels(0), depths=(7, 25)
    )
    curve = found.curves["s"]
    assert curve.measure == "nDCG@10"
    assert [p.depth for p in curve.points] == [1, 2, 5, 7, 10, 20, 25, 30, 50, 100]
    reached = {p.depth: p.reached for p in curve.points if p.reached is not None}
    assert list(reached) == [1, 2, 5, 7, 10, 20, 25]
    means = {s.depth: s.scores.mean["nDCG@10"] for s in found.systems if s.depth}
    assert {depth: reached[depth] for depth in (7, 25)} == means


# reasons


def test_comparisons_go_from_the_recommended_system_to_every_other(clock: Clock) -> None:
    stages = [
        one_stage(clock, "bm25", 1.0, [2] * 20),
        one_stage(clock, "best", 3.0, [1] * 20),
        one_stage(clock, "near", 4.0, [1] * 19 + [4]),
    ]
    found = chosen(stages, 20)
    assert found.recommended.name == "best"
    assert [(c.a, c.b) for c in found.comparisons] == [("best", "bm25"), ("best", "near")]
    bm25, near = found.comparisons
    assert bm25.interval.mean_difference == pytest.approx(-0.5)
    assert (bm25.outcomes.wins, bm25.outcomes.ties, bm25.outcomes.losses) == (0, 0, 20)
    assert near.interval.mean_difference == pytest.approx(-0.75 / 20)
    assert (near.outcomes.wins, near.outcomes.ties, near.outcomes.losses) == (0, 19, 1)
    assert found.reasons == (
        "best reaches MRR@10 1.000 (1.000 to 1.000 with 95 % confidence, 20 queries) in 3 ms a "
        "query.",
        "Keyword search (bm25) reaches 0.500 (-0.500, -0.500 to -0.500).",
        "These queries cannot tell it from near: the differences could be chance (randomisation "
        "test, Holm's correction). More judged queries would.",
    )


def test_what_reranking_is_worth_is_said_of_the_recommended_stage(clock: Clock) -> None:
    first_wrong = {f"question {n}": [("no", -1.0), ("yes", 1.0)] for n in range(20)}
    searcher = TableSearcher(first_wrong, clock=clock, first_ms=2.0, pair_ms=6.0)
    found = chosen([FirstStage("s", searcher)], 20, depths=(2, 4))
    assert found.recommended.name == "s + rerank 2"
    assert found.reasons[1] == (
        "Without reranking it reaches 0.500 (-0.500, -0.500 to -0.500), in 2 ms."
    )
    first_right = {f"question {n}": [("yes", -1.0), ("no", 1.0)] for n in range(20)}
    searcher = TableSearcher(first_right, clock=clock, first_ms=2.0, pair_ms=6.0)
    found = chosen([FirstStage("s", searcher)], 20, depths=(4, 2))
    assert found.recommended.name == "s"
    assert found.reasons[1] == (
        "With 4 candidates reranked it reaches 0.500 (-0.500, -0.500 to -0.500), in 26 ms."
    )


# which queries


def test_the_limit_takes_a_sample_that_depends_on_the_seed_alone() -> None:
    queries = {f"q{n:02}": f"question {n}" for n in range(40)}
    qrels = {query_id: {f"p{n}": 1} for n, query_id in enumerate(queries)} | {"no": {"p1": 0}}
    table = random_table(5, list(queries.values()), PASSAGES, 60)

    def limited(order: int, seed: int, limit: int | None = 10) -> Choice:
        return choose(
            [FirstStage("s", TableSearcher(table))],
            dict(list(queries.items())[::order]),
            dict(list(qrels.items())[::order]),
            depths=(5,),
            limit_queries=limit,
            seed=seed,
        )

    found = limited(1, 0)
    assert (len(found.qrels), len(found.queries), found.of_queries) == (10, 10, 40)
    assert list(limited(-1, 0).queries) == list(found.queries)
    assert list(limited(1, 1).queries) != list(found.queries)
    assert found.recommended.scores.judged == 10
    part = {query_id: qrels[query_id] for query_id in found.queries}
    for system in found.systems:
        rankings = {i: ranked_by_hand(table[queries[i]], system.depth) for i in part}
        assert system.scores.mean["MRR@10"] == pytest.approx(
            mean_over(reciprocal_rank, rankings, part)
        )
    assert len(limited(1, 0, limit=None).queries) == len(limited(1, 0, limit=99).queries) == 40


def test_a_judged_query_without_a_text_counts_as_zero(clock: Clock) -> None:
    stages = [one_stage(clock, f"s{ms}", ms, [1, 2, 1]) for ms in (1, 2)]
    queries = {"q0": "question 0", "q1": "question 1"}
    qrels = {"q0": {"yes": 1}, "q1": {"yes": 1}, "lost": {"yes": 1}}
    found = choose(stages, queries, qrels, measures=["MRR@10"])
    for system in found.systems:
        assert system.scores.per_query["MRR@10"] == {"lost": 0.0, "q0": 1.0, "q1": 0.5}
        assert system.scores.mean["MRR@10"] == pytest.approx(0.5)
        assert (system.scores.judged, system.scores.retrieved) == (3, 2)
    assert set(found.qrels) - set(found.queries) == {"lost"}
    assert found.curves["s1"].queries == 3
    assert found.comparisons[0].outcomes.ties == 3


# mistakes


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        ([], {}, UsageError, r"first stages must be one or more, of different names; got \[\]"),
        (["a", "a"], {}, UsageError, r"of different names; got \['a', 'a'\]"),
        (["a"], {"depths": (10, 0)}, UsageError, r"depths must be .*1 or more, got \[10, 0\]"),
        (["a"], {"depths": ()}, UsageError, r"depths must be .*1 or more, got \[\]"),
        (["a"], {"depths": (2.5,)}, UsageError, r"depths must be .*1 or more, got \[2.5\]"),
        (["a"], {"measures": []}, UsageError, "no measure was given"),
        (["a"], {"measures": ["best"]}, UsageError, "unknown measure 'best'"),
        (["a"], {"limit_queries": 0}, UsageError, "limit_queries must be 1 or more"),
        (["a"], {"queries": {"z": "text"}}, DataError, r"no judged query is among .*\['z'\]"),
        (["a"], {"qrels": {"q1": {"p1": 0}}}, DataError, "no judged query is among the queries"),
    ],
)
def test_mistakes_are_named_before_anything_is_searched(
    names: list[str], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    searcher = TableSearcher(random_table(0, list(QUERIES.values()), PASSAGES, 60))
    given = {"queries": QUERIES, "qrels": random_qrels(0)} | options
    with pytest.raises(error, match=message):
        choose([FirstStage(name, searcher) for name in names], **given)
    assert not searcher.calls


# what it hands on


def test_steps_are_told(clock: Clock) -> None:
    told: list[str] = []
    chosen([one_stage(clock, name, 1.0, [1, 2]) for name in ("a", "b")], 2, on_step=told.append)
    assert told == ["a: searching 2 queries", "a: timing", "b: searching 2 queries", "b: timing"]


def test_the_json_has_the_names_of_a_study(clock: Clock) -> None:
    table = random_table(0, list(QUERIES.values()), PASSAGES, 60)
    sizes = {"index": 1_000, "bi_encoder": 200, "cross_encoder": 3_000}
    neural = TableSearcher(table, clock=clock, footprint=sizes)
    keyword = TableSearcher(
        table,
        clock=clock,
        first_ms=0.5,
        footprint={"index": 7, "bi_encoder": None, "cross_encoder": 3_000},
    )
    unknown = TableSearcher(table, clock=clock, has_reranker=False)
    stages = [
        FirstStage("minilm", neural, cross_encoder="ce"),
        FirstStage("bm25", keyword, cross_encoder="ce"),
        FirstStage("own", unknown),
    ]
    found = choose(stages, QUERIES, random_qrels(0), depths=(10,))
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert list(written) == [
        "primary", "queries", "of_queries", "recommended", "best", "reasons", "systems",
        "comparisons", "depth_curves",
    ]  # fmt: skip
    assert (written["queries"], written["of_queries"]) == (13, 13)
    by_name = {system["name"]: system for system in written["systems"]}
    assert list(by_name) == [system.name for system in found.systems]
    assert [s["name"] for s in written["systems"] if s["recommended"]] == [written["recommended"]]
    keys = (
        "name retriever cross_encoder depth mean interval ms queries_per_second index_bytes "
        "model_bytes pareto recommended"
    )
    assert {" ".join(system) for system in written["systems"]} == {keys}
    bytes_of = {name: (s["index_bytes"], s["model_bytes"]) for name, s in by_name.items()}
    assert bytes_of == {
        "minilm": (1_000, 200),
        "minilm + rerank 10": (1_000, 3_200),
        "bm25": (7, None),
        "bm25 + rerank 10": (7, 3_000),
        "own": (None, None),
    }
    deep = by_name["minilm + rerank 10"]
    assert (deep["retriever"], deep["depth"], deep["cross_encoder"]) == ("minilm", 10, "ce")
    assert deep["ms"]["p50"] == pytest.approx(11)
    assert deep["queries_per_second"] == pytest.approx(1000 / 11)
    assert deep["ms"]["rerank"] == {"p50": pytest.approx(10), "p95": pytest.approx(10)}
    assert "rerank" not in by_name["bm25"]["ms"]
    low, high = deep["interval"]["nDCG@10"]
    assert low < deep["mean"]["nDCG@10"] < high
    assert [curve["retriever"] for curve in written["depth_curves"]] == ["minilm", "bm25", "own"]
    assert {c["a"] for c in written["comparisons"]} == {written["recommended"]}
    assert {c["b"] for c in written["comparisons"]} == set(by_name) - {written["recommended"]}
