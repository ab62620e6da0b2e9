"""Pieces of one paragraph that share text: never too long, never a gap, offsets as always."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.paragraphs import Section, plain_text, split
from shortlist.errors import UsageError
from shortlist.records import Passage

Counter = Callable[[list[str]], list[int]]


def words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def words_and_marks(texts: list[str]) -> list[int]:
    return [len(re.findall(r"\w+|[^\w\s]", text)) + 2 for text in texts]


def thirds_of_bytes(texts: list[str]) -> list[int]:
    return [-(-len(text.encode()) // 3) + 1 for text in texts]


def dearer_together(texts: list[str]) -> list[int]:
    """Two sentences take more than the sum of both."""
    return [len(text.split()) + 2 * len(re.findall(r"\.\s+\S", text)) + 2 for text in texts]


SENTENCE = st.lists(st.sampled_from(["a", "is", "Word", "é", "日本", "xxxxxxx"]), min_size=1).map(
    lambda parts: " ".join(parts).capitalize() + "."
)
PARAGRAPH = st.lists(SENTENCE, min_size=1, max_size=12).map(" ".join) | st.text(
    st.characters(codec="utf-8"), max_size=200
).map(str.strip).filter(bool)
SECTIONS = st.lists(
    st.builds(Section, st.sampled_from(["", "A"]), st.lists(PARAGRAPH, max_size=3).map(tuple)),
    max_size=3,
)


def cut(
    sections: list[Section], count: Counter, limit: int, overlap: int, title: str = ""
) -> list[Passage]:
    return split(
        "d", title, sections, count_tokens=count, max_tokens=limit, overlap=overlap,
        min_characters=1,
    )  # fmt: skip


@given(
    sections=SECTIONS,
    title=st.text("ab ", max_size=20),
    limit=st.integers(20, 60),
    share=st.floats(0, 1),
    count=st.sampled_from([words, words_and_marks, thirds_of_bytes, dearer_together]),
)
@settings(deadline=None)
def test_nothing_is_lost_nothing_is_too_long_and_offsets_hold(
    sections: list[Section], title: str, limit: int, share: float, count: Counter
) -> None:
    passages = cut(sections, count, limit, round(share * (limit // 4)), title)
    plain = plain_text(sections)
    covered = [False] * len(plain)
    for number, passage in enumerate(passages):
        start, end = passage.offset, passage.offset + len(passage.text)
        assert passage.id == f"d-{number}"
        assert plain[start:end] == passage.text != ""
        assert count([passage.model_text])[0] <= limit
        covered[start:end] = [True] * len(passage.text)
    assert all(found or char.isspace() for char, found in zip(plain, covered, strict=True))
    spans = [(p.offset, p.offset + len(p.text)) for p in passages]
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(spans))


@given(
    sections=SECTIONS,
    limit=st.integers(20, 40),
    share=st.floats(0, 1),
    count=st.sampled_from([words, words_and_marks, thirds_of_bytes]),
)
@settings(deadline=None)
def test_what_is_shared_is_at_most_the_overlap_and_inside_one_paragraph(
    sections: list[Section], limit: int, share: float, count: Counter
) -> None:
    overlap = round(share * (limit // 4))
    plain = plain_text(sections)
    for one, other in pairwise(cut(sections, count, limit, overlap)):
        shared = plain[other.offset : one.offset + len(one.text)]
        if shared:
            assert one.text.endswith(shared)
            assert other.text.startswith(shared)
            assert count([shared])[0] - count([""])[0] <= overlap
            assert one.section == other.section
            assert any(other.text in text for s in sections for text in s.paragraphs)


@given(st.integers(60, 300), st.integers(20, 60), st.data())
@settings(deadline=None)
def test_neighbours_share_exactly_the_overlap_where_words_are_tokens(
    length: int, limit: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(1, limit // 4))
    text = " ".join(f"w{n}" for n in range(length))
    passages = cut([Section("", (text,))], words, limit, overlap)
    assert len(passages) > 1
    for one, other in pairwise(passages):
        assert other.text.split()[:overlap] == one.text.split()[-overlap:]
        assert other.text.split()[overlap] not in one.text.split()


def test_whole_sentences_are_shared_where_they_are_short_enough() -> None:
    text = " ".join(f"Sentence {n} has five words." for n in range(12))
    for one, other in pairwise(cut([Section("", (text,))], words, 24, 6)):
        shared = one.text[one.text.rindex("Sentence") :]
        assert other.text.startswith(shared + " Sentence")


@given(
    sections=SECTIONS, limit=st.integers(20, 60), count=st.sampled_from([words, words_and_marks])
)
@settings(deadline=None)
def test_without_overlap_nothing_is_shared(
    sections: list[Section], limit: int, count: Counter
) -> None:
    passages = cut(sections, count, limit, 0)
    default = split("d", "", sections, count_tokens=count, max_tokens=limit, min_characters=1)
    assert passages == default
    assert all(a.offset + len(a.text) <= b.offset for a, b in pairwise(passages))


@given(text=PARAGRAPH, limit=st.integers(24, 60), data=st.data())
@settings(deadline=None)
def test_pieces_end_where_those_of_a_shorter_limit_end(
    text: str, limit: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(1, limit // 4))
    sections = [Section("", (text,))]
    ends = [p.offset + len(p.text) for p in cut(sections, words, limit, overlap)]
    shorter = [p.offset + len(p.text) for p in cut(sections, words, limit - overlap, 0)]
    assert ends == (shorter if words([text])[0] > limit else [len(text)])


@pytest.mark.parametrize("overlap", [-1, 6, 20])
def test_an_overlap_that_cannot_work_is_refused(overlap: int) -> None:
    with pytest.raises(UsageError, match=rf"overlap={overlap}: expected 0 to 5, a quarter of the"):
        cut([Section("", ("text",))], words, 20, overlap)
