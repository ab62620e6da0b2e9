"""An index of made-up texts, with every engine beside it; a Milvus server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from milvus_server import is_possible, milvus_server
from surface import ROWS, encode, opened, passages

from shortlist.models.encoders import FunctionEncoder

ENGINES = ["faiss", "faiss-ivfpq", "hnswlib", "annoy", "milvus", "milvus-server"]


@pytest.fixture(scope="session")
def encoder():
    return FunctionEncoder(encode, name="surface")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a Milvus server of this session."""
    if not is_possible():
        pytest.skip("the server listens everywhere, and no network namespace can be made here")
    with milvus_server(tmp_path_factory.mktemp("milvus")) as address:
        yield address


@pytest.fixture(autouse=True, scope="session")
def small_sample():
    """Efforts are found with fewer questions: a server takes half a minute for 500."""
    from shortlist.pipeline.engines import tuning

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "SAMPLE", 150)
        patch.setattr(tuning, "_TIMED", 1)
        yield


@pytest.fixture(params=ENGINES, scope="module")
def engine(request) -> str:
    """Every engine, as a user names it."""
    if request.param == "milvus-server":
        return request.getfixturevalue("server")
    return request.param


@pytest.fixture(scope="session")
def plain_index(encoder, tmp_path_factory) -> Path:
    """An index without engines."""
    from shortlist import RetrieveRerankPipeline

    path = tmp_path_factory.mktemp("engines") / "plain.idx"
    RetrieveRerankPipeline.build(passages(0, ROWS), path, bi_encoder=encoder, cross_encoder="none")
    return path


@pytest.fixture(scope="module")
def built(engine, encoder, plain_index, tmp_path_factory) -> Path:
    """An index with that engine beside it. Not to be changed."""
    path = tmp_path_factory.mktemp("built") / "built.idx"
    shutil.copytree(plain_index, path)
    opened(path, encoder, engine)
    return path


@pytest.fixture
def copied(built, tmp_path) -> Path:
    """A copy of it to be changed."""
    path = tmp_path / "copied.idx"
    shutil.copytree(built, path)
    return path
