"""An index pushed to a real Milvus server, killed on the way, and searched there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from surface import QUESTIONS, ROWS, encode, opened, passages

from shortlist import RetrieveRerankPipeline
from shortlist.errors import IndexFolderError, ServerError, UsageError
from shortlist.models.encoders import FunctionEncoder
from shortlist.pipeline.push import push
from shortlist.pipeline.remote import Collection
from shortlist.records import Passage

_PUSH = "import sys; from shortlist.pipeline.push import push; push(sys.argv[1], sys.argv[2])"


@pytest.fixture(scope="module")
def place(server):
    return server.replace("http://", "milvus://") + "/pushed"


@pytest.fixture(scope="module")
def index(plain_index, tmp_path_factory):
    path = tmp_path_factory.mktemp("push") / "x.idx"
    shutil.copytree(plain_index, path)
    return path


@pytest.fixture(scope="module")
def pushed(index, place):
    """Killed three times on the way: nothing is lost, and nothing is there twice."""
    for seconds in (1.5, 2.5, 3.5):
        with subprocess.Popen([sys.executable, "-c", _PUSH, str(index), place]) as process:
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGKILL)
    done = push(index, place)
    assert done.written + done.unchanged == ROWS
    assert done.deleted == 0
    assert done.recall >= 0.9
    return place


@pytest.fixture(scope="module")
def here(pushed, index, encoder):
    return opened(index, encoder, "exact")


@pytest.fixture(scope="module")
def there(pushed, encoder):
    return opened(pushed, encoder, "exact")


def searched(pipeline, **options):
    return [
        [(hit.id, hit.score, hit.metadata) for hit in hits]
        for hits in pipeline.search_many(QUESTIONS[:30], **options)
    ]


def test_it_answers_as_the_index_does(here, there):
    assert len(there.index) == ROWS
    assert there.index.ids() == {passage.id for passage in passages(0, ROWS)}
    mine, theirs = searched(here, top_k=10), searched(there, top_k=10)
    found = sum(hit in other for one, other in zip(theirs, mine, strict=True) for hit in one)
    assert found >= 0.985 * 300
    for hits in theirs:
        assert hits == sorted(hits, key=lambda hit: -hit[1])


@pytest.mark.parametrize(
    "where",
    [
        "year < 30",
        "year == 7",
        "year == 7 and id == 'p7'",
        "year < 0",
        "6.5 < year <= 8 or id in ('p1', 'p2')",
        "year != 7 and not year > 20",
    ],
)
def test_filters_mean_the_same(here, there, where):
    mine, theirs = searched(here, top_k=8, where=where), searched(there, top_k=8, where=where)
    assert [len(hits) for hits in theirs] == [len(hits) for hits in mine]
    assert sum(one == other for one, other in zip(mine, theirs, strict=True)) >= 28


def test_a_later_state_is_pushed_over_it(pushed, index, encoder):
    """Only what has changed is written."""
    there = opened(pushed, encoder, "exact")
    here = opened(index, encoder, "exact")
    here.delete(["p0", "p1"])
    here.upsert([Passage("p2", "quite another text")])
    here.add([Passage("new", "a new text", metadata={"tags": ["a", "b"]})])
    done = push(index, pushed)
    assert done.deleted == 2
    assert there.refresh()
    hits = there.search("a new text", top_k=ROWS)
    assert {hit.id for hit in hits} == here.index.ids()
    assert hits[0] == here.search("a new text", top_k=1)[0]
    assert push(index, pushed).written == 0


def test_what_cannot_be_pushed_or_opened(pushed, index, encoder, tmp_path, server):
    address = pushed.rpartition("/")[0]
    with pytest.raises(UsageError, match="name the collection"):
        push(index, address)
    with pytest.raises(ServerError, match="is the server running"):
        push(index, "milvus://127.0.0.1:1/x")
    with pytest.raises(
        IndexFolderError, match="there is no collection nothing at .* make it with: shortlist push"
    ):
        RetrieveRerankPipeline.open(f"{address}/nothing", bi_encoder=encoder)
    other = FunctionEncoder(lambda texts: encode(texts)[:, :8], name="other")
    path = tmp_path / "other.idx"
    RetrieveRerankPipeline.build(passages(0, 3), path, bi_encoder=other, cross_encoder="none")
    with pytest.raises(
        IndexFolderError, match=r"holds passages of function:surface .* --overwrite"
    ):
        push(path, pushed)
    with pytest.raises(IndexFolderError, match="was made with function:surface"):
        opened(pushed, other, "exact")
    foreign = Collection(f"{address}/foreign")
    foreign.make(4)
    with pytest.raises(IndexFolderError, match="was not made by shortlist push"):
        push(index, f"{address}/foreign")
    with pytest.raises(UsageError, match="push it again"):
        opened(pushed, encoder, "exact").add(["more"])
    with pytest.raises(UsageError, match="is searched by its server"):
        opened(pushed, encoder, "faiss")
    long = tmp_path / "long.idx"
    RetrieveRerankPipeline.build(["x" * 70_000], long, bi_encoder=encoder, cross_encoder="none")
    with pytest.raises(UsageError, match=r"takes 70,\d+ bytes, Milvus holds 65,535"):
        push(long, f"{address}/long")
