"""`semantic_search` of sentence-transformers: the same call and the same answer, faster.

    from shortlist import semantic_search  # instead of sentence_transformers.util

Every call looks at fresh arrays. Who searches one collection again and again keeps an
`ExactSearch`, which is several times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DataError, UsageError
from shortlist.pipeline.arrays import FloatArray, Int64Array, check_finite, is_number
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.exact.unit_rows import UnitRows, normalised

if TYPE_CHECKING:
    import torch

Embeddings: TypeAlias = "torch.Tensor | NDArray[Any] | Sequence[Any]"
ScoreFunction: TypeAlias = "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"
Found: TypeAlias = list[list[dict[str, int | float]]]

# Rows whose lengths are not known are read twice: for few queries that is most of the work, and the
# second time is quicker where so many of them are still in the cache.
FEW_QUERIES = 32
FEW_ROWS = 4_096


def normalize_embeddings(embeddings: torch.Tensor) -> torch.Tensor:
    """Embeddings of length 1; those of zeros stay. A tensor `[dim]` or `[n, dim]`."""
    import torch

    return torch.nn.functional.normalize(embeddings, p=2, dim=-1)


def dot_score(a: Embeddings, b: Embeddings) -> torch.Tensor:
    """The dot product of every row of `a` with every row of `b`, a tensor `[len(a), len(b)]`."""
    return _rows_of(a) @ _rows_of(b).T


def cos_sim(a: Embeddings, b: Embeddings) -> torch.Tensor:
    """The cosine of every row of `a` and every row of `b`, a tensor `[len(a), len(b)]`."""
    return normalize_embeddings(_rows_of(a)) @ normalize_embeddings(_rows_of(b)).T


similarity = cos_sim


def semantic_search(
    query_embeddings: Embeddings,
    corpus_embeddings: Embeddings,
    query_chunk_size: int = 100,
    corpus_chunk_size: int = 500_000,
    top_k: int = 10,
    score_function: ScoreFunction = cos_sim,
) -> Found:
    """The `top_k` best rows of the corpus for every query.

    Args:
        query_embeddings: numbers `[q, dim]`, or `[dim]` for one query: a tensor on any device, an
            array, a list of numbers, of arrays or of tensors.
        corpus_embeddings: numbers `[n, dim]`, or `[dim]` for one row, in the same ways.
        query_chunk_size: how many queries a function of your own is given at once; elsewhere, as
            the next, without effect on answer or memory.
        corpus_chunk_size: how many rows it is given at once.
        top_k: how many rows to return, at least 1; fewer where there are fewer.
        score_function: `cos_sim` or `dot_score`, ours or those of sentence-transformers, or any
            function of two tensors that returns a tensor of scores `[q, n]`.

    Returns:
        For each query its best rows: `{"corpus_id": row, "score": score}`, best first. Equal scores
        are ordered by row, but for float64, sparse tensors and a function of your own, where
        torch.topk decides, as it does in sentence-transformers.

    Raises:
        UsageError: `top_k` or a chunk size below 1.
        DataError: no numbers `[n, dim]`, different dimensions, or NaN or infinity in a row (it is
            named).
    """
    for name, value in [
        ("top_k", top_k),
        ("query_chunk_size", query_chunk_size),
        ("corpus_chunk_size", corpus_chunk_size),
    ]:
        if value < 1:
            raise UsageError(f"{name} must be at least 1 (got {value})")
    known = _known(score_function)
    queries, corpus = _plain(query_embeddings, "queries"), _plain(corpus_embeddings, "corpus")
    queries, corpus = (each[None] if each.ndim == 1 else each for each in (queries, corpus))
    if not queries.shape[-1]:  # an empty list
        return []
    _check_shapes(queries, corpus)
    if not len(queries):
        return []
    if not len(corpus):
        return [[] for _ in range(len(queries))]
    if known and isinstance(queries, np.ndarray) and isinstance(corpus, np.ndarray):
        chunk_rows = FEW_ROWS if len(queries) <= FEW_QUERIES else None
        if known == "cosine":
            search = ExactSearch(UnitRows([corpus]), chunk_rows=chunk_rows)
            queries = normalised(queries.astype(np.float32, copy=False), "queries")
        else:
            search = ExactSearch(corpus, zeros=True, chunk_rows=chunk_rows)
        scores, rows = search.search(queries, min(top_k, len(corpus)))
    else:
        scores, rows = _on_tensors(
            queries, corpus, known, score_function, top_k, query_chunk_size, corpus_chunk_size
        )
    return [
        [{"corpus_id": row, "score": score} for row, score in zip(some, values, strict=True)]
        for some, values in zip(rows.tolist(), scores.tolist(), strict=True)
    ]


def _known(function: ScoreFunction) -> str | None:
    """Which of the two scores a function gives that is ours or that of sentence-transformers."""
    names = {"cos_sim": "cosine", "dot_score": "dot"}
    home = getattr(function, "__module__", "") or ""
    if function in (cos_sim, dot_score) or home.startswith("sentence_transformers."):
        return names.get(getattr(function, "__name__", ""))
    return None


def _plain(embeddings: Embeddings, what: str) -> Any:
    """An array of float32 or float16 where that is possible without a copy, else a tensor."""
    if isinstance(embeddings, np.ndarray):
        if embeddings.dtype == np.float64:
            return _tensor(embeddings)
        return _numbers(embeddings, what)
    if not hasattr(embeddings, "detach"):
        if len(embeddings) and hasattr(embeddings[0], "detach"):
            import torch

            return _plain(torch.stack(list(embeddings)), what)
        try:
            return _numbers(np.asarray(embeddings, dtype=np.float32), what)
        except (TypeError, ValueError) as error:
            raise DataError(f"{what}: expected numbers [n, dim] ({error})") from error
    tensor: Any = embeddings
    tensor = tensor.detach()
    import torch

    if tensor.is_sparse or tensor.device.type != "cpu" or tensor.dtype == torch.float64:
        return tensor
    if tensor.dtype not in (torch.float32, torch.float16):
        tensor = tensor.float()
    return tensor.numpy()


def _numbers(array: NDArray[Any], what: str) -> NDArray[Any]:
    if not is_number(array.dtype):
        raise DataError(f"{what}: expected an array of numbers [n, dim], got {array.dtype}")
    return array if array.dtype in (np.float32, np.float16) else array.astype(np.float32)


def _check_shapes(queries: Any, corpus: Any) -> None:
    for what, array in (("queries", queries), ("corpus", corpus)):
        if array.ndim != 2:
            raise DataError(f"{what}: expected numbers [n, dim], got shape {tuple(array.shape)}")
    if queries.shape[1] != corpus.shape[1]:
        raise DataError(
            f"queries have {queries.shape[1]} dimensions, the corpus has {corpus.shape[1]}; "
            "expected embeddings of one model"
        )


def _on_tensors(
    queries: Any,
    corpus: Any,
    known: str | None,
    function: ScoreFunction,
    top_k: int,
    query_chunk: int,
    corpus_chunk: int,
) -> tuple[FloatArray, Int64Array]:
    """On the corpus's device, or with a function or a type that the exact search does not have."""
    import torch

    queries, corpus = _tensor(queries), _tensor(corpus)
    queries = queries.to(corpus.device)
    plain = not (queries.is_sparse or corpus.is_sparse or corpus.dtype == torch.float64)
    if known and plain and queries.dtype != torch.float64:
        from shortlist.pipeline.exact.on_device import DeviceRows, DeviceSearch

        asked, rows = queries.float(), corpus
        if known == "cosine":
            asked, rows = normalize_embeddings(asked), normalize_embeddings(corpus.float())
        search = DeviceSearch(DeviceRows(rows), str(corpus.device))
        asked_here = asked.cpu().numpy()
        check_finite(asked_here, "queries")
        return search.search(asked_here, min(top_k, len(corpus)), None, len(corpus))
    if known:
        function = cos_sim if known == "cosine" else dot_score
    return _by_function(queries, corpus, function, top_k, query_chunk, corpus_chunk)


