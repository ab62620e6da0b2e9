"""A passage that is longer than a cross-encoder reads: in windows, and what was left out counted.

The best window's logit is the passage's (MaxP of Dai and Callan, "Deeper Text Understanding for IR
with Contextual Neural Language Modeling", SIGIR 2019). Every window begins with the title again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.models.tokens import ModelTokenizer
from shortlist.records import Passage

OVERLAP = 48  # tokens that two windows share, so that no sentence is cut in both
MOST_TOKENS = 1024  # of one passage, or a book would cost what a shelf does; the rest is counted
LEAST_ROOM = 64  # tokens; where a query and a title leave less, the text is cut as it always was


@dataclass(frozen=True, slots=True)
class Reading:
    """How a passage is read that does not fit: parts of its text, and the tokens that nobody reads.

    `windows` are (start, end) in characters of the passage's text.
    """

    windows: tuple[tuple[int, int], ...]
    cut_tokens: int = 0

    def texts(self, passage: Passage) -> list[str]:
        """What the model is given for each window."""
        title = f"{passage.title} " if passage.title else ""
        return [title + passage.text[start:end] for start, end in self.windows]


def readings(
    tokenizer: ModelTokenizer, query: str, passages: Sequence[Passage]
) -> list[Reading | None]:
    """How each passage is read beside that query; None for one that is read whole."""
    # a token stands for a byte at least: what is this short need not be tokenised to know
    short = tokenizer.max_tokens - tokenizer.pair_specials
    long = [
        number
        for number, passage in enumerate(passages)
        if _bytes(query) + _bytes(passage.model_text) > short
    ]
    found: list[Reading | None] = [None] * len(passages)
    if not long:
        return found
    (query_tokens,) = tokenizer.offsets([query])
    room = short - len(query_tokens)
    wholes = tokenizer.offsets([passages[number].model_text for number in long])
    for number, offsets in zip(long, wholes, strict=True):
        if len(offsets) <= room:
            continue
        passage = passages[number]
        skipped = len(passage.model_text) - len(passage.text)  # the title and a blank
        first = bisect_left(offsets, (skipped, skipped))
        of_text = [(start - skipped, end - skipped) for start, end in offsets[first:]]
        found[number] = _reading(passage.text, of_text, room - first)
    return found


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _reading(text: str, offsets: Sequence[tuple[int, int]], room: int) -> Reading:
    """Windows of at most `room` of a text's tokens, from its first to its last where possible."""
    count = len(offsets)
    if room < LEAST_ROOM:
        return Reading(((0, len(text)),), count - max(room, 0))
    wanted = -(-(count - OVERLAP) // (room - OVERLAP))
    most = -(-MOST_TOKENS // (room - OVERLAP))
    if wanted <= most:  # evenly, so that the last one is as long as the others
        starts = [number * (count - room) // (wanted - 1) for number in range(wanted)]
    else:
        starts = [number * (room - OVERLAP) for number in range(most)]
    windows = []
    for start in starts:
        end = min(start + room, count)
        begins = _word_start(text, offsets, range(start, start + OVERLAP // 2))
        ends = count
        if end < count:
            ends = _word_start(text, offsets, range(end, end - OVERLAP // 2, -1))
        windows.append((offsets[begins][0] if begins else 0, offsets[ends - 1][1]))
    windows[-1] = (windows[-1][0], len(text) if ends == count else windows[-1][1])
    return Reading(tuple(windows), count - ends)


def _word_start(text: str, offsets: Sequence[tuple[int, int]], places: range) -> int:
    """The first of the places at which a word begins; where none does, the first of all."""
    for place in places:
        begin = offsets[place][0]
        if begin == 0 or text[begin - 1].isspace():
            return place
    return places[0]
