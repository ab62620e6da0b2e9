"""Full disks, folders that cannot be written, folders that vanish: an error, and nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

import numpy as np
import pytest
from test_distinct import words

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import IndexFolderError, IndexWriteError
from shortlist.models.encoders import FunctionEncoder
from shortlist.pipeline import writer as writer_module
from shortlist.pipeline import writing as writing_module
from shortlist.pipeline.index import Index
from shortlist.pipeline.verify import faults_of

ENCODER = FunctionEncoder(words)


def content(start, count):
    return [Passage(f"p{n}", f"text {n} " + "x" * 100) for n in range(start, start + count)]


def build(path, count):
    return RetrieveRerankPipeline.build(
        content(0, count), path, bi_encoder=ENCODER, cross_encoder="none"
    )


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs more rights than this user has")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(writer_module, "ROWS_PER_SEGMENT", 400)
    monkeypatch.setattr(writer_module, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(writing_module, "PASSAGES_AT_ONCE", 100)


@pytest.mark.usefixtures("small_steps")
def test_a_full_disk_while_indexing(small_disk, tmp_path):
    path = small_disk / "x.idx"
    with pytest.raises(IndexWriteError, match=r"cannot write the index at .*No space left"):
        build(path, 5000)
    unfinished = Index(path, check="full")
    assert 0 < len(unfinished) < 5000
    assert list(unfinished.all_passages()) == content(0, len(unfinished))
    assert faults_of(path, ENCODER) == []
    # where there is room it can be finished
    shutil.copytree(path, tmp_path / "x.idx")
    assert list(build(tmp_path / "x.idx", 5000).index.all_passages()) == content(0, 5000)


@pytest.mark.usefixtures("small_steps")
def test_a_full_disk_while_adding_deleting_and_compacting(small_disk):
    path = small_disk / "x.idx"
    pipeline = build(path, 500)
    (small_disk / "room to compact").write_bytes(bytes(400_000))
    with pytest.raises(IndexWriteError, match="No space left"):
        pipeline.add(content(500, 5000))
    added = len(Index(path, check="full"))
    assert 500 < added < 5500
    assert list(Index(path).all_passages()) == content(0, added)
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(max(0, free - 8192)))
    try:
        pipeline.delete([f"p{n}" for n in range(0, added, 2)])
        left = [p for n, p in enumerate(content(0, added)) if n % 2]
    except IndexWriteError:
        left = content(0, added)
    assert list(Index(path, check="full").all_passages()) == left
    with pytest.raises(IndexWriteError, match="No space left"):
        pipeline.add(content(added, 1000))
    (small_disk / "ballast").unlink()
    (small_disk / "room to compact").unlink()
    pipeline.delete([f"p{n}" for n in range(0, added, 2)])
    pipeline.compact()
    assert list(Index(path, check="full").all_passages()) == [
        p for n, p in enumerate(content(0, added)) if n % 2
    ]


@pytest.fixture
def read_only(tmp_path, request):
    """An index in a folder that cannot be written to, by its mode or, for root, by its disk."""
    if os.geteuid() == 0:
        place = request.getfixturevalue("small_disk")
        build(place / "x.idx", 5)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place
        return
    build(tmp_path / "x.idx", 5)
    (tmp_path / "x.idx").chmod(0o500)
    tmp_path.chmod(0o500)
    yield tmp_path
    tmp_path.chmod(0o700)
    (tmp_path / "x.idx").chmod(0o700)


def test_read_only_folders(read_only):
    path = read_only / "x.idx"
    pipeline = RetrieveRerankPipeline.open(path, bi_encoder=ENCODER, check="full")
    assert pipeline.search("text 3", top_k=1)[0].id == "p3"
    for change in (
        lambda: pipeline.add(content(5, 1)),
        lambda: pipeline.delete(["p1"]),
        pipeline.compact,
        lambda: build(read_only / "y.idx", 5),
    ):
        with pytest.raises(
            IndexWriteError, match=r"cannot write .* index at .*(?i:read-only|perm)"
        ):
            change()
    assert list(Index(path, check="full").all_passages()) == content(0, 5)
    assert faults_of(path, ENCODER) == []


def test_a_place_that_cannot_be_written_to():
    with pytest.raises(IndexWriteError, match="cannot write an index at /proc"):
        build("/proc/x.idx", 5)


def test_a_folder_deleted_during_a_search(tmp_path):
    pipeline = build(tmp_path / "x.idx", 200)
    started, gone = threading.Event(), threading.Event()

    def encode(texts):
        started.set()
        gone.wait(10)
        return words(texts)

    pipeline.bi_encoder = FunctionEncoder(words, encode_queries=encode, name="words")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(pipeline.search("text 7", top_k=3)))
    thread.start()
    assert started.wait(10)
    shutil.rmtree(tmp_path / "x.idx")
    gone.set()
    thread.join(10)
    assert answers[0][0].id == "p7"
    assert pipeline.search("text 8", top_k=1)[0].id == "p8"  # what is open stays open
    for change in (lambda: pipeline.add(content(5, 1)), lambda: pipeline.delete(["p1"])):
        with pytest.raises(IndexFolderError, match="no index at"):
            change()
    with pytest.raises(IndexFolderError, match="no index at"):
        pipeline.refresh()


def test_searches_while_another_thread_changes_the_index(tmp_path, monkeypatch):
    """Every answer is that of some committed state: passages come and go three at a time."""
    monkeypatch.setattr(writer_module, "ROWS_PER_SEGMENT", 8)
    path = tmp_path / "x.idx"
    build(path, 12)
    stop, faults = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                opened = RetrieveRerankPipeline.open(path, bi_encoder=ENCODER)
                ids = sorted(int(hit.id[1:]) for hit in opened.search("text", top_k=500))
                if len(ids) % 3 or any(np.diff(ids[::3]) % 3):
                    faults.append(ids)
                opened.refresh()
            except Exception as error:
                faults.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    changing = RetrieveRerankPipeline.open(path, bi_encoder=ENCODER)
    for step in range(4, 40):
        changing.add(content(3 * step, 3))
        changing.delete([f"p{3 * (step - 3) + n}" for n in range(3)])
        if step % 5 == 0:
            changing.compact()
    stop.set()
    for reader in readers:
        reader.join(10)
    assert faults == []
    assert faults_of(path, ENCODER) == []
