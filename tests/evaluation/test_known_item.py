"""Known-item queries: one answer each, from which their words are gone, whatever the order."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.cli.sample import SAMPLE
from shortlist.data.collections import Cutting, load
from shortlist.data.sentences import sentence_spans
from shortlist.errors import DataError, UsageError
from shortlist.evaluation.known_item import KnownItems, known_items
from shortlist.records import Passage

NOUN_LIST = """
    canal lock barge horse bridge tunnel engine mill coal railway harbour lighthouse sailor rope
    anchor captain storm island pilot chart compass tide reef lagoon dock crane cargo ferry
"""
VERB_LIST = "carries repairs follows paints sells moves measures describes guards counts"
NOUNS, VERBS = NOUN_LIST.split(), VERB_LIST.split()


def sentence(rng: random.Random, length: int = 9) -> str:
    verb = rng.choice(VERBS)
    nouns = rng.sample(NOUNS, length - 2)
    return f"{nouns[0].capitalize()} {verb} the {' '.join(nouns[1:])}."


def corpus_of(
    number: int, seed: int = 0, *, title_words: int = 4, length: int = 5
) -> list[Passage]:
    rng = random.Random(seed)  # noqa: S311
    return [
        Passage(
            id=f"p{n}",
            text=" ".join(sentence(rng) for _ in range(length)),
            title=" ".join(rng.sample(NOUNS, title_words)),
            metadata={"n": n},
        )
        for n in range(number)
    ]


def flat(text: str) -> str:
    return " ".join(text.split()).casefold()


def made_from(passages: list[Passage], number: int = 100, seed: int = 0) -> KnownItems:
    return known_items(iter(passages), number, sentences=sentence_spans, seed=seed)


def check(found: KnownItems, passages: list[Passage], number: int) -> None:
    """What every result must keep, against the passages it was made from."""
    originals = {passage.id: passage for passage in passages}
    assert 0 < len(found.queries) <= number
    assert sum(found.method.values()) == len(found.queries)
    assert found.queries.keys() == found.qrels.keys()
    answers = [answer for grades in found.qrels.values() for answer in grades.items()]
    assert [grade for _, grade in answers] == [1] * len(found.queries)
    assert sorted(passage_id for passage_id, _ in answers) == sorted(found.changed)
    methods = Counter()
    for query_id, text in found.queries.items():
        (passage_id,) = found.qrels[query_id]
        changed, original = found.changed[passage_id], originals[passage_id]
        assert changed.id == passage_id
        assert flat(text) not in flat(changed.model_text)
        assert text == " ".join(text.split())
        methods[method_of(text, changed, original)] += 1
    assert methods == Counter(found.method)
    assert query_ids_are_new(found, originals)


def method_of(text: str, changed: Passage, original: Passage) -> str:
    """Which way the query was made, from what differs; everything else must be the same."""
    if changed.text == original.text:
        assert changed == replace(original, title="")
        assert text == " ".join(original.title.split())
        assert len(text.split()) >= 3
        return "title"
    assert changed == replace(original, text=changed.text)
    spans = [original.text[a:b] for a, b in sentence_spans(original.text)]
    left = [changed.text[a:b] for a, b in sentence_spans(changed.text)]
    (cut,) = (Counter(spans) - Counter(left)).elements()
    assert cut not in (spans[0], spans[-1])
    assert left == [s for s in spans if s != cut]
    if text == " ".join(cut.split()):
        return "sentence"
    kept = iter(re.findall(r"\w+", cut))
    assert all(word in kept for word in re.findall(r"\w+", text))  # in their order
    assert len(text.split()) < len(cut.split())
    return "keywords"


def query_ids_are_new(found: KnownItems, originals: dict[str, Passage]) -> bool:
    return not found.queries.keys() & originals.keys()


# properties

SENTENCES = st.builds(
    lambda seed, length: sentence(random.Random(seed), length),  # noqa: S311
    st.integers(0, 60),
    st.sampled_from([4, 7, 9, 12, 28]),
)
TEXTS = st.one_of(
    st.lists(SENTENCES, min_size=1, max_size=6).map(" ".join),
    st.lists(SENTENCES, min_size=3, max_size=5).map("\n".join),
    st.text(max_size=40),
)
TITLES = st.one_of(
    st.sampled_from(["", "Canals", "The old lock", "the OLD lock", "Log book 12", "Log book 31"]),
    st.lists(st.sampled_from(NOUNS), min_size=2, max_size=5).map(" ".join),
)


@given(
    corpus=st.lists(st.tuples(TITLES, TEXTS), min_size=1, max_size=30),
    number=st.integers(1, 12),
    seed=st.integers(0, 3),
    data=st.data(),
)
@settings(deadline=None, max_examples=120)
def test_one_answer_for_each_query_in_whatever_order_passages_come(
    corpus: list[tuple[str, str]], number: int, seed: int, data: st.DataObject
) -> None:
    passages = [Passage(f"p{n}", text, title) for n, (title, text) in enumerate(corpus)]
    try:
        found = made_from(passages, number, seed)
    except DataError:
        # nothing could be made: no long title, or all that there are come twice or stand in texts
        folded = Counter(flat(p.title) for p in passages if p.text.strip())
        for passage in passages:
            lone = folded[flat(passage.title)] == 1 and len(passage.title.split()) >= 3
            digits = any(character.isdigit() for character in passage.title)
            assert (
                not lone
                or digits
                or flat(passage.title) in flat(passage.text)
                or not (passage.text.strip())
            )
        return
    check(found, passages, number)
    shuffled = data.draw(st.permutations(passages))
    again = known_items(shuffled, number, sentences=sentence_spans, seed=seed)
    assert again == found


def test_titles_are_unique_in_the_whole_corpus_though_few_are_held() -> None:
    passages = corpus_of(6000, title_words=3)
    rng = random.Random(1)  # noqa: S311
    repeated = [
        replace(p, title=rng.choice(passages[:1500]).title.upper()) for p in passages[3000:]
    ]
    passages = [*passages[:3000], *repeated]
    counts = Counter(flat(p.title) for p in passages)
    found = made_from(passages, 60)
    check(found, passages, 60)
    titles = [q for i, q in found.queries.items() if flat(q) in counts]
    assert len(titles) == found.method["title"] == 30
    assert all(counts[flat(title)] == 1 for title in titles)
    assert sum(count > 1 for count in counts.values()) > 500  # there was something to avoid


def test_another_seed_draws_others_and_the_same_seed_the_same() -> None:
    passages = corpus_of(300)
    first, again, other = (made_from(passages, 40, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.changed.keys() != other.changed.keys()
    check(other, passages, 40)


def test_no_part_of_the_corpus_is_preferred() -> None:
    passages = [replace(p, title="") for p in corpus_of(4000)]
    drawn = sorted(int(i[1:]) for seed in range(4) for i in made_from(passages, 100, seed).changed)
    thousands = Counter(n // 1000 for n in drawn)  # 400 drawn, each thousand expects 100
    assert all(60 <= thousands[n] <= 140 for n in range(4)), thousands  # 4.6 standard deviations


def test_the_passages_are_drawn_once() -> None:
    drawn = 0

    def stream() -> Iterator[Passage]:
        nonlocal drawn
        for passage in corpus_of(50):
            drawn += 1
            yield passage

    assert known_items(stream(), 10, sentences=sentence_spans) == made_from(corpus_of(50), 10)
    assert drawn == 50


# what is made, by hand

HARBOUR = (
    "The harbour lies in a bay. It was dug by hand over eleven years. Ferries leave from its "
    "northern quay every hour in summer. Two. Its lamp burns oil."
)


def test_a_sentence_from_the_middle_that_points_to_nothing_before_it() -> None:
    # first and last stay, "It was ..." points back, "Two." is too short
    found = made_from([Passage("h", HARBOUR, "Harbour", metadata={"a": 1})], 5)
    cut = "Ferries leave from its northern quay every hour in summer."
    assert found.queries == {"known-item-1": cut}
    assert found.qrels == {"known-item-1": {"h": 1}}
    changed = Passage("h", HARBOUR.replace(f"{cut} ", ""), "Harbour", metadata={"a": 1})
    assert found.changed == {"h": changed}
    assert found.method == {"title": 0, "sentence": 1, "keywords": 0}


def test_half_are_titles_and_every_third_sentence_is_keywords() -> None:
    found = made_from(corpus_of(200), 60)
    assert found.method == {"title": 30, "sentence": 20, "keywords": 10}
    check(found, corpus_of(200), 60)
    assert json.loads(json.dumps(found.as_json()))["method"] == dict(found.method)


def test_what_one_way_cannot_make_the_other_does() -> None:
    short_titles = corpus_of(80, title_words=2)
    assert made_from(short_titles, 30).method == {"title": 0, "sentence": 20, "keywords": 10}
    short_texts = corpus_of(80, length=2)
    assert made_from(short_texts, 30).method == {"title": 30, "sentence": 0, "keywords": 0}
    assert len(made_from(corpus_of(8), 30).queries) == 8  # one query a passage at the most


@pytest.mark.parametrize(
    "title",
    [
        "Canals",  # too short
        "Old Harbour Tales",  # not unique
        "OLD  harbour tales",
        "Log book 12",  # unlike "Log book 31" in figures only
        "The harbour lies in a bay",  # stands in the text
    ],
)
def test_titles_that_are_no_queries(title: str) -> None:
    others = [Passage("a", "x", "old harbour tales"), Passage("b", "x", "Log book 31")]
    text = "The harbour lies in a bay."
    good = Passage("g", text, "A Title of its Own")
    found = made_from([Passage("p", text, title), *others, good], 10)
    assert "p" not in found.changed
    assert "g" in found.changed


def test_sentences_and_texts_that_come_more_than_once_are_no_queries() -> None:
    rng = random.Random(5)  # noqa: S311
    boilerplate = "Please read the terms and conditions of this site."
    passages = [
        Passage(f"p{n}", f"{sentence(rng)} {boilerplate} {sentence(rng)} {sentence(rng)}")
        for n in range(20)
    ]
    echo = Passage("echo", " ".join([sentence(rng)] * 3))
    twice = Passage("once", " ".join(sentence(rng) for _ in range(4)))
    found = made_from([*passages, echo, twice, replace(twice, id="again")], 50)
    assert set(found.changed) == {p.id for p in passages}
    assert not any(boilerplate in query for query in found.queries.values())


def test_nothing_is_made_of_single_questions() -> None:
    questions = [Passage(f"q{n}", f"How deep is canal number {n}?") for n in range(100)]
    odd = [replace(p, id=f"odd{p.id}") for p in corpus_of(5, title_words=2)]
    for corpus in (questions, [*questions, *odd], []):
        with pytest.raises(DataError, match=r"no known-item query .* give queries and judgements"):
            made_from(corpus)
    similar = load(SAMPLE / "similar_questions", Cutting(lambda t: [len(x) for x in t], 256))
    with pytest.raises(DataError, match="From single questions or sentences nothing"):
        made_from(list(similar.passages))


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1, got 0"):
        made_from(corpus_of(3), 0)


def test_chinese_is_counted_in_characters() -> None:
    text = "运河于一八二七年开通了。工厂所需要的煤炭都由马拉的驳船运送到城里。后来铁路来了。"
    found = made_from([Passage("zh", text)], 3)
    assert list(found.queries.values()) == ["工厂所需要的煤炭都由马拉的驳船运送到城里。"]
    assert found.changed["zh"].text == "运河于一八二七年开通了。后来铁路来了。"


# real corpora


def test_the_encyclopedia_that_we_ship() -> None:
    def count(texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    passages = list(load(SAMPLE / "encyclopedia.xml", Cutting(count, 256)).passages)
    found = made_from(passages)
    assert len(found.queries) == 100
    check(found, passages, 100)


@pytest.mark.collections
@pytest.mark.parametrize(
    ("name", "titles", "cloze"),
    [("squad", 0, 100), ("publications", 50, 50), ("cranfield", 100, 0), ("msmarco", 0, 100)],
)
def test_public_collections(shared_data: Path, name: str, titles: int, cloze: int) -> None:
    folder = load(shared_data / name, Cutting(lambda t: [len(x) for x in t], 256))
    passages = list(folder.passages)
    found = made_from(passages)
    check(found, passages, 100)
    assert found.method["title"] == titles
    assert found.method["sentence"] + found.method["keywords"] == cloze
