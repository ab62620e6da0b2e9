"""The articles of a MediaWiki XML export: pages of the main namespace with a text of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shortlist.data.ledger import Ledger
from shortlist.data.pages import Page, read_pages
from shortlist.data.wiki_names import (
    DISAMBIGUATION_TEMPLATES,
    DISAMBIGUATION_TITLES,
    REDIRECTS,
    any_of,
)
from shortlist.errors import DataError

_LARGEST_IN_MAP = 1 << 30  # page ids up to here take a bit each, 128 MiB at the most
_REDIRECT = re.compile(rf"\s*#\s*(?:{any_of(REDIRECTS)})\s*:?\s*\[\[", re.IGNORECASE)
_DISAMBIGUATION = re.compile(
    rf"\{{\{{\s*(?:{any_of(DISAMBIGUATION_TEMPLATES)})\s*[|}}]", re.IGNORECASE
)
_DISAMBIGUATION_TITLE = re.compile(rf"\((?:{any_of(DISAMBIGUATION_TITLES)})\)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Article:
    """One page of the main namespace that is neither redirect nor disambiguation."""

    id: str
    title: str
    wikitext: str
    namespaces: Mapping[str, int] = field(
        default_factory=dict
    )  # of its wiki: folded name -> number


def read_articles(path: Path, ledger: Ledger) -> Iterator[Article]:
    """Stream the articles of a `.xml`, `.xml.gz` or `.xml.bz2` export.

    A file that is cut off gives what is whole in it, and a warning in `ledger`. Raises DataError
    with file and line for anything that is no MediaWiki export.
    """
    ledger.documents_are = "articles"
    seen = _IdSet()
    for page in read_pages(path, ledger):
        if reason := _reason_to_drop(page):
            ledger.drop(reason)
            continue
        if not seen.add(page.id):
            _refuse_second(path, page)
        ledger.documents += 1
        yield Article(page.id, page.title, page.text, page.namespaces)


def _reason_to_drop(page: Page) -> str | None:
    if _namespace(page) != 0:
        return "pages of other namespaces"
    if page.redirect or _REDIRECT.match(page.text):
        return "redirects"
    if _DISAMBIGUATION_TITLE.search(page.title) or _DISAMBIGUATION.search(page.text):
        return "disambiguation pages"
    return None if page.text.strip() else "pages without text"


def _namespace(page: Page) -> int:
    try:
        return int(page.ns)
    except ValueError:
        name = page.title.partition(":")[0] if ":" in page.title else ""
        return page.namespaces.get(name.strip().casefold(), 0)


def _refuse_second(path: Path, page: Page) -> None:
    first = next(other for other in read_pages(path, Ledger()) if other.id == page.id)
    places = f"line {first.line} ({first.title!r}) and line {page.line} ({page.title!r})"
    raise DataError(f"{path}: page id {page.id} stands twice, at {places}; ids must be unique")


class _IdSet:
    """Page ids seen so far; the ids of a dump are small numbers, so a bit each will do."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self._others: set[str] = set()

    def add(self, page_id: str) -> bool:
        """Whether `page_id` is new."""
        if not re.fullmatch(r"[1-9][0-9]{0,9}", page_id) or int(page_id) > _LARGEST_IN_MAP:
            new = page_id not in self._others
            self._others.add(page_id)
            return new
        byte, bit = divmod(int(page_id), 8)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte - len(self._bits) + 4096))
        new = not self._bits[byte] >> bit & 1
        self._bits[byte] |= 1 << bit
        return new
