"""An index made by a Ray cluster is what a single process makes, whatever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import numpy as np
import pytest

from shortlist import RetrieveRerankPipeline
from shortlist.errors import DataError, ServerError, UsageError
from shortlist.models.bi_encoder import BiEncoder
from shortlist.pipeline import ray_building
from shortlist.pipeline.index import Index
from shortlist.pipeline.ray_building import build_on_ray
from shortlist.pipeline.reading import Reading, ReadingOptions
from shortlist.pipeline.stages import new_manifest
from shortlist.pipeline.writing import progress_bar

ROWS = 1_000
BLOCK = 64


def write(path, rows):
    lines = [
        json.dumps({"id": f"r{n}", "title": f"Title {n % 7}", "text": text, "year": n})
        for n, text in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def rows(start, stop, word="word"):
    return [(n, f"{word}{n} " * (1 + n % 40) + f"and same{n % 50}") for n in range(start, stop)]


@pytest.fixture(scope="module")
def model(exports):
    return BiEncoder.load("shortlist-static-v1")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write(tmp_path_factory.mktemp("ray") / "rows.jsonl", rows(0, ROWS))


@pytest.fixture(scope="module")
def cluster():
    """A head that does not compute, and two workers, each with one CPU and its own processes."""
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "1")
        patch.setattr(ray_building, "PASSAGES_PER_BLOCK", BLOCK)
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for _ in range(2):
            made.add_node(num_cpus=1)
        made.wait_for_nodes()
        yield made
        ray.shutdown()
        made.shutdown()


def plain(source, path, model, say=print):
    """The same with one process."""
    reading = Reading(str(source), model, ReadingOptions(), say)
    made = RetrieveRerankPipeline.build(
        reading.passages(),
        path,
        bi_encoder=model,
        cross_encoder="none",
        source=reading.described,
    ).index
    reading.report()
    return made


def on_ray(source, path, model, cluster, say=print, **options):
    reading = Reading(str(source), model, ReadingOptions(), say)
    manifest = new_manifest(
        model, cross_encoder="none", preset="fast", store="float32", source=reading.described()
    )
    address = cluster if isinstance(cluster, str) else cluster.address
    with progress_bar("", None, "", False) as bar:
        return build_on_ray(reading, path, address, manifest, device="cpu", bar=bar, **options)


def assert_same(one, other):
    """Equal in everything that a search sees, and in what is recorded of the source."""
    assert list(one.all_passages()) == list(other.all_passages())
    assert np.array_equal(one.vectors(one.live_rows), other.vectors(other.live_rows))
    assert np.array_equal(one.cut_tokens(one.live_rows), other.cut_tokens(other.live_rows))
    assert one.manifest.source == other.manifest.source
    assert one.manifest.model == other.manifest.model
    assert one.manifest.complete
    assert other.manifest.complete


def test_it_is_what_a_single_process_makes(source, model, cluster, tmp_path):
    said, said_there = [], []
    made = on_ray(source, tmp_path / "ray.idx", model, cluster, said_there.append)
    assert_same(made, plain(source, tmp_path / "plain.idx", model, said.append))
    assert said_there == said
    assert said[-1] == "JSONL: 1,000 passages"
    assert len(made.segments) == 1  # joined, as a single process leaves it
    assert not list((tmp_path / "ray.idx").glob("ray-*"))
    Index(tmp_path / "ray.idx", check="full")


def test_a_build_that_was_killed_goes_on(source, model, cluster, tmp_path):
    """Begun by one process, gone on with by the cluster; what is committed is not encoded again."""
    path = tmp_path / "x.idx"
    reading = Reading(str(source), model, ReadingOptions(), print)

    class Stop(Exception):
        pass

    def until(most):
        for number, passage in enumerate(reading.passages()):
            if number == most:
                raise Stop
            yield passage

    import shortlist.pipeline.writer as writing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "COMMIT_SECONDS", 0.0)
        patch.setattr("shortlist.pipeline.writing.PASSAGES_AT_ONCE", 100)
        with pytest.raises(Stop):
            RetrieveRerankPipeline.build(
                until(350), path, bi_encoder=model, cross_encoder="none", source=reading.described
            )
    begun = Index(path)
    assert len(begun) == 300
    made = on_ray(source, path, model, cluster)
    assert_same(made, plain(source, tmp_path / "plain.idx", model))


def test_a_source_that_changed_since(source, model, cluster, tmp_path, monkeypatch):
    """What an interrupted build has of another state of the source goes away."""
    path, changed = tmp_path / "x.idx", tmp_path / "rows.jsonl"
    write(changed, rows(0, 400))
    adopt = ray_building.IndexWriter.adopt
    count = []

    def adopt_two(writer, folder, record):
        if len(count) == 2:
            raise KeyboardInterrupt
        count.append(record.rows)
        adopt(writer, folder, record)

    with monkeypatch.context() as patch:
        patch.setattr(ray_building.IndexWriter, "adopt", adopt_two)
        with pytest.raises(KeyboardInterrupt):
            on_ray(changed, path, model, cluster)
    assert len(Index(path)) == 2 * BLOCK
    assert not list(path.glob("ray-*"))
    write(changed, [*rows(0, 100), *rows(100, 300, "other")])
    made = on_ray(changed, path, model, cluster)
    assert_same(made, plain(changed, tmp_path / "plain.idx", model))


def test_an_index_is_replaced_when_it_is_complete(source, model, cluster, tmp_path):
    path = tmp_path / "x.idx"
    plain(write(tmp_path / "old.jsonl", rows(0, 5, "old")), path, model)
    made = on_ray(source, path, model, cluster, overwrite=True)
    assert_same(made, plain(source, tmp_path / "plain.idx", model))
    assert Index(path).manifest == made.manifest


def test_what_is_wrong_in_the_source_is_said_as_ever(model, cluster, tmp_path):
    source = write(tmp_path / "rows.jsonl", [*rows(0, 300), *rows(3, 4)])
    said = r"rows.jsonl:301: the id 'r3' stands already at .*rows.jsonl:4"
    with pytest.raises(DataError, match=said):
        on_ray(source, tmp_path / "x.idx", model, cluster)
    assert len(Index(tmp_path / "x.idx")) > 0  # what came before is kept, and gone on with
    with pytest.raises(DataError, match=said):
        plain(source, tmp_path / "y.idx", model)


def test_no_cluster(source, model, tmp_path):
    pytest.importorskip("ray", reason="needs the extra ray")
    with pytest.raises(ServerError, match=r"127.0.0.1:1 .* ray start --head"):
        on_ray(source, tmp_path / "x.idx", model, "127.0.0.1:1")
    with pytest.raises(UsageError, match="expected the address"):
        on_ray(source, tmp_path / "x.idx", model, "nowhere")
    assert not (tmp_path / "x.idx").exists()


def test_a_worker_is_killed_in_the_middle(source, model, cluster, tmp_path):
    """The last test of this file: the cluster has one worker fewer afterwards."""
    path = tmp_path / "x.idx"
    killed = []

    def kill_one():
        while thread_may_wait.is_set() and (not path.exists() or len(Index(path)) < 3 * BLOCK):
            time.sleep(0.01)
        node = cluster.worker_nodes.copy().pop()
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)  # its actors die too
        killed.append(len(Index(path)))

    thread_may_wait = threading.Event()
    thread_may_wait.set()
    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    try:
        made = on_ray(source, path, model, cluster)
    finally:
        thread_may_wait.clear()
        thread.join()
    assert 3 * BLOCK <= killed[0] < ROWS  # in the middle, in truth
    assert_same(made, plain(source, tmp_path / "plain.idx", model))
