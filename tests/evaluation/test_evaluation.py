"""evaluate() with a searcher that counts words: each query once, both stages from one answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.evaluate import Searcher, evaluate
from shortlist.records import Hit

CORPUS = {
    "p1": "plants make food from light",
    "p2": "light bulbs make light",
    "p3": "food for plants",
    "p4": "the moon makes no light of its own",
    "p5": "stones",
    "p6": "a plant in the light of the moon",
}
QUERIES = {
    "q1": "how do plants make food",
    "q2": "light of the moon",
    "q3": "stones and bulbs",
    "p6": "a plant in the light of the moon",  # a passage searched with itself
    "extra": "nobody judged this",
}
QRELS = {
    "q1": {"p1": 2, "p3": 1},
    "q2": {"p4": 1},
    "q3": {"p2": 1},
    "p6": {"p4": 1},
    "none": {"p1": 0},
}


class WordSearcher:
    """Retrieval by words in common; the "cross-encoder" prefers the shorter passage."""

    def __init__(self, *, has_reranker: bool = True) -> None:
        self.has_reranker = has_reranker
        self.calls: list[tuple[int, int, int, bool]] = []
        self.searched: list[str] = []

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
            for number, stage in enumerate(("encode", "retrieve", "rerank")[: 2 + rerank], 1):
                on_stage(stage, number / 1000)
        self.calls.append((len(queries), top_k, depth, rerank))
        self.searched += queries
        return [self._search(query, top_k, depth, rerank) for query in queries]

    def _search(self, query: str, top_k: int, depth: int, rerank: bool) -> list[Hit]:
        words = set(query.split())
        scores = {i: len(words & set(text.split())) for i, text in CORPUS.items()}
        order = sorted(CORPUS, key=lambda i: (-scores[i], i))
        rank = {i: n for n, i in enumerate(order, 1)}
        if rerank:
            order[:depth] = sorted(order[:depth], key=lambda i: len(CORPUS[i]))
        return [
            Hit(
                rank=n,
                id=i,
                title="",
                text=CORPUS[i],
                score=float(-n),
                score_kind="fused" if rerank and rank[i] <= depth else "cosine",
                retrieval_rank=rank[i],
                retrieval_score=float(scores[i]),
                rerank_score=-float(len(CORPUS[i])) if rerank and rank[i] <= depth else None,
            )
            for n, i in enumerate(order[:top_k], 1)
        ]


def mrr(rankings: dict[str, list[str]], qrels: dict[str, dict[str, int]] = QRELS) -> float:
    judged = {q: g for q, g in qrels.items() if any(g.values())}
    total = 0.0
    for query_id, grades in judged.items():
        ranks = [n for n, i in enumerate(rankings.get(query_id, []), 1) if grades.get(i, 0)]
        total += 1 / min(ranks) if ranks else 0.0
    return total / len(judged)


def by_hand(depth: int, *, rerank: bool, drop_self: bool = False) -> dict[str, list[str]]:
    answers = WordSearcher().search_many(
        list(QUERIES.values()), top_k=9, depth=depth, rerank=rerank
    )
    return {
        query_id: [hit.id for hit in hits if not (drop_self and hit.id == query_id)]
        for query_id, hits in zip(QUERIES, answers, strict=True)
    }


def test_both_stages_are_scored_from_one_search_of_each_judged_query() -> None:
    searcher: Searcher = WordSearcher()
    found = evaluate(searcher, QUERIES, QRELS, ["MRR@10", "Recall@2"], depth=3, time_queries=0)
    assert isinstance(searcher, WordSearcher)
    assert searcher.calls == [(4, 10, 3, True)]
    assert searcher.searched == [QUERIES[i] for i in ("p6", "q1", "q2", "q3")]
    assert found.retrieval.mean["MRR@10"] == pytest.approx(mrr(by_hand(3, rerank=False)))
    assert found.reranked is not None
    assert found.reranked.mean["MRR@10"] == pytest.approx(mrr(by_hand(3, rerank=True)))
    assert found.retrieval.mean["MRR@10"] != found.reranked.mean["MRR@10"]
    assert (found.queries, found.judged, found.unjudged, found.without_relevant) == (4, 4, 1, 1)
    (warning,) = found.warnings  # p6 is searched with itself
    assert warning.startswith("1 of 4 queries find themselves first, such as ['p6']")
    assert found.seconds > 0


def test_the_cross_encoder_alone_is_ranked_by_its_logit() -> None:
    class Fused(WordSearcher):
        """Both stages together leave the order of the first."""

        def _search(self, query: str, top_k: int, depth: int, rerank: bool) -> list[Hit]:
            return sorted(
                super()._search(query, top_k, depth, rerank), key=lambda h: h.retrieval_rank
            )

    found = evaluate(Fused(), QUERIES, QRELS, ["MRR@10"], depth=3)
    assert found.reranked is not None
    assert found.cross_encoder is not None
    assert found.reranked.mean == found.retrieval.mean
    assert found.cross_encoder.mean["MRR@10"] == pytest.approx(mrr(by_hand(3, rerank=True)))
    assert set(found.rankings) == {"retrieval", "cross_encoder", "reranked"}
    for ranking in found.rankings.values():
        assert {i: sorted(ids) for i, ids in ranking.items()} == dict.fromkeys(
            ("p6", "q1", "q2", "q3"), sorted(CORPUS)
        )


def test_single_queries_are_timed_stage_by_stage() -> None:
    searcher = WordSearcher()
    found = evaluate(searcher, QUERIES, QRELS, ["MRR@10"], depth=3, time_queries=2)
    assert searcher.calls[1:] == [(1, 10, 3, True)] * 4  # two to warm up, two that count
    assert found.latency is not None
    assert found.latency.queries == 2
    stages = {name: stage.p50 for name, stage in found.latency.stages.items()}
    assert stages == pytest.approx({"encode": 1.0, "retrieve": 2.0, "rerank": 3.0})
    assert found.latency.first_stage.p95 == pytest.approx(3.0)
    assert 0 < found.latency.total.p50 <= found.latency.total.p95
    assert found.peak_memory is not None
    assert found.peak_memory > 10_000_000
    frame = found.as_frame()
    assert list(frame.index) == ["retrieval", "cross_encoder", "reranked", "ceiling"]
    assert frame.loc["retrieval", "p50 (ms)"] == pytest.approx(3.0)
    assert frame.loc["reranked", "MRR@10"] == pytest.approx(mrr(by_hand(3, rerank=True)))


def test_the_change_between_the_stages_has_an_interval() -> None:
    found = evaluate(WordSearcher(), QUERIES, QRELS, ["MRR@10"], depth=3)
    assert found.comparison is not None
    assert found.reranked is not None
    interval = found.comparison["MRR@10"]
    change = found.reranked.mean["MRR@10"] - found.retrieval.mean["MRR@10"]
    assert interval.mean_difference == pytest.approx(change)
    assert interval.low <= change <= interval.high


@pytest.mark.parametrize("depth", [1, 2, 3, 6, 30])
def test_the_ceiling_is_what_a_perfect_reranker_would_reach(depth: int) -> None:
    found = evaluate(WordSearcher(), QUERIES, QRELS, ["MRR@10", "nDCG@2"], depth=depth)
    assert found.ceiling is not None
    assert found.reranked is not None
    for name in ("MRR@10", "nDCG@2"):
        assert found.ceiling.mean[name] >= found.reranked.mean[name]
        assert found.ceiling.mean[name] >= found.retrieval.mean[name]
    if depth == 1:
        assert found.ceiling == found.reranked == found.retrieval
    if depth >= 6:
        assert found.ceiling.mean == {"MRR@10": 1.0, "nDCG@2": 1.0}


def test_without_a_cross_encoder_only_retrieval_is_scored() -> None:
    searcher = WordSearcher(has_reranker=False)
    found = evaluate(searcher, QUERIES, QRELS, time_queries=0)
    assert searcher.calls == [(4, 100, 30, False)]
    assert (
        found.reranked
        is found.cross_encoder
        is found.latency
        is found.ceiling
        is found.comparison
        is None
    )
    answer = found.as_json()
    assert list(answer["retrieval"]) == ["MRR@10", "nDCG@10", "Recall@100"]
    assert (answer["reranked"], answer["queries"]) == (None, 4)


def test_the_json_holds_all_but_the_per_query_values() -> None:
    found = evaluate(WordSearcher(), QUERIES, {**QRELS, "lost": {"p1": 1}}, depth=3)
    answer = json.loads(json.dumps(found.as_json(), allow_nan=False))
    names = (
        "retrieval cross_encoder reranked ceiling comparison queries judged without_relevant "
        "unjudged missing retrieved dangling depth exclude_self seconds latency footprint "
        "peak_memory warnings"
    )
    assert set(answer) == set(names.split())
    assert (answer["queries"], answer["judged"], answer["missing"]) == (5, 5, 1)
    assert set(answer["reranked"]) == set(answer["comparison"]) == set(answer["retrieval"])


@pytest.mark.parametrize(
    ("measures", "depth", "top_k"),
    [(["MRR@10"], 30, 30), (["Recall@100", "P@5"], 30, 100), (["MAP", "P@5"], 30, 1000)],
)
def test_the_largest_cutoff_is_asked_for_and_never_less_than_is_reranked(
    measures: list[str], depth: int, top_k: int
) -> None:
    searcher = WordSearcher()
    evaluate(searcher, QUERIES, QRELS, measures, depth=depth, time_queries=0)
    assert searcher.calls == [(4, top_k, depth, True)]


def test_a_query_that_finds_itself_can_be_excluded() -> None:
    searcher = WordSearcher()
    found = evaluate(
        searcher, QUERIES, QRELS, ["MRR@10"], depth=3, exclude_self=True, time_queries=0
    )
    assert searcher.calls == [(4, 11, 4, True)]
    assert found.retrieval.mean["MRR@10"] == pytest.approx(
        mrr(by_hand(4, rerank=False, drop_self=True))
    )
    assert found.reranked is not None
    assert found.reranked.mean["MRR@10"] == pytest.approx(
        mrr(by_hand(4, rerank=True, drop_self=True))
    )
    with_self = evaluate(WordSearcher(), QUERIES, QRELS, ["MRR@10"], depth=3)
    assert found.retrieval.per_query["MRR@10"]["p6"] > with_self.retrieval.per_query["MRR@10"]["p6"]
    assert found.as_json()["exclude_self"] is True


def test_a_sample_depends_on_the_seed_alone() -> None:
    queries = {f"q{i}": "light" for i in range(600)}
    qrels = {query_id: {"p2": 1} for query_id in queries}
    done: list[tuple[int, int]] = []

    def sampled(order: int, seed: int) -> list[str]:
        found = evaluate(
            WordSearcher(),
            dict(sorted(queries.items())[::order]),
            dict(sorted(qrels.items())[::order]),
            ["MRR@10"],
            limit_queries=300,
            seed=seed,
            on_progress=lambda so_far, in_all: done.append((so_far, in_all)),
        )
        assert (found.queries, found.judged) == (300, 600)
        return list(found.retrieval.per_query["MRR@10"])

    first = sampled(1, 0)
    assert done == [(256, 300), (300, 300)]
    assert first == sampled(-1, 0) == sorted(first)
    assert first != sampled(1, 1)
    assert evaluate(WordSearcher(), QUERIES, QRELS, ["P@1"], limit_queries=99).queries == 4


def test_a_judged_query_without_a_text_counts_as_zero_or_as_asked() -> None:
    queries = {i: text for i, text in QUERIES.items() if i != "q1"}
    zero = evaluate(WordSearcher(), queries, QRELS, ["MRR@10"])
    expected = {**by_hand(3, rerank=False), "q1": []}
    assert zero.retrieval.mean["MRR@10"] == pytest.approx(mrr(expected))
    assert (zero.queries, zero.missing, zero.retrieval.retrieved) == (4, ("q1",), 3)
    assert (
        "1 judged queries are not among the queries given and count as zero: ['q1']"
        in zero.warnings
    )
    drop = evaluate(WordSearcher(), queries, QRELS, ["MRR@10"], missing_queries="drop")
    assert drop.retrieval.mean["MRR@10"] == pytest.approx(zero.retrieval.mean["MRR@10"] * 4 / 3)
    assert (drop.queries, drop.judged, drop.missing) == (3, 4, ())
    assert not any("not among the queries" in line for line in drop.warnings)
    with pytest.raises(DataError, match=r"1 judged queries are not among .*\['q1'\]"):
        evaluate(WordSearcher(), queries, QRELS, ["MRR@10"], missing_queries="error")


def test_judgements_that_the_corpus_cannot_meet_are_reported() -> None:
    qrels = {**QRELS, "q1": {"p1": 2, "gone": 1, "away": 0}}
    found = evaluate(WordSearcher(), QUERIES, qrels, corpus_ids=CORPUS)
    assert found.dangling == 2
    assert any(
        "2 judgements, 1 of them relevant" in line and "['away', 'gone']" in line
        for line in found.warnings
    )
    assert evaluate(WordSearcher(), QUERIES, qrels).dangling == 0


def test_passage_ids_of_another_kind_are_noticed() -> None:
    found = evaluate(WordSearcher(), QUERIES, {"q1": {"doc-1": 1}})
    assert found.retrieval.mean["Recall@100"] == 0
    assert any("no retrieved passage has a judgement" in line for line in found.warnings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, r"depth must be 1 or more .* got 0 and 50"),
        ({"time_queries": -1}, r"time_queries 0 or more, got 30 and -1"),
        ({"limit_queries": 0}, r"limit_queries must be 1 or more, or None for all, got 0"),
        ({"missing_queries": "skip"}, r"must be zero, error or drop, got 'skip'"),
        ({"measures": ["bogus"]}, r"unknown measure 'bogus'"),
    ],
)
def test_arguments_that_cannot_work_are_refused_before_a_search(
    arguments: dict[str, object], message: str
) -> None:
    searcher = WordSearcher()
    with pytest.raises(UsageError, match=message):
        evaluate(searcher, QUERIES, QRELS, **arguments)  # type: ignore[arg-type]
    assert not searcher.calls


@pytest.mark.parametrize("qrels", [{"x": {"p1": 1}}, {"q1": {"p1": 0}}])
def test_queries_that_nobody_judged_are_refused(qrels: dict[str, dict[str, int]]) -> None:
    with pytest.raises(DataError, match=r"no judged query is among .* \['q1', 'q2'"):
        evaluate(WordSearcher(), QUERIES, qrels)


def test_queries_that_find_themselves_are_warned_of() -> None:
    found = evaluate(WordSearcher(has_reranker=False), QUERIES, {"p6": {"p4": 1}}, ["MRR@10"])
    assert any("1 of 1 queries find themselves first, such as ['p6']" in w for w in found.warnings)
    found = evaluate(
        WordSearcher(has_reranker=False), QUERIES, {"p6": {"p4": 1}}, ["MRR@10"], exclude_self=True
    )
    assert not found.warnings
    judged_so = {"p6": {"p6": 1}}  # somebody means it
    assert not evaluate(WordSearcher(has_reranker=False), QUERIES, judged_so, ["MRR@10"]).warnings
