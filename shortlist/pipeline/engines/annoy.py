"""Annoy: a forest of random projections in a mapped file, which several processes share.

Bernhardsson, https://github.com/spotify/annoy. A forest that is built takes nothing more: what is
added is searched exactly until it is built anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.errors import DamagedIndexError
from shortlist.models.onnx import cores
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.engines.protocol import SEED, Effort, Kind, Vectors, ladder

FILE = "index.annoy"
_ALONE = 4  # queries: fewer are not worth another thread


class AnnoyEngine:
    """A forest of Annoy."""

    def __init__(self, forest: Any, trees: int) -> None:
        self._forest = forest
        self._trees = trees

    def __len__(self) -> int:
        return int(self._forest.get_n_items())

    def add(self, vectors: Vectors) -> None:
        raise NotImplementedError("a forest that is built takes nothing more")

    def efforts(self, top_k: int) -> Sequence[Effort]:
        most = max(top_k, self._trees * len(self))
        return [{"search_k": size} for size in ladder(min(most, self._trees * 4), most)]

    def more(self, effort: Effort, factor: float) -> Effort:
        return {"search_k": round(effort["search_k"] * factor)}

    def nearest(
        self, queries: FloatArray, count: int, effort: Effort
    ) -> tuple[Int64Array, FloatArray | None]:
        labels = np.full((len(queries), count), -1, dtype=np.int64)

        def search(numbers: range) -> None:
            for number in numbers:
                found = self._forest.get_nns_by_vector(
                    queries[number], count, search_k=effort["search_k"]
                )
                labels[number, : len(found)] = found

        threads = min(cores(), len(queries) // _ALONE)
        if threads <= 1:
            search(range(len(queries)))
        else:  # Annoy lets go of the interpreter while it searches
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(search, (range(n, len(queries), threads) for n in range(threads))))
        return labels, None

    def save(self, folder: Path) -> None:
        self._forest.save(str(folder / FILE))

    def drop(self) -> None:
        """Nothing is kept elsewhere."""

    def close(self) -> None:
        self._forest.unload()


def _forest(dim: int) -> Any:
    from annoy import AnnoyIndex

    return AnnoyIndex(dim, "euclidean")


def _build(vectors: Vectors, settings: Mapping[str, Any]) -> AnnoyEngine:
    forest = _forest(vectors.dim)
    forest.set_seed(SEED % 2**31)
    label = 0
    for block in vectors.blocks():
        for vector in block:
            forest.add_item(label, vector)
            label += 1
        vectors.on_vectors(len(block))
    if label:
        forest.build(settings["trees"], n_jobs=cores())
    return AnnoyEngine(forest, settings["trees"])


def _open(folder: Path, count: int, dim: int, settings: Mapping[str, Any]) -> AnnoyEngine:
    path = folder / FILE
    forest = _forest(dim)
    try:
        if count:
            forest.load(str(path))
    except OSError as error:
        raise DamagedIndexError(f"{path} cannot be read: {error}") from error
    if forest.get_n_items() != count:
        raise DamagedIndexError(f"{path} has {forest.get_n_items()} vectors, expected {count}")
    return AnnoyEngine(forest, settings["trees"])


ANNOY = Kind(
    name="annoy",
    extra="annoy",
    modules=("annoy",),
    library="annoy",
    settings={"trees": 50},
    extends=False,
    build=_build,
    open=_open,
)
