"""score() against two other implementations, to 1e-9: ir-measures' pytrec_eval, and ranx.

pytrec_eval is trec_eval's own C code, called here by its provider object, so that ir-measures does
not choose another; it has no reciprocal rank with a cut-off, which is checked against the provider
``msmarco`` (MS MARCO's script). ranx is written from scratch in numba.

Where definitions differ, like is compared with like:

- nDCG: the gain of a grade is the grade (trec_eval, and ranx's "ndcg"), not 2^grade - 1 (ranx's
  "ndcg_burges").
- Queries without a relevant passage are excluded here. ranx counts them as zero in its mean, and
  trec_eval would too where the run has them; so the references are given the others only.
- Judged queries that the run lacks count as zero here and in ir-measures' mean; ranx refuses such a
  run unless they are added with an empty result, as its make_comparable() does it: zero too.
- Queries of the run that nobody judged are dropped by all three (in ranx by make_comparable()).
- Negative grades: ranx and trec_eval do not count them as relevant, nor as a negative gain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import ir_measures
import numpy as np
import pytest
import ranx
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.evaluation.metrics import ranking_of, score

Grades = dict[str, dict[str, int]]
Scored = dict[str, dict[str, float]]

MEASURES = ["MRR@10", "nDCG@10", "nDCG", "Recall@100", "MAP", "Success@1", "Success@5", "P@5"]
RANX = {
    "MRR@10": "mrr@10",
    "nDCG@10": "ndcg@10",
    "nDCG": "ndcg",
    "Recall@100": "recall@100",
    "MAP": "map",
    "Success@1": "hit_rate@1",
    "Success@5": "hit_rate@5",
    "P@5": "precision@5",
}
IR_MEASURES = {
    "nDCG@10": ir_measures.nDCG @ 10,
    "nDCG": ir_measures.nDCG,
    "Recall@100": ir_measures.R @ 100,
    "MAP": ir_measures.AP,
    "Success@1": ir_measures.Success @ 1,
    "Success@5": ir_measures.Success @ 5,
    "P@5": ir_measures.P @ 5,
}


def counted(qrels: Grades) -> Grades:
    return {query_id: grades for query_id, grades in qrels.items() if max(grades.values()) >= 1}


def of_ir_measures(run: Scored, qrels: Grades) -> dict[str, dict[str, float]]:
    """Measure -> query id -> value; a query that the provider does not report is zero."""
    values = {name: dict.fromkeys(qrels, 0.0) for name in MEASURES}
    names = {measure: name for name, measure in IR_MEASURES.items()}
    for metric in ir_measures.pytrec_eval.iter_calc(list(names), qrels, run):
        values[names[metric.measure]][metric.query_id] = metric.value
    for metric in ir_measures.msmarco.iter_calc([ir_measures.RR @ 10], qrels, run):
        values["MRR@10"][metric.query_id] = metric.value
    return values


def of_ranx(run: Scored, qrels: Grades) -> dict[str, dict[str, float]]:
    """Measure -> query id -> value.

    The mappings are matched by position; a missing query needs a result, here one that nobody
    judged.
    """
    comparable = {query_id: run.get(query_id, {"nothing": 0.0}) for query_id in qrels}
    names = list(RANX.values())
    found = ranx.evaluate(qrels, comparable, names, return_mean=False)
    return {
        name: dict(zip(qrels, found[metric].tolist(), strict=True)) for name, metric in RANX.items()
    }


def random_collection(seed: int, queries: int = 40) -> tuple[Scored, Grades]:
    """A run without ties and its judgements.

    Some queries are missing from the run, some unjudged, some have no relevant passage; two thirds
    of what is retrieved is unjudged, and rankings are longer than any cut-off.
    """
    rng = np.random.default_rng(seed)
    run: Scored = {}
    qrels: Grades = {}
    for number in range(queries):
        passages = rng.permutation(400)
        if rng.random() < 0.85:
            found = passages[: rng.integers(1, 250)]
            scores = rng.permutation(len(found)) / 7 - 5.0  # all different, negative ones too
            run[f"q{number}"] = {f"d{p}": float(s) for p, s in zip(found, scores, strict=True)}
        if rng.random() < 0.85:
            judged = rng.permutation(400)[: rng.integers(1, 120)]
            grades = rng.choice([-1, 0, 1, 2, 3], size=len(judged), p=[0.1, 0.4, 0.25, 0.15, 0.1])
            if number % 8 == 0:
                grades = np.minimum(grades, 0)
            qrels[f"q{number}"] = {f"d{p}": int(g) for p, g in zip(judged, grades, strict=True)}
    return run, qrels


def assert_equal(
    found: Mapping[str, Mapping[str, float]], theirs: Mapping[str, Mapping[str, float]]
) -> None:
    for name in MEASURES:
        assert found[name] == pytest.approx(theirs[name], abs=1e-9), name


@pytest.mark.parametrize("seed", range(6))
def test_random_runs_score_as_in_ir_measures_and_ranx(seed: int) -> None:
    run, qrels = random_collection(seed)
    judged = counted(qrels)
    assert len(judged) < len(qrels)
    assert judged.keys() - run.keys()
    assert run.keys() - qrels.keys()
    found = score(ranking_of(run), qrels, MEASURES)
    assert_equal(found.per_query, of_ir_measures(run, judged))
    assert_equal(found.per_query, of_ranx(run, judged))
    aggregate = ir_measures.pytrec_eval.calc_aggregate(list(IR_MEASURES.values()), judged, run)
    for name, measure in IR_MEASURES.items():
        assert found.mean[name] == pytest.approx(aggregate[measure], abs=1e-9)
    assert 0.01 < found.mean["nDCG@10"] < 0.99


passages = st.sampled_from([f"d{i}" for i in range(15)])
queries = st.sampled_from(["q1", "q2", "q3", "q4"])


@given(
    rankings=st.dictionaries(queries, st.lists(passages, unique=True, min_size=1), min_size=1),
    qrels=st.dictionaries(
        queries, st.dictionaries(passages, st.integers(-1, 4), min_size=1), min_size=1
    ),
)
@settings(deadline=None, max_examples=60)
def test_small_runs_score_as_in_ir_measures_and_ranx(
    rankings: dict[str, list[str]], qrels: Grades
) -> None:
    judged = counted(qrels)
    if not judged or not rankings.keys() & judged.keys():
        return
    run = {q: {p: 1 / rank for rank, p in enumerate(r, 1)} for q, r in rankings.items()}
    found = score(ranking_of(run), qrels, MEASURES).per_query
    assert_equal(found, of_ir_measures(run, judged))
    assert_equal(found, of_ranx(run, judged))


def test_the_gain_of_a_grade_is_the_grade() -> None:
    # by hand, beside what gains of 2^grade - 1 would give
    found = score({"q": ["low", "high"]}, {"q": {"low": 1, "high": 3}}, ["nDCG@10"])
    expected = (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3))
    assert found.mean["nDCG@10"] == pytest.approx(expected, abs=1e-12)
    exponential = (1 + 7 / math.log2(3)) / (7 + 1 / math.log2(3))
    assert abs(expected - exponential) > 0.05
