"""What a change costs a system: toys whose loss is known, and BM25 on the sample corpus."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from shortlist.cli.sample import SAMPLE
from shortlist.data.collections import Cutting, load
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.errors import DataError, UsageError
from shortlist.evaluation.compare import paired_bootstrap
from shortlist.evaluation.rewrites import REWRITES
from shortlist.evaluation.robustness import Row, System, by_kind, rewritten, robustness, sentences

CORPUS = {
    "p1": "photosynthesis",
    "p2": "glaciers",
    "p3": "1789",
    "p4": "lighthouses",
    "p5": "cello",
}
QUERIES = {
    "q1": "photosynthesis",
    "q2": "glaciers",
    "q3": "1789",
    "q4": "lighthouses",
    "x": "cello",
}
QRELS = {
    "q1": {"p1": 1},
    "q2": {"p2": 2},
    "q3": {"p3": 1},
    "q4": {"p4": 1, "p5": 0},
    "n": {"p1": 0},
}


class Asked:
    """A system that keeps what it was asked."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.questions: list[dict[str, str]] = []

    def __call__(self, queries: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
        self.questions.append(dict(queries))
        return self.system(queries)


def exact(queries: Mapping[str, str]) -> dict[str, list[str]]:
    """Finds a passage that equals the query; leaves out the queries without one."""
    found = {i: [p for p in CORPUS if CORPUS[p] == text] for i, text in queries.items()}
    return {query_id: passages for query_id, passages in found.items() if passages}


def knowing(queries: Mapping[str, str]) -> dict[str, list[str]]:
    """Finds the passage of a query by its id, however it is written; second where in capitals."""
    answer = {i: f"p{i[1:]}" for i in queries}
    return {i: ["p9", answer[i]] if queries[i].isupper() else [answer[i]] for i in queries}


# rewritten


def test_only_what_changes_is_there() -> None:
    assert rewritten({"a": "What Color", "b": "what", "c": "X"}, "lower case") == {
        "a": "what color",
        "c": "x",
    }
    with pytest.raises(UsageError, match=r"unknown change 'typo'; known are 'misspelling', 'lower"):
        rewritten(QUERIES, "typo")


@given(
    st.dictionaries(st.text(max_size=4), st.sampled_from([*QUERIES.values(), "Who are you?"])),
    st.sampled_from(list(REWRITES)),
    st.integers(-3, 2**70),
)
@settings(deadline=None)
def test_what_becomes_of_a_query_does_not_hang_on_the_others(
    queries: dict[str, str], name: str, seed: int
) -> None:
    together = rewritten(queries, name, seed=seed)
    alone = [rewritten({i: text}, name, seed=seed) for i, text in reversed(queries.items())]
    assert together == {i: text for one in alone for i, text in one.items()}


def test_the_seed_and_the_id_decide_and_nothing_else() -> None:
    queries = {str(n): "photosynthesis of glaciers" for n in range(50)}
    found = rewritten(queries, "misspelling")
    assert len(set(found.values())) > 20
    assert found != rewritten(queries, "misspelling", seed=1)
    code = (
        "import json; from shortlist.evaluation.robustness import rewritten\n"
        "queries = {str(n): 'photosynthesis of glaciers' for n in range(50)}\n"
        "print(json.dumps(rewritten(queries, 'misspelling')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == found  # another process hashes strings otherwise


# robustness


def test_exact_match_loses_all_by_misspelling_and_only_changed_queries_count() -> None:
    exact_, knowing_ = Asked(exact), Asked(knowing)
    systems = {"exact": exact_, "knowing": knowing_}
    rows = robustness(
        systems, QUERIES, QRELS, measure="rr@10", changes=["upper case", "misspelling"]
    )
    found = [(r.change, r.queries, r.system, r.measure, r.clean, r.changed) for r in rows]
    assert found == [  # q3 is a number, so it is in no mean; x and n are not judged
        ("upper case", 3, "exact", "MRR@10", 1.0, 0.0),
        ("upper case", 3, "knowing", "MRR@10", 1.0, 0.5),
        ("misspelling", 3, "exact", "MRR@10", 1.0, 0.0),
        ("misspelling", 3, "knowing", "MRR@10", 1.0, 1.0),
    ]
    for asked in (exact_, knowing_):
        clean, *changed = asked.questions
        assert clean == {i: QUERIES[i] for i in ("q1", "q2", "q3", "q4")}
        assert [set(texts) for texts in changed] == [{"q1", "q2", "q4"}] * 2
        assert changed[0]["q2"] == "GLACIERS"


def test_the_interval_is_paired_by_query() -> None:
    queries = {f"q{n}": f"word{n}" for n in range(40)}
    qrels = {f"q{n}": {f"p{n}": 1} for n in range(40)}

    def system(texts: Mapping[str, str]) -> dict[str, list[str]]:
        """Loses the odd queries where they are in capitals, and never had every fourth."""
        found = {}
        for i, text in texts.items():
            n = int(i[1:])
            lost = n % 4 == 0 or (n % 2 and text.isupper())
            found[i] = ["none"] if lost else [f"p{n}"]
        return found

    (row,) = robustness({"s": system}, queries, qrels, changes=["upper case"], seed=5)
    assert (row.clean, row.changed, row.queries) == (0.75, 0.25, 40)
    # How many of the 20 lost queries a resample holds is binomial; unpaired it would spread wider.
    most, fewest = binom.ppf([0.975, 0.025], 40, 0.5)
    ends = (row.interval.low, row.interval.high)
    assert ends == pytest.approx((-most / 40, -fewest / 40), abs=1e-9)
    assert row.as_json() == {
        "change": "upper case",
        "queries": 40,
        "system": "s",
        "measure": "nDCG@10",
        "clean": 0.75,
        "changed": 0.25,
        "difference": -0.5,
        "low": row.interval.low,
        "high": row.interval.high,
        "relative": pytest.approx(-2 / 3),
    }


ranks = st.none() | st.integers(1, 12)  # of the relevant passage; None: the query is left out


@given(
    wanted=st.dictionaries(
        st.text("abz09", min_size=1, max_size=3), st.tuples(ranks, ranks), min_size=1, max_size=6
    ),
    data=st.data(),
)
@settings(deadline=None, max_examples=40)
def test_means_are_those_of_the_known_ranks_in_any_order_of_the_queries(
    wanted: dict[str, tuple[int | None, int | None]], data: st.DataObject
) -> None:
    def system(texts: Mapping[str, str]) -> dict[str, list[str]]:
        assert list(texts) == sorted(texts)  # one that answers in batches gets the same ones
        found = {}
        for query_id, text in texts.items():
            rank = wanted[query_id][text.isupper()]
            if rank is not None:
                found[query_id] = [*(f"other{n}" for n in range(rank - 1)), "relevant"]
        return found

    def asked(order: list[str]) -> list[Row]:
        queries = {query_id: f"what is {query_id}" for query_id in order}
        qrels = {query_id: {"relevant": 1} for query_id in reversed(order)}
        return robustness({"s": system}, queries, qrels, measure="RR@10", changes=["upper case"])

    def value(rank: int | None) -> float:
        return 1 / rank if rank is not None and rank <= 10 else 0.0

    (row,) = asked(list(wanted))
    clean, changed = ([value(pair[side]) for pair in wanted.values()] for side in (0, 1))
    assert row.queries == len(wanted)
    assert row.clean == pytest.approx(sum(clean) / len(clean), abs=1e-9)
    assert row.changed == pytest.approx(sum(changed) / len(changed), abs=1e-9)
    difference = row.interval.mean_difference
    assert difference == pytest.approx(row.changed - row.clean, abs=1e-9)
    assert asked(data.draw(st.permutations(list(wanted)))) == [row]


def test_graded_gains_and_the_seed_of_the_misspellings() -> None:
    asked = Asked(lambda queries: {query_id: ["low", "high"] for query_id in queries})
    qrels = {"q1": {"low": 1, "high": 3}}
    for seed in (0, 0, 7):
        rows = robustness({"s": asked}, QUERIES, qrels, changes=["misspelling"], seed=seed)
        assert rows[0].clean == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))
    first, again, other = (texts["q1"] for texts in asked.questions[1::2])
    assert first == again != other


