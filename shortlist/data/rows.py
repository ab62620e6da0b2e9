"""Files of records -> rows, each with the place that an error message names.

JSON lines, CSV, TSV and Parquet; text formats may be compressed. What the columns mean is decided
in `shortlist.data.columns`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from shortlist.data import streams
from shortlist.errors import DataError

_HEAD_LINES = 200  # of a TSV file that tell whether its quotes are quotes
_PARQUET_ROWS = 32  # read at once: a few bytes on disk may be megabytes a cell
_MOST_IN_ROWS = 256 << 20  # bytes in so many rows

IDS = ("_id", "id", "docid", "doc_id", "docno", "pid")
TEXTS = ("text", "contents", "content", "body", "passage", "abstract", "question")
_USUAL = frozenset({*IDS, "title", *TEXTS})

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


def read_rows(
    path: Path,
    named: frozenset[str] = frozenset(),
    on_error: Callable[[DataError], None] | None = None,
) -> Iterator[Row]:
    """Stream the rows of a `.jsonl`, `.csv`, `.tsv` or `.parquet` file.

    A TSV file of two columns has a header where its first line has a name that is usual or in
    `named`; else they are id and text, as in MS MARCO. Raises DataError with file and line (of
    Parquet: the row number) for what cannot be read; with `on_error`, a line that is not the JSON
    of a row goes there, and reading goes on.
    """
    streams.check(path)
    csv.field_size_limit(streams.LONGEST_LINE)  # of the process: 128 KB would refuse long texts
    kind = kind_of(path)
    if kind == "JSONL":
        return _json_rows(path, on_error)
    if kind == "TSV":
        return _tsv_rows(path, _USUAL | named)
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {
        "CSV": _csv_rows, "Parquet": _parquet_rows,
    }  # fmt: skip
    return readers[kind](path)


def _json_rows(path: Path, on_error: Callable[[DataError], None] | None) -> Iterator[Row]:
    for number, text in streams.lines(path):
        if text.strip():
            place = f"{path}:{number}"
            try:
                row = Row(place, json_object(place, text))
            except DataError as error:
                if on_error is None:
                    raise
                on_error(error)
                continue
            yield row


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
    delimiter = max(",;\t|", key=lambda mark: _width(first, mark))
    return _with_header(path, _cells(path, delimiter, quoted=True))


def _width(line: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return 0  # whoever reads it on will say what is wrong


def _tsv_rows(path: Path, names: frozenset[str]) -> Iterator[Row]:
    cells = _cells(path, "\t", quoted=_quotes_are_quotes(path))
    number, first = next(cells, (1, []))
    if len(first) == 2 and names.isdisjoint(
        {name for c in first for name in (c.strip(), c.strip().lower())}
    ):
        yield Row(f"{path}:{number}", dict(zip(("id", "text"), first, strict=True)))
        for number, cells_of_row in cells:
            yield _row(path, number, ["id", "text"], cells_of_row)
        return
    yield from _with_header(path, chain([(number, first)], cells))


def _with_header(path: Path, cells: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    header: list[str] = []
    for number, row in cells:
        if header:
            yield _row(path, number, header, row)
            continue
        header = [name.strip() for name in row]
        _refuse_repeated(f"{path}:{number}", header)


def _refuse_repeated(place: str, header: list[str]) -> None:
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{place}: the column {twice!r} comes twice in the header")


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
                f"{path}:{begins}: not {kind_of(path)} ({error}); a quote inside a quoted "
                "cell is written twice, and every quote that opens must close"
            ) from error
        if any(cell.strip() for cell in row):
            yield begins, row


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
            _refuse_repeated(f"{path}", file.schema_arrow.names)
            for batch in file.iter_batches(_PARQUET_ROWS, use_threads=False):
                _refuse_large(f"{path}:row {number + 1}", batch.nbytes)
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}:row {number}", values)
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        what = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a Parquet file that can be read ({what})") from error


def _refuse_large(place: str, size: int) -> None:
    if size > _MOST_IN_ROWS:
        most = _MOST_IN_ROWS >> 20
        raise DataError(f"{place}: {_PARQUET_ROWS} rows of {size >> 20} MiB; expected {most} MiB")


def rows_of(paths: Iterable[Path], named: frozenset[str] = frozenset()) -> Iterator[Row]:
    """Stream the rows of several files, one file after the other."""
    for path in paths:
        yield from read_rows(path, named)
