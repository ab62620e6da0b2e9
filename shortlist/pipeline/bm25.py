"""Keyword search with BM25 over passages in memory: the lexical baseline, which needs no index.

What is searched is `Passage.model_text`: title, a blank, text. How, is said in
`shortlist.pipeline.engines.bm25`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

from shortlist.errors import DataError, UsageError
from shortlist.models.cross_encoder import Scorer
from shortlist.models.loading import model_size
from shortlist.models.presets import Fusion, fusion_with_bm25
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.engines.bm25 import BM25, BM25Search, is_installed, require_bm25
from shortlist.pipeline.pipeline import DEFAULT_TOP_K, check_search
from shortlist.pipeline.rerank import reranked
from shortlist.pipeline.schedule import DEFAULT_DEPTH, Effort
from shortlist.pipeline.timing import OnStage, timed
from shortlist.pipeline.writing import as_passages, progress_bar
from shortlist.records import Hit, Passage

__all__ = ["BM25Pipeline", "is_installed"]


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
        require_bm25()
        self.cross_encoder = cross_encoder
        self.fusion = fusion or fusion_with_bm25(cross_encoder.name if cross_encoder else None)
        self.passages = list(as_passages(passages))
        self._progress = progress
        _check_ids(self.passages)
        self._index = BM25Search.build(passage.model_text for passage in self.passages)

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
        second = self.cross_encoder
        return {
            "index": self._index.bytes,
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
            return [candidates.hits(BM25) for candidates in found]
        with timed("rerank", on_stage):
            answers = self._reranked(second, found, depth)
        return [hits[:top_k] for hits in answers]

    def _reranked(self, second: Scorer, found: Sequence[Candidates], depth: int) -> list[list[Hit]]:
        pairs = sum(min(depth, len(candidates.passages)) for candidates in found)
        with progress_bar("reranking", pairs, "pairs", self._progress) as bar:
            return reranked(
                second, self.fusion, found, depth=depth, metric=BM25, on_batch=bar.update
            )

    def _candidates(self, query: str, wanted: int) -> Candidates:
        scores, rows = self._index.search([query], wanted)
        found = rows[0] >= 0
        return Candidates(query, [self.passages[row] for row in rows[0][found]], scores[0][found])


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
