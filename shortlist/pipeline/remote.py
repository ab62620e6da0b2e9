"""An index that was pushed to a Milvus server, open for reading as the pipeline reads an index.

The collection ``NAME`` has an entity for each passage: its id, its place in the order of the index,
the passage as JSON, what of its metadata can be compared, a digest of all of it, and the embedding.
The collection ``NAME_shortlist`` has one, which says which model made the embeddings, which fields
can be compared, and whether the push is complete.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from shortlist.errors import IndexFolderError, UsageError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.engines.milvus_client import connected, errors_of, server_address
from shortlist.pipeline.fields import columns_of, field_values, is_utf8
from shortlist.pipeline.fuse import Ranking
from shortlist.pipeline.index import Among
from shortlist.pipeline.layout import Manifest, ModelRecord
from shortlist.pipeline.retrieval import Asked
from shortlist.pipeline.segments import TEXT_COLUMNS
from shortlist.pipeline.server_filters import FIELDS, server_filter
from shortlist.records import Passage

STATE_SUFFIX = "_shortlist"
LARGEST_FIELD = 65_535  # bytes of a text that Milvus holds
LARGEST_ANSWER = 16_384  # entities that Milvus returns
AT_ONCE = 1_000  # entities in one request: 2 MB of 384 dimensions
FORMAT = 2
GRAPH = {"M": 24, "efConstruction": 120}
_STATE_KEY = "state"
_LEAST_EF = 256
_PASSAGES_KEPT = 20_000
_PER_FILTER = 5_000  # places in one expression


@dataclass(frozen=True)
class PushedState:
    """What a collection holds.

    Attributes:
        model: that made the embeddings.
        cross_encoder: the second stage that the index was made for.
        rows: passages, when the push is complete.
        commit: of the index.
        complete: whether all of it is there.
        fields: metadata that the server can compare, and of which kind.
    """

    model: ModelRecord
    cross_encoder: str | None
    rows: int
    commit: int
    complete: bool
    fields: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def from_json(cls, text: str) -> PushedState:
        """Read what `as_json` wrote."""
        content = json.loads(text)
        return cls(**{**content, "model": ModelRecord(**content["model"])})

    def as_json(self) -> str:
        """The state as JSON."""
        return json.dumps(asdict(self))


class Collection:
    """A collection of a server that passages are pushed to.

    Args:
        address: ``milvus://HOST:PORT/COLLECTION``.

    Raises:
        UsageError: it names no collection.
        ServerError: the server does not answer.
    """

    def __init__(self, address: str) -> None:
        self.address, self.name = server_address(address)
        if not self.name.replace("_", "a").isalnum() or not self.name.isascii():
            raise UsageError(
                f"{address}: name the collection behind the address, of letters, digits and "
                "underscores, such as milvus://HOST:19530/notes"
            )
        self.client = connected(self.address)
        self._state_name = self.name + STATE_SUFFIX

    def state(self) -> PushedState | None:
        """What it holds; None where there is no such collection.

        Raises:
            IndexFolderError: a collection of that name was not made by shortlist.
        """
        with errors_of(self.address):
            if not self.client.has_collection(self._state_name):
                if self.client.has_collection(self.name):
                    raise IndexFolderError(
                        f"{self} is there and was not made by shortlist push; choose another name"
                    )
                return None
            self.client.load_collection(self._state_name)
            found = self.client.get(self._state_name, ids=[_STATE_KEY], consistency_level="Strong")
        if not found:
            return None
        try:
            state = PushedState.from_json(found[0]["value"])
        except (ValueError, KeyError, TypeError) as error:
            raise IndexFolderError(f"{self} is of another version of shortlist: {error}") from error
        if state.format != FORMAT:
            raise IndexFolderError(
                f"{self} has format {state.format}, this shortlist reads {FORMAT}; push the index "
                "again under another name"
            )
        return state

    def __str__(self) -> str:
        return f"collection {self.name} at {self.address}"

    def write_state(self, state: PushedState) -> None:
        """Say what it holds."""
        from pymilvus import DataType

        with errors_of(self.address):
            if not self.client.has_collection(self._state_name):
                schema = self.client.create_schema(auto_id=False)
                schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
                schema.add_field("value", DataType.VARCHAR, max_length=LARGEST_FIELD)
                schema.add_field("unused", DataType.FLOAT_VECTOR, dim=2)  # one is asked for
                indexes = self.client.prepare_index_params()
                indexes.add_index("unused", index_type="FLAT", metric_type="L2")
                self.client.create_collection(
                    self._state_name,
                    schema=schema,
                    index_params=indexes,
                    consistency_level="Strong",
                )
            entity = {"key": _STATE_KEY, "value": state.as_json(), "unused": [0.0, 0.0]}
            self.client.upsert(self._state_name, [entity])
            self.client.flush(self._state_name)

    def make(self, dim: int) -> None:
        """Make the collection where there is none."""
        from pymilvus import DataType

        with errors_of(self.address):
            if not self.client.has_collection(self.name):
                schema = self.client.create_schema(auto_id=False)
                schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=LARGEST_FIELD)
                schema.add_field("place", DataType.INT64)
                schema.add_field("digest", DataType.INT64)
                schema.add_field("passage", DataType.VARCHAR, max_length=LARGEST_FIELD)
                schema.add_field(FIELDS, DataType.JSON)
                schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
                self.client.create_collection(self.name, schema=schema, consistency_level="Strong")
                indexes = self.client.prepare_index_params()
                indexes.add_index("vector", index_type="HNSW", metric_type="IP", params=GRAPH)
                self.client.create_index(self.name, indexes)
            self.client.load_collection(self.name)

    def drop(self) -> None:
        """Remove both collections."""
        with errors_of(self.address):
            for name in (self.name, self._state_name):
                self.client.drop_collection(name)

    def count(self) -> int:
        """How many entities it has."""
        with errors_of(self.address):
            (found,) = self.client.query(
                self.name, filter="", output_fields=["count(*)"], consistency_level="Strong"
            )
        return int(found["count(*)"])

    def entities(self, fields: Sequence[str], narrowed: str = "") -> Iterator[list[dict[str, Any]]]:
        """All entities that an expression of the server lets through, some at a time."""
        with errors_of(self.address):
            stream = self.client.query_iterator(
                self.name, batch_size=AT_ONCE, output_fields=list(fields), filter=narrowed
            )
            while part := stream.next():
                yield list(part)
            stream.close()


class RemoteIndex:
    """A pushed index, open for reading; see `Index` for what its methods are.

    Raises:
        IndexFolderError: there is no such collection.
        ServerError: the server does not answer.
    """

    live = None

    def __init__(self, address: str) -> None:
        self.path = address
        self._collection = Collection(address)
        state = self._collection.state()
        if state is None:
            raise IndexFolderError(
                f"there is no {self._collection}; make it with: shortlist push INDEX --to {address}"
            )
        self.state = state
        self.manifest = Manifest(
            model=state.model, cross_encoder=state.cross_encoder, complete=state.complete
        )
        self._collection.make(state.model.dim)  # and load it
        self._count = state.rows if state.complete else self._collection.count()
        self._passages: OrderedDict[int, Passage] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return self._count

    def size(self) -> None:
        """Nobody knows here what it takes there."""
        return

    def has_changed(self) -> bool:
        """Whether something else was pushed since."""
        return self._collection.state() != self.state

    def among(self, where: str | None) -> Among:
        """Which passages may be found: filters are looked at when there are candidates."""
        return Among(self, None, len(self), where)  # type: ignore[arg-type]

    def ids(self) -> set[str]:
        """All passage ids."""
        return {row["id"] for part in self._collection.entities(["id"]) for row in part}

    def passages(self, rows: Int64Array) -> list[Passage]:
        """The passages at these places."""
        wanted = [int(row) for row in rows]
        with self._lock:
            there = {row: self._passages[row] for row in wanted if row in self._passages}
        missing = [row for row in dict.fromkeys(wanted) if row not in there]
        for start in range(0, len(missing), _PER_FILTER):
            places = missing[start : start + _PER_FILTER]
            with errors_of(self._collection.address):
                found = self._collection.client.query(
                    self._collection.name,
                    filter=f"place in {places}",
                    output_fields=["place", "passage"],
                )
            there |= {row["place"]: passage_from(row["passage"]) for row in found}
        return [there[row] for row in wanted]

    @property
    def live_rows(self) -> Int64Array:
        """Some places, rising: enough to see whether a function is the one that made the index."""
        with errors_of(self._collection.address):
            found = self._collection.client.query(
                self._collection.name, filter="place >= 0", limit=4, output_fields=["place"]
            )
        return np.array(sorted(row["place"] for row in found), dtype=np.int64)

    def vectors(self, rows: Int64Array) -> FloatArray:
        """The embeddings at these places, float32 `[len(rows), dim]`."""
        with errors_of(self._collection.address):
            found = self._collection.client.query(
                self._collection.name,
                filter=f"place in {rows.tolist()}",
                output_fields=["place", "vector"],
            )
        by_place = {row["place"]: row["vector"] for row in found}
        return np.array([by_place[row] for row in rows.tolist()], dtype=np.float32)

    def search(self, asked: Asked, top_k: int, where: str | None) -> Ranking:
        """True scores and places of the best passages that the server finds and that meet `where`.

        What the server cannot sort out is fetched until enough of it meets `where`; then all of it
        is looked at.
        """
        assert asked.embeddings is not None  # noqa: S101 - `encodes`
        scores = np.full((len(asked.texts), top_k), -np.inf, np.float32)
        rows = np.full((len(asked.texts), top_k), -1, np.int64)
        open_ = np.arange(len(asked.texts))
        narrowed = server_filter(where, self.state.fields)
        limit = min(LARGEST_ANSWER, len(self), 4 * top_k if where and not narrowed else top_k)
        while len(open_):
            found = self._nearest(asked.embeddings[open_], limit, narrowed)
            most = max(map(len, found))
            if where is not None:
                found = [self._that_meet(hits, where) for hits in found]
            # there is no more, or what there is must be looked at one by one
            last = limit >= min(LARGEST_ANSWER, len(self)) or (bool(narrowed) and most < limit)
            lacking = []
            for number, hits in zip(open_, found, strict=True):
                _rank(hits, scores[number], rows[number])
                if len(hits) < min(top_k, len(self)):
                    lacking.append(number)
            open_ = np.array(lacking, dtype=np.int64)
            if last:
                break
            limit = min(LARGEST_ANSWER, len(self), 4 * limit)
        if len(open_) and limit < len(self):
            self._exhaust(asked.embeddings, open_, where, narrowed, scores, rows)
        return scores, rows

    def _exhaust(
        self,
        embeddings: FloatArray,
        queries: Int64Array,
        where: str | None,
        narrowed: str,
        scores: FloatArray,
        rows: Int64Array,
    ) -> None:
        """Score all passages that meet a filter, for the queries that found too few of them."""
        hits: dict[int, list[_Near]] = {int(number): [] for number in queries}
        places = self._places(where, narrowed)
        for start in range(0, len(places), _PER_FILTER):
            some = np.array(places[start : start + _PER_FILTER])
            passages = self.passages(some)
            vectors = self.vectors(some)
            for number, found in hits.items():
                products = (vectors * embeddings[number].astype(np.float64)).sum(axis=1)
                found += map(_Near, products.astype(np.float32).tolist(), some.tolist(), passages)
                found.sort(key=_by_score)
                del found[rows.shape[1] :]
        for number, found in hits.items():
            _rank(found, scores[number], rows[number])

    def _places(self, where: str | None, narrowed: str) -> list[int]:
        """Places of all passages that meet a filter, rising: all let through are looked at."""
        met = list[int]()
        for part in self._collection.entities(["place", "passage"], narrowed):
            passages = [passage_from(row["passage"]) for row in part]
            mask = _meets(passages, where)
            met += [row["place"] for row, is_met in zip(part, mask, strict=True) if is_met]
        return sorted(met)

    def _nearest(self, embeddings: FloatArray, limit: int, narrowed: str) -> list[list[_Near]]:
        with errors_of(self._collection.address):
            answers = self._collection.client.search(
                self._collection.name,
                embeddings,
                limit=limit,
                filter=narrowed,
                search_params={"params": {"ef": max(_LEAST_EF, 2 * limit)}},
                output_fields=["place", "passage", "vector"],
            )
        found = []
        for query, answer in zip(embeddings.astype(np.float64), answers, strict=True):
            hits = []
            for hit in answer:
                entity = hit["entity"]
                vector = np.asarray(entity["vector"], dtype=np.float32)
                score = np.float32((query * vector).sum())
                hits.append(_Near(float(score), entity["place"], passage_from(entity["passage"])))
            found.append(hits)
        self._keep([hit for hits in found for hit in hits])
        return found

    def _keep(self, hits: Sequence[_Near]) -> None:
        """Passages of candidates are asked for next."""
        with self._lock:
            for hit in hits:
                self._passages[hit.place] = hit.passage
            while len(self._passages) > max(_PASSAGES_KEPT, len(hits)):
                self._passages.popitem(last=False)

    @staticmethod
    def _that_meet(hits: Sequence[_Near], where: str) -> list[_Near]:
        mask = _meets([hit.passage for hit in hits], where)
        return [hit for hit, met in zip(hits, mask, strict=True) if met]


@dataclass(frozen=True, slots=True)
class _Near:
    score: float
    place: int
    passage: Passage


@dataclass(frozen=True)
class OnServer:
    """The first stage of a pushed index; see `shortlist.pipeline.retrieval`."""

    index: RemoteIndex
    kind: str
    encodes = True

    def search(self, asked: Asked, top_k: int, among: Among) -> Ranking:
        """See `Retriever`."""
        return self.index.search(asked, top_k, among.where)


def _by_score(hit: _Near) -> tuple[float, int]:
    return -hit.score, hit.place


def _rank(hits: Sequence[_Near], scores: FloatArray, rows: Int64Array) -> None:
    """Write the best hits into one query's scores and rows; equal scores by place."""
    best = sorted(hits, key=_by_score)[: len(rows)]
    scores[: len(best)] = [hit.score for hit in best]
    rows[: len(best)] = [hit.place for hit in best]


