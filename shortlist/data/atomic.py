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
    nor time in the header: the same content gives the same bytes. A link stays one, and what it
    points to is written; a pipe or device is written to directly. DataError where it cannot be.
    """
    place = path.resolve()
    if place.is_dir():
        raise DataError(f"{path}: is a folder; expected the name of a file to write")
    special = place.exists() and not place.is_file()
    draft = place if special else place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped:
                    yield zipped  # type: ignore[misc]  # has all that writing needs
            else:
                yield raw
        if not special:
            draft.replace(place)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if not special:
            draft.unlink(missing_ok=True)
