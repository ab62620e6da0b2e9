"""`where=`: against the same condition in Python, and against an index of what it leaves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import UsageError
from shortlist.pipeline.filters import rows_where

NAN_FREE = {"allow_nan": False, "allow_infinity": False}
VALUES = {
    "year": st.none() | st.integers(-3, 3),
    "score": st.none() | st.floats(-2, 2, **NAN_FREE, width=32),
    "kind": st.none() | st.sampled_from(["a", "b", "ab", "ü", "it's", ""]),
    "draft": st.none() | st.booleans(),
}
ROWS = st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=12)
TYPES = {"year": pa.int64(), "score": pa.float64(), "kind": pa.string(), "draft": pa.bool_()}
COMPARISONS = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def columns_of(rows):
    made = {name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}
    return made.__getitem__


# An expression and what it means: True, False, or None where a field is missing (Kleene's logic).
def negation(part):
    text, meaning = part

    def negated(row):
        value = meaning(row)
        return None if value is None else not value

    return f"not ({text})", negated


def joined(word, parts):
    absorbing = word == "or"

    def meaning(row):
        values = [part(row) for _, part in parts]
        if absorbing in values:
            return absorbing
        return None if None in values else not absorbing

    return "(" + f" {word} ".join(f"({text})" for text, _ in parts) + ")", meaning


@st.composite
def comparisons(draw):
    name = draw(st.sampled_from(["year", "score", "kind"]))
    constant = draw(VALUES[name].filter(lambda value: value is not None))
    word = draw(st.sampled_from(list(COMPARISONS)))
    compare = COMPARISONS[word]
    turned = draw(st.booleans())
    text = f"{constant!r} {word} {name}" if turned else f"{name} {word} {constant!r}"

    def meaning(row):
        if row[name] is None:
            return None
        return compare(constant, row[name]) if turned else compare(row[name], constant)

    return text, meaning


@st.composite
def memberships(draw):
    name = draw(st.sampled_from(["year", "kind"]))
    options = draw(st.lists(VALUES[name].filter(lambda v: v is not None), max_size=3))
    word, wanted = draw(st.sampled_from([("in", True), ("not in", False)]))

    def meaning(row):
        # nothing is in an empty list, whether it is known or not
        if row[name] is None:
            return None if options else not wanted
        return (row[name] in options) is wanted

    return f"{name} {word} {options!r}", meaning


MISSING = st.sampled_from(list(TYPES)).map(lambda n: (f"{n} is None", lambda row: row[n] is None))
THERE = st.sampled_from(list(TYPES)).map(lambda n: (f"{n} != None", lambda r: r[n] is not None))
FLAGS = st.just(("draft", lambda row: row["draft"]))
SUBSTRINGS = st.sampled_from(["a", "b", "'s", "ü"]).map(
    lambda t: (f"{t!r} in kind", lambda row: None if row["kind"] is None else t in row["kind"])
)
CONDITIONS = st.recursive(
    comparisons() | memberships() | MISSING | THERE | FLAGS | SUBSTRINGS,
    lambda inner: (
        inner.map(negation)
        | st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)).map(
            lambda made: joined(*made)
        )
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(rows=ROWS, condition=CONDITIONS)
def test_rows_are_those_that_meet_the_condition(rows, condition):
    text, meaning = condition
    got = rows_where(text, columns_of(rows))
    assert got.dtype == np.bool_
    assert got.tolist() == [meaning(row) is True for row in rows]


def test_chains_lists_and_odd_names():
    columns = {
        "year": pa.array([1989, 1995, None, 2001]),
        "tags": pa.array([["a", "b"], [], None, ["b"]]),
        "first author": pa.array(["Ada", "Bob", "Ada", None]),
    }

    def rows(text):
        return rows_where(text, columns.__getitem__).tolist()

    assert rows("1990 <= year < 2001") == [False, True, False, False]
    assert rows("'b' in tags") == [True, False, False, True]
    assert rows("'b' not in tags") == [False, True, False, False]
    assert rows("field('first author') == 'Ada'") == [True, False, True, False]
    assert rows("year > 1994.5") == [False, True, False, True]
    assert rows("year == -1 or year in (1989,)") == [True, False, False, False]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "year",
        "year >",
        "year = 2018",
        "year + 1 > 3",
        "year > score",
        "2018 > 2017",
        "__import__('os').system('true')",
        "kind.upper() == 'A'",
        "kind == f'{1}'",
        "kind == b'a'",
        "(lambda: 1)() == year",
        "[y for y in kind] == year",
        "year < None",
        "field(year) == 1",
        "field('year', 'kind') == 1",
        "kind in year",
        "kind in 'abc'",
        "not year",
        "year := 1",
        "year == 1; draft",
        "\0",
        "x" * 20_000,
        "(" * 300 + "draft" + ")" * 300,
        "not " * 3000 + "draft",
    ],
)
def test_everything_else_is_refused(text):
    with pytest.raises(UsageError, match="where"):
        rows_where(text, columns_of([{"year": 1, "score": 1.0, "kind": "a", "draft": True}]))


@pytest.mark.parametrize(
    "text", ["year == 'a'", "kind > 3", "kind == True", "draft == 1", "year == 10**3", "1 in kind"]
)
def test_what_cannot_be_compared_is_named(text):
    with pytest.raises(UsageError, match="where"):
        rows_where(text, columns_of([{"year": 1, "score": 1.0, "kind": "a", "draft": True}]))


def test_a_number_that_no_column_holds():
    columns = columns_of([{"year": 1, "score": 1.0, "kind": "a", "draft": True}])
    with pytest.raises(UsageError, match="where cannot compare with"):
        rows_where("year < 99999999999999999999999", columns)


PAPERS = [
    Passage(
        f"p{n}",
        f"{topic} paper number {n}",
        title=f"Title {n}",
        document_id=f"d{n // 2}",
        metadata={"year": 2015 + n % 5, "venue": ["ACL", "EMNLP", "NAACL"][n % 3]}
        | ({"note": "x"} if n == 7 else {}),
    )
    for n, topic in enumerate(["parsing", "translation", "summarisation", "retrieval"] * 5)
]
WHERE = "year >= 2017 and venue in ('ACL', 'EMNLP')"


@pytest.fixture(scope="module")
def papers(bi_encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("filters") / "papers.idx"
    return RetrieveRerankPipeline.build(PAPERS, path, bi_encoder=bi_encoder)


def meets(passage):
    return passage.metadata["year"] >= 2017 and passage.metadata["venue"] in ("ACL", "EMNLP")


@pytest.mark.parametrize("options", [{}, {"rerank": False}, {"group_by": "document"}])
def test_a_filtered_search_is_one_of_the_passages_that_are_left(
    papers, bi_encoder, tmp_path, options
):
    left = [passage for passage in PAPERS if meets(passage)]
    own = RetrieveRerankPipeline.build(left, tmp_path / "left.idx", bi_encoder=bi_encoder)
    for top_k in (3, 50):
        expected = own.search("machine translation", top_k=top_k, **options)
        got = papers.search("machine translation", top_k=top_k, where=WHERE, **options)
        assert got == expected
        assert len(got) == (3 if top_k == 3 else len({h.id for h in expected}))


def test_several_filters_one_after_the_other(papers):
    for n in range(20):
        hits = papers.search("retrieval", top_k=9, rerank=False, where=f"year == {2015 + n % 5}")
        assert {hit.metadata["year"] for hit in hits} == {2015 + n % 5}


def test_a_filter_that_leaves_nothing_has_no_hits(papers):
    assert papers.search("retrieval", where="year > 3000") == []
    assert papers.search_many(["a", "b"], where="year > 3000", group_by="document") == [[], []]


def test_fields_of_the_passage_itself_and_missing_ones(papers):
    assert [h.id for h in papers.search("x", where="id == 'p3'")] == ["p3"]
    assert [h.id for h in papers.search("x", where="note == 'x'")] == ["p7"]
    assert {h.document_id for h in papers.search("x", where="document_id == 'd1'")} == {"d1"}
    with pytest.raises(UsageError, match="no passage of .* has a field 'yaer'; there are: .*year"):
        papers.search("x", where="yaer == 2018")


def test_values_of_several_types_cannot_be_compared(bi_encoder, tmp_path):
    passages = [Passage("a", "a", metadata={"n": 1}), Passage("b", "b", metadata={"n": "one"})]
    pipeline = RetrieveRerankPipeline.build(passages, tmp_path / "i", bi_encoder=bi_encoder)
    with pytest.raises(UsageError, match="the values of 'n' are of several types"):
        pipeline.search("a", where="n == 1")
