"""What several test files need: models exported once, a small index, the public collections."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub

NOTES = [
    "Plants make sugar from water, air and light. This is called photosynthesis.",
    "Tea is made by pouring hot water over the dried leaves of an evergreen shrub.",
    "A glacier is a river of ice that flows slowly downhill under its own weight.",
    "The cello is held between the knees and sounds an octave lower than the viola.",
    "Vaccines teach the immune system to recognise a germ before it meets it.",
    "A lighthouse warns ships of rocks with a lamp that can be seen for miles.",
    "Bees tell each other where flowers are by dancing in the dark of the hive.",
    "Chess is played on sixty-four squares by two players with sixteen pieces each.",
]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public test collections that lies beside the checkout."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no public test collections at {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of its own for the whole session: every run exports the models once, from nothing."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["SHORTLIST_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def bi_encoder(exports: Path):
    from shortlist import BiEncoder

    return BiEncoder.load("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def notes_index(bi_encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of eight short notes, with both stages' models exported."""
    from shortlist import RetrieveRerankPipeline

    path = tmp_path_factory.mktemp("indexes") / "notes.idx"
    pipeline = RetrieveRerankPipeline.build(NOTES, path, bi_encoder=bi_encoder)
    pipeline.search("warm up the second stage")
    return path


@pytest.fixture(scope="session")
def pipeline(notes_index: Path):
    from shortlist import RetrieveRerankPipeline

    return RetrieveRerankPipeline.open(notes_index)
