"""An index moved to a Milvus server: resumed where it was interrupted, and verified.

A push makes the collection equal to the index, whatever is there already: passages that are there
as they are stay, others are written, and those that are no more are deleted. So the same call goes
on after an interruption, and brings the collection up to date after the index has changed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shortlist.errors import DataError, IndexFolderError, ServerError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.engines.milvus_client import errors_of
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.index import Index
from shortlist.pipeline.remote import (
    AT_ONCE,
    Collection,
    PushedState,
    RemoteIndex,
    passage_as_json,
)
from shortlist.pipeline.retrieval import Asked
from shortlist.pipeline.server_filters import FIELDS, comparable, of_one_kind
from shortlist.records import Passage

SAMPLE = 100  # searches by which a push is verified
_SAMPLE_TOP_K = 10
_LEAST_RECALL, _SETTLED_RECALL = 0.9, 0.99
_SECONDS_TO_SETTLE = 120
_LARGEST_ID = 65_535  # bytes


@dataclass(frozen=True)
class Pushed:
    """What a push did, in passages."""

    written: int
    deleted: int
    unchanged: int
    recall: float  # of the sampled searches, against the exact search here


def push(
    path: str | Path,
    address: str,
    *,
    overwrite: bool = False,
    on_passages: Callable[[int], object] = lambda _: None,
) -> Pushed:
    """Make a collection of a Milvus server equal to an index.

    Args:
        path: the index.
        address: ``milvus://HOST:PORT/COLLECTION``.
        overwrite: drop a collection of another model that is there.
        on_passages: told of so many passages more.

    Raises:
        IndexFolderError: the index is unfinished, or another model's passages are there.
        DataError: a passage that Milvus cannot hold.
        ServerError: the server does not answer, or what it holds in the end is not the index.
    """
    index = Index(path)
    manifest = index.manifest
    if not manifest.complete:
        raise IndexFolderError(f"{path} is unfinished; run the same shortlist index again first")
    collection = Collection(address)
    target = PushedState(
        manifest.model, manifest.cross_encoder, len(index), manifest.commit, complete=True
    )
    before = collection.state()
    if before and before.model != manifest.model:
        if not overwrite:
            raise IndexFolderError(
                f"{collection} holds passages of {before.model.name} (fingerprint "
                f"{before.model.fingerprint}), the index is of {manifest.model.name} (fingerprint "
                f"{manifest.model.fingerprint}); choose another name, or --overwrite"
            )
        collection.drop()
    collection.write_state(_unfinished(target))
    collection.make(manifest.model.dim)
    there, kinds = _there(collection), dict[str, str]()
    written = unchanged = 0
    for passages, vectors, places in _blocks(index):
        texts = [passage_as_json(passage) for passage in passages]
        fields = [comparable(passage, kinds) for passage in passages]
        digests = [_digest(text, vector, place) for text, vector, place in zip(
            texts, vectors, places, strict=True)]  # fmt: skip
        new = [n for n, p in enumerate(passages) if there.pop(p.id, None) != digests[n]]
        entities = [
            {
                "id": _checked_id(passages[n]),
                "place": int(places[n]),
                "digest": digests[n],
                "passage": texts[n],
                FIELDS: fields[n],
                "vector": vectors[n],
            }
            for n in new
        ]
        if entities:
            with errors_of(collection.address):
                collection.client.upsert(collection.name, entities)
        written += len(new)
        unchanged += len(passages) - len(new)
        on_passages(len(passages))
    gone = list(there)
    for start in range(0, len(gone), AT_ONCE):
        with errors_of(collection.address):
            collection.client.delete(collection.name, ids=gone[start : start + AT_ONCE])
    with errors_of(collection.address):
        collection.client.flush(collection.name)
    recall = _verified(index, collection, address)
    collection.write_state(replace(target, fields=of_one_kind(kinds)))
    return Pushed(written, len(gone), unchanged, recall)


def _unfinished(state: PushedState) -> PushedState:
    return PushedState(state.model, state.cross_encoder, 0, state.commit, complete=False)


def _there(collection: Collection) -> dict[str, int]:
    """Id -> digest of every passage that the server has."""
    return {
        row["id"]: row["digest"] for part in collection.entities(["id", "digest"]) for row in part
    }


def _blocks(index: Index) -> Iterator[tuple[list[Passage], FloatArray, Int64Array]]:
    """Passages, embeddings and places in the order of the index, some at a time."""
    rows = index.live_rows
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        places = np.empty(len(part), np.int64)
        for segment, positions, within in index.by_segment(part):
            places[positions] = (segment << 32) + within  # stays, whatever is deleted before it
        yield index.passages(part), index.vectors(part), places


def _digest(text: str, vector: FloatArray, place: int) -> int:
    digest = hashlib.blake2b(digest_size=8)
    digest.update(text.encode())
    digest.update(vector.tobytes())
    digest.update(int(place).to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little", signed=True)


def _checked_id(passage: Passage) -> str:
    if len(passage.id.encode("utf-8", "replace")) > _LARGEST_ID:
        raise DataError(f"the id {passage.id[:100]!r}... is longer than Milvus holds")
    return passage.id


def _verified(index: Index, collection: Collection, address: str) -> float:
    """Count the passages there, and compare sampled searches with the exact ones here.

    Raises:
        ServerError: they differ.
    """
    count = collection.count()
    if count != len(index):
        raise ServerError(
            f"{collection} has {count:,} passages, the index {len(index):,}; push again"
        )
    if not count:
        return 1.0
    rows = np.sort(np.random.default_rng(0).permutation(index.live_rows)[:SAMPLE])
    queries, top_k = index.vectors(rows), min(_SAMPLE_TOP_K, count)
    exact = ExactSearch(index.embeddings, zeros=True)
    best, _ = exact.search(queries, top_k, mask=index.live)
    remote = RemoteIndex(address)
    give_up = time.monotonic() + _SECONDS_TO_SETTLE
    while True:
        found, _ = remote.search(Asked([""] * len(rows), queries), top_k, None)
        recall = float((found >= best[:, -1:]).mean())
        if recall >= _SETTLED_RECALL or time.monotonic() > give_up:
            break
        time.sleep(1)  # the server makes its graph after the last passage, and is coarser till then
    if recall < _LEAST_RECALL:
        raise ServerError(
            f"{collection} found {recall:.0%} of what {SAMPLE} searches find here; push again"
        )
    return recall
