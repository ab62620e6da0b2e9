"""Metadata in Arrow columns: whatever JSON can hold comes back, and a field is one column."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_distinct import words

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import UsageError
from shortlist.pipeline import fields as fields_module
from shortlist.pipeline import writer as writer_module
from shortlist.pipeline.fields import columns_of, is_json, metadata_of
from shortlist.pipeline.index import Index

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(st.characters(), max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)
PLAIN = {"a": st.integers(), "b": st.text(), "c": st.lists(st.integers(0, 9))}
METADATA = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "", "metadata", "é", "\ud800"]), VALUES, max_size=4)
    | st.fixed_dictionaries({}, optional=PLAIN),
    min_size=1,
    max_size=8,
)


def read_back(fields, arrays):
    table = pa.table(arrays, schema=pa.schema(fields))
    json_columns = frozenset(f.name for f in fields if is_json(f))
    return [metadata_of(row, json_columns) for row in table.to_pylist()]


def same(one, other):
    """Equal as JSON is: 1, 1.0 and true are three values, and so are 0.0 and -0.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(metadata=METADATA, most=st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_all_that_json_can_hold_comes_back(metadata, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields_module, "MOST_COLUMNS", most)
        fields, arrays = columns_of(metadata)
    assert len(fields) <= most + 1
    assert same(read_back(fields, arrays), metadata)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], pa.int64()),
        ([1.5, None, -0.0], pa.float64()),
        (["x", "y", None], pa.large_string()),
        ([True, None, False], pa.bool_()),
        ([["a"], [], None], pa.list_(pa.large_string())),
        ([[1], [2, 3], None], pa.list_(pa.int64())),
        ([1, 2.5], None),
        ([1, True], None),
        ([1, "1"], None),
        ([2**70], None),
        ([["a", None]], None),
        ([[[1]]], None),
        ([{"a": 1}], None),
        ([[]], None),
    ],
)
def test_a_field_of_one_type_is_a_column_of_it(values, kind):
    metadata = [{} if value is None else {"f": value} for value in values]
    (field, rest), arrays = columns_of(metadata)
    assert (field.name, rest.name) == ("metadata.f", "metadata")
    assert (None if is_json(field) else field.type) == kind
    assert same(read_back((field, rest), arrays), metadata)


def test_null_is_not_the_same_as_nothing():
    metadata = [{"f": None}, {}]
    assert read_back(*columns_of(metadata)) == metadata


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Three segments that disagree about the types of some fields."""
    monkeypatch.setattr(writer_module, "ROWS_PER_SEGMENT", 2)
    metadata = [
        {"n": 1, "x": 1, "s": "a", "late": None},
        {"n": 2, "x": 2},
        {"n": 3, "x": 2.5, "s": "b"},
        {"n": 4, "x": 1},
        {"n": 5, "x": 7, "s": 3, "new": True},
    ]
    passages = [Passage(f"p{i}", f"text {i}", metadata=m) for i, m in enumerate(metadata)]
    RetrieveRerankPipeline.build(passages, tmp_path / "i", bi_encoder=words, cross_encoder="none")
    opened = Index(tmp_path / "i")
    assert len(opened.segments) == 3
    assert list(opened.all_passages()) == passages
    return opened


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("n >= 2 and n < 5", [1, 2, 3]),
        ("x > 1", [1, 2, 4]),  # whole numbers in one segment, both kinds in another
        ("new", [4]),
        ("late is None", [0, 1, 2, 3, 4]),
        ("new is None", [0, 1, 2, 3]),
    ],
)
def test_segments_may_differ_in_type(index, where, expected):
    assert np.flatnonzero(index.among(where).mask).tolist() == expected


def test_values_that_cannot_be_compared(index):
    with pytest.raises(UsageError, match="values of 's' are of several types"):
        index.among("s == 'a'")
    with pytest.raises(UsageError, match="no passage of .* has a field 'nowhere'; there are: "):
        index.among("nowhere == 1")


def test_infinity_is_refused(tmp_path):
    with pytest.raises(UsageError, match="metadata must be what JSON can hold"):
        RetrieveRerankPipeline.build(
            [Passage("p", "text", metadata={"f": math.inf})], tmp_path / "i", bi_encoder=words
        )
