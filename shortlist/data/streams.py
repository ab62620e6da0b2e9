"""Files, plain or compressed, as bounded chunks of bytes and numbered lines of text.

Nothing here holds more than a chunk or a line in memory, and nothing believes a compressed file
about its size: see `MOST_EXPANSION`.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shortlist.errors import DataError

CHUNK = 1 << 18  # bytes, after decompression

MOST_EXPANSION = 100
"""Bytes that a compressed byte may become. Text shrinks 3-10 times, dumps with the whole history
of each page 20-30 times; a bomb of zeros grows by 1,000 (gzip) or by 1,000,000 (bzip2)."""

EXPANSION_FREE = 128 << 20
"""Decompressed bytes below which the ratio is not looked at: small files may be very regular, and
this much is harmless in a stream."""

LONGEST_LINE = 64 << 20  # bytes of one line of JSONL

_ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\xfd7zXZ\x00": "xz",
}
_ZSTD = (b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18")  # the second begins the files of pzstd
COMPRESSED = (".gz", ".bz2", ".zst")  # endings of names that may follow the kind's own
_TAR_MAGIC = slice(257, 262)


class CutOffError(DataError):
    """A compressed file that ends in the middle; all chunks before the cut have been handed out."""


def check(path: Path) -> None:
    """Raise DataError unless `path` is a readable file with something in it that we can open."""
    if not path.exists():
        raise DataError(f"{path}: no such file; check the spelling of the path")
    if path.is_dir():
        raise DataError(f"{path}: expected a file, got a folder")
    head = _head(path)
    if not head:
        raise DataError(f"{path}: the file is empty; was it downloaded completely?")
    if archive := _archive_kind(head) or _archive_kind(_first_bytes(path)):
        raise DataError(f"{path}: this is a {archive} archive; unpack it and give what is inside")


def _archive_kind(head: bytes) -> str | None:
    """Name the archive format that begins with `head`, None where it is none."""
    if head[_TAR_MAGIC] == b"ustar":
        return "tar"
    return next((name for magic, name in _ARCHIVES.items() if head.startswith(magic)), None)


def _first_bytes(path: Path) -> bytes:
    """Look behind the compression: a `.tar.gz` is an archive as well."""
    try:
        return next(chunks(path), b"")[:512]
    except CutOffError:
        return b""


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, decompressed where its first bytes ask for it.

    Raises CutOffError at the end of what is readable, DataError for damage and for bombs.
    """
    head = _head(path)  # an error of ours where it must not be read
    with path.open("rb") as raw, _decompressed(raw, head) as stream:
        total = 0
        while True:
            try:
                chunk = stream.read1(CHUNK)  # type: ignore[attr-defined]  # BinaryIO leaves it out
            except (EOFError, OSError, zlib.error) as error:
                if isinstance(error, EOFError) or "Truncated" in str(error):  # as Arrow says it
                    message = f"{path}: the compressed file ends in the middle"
                    message = f"{message}, after {total:,} bytes of content; download it again"
                    raise CutOffError(message) from None
                message = f"{path}: damaged after {total:,} bytes of content ({error})"
                raise DataError(f"{message}; download it again") from error
            if not chunk:
                return
            total += len(chunk)
            if stream is not raw and total > max(EXPANSION_FREE, MOST_EXPANSION * raw.tell()):
                message = f"{path}: {raw.tell():,} compressed bytes became {total:,} and more"
                raise DataError(f"{message}; that is no text, refused as a decompression bomb")
            yield chunk


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file, numbered from 1, without a byte order mark.

    Raises DataError with file and line for bytes that are not UTF-8, and for binary files.
    """
    for number, line in enumerate(_byte_lines(path), 1):
        if b"\0" in line and not line.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16 is text
            raise DataError(f"{path}:{number}: expected text, got a binary file (a NUL byte)")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
            message = f"{path}:{number}: not UTF-8 ({byte})"
            raise DataError(f"{message}; save the file as UTF-8") from error
        yield number, text


def records(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank; at least one, or DataError."""
    check(path)
    empty = True
    for number, text in lines(path):
        if text.strip():
            empty = False
            yield number, text
    if empty:
        raise DataError(f"{path}:1: the file is empty; expected one record a line")


def bare_name(name: str) -> str:
    """Return a file's name in lower case, without the ending of a compression.

    >>> bare_name("Corpus.JSONL.gz")
    'corpus.jsonl'
    """
    name = name.lower()
    return next((name.removesuffix(end) for end in COMPRESSED if name.endswith(end)), name)


def find(folder: Path, *names: str) -> Path | None:
    """Return the first of the files that is in a folder, plain or compressed."""
    candidates = (folder / (name + end) for name in names for end in ("", *COMPRESSED))
    return next((path for path in candidates if path.is_file()), None)


def _byte_lines(path: Path) -> Iterator[bytes]:
    """Lines without their ends; linear also where a line is spread over many chunks."""
    parts: list[bytes] = []
    held = number = 0
    for chunk in chunks(path):
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            yield b"".join([*parts, line]).removesuffix(b"\r")
            parts, held, number = [], 0, number + 1
        parts.append(rest)
        held += len(rest)
        if held > LONGEST_LINE:
            message = f"{path}:{number + 1}: a line of more than {LONGEST_LINE >> 20} MiB"
            raise DataError(f"{message}; expected one record a line")
    if held:
        yield b"".join(parts)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its rights") from error


def _decompressed(raw: BinaryIO, head: bytes) -> BinaryIO:
    """Choose the stream to read from; the first bytes decide, because names lie more often."""
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if head.startswith(b"BZh"):
        return bz2.BZ2File(raw)  # type: ignore[return-value]
    if head.startswith(_ZSTD):
        import pyarrow as pa

        stream: BinaryIO = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return stream
    return raw
