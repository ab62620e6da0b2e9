"""FAISS: a graph (HNSW), and compressed lists (IVF-PQ) for collections that memory is short for.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical
navigable small world graphs", 2016; Jégou et al., "Product quantization for nearest neighbor
search", 2011; Douze et al., "The Faiss library", 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.errors import DamagedIndexError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.engines.protocol import SEED, Effort, Kind, Vectors, ladder
from shortlist.pipeline.exact.ranking import products_of
from shortlist.pipeline.exact.rows import Rows

FILE = "index.faiss"
_MOST_EF = 8192
_CODED_FROM = 20_000  # vectors: fewer are too few to learn a code from, and take little space
_PER_LIST = 39  # FAISS asks for so many vectors to train each list with
_FACTOR = 8  # times as many as are wanted: the codes order them roughly
_FEW = 30


class _FaissEngine:
    """What both kinds have in common: an index of FAISS."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: Vectors) -> None:
        for block in vectors.blocks():
            self._index.add(block)
            vectors.on_vectors(len(block))

    def save(self, folder: Path) -> None:
        import faiss

        faiss.write_index(self._index, str(folder / FILE))

    def drop(self) -> None:
        """Nothing is kept elsewhere."""

    def close(self) -> None:
        """Nothing is held open."""


class FaissGraph(_FaissEngine):
    """HNSW over the vectors as they are."""

    def efforts(self, top_k: int) -> Sequence[Effort]:
        most = min(_MOST_EF, max(2 * len(self), top_k))
        return [{"ef": ef} for ef in ladder(max(8, top_k), max(most, top_k))]

    def more(self, effort: Effort, factor: float) -> Effort:
        return {"ef": round(effort["ef"] * factor)}

    def nearest(
        self, queries: FloatArray, count: int, effort: Effort
    ) -> tuple[Int64Array, FloatArray | None]:
        import faiss

        parameters = faiss.SearchParametersHNSW(efSearch=max(count, effort["ef"]))
        products, labels = self._index.search(queries, count, params=parameters)
        return labels, products


class FaissLists(_FaissEngine):
    """IVF-PQ: every vector as four bits a part, in one of many lists, some of which are scanned.

    The codes only say roughly which are near: several times as many as are wanted are returned.
    """

    def efforts(self, top_k: int) -> Sequence[Effort]:
        lists = self._index.nlist
        factor = _FACTOR if top_k <= _FEW else _FACTOR // 2
        return [
            *({"nprobe": nprobe, "factor": factor} for nprobe in ladder(min(4, lists), lists)),
            *({"nprobe": lists, "factor": factor << more} for more in range(1, 5)),
        ]

    def more(self, effort: Effort, factor: float) -> Effort:
        lists = self._index.nlist
        return {**effort, "nprobe": min(lists, round(effort["nprobe"] * factor))}

    def nearest(
        self, queries: FloatArray, count: int, effort: Effort
    ) -> tuple[Int64Array, FloatArray | None]:
        import faiss

        parameters = faiss.SearchParametersIVF(nprobe=effort["nprobe"])
        wanted = min(len(self), count * effort["factor"])
        _, labels = self._index.search(queries, wanted, params=parameters)
        return labels, None


def _build_graph(vectors: Vectors, settings: Mapping[str, Any]) -> FaissGraph:
    import faiss

    index = faiss.IndexHNSWFlat(vectors.dim, settings["M"], faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = settings["ef_construction"]
    engine = FaissGraph(index)
    engine.add(vectors)
    return engine


def _build_lists(vectors: Vectors, settings: Mapping[str, Any]) -> FaissLists:
    import faiss

    lists = max(1, min(round(vectors.count**0.5), vectors.count // _PER_LIST))
    coarse = faiss.IndexFlatL2(vectors.dim)
    if vectors.count < _CODED_FROM:
        index = faiss.IndexIVFFlat(coarse, vectors.dim, lists, faiss.METRIC_L2)
    else:
        parts = _divisor(vectors.dim, settings["dimensions_per_part"])
        index = faiss.IndexIVFPQFastScan(coarse, vectors.dim, lists, parts, 4, faiss.METRIC_L2)
        index.pq.cp.seed = SEED
    index.cp.seed = SEED
    index.cp.min_points_per_centroid = 1  # it warns on stderr where there are fewer
    if vectors.count:
        index.train(vectors.sample(max(lists * 64, 20_000)))
    index.own_fields = True  # and no longer this function's
    coarse.this.disown()
    engine = FaissLists(index)
    if vectors.count:
        engine.add(vectors)
    return engine


def _products(queries: FloatArray, rows: Rows, numbers: Int64Array) -> FloatArray:
    """Dot products `[q, w]` in float32, read where the rows lie."""
    if any(segment.dtype != np.float32 for segment in rows.segments):
        return products_of(queries, rows, numbers)
    import faiss

    products = np.full(numbers.shape, -np.inf, np.float32)
    part, asked = products.copy(), np.ascontiguousarray(queries)
    for start, segment in zip(rows.starts, rows.segments, strict=False):
        ids = numbers - start
        np.putmask(ids, ids >= len(segment), -1)  # rows of other segments are below 0
        faiss.fvec_inner_products_by_idx(
            *map(faiss.swig_ptr, (part, asked, segment, ids)), queries.shape[1], *numbers.shape
        )
        np.maximum(products, part, out=products)  # it writes -inf where an id is below 0
    return products


def _divisor(dim: int, size: int) -> int:
    """Into how many equal parts to cut a vector, so that none has more than `size` dimensions."""
    return next(parts for parts in range(-(-dim // size), dim + 1) if dim % parts == 0)


def _read(path: Path, count: int, dim: int) -> Any:
    import faiss

    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise DamagedIndexError(f"{path} cannot be read: {error}") from error
    if (index.ntotal, index.d) != (count, dim):
        raise DamagedIndexError(
            f"{path} has {index.ntotal} vectors of {index.d} dimensions, expected {count} of {dim}"
        )
    return index


FAISS = Kind(
    name="faiss",
    extra="faiss",
    modules=("faiss",),
    library="faiss-cpu",
    settings={"M": 24, "ef_construction": 120, "metric": "ip"},
    extends=True,
    build=_build_graph,
    open=lambda folder, count, dim, _: FaissGraph(_read(folder / FILE, count, dim)),
)

FAISS_IVFPQ = Kind(
    name="faiss-ivfpq",
    extra="faiss",
    modules=("faiss",),
    library="faiss-cpu",
    settings={"dimensions_per_part": 2},
    extends=True,
    build=_build_lists,
    open=lambda folder, count, dim, _: FaissLists(_read(folder / FILE, count, dim)),
    multiply=_products,
)
