"""What several test files need: models exported once, a small index, the public collections."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from notes import NOTES

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
# ranx compiles for a minute what runs in milliseconds uncompiled; before anything imports numba
os.environ["NUMBA_DISABLE_JIT"] = "1"


# begun first, for they take longest: otherwise one process is left with them at the end
LONGEST = (
    "test_contract", "test_push", "test_cli", "test_ray", "test_batch_verbs", "test_engine_options",
    "test_change_verbs", "test_quantise", "test_browser", "test_check",
    "test_crash", "test_choose_command", "test_train_cross_encoder",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; `--dist loadfile` gives each to one process, in this order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))  # stable


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public test collections that lies beside the checkout."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no public test collections at {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of its own for the whole run: its processes export the models once, from nothing."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    os.environ["SHORTLIST_CACHE"] = str(folder)
    os.environ["SHORTLIST_CONFIG"] = str(base / "settings")  # no presets of whoever runs the tests
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
