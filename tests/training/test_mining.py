"""Hard negatives and what is kept out of training data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from notes import NOTES

from shortlist.errors import DataError
from shortlist.training.leakage import HeldOut
from shortlist.training.mining import Judged, mine, read_held_out, read_training_split

LONG = "one two three four five six seven eight nine ten eleven twelve"


def test_held_out_questions_are_found_whatever_their_case_and_marks():
    held_out = HeldOut()
    held_out.add(questions=["Who wrote it, then?"])
    assert held_out.has_question("who wrote it then")
    assert not held_out.has_question("who wrote it when")


def test_held_out_passages_are_found_by_shared_word_sequences():
    held_out = HeldOut()
    held_out.add(passages=[LONG])
    assert held_out.has_passage(LONG.upper() + "!")
    assert held_out.has_passage(LONG + " and a little more")
    assert not held_out.has_passage(" ".join(reversed(LONG.split())))
    assert not held_out.has_passage("another text of more than eight words that shares none of it")


@pytest.fixture
def collection(tmp_path):
    (tmp_path / "qrels").mkdir()
    corpus = [{"_id": f"p{i}", "text": text} for i, text in enumerate(NOTES)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    questions = {"q0": "how do plants make food?", "q1": "a warm drink", "q2": "a game for two"}
    lines = [json.dumps({"_id": key, "text": text}) for key, text in questions.items()]
    (tmp_path / "queries.jsonl").write_text("\n".join(lines))
    head = "query-id\tcorpus-id\tscore\n"
    (tmp_path / "qrels/train.tsv").write_text(head + "q0\tp0\t1\nq1\tp1\t1\nq2\tp7\t1\nq0\tp2\t0\n")
    (tmp_path / "qrels/test.tsv").write_text(head + "q2\tp7\t1\n")
    return tmp_path


def test_the_training_split_is_without_what_is_held_out(collection):
    judged = read_training_split(collection, read_held_out([collection]))
    assert sorted(judged.pairs) == [("a warm drink", "p1"), ("how do plants make food?", "p0")]
    assert "p7" not in judged.passages


def test_a_folder_without_training_pairs(collection):
    (collection / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\nq2\tp7\t1\n")
    with pytest.raises(DataError, match="no training pair is left"):
        read_training_split(collection, read_held_out([collection]))


def test_negatives_are_less_similar_than_the_positive_and_never_answers(bi_encoder):
    passages = {f"p{i}": text for i, text in enumerate(NOTES)}
    passages["near"] = NOTES[0] + " "  # as similar as the positive: an unjudged answer
    pairs = [("how do plants make food?", "p0"), ("how do plants make food?", "p6")]
    groups = mine(Judged("notes", passages, pairs), bi_encoder, groups=10, pool=6)
    assert len(groups) >= 1
    for group in groups:
        query = bi_encoder.encode_queries([group.query])[0]
        limit = 0.95 * float(bi_encoder.encode_passages([group.positive])[0] @ query)
        similar = bi_encoder.encode_passages(group.negatives) @ query
        assert (similar < limit + 1e-5).all()
        assert (np.diff(similar) <= 1e-5).all()  # hardest first
        assert not {NOTES[0], NOTES[6], passages["near"]} & set(group.negatives) - {group.positive}


def test_the_sample_of_groups_is_seeded(bi_encoder):
    passages = {f"p{i}": text for i, text in enumerate(NOTES)}
    judged = Judged("notes", passages, [(f"about {t[:20]}", f"p{i}") for i, t in enumerate(NOTES)])
    first, again, other = (
        mine(judged, bi_encoder, groups=4, max_passages=6, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
