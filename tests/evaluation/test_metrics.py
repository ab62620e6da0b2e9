"""Metrics agree with ir-measures and with formulas written out here; one rule for ties and gaps."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.metrics import (
    Measure,
    parse_measure,
    parse_measures,
    ranking_of,
    run_of,
    score,
    tied_at,
)

# spellings


@pytest.mark.parametrize(
    ("canonical", "theirs", "spellings"),
    [
        (
            "MRR@10",
            ir_measures.RR @ 10,
            "MRR@10 RR@10 mrr@10 mrr_at_10 recip_rank_10 recip_rank_cut_10 recip_rank@10 rr_at_10",
        ),
        ("MRR", ir_measures.RR, "MRR RR recip_rank mrr"),
        (
            "nDCG@10",
            ir_measures.nDCG @ 10,
            "nDCG@10 NDCG@10 ndcg@10 ndcg_cut_10 ndcg_cut.10 ndcg_at_10 NDCG_at_10",
        ),
        ("nDCG", ir_measures.nDCG, "nDCG NDCG ndcg"),
        (
            "Recall@100",
            ir_measures.R @ 100,
            "Recall@100 R@100 recall_100 recall.100 recall_at_100 recall@100",
        ),
        ("MAP", ir_measures.AP, "MAP AP map mAP"),
        ("MAP@10", ir_measures.AP @ 10, "MAP@10 AP@10 map_cut_10 map_cut.10 map_at_10 map@10"),
        ("MAP@100", ir_measures.AP @ 100, "MAP@100 AP@100 map_cut_100 map_at_100"),
        ("P@1", ir_measures.P @ 1, "P@1 P_1 P.1 Precision@1 precision_at_1"),
        ("P@5", ir_measures.P @ 5, "P@5 P_5 P.5 p@5 precision@5 precision_at_5"),
        (
            "Success@1",
            ir_measures.Success @ 1,
            "Success@1 success_1 success.1 success@1 success_at_1 hit_rate_at_1 hit_rate@1",
        ),
        ("Rprec", ir_measures.Rprec, "Rprec rprec"),
        ("Bpref", ir_measures.Bpref, "Bpref bpref"),
        ("MRR(rel=2)@10", ir_measures.RR(rel=2) @ 10, "MRR(rel=2)@10 RR(rel=2)@10"),
        ("nDCG(gains={1:5})@10", ir_measures.nDCG(gains={1: 5}) @ 10, "nDCG(gains={1:5})@10"),
        ("IPrec@0.2", ir_measures.IPrec @ 0.2, "IPrec@0.2"),
    ],
)
def test_every_spelling_prints_as_ours_and_ours_reads_back(
    canonical: str, theirs: object, spellings: str
) -> None:
    for spelling in spellings.split():
        measure = parse_measure(spelling)
        assert str(measure) == canonical
        assert measure.ir_measure == theirs
        assert parse_measure(str(measure)) == measure == parse_measure(measure)


UNKNOWN = (
    "bogus MRR@0 MRR@-1 MRR@ten MRR@1.5 MRR@True MRR@1@2 R Recall P MRR(2) MRR(foo=1) "
    "MRR(rel='a') () __import__('os') recall_ @10"
)


def test_the_cutoff_is_read() -> None:
    assert [parse_measure(m).cutoff for m in ("ndcg_cut_7", "map", "IPrec@0.5")] == [7, None, None]
    assert [str(m) for m in parse_measures(["RR@10", "MRR@10", "P@1"])] == ["MRR@10", "P@1"]


@pytest.mark.parametrize(
    "text",
    [*UNKNOWN.split(), "", "MRR @ ", "a\0", 10],
)
def test_a_measure_that_nobody_knows_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"unknown measure .*write one of: MRR@10, nDCG@10.*ndcg_cut_10"
    ):
        parse_measure(text)


def test_other_mistakes_with_measures() -> None:
    with pytest.raises(UsageError, match=r"cannot compute it as installed here"):
        parse_measure("alpha_nDCG@10")
    with pytest.raises(UsageError, match=r"write \['MRR@10'\]"):
        parse_measures("MRR@10")
    with pytest.raises(UsageError, match="no measure was given"):
        parse_measures([])


# values

MEASURES = (
    "MRR@10",
    "MRR@2",
    "nDCG@10",
    "nDCG@3",
    "Recall@2",
    "Recall@100",
    "MAP",
    "P@3",
    "Success@1",
)


def by_hand(name: str, ranking: list[str], grades: dict[str, int]) -> float:
    """The textbook formulas; nDCG with linear gains, as trec_eval has it."""
    gains = [max(grades.get(passage, 0), 0) for passage in ranking]
    relevant = sum(grade >= 1 for grade in grades.values())
    family, _, cutoff = name.partition("@")
    k = int(cutoff) if cutoff else len(ranking)
    hits = [gain >= 1 for gain in gains]
    precision = [sum(hits[:i]) / i for i in range(1, len(hits) + 1)]
    ideal = sorted((max(grade, 0) for grade in grades.values()), reverse=True)
    if family == "MRR":
        return next((1 / rank for rank, hit in enumerate(hits[:k], 1) if hit), 0.0)
    if family == "nDCG":
        dcg, best = (
            sum(gain / math.log2(rank + 1) for rank, gain in enumerate(g[:k], 1))
            for g in (gains, ideal)
        )
        return dcg / best
    if family == "Recall":
        return sum(hits[:k]) / relevant
    if family == "MAP":
        return sum(p for p, hit in zip(precision, hits, strict=True) if hit) / relevant
    return sum(hits[:k]) / k if family == "P" else float(any(hits[:k]))


passages = [f"d{i}" for i in range(14)]
rankings = st.dictionaries(
    st.sampled_from(["q1", "q2", "q3", "unjudged 1", "unjudged 2"]),
    st.lists(st.sampled_from(passages), unique=True, max_size=14),
)
grades = st.dictionaries(st.sampled_from([*passages, "gone"]), st.integers(-1, 3), max_size=8)
qrels = st.dictionaries(st.sampled_from(["q1", "q2", "q3", "missing"]), grades, min_size=1)


@given(ranked=rankings, judged=qrels)
@settings(deadline=None, max_examples=120)
def test_scores_are_the_textbook_formulas_over_all_judged_queries(
    ranked: dict[str, list[str]], judged: dict[str, dict[str, int]]
) -> None:
    counted = [q for q in judged if any(grade >= 1 for grade in judged[q].values())]
    if not counted or not ranked.keys() & judged.keys():
        with pytest.raises(DataError, match=r"nothing to measure|no query id in common"):
            score(ranked, judged, MEASURES)
        return
    found = score(ranked, judged, MEASURES)
    for name in MEASURES:
        expected = {q: by_hand(name, ranked.get(q, []), judged[q]) for q in counted}
        assert found.per_query[name] == pytest.approx(expected, abs=1e-9)
        assert found.mean[name] == pytest.approx(sum(expected.values()) / len(counted), abs=1e-9)
    assert found.judged == len(counted)
    assert found.retrieved == sum(bool(ranked.get(q)) for q in counted)
    assert found.unjudged == len(ranked.keys() - judged.keys())
    assert found.without_relevant == len(judged) - len(counted)


@given(ranked=rankings, judged=qrels)
@settings(deadline=None, max_examples=50)
def test_scores_are_those_of_ir_measures_called_directly(
    ranked: dict[str, list[str]], judged: dict[str, dict[str, int]]
) -> None:
    judged = {q: g for q, g in judged.items() if any(grade >= 1 for grade in g.values())}
    ranked = {q: r for q, r in ranked.items() if r}
    if not ranked.keys() & judged.keys():
        return
    names = ["nDCG@10", "Recall@2", "MAP", "MRR", "P@3"]
    theirs = [
        ir_measures.nDCG @ 10,
        ir_measures.R @ 2,
        ir_measures.AP,
        ir_measures.RR,
        ir_measures.P @ 3,
    ]
    expected = ir_measures.pytrec_eval.calc_aggregate(theirs, judged, run_of(ranked))
    found = score(ranked, judged, names)
    assert list(found.mean.values()) == pytest.approx([expected[m] for m in theirs], abs=1e-9)
    msmarco = ir_measures.msmarco.calc_aggregate([ir_measures.RR @ 10], judged, run_of(ranked))
    mrr = score(ranked, judged, ["MRR@10"]).mean["MRR@10"]
    assert mrr == pytest.approx(msmarco[ir_measures.RR @ 10], abs=1e-9)


@pytest.mark.skipif(shutil.which("perl") is None, reason="ERR is computed by a Perl script")
def test_scripts_that_split_at_blanks_and_want_digits_get_them() -> None:
    found = score({"a b": ["x y", "z"]}, {"a b": {"x y": 0, "z": 1}}, ["ERR@10", "Compat(p=0.8)"])
    assert found.mean["ERR@10"] == pytest.approx(1 / 16 / 2, abs=1e-5)  # gdeval prints 5 decimals


def test_negative_grades_are_never_relevant_and_take_nothing_away() -> None:
    found = score({"q": ["bad", "good"]}, {"q": {"bad": -2, "good": 1}}, ["MRR@10", "nDCG@10"])
    assert found.mean == {"MRR@10": 0.5, "nDCG@10": pytest.approx(1 / math.log2(3))}


@pytest.mark.parametrize("k", [1, 2, 3, 50])
def test_what_lies_below_the_last_cutoff_changes_nothing(k: int) -> None:
    ranking, judged = {"q": [f"d{i}" for i in range(60)]}, {"q": {"d0": 0, "d2": 1, "d40": 2}}
    names = [f"MRR@{k}", f"nDCG@{k}", f"Recall@{k}", f"MAP@{k}", f"P@{k}", f"Success@{k}"]
    found = score(ranking, judged, [*names, "MAP"]).mean  # MAP looks at all: nothing is cut off
    assert score(ranking, judged, names).mean == {name: found[name] for name in names}


def test_a_measure_that_skips_the_unjudged_looks_below_its_cutoff() -> None:
    ranking, judged = {"q": ["x", "y", "b", "a"]}, {"q": {"a": 1, "b": 0}}
    names = ["P(judged_only=True)@2", "P@2"]
    assert list(score(ranking, judged, names).mean.values()) == [0.5, 0.0]


# what counts


def test_every_judged_query_counts_and_the_others_are_counted() -> None:
    ranked = {"a": ["x", "y"], "b": [], "other": ["x"], "zero": ["x"]}
    judged = {"a": {"y": 1}, "b": {"x": 1}, "c": {"x": 2}, "zero": {"x": 0}, "none": {}}
    found = score(ranked, judged)
    assert list(found.mean) == ["MRR@10", "nDCG@10", "Recall@100"]
    assert found.mean["MRR@10"] == pytest.approx(0.5 / 3)
    assert found.per_query["MRR@10"] == {"a": 0.5, "b": 0.0, "c": 0.0}
    assert (found.judged, found.retrieved, found.unjudged, found.without_relevant) == (3, 1, 1, 2)
    assert found.known_passages == 1
    assert found.as_json() == found.mean


@pytest.mark.parametrize(
    ("ranked", "judged", "error", "message"),
    [
        (
            {"1": ["x"]},
            {"2": {"x": 1}},
            DataError,
            r"\['1'\] in the rankings, \['2'\] in the qrels",
        ),
        ({1: ["x"]}, {"1": {"x": 1}}, DataError, r"no query id in common: \[1\] .*\['1'\]"),
        (
            {str(i): ["x"] for i in range(20)},
            {f"q{i}": {"x": 1} for i in range(20)},
            DataError,
            r"'9'\] in the rankings, .*'q9'\] in the qrels",
        ),
        ({"1": ["x"]}, {"1": {"x": 0}}, DataError, r"none of the 1 queries .* nothing to measure"),
        (
            {"1": ["x", "y", "x"]},
            {"1": {"x": 1}},
            DataError,
            r"ranked twice for query '1': \['x'\]",
        ),
        ({"1": [7, 8]}, {"1": {"7": 1}}, UsageError, r"query '1' must be .* strings; got \[7, 8\]"),
        ({"1": "xyz"}, {"1": {"x": 1}}, UsageError, r"must be a list of passage ids.* got 'xyz'"),
    ],
)
def test_input_that_would_give_a_wrong_number_is_refused(
    ranked: dict[str, list[str]],
    judged: dict[str, dict[str, int]],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        score(ranked, judged)


# ties


@pytest.mark.parametrize("relevant", ["a", "b"])
def test_all_measures_see_one_order_where_ir_measures_would_see_two(relevant: str) -> None:
    tied, judged = {"q": {"a": 1.0, "b": 1.0}}, {"q": {relevant: 1}}
    direct = ir_measures.calc_aggregate([ir_measures.RR @ 10, ir_measures.RR], judged, tied)
    assert sorted(direct.values()) == [0.5, 1.0]
    found = score(ranking_of(tied), judged, ["MRR@10", "MRR"]).mean
    assert found["MRR@10"] == found["MRR"] == (1.0 if relevant == "b" else 0.5)


def test_a_ranking_is_an_order_whatever_its_ids_are() -> None:
    # where scores tie, trec_eval puts z first
    for ranking, expected in ((["a", "z"], 1.0), (["z", "a"], 0.5)):
        found = score({"q": ranking}, {"q": {"a": 1}}, ["MRR", "MRR@10", "MAP", "P@1"]).mean
        assert found == {"MRR": expected, "MRR@10": expected, "MAP": expected, "P@1": expected // 1}


@pytest.mark.parametrize(
    ("scores", "ranking"),
    [
        ({"a": 1.0, "b": 1.0, "c": 1.0}, ["c", "b", "a"]),
        ({"d10": 0.5, "d9": 0.5, "d1": 0.5}, ["d9", "d10", "d1"]),  # ids are text, not numbers
        ({"B": 0.0, "a": 0.0, "é": 0.0}, ["é", "a", "B"]),  # by code point
        ({"a": 2.0, "z": 1.0, "b": 2.0}, ["b", "a", "z"]),
        ({"a": 0.1 + 1e-9, "b": 0.1}, ["b", "a"]),  # one number as float32
        ({"a": 0.1 + 1e-7, "b": 0.1}, ["a", "b"]),  # two numbers
        ({"a": 16777217.0, "b": 16777216.0}, ["b", "a"]),  # 2^24 + 1 is 2^24 as float32
        ({"a": 0.0, "b": -0.0}, ["b", "a"]),
        ({"a": -math.inf, "b": -1e300, "c": -1.0}, ["c", "b", "a"]),  # -1e300 is -inf as float32
    ],
)
def test_ties_are_broken_by_id_descending(scores: dict[str, float], ranking: list[str]) -> None:
    backwards = dict(reversed(scores.items()))  # the order of a file's lines decides nothing
    assert ranking_of({"q": scores}) == ranking_of({"q": backwards}) == {"q": ranking}
    for rank, passage_id in enumerate(ranking, 1):
        judged = {"q": {passage_id: 1}}
        found = score(ranking_of({"q": scores}), judged, ["MRR", "MRR@10", "P@1", "nDCG"]).mean
        assert found["MRR"] == found["MRR@10"] == pytest.approx(1 / rank)
        assert found["P@1"] == (rank == 1)
        assert found["nDCG"] == pytest.approx(1 / math.log2(rank + 1))
        theirs = ir_measures.pytrec_eval.calc_aggregate([ir_measures.RR], judged, {"q": scores})
        assert theirs[ir_measures.RR] == pytest.approx(1 / rank)


@given(
    scores=st.dictionaries(
        st.text("abcé", min_size=1, max_size=3),
        st.sampled_from([0.0, 0.5, 0.5 + 1e-10, 1.0, 1e300, -math.inf]),
        min_size=1,
        max_size=8,
    )
)
@settings(deadline=None, max_examples=100)
def test_ranking_of_is_the_order_of_trec_eval(scores: dict[str, float]) -> None:
    ranking = ranking_of({"q": scores})["q"]
    for rank, passage in enumerate(ranking, 1):
        rr = ir_measures.pytrec_eval.calc_aggregate(
            [ir_measures.RR], {"q": {passage: 1}}, {"q": scores}
        )
        assert rr[ir_measures.RR] == pytest.approx(1 / rank)
    assert ranking_of(run_of({"q": ranking})) == {"q": ranking}


def test_a_nan_is_named_and_ties_across_the_cutoff_are_counted() -> None:
    with pytest.raises(DataError, match=r"passage 'b' of query 'q7' is NaN"):
        ranking_of({"q7": {"a": 1.0, "b": math.nan}})
    run = {"q": {"c": 0.5, "a": 1.0, "b": 0.5}, "r": {"a": 1.0}}
    assert [tied_at(run, k) for k in (1, 2, 3)] == [0, 1, 0]
    assert tied_at({"q": {"a": 0.1 + 1e-9, "b": 0.1}}, 1) == 1  # one number as float32


def test_the_package_and_the_measures_stay_light_until_used() -> None:
    code = (
        "import sys, shortlist, shortlist.evaluation.evaluate, shortlist.evaluation.compare\n"
        "import shortlist.data.qrels\n"
        "heavy = {'torch', 'scipy', 'sklearn', 'ir_measures', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_measure_is_a_value() -> None:
    assert len({parse_measure("MRR@10"), parse_measure("RR@10")}) == 1
    assert isinstance(parse_measure("MRR@10"), Measure)
