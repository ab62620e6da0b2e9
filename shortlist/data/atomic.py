"""Writing a file so that it appears complete or not at all."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shortlist.errors import DataError


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """Open a stream whose bytes become `path` when the block is left without an error.

    They are written beside it and renamed; gzipped where `path` ends in ``.gz``, with neither name
    nor time in the header: the same content gives the same bytes. DataError where it cannot be.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            raw = temporary.open("wb")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror})") from error
        with raw:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped:
                    yield zipped  # type: ignore[misc]  # has all that writing needs
            else:
                yield raw
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
