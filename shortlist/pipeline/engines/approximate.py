"""Search with an engine: it names candidates, and everything else is the same for every engine.

The order is that of the true scores, as in the exact search, and so are the scores, up to the
rounding of float32 where an engine says its own. Deleted passages and
filters are seen to here: as many more are fetched as may not be found. (FAISS can look at a filter
itself. Where nothing near a query met it, it found one in twenty of the nearest rows that did.)
Rows that the engine does not have yet are searched exactly; and where it found fewer than there
are, it is asked for more and then the exact search is. What may be missing is a passage that was
not noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from shortlist.errors import UsageError
from shortlist.pipeline.arrays import BoolArray, FloatArray, Int64Array, check_embeddings
from shortlist.pipeline.engines.labels import Labels, uncovered
from shortlist.pipeline.engines.protocol import Effort, Engine, Kind
from shortlist.pipeline.engines.rescoring import best_of
from shortlist.pipeline.engines.space import Space
from shortlist.pipeline.exact.ranking import Ranking, products_of
from shortlist.pipeline.exact.rows import Rows
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.index import Index

# Below so many rows that may be found, or such a share of them, looking at each is faster
FEW_ROWS = 1_000
FEW_SHARE = 0.05
GATHERED = 65_536  # rows that are copied to be searched exactly: 100 MB of 384 dimensions
_MARGIN = 1.3  # more are fetched than the share of rows that may be found asks for


@dataclass(frozen=True)
class Measured:
    """What an effort reaches, measured with sample queries against the exact search.

    Attributes:
        top_k: neighbours that were asked for.
        target: the recall that was wanted.
        recall: the mean share of the true `top_k` that was found.
        error: standard error of that mean.
        effort: what it took.
        queries: how many were asked.
        ms: milliseconds for each query, asked together.
        exact_ms: of the exact search, in the same run.
    """

    top_k: int
    target: float
    recall: float
    error: float
    effort: Effort
    queries: int
    ms: float
    exact_ms: float

    @property
    def is_met(self) -> bool:
        """Whether the recall that was wanted was reached."""
        return self.recall >= self.target


class ApproximateSearch:
    """A state of an index, searched with an engine. Safe from several threads.

    Args:
        index: the state.
        engine: made from this state or one before.
        kind: of the engine.
        labels: what its labels stand for.
        space: of its vectors.
        measured: efforts for several numbers of neighbours.
    """

    def __init__(
        self,
        index: Index,
        engine: Engine,
        kind: Kind,
        labels: Labels,
        space: Space,
        measured: Sequence[Measured] = (),
    ) -> None:
        self.index = index
        self.engine = engine
        self.measured = tuple(sorted(measured, key=lambda found: found.top_k))
        self.labels = labels
        self.space = space
        self.kind = kind
        self._row_of = rows = labels.rows_in(index)
        self._all_rows = Rows(index.embeddings, zeros=True)
        self._new = uncovered(rows, index)
        self.gone_labels = int((rows < 0).sum())  # of rows that are deleted
        self._is_identity = bool((rows == np.arange(len(rows))).all())
        self._longest = 1.0 if space.largest is None else space.largest**0.5
        self._lock = Lock()
        self._exact: ExactSearch | None = None
        self._new_search: ExactSearch | None = None

    def with_efforts(self, measured: Sequence[Measured]) -> ApproximateSearch:
        """The same with other efforts."""
        other = ApproximateSearch.__new__(ApproximateSearch)
        other.__dict__.update(self.__dict__)
        other.measured = tuple(sorted(measured, key=lambda found: found.top_k))
        return other

    def over(self, index: Index) -> ApproximateSearch:
        """The same engine for another state of the index."""
        return ApproximateSearch(
            index, self.engine, self.kind, self.labels, self.space, self.measured
        )

    @property
    def new_rows(self) -> int:
        """Rows that the engine does not have."""
        return len(self._new)

    def for_depth(self, top_k: int) -> Measured | None:
        """What was measured for so many neighbours, or for the next number above or below."""
        fit = [found for found in self.measured if found.top_k >= top_k]
        return fit[0] if fit else self.measured[-1] if self.measured else None

    def effort(self, top_k: int) -> Effort:
        """The effort for so many neighbours."""
        found = self.for_depth(top_k)
        if found is None:
            return self.engine.efforts(top_k)[0]
        if found.top_k >= top_k:
            return found.effort
        return self.engine.more(found.effort, top_k / found.top_k)

    @property
    def exact(self) -> ExactSearch:
        """The exact search over the same rows."""
        with self._lock:
            if self._exact is None:
                self._exact = ExactSearch(self._all_rows)
            return self._exact

    def search(
        self, queries: FloatArray, top_k: int, *, mask: BoolArray | None = None
    ) -> tuple[FloatArray, Int64Array]:
        """As `ExactSearch.search`, but for what the engine does not notice.

        Args:
            queries: float32 `[q, dim]`.
            top_k: how many rows to return.
            mask: bool `[stored rows]`, the rows that may be returned, deleted ones not among them;
                by default all that are not deleted.

        Returns:
            Scores float32 `[q, top_k]`, falling, and row numbers int64 `[q, top_k]`; equal scores
            by row number. Where there are fewer rows: -inf and -1.
        """
        if top_k < 1:
            raise UsageError(f"top_k must be at least 1 (got {top_k})")
        queries = check_embeddings(queries, "queries")
        mask = self.index.live if mask is None else mask
        here, new = self._reachable(mask)
        if here <= max(FEW_ROWS, 2 * top_k) or here < FEW_SHARE * len(self.engine):
            return self._exactly(queries, top_k, mask)
        scores = np.full((len(queries), top_k), -np.inf, np.float32)
        found = np.full((len(queries), top_k), -1, np.int64)
        wanted = min(top_k, here)
        asked = np.arange(len(queries))
        fetched = self._to_fetch(wanted, here)
        while len(asked):
            rows, products = self._fetched(queries[asked], fetched, mask)
            enough = (rows >= 0).sum(axis=1) >= wanted
            full = asked[enough]
            ranking = best_of(
                queries[full],
                self._all_rows,
                rows[enough],
                None if products is None else products[enough],
                top_k,
                self._longest,
                self.kind.multiply,
            )
            if new:
                self._merge_new(ranking, queries[full], top_k, mask)
            scores[full], found[full] = ranking.scores, ranking.numbers
            asked = asked[~enough]
            if 2 * fetched > FEW_SHARE * len(self.engine):
                break
            fetched *= 2
        if len(asked):
            scores[asked], found[asked] = self._exactly(queries[asked], top_k, mask)
        return scores, found

    def true_scores(self, queries: FloatArray, rows: Int64Array) -> FloatArray:
        """Of rows `[q, k]`, float32 `[q, k]`: the float64 sums, rounded."""
        wide = queries.astype(np.float64)
        products = products_of(wide, self._all_rows, np.maximum(rows, 0))
        return products.astype(np.float32)

    def _reachable(self, mask: BoolArray | None) -> tuple[int, int]:
        """How many rows may be found that the engine has, and that it does not have."""
        if mask is None:
            return len(self.engine) - self.gone_labels, len(self._new)
        new = int(mask[self._new].sum())
        return int(mask.sum()) - new, new

    def _to_fetch(self, wanted: int, here: int) -> int:
        """How many rows to ask for, so that as many as are wanted may be found."""
        labels_for_one = len(self.engine) / here
        if labels_for_one <= 1:
            return wanted
        return min(len(self.engine), int(wanted * labels_for_one * _MARGIN) + 1)

    def _fetched(
        self, queries: FloatArray, count: int, mask: BoolArray | None
    ) -> tuple[Int64Array, FloatArray | None]:
        """Rows `[q, count or more]` that the engine finds, and their products if it says them.

        Rows that may not be found are -1.
        """
        vectors = self.space.of_queries(queries)
        labels, products = self.engine.nearest(vectors, count, self.effort(count))
        valid = (labels >= 0) & (labels < len(self._row_of))
        rows = labels if self._is_identity else self._row_of[np.where(valid, labels, 0)]
        if mask is not None:
            valid &= mask[np.where(valid, rows, 0)]
        if self.space.largest is not None or len(self._new):
            products = None  # of other vectors; or not to be ordered with those of new rows
        return np.where(valid, rows, -1), products

    def _merge_new(
        self, ranking: Ranking, queries: FloatArray, top_k: int, mask: BoolArray | None
    ) -> None:
        """Take account of the rows that the engine does not have."""
        with self._lock:
            if self._new_search is None:
                self._new_search = ExactSearch(self.index.vectors(self._new), zeros=True)
        own = None if mask is None else mask[self._new]
        scores, places = self._new_search.search(queries, min(top_k, len(self._new)), mask=own)
        ranking.merge_table(np.where(places >= 0, self._new[places], -1), scores)

    def _exactly(
        self, queries: FloatArray, top_k: int, mask: BoolArray | None
    ) -> tuple[FloatArray, Int64Array]:
        rows = np.arange(len(self._all_rows)) if mask is None else np.flatnonzero(mask)
        if not len(rows):
            empty = (len(queries), top_k)
            return np.full(empty, -np.inf, np.float32), np.full(empty, -1, np.int64)
        if mask is None or len(rows) > GATHERED:
            return self.exact.search(queries, top_k, mask=mask)
        few = ExactSearch(self.index.vectors(rows), zeros=True)
        scores, places = few.search(queries, top_k)
        return scores, np.where(places >= 0, rows[places], -1)

    def close(self) -> None:
        """Let go of the engine."""
        self.engine.close()
