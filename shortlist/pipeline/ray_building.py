"""An index made by a Ray cluster: it reads, cuts and encodes, and one writer commits what comes.

One task reads the collection and hands out blocks of passages in their order. Actors, one for each
CPU (or GPU), encode a block and write it as a segment into a folder of its own inside the index.
The driver moves the segments to their places in the order of the source and commits each: what is
committed is an index that can be searched, gone on with, or finished without Ray.

All machines must see the source and the index under the same paths, and have the same version of
shortlist. A worker that dies is replaced, and its block encoded again: only whole segments that
were handed over are ever committed.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import socket
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

import shortlist
from shortlist.errors import (
    IndexFolderError,
    IndexWriteError,
    MissingExtraError,
    ServerError,
    ShortlistError,
    UsageError,
)
from shortlist.models.bi_encoder import BiEncoder
from shortlist.pipeline.building import building
from shortlist.pipeline.index import Index
from shortlist.pipeline.known import encode_once
from shortlist.pipeline.layout import MANIFEST, STAGING, Manifest, SegmentRecord
from shortlist.pipeline.reading import Reading, ReadingOptions
from shortlist.pipeline.segments import joined, write_segment
from shortlist.pipeline.stages import model_record
from shortlist.pipeline.writer import IndexWriter, check_rows
from shortlist.pipeline.writing import PASSAGES_AT_ONCE, UniqueIds, as_passages, batches
from shortlist.records import Passage

PASSAGES_PER_BLOCK = 4 * PASSAGES_AT_ONCE  # encoded by one worker, and lost with it
LOCAL = "local"  # in place of an address: a cluster of this machine's cores, for this build only
_CONNECT_SECONDS = 5.0
_THREAD_SECONDS = 30.0  # until a thread of Ray's that was told to end is given up
_FEEDING = ("StreamingExecutor", "iter_threaded")  # how Ray Data names those that talk to Ray
_READER_CPUS = 0.1  # reading is fast; each actor leaves as much of its core


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker is told."""

    source: str
    options: ReadingOptions
    index: Path  # where it is being made
    committed: int  # rows of it that a build before this one has left
    staging: Path  # where workers write
    manifest: Manifest
    device: str
    host: str  # the driver's
    block: int

    def load(self) -> BiEncoder:
        """The model, as the driver has it.

        Raises:
            IndexFolderError: this machine sees another disk, model or version than the driver.
        """
        if not (self.index / MANIFEST).exists():
            raise IndexFolderError(
                f"{self.index} is not there; the index and its source must lie on a disk that "
                "every machine of the cluster has under the same path"
            )
        made_by = f"shortlist {shortlist.__version__}"
        if made_by != self.manifest.created_by:
            raise IndexFolderError(
                f"{made_by} is installed, and {self.manifest.created_by} where the build was "
                "begun; install the same version on every machine of the cluster"
            )
        wanted = self.manifest.model
        model = BiEncoder.load(
            wanted.name,
            query_prompt=wanted.query_prompt,
            passage_prompt=wanted.passage_prompt,
            device=self.device,
            precision=wanted.precision,
        )
        if model_record(model) != wanted:
            raise IndexFolderError(
                f"{wanted.name} is another model (fingerprint {model.fingerprint}) than where the "
                f"build was begun (fingerprint {wanted.fingerprint}); copy the same files to every "
                "machine of the cluster"
            )
        return model


@dataclass(frozen=True, slots=True)
class Same:
    """How many committed passages are still the first ones of the source."""

    passages: int


@dataclass(frozen=True, slots=True)
class Block:
    """Passages to be encoded."""

    first: int  # the number of the first one
    passages: Sequence[Passage]
    said: Sequence[str]  # for the user, while they were read


@dataclass(frozen=True, slots=True)
class Encoded:
    """A block as a segment that nobody has committed yet."""

    folder: Path
    record: SegmentRecord
    ids: Sequence[str]
    said: Sequence[str]


@dataclass(frozen=True, slots=True)
class End:
    """The source was read to its end."""

    described: dict[str, Any] = field(default_factory=dict)
    said: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """What went wrong on a worker: an error of ours, which Ray would wrap in others."""

    error: ShortlistError


