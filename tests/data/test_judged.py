"""Where queries and judgements are in the folders of BEIR, MS MARCO and Quora."""

from __future__ import annotations

import json

import pytest

from shortlist.data.judged import judged_folder
from shortlist.errors import DataError, UsageError


@pytest.fixture
def beir(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "p1", "title": "", "text": "Tea."}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "what is tea"}\n')
    (tmp_path / "qrels").mkdir()
    for split in ("test", "dev"):
        (tmp_path / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tp1\t1\n")
    return tmp_path


def test_dev_is_taken_before_test(beir):
    folder = judged_folder(beir)
    assert folder.split == "dev"
    assert folder.read() == ({"q1": "what is tea"}, {"q1": {"p1": 1}})


def test_a_split_can_be_named(beir):
    assert judged_folder(beir, "test").qrels == beir / "qrels" / "test.tsv"


def test_a_split_that_is_not_there_is_an_error_naming_those_that_are(beir):
    with pytest.raises(UsageError, match=r"no judgements for 'train'; it has \['dev', 'test'\]"):
        judged_folder(beir, "train")


def test_judgements_without_queries_are_an_error(beir):
    (beir / "queries.jsonl").unlink()
    with pytest.raises(DataError, match="has judgements .* and no queries.jsonl"):
        judged_folder(beir)


def test_a_folder_without_judgements_has_none(tmp_path):
    (tmp_path / "notes.txt").write_text("Tea is made of leaves.")
    folder = judged_folder(tmp_path)
    assert (folder.split, folder.read()) == (None, (None, None))


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="expected a folder"):
        judged_folder(tmp_path / "nowhere")


def test_ms_marco_by_its_published_names(tmp_path):
    (tmp_path / "collection.tsv").write_text("7\tTea is made of leaves.\n")
    (tmp_path / "queries.dev.small.tsv").write_text("1\twhat is tea\n")
    (tmp_path / "qrels.dev.small.tsv").write_text("1\t0\t7\t1\n")
    folder = judged_folder(tmp_path)
    assert folder.split == "dev"
    assert folder.read() == ({"1": "what is tea"}, {"1": {"7": 1}})


def test_quora_pairs_are_queries_and_judgements_in_one(tmp_path):
    rows = [
        ("0", "1", "2", "what is tea", "what's tea?", "1"),
        ("1", "1", "3", "what is tea", "why", "0"),
    ]
    lines = ["\t".join(("id", "qid1", "qid2", "question1", "question2", "is_duplicate"))]
    (tmp_path / "quora_duplicate_questions.tsv").write_text(
        "\n".join([*lines, *("\t".join(row) for row in rows)]) + "\n"
    )
    queries, qrels = judged_folder(tmp_path).read()
    assert queries == {"1": "what is tea", "2": "what's tea?"}
    assert qrels == {"1": {"2": 1}, "2": {"1": 1}}


def test_other_wordings_lie_beside_the_queries(beir):
    (beir / "queries_de.jsonl").write_text(json.dumps({"_id": "q1", "text": "was ist Tee"}) + "\n")
    assert judged_folder(beir).wordings() == {"de": beir / "queries_de.jsonl"}