def _by_function(
    queries: Any,
    corpus: Any,
    function: ScoreFunction,
    top_k: int,
    query_chunk: int,
    corpus_chunk: int,
) -> tuple[FloatArray, Int64Array]:
    """Any function of two tensors, in chunks, the best merged as they come."""
    import torch

    found = []
    with torch.inference_mode():
        for start in range(0, queries.shape[0], query_chunk):
            some = _rows(queries, start, start + query_chunk)
            best, rows = None, None
            for first in range(0, corpus.shape[0], corpus_chunk):
                scores = function(some, _rows(corpus, first, first + corpus_chunk))
                if not torch.isfinite(scores).all():
                    _refuse(queries, corpus, bool(torch.isnan(scores).any()))
                numbers = torch.arange(first, first + scores.shape[1], device=scores.device)
                numbers = numbers.expand(scores.shape)
                if best is not None and rows is not None:
                    scores = torch.cat([best, scores], dim=1)
                    numbers = torch.cat([rows, numbers], dim=1)
                best, order = torch.topk(scores, min(top_k, scores.shape[1]), dim=1)
                rows = torch.gather(numbers, 1, order)
            if best is not None and rows is not None:
                found.append((best.cpu().numpy(), rows.cpu().numpy()))
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _refuse(queries: Any, corpus: Any, nan: bool) -> None:
    """Name the row with NaN or infinite values, if there is one: the function may give them too.

    Infinite scores of finite rows may be meant: a function can hide rows by them.
    """
    for what, tensor in (("queries", queries), ("corpus", corpus)):
        dense = tensor.to_dense() if tensor.is_sparse else tensor
        check_finite(dense.cpu().float().numpy(), what)
    if nan:
        raise DataError("score_function returned NaN as a score")


def _rows(tensor: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    import torch

    if not tensor.is_sparse:
        return tensor[start:stop]
    numbers = torch.arange(start, min(stop, tensor.shape[0]), device=tensor.device)
    return tensor.index_select(0, numbers)


def _tensor(values: Any) -> torch.Tensor:
    import torch

    if isinstance(values, np.ndarray):
        return torch.from_numpy(np.require(values, requirements="W"))
    result: torch.Tensor = values
    return result


def _rows_of(values: Embeddings) -> torch.Tensor:
    """A tensor `[n, dim]`, float64 or as it is, else float32; dense."""
    import torch

    if not isinstance(values, torch.Tensor):
        plain = _plain(values, "embeddings")
        values = plain if isinstance(plain, torch.Tensor) else _tensor(plain)
    if values.is_sparse:
        values = values.to_dense()
    return values[None] if values.ndim == 1 else values
