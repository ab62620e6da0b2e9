"""HTML, PDF and office files -> Markdown, by extractors that are optional dependencies."""

from __future__ import annotations

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shortlist.data import streams
from shortlist.errors import DataError, MissingExtraError

HTML = frozenset({".html", ".htm", ".xhtml"})
OFFICE = frozenset({".pdf", ".docx", ".pptx", ".xlsx", ".epub", ".ipynb"})
KINDS = HTML | OFFICE
LARGEST_FILE = 256 << 20  # bytes; the extractors read a file whole
MOST_UNPACKED = 32 << 20  # bytes inside an office file below which the ratio is not looked at

_EXTRAS = {**dict.fromkeys(HTML, ("html", "trafilatura")),
           **dict.fromkeys(OFFICE, ("documents", "markitdown"))}  # fmt: skip


def missing_extra(suffix: str) -> str:
    """Return the command that makes files of this kind readable, "" where they are."""
    extra, package = _EXTRAS[suffix]
    return "" if find_spec(package) else f"pip install 'shortlist[{extra}]'"


def read_document(path: Path) -> tuple[str, str]:
    """Title and Markdown of a document; both may be empty.

    Raises MissingExtraError, or DataError for what the extractor cannot read.
    """
    suffix = path.suffix.lower()
    if command := missing_extra(suffix):
        raise MissingExtraError(f"{path}: reading {suffix} files needs an extra: {command}")
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST_FILE else b""
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    if size > LARGEST_FILE:
        most = LARGEST_FILE >> 20
        raise DataError(f"{path}: {size >> 20} MiB; expected a document of at most {most} MiB")
    if not content:
        raise DataError(f"{path}: the file is empty; was it downloaded completely?")
    try:
        if suffix in OFFICE and zipfile.is_zipfile(io.BytesIO(content)):
            _refuse_bomb(path, content)
        return _from_html(content) if suffix in HTML else _from_office(content, suffix)
    except DataError:
        raise
    except Exception as error:  # whatever an extractor thinks of: the file is named
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: this {suffix} file cannot be read ({what})") from error


def _refuse_bomb(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > max(MOST_UNPACKED, streams.MOST_EXPANSION * len(content)):
        raise DataError(
            f"{path}: {len(content):,} bytes become {size:,}; that is no document, refused as a "
            "decompression bomb"
        )


def _from_html(content: bytes) -> tuple[str, str]:
    """Return the main text without menus and footers; everything where there is no main text."""
    import trafilatura
    from trafilatura.metadata import extract_metadata
    from trafilatura.utils import decode_file

    text: str = decode_file(content)
    if "<body" not in text.lower():  # a fragment, whose text would be lost
        text = f"<html><body>{text}</body></html>"
    tree = trafilatura.load_html(text)
    if tree is None:
        return "", ""
    found: Any = extract_metadata(tree)
    main = trafilatura.extract(
        text,
        output_format="markdown",
        include_comments=False,
        include_tables=True,
        favor_recall=True,
        deduplicate=False,
    )
    return (found.title or "" if found else ""), main or trafilatura.html2txt(text) or ""


def _from_office(content: bytes, suffix: str) -> tuple[str, str]:
    from markitdown import StreamInfo, converters

    # The one that its name asks for: left to choose, markitdown reads a broken PDF as plain text
    convert = {
        ".pdf": converters.PdfConverter,
        ".docx": converters.DocxConverter,
        ".pptx": converters.PptxConverter,
        ".xlsx": converters.XlsxConverter,
        ".epub": converters.EpubConverter,
        ".ipynb": converters.IpynbConverter,
    }[suffix]()
    result = convert.convert(io.BytesIO(content), StreamInfo(extension=suffix))
    return result.title or "", result.markdown
