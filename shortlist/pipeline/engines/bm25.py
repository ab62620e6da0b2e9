"""BM25 over the passages of an index: the words of a question instead of its meaning.

Okapi BM25 (Robertson et al. 1994) in the variant of Lucene, by the library bm25s: a passage's score
is the sum, over the words of the query, of

    ln(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + k1 * (1 - b + b * length / mean length))

with k1 = 1.5 and b = 0.75; f is how often the word is in the passage, n in how many of N passages.
Words are lower-cased runs of two or more letters or digits, without 33 English stop words, stemmed
by Snowball for English.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DamagedIndexError, MissingExtraError
from shortlist.pipeline.arrays import BoolArray, FloatArray, Int64Array

BM25 = "bm25"  # the name of the engine, and of its scores
K1 = 1.5
B = 0.75
_TEXTS_AT_ONCE = 50_000
_ARRAYS = ("data", "indices", "indptr")
_WORDS = "words.json"


class BM25Search:
    """BM25 over texts, which are not kept. Make one with `build` or `open`.

    Attributes:
        bytes: what its arrays take in memory, or on disk where they are mapped.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]], words: dict[str, int], count: int) -> None:
        self._arrays = arrays
        self._words = words
        self._count = count
        self._stemmer = _stemmer()
        self.bytes = sum(array.nbytes for array in arrays.values())

    @classmethod
    def build(cls, texts: Iterable[str]) -> BM25Search:
        """Index texts, read as a stream.

        Raises:
            MissingExtraError: bm25s or PyStemmer is not installed.
        """
        require_bm25()
        import bm25s

        stemmer, stream = _stemmer(), iter(texts)
        words: dict[str, int] = {}
        tokens: list[Any] = []
        while part := list(islice(stream, _TEXTS_AT_ONCE)):
            tokenized = _tokenized(part, stemmer, return_ids=True)
            # numbers that are the same in every part
            own = sorted(tokenized.vocab, key=tokenized.vocab.__getitem__)
            known = np.array([words.setdefault(word, len(words)) for word in own], dtype=np.int32)
            tokens += [known[np.asarray(ids, dtype=np.int64)] for ids in tokenized.ids]
        if not words:
            return cls({}, {}, len(tokens))
        index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
        index.index(bm25s.tokenization.Tokenized(ids=tokens, vocab=words), show_progress=False)
        arrays = {name: np.asarray(index.scores[name]) for name in _ARRAYS}
        lists = len(arrays["indptr"]) - 1  # the tokenizer names a word "" that no text has
        return cls(arrays, {w: n for w, n in words.items() if n < lists}, len(tokens))

    def save(self, folder: Path) -> None:
        """Write it into an empty folder."""
        for name, array in self._arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        content = {"count": self._count, "words": self._words}
        (folder / _WORDS).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> BM25Search:
        """Read what `save` wrote; the arrays are mapped.

        Raises:
            DamagedIndexError: it is something else.
            MissingExtraError: bm25s or PyStemmer is not installed.
        """
        require_bm25()
        try:
            content = json.loads((folder / _WORDS).read_text(encoding="utf-8"))
            words, count = content["words"], content["count"]
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in (_ARRAYS if words else ())
            }
            if words:
                _check_shapes(arrays, len(words), count)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedIndexError(f"{folder} is no index of words: {error}") from error
        return cls(arrays, words, count)

    def __len__(self) -> int:
        return self._count

    def search(
        self, queries: Sequence[str], top_k: int, mask: BoolArray | None = None
    ) -> tuple[FloatArray, Int64Array]:
        """The rows with the highest scores, of those that share a word with the query.

        Args:
            queries: texts.
            top_k: how many rows to return.
            mask: bool `[n]`, the rows that may be returned; all of them by default.

        Returns:
            Scores float32 `[q, top_k]`, falling, and rows int64 `[q, top_k]`; equal scores by row
            number. Where there are no more: -inf and -1.
        """
        scores = np.full((len(queries), top_k), -np.inf, np.float32)
        rows = np.full((len(queries), top_k), -1, np.int64)
        for number, query in enumerate(queries):
            found = self.scores(query)
            if mask is not None:
                found[~mask] = 0
            best = _best(found, top_k)
            scores[number, : len(best)] = found[best]
            rows[number, : len(best)] = best
        return scores, rows

    def scores(self, query: str) -> FloatArray:
        """The score of every row, float32 `[n]`; 0 where it has no word of the query."""
        (words,) = _tokenized([query], self._stemmer, return_ids=False)
        total = np.zeros(self._count, np.float32)
        for word in words:  # a word that comes twice counts twice
            if (number := self._words.get(word)) is not None:
                start, stop = self._arrays["indptr"][number : number + 2]
                total[self._arrays["indices"][start:stop]] += self._arrays["data"][start:stop]
        return total


def is_installed() -> bool:
    """Whether the extra that BM25 needs is there."""
    return bool(find_spec("bm25s") and find_spec("Stemmer"))


def require_bm25() -> None:
    """Raise MissingExtraError where the extra that BM25 needs is not there."""
    if not is_installed():
        raise MissingExtraError("BM25 needs an extra: pip install 'shortlist[bm25]'")


def _check_shapes(arrays: dict[str, NDArray[Any]], words: int, count: int) -> None:
    lists, rows = arrays["indptr"], arrays["indices"]
    if len(lists) < words + 1 or lists[-1] != len(rows) or len(rows) != len(arrays["data"]):
        raise ValueError(f"{len(lists) - 1} lists for {words} words")
    if len(rows) and not 0 <= rows.min() <= rows.max() < count:
        raise ValueError(f"rows beyond {count}")


def _best(scores: FloatArray, top_k: int) -> Int64Array:
    rows = np.flatnonzero(scores > 0)
    if len(rows) > top_k:
        least = np.partition(scores[rows], -top_k)[-top_k]
        rows = rows[scores[rows] >= least]
    best: Int64Array = rows[np.argsort(-scores[rows], kind="stable")][:top_k]
    return best


def _stemmer() -> Any:
    import bm25s  # noqa: F401 - it makes its logger talkative when it is first imported
    from Stemmer import Stemmer

    logging.getLogger("bm25s").setLevel(logging.WARNING)
    return Stemmer("english")


def _tokenized(texts: list[str], stemmer: Any, *, return_ids: bool) -> Any:
    import bm25s

    return bm25s.tokenize(
        texts, stopwords="en", stemmer=stemmer, return_ids=return_ids, show_progress=False
    )
