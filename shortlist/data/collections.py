"""Whatever the user has -> passages: the one door to dumps, tables, test collections, notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from shortlist.data import documents, hub, msmarco, quora, streams
from shortlist.data.columns import Columns, read_passages
from shortlist.data.ledger import Ledger
from shortlist.data.notes import KINDS as NOTES
from shortlist.data.notes import (
    Note,
    has_notes,
    read_note,
    read_notes,
    sections_of_text,
    visible_files,
)
from shortlist.data.paragraphs import TokenCounter, split
from shortlist.data.rows import Row, kind_of, read_rows, rows_of
from shortlist.data.wikipedia import read_articles
from shortlist.data.wikitext import read_sections
from shortlist.errors import DataError, MissingExtraError
from shortlist.records import Passage

READABLE = (
    "a MediaWiki dump (.xml), a table (.jsonl, .csv, .tsv, .parquet), plain or as .gz, .bz2 or "
    ".zst, a BEIR or MS MARCO folder, Quora's pairs of questions, a folder of texts (.txt, .md, "
    ".html, .pdf, .docx, ...) or of tables, or a dataset (hf://NAMESPACE/NAME)"
)


@dataclass(frozen=True, slots=True)
class Cutting:
    """How documents become passages; the counter and the limit are those of the model."""

    count_tokens: TokenCounter
    max_tokens: int  # of a passage as the model reads it, title included
    overlap: int = 0  # tokens that two pieces of one paragraph share
    cut_records: bool | None = None  # rows of tables too; None: where they are whole articles


@dataclass(frozen=True, slots=True)
class Collection:
    """Passages to be drawn once, in the order of the source; `ledger` fills while they are."""

    kind: str  # "MediaWiki dump", "JSONL", "BEIR folder", "folder of texts", ...
    passages: Iterator[Passage]
    ledger: Ledger
    is_cut: bool = True  # texts into passages; else every passage is a whole record


def load(
    source: Path | str,
    cutting: Cutting,
    columns: Columns | None = None,
    *,
    must_have_columns: bool = True,
) -> Collection:
    """Open a collection, by its name and what is in it; nothing much is read yet.

    Dumps, texts and the articles of `hf://` datasets are cut into passages that, as the model reads
    them, have at most `cutting.max_tokens` tokens. The rows of tables stay whole, as judgements
    name them, unless `cutting.cut_records` asks for it. Raises DataError here for a source that
    cannot be any collection (MissingExtraError for one that needs an extra), and while drawing for
    what is wrong inside it. `must_have_columns=False` forgives columns that are named where there
    are none.
    """
    reading = _Reading(cutting, columns or Columns(), Ledger())
    if str(source).startswith(hub.PREFIX):
        return reading.dataset(hub.HubSource.parse(str(source)))
    path = Path(source)
    collection = reading.folder(path) if path.is_dir() else reading.file(path)
    asked = must_have_columns and columns is not None and columns != Columns()
    if asked and not reading.has_columns:
        raise DataError(f"{path}: a {collection.kind} has no columns; leave out --...-field")
    return collection


def read_table(path: Path, ledger: Ledger, columns: Columns | None = None) -> Iterator[Passage]:
    """Stream the passages of a `.jsonl`, `.csv`, `.tsv` or `.parquet` file, whole."""
    columns = columns or Columns()
    return read_passages(partial(read_rows, path, columns.named()), columns, ledger)


class _Reading:
    """One call of `load`: what every reader is given."""

    def __init__(self, cutting: Cutting, columns: Columns, ledger: Ledger) -> None:
        self.cutting = cutting
        self.columns = columns
        self.ledger = ledger
        self.has_columns = False
        self.split = partial(
            split,
            count_tokens=cutting.count_tokens,
            max_tokens=cutting.max_tokens,
            overlap=cutting.overlap,
            ledger=ledger,
        )
        # nobody wants to miss a line of their own notes
        self.split_own = partial(self.split, min_characters=1, mark="#")

    def folder(self, path: Path) -> Collection:
        try:
            next(path.iterdir(), None)
        except OSError as error:
            raise DataError(f"{path}: this folder cannot be read ({error.strerror})") from error
        if corpus := streams.find(path, "corpus.jsonl"):
            return self.table("BEIR folder", partial(read_rows, corpus), corpus)
        if collection := streams.find(path, msmarco.COLLECTION):
            rows = partial(msmarco.read_collection, collection)
            return self.table("MS MARCO folder", rows, collection)
        pairs = streams.find(path, *quora.NAMES)
        if pairs and quora.is_pairs(pairs):
            return self.file(pairs)
        if hub.is_saved_dataset(path):
            return self.dataset(hub.HubSource(str(path), is_local=True))
        if has_notes(path):
            notes = self._notes(read_notes(path, self.ledger))
            return Collection("folder of texts", notes, self.ledger)
        tables = sorted(file for file in visible_files(path, self.ledger) if kind_of(file))
        if tables:
            return self.table(
                "folder of tables", partial(rows_of, tables, self.columns.named()), *tables
            )
        raise DataError(f"{path}: no file in this folder can be read; expected {READABLE}")

    def file(self, path: Path) -> Collection:
        if not path.exists():
            raise DataError(f"{path}: no such file; check the spelling of the path")
        name = streams.bare_name(path.name)
        suffix = Path(name).suffix
        is_plain = name == path.name.lower()
        if suffix in documents.KINDS and is_plain:
            if command := documents.missing_extra(suffix):
                raise MissingExtraError(f"{path}: reading {suffix} files needs an extra: {command}")
            return Collection("document", self._file(path), self.ledger)
        streams.check(path)
        if quora.is_pairs(path):
            questions = quora.read_questions(path, self.ledger)
            return Collection("Quora question pairs", questions, self.ledger, is_cut=False)
        if name == msmarco.COLLECTION:
            rows = partial(msmarco.read_collection, path)
            return self.table("MS MARCO collection", rows, path)
        if kind := kind_of(path):
            return self.table(kind, partial(read_rows, path, self.columns.named()), path)
        if suffix == ".xml":
            return Collection("MediaWiki dump", self._articles(path), self.ledger)
        if suffix in NOTES and is_plain:
            return Collection("text file", self._file(path), self.ledger)
        raise DataError(
            f"{path}: unknown kind of file {''.join(path.suffixes[-2:])!r}; expected {READABLE}"
        )

    def table(
        self, kind: str, rows: Callable[[], Iterator[Row]], *files: Path, cut: bool = False
    ) -> Collection:
        for file in files:
            streams.check(file)
        self.has_columns = True
        passages = read_passages(rows, self.columns, self.ledger)
        wanted = self.cutting.cut_records
        if is_cut := cut if wanted is None else wanted:
            passages = self._cut_records(passages)
        return Collection(kind, passages, self.ledger, is_cut)

    def dataset(self, source: hub.HubSource) -> Collection:
        rows = partial(hub.read_dataset, source, self.ledger)
        return self.table(f"dataset {source.name}", rows, cut=not source.is_local)

    def _articles(self, dump: Path) -> Iterator[Passage]:
        for article in read_articles(dump, self.ledger):
            sections = read_sections(article.wikitext, self.ledger, namespaces=article.namespaces)
            yield from self.split(article.id, article.title, sections)

    def _notes(self, notes: Iterator[Note]) -> Iterator[Passage]:
        for note in notes:
            yield from self.split_own(note.id, note.title, note.sections)

    def _file(self, path: Path) -> Iterator[Passage]:
        self.ledger.documents_are = "files"
        self.ledger.documents = 1
        yield from self._notes(iter([read_note(path, path.name)]))

    def _cut_records(self, records: Iterator[Passage]) -> Iterator[Passage]:
        """Cut what is too long; a record that is one passage keeps its own id."""
        self.ledger.documents_are = "records"
        for record in records:
            self.ledger.kept -= 1  # the pieces are counted
            self.ledger.documents += 1
            pieces = self.split_own(record.id, record.title, sections_of_text(record.text))
            if not pieces:  # nothing but a title
                self.ledger.kept += 1
                yield record
            for piece in pieces:
                identifier = record.id if len(pieces) == 1 else piece.id
                yield replace(piece, id=identifier, metadata=record.metadata)
