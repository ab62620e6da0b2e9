"""Documents -> passages that a model can read whole, with their places in the document's text.

The plain text of a document is its paragraphs, joined by one blank line. Each passage is a piece
of it: ``plain_text(sections)[p.offset : p.offset + len(p.text)] == p.text``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shortlist.data.ledger import Ledger
from shortlist.data.sentences import sentence_spans
from shortlist.errors import UsageError
from shortlist.records import Passage

TokenCounter: TypeAlias = Callable[[list[str]], list[int]]
"""Texts -> the tokens of each as the model reads it, special tokens included."""

_BETWEEN = "\n\n"
_Span: TypeAlias = tuple[int, int]  # (start, end) in characters of the plain text

_BATCH_TEXTS = 1024  # what is counted at once: bounds the memory of the tokenizer
_BATCH_CHARACTERS = 1 << 20
_CERTAINLY_TOO_LONG = 32  # characters for each token allowed; no prose has such tokens


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a document under one heading; `heading` is the path, " / " between levels."""

    heading: str
    paragraphs: tuple[str, ...]


def plain_text(sections: Sequence[Section]) -> str:
    """Return the text that the offsets of passages count in: paragraphs joined by a blank line."""
    return _BETWEEN.join(text for section in sections for text in section.paragraphs)


