"""Rows -> passages: which column is the id, the title, the text; the rest is metadata."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shortlist.data.ids import SeenIds
from shortlist.data.ledger import Ledger
from shortlist.data.rows import Row
from shortlist.errors import DataError
from shortlist.records import Passage

_IDS = ("_id", "id", "docid", "doc_id", "docno", "pid")
_TITLES = ("title",)
_TEXTS = ("text", "contents", "content", "body", "passage", "abstract", "question")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns to read; None looks for the usual names: `_id`, `id`; `title`; `text` ..."""

    id: str | None = None
    title: str | None = None
    text: str | None = None


def read_passages(
    rows: Callable[[], Iterator[Row]], columns: Columns, ledger: Ledger
) -> Iterator[Passage]:
    """Stream rows as whole passages with their own ids: qrels name them.

    An id is a string or a whole number; a row without one gets one made from its content. `rows`
    is called a second time where an id comes twice, to find the first place. Every column that is
    neither id, title nor text becomes metadata. Raises DataError with the place of what is wrong.
    """
    seen = SeenIds()
    names: _Names | None = None
    for row in rows():
        names = names or _Names.chosen(row, columns)
        passage, id_is_made = _passage(row, names, ledger)
        if not passage.text and not passage.title:
            ledger.drop("passages without text and title")
            continue
        if not seen.add(passage.id):
            if id_is_made:
                ledger.drop("repetitions of passages without an id")
                continue
            _refuse_second(rows, row, passage.id, names)
        if id_is_made:
            ledger.note("ids made from the content")
        ledger.kept += 1
        yield passage


@dataclass(frozen=True, slots=True)
class _Names:
    """The columns of one collection: what was asked for, or what its first row has."""

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    text: str

    @classmethod
    def chosen(cls, row: Row, columns: Columns) -> _Names:
        for option, name in (("id", columns.id), ("title", columns.title), ("text", columns.text)):
            if name is not None and name not in row.values:
                raise DataError(
                    f"{row.place}: no column {name!r} for --{option}-field; "
                    f"there are: {_listed(row)}"
                )
        text = columns.text or next((name for name in _TEXTS if name in row.values), None)
        if text is None:
            raise DataError(
                f"{row.place}: no 'text'; name the column that holds it with --text-field; "
                f"there are: {_listed(row)}"
            )
        return cls(
            ids=(columns.id,) if columns.id else _IDS,
            titles=(columns.title,) if columns.title else _TITLES,
            text=text,
        )


def _listed(row: Row) -> str:
    return ", ".join(map(repr, row.values))[:300]


def _passage(row: Row, names: _Names, ledger: Ledger) -> tuple[Passage, bool]:
    if names.text not in row.values:
        raise DataError(
            f"{row.place}: no {names.text!r}, which earlier rows have; expected {names.text!r} in "
            f"every row, there are: {_listed(row)}"
        )
    text = _string(row, names.text, ledger)
    title_column = next((n for n in names.titles if row.values.get(n) is not None), None)
    title = _string(row, title_column, ledger) if title_column else ""
    id_column = next((n for n in names.ids if not _is_missing(row.values.get(n))), None)
    given = _id(row, id_column) if id_column else ""
    made = hashlib.sha256("\0".join((title, text)).encode()).hexdigest()[:16]
    used = {names.text, title_column, id_column}
    metadata = {
        name: value
        for name, value in row.values.items()
        if name not in used and value is not None and value != "" and value != {}
    }
    return Passage(given or made, text, title, metadata=_plain(metadata, row, ledger)), not given


def _is_missing(value: Any) -> bool:
    return value is None or value == ""


def _id(row: Row, column: str) -> str:
    value = row.values[column]
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise DataError(f"{row.place}: expected an id that is a string, got {value!r:.60}")
    if not str(value).isprintable():
        raise DataError(f"{row.place}: expected an id of printable characters, got {value!r:.60}")
    return str(value)


def _string(row: Row, column: str, ledger: Ledger) -> str:
    value = row.values[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{row.place}: expected {column!r} to be a string, got {value!r:.60}")
    value = _whole_characters(value, ledger)
    return value if value.strip() else ""


def _whole_characters(text: str, ledger: Ledger) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, where somebody cut an emoji in two
        ledger.note("texts with half a character replaced by U+FFFD")
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _plain(metadata: Mapping[str, Any], row: Row, ledger: Ledger) -> dict[str, Any]:
    """Return metadata as JSON can hold it: dates in ISO form, decimals as text, bytes left out."""
    try:
        return {
            str(name): plain
            for name, value in metadata.items()
            if (plain := _as_json(value, ledger)) is not None
        }
    except RecursionError as error:
        raise DataError(f"{row.place}: columns that are nested too deeply") from error


def _as_json(value: Any, ledger: Ledger) -> Any:
    if isinstance(value, str):
        return _whole_characters(value, ledger)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _as_json(part, ledger) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(part, ledger) for part in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    ledger.drop(f"metadata values of type {type(value).__name__}")
    return None


def _refuse_second(
    rows: Callable[[], Iterator[Row]], row: Row, identifier: str, names: _Names
) -> None:
    """Find the first place by reading again, which costs nothing until something is wrong."""
    for other in rows():
        if other.place == row.place:
            return  # two ids shared a hash, and nothing is wrong
        passage, _ = _passage(other, names, Ledger())
        if passage.id == identifier and (passage.text or passage.title):
            raise DataError(
                f"{row.place}: the id {identifier!r} stands already at {other.place}; "
                "ids must be unique, so rename one or drop the row"
            )
