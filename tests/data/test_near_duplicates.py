"""Near-duplicates against a comparison of every pair, by Python's sets."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.near_duplicates import NearDuplicates, words


def sequences(text: str, width: int) -> set[tuple[str, ...]]:
    split = text.lower().split()
    width = min(width, len(split))
    return {tuple(split[i : i + width]) for i in range(len(split) - width + 1)}


def overlap(one: str, other: str) -> float:
    """What the module's docstring promises, word for word; 0 where it is no near-duplicate."""
    if not one.split() or not other.split():
        return 0.0
    if min(len(one.split()), len(other.split())) >= 16:
        a, b = sequences(one, 8), sequences(other, 8)
        share = len(a & b) / min(len(a), len(b))
        return share if share >= 0.5 else 0.0
    a, b = sequences(one, 3), sequences(other, 3)
    share = len(a & b) / len(a | b)
    return share if share >= 0.8 else 0.0


def expected(texts: list[str], asked: str) -> list[tuple[int, float]]:
    found = [(number, overlap(text, asked)) for number, text in enumerate(texts)]
    return sorted(
        ((number, share) for number, share in found if share), key=lambda pair: (-pair[1], pair[0])
    )


@st.composite
def texts_that_repeat(draw: st.DrawFn) -> list[str]:
    """Texts of 0 to 40 words, many of them another one with a few words changed or cut off."""
    chance = draw(st.randoms(use_true_random=False))
    vocabulary = ["a", "b", "C", "déjà", "x1"] + [f"w{i}" for i in range(draw(st.integers(0, 60)))]
    texts: list[list[str]] = []
    for _ in range(draw(st.integers(2, 9))):
        if texts and chance.random() < 0.6:
            text = list(chance.choice(texts))
            for _ in range(chance.choice([0, 0, 1, 1, 2])):
                if text:
                    text[chance.randrange(len(text))] = chance.choice(vocabulary)
            text = text[chance.choice([0, 0, 1, 5]) : len(text) - chance.choice([0, 0, 1, 9])]
        else:
            length = chance.choice([0, 1, 2, 3, 5, 12, 15, 16, 17, 18, 19, 25, 40])
            text = [chance.choice(vocabulary) for _ in range(length)]
        texts.append(text)
    return [" ".join(text) for text in texts]


@settings(max_examples=400, deadline=None)
@given(texts_that_repeat())
def test_it_finds_what_comparing_every_pair_finds(texts: list[str]) -> None:
    *held, asked = texts
    found = NearDuplicates(held).matches(asked)
    wanted = expected(held, asked)
    assert [match.number for match in found] == [number for number, _ in wanted]
    assert [match.overlap for match in found] == pytest.approx([share for _, share in wanted])


def test_the_random_texts_have_near_duplicates_of_all_kinds() -> None:
    """The test above must not be about texts that never meet."""
    kinds = {"short": 0, "long": 0, "in part": 0}
    chance = random.Random(1)  # noqa: S311
    for _ in range(300):
        text = [f"w{chance.randrange(30)}" for _ in range(chance.choice([10, 15, 17, 30]))]
        other = [word if chance.random() > 0.02 else "other" for word in text]
        (match,) = NearDuplicates([" ".join(text)]).matches(" ".join(other)) or [None]
        if match:
            kinds["long" if len(text) >= 16 else "short"] += 1
            kinds["in part"] += match.overlap < 1
    assert min(kinds.values()) > 20


def test_case_punctuation_and_unicode_form_do_not_count() -> None:
    (match,) = NearDuplicates(["nothing", "How is café CRÈME made, then?"]).matches(
        "how is “cafe\u0301” crème made then"
    )
    assert (match.number, match.overlap) == (1, 1.0)


def test_scripts_without_blanks_are_compared_by_character() -> None:
    assert words("東京は日本") == ["東", "京", "は", "日", "本"]
    one = "東京は日本の首都であり世界最大の都市圏を形成している"
    assert NearDuplicates([one]).matches(one[2:])[0].overlap == 1.0
    assert NearDuplicates([one]).matches("大阪は西日本の中心であり商業と食文化で知られている") == []


def test_nothing_repeats_texts_without_words() -> None:
    assert NearDuplicates(["", "...", "one"]).matches("?!") == []
    assert NearDuplicates([]).matches("one two three") == []


def test_boilerplate_costs_no_more_than_its_length() -> None:
    """4,000 texts that share a long beginning: every pair would be 8 million comparisons."""
    beginning = " ".join(f"common{i}" for i in range(40))
    texts = [
        beginning + " " + " ".join(f"t{i}x{j}" for j in range(60 if i % 2 else 5))
        for i in range(4000)
    ]
    start = time.process_time()
    index = NearDuplicates(texts)
    found = [index.matches(text) for text in texts[1::2]]
    assert time.process_time() - start < 20
    for number, matches in enumerate(found):
        assert (matches[0].number, matches[0].overlap) == (2 * number + 1, 1.0)  # itself
        assert len(matches) <= 33