def split(
    document_id: str,
    title: str,
    sections: Sequence[Section],
    *,
    count_tokens: TokenCounter,
    max_tokens: int,
    overlap: int = 0,
    ledger: Ledger | None = None,
    min_characters: int = 40,
    mark: str = "-",
) -> list[Passage]:
    """Cut a document into passages with the ids ``document_id + mark + n``, n from 0.

    A paragraph is a passage. Where `model_text` would have more than `max_tokens` tokens it is
    cut at sentence ends, a sentence at words, a word at characters, and nothing is lost; a title
    that takes more than half of `max_tokens` is cut short. A passage that goes on with a paragraph
    that was cut begins with the last sentences (or words) before it, up to `overlap` tokens.
    Paragraphs of fewer than `min_characters` are left out and counted in `ledger`. Raises
    UsageError where `max_tokens` leaves no room for a single character, or `overlap` is above a
    quarter of it.
    """
    if not 0 <= overlap <= max_tokens // 4:
        raise UsageError(
            f"overlap={overlap}: expected 0 to {max_tokens // 4}, a quarter of the {max_tokens} "
            "tokens of a passage"
        )
    ledger = ledger if ledger is not None else Ledger()
    plain = plain_text(sections)
    kept, starts = _places(sections, min_characters)
    paragraphs = sum(len(section.paragraphs) for section in sections)
    ledger.drop(f"paragraphs under {min_characters} characters", paragraphs - len(kept))
    short_title = _fitting_title(title, count_tokens, max_tokens // 2)
    if kept and short_title != title:
        ledger.note("titles cut short to leave room for text")
    spans = _Cutter(plain, short_title, count_tokens, max_tokens, overlap).cut(kept)
    ledger.kept += len(spans)
    return [
        Passage(
            id=f"{document_id}{mark}{n}",
            text=plain[start:end],
            title=short_title,
            section=sections[bisect_right(starts, start) - 1].heading,
            document_id=document_id,
            offset=start,
        )
        for n, (start, end) in enumerate(spans)
    ]


def _places(sections: Sequence[Section], least: int) -> tuple[list[_Span], list[int]]:
    """Find the paragraphs of at least `least` characters, and where each section starts."""
    kept: list[_Span] = []
    starts: list[int] = []
    at = 0
    for section in sections:
        starts.append(at)
        for text in section.paragraphs:
            if len(text.strip()) >= max(least, 1):
                kept.append((at + len(text) - len(text.lstrip()), at + len(text.rstrip())))
            at += len(text) + len(_BETWEEN)
    return kept, starts


def _fitting_title(title: str, count_tokens: TokenCounter, limit: int) -> str:
    """Return the longest beginning of `title`, in whole words if it can be, within `limit`."""
    title = title[: _CERTAINLY_TOO_LONG * max(limit, 1)]
    if not title or count_tokens([title])[0] <= limit:
        return title
    low, high = 0, len(title)  # the beginning of `low` characters fits, that of `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        fits = count_tokens([title[:middle]])[0] <= limit
        low, high = (middle, high) if fits else (low, middle)
    words = title[: title.rfind(" ", 0, low + 1)] if " " in title[1 : low + 1] else title[:low]
    return words.rstrip() if words and count_tokens([words.rstrip()])[0] <= limit else ""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of units that may become one passage; `level` says what kind of units they are."""

    units: tuple[_Span, ...]
    level: int

    @property
    def span(self) -> _Span:
        return self.units[0][0], self.units[-1][1]


class _Cutter:
    """Cuts spans of one document until each fits the model.

    Units are counted once at each level, packed by the sum of their counts, and the packed pieces
    are counted again, because a tokenizer need not count two texts together as it counts them
    apart. Pieces that come out too long are halved.
    """

    def __init__(
        self, plain: str, title: str, count_tokens: TokenCounter, max_tokens: int, overlap: int
    ) -> None:
        self.plain = plain
        self.title = title
        self.count_tokens = count_tokens
        self.whole_tokens = max_tokens  # of a paragraph that need not be cut
        self.max_tokens = max_tokens - overlap  # of the pieces of one that must be
        self.overlap = overlap

    def cut(self, spans: list[_Span]) -> list[_Span]:
        """Return spans in the order of the text that cover all of `spans`, blanks aside."""
        done: list[_Span] = []
        pieces = [_Piece((span,), level=0) for span in spans]
        while pieces:
            too_long: list[_Piece] = []
            limit = self.max_tokens if pieces[0].level else self.whole_tokens
            fit = self._fit([piece.span for piece in pieces], limit)
            for piece, fits in zip(pieces, fit, strict=True):
                if fits:
                    done.append(piece.span)
                else:
                    too_long.append(piece)
            pieces = [part for piece in too_long for part in self._divided(piece)]
        done.sort()
        return self._overlapped(done, spans) if self.overlap else done

    def _overlapped(self, pieces: list[_Span], paragraphs: list[_Span]) -> list[_Span]:
        """Let each piece that goes on with a paragraph begin with the end of what is before it."""
        begins = {start for start, _ in paragraphs}
        starts = [start for start, _ in pieces]
        return [
            (start if start in begins else self._earlier(before, start, end), end)
            for before, (start, end) in zip([0, *starts], pieces, strict=False)
        ]

    def _earlier(self, before: int, start: int, end: int) -> int:
        """Where a piece may begin in the one before it, but never take in all of that."""
        special = self._count([""])[0]
        nearest = start - _CERTAINLY_TOO_LONG * self.overlap  # linear in long paragraphs, too
        for level in (1, 2):  # whole sentences if one is short enough, else words
            # The first unit is where the piece before begins, or begins in its middle
            units = [a for a, _ in self._units(max(before, nearest), start, level)][1:]
            tails = self._count([self.plain[a:start] for a in units[-self.overlap :]])
            for a, tokens in zip(units[-self.overlap :], tails, strict=True):
                if tokens - special <= self.overlap and self._fit([(a, end)], self.whole_tokens)[0]:
                    return a
        return start

    def _fit(self, spans: list[_Span], limit: int) -> list[bool]:
        most = _CERTAINLY_TOO_LONG * limit
        checked = [i for i, (start, end) in enumerate(spans) if end - start <= max(most, 1)]
        front = f"{self.title} " if self.title else ""
        counts = self._count([front + self.plain[slice(*spans[i])] for i in checked])
        fits = [False] * len(spans)
        for i, count in zip(checked, counts, strict=True):
            fits[i] = count <= limit
        return fits

    def _divided(self, piece: _Piece) -> list[_Piece]:
        if (count := len(piece.units)) > 1:
            halves = piece.units[: count // 2], piece.units[count // 2 :]
            return [_Piece(half, piece.level) for half in halves]
        start, end = piece.span
        if end - start == 1:
            raise UsageError(
                f"max_tokens={self.max_tokens} leaves no room for the character "
                f"{self.plain[start]!r} beside the title {self.title!r}; give a larger max_tokens"
            )
        level = piece.level
        while level < 3:
            level += 1
            units = tuple(self._units(start, end, level))
            if len(units) > 1:
                return self._packed(units, level)
        middle = (start + end) // 2
        return [_Piece((half,), level=3) for half in ((start, middle), (middle, end))]

    def _units(self, start: int, end: int, level: int) -> Iterator[_Span]:
        text = self.plain[start:end]
        if level == 1:
            spans = sentence_spans(text)
        elif level == 2:
            spans = (match.span() for match in re.finditer(r"\S+", text))
        else:
            step = max(1, self.max_tokens - self._overhead())
            spans = ((at, min(at + step, len(text))) for at in range(0, len(text), step))
        return ((start + a, start + b) for a, b in spans)

    def _packed(self, units: tuple[_Span, ...], level: int) -> list[_Piece]:
        """Group neighbouring units into few pieces of similar length that should fit."""
        if level == 3:
            return [_Piece((unit,), level) for unit in units]
        special = self._count([""])[0]
        room = self.max_tokens - self._overhead()
        counts = self._count([self.plain[start:end] for start, end in units])
        costs = [max(0, count - special) for count in counts]
        fair = sum(costs) / max(1, -(-sum(costs) // max(room, 1)))  # of pieces of equal length
        pieces: list[list[_Span]] = [[]]
        filled = 0
        for unit, cost in zip(units, costs, strict=True):
            if pieces[-1] and (filled >= fair or filled + cost > room):
                pieces.append([])
                filled = 0
            pieces[-1].append(unit)
            filled += cost
        return [_Piece(tuple(piece), level) for piece in pieces]

    def _overhead(self) -> int:
        return self._count([self.title])[0]

    def _count(self, texts: list[str]) -> list[int]:
        counts: list[int] = []
        batch: list[str] = []
        size = 0
        for text in texts:
            batch.append(text)
            size += len(text)
            if len(batch) >= _BATCH_TEXTS or size >= _BATCH_CHARACTERS:
                counts += self.count_tokens(batch)
                batch, size = [], 0
        return counts + (self.count_tokens(batch) if batch else [])
