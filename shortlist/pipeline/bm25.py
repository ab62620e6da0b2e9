"""Keyword search with BM25: the lexical baseline, and a first stage that needs no model.

Okapi BM25 (Robertson et al. 1994) in the variant of Lucene, by the library bm25s: a passage's score
is the sum, over the words of the query, of

    ln(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + k1 * (1 - b + b * length / mean length))

with k1 = 1.5 and b = 0.75; f is how often the word is in the passage, n in how many of N passages.
Words are lower-cased runs of two or more letters or digits, without 33 English stop words, stemmed
by Snowball for English. What is searched is `Passage.model_text`: title, a blank, text.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from shortlist.errors import DataError, MissingExtraError, UsageError
from shortlist.models.cross_encoder import Scorer
from shortlist.models.loading import model_size
from shortlist.models.presets import BM25_FUSION, OUR_CROSS_ENCODER, Fusion
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.pipeline import DEFAULT_TOP_K, check_search
from shortlist.pipeline.rerank import reranked
from shortlist.pipeline.schedule import DEFAULT_DEPTH, Effort
from shortlist.pipeline.timing import OnStage, timed
from shortlist.pipeline.writing import as_passages, progress_bar
from shortlist.records import Hit, Passage

K1 = 1.5
B = 0.75
SCORE_KIND = "bm25"


class BM25Pipeline:
    """BM25 over passages in memory, with or without a cross-encoder behind it.

    It answers as `RetrieveRerankPipeline` does. Only passages that share a word with the query are
    found, so an answer may be shorter than `top_k`, or empty. Use it from one thread.

    Args:
        passages: texts (their ids are "0", "1", ...) or `Passage` records; kept in memory.
        cross_encoder: the second stage; None for none.
        fusion: how the two stages make one score; by default the one fitted for our cross-encoder,
            and the logit alone for others.
        progress: a bar on stderr for reranking that takes longer than two seconds; None only on a
            terminal.

    Raises:
        DataError: no passages, or two with the same id.
        MissingExtraError: bm25s or PyStemmer is not installed.
    """

    def __init__(
        self,
        passages: Iterable[str | Passage],
        cross_encoder: Scorer | None = None,
        *,
        fusion: Fusion | None = None,
        progress: bool | None = False,
    ) -> None:
        if not is_installed():
            raise MissingExtraError("BM25 needs an extra: pip install 'shortlist[bm25]'")
        import bm25s  # noqa: F401 - it makes its logger talkative when it is first imported
        from Stemmer import Stemmer

        logging.getLogger("bm25s").setLevel(logging.WARNING)

        self.cross_encoder = cross_encoder
        self.fusion = fusion or _fusion_with(cross_encoder)
        self.passages = list(as_passages(passages))
        self._progress = progress
        self._stemmer = Stemmer("english")
        _check_ids(self.passages)
        self._index = self._indexed()

    @property
    def has_reranker(self) -> bool:
        """Whether there is a second stage."""
        return self.cross_encoder is not None

    def with_cross_encoder(self, cross_encoder: Scorer | None) -> BM25Pipeline:
        """The same index with another second stage, and without bars."""
        other = copy.copy(self)
        other.cross_encoder, other._progress = cross_encoder, False
        return other

    @property
    def footprint(self) -> dict[str, int | None]:
        """Bytes in memory of the index (without the passages), and on disk of the cross-encoder."""
        arrays = self._index.scores.values() if self._index else ()
        second = self.cross_encoder
        return {
            "index": sum(array.nbytes for array in arrays if isinstance(array, np.ndarray)),
            "bi_encoder": None,
            "cross_encoder": model_size(second.name if second else None),
        }

    def search(
        self,
        query: str,
        *,
        top_k: int = DEFAULT_TOP_K,
        depth: int = DEFAULT_DEPTH,
        rerank: bool | None = None,
    ) -> list[Hit]:
        """The `top_k` best passages for a query, best first; see `search_many`."""
        return self.search_many([query], top_k=top_k, depth=depth, rerank=rerank)[0]

    def search_many(
        self,
        queries: Sequence[str],
        *,
        top_k: int = DEFAULT_TOP_K,
        depth: int = DEFAULT_DEPTH,
        rerank: bool | None = None,
        on_stage: OnStage | None = None,
    ) -> list[list[Hit]]:
        """The best passages for each of several queries; of equal scores the earlier passage first.

        Args:
            queries: texts; none may be empty.
            top_k: hits for each query, fewer where fewer passages share a word with it.
            depth: candidates that the cross-encoder rescores.
            rerank: whether to use the second stage; by default where there is one.
            on_stage: told what took how long, in seconds: "retrieve", and "rerank" where that is
                done.

        Raises:
            UsageError: `top_k` or `depth` below 1, an empty query, or `rerank` without a
                cross-encoder.
        """
        check_search(queries, top_k, Effort(depth))
        second = self.cross_encoder if rerank is not False else None
        if rerank and second is None:
            raise UsageError(
                "this pipeline has no cross-encoder; search with rerank=False, or make it with one"
            )
        wanted = max(top_k, depth) if second else top_k
        with timed("retrieve", on_stage):
            found = [self._candidates(query, wanted) for query in queries]
        if second is None:
            return [candidates.hits(SCORE_KIND) for candidates in found]
        with timed("rerank", on_stage):
            answers = self._reranked(second, found, depth)
        return [hits[:top_k] for hits in answers]

    def _reranked(self, second: Scorer, found: Sequence[Candidates], depth: int) -> list[list[Hit]]:
        pairs = sum(min(depth, len(candidates.passages)) for candidates in found)
        with progress_bar("reranking", pairs, "pairs", self._progress) as bar:
            return reranked(
                second, self.fusion, found, depth=depth, metric=SCORE_KIND, on_batch=bar.update
            )

    def _indexed(self) -> Any:
        """The index of bm25s; None where no passage has a word."""
        import bm25s

        texts = [passage.model_text for passage in self.passages]
        tokens = self._tokenized(texts, return_ids=True)
        if not tokens.vocab:
            return None
        index = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
        index.index(tokens, show_progress=False)
        return index

    def _tokenized(self, texts: list[str], *, return_ids: bool) -> Any:
        import bm25s

        return bm25s.tokenize(
            texts,
            stopwords="en",
            stemmer=self._stemmer,
            return_ids=return_ids,
            show_progress=False,
        )

    def _candidates(self, query: str, wanted: int) -> Candidates:
        scores = self._scores(query)
        rows = np.flatnonzero(scores > 0)
        if len(rows) > wanted:
            least = np.partition(scores[rows], -wanted)[-wanted]
            rows = rows[scores[rows] >= least]
        rows = rows[np.argsort(-scores[rows], kind="stable")][:wanted]
        return Candidates(query, [self.passages[row] for row in rows], scores[rows])

    def _scores(self, query: str) -> FloatArray:
        """The score of every passage, float32 `[len(passages)]`."""
        (words,) = self._tokenized([query], return_ids=False)
        known = self._index.get_tokens_ids(words) if self._index else []
        if not known:
            return np.zeros(len(self.passages), dtype=np.float32)
        scores: FloatArray = self._index.get_scores_from_ids(known)
        return scores


def is_installed() -> bool:
    """Whether the extra that BM25 needs is there."""
    return bool(find_spec("bm25s") and find_spec("Stemmer"))


def _fusion_with(cross_encoder: Scorer | None) -> Fusion:
    ours = cross_encoder is not None and cross_encoder.name == OUR_CROSS_ENCODER
    return BM25_FUSION if ours else Fusion()


def _check_ids(passages: Sequence[Passage]) -> None:
    if not passages:
        raise DataError("there are no passages to search")
    places: dict[str, int] = {}
    for number, passage in enumerate(passages):
        first = places.setdefault(passage.id, number)
        if first != number:
            raise DataError(
                f"the id {passage.id!r} of passage number {number} is that of passage number "
                f"{first}; ids must be unique"
            )
