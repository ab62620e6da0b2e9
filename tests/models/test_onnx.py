"""The export: made once, verified, never torn, never taken for another model's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shortlist import BiEncoder
from shortlist.errors import ModelError
from shortlist.models.bi_encoder import _load_with_torch
from shortlist.models.loading import resolve
from shortlist.models.onnx import TorchModel, exported
from shortlist.models.tokens import ModelTokenizer


def never():
    raise AssertionError("the cached export should have been used")


def test_the_second_use_takes_the_cached_export(bi_encoder):
    folder = resolve("all-MiniLM-L6-v2")
    assert exported(folder, never).width == 384


def test_a_torn_export_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path))
    expected = BiEncoder.load("all-MiniLM-L6-v2").encode_queries(["tea"])
    (graph,) = tmp_path.rglob("model.onnx")
    graph.write_bytes(graph.read_bytes()[:1000])
    again = BiEncoder.load("all-MiniLM-L6-v2").encode_queries(["tea"])
    np.testing.assert_array_equal(again, expected)
    assert not list(tmp_path.rglob(".*"))  # no draft is left behind


def test_an_export_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    """A dropout that is left on makes torch and the graph differ."""
    monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path))
    folder = resolve("all-MiniLM-L6-v2")
    model = _load_with_torch(folder, ModelTokenizer(folder))
    model.module.train()
    with pytest.raises(ModelError, match="the ONNX export differs from torch by"):
        exported(folder, lambda: TorchModel(**vars(model)))
    assert not list(tmp_path.rglob("model.onnx"))


def test_no_place_for_the_cache_is_a_clear_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("SHORTLIST_CACHE", str(blocked))
    with pytest.raises(ModelError, match="name a writable folder in SHORTLIST_CACHE"):
        exported(resolve("all-MiniLM-L6-v2"), never)


def test_a_record_that_is_no_json_is_not_trusted(tmp_path, monkeypatch, bi_encoder):
    monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path))
    BiEncoder.load("all-MiniLM-L6-v2")
    (record,) = tmp_path.rglob("export.json")
    assert json.loads(record.read_text())["width"] == 384
    record.write_text("{")
    with pytest.raises(AssertionError, match="should have been used"):
        exported(resolve("all-MiniLM-L6-v2"), never)
