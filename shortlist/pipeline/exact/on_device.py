"""Exact search on a GPU, or any device of torch: the same certificate as on the CPU.

The rows are on the device in float16, scaled so that the largest of a chunk has the length 1, or,
where they do not fit, come to it chunk by chunk. Products are half as large to write and to read as
float32 ones, which is what such a search waits for, and ten times as near to the score as int8
ones. Blocks, floor and running best are as in `survivors`, on the device; the true scores of what
is left are computed as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from shortlist.errors import DataError
from shortlist.pipeline.arrays import (
    BoolArray,
    FloatArray,
    Int64Array,
    check_finite,
    check_not_zero,
)
from shortlist.pipeline.exact import memory
from shortlist.pipeline.exact.bounds import check_scores
from shortlist.pipeline.exact.first_pass import BLOCK_ROWS, up_to
from shortlist.pipeline.exact.ranking import Ranking, scores_of
from shortlist.pipeline.exact.rounding import LEAST, SMALLEST, UNIT_ROUNDOFF
from shortlist.pipeline.exact.rows import Rows
from shortlist.pipeline.exact.survivors import LOWEST, block_rows_for

if TYPE_CHECKING:
    import torch

CHUNK_ROWS = 131_072
QUERY_BLOCK = 1_024
SHARE_OF_FREE = 0.6  # of the device's memory, for the rows; the rest is for products
PAIRS_AT_ONCE = 262_144  # blocks that are looked into together
LARGEST_RESULT = 16_777_216  # places of results in one block of queries
MOST_LEFT = 16_777_216  # rows left before they are settled: 320 MB
HALF_ROUNDOFF = 2.0**-11
# The sum of d products in a tensor core is in float32, but cut off and not rounded, in parts: eight
# times the bound of any summation in float32.
GAMMA = 8 * UNIT_ROUNDOFF


class Source(Protocol):
    """Where the rows are."""

    dim: int | None
    zeros: bool  # whether rows of zeros are taken

    def __len__(self) -> int:
        """How many rows there are."""

    def on(self, device: torch.device, start: int, stop: int) -> torch.Tensor:
        """Rows in float32 on the device."""

    def scores(self, queries: FloatArray, of: Int64Array, numbers: Int64Array) -> FloatArray:
        """The true scores of pairs of a query and a row, `[m]`."""


class HostRows:
    """Rows in the memory of the host, or mapped."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.dim = rows.dim
        self.zeros = rows.zeros

    def __len__(self) -> int:
        return len(self._rows)

    def on(self, device: torch.device, start: int, stop: int) -> torch.Tensor:
        """See `Source`."""
        import torch

        # torch warns of arrays that it could not write to, as mapped ones are
        rows = np.require(self._rows.slice(start, stop), requirements="W")
        return torch.from_numpy(rows).to(device)

    def scores(self, queries: FloatArray, of: Int64Array, numbers: Int64Array) -> FloatArray:
        """See `Source`."""
        return scores_of(queries.astype(np.float64), self._rows, of, numbers)


