"""What is trained on: judged splits without what is held out, tables of pairs, no labels at all."""

from __future__ import annotations

import json

import pytest
from small_collection import QUESTIONS, write_collection

from shortlist.data.collections import Cutting
from shortlist.data.sentences import sentence_spans
from shortlist.errors import DataError, UsageError
from shortlist.training.groups import Group, kept_groups, read_groups, usable, write_groups
from shortlist.training.judged import (
    HeldOut,
    judgements_of,
    read_held_out,
    read_training_split,
    without_labels,
)
from shortlist.training.mining import Mining
from shortlist.training.sources import Source, gather

LONG = " ".join(f"word{i}" for i in range(24))
CUTTING = Cutting(lambda texts: [len(text.split()) for text in texts], 64)


def test_held_out_questions_are_found_whatever_their_case_and_marks():
    held_out = HeldOut(["Who wrote it, then?"])
    assert held_out.has_question("who wrote it then")
    assert not held_out.has_question("who wrote it when")


def test_held_out_passages_are_found_by_shared_word_sequences():
    held_out = HeldOut(passages=[LONG])
    assert held_out.has_passage(LONG.upper() + "!")
    assert held_out.has_passage(LONG + " and a little more")
    assert not held_out.has_passage(" ".join(reversed(LONG.split())))
    assert not HeldOut().has_passage(LONG)


def test_the_training_split_is_without_what_dev_and_test_hold(tmp_path):
    folder = write_collection(tmp_path / "c", train=[0, 1, 2, 3], dev=[2, 4], test=[3])
    judged = read_training_split(folder, read_held_out([folder], CUTTING), CUTTING)
    assert sorted(judged.pairs) == [(QUESTIONS[1], "p1"), (QUESTIONS[0], "p0")]
    assert {p.id for p in judged.corpus()} == {"p0", "p1", "p5", "p6", "p7"}


def test_a_folder_without_training_pairs(tmp_path):
    folder = write_collection(tmp_path / "c", train=[2], dev=[2])
    with pytest.raises(DataError, match="no training pair is left of 1 judged questions"):
        read_training_split(folder, read_held_out([folder], CUTTING), CUTTING)
    with pytest.raises(UsageError, match="no judgements for 'train'; it has .'dev'"):
        read_training_split(write_collection(tmp_path / "d", dev=[1]), HeldOut(), CUTTING)


def test_an_ms_marco_folder_and_quoras_file(tmp_path):
    marco, quora = tmp_path / "marco", tmp_path / "quora"
    marco.mkdir()
    (marco / "collection.tsv").write_text("1\ta first passage\n2\tanother one\n3\ta third\n")
    (marco / "queries.train.tsv").write_text("10\twhat is first\n11\twhat is third\n")
    (marco / "qrels.train.tsv").write_text("10 0 1 1\n11 0 3 1\n")
    (marco / "queries.dev.small.tsv").write_text("12\tWhat is third?\n")
    (marco / "qrels.dev.small.tsv").write_text("12 0 2 1\n")
    judged = read_training_split(marco, read_held_out([marco], CUTTING), CUTTING)
    assert list(judged.pairs) == [("what is first", "1")]
    assert {p.id for p in judged.corpus()} == {"1", "3"}

    quora.mkdir()
    head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    # what a person may ask in two ways, thirty times, and one pair that is none
    rows = "".join(
        f"{n}\t{n}a\t{n}b\thow to cook meal {n}\thow do I prepare number {n}\t1\n"
        for n in range(30)
    )
    rows += "99\tx\ty\twhy rain\twhy snow\t0\n"
    (quora / "quora_duplicate_questions.tsv").write_text(head + rows)
    judged = read_training_split(quora, read_held_out([quora], CUTTING), CUTTING)
    splits = {name: set(judgements_of(quora, name)[1]) for name in ("train", "dev", "test")}
    assert sum(map(len, splits.values())) == 60  # each question is in one of them
    assert len(splits["train"]) > 30
    assert splits["dev"]
    for ids in splits.values():  # with all that asks the same
        assert {i[:-1] + "ab"["ba".index(i[-1])] for i in ids} == ids
    trained = {question.split()[-1] for question, _ in judged.pairs}
    assert trained == {i[:-1] for i in splits["train"]}


