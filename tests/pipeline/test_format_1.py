"""Format 1 is frozen: these folders were written by the first version that had it.

They are never written again. A change that breaks a test here breaks the indexes of users: it needs
another format number, and this one must still be read.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_distinct import words

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.models.encoders import FunctionEncoder
from shortlist.pipeline.index import Index
from shortlist.pipeline.verify import faults_of

FOLDER = Path(__file__).parent / "format-1"
KINDS = ("float32", "float16")

CONTENT = [
    Passage("tea", "Tea is made from leaves.", "Drinks", "Hot / Cold", "drinks.md", 17,
            {"year": 1999, "tags": ["hot", "leaf"], "draft": False, "price": 2.5}),
    Passage("ice\n🧊", "A glacier is a river of ice.", document_id="ice.md",
            metadata={"year": 2001, "mixed": "text", "nothing": None}),
    Passage("bees", "Bees dance.", metadata={"mixed": {"nested": [1, 2.0, "x"]}, "big": 2**80}),
    Passage("gone", "This one was deleted.", metadata={"year": 2020}),
    Passage("chess", "Chess is played on 64 squares.\0\u2028", "Games"),
    Passage("later", "This one was added later, in a commit of its own.", metadata={"year": 2026}),
]  # fmt: skip
LEFT = [passage for passage in CONTENT if passage.id != "gone"]


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    """A copy: what is stored is not written to."""
    shutil.copytree(FOLDER / request.param, tmp_path / "x.idx")
    return tmp_path / "x.idx"


def test_it_is_read(folder):
    index = Index(folder, check="full")
    assert list(index.all_passages()) == LEFT
    assert (len(index), index.stored_rows, len(index.segments)) == (5, 6, 3)
    assert index.manifest.store in KINDS
    made = FunctionEncoder(words).encode_passages([p.model_text for p in LEFT])
    if index.manifest.store == "float16":
        made = made.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(index.vectors(index.live_rows), made, rtol=1e-6)
    assert np.flatnonzero(index.among("year > 2000").mask).tolist() == [1, 5]
    assert np.flatnonzero(index.among("'hot' in tags").mask).tolist() == [0]
    assert index.manifest.source == {"kind": "made for a test", "name": "é"}
    assert faults_of(folder, FunctionEncoder(words)) == []


def test_it_is_searched_and_changed(folder):
    pipeline = RetrieveRerankPipeline.open(folder, bi_encoder=FunctionEncoder(words))
    assert pipeline.search("a river of ice", top_k=1)[0].id == "ice\n🧊"
    assert "gone" not in {hit.id for hit in pipeline.search("this one was deleted", top_k=10)}
    assert pipeline.add([CONTENT[3]]).added == 1
    assert pipeline.delete(["tea"]) == 1
    assert pipeline.compact() == 2
    assert list(pipeline.index.all_passages()) == [*LEFT[1:], CONTENT[3]]


def test_the_bytes_are_those_that_were_stored():
    """The embeddings are plain .npy, the manifest plain JSON: anybody can read them."""
    for kind in KINDS:
        manifest = json.loads((FOLDER / kind / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["format"] == 1
        first = manifest["segments"][0]
        embeddings = np.load(FOLDER / kind / first["embeddings"]["name"], allow_pickle=False)
        assert (embeddings.shape, embeddings.dtype) == ((3, 64), np.dtype(kind))
        assert first["passages"]["sha256"]
