"""Rank fusion against ranx, and what must hold of any: nothing lost, and better is never worse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.errors import UsageError
from shortlist.pipeline.fuse import ReciprocalRank, Weighted, fused, fused_runs, fusion_named

RULES = [ReciprocalRank(), ReciprocalRank(k=3.0), Weighted()]
runs_of_queries = st.lists(
    st.dictionaries(
        st.sampled_from([f"q{n}" for n in range(4)]),
        st.dictionaries(
            st.sampled_from([f"p{n}" for n in range(12)]),
            st.integers(-50, 50).map(float),
            min_size=1,
            max_size=10,
        ),
        min_size=1,
    ),
    min_size=2,
    max_size=4,
)


@pytest.mark.parametrize("method", ["rrf", "wsum"])
@pytest.mark.filterwarnings("ignore")
def test_it_is_that_of_ranx(method):
    import ranx

    rng = np.random.default_rng(5)
    runs = []
    for _ in range(3):
        found = {}
        for query in range(30):
            names = rng.permutation(60)[:20]
            scores = rng.permutation(1000)[:20] / 7
            found[f"q{query}"] = {f"p{n}": float(s) for n, s in zip(names, scores, strict=True)}
        runs.append(found)
    weights = (0.5, 0.3, 0.2)
    theirs = ranx.fuse(
        runs=[ranx.Run(run) for run in runs],
        norm="min-max" if method == "wsum" else None,
        method=method,
        params={"k": 60} if method == "rrf" else {"weights": weights},
    ).to_dict()
    mine = fused_runs(runs, ReciprocalRank() if method == "rrf" else Weighted(weights))
    assert mine.keys() == theirs.keys()
    for query, scores in mine.items():
        assert scores == pytest.approx(theirs[query], abs=1e-9)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)


@given(runs_of_queries, st.sampled_from(RULES))
def test_nothing_is_lost_and_nothing_made_up(runs, rule):
    made = fused_runs(runs, rule)
    assert made.keys() == {query for run in runs for query in run}
    for query, scores in made.items():
        assert scores.keys() == {name for run in runs for name in run.get(query, {})}


@given(runs_of_queries, st.sampled_from(RULES))
def test_what_every_run_puts_first_is_first(runs, rule):
    for run in runs:
        for scores in run.values():
            scores["best"] = 60.0
    for query, scores in fused_runs(runs, rule).items():
        having = [run for run in runs if query in run]
        assert len(having) > 0
        assert next(iter(scores)) == "best"


@given(runs_of_queries, st.sampled_from(RULES), st.data())
def test_a_better_place_in_a_run_is_never_a_worse_one_in_the_end(runs, rule, data):
    query = data.draw(st.sampled_from(sorted(runs[0])))
    name = data.draw(st.sampled_from(sorted(runs[0][query])))
    before = fused_runs(runs, rule)[query]
    better = [{q: dict(s) for q, s in run.items()} for run in runs]
    better[0][query][name] += 7.5
    after = fused_runs(better, rule)[query]

    def beaten(scores):
        return {other for other in scores if scores[other] > scores[name] + 1e-12}

    # min-max moves the others too when the best or the last of the run changes, but none past it
    assert beaten(after) <= beaten(before)


@given(runs_of_queries)
def test_one_ranking_keeps_its_order(runs):
    (alone,) = runs[:1]
    for rule in RULES:
        for query, scores in fused_runs([alone], rule).items():
            given_order = sorted(alone[query].items(), key=lambda hit: -hit[1])
            assert list(scores) == [name for name, _ in given_order]


@settings(max_examples=50)
@given(runs_of_queries, st.sampled_from(RULES))
def test_arrays_are_fused_as_runs_are(runs, rule):
    """Rows with unequal scores, padded as searches pad them."""
    queries, width = sorted({q for run in runs for q in run}), 12
    rankings = []
    for run in runs:
        scores = np.full((len(queries), width), -np.inf, np.float32)
        rows = np.full((len(queries), width), -1)
        for place, query in enumerate(queries):
            hits = sorted(run.get(query, {}).items(), key=lambda hit: (-hit[1], int(hit[0][1:])))
            for column, (name, score) in enumerate(hits):
                scores[place, column], rows[place, column] = score, int(name[1:])
        rankings.append((scores, rows))
    by_number = [
        {
            q: dict(sorted(s.items(), key=lambda hit: (-hit[1], int(hit[0][1:]))))
            for q, s in r.items()
        }
        for r in runs
    ]
    scores, rows = fused(rankings, 5, rule)
    for place, query in enumerate(queries):
        best = fused_runs(by_number, rule)[query]
        found = [f"p{row}" for row in rows[place] if row >= 0]
        assert len(found) == min(5, len(best))
        assert [best[name] for name in found] == pytest.approx(list(best.values())[: len(found)])
        assert np.isneginf(scores[place][rows[place] < 0]).all()


def test_a_depth_cuts_what_a_run_says():
    runs = [{"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"q": {"c": 3.0, "b": 2.0, "a": 1.0}}]
    assert list(fused_runs(runs, depth=1)["q"]) == ["a", "c"]
    assert list(fused_runs(runs, Weighted((0.2, 0.8)), top_k=2)["q"]) == ["c", "b"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("mean", "no fusion is named 'mean'"),
        ("rrf:a", "no numbers"),
        ("weighted:0,0", "one of them above 0"),
        ("weighted:1,-1", "must be 0 or more"),
        ("weighted:1,nan", "must be 0 or more"),
    ],
)
def test_rules_that_are_none(text, match):
    with pytest.raises(UsageError, match=match):
        fusion_named(text)


def test_weights_that_do_not_fit():
    with pytest.raises(UsageError, match="3 weights for 2 rankings"):
        fused_runs([{}, {}], ReciprocalRank(weights=(1, 1, 1)))
    with pytest.raises(UsageError, match="k of reciprocal rank fusion must be above 0"):
        fused_runs([{}], ReciprocalRank(k=0))