def test_by_default_every_change_that_alters_a_query_is_tried() -> None:
    rows = robustness({"exact": exact}, QUERIES, QRELS)
    assert [row.change for row in rows] == ["misspelling", "upper case"]
    assert robustness({"exact": exact}, QUERIES, QRELS) == rows


def test_other_wordings_stand_beside_the_changes() -> None:
    german = {"q1": "Photosynthese", "q2": "Gletscher", "q3": "1789", "x": "Cello"}
    rows = robustness(
        {"exact": exact, "knowing": knowing},
        QUERIES,
        QRELS,
        changes=["misspelling"],
        other_wordings={"German": german},
    )
    assert [(r.change, r.system) for r in rows][2:] == [("German", "exact"), ("German", "knowing")]
    assert [(r.queries, r.clean, r.changed) for r in rows[2:]] == [(2, 1, 0), (2, 1, 1)]
    alone = robustness(
        {"exact": exact}, QUERIES, QRELS, changes=[], other_wordings={"German": german}
    )
    assert alone == rows[2:3]


WRONG = [
    ({"systems": {}}, UsageError, "no system was given"),
    ({"measure": "bogus"}, UsageError, "unknown measure 'bogus'"),
    ({"changes": "misspelling"}, UsageError, r"write \['misspelling'\]"),
    ({"changes": ["typos"]}, UsageError, "unknown change 'typos'; known are 'misspelling'"),
    ({"changes": []}, UsageError, "no change was given; known are 'misspelling'"),
    ({"changes": ["keywords", "misspelling"]}, DataError, r"\['keywords'\] alter none of the 4"),
    ({"queries": {"q3": "1789"}}, DataError, "none of the 1 judged queries is altered by any"),
    ({"queries": {"7": "glaciers"}}, DataError, r"are \['7'\], those with .* \['q1', 'q2'"),
    ({"qrels": {"q1": {"p1": 0}}}, DataError, "none of the 1 queries of the qrels has a relevant"),
    ({"other_wordings": {"upper case": {"q1": "x"}}}, UsageError, "'upper case' is a change al"),
    (  # not asked for, but the sentence on it would begin "With contractions"
        {"changes": ["misspelling"], "other_wordings": {"contraction": {"q1": "x"}}},
        UsageError,
        "'contraction' is a change already; give the other wording another name",
    ),
    (
        {"systems": {"s": lambda _: {1: ["p1"], 2: ["p2"]}}},
        DataError,
        r"'s' answered 2 queries that it was not asked, such as \[1, 2\]",
    ),
    ({"other_wordings": {"G": {"Q1": "x"}}}, DataError, r"'G' has 1 ids .* such as \['Q1'\]"),
    ({"other_wordings": {"G": {"q1": " "}}}, DataError, r"'G' has no text for \['q1'\]"),
    ({"other_wordings": {"G": {"x": "y", "q3": "1789"}}}, DataError, "'G' words none of the 4"),
    (
        {"systems": {"s": lambda _: {"1": ["p1"]}}},
        DataError,
        r"system 's' answered 1 queries that it was not asked, such as \['1'\]",
    ),
    (
        {"systems": {"s": lambda queries: {i: ["p1", "p1"] for i in queries}}},
        DataError,
        r"system 's': passages ranked twice for query 'q1': \['p1'\]",
    ),
    (
        {"systems": {"s": lambda queries: dict.fromkeys(queries, "p1")}},
        UsageError,
        "system 's': the ranking of query 'q1' must be a list",
    ),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_wrong_input_is_named(
    wrong: dict[str, object], error: type[Exception], message: str
) -> None:
    given: dict[str, object] = {"systems": {"exact": exact}, "queries": QUERIES, "qrels": QRELS}
    with pytest.raises(error, match=message):
        robustness(**(given | wrong))  # type: ignore[arg-type]


# sentences


def row(change: str, system: str, before: list[float], after: list[float]) -> Row:
    interval = paired_bootstrap(before, after)
    means = (interval.mean_a, interval.mean_b)
    return Row(change, len(before), system, "nDCG@10", *means, interval)


def test_the_sentence_says_what_is_kept_and_what_could_be_chance() -> None:
    before = [1.0, 0.5] * 20
    rows = [
        row("misspelling", "BM25", before, [0.5, 0.25] * 20),
        row("misspelling", "minilm", before, [0.9, 0.45] * 20),
        row("misspelling", "idle", [0.0] * 40, [0.0] * 40),
        row("German", "idle", [0.0] * 4, [0.0] * 4),
        row("German", "minilm", [1.0] * 4, [0.8] * 4),
        row("lower case", "BM25", [0.5] * 40, [0.5] * 40),
        row("lower case", "minilm", before, [0.4, 1.0] * 20),
        row("upper case", "one", [1.0], [0.0]),
    ]
    assert sentences(rows) == [
        "With misspellings BM25 keeps 50 % of its nDCG@10 (0.75 → 0.38, 40 queries), "
        "minilm 90 % (0.75 → 0.68), idle has no nDCG@10 to lose (0.00 → 0.00).",
        "In the wording “German” idle has no nDCG@10 to lose (0.00 → 0.00, 4 queries), "
        "minilm keeps 80 % of its nDCG@10 (1.00 → 0.80, could be chance).",
        "In lower case BM25 keeps 100 % of its nDCG@10 (0.50 → 0.50, 40 queries), "
        "minilm 93 % (0.75 → 0.70, could be chance).",
        "In upper case one keeps 0 % of its nDCG@10 (1.00 → 0.00, 1 query, could be chance).",
    ]
    assert sentences([]) == []


@pytest.mark.parametrize(("queries", "is_chance"), [(5, True), (6, False)])
def test_five_queries_cannot_show_anything_and_six_can(queries: int, is_chance: bool) -> None:
    # two-sided and exact: with all signs alike p is 2 / 2^n, which is below 0.05 from n = 6 on
    assert (2 / 2**queries > 0.05) == is_chance
    (said,) = sentences([row("misspelling", "s", [1.0] * queries, [0.8] * queries)])
    remark = ", could be chance" if is_chance else ""
    figures = f"1.00 → 0.80, {queries} queries{remark}"
    assert said == f"With misspellings s keeps 80 % of its nDCG@10 ({figures})."


def test_a_gain_is_said_as_one_and_measures_apart() -> None:
    rows = [
        row("keywords", "s", [0.5] * 40, [0.6] * 40),
        row("keywords", "none", [0.0] * 40, [0.5] * 40),
        replace(row("keywords", "s", [0.5] * 40, [0.4] * 40), measure="MRR@10"),
    ]
    assert sentences(iter(rows)) == [
        "As keywords s keeps 120 % of its nDCG@10 (0.50 → 0.60, 40 queries), "
        "none has no nDCG@10 to lose (0.00 → 0.50).",
        "As keywords s keeps 80 % of its MRR@10 (0.50 → 0.40, 40 queries).",
    ]


# kinds


def test_the_mean_of_each_kind_has_its_interval() -> None:
    values = {f"q{n}": n / 100 for n in range(100)} | {"z": 0.3}
    kinds = {f"q{n}": "even" if n % 2 == 0 else "odd" for n in range(150)} | {"z": "alone"}
    alone, even, odd = by_kind(values, kinds)
    assert (alone.kind, alone.queries, alone.mean, alone.low, alone.high) == (
        "alone",
        1,
        *[0.3] * 3,
    )
    assert (even.kind, even.queries, even.mean) == ("even", 50, pytest.approx(0.49))
    assert (odd.kind, odd.queries, odd.mean) == ("odd", 50, pytest.approx(0.50))
    half = 1.96 * np.std(np.arange(0, 1, 0.02)) / 50**0.5  # the normal approximation
    assert (even.low, even.high) == pytest.approx((0.49 - half, 0.49 + half), abs=half / 10)
    assert by_kind(dict(reversed(values.items())), kinds) == [alone, even, odd]
    assert alone.as_json() == {"kind": "alone", "queries": 1, "mean": 0.3, "low": 0.3, "high": 0.3}


def test_values_without_a_kind_are_named() -> None:
    with pytest.raises(DataError, match=r"2 queries have no kind, such as \['a', 'b'\]"):
        by_kind({"a": 1.0, "b": 0.5, "c": 1.0}, {"c": "ordinary"})
    with pytest.raises(DataError, match="no query has a value"):
        by_kind({}, {})
    with pytest.raises(UsageError, match="not finite"):
        by_kind({"a": float("nan")}, {"a": "ordinary"})
    with pytest.raises(UsageError, match="not finite"):
        by_kind({"a": float("inf"), "b": float("-inf")}, dict.fromkeys("ab", "ordinary"))


# the sample corpus


@pytest.fixture(scope="module")
def passages() -> dict[str, str]:
    def count(texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    drawn = load(SAMPLE / "encyclopedia.xml", Cutting(count, 256)).passages
    return {passage.id: passage.model_text for passage in drawn}


@pytest.fixture(scope="module")
def bm25(passages: dict[str, str]) -> System:
    bm25s = pytest.importorskip("bm25s")
    ids = list(passages)

    def tokens(texts: list[str]) -> list[list[str]]:
        quiet = {"return_ids": False, "show_progress": False}
        return bm25s.tokenize(texts, stopwords="en", **quiet)  # lower-cased

    index = bm25s.BM25()
    index.index(tokens(list(passages.values())), show_progress=False)

    def system(queries: Mapping[str, str]) -> dict[str, list[str]]:
        found, scores = index.retrieve(tokens(list(queries.values())), k=10, show_progress=False)
        return {
            query_id: [ids[n] for n, score in zip(row, values, strict=True) if score > 0]
            for query_id, row, values in zip(queries, found, scores, strict=True)
        }

    return system


@pytest.fixture(scope="module")
def trigrams(passages: dict[str, str]) -> System:
    """Cosine of the counts of three letters in a row: half a misspelt word is still there."""
    ids = list(passages)

    def grams(text: str) -> list[str]:
        padded = f" {text.lower()} "
        return [padded[i : i + 3] for i in range(len(padded) - 2)]

    counts = [np.unique(grams(text), return_counts=True) for text in passages.values()]
    column = {gram: n for n, gram in enumerate(sorted({g for kinds, _ in counts for g in kinds}))}
    matrix = np.zeros((len(column), len(ids)), dtype=np.float32)
    for n, (kinds, numbers) in enumerate(counts):
        matrix[[column[gram] for gram in kinds], n] = numbers
    rarity = np.log(len(ids) / (matrix > 0).sum(axis=1, keepdims=True))
    matrix *= rarity
    matrix /= np.linalg.norm(matrix, axis=0)

    def system(queries: Mapping[str, str]) -> dict[str, list[str]]:
        found = {}
        for query_id, text in queries.items():
            rows = [column[gram] for gram in grams(text) if gram in column]
            order = np.argsort(-(matrix[rows] * rarity[rows]).sum(axis=0), kind="stable")
            found[query_id] = [ids[n] for n in order[:10]]
        return found

    return system


def test_keyword_search_loses_by_misspelling_and_nothing_by_case(
    bm25: System, trigrams: System
) -> None:
    queries = read_queries(SAMPLE / "queries.jsonl")
    qrels = read_qrels(SAMPLE / "qrels" / "dev.tsv")
    changes = ["misspelling", "upper case"]
    rows = robustness({"BM25": bm25, "trigrams": trigrams}, queries, qrels, changes=changes)
    found = {(row.change, row.system): row for row in rows}
    assert len(found) == 4
    words, letters = found["misspelling", "BM25"], found["misspelling", "trigrams"]
    assert words.queries > 200
    assert words.interval.high < -0.05
    assert words.interval.relative is not None
    assert letters.interval.relative is not None
    assert words.interval.relative < letters.interval.relative - 0.05
    for system in ("BM25", "trigrams"):
        assert found["upper case", system].interval.mean_difference == 0
    assert sentences(rows)[0].startswith("With misspellings BM25 keeps ")


def test_keyword_search_finds_nothing_where_no_word_is_shared(bm25: System) -> None:
    from shortlist.evaluation.metrics import score

    lines = (SAMPLE / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    qrels = read_qrels(SAMPLE / "qrels" / "dev.tsv")
    rankings = bm25({q["_id"]: q["text"] for q in questions if q["_id"] in qrels})
    values = score(rankings, qrels, ["nDCG@10"]).per_query["nDCG@10"]
    found = {kind.kind: kind for kind in by_kind(values, {q["_id"]: q["kind"] for q in questions})}
    assert {name: kind.queries for name, kind in found.items()} == {
        "no_overlap": 77,  # the counts of the sample's README
        "misspelt": 28,
        "abbreviation": 29,
        "ordinary": 84,
    }
    assert found["no_overlap"].high < 0.1 < found["misspelt"].mean < found["ordinary"].low
