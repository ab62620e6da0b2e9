"""A folder of texts, Markdown notes, HTML pages and office files -> documents in sections."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from shortlist.data import documents, streams
from shortlist.data.ledger import Ledger, counted
from shortlist.data.paragraphs import Section
from shortlist.data.rows import kind_of
from shortlist.errors import DataError, MissingExtraError

_TEXTS = frozenset({".txt", ".md", ".markdown"})
KINDS = _TEXTS | documents.KINDS
LARGEST_NOTE = 64 << 20  # bytes; a note is read whole

_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Note:
    """One text file; `id` is its path inside the folder, with slashes."""

    id: str
    title: str
    sections: tuple[Section, ...]


def read_notes(folder: Path, ledger: Ledger) -> Iterator[Note]:
    """Read the texts and documents below `folder` in the order of their paths.

    Hidden files and folders are passed over, links to folders are not followed, other kinds of
    files are counted by their suffix. What cannot be read - a text that is no UTF-8, a document
    that its extractor refuses or whose extractor is not installed, a folder without permission - is
    counted, warned of, and listed in `ledger.unreadable`.
    """
    ledger.documents_are = "files"
    tables = 0
    for path in visible_files(folder, ledger):
        suffix = path.suffix.lower()
        if suffix not in KINDS:
            tables += bool(kind_of(path))
            ledger.drop(f"{suffix} files" if suffix else "files without a suffix")
            continue
        # a name that is no UTF-8 is kept apart from others by its escaped bytes
        name = os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
        try:
            note = read_note(path, name) if path.stat().st_size else None
        except (DataError, MissingExtraError, OSError) as error:
            ledger.drop(f"{suffix} files that could not be read")
            ledger.warn(str(error))
            ledger.unreadable.append(name)
            continue
        if note is None or not note.sections:
            ledger.drop("files without text" if note else "empty files")
            continue
        ledger.documents += 1
        yield note
    if tables:
        ledger.warn(
            f"{folder}: {counted(tables, 'tables')} beside the texts were left out; index them by "
            "themselves, or move the texts away to index the tables"
        )


def has_notes(folder: Path) -> bool:
    """Whether there is a file below `folder` that `read_notes` would read."""
    return any(path.suffix.lower() in KINDS for path in visible_files(folder, Ledger()))


def read_note(path: Path, note_id: str) -> Note:
    """Read one file; the title is the document's own, else the name without suffix."""
    suffix = path.suffix.lower()
    if suffix in documents.KINDS:
        title, text = documents.read_document(path)
        note = _markdown(note_id, " ".join(title.split()), text.splitlines())
        return note if note.title else replace(note, title=path.stem)
    if path.stat().st_size > LARGEST_NOTE:
        raise DataError(f"{path}: larger than {LARGEST_NOTE >> 20} MiB; split it, or use .jsonl")
    lines = [line for _, line in streams.lines(path)]
    if suffix == ".txt":
        return Note(note_id, path.stem, sections_of_text("\n".join(lines)))
    return _markdown(note_id, path.stem, _without_front_matter(lines))


def sections_of_text(text: str) -> tuple[Section, ...]:
    """Return a plain text as one section, whose paragraphs are parted by blank lines."""
    paragraphs = tuple(_paragraphs(text.splitlines()))
    return (Section("", paragraphs),) if paragraphs else ()


def visible_files(folder: Path, ledger: Ledger) -> Iterator[Path]:
    """Files below `folder`, sorted by path; links to folders are not followed: they may loop."""

    def locked(error: OSError) -> None:
        name = Path(error.filename).relative_to(folder).as_posix()
        ledger.drop("folders that could not be read")
        ledger.warn(f"{error.filename}: this folder cannot be read ({error.strerror})")
        ledger.unreadable.append(f"{name}/")

    for root, folders, names in os.walk(folder, onerror=locked):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        ledger.drop("links to folders", sum(Path(root, name).is_symlink() for name in folders))
        for name in sorted(names):
            path = Path(root, name)
            if name.startswith("."):
                continue
            if path.is_file():
                yield path
            elif path.is_symlink():
                ledger.drop("links to nothing")


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines and lines[0].rstrip() == "---":
        for number, line in enumerate(lines[1:], 1):
            if line.rstrip() in ("---", "..."):
                return lines[number + 1 :]
    return lines


def _markdown(note_id: str, stem: str, lines: list[str]) -> Note:
    title = ""
    sections: list[Section] = []
    path: list[tuple[int, str]] = []  # (level, heading) from the outermost
    for level, heading, body in _split_at_headings(lines):
        if not title and level:
            title = heading
            if level == 1:
                level = 0  # the title of the note is no section of it
        if level:
            path = [*(entry for entry in path if entry[0] < level), (level, heading)]
        if paragraphs := tuple(_paragraphs(body)):
            sections.append(Section(" / ".join(name for _, name in path), paragraphs))
    return Note(note_id, title or stem, tuple(sections))


def _split_at_headings(lines: list[str]) -> Iterator[tuple[int, str, list[str]]]:
    level, heading, body, fence = 0, "", list[str](), ""
    for line in lines:
        if match := _FENCE.match(line):  # a # in code is a comment, not a heading
            mark = match[1]
            if not fence:
                fence = mark
            elif mark.startswith(fence) and not line.strip().strip(mark[0]):
                fence = ""
        found = None if fence else _heading(line)
        under = None if fence else _UNDERLINE.match(line)
        if found:
            yield level, heading, body
            level, heading, body = *found, []
        elif under and body and _is_prose(body):
            text = body.pop().strip()
            yield level, heading, body
            level, heading, body = 1 if under[1][0] == "=" else 2, text, []
        else:
            body.append(line)
    yield level, heading, body


def _heading(line: str) -> tuple[int, str] | None:
    """Level and text of a line that is a Markdown heading; one without text is none.

    No regular expression: with blanks on both sides of what is optional, one was quadratic.
    """
    marks = line.lstrip(" ")
    text = marks.lstrip("#")
    level = len(marks) - len(text)
    if len(line) - len(marks) > 3 or not 1 <= level <= 6 or text[:1] not in (" ", "\t"):
        return None
    text = text.strip(" \t")
    unclosed = text.rstrip("#")
    if unclosed != text and (not unclosed or unclosed[-1] in " \t"):
        text = unclosed.rstrip(" \t")
    return (level, text) if text else None


def _is_prose(body: list[str]) -> bool:
    """Whether the last line can be underlined into a heading: one line, no list, no table."""
    alone = len(body) == 1 or not body[-2].strip()
    return alone and bool(body[-1].strip()) and body[-1].lstrip()[0] not in "-*+>|#`~"


def _paragraphs(lines: list[str]) -> Iterator[str]:
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield "\n".join(block).strip()
            block = []
