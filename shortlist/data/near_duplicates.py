"""Texts that repeat each other word for word, or nearly: found through shared sequences of words.

Words are compared without case and punctuation; a character of a script without blanks (Chinese,
Japanese, Thai, Lao) is a word. Two texts are near-duplicates

- where both have 16 words or more: if at least half of the 8-word sequences of the one that has
  fewer stand in the other (containment: an excerpt is a near-duplicate of its source);
- else: if at least 0.8 of all their 3-word sequences are shared (Jaccard: short texts that are
  contained in a long one prove nothing). A text of fewer than 3 words is one sequence.

Nothing is sampled and no pair is compared that shares no sequence. The one exception: a sequence
proposes only the first 32 texts that it stands in, so that boilerplate costs no more than that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

SHORT = 16  # words; a text that has fewer is compared by NARROW sequences
WIDE, NARROW = 8, 3  # words of a sequence
LEAST_CONTAINMENT = 0.5
LEAST_JACCARD = 0.8
MOST_PROPOSALS = 32  # texts that one sequence proposes

# The most different narrow sequences of a text that can reach LEAST_JACCARD with a short one
_MOST_NARROW = int((SHORT - NARROW) / LEAST_JACCARD)
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_FACTORS = np.array(
    [int.from_bytes(blake2b(bytes([i]), digest_size=8).digest(), "big") | 1 for i in range(WIDE)],
    dtype=np.uint64,
)


def words(text: str) -> list[str]:
    """Split a text into the words that are compared.

    >>> words("Don't PANIC: 東京!")
    ['don', 't', 'panic', '東', '京']
    """
    return _WORD.findall(unicodedata.normalize("NFC", text).casefold())


@dataclass(frozen=True, slots=True)
class Match:
    """A text that nearly repeats the one asked for."""

    number: int  # of the text, from 0, in the order in which it came
    overlap: float  # containment or Jaccard, as above, counted over all sequences of both


class NearDuplicates:
    """An index of texts, in 20 bytes a word, that is asked which of them nearly repeat another.

    Time and memory grow with the number of words. The texts themselves are not held.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        wide, narrow = [], []
        for text in texts:
            numbers = _word_numbers(text)
            wide.append(_sequences(numbers, WIDE) if len(numbers) >= SHORT else _NONE)
            narrow.append(_narrow(numbers))
        self._wide, self._narrow = _Table(wide), _Table(narrow)

    def matches(self, text: str) -> list[Match]:
        """Return the near-duplicates of a text, the nearest first, then in order of number."""
        numbers = _word_numbers(text)
        found: dict[int, float] = {}
        if len(numbers) >= SHORT:
            own = _sequences(numbers, WIDE)
            for number, shared, size in self._wide.sharing(own, LEAST_CONTAINMENT):
                found[number] = shared / min(size, len(own))
            found = {n: overlap for n, overlap in found.items() if overlap >= LEAST_CONTAINMENT}
        own = _narrow(numbers)
        if len(own):
            for number, shared, size in self._narrow.sharing(own, LEAST_JACCARD):
                if len(numbers) >= SHORT and self._wide.size(number):
                    continue  # both are long
                overlap = shared / (size + len(own) - shared)
                if overlap >= LEAST_JACCARD:
                    found[number] = overlap
        return [Match(n, found[n]) for n in sorted(found, key=lambda n: (-found[n], n))]


class _Table:
    """Which sequence stands in which texts: sorted columns, searched by bisection."""

    def __init__(self, texts: list[np.ndarray]) -> None:
        sizes = np.array([len(sequences) for sequences in texts], dtype=np.int64)
        self._ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        self._of_texts = np.concatenate([_NONE, *texts])  # each text's own, sorted
        order = np.argsort(self._of_texts, kind="stable")  # so the first texts come first
        self._keys = self._of_texts[order]
        self._texts = np.repeat(np.arange(len(texts), dtype=np.uint32), sizes)[order]

    def size(self, text: int) -> int:
        """Return how many different sequences a text has."""
        return int(self._ends[text + 1] - self._ends[text])

    def sharing(self, sequences: np.ndarray, least: float) -> list[tuple[int, int, int]]:
        """Texts that share enough: number, how many they share, how many the text has.

        `least` is the share of the shorter one's sequences below which a text may be left out.
        """
        left = np.searchsorted(self._keys, sequences, side="left")
        right = np.searchsorted(self._keys, sequences, side="right")
        if not (right > left).any():
            return []
        common = right - left > MOST_PROPOSALS  # does not name all of its texts
        last = np.minimum(right, left + MOST_PROPOSALS)
        slices = [self._texts[left[i] : last[i]] for i in np.flatnonzero(right > left)]
        named = np.concatenate(slices)
        rare = np.repeat(~common, last - left)
        proposed, place = np.unique(named, return_inverse=True)
        counts = np.bincount(place[rare], minlength=len(proposed))  # exact, of what is not common
        sizes = (self._ends[1:] - self._ends[:-1])[proposed]
        enough = counts + int(common.sum()) >= least * np.minimum(sizes, len(sequences))
        return [
            (int(text), int(count) + self._shared(int(text), sequences[common]), int(size))
            for text, count, size in zip(
                proposed[enough], counts[enough], sizes[enough], strict=True
            )
        ]

    def _shared(self, text: int, sequences: np.ndarray) -> int:
        """Count how many of some sequences a text has."""
        if not len(sequences):
            return 0
        own = self._of_texts[self._ends[text] : self._ends[text + 1]]
        places = np.minimum(np.searchsorted(own, sequences), len(own) - 1)
        return int((own[places] == sequences).sum())


_NONE = np.empty(0, dtype=np.uint64)


def _word_numbers(text: str) -> np.ndarray:
    """Words as 64-bit hashes, uint64 [words].

    Python's own are fast; that they differ between processes shows nowhere.
    """
    hashes = np.array([hash(word) for word in words(text)], dtype=np.int64)
    return hashes.astype(np.uint64)


def _narrow(numbers: np.ndarray) -> np.ndarray:
    """Sequences of NARROW words of a text that may be near a short one; of another: none."""
    if not len(numbers) or len(set(numbers.tolist())) > _MOST_NARROW + NARROW - 1:
        return _NONE
    sequences = _sequences(numbers, NARROW)
    return sequences if len(sequences) <= _MOST_NARROW else _NONE


def _sequences(numbers: np.ndarray, width: int) -> np.ndarray:
    """Hashes of the different sequences of `width` words, sorted; of a shorter text: one of all."""
    width = min(width, len(numbers))
    count = len(numbers) - width + 1
    total = np.zeros(count, dtype=np.uint64)
    for i in range(width):
        total += numbers[i : i + count] * _FACTORS[i]  # modulo 2**64
    return np.unique(total)