class DeviceRows:
    """Rows that are a tensor on the device already, float32 `[n, dim]`."""

    def __init__(self, rows: torch.Tensor) -> None:
        self._rows = rows
        self.dim: int | None = int(rows.shape[1])
        self.zeros = True

    def __len__(self) -> int:
        return len(self._rows)

    def on(self, device: torch.device, start: int, stop: int) -> torch.Tensor:
        """See `Source`."""
        return self._rows[start:stop].to(device).float()

    def scores(self, queries: FloatArray, of: Int64Array, numbers: Int64Array) -> FloatArray:
        """See `Source`."""
        import torch

        device = self._rows.device
        wide = torch.from_numpy(queries).to(device).double()
        scores = np.empty(len(numbers), np.float32)
        for start in range(0, len(numbers), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            rows = self._rows[torch.from_numpy(numbers[part]).to(device)].double()
            some = wide[torch.from_numpy(of[part]).to(device)]
            scores[part] = (rows * some).sum(dim=1).float().cpu().numpy()
        return scores


@dataclass(frozen=True)
class _Chunk:
    """Rows on the device.

    Attributes:
        first: number of the first.
        rows: `[width, dim]`, times `scale` the rows; zeros beyond them.
        scale: what the rows were divided by.
        size: at least the norm of each, `[width]`, in units of `scale`.
        residual: at least the norm of what rounding left out of it.
        count: how many rows there are.
    """

    first: int
    rows: torch.Tensor
    scale: float
    size: torch.Tensor
    residual: torch.Tensor
    count: int


@dataclass(frozen=True)
class _Queries:
    """Queries on the device, of length 1: `[q, dim]`, their norms, and what rounding left out."""

    rows: torch.Tensor
    norms: torch.Tensor
    residual: torch.Tensor


class DeviceSearch:
    """A collection that is searched on a device again and again.

    Args:
        source: the rows.
        device: of torch.
        memory_budget: bytes of the device for rows; more rows come to it in every search. By
            default 60 % of what is free.
        half: whether the first pass is in float16; by default on CUDA.
    """

    def __init__(
        self,
        source: Source,
        device: str,
        *,
        memory_budget: int | None = None,
        half: bool | None = None,
        chunk_rows: int = CHUNK_ROWS,
        query_block: int = QUERY_BLOCK,
    ) -> None:
        import torch

        self._source = source
        self._device = torch.device(device)
        self._half = self._device.type == "cuda" if half is None else half
        self._dtype = torch.float16 if self._half else torch.float32
        self._budget = memory_budget
        self._chunk_rows = chunk_rows
        self._query_block = query_block
        self._kept: dict[int, _Chunk] = {}
        self._lock = Lock()

    def search(
        self, queries: FloatArray, top_k: int, mask: BoolArray | None, allowed: int
    ) -> tuple[FloatArray, Int64Array]:
        """The best rows, as `ExactSearch.search`; what is given has been checked."""
        import torch

        count = len(queries)
        scores = np.full((count, top_k), -np.inf, np.float32)
        numbers = np.full((count, top_k), -1, np.int64)
        wanted = min(top_k, allowed)
        if not wanted:
            return scores, numbers
        with torch.inference_mode(), _full_sums:
            longest = max(1, min(self._query_block, LARGEST_RESULT // wanted))
            for start in range(0, count, longest):
                block = slice(start, start + longest)
                best = self._best(queries[block], wanted, mask, allowed)
                scores[block, :wanted], numbers[block, :wanted] = best.scores, best.numbers
        return scores, numbers

    def _best(
        self, queries: FloatArray, top_k: int, mask: BoolArray | None, allowed: int
    ) -> Ranking:
        call = _Call(self._queries(queries), top_k, allowed, self._half)
        ranking = Ranking(len(queries), top_k)
        for chunk in self._chunks(mask):
            shown = None
            if mask is not None:
                import torch

                shown = torch.from_numpy(mask[chunk.first : chunk.first + chunk.count])
                shown = shown.to(self._device)
            call.look_at(chunk, shown)
            if call.count > MOST_LEFT:
                self._settle(call, queries, ranking)
        self._settle(call, queries, ranking)
        return ranking

    def _settle(self, call: _Call, queries: FloatArray, ranking: Ranking) -> None:
        of, numbers = call.taken()
        ranking.merge(of, numbers, self._source.scores(queries, of, numbers))
        call.raise_to(ranking.kth_best)

    def _queries(self, queries: FloatArray) -> _Queries:
        import torch

        wide = queries.astype(np.float64)
        norms = np.maximum(np.sqrt(np.vecdot(wide, wide)), 1e-30)
        unit = torch.from_numpy((wide / norms[:, None]).astype(np.float32)).to(self._device)
        rounded = unit.to(self._dtype)
        left = _norms(unit - rounded.float()) + 8 * UNIT_ROUNDOFF
        above = torch.from_numpy((norms * (1 + 2e-7)).astype(np.float32)).to(self._device)
        return _Queries(rounded, above, left)

    def _chunks(self, mask: BoolArray | None) -> Iterator[_Chunk]:
        """Every chunk that has rows that may be found, kept on the device as far as they fit."""
        for start in range(0, len(self._source), self._chunk_rows):
            stop = min(start + self._chunk_rows, len(self._source))
            if mask is not None and not mask[start:stop].any():
                continue
            with self._lock:
                chunk = self._kept.get(start)
                if chunk is None:
                    chunk = self._made(start, stop)
                    size = chunk.rows.element_size() * chunk.rows.numel()
                    if size * (len(self._kept) + 1) <= self._room():
                        self._kept[start] = chunk
            yield chunk

    def _room(self) -> int:
        if self._budget is None:
            self._budget = int(SHARE_OF_FREE * _free(self._device))
        return self._budget

    def _made(self, start: int, stop: int) -> _Chunk:
        import torch

        rows = self._source.on(self._device, start, stop)
        norms = _norms(rows)
        scale = float(norms.max())
        if not np.isfinite(scale):
            check_finite(rows.cpu().numpy(), "corpus", np.arange(start, stop))
            raise DataError(f"corpus: rows from {start} are too large for float32 products")
        if not self._source.zeros and not bool(rows.any(dim=1).all()):
            check_not_zero(rows.cpu().numpy(), "corpus", np.arange(start, stop))
        rows = rows / scale
        rounded = rows.to(self._dtype)
        left = _norms(rows - rounded.float()) + 8 * UNIT_ROUNDOFF * norms / scale
        beyond = up_to(len(rows), BLOCK_ROWS) - len(rows)
        pad = torch.nn.functional.pad
        return _Chunk(
            first=start,
            rows=pad(rounded, (0, 0, 0, beyond)),
            scale=scale,
            size=pad(norms / scale, (0, beyond)),
            residual=pad(left, (0, beyond)),
            count=stop - start,
        )


class _Call:
    """A block of queries: which rows can still be among the best, on the device."""

    def __init__(self, queries: _Queries, top_k: int, rows: int, half: bool) -> None:
        import torch

        self._torch = torch
        self._queries = queries
        count, dim = queries.rows.shape
        device = queries.rows.device
        self._top_k = top_k
        self._block_rows = block_rows_for(top_k, rows)
        self._floor = torch.full((count,), float(LOWEST), device=device)
        self._best = torch.full((count, top_k), -torch.inf, device=device)
        self._found: list[tuple[Any, Any, Any]] = []
        self.count = 0
        roundoff = GAMMA * dim + 16 * UNIT_ROUNDOFF + (HALF_ROUNDOFF if half else 0)
        self._by_size = queries.residual + roundoff * (1 + 1e-3)
        self._added = dim * (2.0**-24 if half else LEAST)  # float16 has no smaller numbers

    def look_at(self, chunk: _Chunk, shown: torch.Tensor | None) -> None:
        """Keep the rows of a chunk that can be among the best."""
        torch = self._torch
        products = self._queries.rows @ chunk.rows.T
        products[:, chunk.count :] = -torch.inf
        if shown is not None:
            products[:, : chunk.count].masked_fill_(~shown, -torch.inf)
        count, width = products.shape
        blocks = width // self._block_rows
        check_scores(chunk.scale, float(self._queries.norms.max()))
        unit = (self._queries.norms * chunk.scale)[:, None]
        bests = products.view(count, self._block_rows, blocks).amax(dim=1).float() * unit
        bound = self._bound(chunk.size, chunk.residual, blocks) * unit
        self._raise(bests - bound)
        reach = (bests + bound >= self._floor[:, None]) & (bests > -torch.inf)
        of, block = torch.nonzero(reach, as_tuple=True)
        within = torch.arange(0, width, blocks, device=block.device)
        for start in range(0, len(of), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            some, columns = of[part], block[part][:, None] + within
            values = products[some[:, None], columns].float()
            upper = values * unit[some] + bound[some, block[part]][:, None]
            kept = (upper >= self._floor[some][:, None]) & (values > -torch.inf)
            pairs, rows = torch.nonzero(kept, as_tuple=True)
            self._found.append(
                (some[pairs], chunk.first + columns[pairs, rows], upper[pairs, rows])
            )
            self.count += len(pairs)

    def _bound(self, size: torch.Tensor, residual: torch.Tensor, blocks: int) -> torch.Tensor:
        """For every query and block, in units of the query's norm times the scale."""
        largest_size = size.view(self._block_rows, blocks).amax(dim=0)
        largest_residual = residual.view(self._block_rows, blocks).amax(dim=0)
        bound = self._by_size[:, None] * largest_size + largest_residual * (1 + 1e-3)
        return bound + self._added

    def _raise(self, lower: torch.Tensor) -> None:
        together = self._torch.cat([self._best, lower], dim=1)
        self._best = self._torch.topk(together, self._top_k, dim=1).values
        self._floor = self._torch.maximum(self._floor, self._best[:, -1])

    def raise_to(self, floor: FloatArray) -> None:
        """Take account of what the k-th best true score is at least."""
        known = self._torch.from_numpy(floor).to(self._floor.device)
        self._floor = self._torch.maximum(self._floor, known)

    def taken(self) -> tuple[Int64Array, Int64Array]:
        """Query and number of every row that still reaches the floor, by query; forget them."""
        found, self._found, self.count = self._found, [], 0
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        of, numbers, upper = (self._torch.cat(parts) for parts in zip(*found, strict=True))
        keep = upper >= self._floor[of]
        of, order = self._torch.sort(of[keep], stable=True)
        return of.cpu().numpy(), numbers[keep][order].cpu().numpy()


def _norms(rows: torch.Tensor) -> torch.Tensor:
    """At least the norm of each row; see `rows.sizes`."""
    dim = rows.shape[1]
    norms: torch.Tensor = rows.norm(dim=1) * (1 + (dim + 8) * UNIT_ROUNDOFF)
    norms += dim**0.5 * SMALLEST
    return norms


class _FullSums:
    """CUDA may add up a float16 product in float16; it must not while a search is under way."""

    names = ("allow_fp16_reduced_precision_reduction", "allow_fp16_accumulation")

    def __init__(self) -> None:
        self._lock = Lock()
        self._searches = 0
        self._before: dict[str, Any] = {}

    def __enter__(self) -> None:
        import torch

        settings = torch.backends.cuda.matmul
        with self._lock:
            self._searches += 1
            if self._searches > 1:
                return
            for name in self.names:
                try:
                    self._before[name] = getattr(settings, name)
                except AttributeError:  # torch has not always had the second
                    continue
                setattr(settings, name, False)

    def __exit__(self, *_: object) -> None:
        import torch

        with self._lock:
            self._searches -= 1
            if not self._searches:
                for name, value in self._before.items():
                    setattr(torch.backends.cuda.matmul, name, value)


_full_sums = _FullSums()


def _free(device: torch.device) -> int:
    """Bytes that are free on a device."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return memory.available()
