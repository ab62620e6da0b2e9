"""Which rows can still be among the best k, told from approximate products and their bounds.

Whatever k different rows reach at least, the k-th best score reaches too: the *floor*. A row can be
among the best only if its product plus its bound reaches the floor. At first the floor comes from
the maxima of blocks, which different rows reach; then from the rows that were found. The blocks are
strided (row r is in block r modulo their number): the maximum then runs along memory, and
neighbours, which are often alike, do not hide behind each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shortlist.pipeline.arrays import BoolArray, FloatArray, Int64Array
from shortlist.pipeline.exact.first_pass import (
    BLOCK_ROWS,
    HIDDEN,
    LARGEST_INTEGER_PRODUCT,
    Chunk,
    Kind,
    largest_of_blocks,
)
from shortlist.pipeline.exact.queries import Queries
from shortlist.pipeline.exact.ranking import places_in
from shortlist.pipeline.exact.workers import buffer

BLOCKS_A_RESULT = 4  # so many blocks for each of the k: with fewer the floor is too low
LOWEST = np.float32(-2.0e38)  # below every score that there may be; -inf stands for no row
MANY = 1 / 64  # of the products: where more reach the floor, it is worth raising first
AT_ONCE = 131_072  # products whose own bounds are computed together: some 8 MB
ENOUGH = 1 / 4  # times k: where so many rows are found for each query, they are worth a new floor


def block_rows_for(top_k: int, rows: int) -> int:
    """Rows of a block: fewer where there would be too few blocks for the floor."""
    block_rows = BLOCK_ROWS
    while block_rows > 1 and rows < BLOCKS_A_RESULT * block_rows * top_k:
        block_rows //= 2
    return block_rows


class Survivors:
    """The rows of some queries that may be among their best k. Several threads may add to it.

    Args:
        queries: how many there are.
        top_k: k, not above the rows that may be found; 0 for all that reach the floor given.
        share: of the rows that are looked at, those that may be found.
        floor: float32 `[queries]`, what is known of it.
    """

    def __init__(
        self, queries: int, top_k: int, share: float, floor: FloatArray | None = None
    ) -> None:
        self.top_k = top_k
        self.floor = np.full(queries, LOWEST) if floor is None else floor
        self.count = 0
        self._share = share
        self._best = np.full((queries, top_k), -np.inf, np.float32)
        self._found: list[Found] = []
        self._lock = Lock()

    def look_at(self, products: Products) -> None:
        """Keep the rows that may be among the best."""
        if not self.top_k:
            self._keep(products.found(self.floor, products.reaching(self.floor)))
            return
        raised = self.floor.min() == LOWEST
        if raised:
            self._raise_by_blocks(products)
        places = products.reaching(self.floor)
        if not raised and len(places) > MANY * products.values.size:
            raised = True
            self._raise_by_blocks(products)
            places = products.reaching(self.floor)
        found = products.found(self.floor, places)
        if not raised and len(found.queries) > ENOUGH * self.top_k * len(self.floor):
            # no row may count twice: the blocks of these products were not looked at
            self._raise(_by_query(found.queries, found.lower, len(self.floor)))
        self._keep(found)

    def _keep(self, found: Found) -> None:
        with self._lock:
            self._found.append(found)
            self.count += len(found.queries)

    def _raise_by_blocks(self, products: Products) -> None:
        rows = int(products.rows * self._share)
        self._raise(products.lower_of_blocks(block_rows_for(self.top_k, rows)))

    def _raise(self, lower: FloatArray) -> None:
        """Raise the floor by what different rows reach at least, float32 `[queries, any]`."""
        with self._lock:
            better = np.flatnonzero((lower > self.floor[:, None]).any(axis=1))
            if not len(better):
                return
            together = np.concatenate([self._best[better], lower[better]], axis=1)
            place = together.shape[1] - self.top_k
            best = np.partition(together, place, axis=1)[:, place:]
            self._best[better] = best
            self.floor[better] = np.maximum(self.floor[better], best.min(axis=1))

    def taken(self) -> tuple[Int64Array, Int64Array, FloatArray]:
        """The rows that still reach the floor, as they were added but by query, and forget them."""
        with self._lock:
            found, self._found, self.count = self._found, [], 0
        none = Found(*(np.empty(0, kind) for kind in (int, int, np.float32, np.float32)))
        queries, numbers, _, upper = (
            np.concatenate(parts) for parts in zip(none, *found, strict=True)
        )
        keep = np.flatnonzero(upper >= self.floor[queries])
        keep = keep[_order(queries[keep])]
        return queries[keep], numbers[keep], upper[keep]


class Found(NamedTuple):
    """Rows that reach the floor, all of `[m]`.

    Attributes:
        queries: number of the query.
        numbers: number of the row in the collection.
        lower: what its score is at least.
        upper: what its score is at most.
    """

    queries: Int64Array
    numbers: Int64Array
    lower: FloatArray
    upper: FloatArray


class Products:
    """Approximate products of some queries with chunks of one kind and width.

    Args:
        chunks: the chunks.
        values: `[chunks, q, width]`.
        queries: the queries.
    """

    def __init__(self, chunks: Sequence[Chunk], values: NDArray[Any], queries: Queries) -> None:
        kind = chunks[0].kind
        self._chunks = chunks
        self._kind = kind
        self._bounds = kind.bounds(queries)
        self._units = kind.units(queries).astype(np.float64)
        self._steps = np.stack([chunk.steps for chunk in chunks]).astype(np.float64)
        self.values = values
        self.rows = sum(len(chunk.numbers) for chunk in chunks)
        self._strips = values.reshape(*values.shape[:2], *chunks[0].shape)

    def lower_of_blocks(self, block_rows: int) -> FloatArray:
        """What one row of each block reaches at least, `[q, blocks of all chunks]`."""
        largest = largest_of_blocks(self._strips, block_rows)
        lower = largest * self._worth[..., None]
        sizes = np.stack([chunk.largest_of_blocks(block_rows) for chunk in self._chunks])
        bound = self._bounds.of(sizes.reshape(*sizes.shape[:2], -1))
        lower -= bound.reshape(lower.shape)
        lower[largest == self._kind.hidden] = -np.inf
        count = len(self._units)
        return np.moveaxis(lower, 1, 0).reshape(count, -1).astype(np.float32)

    @cached_property
    def _worth(self) -> NDArray[np.float64]:
        """What a product of 1 is worth, `[chunks, q, strips]`."""
        return self._units[:, None] * self._steps[:, None]

    def reaching(self, floor: FloatArray) -> Int64Array:
        """Places of the products that reach the floor with the largest bound of their strip."""
        bound = self._bounds.of(np.stack([chunk.largest_of_strips for chunk in self._chunks]))
        limit: NDArray[Any] = (floor[:, None].astype(np.float64) - bound) / self._worth
        if self._kind is Kind.INTEGERS:
            limit = np.floor(limit).clip(HIDDEN + 1, LARGEST_INTEGER_PRODUCT)
        else:
            limit = limit.clip(np.finfo(np.float32).min, np.finfo(np.float32).max)
        reach = buffer("reach", self.values.size, np.bool_).reshape(self._strips.shape)
        limit = limit.astype(self._kind.dtype)[..., None]
        for strip in range(limit.shape[2]):  # numpy is slow where the inner of four axes is short
            np.greater_equal(self._strips[:, :, strip], limit[:, :, strip], out=reach[:, :, strip])
        return _places(reach.reshape(-1))

    def found(self, floor: FloatArray, places: Int64Array) -> Found:
        """The rows at these places that reach the floor with their own bounds."""
        parts = range(0, max(1, len(places)), AT_ONCE)
        found = [self._found(floor, places[start : start + AT_ONCE]) for start in parts]
        return Found(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def _found(self, floor: FloatArray, places: Int64Array) -> Found:
        count, width = self.values.shape[1:]
        factors, columns = _divided(places, width)
        numbers, sizes = np.empty(len(places), np.int64), np.empty((2, len(places)), np.float32)
        chunks, queries = _divided(factors, count)
        ends = np.searchsorted(chunks, np.arange(len(self._chunks) + 1))
        for chunk, (start, stop) in zip(self._chunks, pairwise(ends), strict=True):
            if start < stop:
                chunk.numbers.take(columns[start:stop], out=numbers[start:stop], mode="clip")
                chunk.sizes.take(columns[start:stop], 1, out=sizes[:, start:stop], mode="clip")
        strips = self._strips.shape[2]
        if strips > 1:
            factors = factors * strips + columns // self._strips.shape[3]
        score = self.values.take(places) * self._worth.take(factors)
        bound = self._bounds.of_rows(queries, sizes)
        upper = (score + bound).astype(np.float32)
        keep = np.flatnonzero(upper >= floor.take(queries))
        lower = (score - bound).astype(np.float32)
        return Found(queries.take(keep), numbers.take(keep), lower.take(keep), upper.take(keep))


def _places(is_so: BoolArray) -> Int64Array:
    """`np.flatnonzero` of values whose number is divisible by 8, several times as fast for few."""
    words = is_so.view(np.uint64)
    has_any = np.not_equal(words, 0, out=buffer("has any", len(words), np.bool_))
    some = np.flatnonzero(has_any)
    within = np.flatnonzero(words.take(some).view(np.bool_))
    places: Int64Array = some.take(within >> 3) * 8 + (within & 7)
    return places


def _divided(places: Int64Array, by: int) -> tuple[Int64Array, Int64Array]:
    """`np.divmod`, whose division of 64 bits is several times as slow."""
    quotient: Int64Array = places // by
    return quotient, places - quotient * by


def _by_query(queries: Int64Array, values: FloatArray, count: int) -> FloatArray:
    """A table `[count, any]` of the values of each query, -inf where there are fewer."""
    order = _order(queries)
    queries, values = queries[order], values[order]
    places = places_in(queries, count)
    table = np.full((count, int(places.max(initial=0)) + 1), -np.inf, np.float32)
    table[queries, places] = values
    return table


def _order(queries: Int64Array) -> Int64Array:
    # of 16 bits numpy sorts by counting; a block has fewer queries than they can hold
    return np.argsort(queries.astype(np.uint16), kind="stable")
