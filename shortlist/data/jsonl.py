"""JSON lines -> passages, one a line, with their own ids: the corpus format of BEIR."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shortlist.data import streams
from shortlist.data.ledger import Ledger
from shortlist.errors import DataError
from shortlist.records import Passage

_EXPECTED = '{"_id": "...", "title": "...", "text": "..."}'


def read_jsonl(path: Path, ledger: Ledger) -> Iterator[Passage]:
    """Stream the passages of a `.jsonl` or `.jsonl.gz` file, uncut: qrels name them.

    `_id` or `id`, a string or a whole number, and `title` are optional, `text` is not. A line
    without an id gets one made from its content. Raises DataError with file and line.
    """
    seen: set[int] = set()  # 64-bit hashes: a tenth of the memory of the ids
    for line in _read_lines(path, ledger):
        passage = line.passage
        if not passage.text and not passage.title:
            ledger.drop("passages without text and title")
            continue
        key = _hash(passage.id)
        if key in seen:
            if line.id_is_made:
                ledger.drop("repetitions of passages without an id")
                continue
            _refuse_second(path, line)
        seen.add(key)
        if line.id_is_made:
            ledger.note("ids made from the content")
        ledger.kept += 1
        yield passage


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    passage: Passage
    id_is_made: bool


def _read_lines(path: Path, ledger: Ledger) -> Iterator[_Line]:
    streams.check(path)
    for number, text in streams.lines(path):
        if not text.strip():
            continue
        place = f"{path}:{number}"
        row = _parse(place, text)
        fields = {key: _string(place, row, key, ledger) for key in ("title", "text")}
        if row.get("text") is None:
            raise DataError(f"{place}: no 'text'; expected {_EXPECTED}, got the keys {list(row)}")
        given = _id(place, row)
        made = hashlib.sha256("\0".join(fields.values()).encode()).hexdigest()[:16]
        yield _Line(number, Passage(given or made, fields["text"], fields["title"]), not given)


def _parse(place: str, text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"{place}: not JSON ({error}): {text.strip()[:60]!r}"
        raise DataError(f"{message}; expected {_EXPECTED} on one line") from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected {_EXPECTED}, got {text.strip()[:60]!r}")
    return row


def _id(place: str, row: dict[str, Any]) -> str:
    value = row.get("id") if row.get("_id") is None else row["_id"]
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise DataError(f"{place}: expected an id that is a string, got {value!r}")
    if not str(value).isprintable():
        raise DataError(f"{place}: expected an id of printable characters, got {value!r}")
    return str(value)


def _string(place: str, row: dict[str, Any], key: str, ledger: Ledger) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{place}: expected {key!r} to be a string, got {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, where somebody cut an emoji in two
        ledger.note("texts with half a character replaced by U+FFFD")
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value if value.strip() else ""


def _hash(identifier: str) -> int:
    return int.from_bytes(hashlib.blake2b(identifier.encode(), digest_size=8).digest(), "big")


def _refuse_second(path: Path, line: _Line) -> None:
    """Find the first place by reading again, which costs nothing until something is wrong."""
    first = next(
        other for other in _read_lines(path, Ledger()) if other.passage.id == line.passage.id
    )
    if first.number != line.number:  # equal: two ids shared a hash, and nothing is wrong
        raise DataError(
            f"{path}:{line.number}: the id {line.passage.id!r} stands already on line "
            f"{first.number}; ids must be unique, so rename one or drop the line"
        )
