"""Whatever the user has -> passages: the one door to dumps, JSON lines, BEIR folders and notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shortlist.data import streams
from shortlist.data.jsonl import read_jsonl
from shortlist.data.ledger import Ledger
from shortlist.data.notes import KINDS, Note, has_notes, read_note, read_notes
from shortlist.data.paragraphs import TokenCounter, split
from shortlist.data.wikipedia import read_articles
from shortlist.data.wikitext import read_sections
from shortlist.errors import DataError
from shortlist.records import Passage

_DUMPS = (".xml", ".xml.bz2", ".xml.gz")
_JSONL = (".jsonl", ".jsonl.gz")
_CORPUS = ("corpus.jsonl", "corpus.jsonl.gz")
_READABLE = (
    "a MediaWiki dump (.xml, .xml.bz2, .xml.gz), a .jsonl or .jsonl.gz file, a BEIR folder "
    "(with corpus.jsonl), or a folder of .txt and .md files"
)


@dataclass(frozen=True, slots=True)
class Collection:
    """Passages to be drawn once, in the order of the source; `ledger` fills while they are."""

    kind: str  # "MediaWiki dump", "JSONL", "BEIR folder", "folder of texts" or "text file"
    passages: Iterator[Passage]
    ledger: Ledger


def load(source: Path | str, *, count_tokens: TokenCounter, max_tokens: int) -> Collection:
    """Open a collection, by its name and what is in it; nothing much is read yet.

    Dumps and texts are cut into passages that, as the model reads them, have at most `max_tokens`
    tokens by `count_tokens`; the passages of JSON lines stay whole. Raises DataError here for a
    source that cannot be any collection, and while drawing for what is wrong inside it.
    """
    path = Path(source)
    ledger = Ledger()
    cutting = _Cutting(count_tokens, max_tokens, ledger)
    if path.is_dir():
        corpus = next((path / name for name in _CORPUS if (path / name).is_file()), None)
        if corpus:
            streams.check(corpus)
            return Collection("BEIR folder", read_jsonl(corpus, ledger), ledger)
        if not has_notes(path):
            raise DataError(f"{path}: no file in this folder can be read; expected {_READABLE}")
        return Collection("folder of texts", cutting.notes(read_notes(path, ledger)), ledger)
    streams.check(path)
    name = path.name.lower()
    if name.endswith(_DUMPS):
        return Collection("MediaWiki dump", cutting.articles(path), ledger)
    if name.endswith(_JSONL):
        return Collection("JSONL", read_jsonl(path, ledger), ledger)
    if path.suffix.lower() in KINDS:
        return Collection("text file", cutting.file(path), ledger)
    raise DataError(f"{path}: unknown kind of file {path.suffix!r}; expected {_READABLE}")


@dataclass(frozen=True, slots=True)
class _Cutting:
    """Documents -> passages, with what every document has in common."""

    count_tokens: TokenCounter
    max_tokens: int
    ledger: Ledger

    def articles(self, dump: Path) -> Iterator[Passage]:
        for article in read_articles(dump, self.ledger):
            sections = read_sections(article.wikitext, self.ledger, namespaces=article.namespaces)
            yield from split(
                article.id,
                article.title,
                sections,
                count_tokens=self.count_tokens,
                max_tokens=self.max_tokens,
                ledger=self.ledger,
            )

    def notes(self, notes: Iterator[Note]) -> Iterator[Passage]:
        for note in notes:
            yield from split(
                note.id,
                note.title,
                note.sections,
                count_tokens=self.count_tokens,
                max_tokens=self.max_tokens,
                ledger=self.ledger,
                min_characters=1,  # nobody wants to miss a line of their own notes
                mark="#",
            )

    def file(self, path: Path) -> Iterator[Passage]:
        self.ledger.documents_are = "files"
        self.ledger.documents = 1
        yield from self.notes(iter([read_note(path, path.name)]))
