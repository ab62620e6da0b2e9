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
from shortlist.data.rows import IDS, TEXTS, Row
from shortlist.errors import DataError
from shortlist.records import Passage


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns to read; None looks for the usual names: `_id`, `id`; `title`; `text` ..."""

    id: str | None = None
    title: str | None = None
    text: str | None = None

    def named(self) -> frozenset[str]:
        """The names that were given."""
        return frozenset(name for name in (self.id, self.title, self.text) if name)


def read_passages(
    rows: Callable[[], Iterator[Row]], columns: Columns, ledger: Ledger
) -> Iterator[Passage]:
    """Stream rows as whole passages with their own ids: qrels name them.

    An id is a string or a whole number; a row without one gets one made from its content. `rows`
    is called a second time where an id comes twice, to find the first place. Every column that is
    neither id, title nor text becomes metadata. Raises DataError with the place of what is wrong.
    """
    seen = SeenIds()
    for placed in placed_passages(rows(), columns, ledger):
        passage = placed.passage
        if not passage.text and not passage.title:
            ledger.drop("passages without text and title")
            continue
        if not seen.add(passage.id):
            if placed.id_is_made:
                ledger.drop("repetitions of passages without an id")
                continue
            _refuse_second(placed_passages(rows(), columns, Ledger()), placed)
        if placed.id_is_made:
            ledger.note("ids made from the content")
        ledger.kept += 1
        yield passage


@dataclass(frozen=True, slots=True)
class PlacedPassage:
    """A passage as its row stands, "path:line": empty and repeated ones, too."""

    place: str
    passage: Passage
    id_is_made: bool


def placed_passages(
    rows: Iterator[Row],
    columns: Columns,
    ledger: Ledger,
    on_error: Callable[[DataError], None] | None = None,
) -> Iterator[PlacedPassage]:
    """Yield the passage of each row; with `on_error`, what is wrong with a row goes there."""
    names: _Names | None = None
    for row in rows:
        names = names or _Names.chosen(row, columns)  # what is wrong here is so in every row
        try:
            passage, id_is_made = _passage(row, names, ledger)
        except DataError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        yield PlacedPassage(row.place, passage, id_is_made)


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
        found = {str(name).lower(): name for name in row.values}  # spreadsheets write "Text"
        usual = next((name for name in TEXTS if name in found), None)
        text = columns.text or (found[usual] if usual else None)
        if text is None:
            raise DataError(
                f"{row.place}: no 'text'; name the column that holds it with --text-field; "
                f"there are: {_listed(row)}"
            )
        return cls(
            ids=(columns.id,) if columns.id else tuple(found.get(name, name) for name in IDS),
            titles=(columns.title,) if columns.title else (found.get("title", "title"),),
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
        raise DataError(
            f"{row.place}: expected an id that is a string or a whole number, got {value!r:.60}; "
            "write it as a string, or name another column with --id-field"
        )
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
            _whole_characters(str(name), ledger): plain
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
        if math.isfinite(value):
            return value
        ledger.drop("metadata values that are NaN or infinite")
        return None
    if isinstance(value, Mapping):
        return {
            _whole_characters(str(name), ledger): _as_json(part, ledger)
            for name, part in value.items()
        }
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


def _refuse_second(again: Iterator[PlacedPassage], second: PlacedPassage) -> None:
    """Find the first place by reading again, which costs nothing until something is wrong."""
    identifier = second.passage.id
    for other in again:
        if other.place == second.place:
            return  # two ids shared a hash, and nothing is wrong
        if other.passage.id == identifier and (other.passage.text or other.passage.title):
            raise DataError(
                f"{second.place}: the id {identifier!r} stands already at {other.place}; "
                "ids must be unique, so rename one or drop the row"
            )