def _meets(passages: Sequence[Passage], where: str | None) -> list[bool]:
    """Which passages meet an expression; a field that none of them has is met by none."""
    if where is None or not passages:
        return [True] * len(passages)
    from shortlist.pipeline.filters import rows_where

    fields, arrays = columns_of([passage.metadata for passage in passages])
    own = [
        pa.array([getattr(passage, name) for passage in passages], pa.large_string())
        for name in TEXT_COLUMNS
    ]
    texts = [pa.field(name, pa.large_string()) for name in TEXT_COLUMNS]
    table = pa.table([*own, *arrays], schema=pa.schema([*texts, *fields]))

    def column(name: str) -> Any:
        if name in TEXT_COLUMNS:
            return table.column(name).combine_chunks()
        values = field_values(table, name)
        try:
            return pa.array(values) if isinstance(values, list) else values.combine_chunks()
        except AttributeError:  # an array already
            return values

    return [bool(met) for met in rows_where(where, column)]


def passage_as_json(passage: Passage) -> str:
    """A passage as the server holds it.

    Raises:
        UsageError: it is longer than Milvus holds.
    """
    content = {name: value for name, value in asdict(passage).items() if value}
    text = json.dumps(content, ensure_ascii=False)
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_FIELD or not is_utf8(text):
        text = json.dumps(content)
    if len(text.encode()) > LARGEST_FIELD:
        raise UsageError(
            f"the passage {passage.id[:100]!r} takes {len(text.encode()):,} bytes, Milvus holds "
            f"{LARGEST_FIELD:,} of one; index it in shorter passages (--cut-records)"
        )
    return text


def passage_from(text: str) -> Passage:
    """The passage that a server holds."""
    return Passage(**{"text": "", **json.loads(text)})