def require_ray() -> None:
    """Refuse to begin without the library.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "encoding on a Ray cluster needs an extra: pip install 'shortlist[ray]'"
        ) from error


def build_on_ray(
    reading: Reading,
    path: Path,
    address: str,
    manifest: Manifest,
    *,
    device: str,
    overwrite: bool = False,
    bar: Any,
) -> Index:
    """Make an index with a Ray cluster; what a single process would make of the same source.

    Identical texts are encoded once within a block, not once in the whole collection. Interrupted
    or killed, the same call goes on, with Ray or without.

    Args:
        reading: the source; it is read on the cluster, and says here what it has to say.
        path: the folder to make.
        address: of the cluster's head, ``HOST:PORT``; ``auto`` for the one that this machine
            belongs to; ``local`` for this machine alone.
        manifest: what the index is to be.
        device: of each worker, such as "cpu"; a GPU for each where it is another.
        overwrite: replace an index that is there already.
        bar: told of so many passages more.

    Raises:
        MissingExtraError: Ray is not installed.
        ServerError: no cluster answers.
        DataError: what is wrong in the source, as in a single process.
        IndexFolderError: as in a single process, or a worker has another model, version or disk.
    """
    require_ray()
    with (
        _cluster(address) as ray,
        building(path, manifest, overwrite=overwrite) as writer,
        _staging(writer.path) as staging,
    ):
        writer.compact()  # rows have one number each from here on
        job = Job(
            source=reading.absolute_source,
            options=reading.options,
            index=writer.path,
            committed=len(writer.index),
            staging=staging,
            manifest=_with_absolute_model(manifest),
            device=device,
            host=socket.gethostname(),
            block=PASSAGES_PER_BLOCK,
        )
        with closing(_messages(ray, job)) as messages:
            described = _commit_all(writer, messages, reading.say, bar)
        writer.commit(source=described)
    return writer.index


def _commit_all(writer: IndexWriter, messages: Iterator[Any], say: Any, bar: Any) -> dict[str, Any]:
    """Commit what the workers hand over, as it comes; what is to be recorded of the source."""
    ids = UniqueIds(writer)
    for message in messages:
        if isinstance(message, Failed):
            raise message.error
        if isinstance(message, Same):
            for batch in batches(islice(writer.index.all_passages(), message.passages)):
                ids.claim([passage.id for passage in batch])
            writer.delete(np.arange(message.passages, len(writer.index)))
            writer.commit()
            bar.update(message.passages)
            continue
        for line in message.said:
            say(line)
        if isinstance(message, End):
            return message.described
        ids.claim(message.ids)
        writer.adopt(message.folder, message.record)
        bar.update(len(message.ids))
    raise RuntimeError("the reader ended without saying so")


def _messages(ray: Any, job: Job) -> Generator[Any, None, None]:
    """What the cluster makes of the source, in its order."""
    workers = _workers(ray, job.device)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with _settings(ray):
        told = (
            ray.data.from_items([{"job": pickle.dumps(job)}])
            .flat_map(_read, num_cpus=_READER_CPUS)
            .map(
                _Encoder,
                fn_constructor_args=[job],
                compute=ray.data.ActorPoolStrategy(size=workers),
                **_share(job.device),
            )
        )
        # closed at once where the driver stops: Ray's threads must end before its connection
        with _ended_threads(), closing(iter(told.iter_rows())) as rows:
            for row in rows:
                yield pickle.loads(row["message"])  # noqa: S301 - of our own workers


@contextmanager
def _ended_threads() -> Iterator[None]:
    """Leave when Ray's threads that were begun meanwhile have ended.

    Closing what they feed only asks them to. One that comes back to Ray after the connection is
    gone has Ray end the whole process, at once and without a word.
    """
    before = set(threading.enumerate())
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith(_FEEDING):
                thread.join(_THREAD_SECONDS)


@contextmanager
def _settings(ray: Any) -> Iterator[None]:
    """Messages one by one and in their order; the process's own settings afterwards."""
    context = ray.data.DataContext.get_current()
    options = context.execution_options
    before = context.enable_progress_bars, context.target_max_block_size, options.preserve_order
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # each message goes its own way as soon as it is there
    options.preserve_order = True
    try:
        yield
    finally:
        context.enable_progress_bars, context.target_max_block_size = before[:2]
        options.preserve_order = before[2]


def _workers(ray: Any, device: str) -> int:
    resource = "CPU" if device in ("cpu", "torch-cpu") else "GPU"
    there = int(ray.cluster_resources().get(resource, 0))
    if not there:
        raise ServerError(f"the Ray cluster has no {resource}; --device {device} needs one")
    return there


def _share(device: str) -> dict[str, float]:
    """What an actor takes of its machine."""
    own = {"num_cpus": 1 - _READER_CPUS}
    return own if device in ("cpu", "torch-cpu") else own | {"num_gpus": 1}


