"""Exact top-k over embeddings: chunked, on any device, the same answer whatever the chunking.

A float32 dot product has no unique value: BLAS sums in an order that depends on shapes. So the
score is *defined* as the dot product accumulated in float64 and rounded to float32, and the fast
float32 products only decide which rows are worth that. With ``u = 2**-24`` any float32 summation
of d products is off by at most ``gamma_d * |q| * |x|``, ``gamma_d = d*u / (1 - d*u)`` (Higham,
Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1), so every row whose float32
score is within twice that bound of the k-th best is scored again. Ties go to the earlier row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DataError, UsageError

FloatArray = NDArray[np.float32]
Int64Array = NDArray[np.int64]

UNIT_ROUNDOFF = 2.0**-24  # of float32
CHUNK_ROWS = 16_384  # rows of the corpus in one product
QUERY_BLOCK = 128  # queries in one product: a block of scores is at most 8 MB
COPIED_SHARE = 0.3  # of a chunk's rows: what is copied out where fewer are allowed
RESCORE_VALUES = 4_194_304  # float64 values scored again at once: 32 MB


def exact_top_k(
    queries: FloatArray,
    corpus: FloatArray | Sequence[FloatArray],
    top_k: int,
    *,
    mask: NDArray[np.bool_] | None = None,
    device: str = "cpu",
    chunk_rows: int = CHUNK_ROWS,
    query_block: int = QUERY_BLOCK,
) -> tuple[FloatArray, Int64Array]:
    """The `top_k` rows of the corpus with the largest dot product, for every query.

    Args:
        queries: float32 `[q, dim]`.
        corpus: float32 `[n, dim]`, or several such arrays (memory-mapped ones too) that are
            searched as if they stood one below the other.
        top_k: how many rows to return, at least 1.
        mask: bool `[n]`, the rows that may be returned; all of them by default.
        device: where the products are computed: `cpu` (numpy), or a torch device such as `cuda`.
        chunk_rows: rows of the corpus in one product; changes the memory, never the answer.
        query_block: queries in one product; changes the memory, never the answer.

    Returns:
        Scores float32 `[q, top_k]`, falling, and row numbers int64 `[q, top_k]`; equal scores by
        row number. Where the corpus (or the mask) has fewer than `top_k` rows: -inf and -1.

    Raises:
        UsageError: `top_k` below 1.
        DataError: dimensions differ, the mask has another length, or a value is NaN or infinite
            (the row is named).
    """
    segments = [corpus] if isinstance(corpus, np.ndarray) else list(corpus)
    if top_k < 1:
        raise UsageError(f"top_k must be at least 1 (got {top_k})")
    queries = check_embeddings(queries, "queries")
    for segment in segments:
        if segment.ndim != 2 or segment.shape[1] != queries.shape[1]:
            raise DataError(
                f"queries have {queries.shape[1]} dimensions, the corpus has shape {segment.shape};"
                " expected embeddings of one model"
            )
    rows = sum(len(segment) for segment in segments)
    if mask is not None:
        if mask.shape != (rows,) or mask.dtype != np.bool_:
            raise DataError(f"the mask is {mask.dtype} {mask.shape}, expected bool ({rows},)")
        rows = int(mask.sum())
    scores = np.full((len(queries), top_k), -np.inf, dtype=np.float32)
    ids = np.full((len(queries), top_k), -1, dtype=np.int64)
    wanted = min(top_k, rows)
    if wanted:
        for start in range(0, len(queries), query_block):
            block = slice(start, start + query_block)
            _search_block(
                queries[block], segments, scores[block, :wanted], ids[block, :wanted],
                mask, device, chunk_rows,
            )  # fmt: skip
    return scores, ids


def check_embeddings(embeddings: Any, what: str) -> FloatArray:
    """Return embeddings as C-contiguous float32 `[n, dim]`.

    Raises:
        DataError: not two-dimensional, not numbers, or NaN or infinity in a row, which is named.
    """
    try:
        array = np.ascontiguousarray(embeddings, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: expected an array of numbers [n, dim] ({error})") from error
    if array.ndim != 2:
        raise DataError(f"{what}: expected an array [n, dim], got shape {array.shape}")
    # A row's sum is finite unless a value is not (or overflows): one pass without a copy.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(array.sum(axis=1, dtype=np.float64)))
    for row in suspects:
        raise DataError(f"{what}: row {row} has NaN or infinite values; encode that text again")
    return array


def _search_block(
    queries: FloatArray,
    segments: Sequence[FloatArray],
    scores: FloatArray,
    ids: Int64Array,
    mask: NDArray[np.bool_] | None,
    device: str,
    chunk_rows: int,
) -> None:
    """Fill `scores` and `ids`, both `[b, k]`, for one block of queries."""
    top_k = scores.shape[1]
    dim = queries.shape[1]
    gamma = dim * UNIT_ROUNDOFF / (1 - dim * UNIT_ROUNDOFF)
    query_norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    # The k-th best score is at least this, for each query, whatever the rounding.
    floor = np.full(len(queries), -np.inf)
    found: list[tuple[Int64Array, Int64Array, NDArray[np.float64]]] = []
    for numbers, chunk, norm, allowed in _chunks(segments, chunk_rows, mask):
        slack = gamma * query_norms * norm * (1 + 1e-6) + 1e-37
        floor, query_rows, rows, approximate = _survivors(
            queries, chunk, allowed, top_k, floor, slack, device
        )
        found.append((query_rows, numbers[rows], approximate + slack[query_rows]))
    query_rows, rows, upper = (
        np.concatenate([part[0] for part in found]),
        np.concatenate([part[1] for part in found]),
        np.concatenate([part[2] for part in found]),
    )
    # Survivors of early chunks were let in by a lower floor than the one that is known now.
    keep = upper >= floor[query_rows]
    query_rows, rows = query_rows[keep], rows[keep]
    exact = _rescore(queries, segments, query_rows, rows)
    order = np.lexsort((rows, -exact, query_rows))
    query_rows, rows, exact = query_rows[order], rows[order], exact[order]
    starts = np.searchsorted(query_rows, np.arange(len(queries)))
    for query in range(len(queries)):
        best = slice(starts[query], starts[query] + top_k)
        scores[query], ids[query] = exact[best], rows[best]


def _chunks(
    segments: Sequence[FloatArray], chunk_rows: int, mask: NDArray[np.bool_] | None
) -> Iterator[tuple[Int64Array, FloatArray, float, NDArray[np.bool_] | None]]:
    """Numbers of the rows, the rows, the largest norm among them, and which of them are allowed.

    Where few are allowed only those are there; where most are, it is cheaper to multiply them all.
    """
    first_row = 0
    for segment in segments:
        for start in range(0, len(segment), chunk_rows):
            chunk = np.asarray(segment[start : start + chunk_rows], dtype=np.float32)
            numbers = np.arange(first_row, first_row + len(chunk))
            first_row += len(chunk)
            allowed = None
            if mask is not None:
                allowed = mask[numbers]
                count = int(np.count_nonzero(allowed))
                if not count:
                    continue
                if count < COPIED_SHARE * len(chunk):
                    numbers, chunk = numbers[allowed], chunk[allowed]
                if count == len(chunk):
                    allowed = None
            norm = float(np.sqrt(np.einsum("ij,ij->i", chunk, chunk).max()))
            if not np.isfinite(norm):
                check_embeddings(chunk, f"corpus rows from {numbers[0]}")
                norm = float(np.linalg.norm(chunk.astype(np.float64), axis=1).max())
            # float32 sums of squares are themselves off by a relative gamma
            yield numbers, chunk, norm * (1 + 1e-4), allowed


def _survivors(
    queries: FloatArray,
    chunk: FloatArray,
    allowed: NDArray[np.bool_] | None,
    top_k: int,
    floor: NDArray[np.float64],
    slack: NDArray[np.float64],
    device: str,
) -> tuple[NDArray[np.float64], Int64Array, Int64Array, FloatArray]:
    """Rows of a chunk that may be among the best k, and the floor raised by what the chunk shows.

    A row stays when its float32 score plus the bound reaches the floor, which is the k-th best
    float32 score seen in one chunk minus the bound.
    """
    if device == "cpu":
        products = queries @ chunk.T
        if allowed is not None:
            products[:, ~allowed] = -np.inf
        if len(chunk) >= top_k:
            kth = np.partition(products, len(chunk) - top_k, axis=1)[:, len(chunk) - top_k]
            floor = np.maximum(floor, kth - slack)
        survives = products >= _float32_below(floor - slack)[:, None]
        if allowed is not None:
            survives &= allowed  # there is no floor yet where a chunk has few of them
        query_rows, rows = np.nonzero(survives)
        return floor, query_rows, rows, products[query_rows, rows]
    import torch

    with torch.inference_mode():
        # torch warns of arrays that it could not write to, as memory-mapped ones are
        on_device = torch.from_numpy(np.require(chunk, requirements="W")).to(device)
        result = torch.from_numpy(queries).to(device) @ on_device.T
        among = None if allowed is None else torch.from_numpy(allowed).to(device)
        if among is not None:
            result = result.masked_fill(~among, -torch.inf)
        if len(chunk) >= top_k:
            kth = torch.topk(result, top_k, dim=1).values[:, -1].cpu().numpy()
            floor = np.maximum(floor, kth - slack)
        limit = torch.from_numpy(_float32_below(floor - slack)).to(device)
        survives_there = result >= limit[:, None]
        if among is not None:
            survives_there &= among
        where = torch.nonzero(survives_there, as_tuple=True)
        query_rows, rows = (part.cpu().numpy() for part in where)
        return floor, query_rows, rows, result[where].cpu().numpy()


def _float32_below(values: NDArray[np.float64]) -> FloatArray:
    """Rounded towards minus infinity: a comparison in float32 may let too much in, never less."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    result: FloatArray = np.where(
        rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded
    )
    return result


def _rescore(
    queries: FloatArray,
    segments: Sequence[FloatArray],
    query_rows: Int64Array,
    rows: Int64Array,
) -> FloatArray:
    """Dot products accumulated in float64, rounded to float32, `[m]`."""
    starts = np.cumsum([0, *(len(segment) for segment in segments)])
    home = np.searchsorted(starts, rows, side="right") - 1
    exact = np.empty(len(rows), dtype=np.float32)
    block = max(1, RESCORE_VALUES // max(1, queries.shape[1]))
    for number, segment in enumerate(segments):
        members = np.flatnonzero(home == number)
        for start in range(0, len(members), block):
            part = members[start : start + block]
            left = queries[query_rows[part]].astype(np.float64)
            left *= segment[rows[part] - starts[number]]
            exact[part] = left.sum(axis=1)
    return exact