def test_queries_without_labels_are_cut_out_of_the_passages(tmp_path):
    text = (
        "The first sentence names what this article number {0} is about. The second sentence has "
        "the rare word zephyr{0} and goes on for a while. The last one ends it."
    )
    rows = [{"_id": f"p{i}", "title": f"A title about zebra{i} things", "text": text.format(i)}
            for i in range(12)]  # fmt: skip
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    held_out = HeldOut(["A title about zebra3 things"], [text.format(4)])
    judged = without_labels(tmp_path / "corpus.jsonl", held_out, CUTTING, queries=100)
    passages = {p.id: p for p in judged.corpus()}
    assert len(judged.pairs) > 5
    for query, passage in judged.pairs:
        assert query not in passages[passage].model_text  # or it would be found by itself
        assert [*sentence_spans(passages[passage].text)]
    assert "A title about zebra3 things" not in [query for query, _ in judged.pairs]
    assert "p4" not in passages


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "pairs.jsonl",
            '{"query": "a", "positive": "b", "negatives": ["c", ""]}\n'
            '{"anchor": "d", "answer": "e", "negative": "f", "negative_2": "g"}\n',
            [Group("a", "b", ("c",)), Group("d", "e", ("f", "g"))],
        ),
        ("pairs.csv", "question,passage,label\na,b,1\nc,d,0\n", [Group("a", "b")]),
        ("pairs.tsv", "query\tpositive\nx\ty\n", [Group("x", "y")]),
        (
            "scored.csv",
            "query,positive,negative_1,negative_score,negative_id\nx,y,z,0.5,p1\n",
            [Group("x", "y", ("z",))],
        ),
    ],
)
def test_tables_of_pairs(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)
    assert read_groups(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("query,positive,label\na,b,0\nc,d,0\n", "all 2 rows are labelled 0; expected pairs"),
        ("query,positive,label\na,b,maybe\n", r"pairs.csv:2: the label is 'maybe'; expected a num"),
        ("query,positive\n ,b\n", r"pairs.csv:2: query is empty"),
        ("query,other\na,b\n", r"expected a column called positive or .*; there are query, other"),
        ("query,positive\n", "there are no rows"),
        ("query,positive,label\na,b,nan\n", "all 1 rows are labelled 0"),
    ],
)
def test_tables_that_cannot_be_learnt_from(tmp_path, content, message):
    (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_groups(tmp_path / "pairs.csv")


def test_empty_negatives_and_negatives_that_are_the_positive_are_left_out():
    assert usable([Group("half \ud83d", "yes")], 0) == [Group("half ?", "yes")]
    scored = Group("q", "yes", ("yes", "no", " ", "other"), (3.0, 2.0, 1.0, 0.0, -1.0))
    assert usable([scored, Group("r", "s", ("s",))], 1) == [
        Group("q", "yes", ("no", "other"), (3.0, 1.0, -1.0))
    ]
    with pytest.raises(DataError, match="of 1 none has a positive and 3 negatives; give more"):
        usable([Group("q", "yes", ("no",))], 3)


def test_groups_are_kept_for_the_same_settings_only(tmp_path):
    groups = [Group("q \ud800", "yes", ("no",), (1.0, 0.5)), Group("r", "s")]
    write_groups(tmp_path / "kept.jsonl", groups, "these settings")
    assert kept_groups(tmp_path / "kept.jsonl", "these settings") == groups
    assert kept_groups(tmp_path / "kept.jsonl", "others") is None
    assert kept_groups(tmp_path / "nowhere.jsonl", "others") is None


def test_sources_by_name(tmp_path):
    folder = write_collection(tmp_path / "a:1", train=[0])
    (tmp_path / "pairs.jsonl").write_text("{}")
    assert Source.parse(str(folder)).path == folder  # a colon of its own
    assert Source.parse(f"{folder}:30") == Source(folder, "judged", 30)
    assert Source.parse(f"{tmp_path}/pairs.jsonl:5") == Source(tmp_path / "pairs.jsonl", "pairs", 5)
    assert Source.parse(str(folder), labelled=False).kind == "unlabelled"
    for text in (f"{folder}:0", f"{folder}:few"):
        with pytest.raises(UsageError, match="PATH:QUERIES"):
            Source.parse(text)
    with pytest.raises(UsageError, match="datasets of the hub are not read here"):
        Source.parse("hf://someone/something", labelled=False)
    assert Source.parse(str(folder)).licence == "not stated"
    (folder / "SOURCE.txt").write_text("From somewhere.\nLICENCE: CC BY 4.0\n")
    assert Source.parse(str(folder)).licence == "CC BY 4.0"


def test_pairs_without_negatives_get_them_from_one_another(tmp_path, bi_encoder):
    rows = [{"query": q, "positive": f"something about {q}"} for q in QUESTIONS]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mining = Mining(negatives=3, relative_margin=None)
    common = {"encoder": bi_encoder, "held_out": HeldOut([QUESTIONS[0]]),
              "cutting": CUTTING, "mining": mining, "max_passages": None}  # fmt: skip
    sources = [Source.parse(f"{tmp_path}/pairs.jsonl")]
    groups, used = gather(sources, tmp_path / "work", negatives=2, **common)
    assert [u.groups for u in used] == [7]  # one is held out
    for group in groups:
        assert len(group.negatives) == 3
        assert group.positive not in group.negatives
    again, _ = gather(sources, tmp_path / "work", negatives=2, **common)
    assert again == groups  # from what was kept
    alone, _ = gather(sources, tmp_path / "other", negatives=0, **common)
    assert {group.negatives for group in alone} == {()}


def test_what_was_kept_is_not_used_where_more_is_held_out_or_the_data_changed(tmp_path, bi_encoder):
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"query": q, "positive": f"about {q}", "negative": f"not {q}"} for q in QUESTIONS]
    pairs.write_text("\n".join(map(json.dumps, rows)))

    def gathered(held_out=None):
        groups, _ = gather(
            [Source.parse(str(pairs))], tmp_path / "work", encoder=bi_encoder,
            held_out=held_out or HeldOut(), cutting=CUTTING, mining=Mining(), negatives=1,
            max_passages=None,
        )  # fmt: skip
        return [group.query for group in groups]

    assert gathered() == QUESTIONS
    assert gathered(HeldOut([QUESTIONS[0]])) == QUESTIONS[1:]
    pairs.write_text("\n".join(map(json.dumps, rows[:4])))
    assert gathered() == QUESTIONS[:4]