def _read(row: dict[str, Any]) -> Iterator[dict[str, bytes]]:
    """A task: the messages of a reader."""
    job = pickle.loads(row["job"])  # noqa: S301 - of our own driver
    try:
        for message in _blocks(job):
            yield {"message": pickle.dumps(message)}
    except ShortlistError as error:
        yield {"message": pickle.dumps(_failed(job, error))}


def _blocks(job: Job) -> Iterator[Same | Block | End]:
    said: list[str] = []
    reading = Reading(job.source, job.load(), job.options, said.append)
    stream = as_passages(reading.passages())
    same, rest = _compared(job, stream)
    yield Same(same)
    first = same
    for block in batches(_chained(rest, stream), job.block):
        yield Block(first, block, tuple(said))
        said.clear()
        first += len(block)
    reading.report()
    yield End(reading.described(), tuple(said))


def _compared(job: Job, stream: Iterator[Passage]) -> tuple[int, list[Passage]]:
    """How many of the committed passages come again, and what was read beyond them.

    A reader that takes the place of a dead one compares the same rows: what is committed meanwhile
    comes after them.
    """
    index = Index(job.index)
    for start in range(0, job.committed, job.block):
        rows = np.arange(start, min(start + job.block, job.committed))
        there = index.passages(rows)
        now = list(islice(stream, len(rows)))
        same = next((i for i, p in enumerate(there) if now[i : i + 1] != [p]), len(there))
        if same < len(there):
            return start + same, now[same:]
    return job.committed, []


def _chained(rest: list[Passage], stream: Iterator[Passage]) -> Iterator[Passage]:
    yield from rest
    yield from stream


class _Encoder:
    """An actor: makes segments of blocks, and hands everything else on."""

    def __init__(self, job: Job) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"  # there is an actor for every core
        self._job = job
        self._model: BiEncoder | None = None

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        message = pickle.loads(row["message"])  # noqa: S301 - of our own reader
        if not isinstance(message, Block):
            return row
        answer: Encoded | Failed
        try:
            answer = self._encoded(message)
        except ShortlistError as error:
            answer = _failed(self._job, error)
        except OSError as error:
            answer = _failed(
                self._job,
                IndexWriteError(f"cannot write the index at {self._job.index}: {error}"),
            )
        return {"message": pickle.dumps(answer)}

    def _encoded(self, block: Block) -> Encoded:
        self._model = self._model or self._job.load()
        # in the batches of a single process: the last bit of a number depends on its batch
        rows = joined([encode_once(part, self._model)[0] for part in batches(block.passages)])
        check_rows(rows, block.first, self._model.dim)
        folder = self._job.staging / uuid4().hex  # a block may be encoded twice
        folder.mkdir()
        record = write_segment(folder, 1, rows, self._job.manifest.store)
        return Encoded(folder, record, [p.id for p in block.passages], block.said)


def _failed(job: Job, error: ShortlistError) -> Failed:
    """An error as the driver is told of it: it names the machine where that is another one."""
    host = socket.gethostname()
    return Failed(error if host == job.host else type(error)(f"on the worker {host}: {error}"))


def _with_absolute_model(manifest: Manifest) -> Manifest:
    """A model of a folder, named so that a worker finds it."""
    folder = Path(manifest.model.name)
    if not folder.is_dir():
        return manifest
    return replace(manifest, model=replace(manifest.model, name=str(folder.resolve())))


@contextmanager
def _staging(index: Path) -> Iterator[Path]:
    folder = index / f"{STAGING}{uuid4().hex}"
    try:
        folder.mkdir()
    except OSError as error:
        raise IndexWriteError(f"cannot write the index at {index}: {error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Ray, connected; one that was connected already stays so.

    Raises:
        ServerError: no cluster answers.
        UsageError: an address that is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address == LOCAL:  # it listens on 127.0.0.1 only, as on the systems this is named for
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    _check_answers(address)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == LOCAL else None,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Ray itself would try for half a minute."""
    if address in (LOCAL, "auto"):
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit()) or "/" in host:
        raise UsageError(
            f"--ray {address}: expected the address of the cluster's head, HOST:PORT, or auto on a "
            f"machine of the cluster, or {LOCAL} for this machine alone"
        )
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ServerError:
    first = str(error).strip().partition("\n")[0]
    return ServerError(
        f"no Ray cluster answers at {address} ({first}); start one with: ray start --head, and "
        "give its HOST:PORT on a machine that belongs to it, or take this machine alone: "
        f"--ray {LOCAL}"
    )
