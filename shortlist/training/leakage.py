"""Keeping dev and test out of training data: by equal questions and by shared word sequences."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shortlist.data.ids import fingerprint

WORDS_IN_A_SHINGLE = 8
SHARE_THAT_LEAKS = 0.3  # of a text's shingles that stand in held-out texts


class HeldOut:
    """What dev and test splits contain, as hashes."""

    def __init__(self) -> None:
        self._questions: set[int] = set()
        self._shingles: set[int] = set()

    def add(self, *, questions: Iterable[str] = (), passages: Iterable[str] = ()) -> None:
        """Remember held-out questions and passages."""
        for question in questions:
            self._questions.add(fingerprint(" ".join(_words(question))))
        for passage in passages:
            self._shingles |= _shingles(passage)

    def has_question(self, question: str) -> bool:
        """Whether a held-out question has the same words in the same order."""
        return fingerprint(" ".join(_words(question))) in self._questions

    def has_passage(self, passage: str) -> bool:
        """Whether a good part of a passage stands, word for word, in held-out passages."""
        own = _shingles(passage)
        return len(own & self._shingles) > SHARE_THAT_LEAKS * len(own)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _shingles(text: str) -> set[int]:
    words = _words(text)
    count = max(1, len(words) - WORDS_IN_A_SHINGLE + 1)
    return {fingerprint(" ".join(words[i : i + WORDS_IN_A_SHINGLE])) for i in range(count)}