def test_negatives_that_are_held_out_are_left_out_and_those_given_are_kept(tmp_path, bi_encoder):
    rows = [{"query": q, "positive": f"something about {q}"} for q in QUESTIONS]
    rows[0]["negative"] = LONG
    rows[1]["negative"] = "a negative of my own"
    rows[2]["negative"] = "another one"
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    groups, _ = gather(
        [Source.parse(f"{tmp_path}/pairs.jsonl")], tmp_path / "work", encoder=bi_encoder,
        held_out=HeldOut(passages=[LONG]), cutting=CUTTING, negatives=1, max_passages=None,
        mining=Mining(negatives=2, relative_margin=None),
    )  # fmt: skip
    negatives = {group.query: group.negatives for group in groups}
    assert set(negatives) == set(QUESTIONS)
    assert negatives[QUESTIONS[1]] == ("a negative of my own",)
    assert negatives[QUESTIONS[2]] == ("another one",)
    for question in (QUESTIONS[0], *QUESTIONS[3:]):
        assert len(negatives[question]) == 2
        assert all(text.startswith("something about") for text in negatives[question])


def test_a_question_is_no_negative_of_itself(tmp_path, bi_encoder):
    """In a symmetric task the questions are the collection."""
    folder = tmp_path / "c"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": f"p{i}", "text": text}) for i, text in enumerate(QUESTIONS)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    (folder / "queries.jsonl").write_text("\n".join(lines))
    (folder / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\np0\tp1\t1\np2\tp3\t1\n")
    groups, _ = gather(
        [Source.parse(str(folder))], tmp_path / "work", encoder=bi_encoder,
        held_out=HeldOut(), cutting=CUTTING, mining=Mining(negatives=5, relative_margin=None),
        negatives=1, max_passages=None,
    )  # fmt: skip
    assert {group.query for group in groups} == {QUESTIONS[0], QUESTIONS[2]}
    assert all(group.query not in group.negatives for group in groups)
