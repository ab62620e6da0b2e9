"""Exact search: a first pass over all rows, then the true scores of the few that it leaves.

The first pass multiplies the rows as they are, or in int8: a quarter of the memory to read and four
times the products a second, with a bound that is wider and still leaves but some dozen rows.
Rounding a collection to int8 takes as long as some hundred queries in float32, so it is done once
that many were asked; where the bound leaves too many rows, float32 is gone back to.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DataError, UsageError
from shortlist.models.bi_encoder import choose_device
from shortlist.models.onnx import cores
from shortlist.pipeline.arrays import (
    BoolArray,
    FloatArray,
    Int64Array,
    check_embeddings,
    check_not_zero,
)
from shortlist.pipeline.exact.bounds import check_scores
from shortlist.pipeline.exact.collection import Collection, Looked
from shortlist.pipeline.exact.queries import Queries
from shortlist.pipeline.exact.ranking import Ranking, near_best, scores_of, true_scores
from shortlist.pipeline.exact.rows import Rows
from shortlist.pipeline.exact.survivors import Products, Survivors
from shortlist.pipeline.exact.workers import buffer, in_threads, parts

T = TypeVar("T")

QUERY_BLOCK = 256
SHORTEST_BLOCK = 32
LONGEST_BLOCK = 65_535  # whose numbers fit 16 bits: see `survivors`
# Places of results in one block of queries. In int8 a high floor is had sooner for few queries; in
# float32 each block reads all rows.
LARGEST_RESULT = 4_194_304
LARGEST_RESULT_INTEGER = 65_536
FEW_QUERIES = 16  # that may be answered in milliseconds
PRODUCTS = 2_097_152  # that one thread has together of several chunks: 8 MB
# Rounding a collection to int8 costs about as much as so many queries that come together. A query
# alone, which waits for memory, costs as much as some; float16, which numpy widens slowly, more.
WORTH_ROUNDING = 256
QUERY_ALONE = 24
HALF_COST = 4
LEAST_VALUES = 1_048_576  # of a collection that int8 is worth it for
LEAST_DIM = 32
COPIED_SHARE = 0.3  # of the rows: where fewer may be found, they are copied
COPIED_SHARE_INTEGER = 0.1
LOOSE_SHARE = 0.01  # of the rows: where int8 leaves more, float32 is faster
LOOSE_RESULTS = 8  # times top_k that may be left anyway
MOST_LEFT = 4_194_304  # rows left of a block of queries: 80 MB


class ExactSearch:
    """A collection that is searched again and again. Searching is safe from several threads.

    Args:
        corpus: float32 or float16 `[n, dim]`, or several such arrays (memory-mapped ones too) that
            are searched as if they stood one below the other. They must not change. Or `Rows`.
        device: `cpu`, or a device of torch such as `cuda` where the products are computed; `auto`
            for a GPU where there is one.
        memory_budget: bytes for what is kept of the rows: the int8 copy on the CPU, n · dim, or the
            float16 copy on a device, 2 · n · dim. What does not fit is searched all the same, more
            slowly. By default half of what is available, or 60 % of what is free on the device.
        like: a search over an earlier state of the collection, whose copy is used where the arrays
            at the beginning are the same objects.
        zeros: whether rows of zeros may be among the rows and the queries.
        integers: whether to have an int8 copy; by default as it pays.
        chunk_rows: rows in one product; by default as many as are best. It changes the speed,
            never the answer, and neither does the next.
        query_block: queries in one product.

    Raises:
        UsageError: no such device, or a number below 1.
        DataError: arrays that are no embeddings of one dimension.
    """

    def __init__(
        self,
        corpus: NDArray[Any] | Sequence[NDArray[Any]] | Rows,
        *,
        device: str = "cpu",
        memory_budget: int | None = None,
        like: ExactSearch | None = None,
        zeros: bool = False,
        integers: bool | None = None,
        chunk_rows: int | None = None,
        query_block: int = QUERY_BLOCK,
    ) -> None:
        if query_block < 1 or (chunk_rows is not None and chunk_rows < 1):
            raise UsageError(
                f"chunk_rows and query_block must be at least 1 (got {chunk_rows}, {query_block})"
            )
        if isinstance(corpus, Rows):
            self.rows = corpus
        else:
            segments = [corpus] if isinstance(corpus, np.ndarray) else list(corpus)
            self.rows = Rows(segments, zeros=zeros)
        before = like._collection if like else None
        self._collection: Collection = Collection(self.rows, memory_budget, before, chunk_rows)
        self._integers = integers
        self._query_block = min(query_block, LONGEST_BLOCK)
        self._spent: int = like._spent if like else 0
        self._loose: int = like._loose if like else 0
        self._on_device = None
        where = choose_device(device)
        if where not in ("cpu", "torch-cpu"):
            from shortlist.pipeline.exact.on_device import DeviceSearch, HostRows

            self._on_device = DeviceSearch(HostRows(self.rows), where, memory_budget=memory_budget)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_rounded(self) -> bool:
        """Whether there is an int8 copy, of all or of what fits."""
        return self._collection.has_rounded

    def search(
        self, queries: FloatArray, top_k: int, *, mask: BoolArray | None = None
    ) -> tuple[FloatArray, Int64Array]:
        """The `top_k` rows with the largest dot product, for every query.

        Args:
            queries: float32 `[q, dim]`.
            top_k: how many rows to return, at least 1.
            mask: bool `[n]`, the rows that may be returned; all of them by default.

        Returns:
            Scores float32 `[q, top_k]`, falling, and row numbers int64 `[q, top_k]`; equal scores
            by row number. Where there are fewer rows: -inf and -1.

        Raises:
            UsageError: `top_k` below 1.
            DataError: dimensions differ, the mask has another length, a value is NaN or infinite
                (the row is named), a row is all zeros, or scores would be too large for float32.
        """
        if top_k < 1:
            raise UsageError(f"top_k must be at least 1 (got {top_k})")
        queries = self._checked(queries)
        mask, allowed = _checked_mask(mask, len(self.rows))
        if self._on_device is not None:
            return self._on_device.search(queries, top_k, mask, allowed)
        scores = np.full((len(queries), top_k), -np.inf, np.float32)
        numbers = np.full((len(queries), top_k), -1, np.int64)
        wanted = min(top_k, allowed)
        if wanted and len(queries):
            call = _Call(self, mask, allowed, len(queries))

            def answer(block: slice) -> None:
                best = call.best(queries[block], wanted)
                scores[block, :wanted], numbers[block, :wanted] = best.scores, best.numbers

            blocks = _blocks(len(queries), wanted, self._query_block, call.in_integers)
            call.each(answer, blocks)
        return scores, numbers

    def reaching(
        self, queries: FloatArray, floor: float, after: Int64Array, mask: BoolArray | None = None
    ) -> Iterator[tuple[Int64Array, Int64Array, FloatArray]]:
        """Every row whose score reaches a floor, for a block of queries, a part at a time.

        Args:
            queries: float32 `[q, dim]`.
            floor: what a score must be at least.
            after: int64 `[q]`; only rows with larger numbers are looked for.
            mask: as in `search`.

        Yields:
            Numbers of the query and of the row, and the score, of `[m]` each.
        """
        queries = self._checked(queries)
        mask, allowed = _checked_mask(mask, len(self.rows))
        if allowed and len(queries):
            yield from _Call(self, mask, allowed, len(queries)).reaching(queries, floor, after)

    def _checked(self, queries: FloatArray) -> FloatArray:
        queries = check_embeddings(queries, "queries")
        if self.rows.dim not in (None, queries.shape[1]):
            raise DataError(
                f"queries have {queries.shape[1]} dimensions, the corpus has {self.rows.dim}; "
                "expected embeddings of one model"
            )
        if not self.rows.zeros:
            check_not_zero(queries, "queries")
        return queries

    def _pays_rounding(self, queries: int) -> bool:
        """Whether to have an int8 copy, now that so many more queries come."""
        if self._integers is not None:
            return self._integers
        dim = self.rows.dim or 0
        if dim < LEAST_DIM or dim * len(self.rows) < LEAST_VALUES or self._loose > 1:
            return False
        half = any(segment.dtype == np.float16 for segment in self.rows.segments)
        self._spent += max(queries, QUERY_ALONE) * (HALF_COST if half else 1)
        return self._spent >= WORTH_ROUNDING

    def _was_loose(self, loose: bool) -> None:
        """A call left too much in int8, or did not; twice in a row is once too often."""
        self._loose = self._loose + 1 if loose else 0
        if self._loose > 1 and self._integers is None:
            self._collection.forget_rounded()


class _Call:
    """One call of a search: which rows are looked at, and how."""

    def __init__(
        self, search: ExactSearch, mask: BoolArray | None, allowed: int, queries: int
    ) -> None:
        self._search = search
        self._collection = search._collection
        self._mask = mask
        self._allowed = allowed
        share = allowed / len(search)
        pays = share >= COPIED_SHARE_INTEGER and search._pays_rounding(queries)
        if pays:
            self._collection.round()
        self._copies = share < COPIED_SHARE and not pays
        self._share = 1.0 if self._copies else share
        self._rounded = self._collection.rounded(mask) if pays else {}

    @property
    def in_integers(self) -> bool:
        """Whether there is an int8 copy to look at."""
        return bool(self._rounded)

    def each(self, answer: Callable[[slice], None], blocks: Sequence[slice]) -> None:
        """Answer every block: several at once where each core has one, or one on all cores."""
        began_in_integers = self.in_integers
        if began_in_integers and len(blocks) >= cores():
            in_threads(answer, blocks)
        else:
            for block in blocks:  # BLAS has threads of its own
                answer(block)
        if began_in_integers:
            self._search._was_loose(not self.in_integers)

    def best(self, queries: FloatArray, top_k: int) -> Ranking:
        """The best `top_k` rows for a block of queries."""
        block = Queries(queries)
        ranking = Ranking(len(queries), top_k)
        left = Survivors(len(queries), top_k, self._share)
        looked_at = self._rounded  # another thread may find it loose meanwhile
        if looked_at and not self._look_at_rounded(list(looked_at.values()), block, left):
            self._rounded = looked_at = {}
            left = Survivors(len(queries), top_k, self._share, left.floor)
        for group in _grouped(self._others(looked_at), self._together(len(queries))):
            _look_at(group, block, left)
            if left.count > MOST_LEFT:
                self._settle(block, left, ranking)
        self._settle(block, left, ranking)
        return ranking

    def reaching(
        self, queries: FloatArray, floor: float, after: Int64Array
    ) -> Iterator[tuple[Int64Array, Int64Array, FloatArray]]:
        """See `ExactSearch.reaching`."""
        block = Queries(queries)
        if self._rounded:
            _ = block.integers, block.norms, block.wide  # here and not in every thread
        count, least = len(queries), int(after.min())
        floors = np.full(count, floor, np.float32)
        found: list[tuple[Int64Array, Int64Array, FloatArray]] = []

        def look(group: Sequence[Looked]) -> None:
            left = Survivors(count, 0, self._share, floors)
            _look_at(group, block, left)
            of, numbers, _ = left.taken()
            later = numbers > after[of]
            of, numbers = of[later], numbers[later]
            scores = true_scores(block.wide, self._search.rows, of, numbers)
            reach = scores >= floors[0]
            found.append((of[reach], numbers[reach], scores[reach]))

        rounded = [looked for looked in self._rounded.values() if looked[0].last_number > least]
        together = self._together(count)
        groups = list(_grouped(rounded, together))
        for start in range(0, len(groups), cores()):
            in_threads(look, groups[start : start + cores()])
            yield from _emptied(found)
        for group in _grouped(self._others(self._rounded), together):
            if group[-1][0].last_number > least:
                look(group)
                yield from _emptied(found)

    def _look_at_rounded(
        self, rounded: Sequence[Looked], queries: Queries, left: Survivors
    ) -> bool:
        """Look at the int8 copy; False where it leaves too much, and then not at all of it."""
        count = len(queries.values)
        share = min(int(LOOSE_SHARE * self._allowed * count), MOST_LEFT)
        most = LOOSE_RESULTS * left.top_k * count + share
        _ = queries.integers, queries.norms  # computed here and not in every thread

        def look(group: Sequence[Looked]) -> None:
            if left.count <= most:
                _look_at(group, queries, left)

        widest = max(chunk.width for chunk, _ in rounded)
        whole = sum(chunk.width == widest for chunk, _ in rounded)
        share_of_core = -(-whole // cores())
        together = max(1, min(self._together(count), share_of_core))
        in_threads(look, _grouped(rounded, together), is_brief=count <= FEW_QUERIES)
        return left.count <= most

    def _others(self, looked_at: Container[int]) -> Iterable[Looked]:
        """What is looked at in float32."""
        if self._copies and self._mask is not None:
            return self._collection.copied(np.flatnonzero(self._mask))
        return self._collection.as_it_is(self._mask, looked_at)

    def _together(self, queries: int) -> int:
        """How many chunks are multiplied before their products are looked at."""
        return max(1, PRODUCTS // (queries * self._collection.chunk_rows))

    def _settle(self, queries: Queries, left: Survivors, ranking: Ranking) -> None:
        """Merge the true scores of what is left into the ranking, and raise the floor by them.

        The best come first: their true scores are a better floor than any bound, which few of the
        others still reach.
        """
        of, numbers, upper = left.taken()
        first = upper >= near_best(of, upper, len(queries.values), left.top_k)[of]
        for these in (first, ~first):
            reach = np.flatnonzero(these & (upper >= left.floor[of]))
            some, rows = of[reach], numbers[reach]
            ranking.merge(some, rows, scores_of(queries.wide, self._search.rows, some, rows))
            np.maximum(left.floor, ranking.kth_best, out=left.floor)


def _look_at(group: Sequence[Looked], queries: Queries, left: Survivors) -> None:
    """Multiply chunks of one kind and shape, and keep the rows that can be among the best."""
    count, width, kind = len(queries.values), group[0][0].width, group[0][0].kind
    space = buffer("products", len(group) * count * width, kind.dtype)
    values = space.reshape(len(group), count, width)
    for (chunk, cap), out in zip(group, values, strict=True):
        chunk.write_products(queries, cap, out)
        check_scores(chunk.largest_size, float(queries.norms.max()))
    left.look_at(Products([chunk for chunk, _ in group], values, queries))


def _emptied(found: list[T]) -> Iterator[T]:
    while found:
        yield found.pop()


def _grouped(chunks: Iterable[Looked], together: int) -> Iterator[list[Looked]]:
    """So many chunks together, all of one shape."""
    group: list[Looked] = []
    for looked in chunks:
        if group and (len(group) == together or group[0][0].shape != looked[0].shape):
            yield group
            group = []
        group.append(looked)
    if group:
        yield group


def _blocks(queries: int, top_k: int, longest: int, in_integers: bool) -> list[slice]:
    """Blocks of about equal length; in integers one for each core at least if there are enough."""
    largest = LARGEST_RESULT_INTEGER if in_integers else LARGEST_RESULT
    longest = max(1, min(longest, largest // top_k))
    count = -(-queries // longest)
    if in_integers and queries >= SHORTEST_BLOCK * cores():
        count = -(-count // cores()) * cores()
    return parts(queries, count)


def _checked_mask(mask: BoolArray | None, rows: int) -> tuple[BoolArray | None, int]:
    """The mask where it hides anything, and how many rows may be found."""
    if mask is None:
        return None, rows
    if not isinstance(mask, np.ndarray):
        raise DataError(f"the mask is a {type(mask).__name__}, expected an array of bool ({rows},)")
    if mask.shape != (rows,) or mask.dtype != np.bool_:
        raise DataError(f"the mask is {mask.dtype} {mask.shape}, expected bool ({rows},)")
    allowed = int(np.count_nonzero(mask))
    return (None, rows) if allowed == rows else (mask, allowed)
