"""An engine for a state of an index: the one beside it, brought up to date, or a new one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from shortlist.errors import (
    DamagedIndexError,
    IndexFolderError,
    ShortlistError,
    UsageError,
)
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.engines.annoy import ANNOY
from shortlist.pipeline.engines.approximate import ApproximateSearch, Measured
from shortlist.pipeline.engines.bm25 import BM25, K1, B, BM25Search, require_bm25
from shortlist.pipeline.engines.derived import (
    EngineRecord,
    check_files,
    engine_lock,
    read_record,
    saved_records,
    write_engine,
    write_record,
)
from shortlist.pipeline.engines.faiss import FAISS, FAISS_IVFPQ
from shortlist.pipeline.engines.hnswlib import HNSWLIB
from shortlist.pipeline.engines.labels import ROWS_AT_ONCE, Labels, uncovered, vectors_of
from shortlist.pipeline.engines.milvus import MILVUS, on_server
from shortlist.pipeline.engines.milvus_client import is_server, server_address
from shortlist.pipeline.engines.protocol import Engine, Kind, version_of
from shortlist.pipeline.engines.space import Space, space_of
from shortlist.pipeline.engines.tuning import DEPTHS, TARGET, check_target, tuned
from shortlist.pipeline.index import Index
from shortlist.pipeline.retrieval import ByWords
from shortlist.pipeline.writing import progress_bar

logger = logging.getLogger(__name__)

EXACT = "exact"
KINDS = {kind.name: kind for kind in (FAISS, FAISS_IVFPQ, HNSWLIB, ANNOY, MILVUS)}

# Rows that an engine lacks are searched exactly, which costs little as long as they are few
_NEW_ROWS = 1_000
_NEW_SHARE = 0.02
_NEW_SHARE_ANEW = 0.1  # where it has to be built anew for them
_GONE_SHARE = 0.25  # of its labels, which it finds in vain

Queries = Callable[[], FloatArray]
"""Makes the sample queries that efforts are measured with."""


def kind_named(name: str) -> Kind:
    """The engine that a user names: one of `KINDS`, or the address of a Milvus server.

    Raises:
        UsageError: there is none of that name.
        MissingExtraError: its library is not installed.
    """
    if is_server(name):
        address, collection = server_address(name)
        if collection:
            raise UsageError(
                f"{name}: an engine makes its own collection, leave {collection!r} out; to search "
                "where an index was pushed to, give that address in the place of the index"
            )
        kind = on_server(address)
    elif name in KINDS:
        kind = KINDS[name]
    else:
        there = ", ".join([EXACT, *KINDS, BM25])
        raise UsageError(f"no engine is named {name!r}; there are {there}, and milvus://HOST:PORT")
    kind.require()
    return kind


@dataclass(frozen=True)
class Opened:
    """An engine beside an index, or on its way there."""

    kind: Kind
    settings: Mapping[str, Any]  # it was built with
    search: ApproximateSearch
    record: EngineRecord | None = None  # as it was saved


def is_stale(search: ApproximateSearch) -> bool:
    """Whether so much was added or deleted since that an engine should be brought up to date."""
    share = _NEW_SHARE if search.kind.extends else _NEW_SHARE_ANEW
    few = max(_NEW_ROWS, share * len(search.labels))
    return search.new_rows > few or _has_much_gone(search)


def _has_much_gone(search: ApproximateSearch) -> bool:
    return search.gone_labels > _GONE_SHARE * max(1, len(search.labels))


def opened_engine(
    index: Index,
    name: str,
    queries: Queries,
    *,
    target_recall: float | None = None,
    depths: Sequence[int] = (),
    rebuild: bool = False,
    again: bool = False,
    progress: bool | None = False,
) -> ApproximateSearch:
    """Search a state of an index with an engine: built, measured and saved on first use.

    What was added to the index since is searched exactly, until it is so much that the engine is
    extended (or built anew, if it cannot be). Where nothing can be written, the engine is for this
    process alone.

    Args:
        index: the state.
        name: of the engine.
        queries: makes sample queries.
        target_recall: what the efforts are to reach, 0.99 unless something else was wanted before.
        depths: numbers of neighbours to measure efforts for, besides 10, 30 and 100.
        rebuild: make it anew even if there is one.
        again: measure even what was measured.
        progress: as in `RetrieveRerankPipeline.build`.

    Raises:
        UsageError: no such engine, or no such recall.
        MissingExtraError: its library is not installed.
        ServerError: its server does not answer.
    """
    if target_recall is not None:
        check_target(target_recall)
    kind = kind_named(name)
    there = None if rebuild else _opened(index, kind)
    if (
        there
        and not again
        and not is_stale(there.search)
        and not _to_measure(there, index, target_recall, depths)
    ):
        return there.search
    try:
        with engine_lock(index.path):
            there = _opened(index, kind)  # another process may have made it meanwhile
            made = there if there and not is_stale(there.search) and not rebuild else None
            made = made or _grown(index, kind, None if rebuild else there, progress)
            if again:
                made = replace(made, search=made.search.with_efforts(()))
            made = _measured(made, there, index, queries, target_recall, depths)
            _save(made, there, index)
            return made.search
    except (OSError, IndexFolderError) as error:
        logger.warning("the engine %s is not saved beside %s: %s", kind.name, index.path, error)
        made = there or _grown(index, kind, None, progress)
        return _measured(made, there, index, queries, target_recall, depths).search


def update_engines(index: Index, queries: Queries, *, progress: bool | None = False) -> list[str]:
    """Bring the engines beside an index up to date where much was added; the names of those.

    What one lacks otherwise is searched exactly, and so is what could not be added to one.
    """
    done = []
    for record in saved_records(index.path):
        if record.engine == BM25:
            continue  # what few words change, changes every score: it is made anew when it is used
        name = record.settings.get("address", record.engine)
        try:
            there = _opened(index, kind_named(name))
            if there is None:
                continue
            there.search.close()
            if is_stale(there.search):
                opened_engine(index, name, queries, progress=progress).close()
                done.append(record.engine)
        except ShortlistError as error:
            logger.warning("the engine %s lacks what was added: %s", record.engine, error)
    return done


def opened_words(index: Index, *, progress: bool | None = False) -> ByWords:
    """BM25 over a state of an index, built and saved on first use, and when the index has changed.

    Raises:
        MissingExtraError: its library is not installed.
    """
    require_bm25()
    rows = index.live_rows
    settings = {"k1": K1, "b": B, "commit": index.manifest.commit}
    try:
        record = read_record(index.path, BM25)
        if record and record.settings == settings:
            check_files(record, index.path)
            words = BM25Search.open(record.folder(index.path))
            if len(words) == len(rows):
                return ByWords(words, rows)
    except DamagedIndexError as error:
        logger.warning("%s; it is built again", error)
    with progress_bar("indexing words", len(rows), "passages", progress) as bar:
        words = BM25Search.build(_texts(index, bar.update))
    describe = partial(
        EngineRecord, engine=BM25, library=version_of("bm25s"), model="", settings=settings
    )
    try:
        with engine_lock(index.path):
            write_engine(index.path, BM25, words.save, describe)
    except (OSError, IndexFolderError) as error:
        logger.warning("%s is not saved beside %s: %s", BM25, index.path, error)
    return ByWords(words, rows)


def _texts(index: Index, on_passages: Callable[[int], object]) -> Iterator[str]:
    for passage in index.all_passages():
        yield passage.model_text
        on_passages(1)


def _opened(index: Index, kind: Kind) -> Opened | None:
    """The engine that is beside an index; None where there is none that can be used."""
    try:
        record = read_record(index.path, kind.name)
        if record is None or not _fits(record, index, kind):
            return None
        check_files(record, index.path)
        folder = record.folder(index.path)
        labels = Labels.open(folder, record.segments)
        space = Space(index.manifest.model.dim, record.largest)
        engine = kind.open(folder, len(labels), space.dim, record.settings)
    except DamagedIndexError as error:
        logger.warning("%s; the engine %s is built again", error, kind.name)
        return None
    measured = [Measured(**fields) for fields in record.measured]
    search = _search(index, engine, labels, space, kind, measured)
    return Opened(kind, record.settings, search, record)


def _fits(record: EngineRecord, index: Index, kind: Kind) -> bool:
    """Whether an engine was made of embeddings of that model, and where it was asked for."""
    same_place = record.settings.get("address") == kind.settings.get("address")
    return record.model == index.manifest.model.fingerprint and same_place


def _to_measure(
    there: Opened, index: Index, target: float | None, depths: Sequence[int]
) -> list[int]:
    """For how many neighbours an effort is still to be found."""
    if not len(index):
        return []
    measured = {found.top_k: found.target for found in there.search.measured}
    wanted = {min(depth, len(index)) for depth in (*(() if measured else DEPTHS), *depths)}
    if target is not None:
        wanted |= {depth for depth, held in measured.items() if held != target}
        return sorted(d for d in wanted if measured.get(d) != target)
    return sorted(wanted - measured.keys())


def _measured(
    made: Opened,
    before: Opened | None,
    index: Index,
    queries: Queries,
    target: float | None,
    depths: Sequence[int],
) -> Opened:
    """With efforts that hold the target; what was wanted before is wanted of a new engine too."""
    earlier = before.search.measured if before else ()
    if target is None:
        target = earlier[0].target if earlier else TARGET
    if not made.search.measured:
        depths = [*DEPTHS, *depths, *(found.top_k for found in earlier)]
    todo = _to_measure(made, index, target, depths)
    new = tuned(made.search, queries(), target, todo) if todo else []
    for found in new:
        if not found.is_met:
            logger.warning(
                "%s: recall@%s is %.3f with the greatest effort, %.3f was wanted",
                made.kind.name,
                found.top_k,
                found.recall,
                target,
            )
    kept = [found for found in made.search.measured if found.top_k not in todo]
    return replace(made, search=made.search.with_efforts([*kept, *new]))


def _grown(index: Index, kind: Kind, there: Opened | None, progress: bool | None) -> Opened:
    """An engine that has all rows: the one that is there with what it lacks, or a new one."""
    if there and kind.extends and not _has_much_gone(there.search):
        engine, labels, space = there.search.engine, there.search.labels, there.search.space
        new = uncovered(labels.rows_in(index), index)
        if _all_fit(index, new, space):
            with progress_bar(f"extending {kind.name}", len(new), "vectors", progress) as bar:
                engine.add(vectors_of(index, new, space, bar.update))
            search = _search(index, engine, labels.extended(index, new), space, kind, ())
            return Opened(kind, there.settings, search)
    rows = index.live_rows
    metric = index.manifest.model.metric
    space = space_of(_embeddings(index, rows), index.manifest.model.dim, metric)
    with progress_bar(f"building {kind.name}", len(rows), "vectors", progress) as bar:
        engine = kind.build(vectors_of(index, rows, space, bar.update), kind.settings)
    labels = Labels().extended(index, rows)
    search = _search(index, engine, labels, space, kind, ())
    return Opened(kind, kind.settings, search)


def _all_fit(index: Index, rows: Int64Array, space: Space) -> bool:
    return all(space.holds(block) for block in _embeddings(index, rows))


def _embeddings(index: Index, rows: Int64Array) -> Iterator[FloatArray]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield index.vectors(rows[start : start + ROWS_AT_ONCE])


def _search(
    index: Index,
    engine: Engine,
    labels: Labels,
    space: Space,
    kind: Kind,
    measured: Sequence[Measured],
) -> ApproximateSearch:
    return ApproximateSearch(index, engine, kind, labels, space, measured)


def _save(made: Opened, before: Opened | None, index: Index) -> None:
    """Save what is new: an engine, or efforts for the one that is there."""
    measured = tuple(asdict(found) for found in made.search.measured)
    if made.record:
        write_record(index.path, replace(made.record, measured=measured))
        return

    def save(folder: Path) -> None:
        made.search.engine.save(folder)
        made.search.labels.save(folder)

    write_engine(
        index.path,
        made.kind.name,
        save,
        partial(
            EngineRecord,
            engine=made.kind.name,
            library=made.kind.library_version,
            model=index.manifest.model.fingerprint,
            settings=made.settings,
            segments=made.search.labels.segments,
            largest=made.search.space.largest,
            measured=measured,
        ),
    )
    if before and before.settings != made.settings:
        before.search.engine.drop()
