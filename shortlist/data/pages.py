"""A MediaWiki XML export as a stream of pages, in flat memory.

The file is hostile until shown otherwise: document types and with them all entity declarations are
refused, and depth, tag length and the text of a page are bounded (`streams` bounds the expansion).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from shortlist.data import streams
from shortlist.data.ledger import EVERYTHING, Ledger
from shortlist.errors import DataError

LARGEST_PAGE = 64 << 20  # characters; MediaWiki itself stops at 2 MiB unless told otherwise
LONGEST_TAG = 16 << 20  # bytes that the parser may hold back while it looks for the end of a tag
DEEPEST = 64  # elements inside each other; an export has 5

_FIELDS = {
    ("title",): "title",
    ("ns",): "ns",
    ("id",): "id",
    ("revision", "text"): "text",  # the last revision wins where a dump has several
}
_CUT_OFF = {
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
}
# English names work on every wiki; exports before version 0.6 have no <ns> and need them
_ENGLISH_NAMESPACES = {
    "media": -2, "special": -1, "talk": 1, "user": 2, "user talk": 3, "project": 4, "wikipedia": 4,
    "file": 6, "image": 6, "mediawiki": 8, "template": 10, "help": 12, "category": 14,
    "portal": 100, "book": 108, "draft": 118, "module": 828,
}  # fmt: skip


@dataclass(slots=True)
class Page:
    """A page of any namespace as the export has it; `line` is where it begins."""

    line: int
    namespaces: Mapping[str, int]  # of the wiki: folded name -> number
    id: str = ""
    title: str = ""
    ns: str = ""  # the number as written; "" in exports before version 0.6
    text: str = ""
    redirect: bool = False


def read_pages(path: Path, ledger: Ledger) -> Iterator[Page]:
    """Stream the pages of a `.xml`, `.xml.gz` or `.xml.bz2` export.

    A file that is cut off gives what is whole in it, and a warning in `ledger`. Raises DataError
    with file and line for anything that is no MediaWiki export.
    """
    streams.check(path)
    parser = _PageParser(path)
    fed = 0
    try:
        for chunk in streams.chunks(path):
            fed += len(chunk)
            parser.feed(chunk, fed)
            yield from parser.take()
        parser.feed(b"", fed)
    except streams.CutOffError as error:
        if not fed:
            raise
        ledger.warn(f"{error}; all pages before the cut were read")
        ledger.unreadable.append(EVERYTHING)
    except _XmlCutOffError as error:
        ledger.warn(f"{error}; the file is cut off, all pages before the cut were read")
        ledger.unreadable.append(EVERYTHING)
    yield from parser.take()
    parser.check_kind()


class _XmlCutOffError(DataError):
    """The XML ends before its root element does."""


class _PageParser:
    """Collects the pages of an XML stream, whatever the version of the export's namespace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: list[str] = []  # local names from the root to the current element
        self.root = ""
        self.page: Page | None = None
        self.page_depth = 0
        self.field = ""
        self.parts: list[str] = []
        self.size = 0  # characters in parts
        self.done: list[Page] = []
        self.count = 0
        self.namespaces = dict(_ENGLISH_NAMESPACES)
        self.namespace_key = ""
        self.expat = expat.ParserCreate(namespace_separator=" ")
        self.expat.buffer_text = True
        self.expat.StartElementHandler = self._start
        self.expat.EndElementHandler = self._end
        self.expat.CharacterDataHandler = self._characters
        self.expat.StartDoctypeDeclHandler = self._doctype

    def feed(self, chunk: bytes, fed: int) -> None:
        """Parse `chunk`, the last of `fed` bytes; an empty one ends the document."""
        if fed == len(chunk):
            self._check_start(chunk)
        try:
            self.expat.Parse(chunk, not chunk)
        except expat.ExpatError as error:
            self._fail(error, chunk, fed - len(chunk))
        if chunk and fed - self.expat.CurrentByteIndex > LONGEST_TAG:
            raise self._error(f"a tag of more than {LONGEST_TAG >> 20} MiB; not a wiki's export")

    def take(self) -> list[Page]:
        """Hand out the pages that were completed since the last call."""
        pages, self.done = self.done, []
        self.count += len(pages)
        return pages

    def check_kind(self) -> None:
        """Raise DataError where the end was reached and nothing was like a MediaWiki export."""
        if self.root != "mediawiki" and not self.count:
            what = f"XML with the root <{self.root}> and no <page>" if self.root else "no element"
            expected = "a MediaWiki export: <mediawiki> with a <page> for each article"
            raise DataError(f"{self.path}: expected {expected}, got {what}")

    def _check_start(self, chunk: bytes) -> None:
        start = chunk.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start and not start.startswith(b"<"):
            got = "a binary file" if b"\0" in chunk else repr(start[:40].decode("utf-8", "replace"))
            raise DataError(f"{self.path}:1: expected XML, a MediaWiki export, got {got}")

    def _error(self, message: str) -> DataError:
        return DataError(f"{self.path}:{self.expat.CurrentLineNumber}: {message}")

    def _fail(self, error: expat.ExpatError, chunk: bytes, before: int) -> None:
        place = f"{self.path}:{error.lineno}"
        if not chunk and error.code in _CUT_OFF:
            raise _XmlCutOffError(f"{place}: the XML ends in the middle") from error
        at = self.expat.ErrorByteIndex - before
        problem = f"XML that is not well formed ({expat.ErrorString(error.code)})"
        if at >= 0 and not _decodes(chunk[at : at + 4]):
            problem = f"bytes that are not UTF-8 ({chunk[at : at + 4]!r})"
        raise DataError(f"{place}: {problem}; download or export the file again") from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        self.root = self.root or name
        self.open.append(name)
        if len(self.open) > DEEPEST:
            raise self._error(f"more than {DEEPEST} elements inside each other; not an export")
        if self.page is not None:
            self.page.redirect |= name == "redirect"
            self._capture(_FIELDS.get(tuple(self.open[self.page_depth :]), ""))
        elif name == "page":
            self.page = Page(self.expat.CurrentLineNumber, self.namespaces)
            self.page_depth = len(self.open)
        elif self.open[-2:] == ["namespaces", "namespace"]:
            self.namespace_key = attributes.get("key", "")
            self._capture("namespace")

    def _capture(self, into: str) -> None:
        self.field, self.parts, self.size = into, [], 0

    def _characters(self, text: str) -> None:
        if self.field:
            self.parts.append(text)
            self.size += len(text)
            if self.size > LARGEST_PAGE:
                raise self._error(f"a page of more than {LARGEST_PAGE >> 20} Mi characters")

    def _end(self, _tag: str) -> None:
        self.open.pop()
        if self.field:
            self._store("".join(self.parts))
            self._capture("")
        if self.page is not None and len(self.open) < self.page_depth:
            if self.page.title:
                self.page.id = self.page.id or self.page.title  # ids are optional in the schema
                self.done.append(self.page)
            self.page = None

    def _store(self, value: str) -> None:
        if self.page is not None:
            setattr(self.page, self.field, value if self.field == "text" else value.strip())
        elif self.namespace_key.lstrip("-").isdecimal() and value.strip():
            self.namespaces[value.strip().casefold()] = int(self.namespace_key)

    def _doctype(self, *_: object) -> None:
        raise self._error("a document type, which a MediaWiki export never has; refused unread")


def _decodes(piece: bytes) -> bool:
    """Whether the first character of `piece`, at most four bytes, is UTF-8."""
    for length in range(1, 5):
        try:
            piece[:length].decode()
        except UnicodeDecodeError:
            continue
        return True
    return False
