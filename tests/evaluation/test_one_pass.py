"""evaluate_with_curve(): the same figures as apart, each pair scored once; and who gained and lost.

The references search anew at every depth and score by ir-measures' provider pytrec_eval.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import ir_measures
import pytest

from shortlist.errors import UsageError
from shortlist.evaluation.changed import changed_queries
from shortlist.evaluation.evaluate import evaluate
from shortlist.evaluation.one_pass import evaluate_with_curve
from shortlist.records import Hit

PASSAGES = [f"p{n:02}" for n in range(25)]
QUERIES = {f"q{n}": f"question {n}" for n in range(12)} | {"p03": "a passage asked for itself"}
QRELS = {
    query_id: {p: 1 + (n + i) % 2 for i, p in enumerate(PASSAGES) if (7 * n + i) % 9 == 0}
    for n, query_id in enumerate([*QUERIES, "textless"])
}


class Noise:
    """Both scores are noise that depends on query and passage alone; the pairs are counted."""

    def __init__(self, *, has_reranker: bool = True) -> None:
        self.has_reranker = has_reranker
        self.footprint = {"index": 7}
        self.pairs = 0
        self.single: list[tuple[int, bool]] = []  # depths of calls with one query alone

    def search_many(
        self,
        queries: Sequence[str],
        *,
        top_k: int,
        depth: int,
        rerank: bool,
        on_stage: Callable[[str, float], object] | None = None,
    ) -> list[list[Hit]]:
        if on_stage:
            on_stage("encode", 0.001)
        if len(queries) == 1:
            self.single.append((depth, rerank))
        else:
            self.pairs += len(queries) * min(depth, len(PASSAGES)) * rerank
        return [self._search(query, depth if rerank else 0)[:top_k] for query in queries]

    def _search(self, query: str, depth: int) -> list[Hit]:
        scores = {p: noise(f"{query} {p}") + (QUERIES.get(p) == query) for p in PASSAGES}
        order = sorted(PASSAGES, key=lambda p: -scores[p])  # a passage finds itself first
        hits = [
            Hit(0, p, "", "", scores[p], "cosine", n, scores[p]) for n, p in enumerate(order, 1)
        ]
        rescored = [
            replace(hit, rerank_score=noise(f"{hit.id} {query}"), score_kind="fused")
            for hit in hits[:depth]
        ]
        rescored = [replace(h, score=(h.rerank_score or 0) + h.retrieval_score) for h in rescored]
        ordered = [*sorted(rescored, key=lambda hit: -hit.score), *hits[depth:]]
        return [replace(hit, rank=n) for n, hit in enumerate(ordered, 1)]


def noise(text: str) -> float:
    return zlib.crc32(text.encode()) / 2**32


def mean(rankings: Mapping[str, Sequence[str]], measure: ir_measures.Measure) -> float:
    run = {
        query_id: {p: float(len(ranking) - n) for n, p in enumerate(ranking)}
        for query_id, ranking in rankings.items()
    }
    found = ir_measures.pytrec_eval.iter_calc([measure], QRELS, run)
    return sum(metric.value for metric in found) / len(QRELS)


def searched(depth: int, *, drop_self: bool) -> dict[str, list[str]]:
    """What a search returns that reranks so many passages, the query's own dropped: ids."""
    found = {}
    for query_id, text in QUERIES.items():
        first = [hit.id for hit in Noise()._search(text, 0)]
        own = drop_self and query_id in first[: depth + 1]
        hits = Noise()._search(text, depth + own if depth else 0)
        found[query_id] = [hit.id for hit in hits if not (drop_self and hit.id == query_id)]
    return found


