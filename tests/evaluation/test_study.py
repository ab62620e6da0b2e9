"""The study of a choice: what is counted, both stages side by side, all of it JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from study_example import example_study
from table_searcher import (
    TableSearcher,
    ndcg,
    random_table,
    ranked_by_hand,
    reciprocal_rank,
)

import shortlist
from shortlist.evaluation.choose import Choice, FirstStage, choose
from shortlist.evaluation.report import render
from shortlist.evaluation.study import INSPECTED, counts_of, environment, inspector, study_of
from shortlist.evaluation.task_kind import TaskKind
from shortlist.records import Passage

TABLE = {
    "lifted": [("a", -2.0), ("b", -1.0), ("yes", 5.0), ("c", -3.0)],  # 3 -> 1
    "buried": [("yes", -5.0), ("a", 1.0), ("b", 2.0), ("c", 3.0)],  # 1 -> 4
    "as it was": [("a", 2.0), ("yes", 1.0), ("b", -1.0)],  # 2 -> 2
    "a little": [("yes", 0.0), ("a", 1.0), ("b", -1.0)],  # 1 -> 2
    "missed": [("a", 1.0), ("b", 2.0)],
    "nothing": [],
}
QUERIES = {f"q{n}": text for n, text in enumerate(TABLE)} | {"unjudged": "lifted"}
QRELS = {f"q{n}": {"yes": 2, "b": 0, "gone": 1} for n in range(6)} | {
    "lost": {"yes": 1},
    "empty": {"a": 0},
    "none": {},
}
PASSAGES = {i: Passage(i, f"text of {i}", title=i.upper()) for i in ("yes", "a", "b", "c")}


def made(depths: tuple[int, ...] = (4,), **options: Any) -> Choice:
    stage = FirstStage("s", TableSearcher(TABLE), cross_encoder="ce")
    return choose([stage], QUERIES, QRELS, measures=["MRR@10"], depths=depths, **options)


def recommending(choice: Choice, name: str) -> Choice:
    """The same with another recommendation: which one it is does not matter here."""
    return replace(choice, recommended=next(s for s in choice.systems if s.name == name))


def study(choice: Choice, **more: Any) -> dict[str, Any]:
    return study_of(
        choice,
        title="Letters, dev",
        dataset={"name": "letters", "split": "dev", "known_item": False, "sampled_from": None},
        task=TaskKind("unclear", ("There is too little to say.",), {"queries": 7.0}),
        warnings=iter(["Mind the gap."]),
        counts=counts_of(choice, QUERIES, QRELS, PASSAGES),
        recommendation={"preset": None, "reasons": [], "command": "shortlist index"},
        passages=PASSAGES,
        **more,
    )


# counts


def test_counts_are_of_all_queries_and_of_those_that_were_asked() -> None:
    choice = made()
    assert counts_of(choice, QUERIES, QRELS, PASSAGES) == {
        "judged": 7,  # q0 to q5, and the one without a text
        "retrieved": 5,  # one finds nothing, one has no text
        "unjudged": 1,
        "without_relevant": 2,
        "missing": 1,
        "dangling": 6,  # "gone", of six queries
    }
    few = made(limit_queries=3)
    found = counts_of(few, QUERIES, QRELS, PASSAGES)
    assert found["judged"] == len(few.qrels) == 3
    assert found["missing"] == ("lost" in few.qrels)
    assert found["dangling"] == 3 - ("lost" in few.qrels)
    assert (found["unjudged"], found["without_relevant"]) == (1, 2)


# the inspector


def test_the_worst_stand_first_with_what_was_lifted_and_buried() -> None:
    found = inspector(recommending(made(), "s + rerank 4"), PASSAGES)
    assert found["systems"] == {"before": "s", "after": "s + rerank 4"}
    assert found["measure"] == "MRR@10"
    assert [query["text"] for query in found["queries"]] == [
        "buried", "a little", "as it was", "missed", "nothing", "lifted",
    ]  # fmt: skip
    for query in found["queries"]:
        rows = TABLE[query["text"]]
        assert query["before"] == pytest.approx(
            reciprocal_rank(ranked_by_hand(rows, 0), {"yes": 2, "gone": 1})
        )
        assert query["after"] == pytest.approx(
            reciprocal_rank(ranked_by_hand(rows, 4), {"yes": 2, "gone": 1})
        )
    ranks = {
        query["text"]: (query["relevant"][0]["rank_before"], query["relevant"][0]["rank_after"])
        for query in found["queries"]
    }
    assert ranks == {
        "lifted": (3, 1),
        "buried": (1, 4),
        "as it was": (2, 2),
        "a little": (1, 2),
        "missed": (None, None),
        "nothing": (None, None),
    }


def test_both_rankings_are_shown_with_ranks_grades_and_texts() -> None:
    found = inspector(recommending(made(), "s + rerank 4"), PASSAGES)
    query = next(query for query in found["queries"] if query["text"] == "lifted")
    assert query["id"] == "q0"
    assert query["relevant"] == [
        {"id": "yes", "title": "YES", "text": "text of yes", "grade": 2, "rank_before": 3,
         "rank_after": 1},
        {"id": "gone", "title": "", "text": "", "grade": 1, "rank_before": None,
         "rank_after": None},
    ]  # fmt: skip
    keys = "id title text rank score grade"
    assert {" ".join(row) for row in query["ranking_before"]} == {keys}
    assert {" ".join(row) for row in query["ranking_after"]} == {f"{keys} rank_before"}
    before = [
        (row["rank"], row["id"], row["score"], row["grade"]) for row in query["ranking_before"]
    ]
    assert before == [
        (1, "a", -1.0, None), (2, "b", -2.0, 0), (3, "yes", -3.0, 2), (4, "c", -4.0, None),
    ]  # fmt: skip
    after = [(row["rank"], row["id"], row["score"]) for row in query["ranking_after"]]
    assert after == [(1, "yes", 5.0), (2, "b", -1.0), (3, "a", -2.0), (4, "c", -3.0)]
    assert [row["rank_before"] for row in query["ranking_after"]] == [3, 2, 1, 4]
    assert query["ranking_after"][1]["title"] == "B"


def test_rankings_and_texts_are_cut_to_what_can_be_read() -> None:
    table = {"question": [(f"p{n}", float(n)) for n in range(30)]}
    choice = choose(
        [FirstStage("s", TableSearcher(table))],
        {"q": "question"},
        {"q": {"p29": 1, "p3": 3, "p5": 1}},
        depths=(30,),
    )
    passages = {f"p{n}": Passage(f"p{n}", "word " * 500) for n in range(30)}
    (query,) = inspector(recommending(choice, "s + rerank 30"), passages)["queries"]
    assert [row["id"] for row in query["ranking_before"]] == [f"p{n}" for n in range(10)]
    assert [row["id"] for row in query["ranking_after"]] == [f"p{n}" for n in range(29, 19, -1)]
    places = [(row["id"], row["rank_before"], row["rank_after"]) for row in query["relevant"]]
    assert places == [("p3", 4, 27), ("p29", 30, 1), ("p5", 6, 25)]  # best grade first
    text = query["ranking_before"][0]["text"]
    assert text == ("word " * 200).strip() + " …"


@pytest.mark.parametrize(
    ("recommended", "sides"),
    [
        ("s", ("s", "s + rerank 2")),
        ("s + rerank 2", ("s", "s + rerank 2")),
        ("s + rerank 3", ("s", "s + rerank 3")),
    ],
)
def test_what_is_not_reranked_by_recommendation_is_shown_with_the_shallowest(
    recommended: str, sides: tuple[str, str]
) -> None:
    choice = recommending(made((3, 2, 4)), recommended)
    found = inspector(choice, PASSAGES)
    assert (found["systems"]["before"], found["systems"]["after"]) == sides
    depth = int(sides[1][-1])
    for query in found["queries"]:
        expected = ranked_by_hand(TABLE[query["text"]], depth)
        assert [row["id"] for row in query["ranking_after"]] == expected


def test_where_nothing_can_be_reranked_there_is_nothing_to_inspect() -> None:
    stage = FirstStage("s", TableSearcher(TABLE, has_reranker=False))
    choice = choose([stage], QUERIES, QRELS)
    assert inspector(choice, PASSAGES) == {}
    assert study(choice)["inspector"] == {}


def test_of_many_queries_those_that_changed_most_are_kept() -> None:
    queries = {f"q{n:03}": f"question {n}" for n in range(INSPECTED + 60)}
    table = random_table(2, list(queries.values()), [f"p{n}" for n in range(12)], 12)
    qrels = {query_id: {"p1": 1} for query_id in queries}
    choice = choose(
        [FirstStage("s", TableSearcher(table))], queries, qrels, depths=(12,), limit_queries=None
    )
    found = inspector(recommending(choice, "s + rerank 12"), {})["queries"]
    changes = {
        i: ndcg(ranked_by_hand(table[text], 12), qrels[i])
        - ndcg(ranked_by_hand(table[text], 0), qrels[i])
        for i, text in queries.items()
    }
    shown = [changes[query["id"]] for query in found]
    assert len(found) == INSPECTED
    assert shown == pytest.approx(sorted(shown))
    kept = {query["id"] for query in found}
    smallest = min(abs(changes[i]) for i in kept)
    assert all(abs(changes[i]) <= smallest + 1e-9 for i in queries.keys() - kept)
    assert shown[0] < 0 < shown[-1]


# the whole


def test_a_study_is_json_with_the_names_that_the_report_knows() -> None:
    found = study(made(), kinds=[{"kind": "ordinary"}], robustness_sentences=["Nothing is lost."])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found.keys() == example_study(5).keys()
    assert found["created_by"] == f"shortlist {shortlist.__version__}"
    assert found["dataset"] == {
        "name": "letters", "split": "dev", "known_item": False, "sampled_from": None,
        "passages": 4, "queries": 7, "of_queries": 7,
    }  # fmt: skip
    assert (found["measures"], found["primary"]) == (["MRR@10"], "MRR@10")
    assert found["warnings"] == ["Mind the gap."]
    assert found["recommendation"]["system"] in {system["name"] for system in found["systems"]}
    assert found["recommendation"]["command"] == "shortlist index"
    assert (found["kinds"], found["robustness"]) == ([{"kind": "ordinary"}], [])


@pytest.mark.parametrize("found_at", [0, 1], ids=["nothing is found", "one query"])
def test_what_cannot_be_computed_is_null_and_never_nan(found_at: int) -> None:
    table = {"question": [("x", 1.0), ("y", 2.0)]}
    choice = choose(
        [FirstStage(name, TableSearcher(table)) for name in ("a", "b")],
        {"q": "question"},
        {"q": {"y" if found_at else "z": 1}},
        depths=(1, 2),
    )
    found = study(choice)
    json.dumps(found, allow_nan=False)
    assert "Letters, dev" in render(found)
    assert {comparison["detectable"] for comparison in found["comparisons"]} == {None}


def test_the_environment_says_what_times_depend_on_and_not_whose_machine_it_was() -> None:
    found = environment()
    assert list(found) == ["python", "cpu", "cores", "peak_memory_bytes", "libraries"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["libraries"]["numpy"] == np.__version__
    assert found["peak_memory_bytes"] > 10_000_000


def texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


def test_no_passage_is_in_a_study_but_in_the_inspector() -> None:
    found = study(made())
    outside = texts({name: part for name, part in found.items() if name != "inspector"})
    assert not any("text of" in text for text in outside)
    assert any("text of" in text for text in texts(found["inspector"]))
