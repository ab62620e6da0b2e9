"""The files of MS MARCO's passage ranking task, by the names under which they are published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shortlist.data import streams
from shortlist.data.rows import Row
from shortlist.errors import DataError

COLLECTION = "collection.tsv"


def read_collection(path: Path) -> Iterator[Row]:
    """Stream ``pid<TAB>passage`` lines; quotes and further tabs are text, nothing is escaped."""
    streams.check(path)
    for number, line in streams.lines(path):
        if not line.strip():
            continue
        passage_id, tab, text = line.partition("\t")
        if not tab or not passage_id.strip():
            raise DataError(f"{path}:{number}: expected pid<TAB>passage, got {line.strip()[:60]!r}")
        yield Row(f"{path}:{number}", {"id": passage_id.strip(), "text": text})
