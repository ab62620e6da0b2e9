"""An index remembers the precision of its passages."""

from __future__ import annotations

import pytest

from shortlist import BiEncoder, RetrieveRerankPipeline
from shortlist.errors import IndexFolderError
from shortlist.pipeline.layout import Manifest
from shortlist.pipeline.sync import sync

NOTES = ["Tea is made with hot water.", "A glacier is a river of ice.", "Chess has 64 squares."]


@pytest.fixture(scope="module")
def int8_index(exports, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "notes.idx"
    RetrieveRerankPipeline.build(NOTES, path, precision="int8")
    return path


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_queries_of_either_precision_search_int8_passages(int8_index, precision):
    pipeline = RetrieveRerankPipeline.open(int8_index, precision=precision)
    assert Manifest.read(int8_index).model.precision == "int8"
    hit = pipeline.search("slowly flowing ice", top_k=1)[0]
    assert hit.id == "1"
    assert pipeline.bi_encoder.precision == pipeline.cross_encoder.precision == precision


def test_a_sync_in_another_precision_is_refused(int8_index, bi_encoder):
    with pytest.raises(IndexFolderError, match="encoded in int8, the encoder is in float32"):
        sync([*NOTES, "new"], int8_index, bi_encoder)
    encoder = BiEncoder.load("all-MiniLM-L6-v2", precision="int8")
    assert sync([*NOTES, "new"], int8_index, encoder).added == 1
