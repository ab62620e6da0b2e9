from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencex
from hypothesis import given
from hypothesis import strategies as st

from shortlist.data.ledger import Ledger
from shortlist.data.paragraphs import Section, plain_text, split
from shortlist.data.sentences import sentence_spans
from shortlist.errors import UsageError

Counter = Callable[[list[str]], list[int]]


def words_and_marks(texts: list[str]) -> list[int]:
    """A token for each word and mark, and two special ones, as BERT would have."""
    return [len(re.findall(r"\w+|[^\w\s]", text)) + 2 for text in texts]


def byte_pairs(texts: list[str]) -> list[int]:
    """Not additive: tokens reach over blanks, and one character may be several tokens."""
    return [-(-len(text.encode("utf-8", "surrogatepass")) // 3) + 1 for text in texts]


def fours(texts: list[str]) -> list[int]:
    """Words fall apart into pieces of four characters."""
    return [sum(-(-len(word) // 4) for word in text.split()) + 2 for text in texts]


COUNTERS = [words_and_marks, byte_pairs, fours]
PROSE = st.text(alphabet=st.sampled_from("ab AB.!?。। ,\n'\"(1é日🎉\u0301"), max_size=300)
PARAGRAPH = (PROSE | st.text(max_size=80)).map(str.strip).filter(bool)
SECTIONS = st.lists(
    st.builds(
        Section, st.sampled_from(["", "A", "A / B"]), st.lists(PARAGRAPH, max_size=4).map(tuple)
    ),
    max_size=4,
)


@given(
    SECTIONS,
    st.text(alphabet="ab ", max_size=60),
    st.integers(16, 60),
    st.integers(1, 60),
    st.sampled_from(COUNTERS),
)
def test_nothing_is_lost_nothing_is_too_long_and_offsets_hold(
    sections: list[Section], title: str, limit: int, least: int, count: Counter
) -> None:
    ledger = Ledger()
    passages = split(
        "d", title, sections, count_tokens=count, max_tokens=limit, ledger=ledger,
        min_characters=least,
    )  # fmt: skip
    plain = plain_text(sections)
    paragraphs = [text for section in sections for text in section.paragraphs]
    kept = [text for text in paragraphs if len(text) >= least]
    assert "".join("".join(p.text for p in passages).split()) == "".join("".join(kept).split())
    assert max(count([p.model_text for p in passages] or [""])) <= limit
    for number, passage in enumerate(passages):
        assert passage.id == f"d-{number}"
        assert passage.document_id == "d"
        assert passage.text == passage.text.strip() != ""
        assert plain[passage.offset : passage.offset + len(passage.text)] == passage.text
    ends = [p.offset + len(p.text) for p in passages]
    assert all(end <= later.offset for end, later in zip(ends, passages[1:], strict=False))
    assert ledger.kept == len(passages)
    assert ledger.dropped.total() == len(paragraphs) - len(kept)


@given(PARAGRAPH)
def test_paragraphs_that_fit_stay_whole(text: str) -> None:
    (passage,) = split(
        "7", "T", [Section("S", (text,))], count_tokens=words_and_marks, max_tokens=1000,
        min_characters=1,
    )  # fmt: skip
    assert (passage.id, passage.text, passage.offset) == ("7-0", text, 0)
    assert (passage.title, passage.section) == ("T", "S")


def test_sections_and_offsets_of_a_small_document() -> None:
    sections = [
        Section("", ("A lead that is long enough to be kept, surely.",)),
        Section("Empty", ()),
        Section("History / Early", ("Too short.", "One sentence here, of some length. " * 3)),
    ]
    ledger = Ledger()
    passages = split(
        "12", "Ada", sections, count_tokens=words_and_marks, max_tokens=20, ledger=ledger
    )
    assert [(p.id, p.section, p.offset) for p in passages] == [
        ("12-0", "", 0),
        ("12-1", "History / Early", 60),
        ("12-2", "History / Early", 130),
    ]
    assert passages[1].text.count("sentence") == 2
    assert ledger.summary() == "3 passages; dropped 1 paragraph under 40 characters"


def test_cuts_come_at_sentences_then_words_then_characters() -> None:
    text = "Short one here. " + "Word " * 30 + "end. " + "x" * 100 + " Last words."
    passages = split(
        "d", "", [Section("", (text,))], count_tokens=fours, max_tokens=12, min_characters=1
    )
    texts = [p.text for p in passages]
    assert texts[0] == "Short one here."
    assert texts[1] == " ".join(["Word"] * 10)
    assert "x" * 40 in "".join(texts)
    assert texts[-1].endswith("Last words.")
    assert max(fours(texts)) <= 12


def test_the_pieces_of_a_paragraph_are_of_similar_length() -> None:
    section = Section("", (("A sentence of five words. " * 12).strip(),))
    passages = split("d", "", [section], count_tokens=fours, max_tokens=62)
    assert [p.text.count("sentence") for p in passages] == [6, 6]  # not 8 and 4


def test_a_title_that_leaves_no_room_is_cut_short() -> None:
    ledger = Ledger()
    title = "A very long title of very many words " * 10
    passages = split(
        "d", title, [Section("", ("body " * 20,))], count_tokens=words_and_marks, max_tokens=16,
        ledger=ledger,
    )  # fmt: skip
    assert {p.title for p in passages} == {"A very long title of very"}
    assert max(words_and_marks([p.model_text for p in passages])) <= 16
    assert ledger.noted == {"titles cut short to leave room for text": 1}


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_a_limit_without_room_is_refused(limit: int) -> None:
    with pytest.raises(UsageError, match=f"max_tokens={limit} leaves no room"):
        split(
            "d", "T", [Section("", ("word",))], count_tokens=words_and_marks, max_tokens=limit,
            min_characters=1,
        )  # fmt: skip


@pytest.mark.parametrize("unit", ["word ", "One sentence. ", "x", "日本語。", "a" * 99 + " "])
def test_long_paragraphs_are_tokenised_a_few_times_not_quadratically(unit: str) -> None:
    counted = [0]

    def count(texts: list[str]) -> list[int]:
        counted[0] += sum(map(len, texts))
        assert len(texts) <= 1024
        return fours(texts)

    text = (unit * (400_000 // len(unit))).strip()
    passages = split("d", "Title", [Section("", (text,))], count_tokens=count, max_tokens=64)
    assert sum(len(p.text) for p in passages) > 0.7 * len(text)
    assert counted[0] < 12 * len(text)


SENTENCES = [
    ["Dr. Smith met J. S. Bach at 3.14 p.m. in St. Ives.", "He left."],
    ["Is it?", "Yes!", "“No.”", "(Maybe.)", "Well… who knows?"],
    ["It rose by 3.5 %.", "See e.g. Fig. 3 for more.", "Done."],
    ["Ta sündis 24. veebruaril 1918. aastal, nt. Tartus.", "Siis läks ta ära."],
    ["これは文です。", "次の文です！", "終わり"],
    ["यह एक वाक्य है।", "दूसरा वाक्य।"],
    ["The U.S. Navy sailed.", "It won."],
    ["first item", "second item", "third"],
]


@pytest.mark.parametrize("sentences", SENTENCES, ids=lambda sentences: sentences[0][:12])
def test_sentences_end_where_a_reader_would_end_them(sentences: list[str]) -> None:
    between = "\n" if sentences[0].startswith("first") else " "
    text = between.join(sentences)
    assert [text[a:b] for a, b in sentence_spans(text)] == sentences
    if sentences[0][-1] == "。":
        text = "".join(sentences)
        assert [text[a:b] for a, b in sentence_spans(text)] == sentences


@given(st.text() | PROSE)
def test_sentences_cover_the_text(text: str) -> None:
    spans = list(sentence_spans(text))
    assert all(a < b for a, b in spans)
    assert all(b <= c for (_, b), (c, _) in itertools.pairwise(spans))
    assert "".join("".join(text[a:b] for a, b in spans).split()) == "".join(text.split())


@pytest.mark.collections
def test_sentences_end_where_another_library_ends_them(shared_data: Path) -> None:
    """Wikimedia's sentencex is the reference; each is right in about half of what differs."""
    ours = theirs = both = 0
    lines = (shared_data / "squad" / "corpus.jsonl").read_text().splitlines()[::8]
    for text in (json.loads(line)["text"] for line in lines):
        found = {end for _, end in sentence_spans(text)}
        at, reference = 0, set()
        for sentence in sentencex.segment("en", text):
            at += len(sentence)
            reference.add(at - len(sentence) + len(sentence.rstrip()))
        ours, theirs, both = (
            ours + len(found),
            theirs + len(reference),
            both + len(found & reference),
        )
    assert ours > 5000
    assert 2 * both / (ours + theirs) > 0.97
