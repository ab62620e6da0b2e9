"""`Hit.relevance`: from the file beside the index, or the models' own; never for other scores."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from notes import NOTES

from shortlist import RetrieveRerankPipeline
from shortlist.pipeline.calibrated import FILE, Stages, write_calibration
from shortlist.records import Calibration, Passage

OWN = Calibration(slope=0.5, intercept=-4.0, answered_from=0.9)
QUESTION = "how do plants make food?"


@pytest.fixture
def index(notes_index, tmp_path):
    shutil.copytree(notes_index, tmp_path / "x.idx")
    return tmp_path / "x.idx"


def calibrated(path, calibration=OWN, **options):
    pipeline = RetrieveRerankPipeline.open(path, **options)
    second = pipeline.cross_encoder.fingerprint if pipeline.has_reranker else None
    write_calibration(pipeline.index, Stages.of(pipeline.index, second), calibration, {})
    return RetrieveRerankPipeline.open(path, **options)


def logistic(score):
    return 1 / (1 + math.exp(4.0 - 0.5 * score))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_one_beside_the_index_is_used_in_every_precision(index, precision):
    calibrated(index, precision="float32")
    pipeline = RetrieveRerankPipeline.open(index, precision=precision)
    hits = pipeline.search(QUESTION, top_k=8, depth=5)
    assert [hit.relevance for hit in hits[:5]] == [
        pytest.approx(logistic(hit.score)) for hit in hits[:5]
    ]
    assert [hit.relevance for hit in hits[5:]] == [None] * 3  # the second stage has not looked
    assert pipeline.is_answered(hits) == (hits[0].relevance >= 0.9)


def test_retrieval_that_has_a_second_stage_behind_it_is_not_calibrated(index):
    pipeline = calibrated(index)
    hits = pipeline.search(QUESTION, rerank=False)
    assert {hit.relevance for hit in hits} == {None}
    assert pipeline.is_answered(hits) is None
    assert pipeline.is_answered([]) is False


def test_retrieval_alone_can_be(index):
    pipeline = calibrated(index, cross_encoder="none")
    hits = pipeline.search(QUESTION)
    assert [hit.relevance for hit in hits] == [pytest.approx(logistic(hit.score)) for hit in hits]
    with_second = RetrieveRerankPipeline.open(index)
    assert with_second.calibration != OWN


def test_a_threshold_says_no(index):
    hits = calibrated(index, OWN.answering_from(0.0)).search(QUESTION)
    assert calibrated(index, OWN.answering_from(0.0)).is_answered(hits) is True
    assert calibrated(index, OWN.answering_from(1.0)).is_answered(hits) is False


def test_words_have_no_calibration(index):
    pytest.importorskip("bm25s", reason="needs the extra bm25")
    calibrated(index)
    for engine in ("bm25", "exact+bm25"):
        pipeline = RetrieveRerankPipeline.open(index, engine=engine)
        assert {hit.relevance for hit in pipeline.search(QUESTION)} == {None}


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        ({"bi_encoder": "0" * 8}, False),
        ({"cross_encoder": None}, False),
        ({"cross_encoder": "0" * 8}, True),  # of the edition before, for one
    ],
)
def test_one_of_other_models_is_left_alone(index, change, warned, caplog):
    shipped = RetrieveRerankPipeline.open(index).calibration
    calibrated(index)
    record = json.loads((index / FILE).read_text())
    (index / FILE).write_text(json.dumps(record | change))
    assert RetrieveRerankPipeline.open(index).calibration == shipped
    assert ("run shortlist calibrate again" in caplog.text) == warned == bool(caplog.records)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "null", "\x00",
        '{"format": 2}',
        '{"slope": 1}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_warned_of_and_left_out(index, text, caplog):
    shipped = RetrieveRerankPipeline.open(index).calibration
    (index / FILE).write_text(text)
    pipeline = RetrieveRerankPipeline.open(index)
    assert pipeline.search(QUESTION)
    assert pipeline.calibration == shipped
    assert FILE in caplog.text


@pytest.mark.parametrize("change", [{"slope": -1}, {"slope": None}, {"intercept": 1e999}])
def test_so_is_one_that_is_no_calibration(index, change, caplog):
    calibrated(index)
    record = json.loads((index / FILE).read_text())
    (index / FILE).write_text(json.dumps(record | change))
    assert RetrieveRerankPipeline.open(index).calibration != OWN
    assert "run shortlist calibrate again" in caplog.text


def test_what_is_added_leaves_it(index):
    pipeline = calibrated(index)
    pipeline.add([Passage("new", NOTES[0] + " Once more.")])
    pipeline.delete(["0"])
    pipeline.compact()
    assert RetrieveRerankPipeline.open(index).calibration == OWN
