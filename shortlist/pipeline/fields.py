"""Metadata as Arrow columns: a field that has one type in a segment is a column of that type.

Texts, whole numbers, numbers, truth values and lists of one of these become columns named
``metadata.NAME``, null where a passage has no such field. A field whose values are of several types
(or null, or nested, or too large) becomes a column of JSON texts, marked so in its schema. Beyond
200 fields the rest stands in the column ``metadata``, one JSON object a passage. So every metadata
that JSON can hold is read back as it was, and a filter reads one column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

PREFIX = "metadata."
REST = "metadata"
MOST_COLUMNS = 200
_JSON = {b"shortlist": b"json"}  # in the schema, of columns that hold JSON
_ABSENT = object()
_TYPES = {
    str: pa.large_string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
}


def columns_of(metadata: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Arrow fields, and an array for each, that hold the metadata of some passages."""
    names = list(dict.fromkeys(name for fields in metadata for name in fields))
    own = [name for name in names if is_utf8(name)][:MOST_COLUMNS]
    others = set(names) - set(own)
    fields, arrays = [], []
    for name in own:
        values = [row.get(name, _ABSENT) for row in metadata]
        field, array = _column(PREFIX + name, values)
        fields.append(field)
        arrays.append(array)
    rest = [{name: row[name] for name in row if name in others} for row in metadata]
    fields.append(pa.field(REST, pa.large_string()))
    arrays.append(pa.array([json.dumps(row) if row else None for row in rest], pa.large_string()))
    return fields, arrays


def is_utf8(name: str) -> bool:
    """Whether a text can be kept as it is; one with a lone surrogate cannot."""
    return name == name.encode("utf-8", "replace").decode("utf-8")


def _column(name: str, values: list[Any]) -> tuple[Any, Any]:
    kind = _type_of([value for value in values if value is not _ABSENT])
    if kind is not None:
        plain = [None if value is _ABSENT else value for value in values]
        try:
            return pa.field(name, kind), pa.array(plain, kind)
        except (pa.ArrowException, OverflowError, UnicodeError):
            pass  # a number beyond 64 bits, a lone surrogate
    texts = [None if value is _ABSENT else json.dumps(value) for value in values]
    return pa.field(name, pa.large_string(), metadata=_JSON), pa.array(texts, pa.large_string())


def _type_of(values: list[Any]) -> Any:
    """The Arrow type that all values have; None where there is none."""
    kinds = {type(value) for value in values}
    if kinds == {list}:
        inner = _type_of([item for value in values for item in value])
        return None if inner is None or pa.types.is_list(inner) else pa.list_(inner)
    return _TYPES.get(kinds.pop()) if len(kinds) == 1 else None


def is_json(field: Any) -> bool:
    """Whether a column holds JSON texts."""
    return bool((field.metadata or {}).get(b"shortlist") == b"json")


def metadata_of(row: Mapping[str, Any], json_columns: frozenset[str]) -> dict[str, Any]:
    """The metadata of one passage, from all columns of its row."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if value is not None and name.startswith(PREFIX):
            found[name[len(PREFIX) :]] = json.loads(value) if name in json_columns else value
    if row[REST]:
        found |= json.loads(row[REST])
    return found


def names_in(table: Any) -> set[str]:
    """The fields that some passage of a table has."""
    own = {name[len(PREFIX) :] for name in table.column_names if name.startswith(PREFIX)}
    rest = (json.loads(text) for text in table.column(REST).to_pylist() if text)
    return own.union(*rest)


def field_values(table: Any, name: str) -> Any:
    """A field of every passage of a table: a column of one type, or a list of Python values."""
    column = PREFIX + name
    if column in table.column_names:
        values = table.column(column)
        if not is_json(table.schema.field(column)):
            return values
        return [None if text is None else json.loads(text) for text in values.to_pylist()]
    rest = table.column(REST)
    if rest.null_count == len(rest):
        return pa.nulls(len(rest))
    return [None if text is None else json.loads(text).get(name) for text in rest.to_pylist()]
