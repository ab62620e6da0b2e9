"""The files of MS MARCO's passage ranking task, by the names under which they are published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from shortlist.data import streams
from shortlist.data.rows import Row
from shortlist.errors import DataError

COLLECTION = "collection.tsv"


def read_collection(
    path: Path, on_error: Callable[[DataError], None] | None = None
) -> Iterator[Row]:
    """Stream ``pid<TAB>passage`` lines; quotes and further tabs are text, nothing is escaped.

    With `on_error`, what is wrong with a line goes there, and reading goes on.
    """
    streams.check(path)
    for number, line in streams.lines(path):
        if not line.strip():
            continue
        passage_id, tab, text = line.partition("\t")
        if not tab or not passage_id.strip():
            what = f"expected pid<TAB>passage, got {line.strip()[:60]!r}"
            error = DataError(f"{path}:{number}: {what}")
            if on_error is None:
                raise error
            on_error(error)
            continue
        yield Row(f"{path}:{number}", {"id": passage_id.strip(), "text": text})
