"""Milvus: embedded in the process (Milvus Lite), or a server that others run.

Wang et al., "Milvus: a purpose-built vector data management system", 2021. The collection holds
labels and vectors in a graph (HNSW); texts stay in the index. `shortlist.pipeline.push` moves whole
indexes to a server.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.errors import DamagedIndexError, ServerError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.engines.milvus_client import EXTRA, connected, errors_of, is_server
from shortlist.pipeline.engines.protocol import Effort, Kind, Vectors, ladder

FOLDER = "milvus.db"
_COLLECTION = "vectors"
_MOST_EF = 8192
_LARGEST_ANSWER = 16_384  # neighbours of a query that Milvus returns
_ROWS_AT_ONCE = 2_000  # below the 64 MB of a message for up to 4,096 dimensions
_QUERIES_AT_ONCE = 100
_NEVER_CHANGES = (".parquet", ".idx", ".arrow")  # files of Milvus Lite, written once


class MilvusEngine:
    """A collection of Milvus with a graph over it."""

    def __init__(self, client: Any, address: str, collection: str, count: int) -> None:
        self._client = client
        self.address = address
        self.collection = collection
        self._count = count

    def __len__(self) -> int:
        return self._count

    def add(self, vectors: Vectors) -> None:
        with errors_of(self.address):
            for block in vectors.blocks():
                for start in range(0, len(block), _ROWS_AT_ONCE):
                    part = block[start : start + _ROWS_AT_ONCE]
                    rows = [
                        {"label": self._count + n, "vector": vector}
                        for n, vector in enumerate(part)
                    ]
                    self._client.insert(self.collection, rows)
                    self._count += len(part)
                    vectors.on_vectors(len(part))
            self._client.flush(self.collection)

    def efforts(self, top_k: int) -> Sequence[Effort]:
        most = min(_MOST_EF, max(2 * self._count, top_k))
        return [{"ef": ef} for ef in ladder(max(8, top_k), max(most, top_k))]

    def more(self, effort: Effort, factor: float) -> Effort:
        return {"ef": round(effort["ef"] * factor)}

    def nearest(
        self, queries: FloatArray, count: int, effort: Effort
    ) -> tuple[Int64Array, FloatArray | None]:
        count = min(count, _LARGEST_ANSWER)
        ef = min(max(count, effort["ef"]), 2 * _LARGEST_ANSWER)
        labels = np.full((len(queries), count), -1, dtype=np.int64)
        with errors_of(self.address):
            for start in range(0, len(queries), _QUERIES_AT_ONCE):
                answers = self._client.search(
                    self.collection,
                    queries[start : start + _QUERIES_AT_ONCE],
                    limit=count,
                    search_params={"params": {"ef": ef}},
                )
                for number, hits in enumerate(answers, start):
                    labels[number, : len(hits)] = hits.ids
        return labels, None

    def save(self, folder: Path) -> None:
        if is_server(self.address):
            return
        self._client.close()
        shutil.move(self.address, folder / FOLDER)
        self._client, self.address = _opened_copy(self, folder / FOLDER)
        _load(self._client, self.address, self.collection)

    def drop(self) -> None:
        """Remove the collection from its server."""
        if not is_server(self.address):
            return
        with errors_of(self.address):
            self._client.drop_collection(self.collection)

    def close(self) -> None:
        self._client.close()


def _build(vectors: Vectors, settings: Mapping[str, Any]) -> MilvusEngine:
    address = settings.get("address")
    if address:
        collection, place = settings["collection"], None
    else:
        collection, place = _COLLECTION, tempfile.mkdtemp(prefix="shortlist-milvus-")
        address = str(Path(place) / FOLDER)
    client = connected(address)
    engine = MilvusEngine(client, address, collection, 0)
    if place:
        weakref.finalize(engine, shutil.rmtree, place, ignore_errors=True)
    with errors_of(address):
        client.create_collection(
            collection, schema=_schema(client, vectors.dim), consistency_level="Strong"
        )
    engine.add(vectors)
    with errors_of(address):
        client.create_index(collection, _graph(client, settings))
    _load(client, address, collection)
    return engine


def _schema(client: Any, dim: int) -> Any:
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("label", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    return schema


def _graph(client: Any, settings: Mapping[str, Any]) -> Any:
    parameters = client.prepare_index_params()
    parameters.add_index(
        "vector",
        index_type="HNSW",
        metric_type="L2",
        params={"M": settings["M"], "efConstruction": settings["ef_construction"]},
    )
    return parameters


def _load(client: Any, address: str, collection: str) -> None:
    with errors_of(address):
        client.load_collection(collection)


def _open(folder: Path, count: int, dim: int, settings: Mapping[str, Any]) -> MilvusEngine:
    del dim  # the collection's schema says it
    if address := settings.get("address"):
        client, collection = connected(address), settings["collection"]
        with errors_of(address):
            if not client.has_collection(collection):
                raise DamagedIndexError(f"Milvus at {address} has no collection {collection} more")
        engine = MilvusEngine(client, address, collection, count)
    else:
        engine = MilvusEngine(None, "", _COLLECTION, count)
        engine._client, engine.address = _opened_copy(engine, folder / FOLDER)
    try:
        _load(engine._client, engine.address, engine.collection)
        with errors_of(engine.address):
            there = _count(engine)
    except ServerError as error:
        if settings.get("address"):
            raise
        raise DamagedIndexError(f"{folder / FOLDER} cannot be read: {error}") from error
    if there < count:  # more are there where another process is adding
        raise DamagedIndexError(
            f"the collection {engine.collection} at {engine.address} has {there} vectors, expected "
            f"{count}"
        )
    return engine


def _count(engine: MilvusEngine) -> int:
    (found,) = engine._client.query(
        engine.collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
    )
    return int(found["count(*)"])


def _opened_copy(engine: MilvusEngine, folder: Path) -> tuple[Any, str]:
    """A client over a copy of a folder of Milvus Lite, which is removed with the engine.

    Milvus Lite locks its folder and writes into it: several readers need one each, and the one that
    was checked stays as it is. What never changes is linked, so that a copy takes no space.
    """
    place = tempfile.mkdtemp(prefix="shortlist-milvus-")
    weakref.finalize(engine, shutil.rmtree, place, ignore_errors=True)
    address = Path(place) / FOLDER
    shutil.copytree(folder, address, copy_function=_linked)
    return connected(str(address)), str(address)


def _linked(source: str, target: str) -> None:
    if source.endswith(_NEVER_CHANGES):
        try:
            os.link(source, target)
        except OSError:  # another file system
            pass
        else:
            return
    shutil.copyfile(source, target)


MILVUS = Kind(
    name="milvus",
    extra=EXTRA,
    modules=("pymilvus", "milvus_lite"),
    library="milvus-lite",
    settings={"M": 24, "ef_construction": 120},
    extends=True,
    build=_build,
    open=_open,
)


def on_server(address: str) -> Kind:
    """The engine at a server's address, in a collection of its own."""
    return Kind(
        name="milvus-server",
        extra=EXTRA,
        modules=("pymilvus",),
        library="pymilvus",
        settings={
            **MILVUS.settings,
            "address": address,
            "collection": f"shortlist_{uuid.uuid4().hex}",
        },
        extends=True,
        build=_build,
        open=_open,
    )
