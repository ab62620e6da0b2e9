"""Files of records -> rows, each with the place that an error message names.

JSON lines, CSV, TSV and Parquet; text formats may be compressed. What the columns mean is decided
in `shortlist.data.columns`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shortlist.data import streams
from shortlist.errors import DataError

_HEAD_LINES = 200  # of a TSV file that tell whether its quotes are quotes
_PARQUET_ROWS = 1024  # read at once

KINDS = {
    ".jsonl": "JSONL", ".ndjson": "JSONL", ".csv": "CSV", ".tsv": "TSV", ".parquet": "Parquet",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its column names and values, and where it stands, "path:line"."""

    place: str
    values: Mapping[str, Any]


def kind_of(path: Path) -> str:
    """Name the kind of a file of records by its ending, "" where it is none."""
    return KINDS.get(Path(streams.bare_name(path.name)).suffix, "")


def read_rows(path: Path) -> Iterator[Row]:
    """Stream the rows of a `.jsonl`, `.csv`, `.tsv` or `.parquet` file.

    Raises DataError with file and line (of Parquet: the row number) for what cannot be read.
    """
    streams.check(path)
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        "JSONL": _json_rows, "CSV": _csv_rows, "TSV": _tsv_rows, "Parquet": _parquet_rows,
    }  # fmt: skip
    return readers[kind_of(path)](path)


def _json_rows(path: Path) -> Iterator[Row]:
    for number, text in streams.lines(path):
        if text.strip():
            place = f"{path}:{number}"
            yield Row(place, json_object(place, text))


def json_object(place: str, text: str) -> dict[str, Any]:
    """Parse one line of JSON that must be an object; DataError names the place."""
    expected = 'expected {"_id": "...", "text": "...", ...} on one line'
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = repr(text.strip()[:60])
        raise DataError(f"{place}: {expected}; not JSON ({error}): {shown}") from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: {expected}, got {text.strip()[:60]!r}")
    return row


def _csv_rows(path: Path) -> Iterator[Row]:
    first = next((line for _, line in streams.lines(path) if line.strip()), "")
    # Spreadsheets of half of Europe write semicolons
    delimiter = max(",;\t|", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    return _with_header(path, _cells(path, delimiter, quoted=True))


def _tsv_rows(path: Path) -> Iterator[Row]:
    """A header is not needed where there are two columns: they are id and text, as in MS MARCO."""
    cells = _cells(path, "\t", quoted=_quotes_are_quotes(path))
    number, first = next(cells, (1, []))
    if len(first) == 2 and not {"id", "_id", "text", "title"} & {c.strip().lower() for c in first}:
        yield Row(f"{path}:{number}", dict(zip(("id", "text"), first, strict=True)))
        for number, cells_of_row in cells:
            yield _row(path, number, ["id", "text"], cells_of_row)
        return
    yield from _with_header(path, _chain((number, first), cells))


def _chain(first: tuple[int, list[str]], rest: Iterator[tuple[int, list[str]]]) -> Any:
    yield first
    yield from rest


def _with_header(path: Path, cells: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    header: list[str] = []
    for number, row in cells:
        if header:
            yield _row(path, number, header, row)
            continue
        header = [name.strip() for name in row]
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise DataError(
                f"{path}:{number}: the column {twice.pop()!r} comes twice in the header"
            )


def _row(path: Path, number: int, header: list[str], cells: list[str]) -> Row:
    place = f"{path}:{number}"
    if len(cells) != len(header):
        raise DataError(
            f"{place}: {len(cells)} cells under {len(header)} columns ({', '.join(header)[:80]}); "
            "is a quote or a delimiter missing or too many?"
        )
    return Row(place, dict(zip(header, cells, strict=True)))


def _cells(path: Path, delimiter: str, *, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the line that each row begins in, and its cells; blank lines are none."""
    csv.field_size_limit(streams.LONGEST_LINE)  # of the process: 128 KB would refuse long texts
    lines = (line + "\n" for _, line in streams.lines(path))
    reader = csv.reader(
        lines,
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        begins = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}:{begins}: not {KINDS[_suffix(path)]} ({error}); a quote inside a quoted "
                "cell is written twice, and every quote that opens must close"
            ) from error
        if any(cell.strip() for cell in row):
            yield begins, row


def _suffix(path: Path) -> str:
    return Path(streams.bare_name(path.name)).suffix


def _quotes_are_quotes(path: Path) -> bool:
    """Whether a TSV file was written by a spreadsheet, or has no quoting at all, as MS MARCO's.

    Its first lines decide: with quoting they must parse and have the same number of cells.
    """
    head = [line for (_, line), _ in zip(streams.lines(path), range(_HEAD_LINES), strict=False)]
    if not any(cell.startswith('"') for line in head for cell in line.split("\t")):
        return False  # a quote further down is then one that somebody typed
    try:
        rows = list(csv.reader((line + "\n" for line in head), delimiter="\t", strict=True))
    except csv.Error as error:
        # the last cell of the head may go on in the next line
        return "unexpected end" in str(error) and len(head) == _HEAD_LINES
    return len({len(row) for row in rows if row}) == 1


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_PARQUET_ROWS, use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}:row {number}", values)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        what = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a Parquet file that can be read ({what})") from error


def rows_of(paths: Iterable[Path]) -> Iterator[Row]:
    """Stream the rows of several files, one file after the other."""
    for path in paths:
        yield from read_rows(path)