@pytest.mark.parametrize("exclude_self", [False, True])
def test_the_curve_is_that_of_a_search_at_each_depth(exclude_self: bool) -> None:
    _, curve = evaluate_with_curve(
        Noise(), QUERIES, QRELS, ["nDCG@5"], depth=7, depths=(1, 3, 10, 20, 25), scored_to=12,
        exclude_self=exclude_self, time_queries=0,
    )  # fmt: skip
    assert (curve.measure, curve.queries) == ("nDCG@5", 14)
    first = searched(0, drop_self=exclude_self)
    assert [p.depth for p in curve.points] == [1, 3, 7, 10, 20, 25]
    for point in curve.points:
        assert point.recall == pytest.approx(mean(first, ir_measures.R @ point.depth))
        ideal = {
            q: sorted(ids[: point.depth], key=lambda p, q=q: -QRELS[q].get(p, 0))
            + ids[point.depth :]
            for q, ids in first.items()
        }
        assert point.ceiling == pytest.approx(mean(ideal, ir_measures.nDCG @ 5))
        assert point.ms is None
        if point.depth > 12:
            assert point.reached is None
        else:
            found = searched(point.depth, drop_self=exclude_self)
            assert point.reached == pytest.approx(mean(found, ir_measures.nDCG @ 5))


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("depth", [1, 5, 40])
def test_the_evaluation_is_that_of_its_own_depth(depth: int, exclude_self: bool) -> None:
    apart = Noise()
    expected = evaluate(
        apart, QUERIES, QRELS, ["MRR@10", "MAP"], depth=depth, exclude_self=exclude_self
    )
    together = Noise()
    found, curve = evaluate_with_curve(
        together, QUERIES, QRELS, ["MRR@10", "MAP"], depth=depth, exclude_self=exclude_self
    )
    for name in ("retrieval", "cross_encoder", "reranked", "ceiling", "rankings", "footprint"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.comparison == expected.comparison
    assert found.missing == ("textless",)
    # of the curve no more than the evaluation's own search: 25 passages, each scored once
    assert together.pairs == len(QUERIES) * 25
    assert apart.pairs == len(QUERIES) * min(25, depth + exclude_self)
    assert found.latency is not None
    assert found.latency.queries == 13
    asked = together.single[: 3 + 13]  # three to warm up
    assert asked == [(depth, True)] * 16
    at_depths = dict.fromkeys(depth for depth, _ in together.single[16:])
    assert list(at_depths) == [point.depth for point in curve.points]
    assert all(point.ms is not None for point in curve.points)


def test_without_a_reranker_the_curve_has_recall_and_ceiling_only() -> None:
    searcher = Noise(has_reranker=False)
    found, curve = evaluate_with_curve(searcher, QUERIES, QRELS, ["MRR@10"], depths=(5, 25))
    assert found.reranked is None
    assert searcher.pairs == 0
    assert {(point.reached, point.ms) for point in curve.points} == {(None, None)}
    assert curve.knee is None
    first = searched(0, drop_self=False)
    assert curve.points[0].recall == pytest.approx(mean(first, ir_measures.R @ 5))
    assert set(searcher.single) == {(30, False)}


def test_a_sample_is_the_same_sample() -> None:
    expected = evaluate(Noise(), QUERIES, QRELS, ["MRR@10"], limit_queries=5, seed=3)
    found, curve = evaluate_with_curve(
        Noise(), QUERIES, QRELS, ["MRR@10"], limit_queries=5, seed=3, time_queries=0
    )
    assert (found.queries, curve.queries, found.latency) == (5, 5, None)
    assert found.rankings == expected.rankings


# who gained and lost


def test_queries_that_changed_come_with_the_ranks_of_their_relevant_passages() -> None:
    result = evaluate(Noise(), QUERIES, QRELS, ["MRR@10", "MAP"], depth=10, time_queries=0)
    changed = changed_queries(result, QUERIES, QRELS, number=2)
    assert changed.measure == "MRR@10"
    before, after = searched(0, drop_self=False), searched(10, drop_self=False)

    def reciprocal_rank(ranking: list[str], query_id: str) -> float:
        ranks = [n for n, p in enumerate(ranking[:10], 1) if p in QRELS[query_id]]
        return 1 / min(ranks) if ranks else 0.0

    changes = {
        q: reciprocal_rank(after[q], q) - reciprocal_rank(before[q], q) for q in QUERIES
    }  # fmt: skip
    for sign, queries in ((1, changed.gained), (-1, changed.lost)):
        ordered = sorted(changes, key=lambda q, sign=sign: (round(-sign * changes[q], 9), q))
        assert [query.id for query in queries] == ordered[:2]
        for query in queries:
            assert sign * changes[query.id] > 0
            assert query.text == QUERIES[query.id]
            assert query.before == pytest.approx(reciprocal_rank(before[query.id], query.id))
            assert query.after == pytest.approx(reciprocal_rank(after[query.id], query.id))
            ranks = {
                p: (before[query.id].index(p) + 1, after[query.id].index(p) + 1)
                for p in QRELS[query.id]
            }
            found = {p.id: (p.rank_before, p.rank_after) for p in query.relevant}
            assert found == ranks
            order = [(-p.grade, p.rank_after) for p in query.relevant]
            assert order == sorted(order)


def test_a_relevant_passage_that_was_not_found_has_no_rank() -> None:
    qrels = {q: {**grades, "gone": 1, "bad": 0} for q, grades in QRELS.items()}
    result = evaluate(Noise(), QUERIES, qrels, ["MRR@10", "MAP"], depth=10, time_queries=0)
    (query,) = changed_queries(result, QUERIES, qrels, number=1).gained
    gone = query.relevant[-1]
    assert (gone.id, gone.rank_before, gone.rank_after) == ("gone", None, None)
    assert "bad" not in {moved.id for moved in query.relevant}
    record = query.as_json()
    assert list(record) == ["query", "text", "before", "after", "relevant"]
    assert record["relevant"][-1] == {
        "id": "gone", "grade": 1, "rank_before": None, "rank_after": None,
    }  # fmt: skip


def test_what_cannot_have_changed_is_refused() -> None:
    alone = evaluate(Noise(has_reranker=False), QUERIES, QRELS, ["MRR@10"], time_queries=0)
    with pytest.raises(UsageError, match="nothing was reranked, so that no query gained or lost"):
        changed_queries(alone, QUERIES, QRELS)
    both = evaluate(Noise(), QUERIES, QRELS, ["MRR@10"], time_queries=0)
    with pytest.raises(UsageError, match="must be 1 or more, got 0"):
        changed_queries(both, QUERIES, QRELS, 0)
