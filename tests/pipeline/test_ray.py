"""An index made by a Ray cluster is what a single process makes, whatever dies on the way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ray_cluster import ray_cluster
from ray_driver import MODEL

from shortlist import RetrieveRerankPipeline
from shortlist.errors import DataError
from shortlist.models.bi_encoder import BiEncoder
from shortlist.pipeline.index import Index
from shortlist.pipeline.reading import Reading, ReadingOptions

ROWS = 1_000
BLOCK = 64
SECONDS = 100  # a build takes five or ten


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
    return BiEncoder.load(MODEL)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write(tmp_path_factory.mktemp("ray") / "rows.jsonl", rows(0, ROWS))


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="needs the extra ray")
    with ray_cluster() as made:
        yield made


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


def on_ray(source, path, address, *options):
    """The same on the cluster at `address`: what was said, and the error if one ended it."""
    driver = Path(__file__).with_name("ray_driver.py")
    done = subprocess.run(
        [sys.executable, driver, source, path, address, str(BLOCK), *options],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])  # Ray itself prints on stdout when a node dies
    return told["said"], told["error"]


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
    said = []
    said_there, error = on_ray(source, tmp_path / "ray.idx", cluster.address)
    assert error is None
    made = Index(tmp_path / "ray.idx", check="full")
    assert_same(made, plain(source, tmp_path / "plain.idx", model, said.append))
    assert said_there == said
    assert said[-1] == "JSONL: 1,000 passages"
    assert len(made.segments) == 1  # joined, as a single process leaves it
    assert not list((tmp_path / "ray.idx").glob("ray-*"))


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
    assert on_ray(source, path, cluster.address)[1] is None
    assert_same(Index(path), plain(source, tmp_path / "plain.idx", model))


def test_a_source_that_changed_since(source, model, cluster, tmp_path):
    """What an interrupted build has of another state of the source goes away."""
    path, changed = tmp_path / "x.idx", tmp_path / "rows.jsonl"
    write(changed, rows(0, 400))
    _, error = on_ray(changed, path, cluster.address, "--stop-after", "2")
    assert error == ["KeyboardInterrupt", ""]
    assert len(Index(path)) == 2 * BLOCK
    assert not list(path.glob("ray-*"))
    write(changed, [*rows(0, 100), *rows(100, 300, "other")])
    assert on_ray(changed, path, cluster.address)[1] is None
    assert_same(Index(path), plain(changed, tmp_path / "plain.idx", model))


def test_what_is_wrong_in_the_source_is_said_as_ever(model, cluster, tmp_path):
    source = write(tmp_path / "rows.jsonl", [*rows(0, 300), *rows(3, 4)])
    _, (error, message) = on_ray(source, tmp_path / "x.idx", cluster.address)
    assert error == "DataError"
    assert len(Index(tmp_path / "x.idx")) > 0  # what came before is kept, and gone on with
    with pytest.raises(DataError) as raised:
        plain(source, tmp_path / "y.idx", model)
    assert message == str(raised.value)
    assert re.search(r"rows.jsonl:301: the id 'r3' stands already at .*rows.jsonl:4", message)


def test_no_cluster(source, tmp_path):
    pytest.importorskip("ray", reason="needs the extra ray")
    _, (error, message) = on_ray(source, tmp_path / "x.idx", "127.0.0.1:1")
    assert error == "ServerError"
    assert re.search("127.0.0.1:1 .* ray start --head", message)
    _, (error, message) = on_ray(source, tmp_path / "x.idx", "nowhere")
    assert error == "UsageError"
    assert "expected the address" in message
    assert not (tmp_path / "x.idx").exists()


def test_a_worker_is_killed_in_the_middle(source, model, cluster, tmp_path):
    """Of a build that replaces an index.

    The last test of this file: the cluster has one worker fewer afterwards.
    """
    path = tmp_path / "x.idx"
    plain(write(tmp_path / "old.jsonl", rows(0, 5, "old")), path, model)
    killed = []

    def kill_one():
        while waiting.is_set() and not (made := list(tmp_path.glob(".x.idx.*/manifest.json"))):
            time.sleep(0.01)
        being_made = made[0].parent
        while waiting.is_set() and len(Index(being_made)) < 3 * BLOCK:
            time.sleep(0.01)
        cluster.kill_a_worker()
        killed.append(len(Index(being_made)))

    waiting = threading.Event()
    waiting.set()
    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    try:
        _, error = on_ray(source, path, cluster.address, "--overwrite")
    finally:
        waiting.clear()
        thread.join()
    assert error is None
    assert 3 * BLOCK <= killed[0] < ROWS  # in the middle, in truth
    assert_same(Index(path), plain(source, tmp_path / "plain.idx", model))
