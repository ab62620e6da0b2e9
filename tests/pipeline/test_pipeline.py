"""Both stages end to end, on a few notes and on passages made up by hypothesis."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from notes import NOTES

from shortlist import BiEncoder, Passage, RetrieveRerankPipeline
from shortlist.errors import DataError, IndexFolderError, ModelError, UsageError
from shortlist.models.loading import resolve
from shortlist.pipeline.layout import Manifest

FIELDS = [
    "rank",
    "id",
    "title",
    "text",
    "score",
    "score_kind",
    "retrieval_rank",
    "retrieval_score",
    "rerank_score",
    "relevance",
    "section",
    "document_id",
    "metadata",
    "folded",
    "depth",
    "window",
    "cut_tokens",
]


def test_the_right_note_comes_first(pipeline):
    hits = pipeline.search("how do plants make food?", top_k=3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[0].id == "0"
    assert hits[0].text == NOTES[0]
    assert list(hits[0].as_json()) == FIELDS
    json.dumps(hits[0].as_json())  # plain Python numbers


def test_retrieval_alone_is_the_order_of_the_cosines(pipeline, bi_encoder):
    query = "an instrument with strings"
    hits = pipeline.search(query, top_k=8, rerank=False)
    cosines = bi_encoder.encode_passages(NOTES) @ bi_encoder.encode_queries([query])[0]
    assert [hit.id for hit in hits] == [str(row) for row in np.argsort(-cosines, kind="stable")]
    np.testing.assert_allclose([h.score for h in hits], np.sort(cosines)[::-1], atol=1e-6)
    assert {hit.score_kind for hit in hits} == {"cosine"}
    assert all(hit.rerank_score is None for hit in hits)
    assert all(hit.rank == hit.retrieval_rank for hit in hits)


def test_reranking_orders_by_the_score_that_is_shown(pipeline):
    query = "a warm drink"
    hits = pipeline.search(query, top_k=8, depth=8)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert {hit.id for hit in hits} == {str(n) for n in range(8)}
    logits = pipeline.cross_encoder.score([(query, hit.text) for hit in hits])
    np.testing.assert_allclose([hit.rerank_score for hit in hits], logits, atol=1e-4)
    for hit in hits:
        expected = pipeline.fusion.score(hit.rerank_score, hit.retrieval_score, hit.retrieval_rank)
        assert hit.score == pytest.approx(expected)


def test_a_score_is_the_same_at_every_depth(pipeline):
    shallow = {h.id: h.score for h in pipeline.search("sailors at night", top_k=3, depth=3)}
    deep = {h.id: h.score for h in pipeline.search("sailors at night", top_k=8, depth=8)}
    for passage, score in shallow.items():
        assert deep[passage] == pytest.approx(score, abs=1e-4)


def test_passages_below_the_depth_follow_in_the_order_of_retrieval(pipeline):
    hits = pipeline.search("insects", top_k=8, depth=3)
    assert [hit.rank for hit in hits] == list(range(1, 9))
    assert sorted(hit.retrieval_rank for hit in hits[:3]) == [1, 2, 3]
    assert [hit.retrieval_rank for hit in hits[3:]] == [4, 5, 6, 7, 8]
    assert {hit.score_kind for hit in hits[3:]} == {"cosine"}
    assert all(hit.rerank_score is None for hit in hits[3:])


def test_many_queries_are_answered_as_each_alone(pipeline):
    queries = ["plants", "a board game", "medicine", "ice"]
    for query, hits in zip(queries, pipeline.search_many(queries, top_k=4), strict=True):
        alone = pipeline.search(query, top_k=4)
        assert [hit.id for hit in hits] == [hit.id for hit in alone]
        np.testing.assert_allclose([h.score for h in hits], [h.score for h in alone], atol=1e-3)


def test_more_is_asked_for_than_there_is(pipeline):
    assert len(pipeline.search("anything", top_k=100, depth=100)) == len(NOTES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": ""}, "the query is empty"),
        ({"query": " \n"}, "the query is empty"),
        ({"query": "x", "top_k": 0}, r"top_k must be at least 1 \(got 0\)"),
        ({"query": "x", "depth": -2}, r"depth must be at least 1 \(got -2\)"),
    ],
)
def test_arguments_that_cannot_work(pipeline, arguments, message):
    with pytest.raises(UsageError, match=message):
        pipeline.search(**arguments)


def test_one_text_instead_of_several_is_noticed(pipeline, tmp_path):
    with pytest.raises(UsageError, match="several queries, got one text"):
        pipeline.search_many("plants")
    with pytest.raises(UsageError, match="got one text"):
        RetrieveRerankPipeline.build("a text", tmp_path / "x.idx", bi_encoder=pipeline.bi_encoder)
    with pytest.raises(UsageError, match="passage number 1 is a int"):
        RetrieveRerankPipeline.build(["a", 2], tmp_path / "x.idx", bi_encoder=pipeline.bi_encoder)
    assert list(tmp_path.iterdir()) == []


def test_passages_keep_their_ids_and_titles(tmp_path, bi_encoder):
    given = [
        Passage("a-1", "Leaves make sugar.", "Plants", "Food", "a", 10),
        Passage("b-1", "Ships need lamps.", "Sea"),
    ]
    built = RetrieveRerankPipeline.build(given, tmp_path / "x.idx", bi_encoder=bi_encoder)
    (hit,) = built.search("sugar", top_k=1)
    assert (hit.id, hit.title, hit.section, hit.document_id) == ("a-1", "Plants", "Food", "a")
    expected = bi_encoder.encode_passages(["Plants Leaves make sugar."])[0]
    np.testing.assert_allclose(built.index.embeddings[0][0], expected, atol=1e-6)


def test_a_passage_that_is_none_is_named(tmp_path, bi_encoder):
    with pytest.raises(UsageError, match="passage number 0: its texts must be strings"):
        RetrieveRerankPipeline.build([Passage(1, "x")], tmp_path / "x.idx", bi_encoder=bi_encoder)


def test_a_relative_model_folder_is_found_from_elsewhere(tmp_path, bi_encoder, monkeypatch):
    shutil.copytree(resolve("shortlist-cross-encoder-v2").path, tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    RetrieveRerankPipeline.build(NOTES, "x.idx", bi_encoder=bi_encoder, cross_encoder="./my-model")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    opened = RetrieveRerankPipeline.open("../x.idx", bi_encoder=bi_encoder)
    # another name: no fusion was fitted for it
    assert opened.search("tea")[0].score_kind == "logit"


def test_two_builds_are_equal_byte_for_byte(tmp_path, bi_encoder):
    for name in ("one", "two"):
        RetrieveRerankPipeline.build(NOTES, tmp_path / name, bi_encoder=bi_encoder)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_no_passages_leave_no_index(tmp_path, bi_encoder):
    with pytest.raises(DataError, match="no passages to index"):
        RetrieveRerankPipeline.build([], tmp_path / "x.idx", bi_encoder=bi_encoder)
    assert list(tmp_path.iterdir()) == []


def test_opening_with_another_model_names_both(notes_index):
    other = BiEncoder.load("all-MiniLM-L6-v2", passage_prompt="passage: ")
    with pytest.raises(IndexFolderError, match="was made with all-MiniLM-L6-v2 .* not with all-"):
        RetrieveRerankPipeline.open(notes_index, bi_encoder=other)


def test_the_same_model_under_another_name_is_accepted(notes_index, pipeline):
    path = resolve("all-MiniLM-L6-v2").path
    opened = RetrieveRerankPipeline.open(notes_index, bi_encoder=path)
    assert opened.search("tea") == pipeline.search("tea")
    assert opened.search("tea")[0].score_kind == "fused"


def test_an_index_of_the_edition_before_is_reranked_by_the_one_that_there_is(
    notes_index, pipeline, tmp_path
):
    older = tmp_path / "older.idx"
    shutil.copytree(notes_index, older)
    manifest = Manifest.read(older)
    assert manifest.cross_encoder == "shortlist-cross-encoder-v2"
    replace(manifest, cross_encoder="shortlist-cross-encoder-v1").write(older)
    assert RetrieveRerankPipeline.open(older).search("tea") == pipeline.search("tea")


def test_without_a_second_stage(notes_index):
    opened = RetrieveRerankPipeline.open(notes_index, cross_encoder="none")
    assert not opened.has_reranker
    assert opened.search("tea", top_k=1)[0].score_kind == "cosine"
    with pytest.raises(UsageError, match="has no cross-encoder"):
        opened.search("tea", rerank=True)


def test_a_cross_encoder_that_is_not_there_is_named_before_encoding(tmp_path, bi_encoder):
    def passages():
        raise AssertionError("nothing should have been read")
        yield

    with pytest.raises(ModelError, match="no-such-model"):
        RetrieveRerankPipeline.build(
            passages(), tmp_path / "x.idx", bi_encoder=bi_encoder, cross_encoder="no-such-model"
        )


def test_cut_tokens_are_recorded(tmp_path, bi_encoder):
    built = RetrieveRerankPipeline.build(
        ["short", "word " * 400], tmp_path / "x.idx", bi_encoder=bi_encoder
    )
    assert built.index.manifest.cut_passages == 1
    assert built.index.manifest.cut_tokens == 400 - (bi_encoder.max_tokens - 2)
