"""hnswlib: the reference implementation of the graph of Malkov and Yashunin (2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from shortlist.errors import DamagedIndexError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.engines.protocol import SEED, Effort, Kind, Vectors, ladder

FILE = "index.hnswlib"
_MOST_EF = 8192


class HnswlibEngine:
    """A graph of hnswlib."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._lock = Lock()  # the effort is a field of the graph

    def __len__(self) -> int:
        return int(self._index.element_count)

    def add(self, vectors: Vectors) -> None:
        first = len(self)
        self._index.resize_index(max(1, first + vectors.count))
        for block in vectors.blocks():
            self._index.add_items(block, np.arange(first, first + len(block)))
            first += len(block)
            vectors.on_vectors(len(block))

    def efforts(self, top_k: int) -> Sequence[Effort]:
        most = min(_MOST_EF, max(2 * len(self), top_k))
        return [{"ef": ef} for ef in ladder(max(8, top_k), max(most, top_k))]

    def more(self, effort: Effort, factor: float) -> Effort:
        return {"ef": round(effort["ef"] * factor)}

    def nearest(
        self, queries: FloatArray, count: int, effort: Effort
    ) -> tuple[Int64Array, FloatArray | None]:
        with self._lock:
            self._index.set_ef(max(count, effort["ef"]))  # it is not kept with the file either
            try:
                labels, distances = self._index.knn_query(queries, count)
            except RuntimeError:  # one of the queries reached fewer: all of them get nothing
                labels = np.full((len(queries), count), -1)
                for number, query in enumerate(queries):
                    found = self._as_many_as_there_are(query, count)
                    labels[number, : len(found)] = found
                return labels, None
        return labels.astype(np.int64), 1 - distances

    def _as_many_as_there_are(self, query: FloatArray, count: int) -> Int64Array:
        while count:
            try:
                labels, _ = self._index.knn_query(query, count)
                return np.asarray(labels[0]).astype(np.int64)
            except RuntimeError:
                count //= 2
        return np.empty(0, np.int64)

    def save(self, folder: Path) -> None:
        self._index.save_index(str(folder / FILE))

    def drop(self) -> None:
        """Nothing is kept elsewhere."""

    def close(self) -> None:
        """Nothing is held open."""


def _build(vectors: Vectors, settings: Mapping[str, Any]) -> HnswlibEngine:
    import hnswlib

    index = hnswlib.Index(settings["metric"], vectors.dim)
    index.init_index(
        max(1, vectors.count),
        M=settings["M"],
        ef_construction=settings["ef_construction"],
        random_seed=SEED,
    )
    engine = HnswlibEngine(index)
    engine.add(vectors)
    return engine


def _open(folder: Path, count: int, dim: int, settings: Mapping[str, Any]) -> HnswlibEngine:
    import hnswlib

    path = folder / FILE
    index = hnswlib.Index(settings["metric"], dim)
    try:
        index.load_index(str(path), max_elements=max(1, count))
    except RuntimeError as error:
        raise DamagedIndexError(f"{path} cannot be read: {error}") from error
    if index.element_count != count:
        raise DamagedIndexError(f"{path} has {index.element_count} vectors, expected {count}")
    return HnswlibEngine(index)


HNSWLIB = Kind(
    name="hnswlib",
    extra="hnswlib",
    modules=("hnswlib",),
    library="hnswlib",
    settings={"M": 24, "ef_construction": 120, "metric": "ip"},
    extends=True,
    build=_build,
    open=_open,
)
