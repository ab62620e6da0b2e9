"""Hits that differ: the best passage of each document, near-duplicates folded into the best."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from shortlist.records import Hit

SHINGLE = 2  # words
SAME_TEXT = 0.7  # Jaccard similarity of two texts' shingles from which they are near-duplicates


@dataclass(frozen=True, slots=True)
class Distinct:
    """What may not come twice in one answer."""

    documents: bool = False  # one passage of each document
    texts: bool = False  # one of several passages with nearly the same words

    def __bool__(self) -> bool:
        return self.documents or self.texts


class Selection:
    """Takes hits best first, and keeps those that bring something new, until it has `top_k`."""

    def __init__(self, distinct: Distinct, top_k: int) -> None:
        self._distinct = distinct
        self._top_k = top_k
        self._hits: list[Hit] = []
        self._folded: list[list[str]] = []
        self._documents: set[str] = set()
        self._shingles: list[set[str]] = []

    @property
    def is_full(self) -> bool:
        """Whether no further hit is needed."""
        return len(self._hits) >= self._top_k

    def take(self, hits: Iterable[Hit]) -> Selection:
        """Offer hits, best first; those that are left over are not looked at."""
        for hit in hits:
            if self.is_full:
                break
            self._offer(hit)
        return self

    def hits(self) -> list[Hit]:
        """What was kept, ranked from 1; a hit names the near-duplicates that it stands for."""
        return [
            replace(hit, rank=rank, folded=tuple(folded))
            for rank, (hit, folded) in enumerate(zip(self._hits, self._folded, strict=True), 1)
        ]

    def _offer(self, hit: Hit) -> None:
        if self._distinct.documents and hit.document in self._documents:
            return
        if self._distinct.texts:
            own = shingles(hit.text or hit.title)
            for number, kept in enumerate(self._shingles):
                if own and kept and jaccard(own, kept) >= SAME_TEXT:
                    self._folded[number].append(hit.id)
                    return
            self._shingles.append(own)
        self._documents.add(hit.document)
        self._hits.append(hit)
        self._folded.append([])


def shingles(text: str) -> set[str]:
    """Return the pairs of neighbouring words of a text, case and punctuation aside."""
    words = re.findall(r"\w+", text.casefold())
    count = max(bool(words), len(words) - SHINGLE + 1)  # of a text without words: none
    return {" ".join(words[i : i + SHINGLE]) for i in range(count)}


def jaccard(one: set[str], other: set[str]) -> float:
    """Return what two sets share, of all that they have."""
    return len(one & other) / len(one | other)
