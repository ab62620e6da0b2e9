"""The sample corpus keeps what its README promises; the promises are checked mechanically."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
import snowballstemmer

from shortlist.cli.sample import SAMPLE
from shortlist.data.collections import Cutting, load
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.records import Passage

SIMILAR = SAMPLE / "similar_questions"

FUNCTION_WORDS = frozenset(
    """
    a about above across after again against ago all almost along already also although always
    am among an and another any anybody anyone anything are aren around as at away back be
    became because become becomes been before behind being below beneath beside besides between
    beyond both but by came can can't cannot come could d did didn do does doesn doing don done
    down during each either else enough even ever every everyone everything except far few for
    from further gave get gets getting give given gives go goes going gone got had has have
    having he her here hers herself him himself his how however i if in indeed inside instead
    into is isn it its itself just keep keeps kept kind later least less let like likely ll m
    made make makes making many may maybe me might mine more most mostly much must my myself
    near nearly neither never next no nobody none nor not nothing now nowhere of off often on
    once one ones only onto or other others our ours out over own per perhaps put quite rather
    re really s same say says she should since so some somebody someone something sometimes
    somewhere soon still such t take taken takes than that the their theirs them themselves then
    there these they thing things this those though through thus till to together too took
    toward towards two under until up upon us use used uses using usually ve very want was wasn
    way ways we well went were weren what whatever when where whether which while who whom whose
    why will with within without won would yes yet you your yours yourself
    """.split()  # noqa: SIM905 - a list of words reads better so
)
stem = snowballstemmer.stemmer("english").stemWord


def content_words(text: str) -> set[str]:
    """Stems of the words that are not mere grammar (Porter's second stemmer)."""
    words = re.findall(r"[^\W_]+", text.casefold().replace("'s", ""))
    return {stem(word) for word in words if word not in FUNCTION_WORDS}


@pytest.fixture(scope="module")
def passages() -> dict[str, Passage]:
    def count(texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    collection = load(SAMPLE / "encyclopedia.xml", Cutting(count, 256))
    found = {passage.id: passage for passage in collection.passages}
    assert collection.ledger.documents >= 120
    assert "disambiguation page" in collection.ledger.summary()
    return found


@pytest.fixture(scope="module")
def questions() -> list[dict[str, str]]:
    lines = (SAMPLE / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def qrels() -> dict[str, dict[str, dict[str, int]]]:
    return {split: read_qrels(SAMPLE / "qrels" / f"{split}.tsv") for split in ("dev", "test")}


def test_it_is_of_the_promised_size(passages, questions, qrels) -> None:
    assert len(passages) >= 500
    assert len({passage.title for passage in passages.values()}) >= 120
    assert len(questions) >= 240
    kinds = Counter(question["kind"] for question in questions)
    assert kinds["no_overlap"] >= 80
    assert kinds["misspelt"] >= 40
    assert kinds["abbreviation"] >= 30
    assert set(kinds) == {"no_overlap", "misspelt", "abbreviation", "ordinary"}
    assert min(len(judged) for judged in qrels.values()) >= 100


def test_every_question_is_judged_in_one_split_and_has_an_answer(passages, questions, qrels):
    ids = [question["_id"] for question in questions]
    assert len(ids) == len(set(ids)) == len({q["text"].casefold() for q in questions})
    assert sorted([*qrels["dev"], *qrels["test"]]) == sorted(ids)  # each in exactly one
    for judged in qrels.values():
        for question, grades in judged.items():
            assert grades.keys() <= passages.keys(), question
            assert set(grades.values()) <= {1, 2}, question
            assert 2 in grades.values(), question
    several = sum(len(grades) > 1 for judged in qrels.values() for grades in judged.values())
    assert several >= 30


def test_dev_and_test_ask_about_different_articles(passages, qrels) -> None:
    asked = {
        split: {
            passages[p].title for grades in judged.values() for p, g in grades.items() if g == 2
        }
        for split, judged in qrels.items()
    }
    shared = asked["dev"] & asked["test"]
    assert len(shared) <= 0.15 * len(asked["test"]), sorted(shared)


def test_the_no_overlap_questions_share_no_content_word_with_their_answers(
    passages, questions, qrels
) -> None:
    grades = {**qrels["dev"], **qrels["test"]}
    for question in questions:
        if question["kind"] != "no_overlap":
            continue
        for passage, grade in grades[question["_id"]].items():
            if grade == 2:
                shared = content_words(question["text"]) & content_words(
                    passages[passage].model_text
                )
                assert not shared, (question, passage)


def test_similar_questions_are_pairs_with_distractors() -> None:
    corpus = {
        row["_id"]: row["text"]
        for row in map(json.loads, (SIMILAR / "corpus.jsonl").read_text("utf-8").splitlines())
    }
    queries = read_queries(SIMILAR / "queries.jsonl")
    splits = {s: read_qrels(SIMILAR / "qrels" / f"{s}.tsv") for s in ("dev", "test")}
    judged = {**splits["dev"], **splits["test"]}
    assert not splits["dev"].keys() & splits["test"].keys()
    assert len(judged) == len(queries) >= 120
    assert min(map(len, splits.values())) >= 40
    answers = [passage for grades in judged.values() for passage in grades]
    assert set(answers) <= corpus.keys()
    assert not set(queries) & set(answers)
    for query, text in queries.items():
        assert corpus[query] == text  # queries are in the corpus: exclude_self
    assert len(corpus) >= 2 * len(queries) + 120  # the distractors
    assert len({text.casefold() for text in corpus.values()}) == len(corpus)
