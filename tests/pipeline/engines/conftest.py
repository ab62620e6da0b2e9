"""Made-up texts whose embeddings lie near a surface, as those of real texts do; a Milvus server."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from milvus_server import is_possible, milvus_server

from shortlist.models.encoders import FunctionEncoder
from shortlist.records import Passage

DIM, LATENT, TOPICS = 24, 8, 40
ROWS = 2_500
ENGINES = ["faiss", "faiss-ivfpq", "hnswlib", "annoy", "milvus", "milvus-server"]

_rng = np.random.default_rng(1)
_SURFACE = _rng.normal(size=(LATENT, DIM))
_TOPICS = _rng.normal(size=(TOPICS, LATENT)) * 1.5


def vector(text: str) -> np.ndarray:
    """The same at every call. "same7 ..." is what any other "same7 ..." is."""
    first = text.split()[0]
    name = first if first.startswith("same") else text
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))
    latent = _TOPICS[rng.integers(TOPICS)] + rng.normal(size=LATENT)
    return np.tanh(latent @ _SURFACE / 4) + rng.normal(size=DIM) * 0.05


def encode(texts):
    return np.stack([vector(text) for text in texts])


def encode_long_and_short(texts):
    """Of lengths from a third to three, for dot products."""
    lengths = [0.3 + len(set(text)) % 10 / 3 for text in texts]
    return encode(texts) * np.array(lengths)[:, None]


def passages(start: int, stop: int) -> list[Passage]:
    return [
        Passage(
            f"p{n}", f"item{n} first{n:05} second{n:05} third{n:05}", metadata={"year": n % 100}
        )
        for n in range(start, stop)
    ]


QUESTIONS = [f"question{n:04}" for n in range(100)]


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


def opened(path, encoder, engine, **options):
    from shortlist import RetrieveRerankPipeline

    return RetrieveRerankPipeline.open(
        path, bi_encoder=encoder, cross_encoder="none", engine=engine, **options
    )
