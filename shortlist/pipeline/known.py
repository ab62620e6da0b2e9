"""Embeddings that are there already, found by the text that they were made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shortlist.data.ids import HashedRows, fingerprint
from shortlist.models.encoders import Encoder
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.segments import Rows
from shortlist.records import Passage


class Stored(Protocol):
    """An index, or a writer with what it has not committed yet."""

    def passages(self, rows: Int64Array) -> list[Passage]:
        """The passages at some rows."""

    def vectors(self, rows: Int64Array) -> FloatArray:
        """Their embeddings."""

    def cut_tokens(self, rows: Int64Array) -> Int64Array:
        """Tokens of them that the model did not read."""


class KnownTexts:
    """The texts of what is stored, 16 bytes each."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self._places = HashedRows()

    def add(self, passages: Iterable[Passage], rows: Iterable[int]) -> None:
        """Remember passages and the rows at which they are stored."""
        for passage, row in zip(passages, rows, strict=True):
            self._places.add(fingerprint(passage.model_text), int(row))

    def find(self, texts: Sequence[str]) -> tuple[NDArray[np.intp], Int64Array]:
        """Which texts are there: their numbers in `texts`, and the row of each."""
        rows = np.array([self._places.get(fingerprint(text)) for text in texts], dtype=np.int64)
        found = np.flatnonzero(rows >= 0)
        there = self.stored.passages(rows[found])
        same = [
            passage.model_text == texts[int(number)]
            for number, passage in zip(found, there, strict=True)
        ]
        found = found[np.array(same, dtype=bool)]
        return found, rows[found]


def encode_once(
    passages: Sequence[Passage],
    encoder: Encoder,
    known: Sequence[KnownTexts] = (),
    on_passages: Callable[[int], object] | None = None,
) -> tuple[Rows, int]:
    """Embeddings of passages, encoding only texts that are not known, and each of them once.

    Args:
        passages: any number of them.
        encoder: makes the embeddings.
        known: where to look first.
        on_passages: told of so many passages more as they are done.

    Returns:
        The passages with their embeddings, and how many texts were encoded.
    """
    texts = [passage.model_text for passage in passages]
    numbers: dict[str, int] = {}  # of each different text
    which = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.intp)
    different = list(numbers)
    embeddings = np.empty((len(different), encoder.dim), dtype=np.float32)
    cut_tokens = np.zeros(len(different), dtype=np.int64)
    missing = np.arange(len(different))
    for store in known:
        found, rows = store.find([different[number] for number in missing])
        embeddings[missing[found]] = store.stored.vectors(rows)
        cut_tokens[missing[found]] = store.stored.cut_tokens(rows)
        missing = np.delete(missing, found)

    def on_cut(number: int, tokens: int) -> None:
        cut_tokens[missing[number]] = tokens

    if len(missing):
        to_encode = [different[number] for number in missing]
        embeddings[missing] = encoder.encode_passages(to_encode, on_passages, on_cut)
    if on_passages:
        on_passages(len(passages) - len(missing))
    return Rows(passages, embeddings[which], cut_tokens[which]), len(missing)
