"""Windows of long passages: they fit, they leave nothing out, and what is left out is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist import Passage
from shortlist.models.loading import resolve
from shortlist.models.presets import OUR_CROSS_ENCODER
from shortlist.models.tokens import ModelTokenizer
from shortlist.models.windows import LEAST_ROOM, MOST_TOKENS, readings

QUERY = "how do plants make food?"
WORDS = ["tea", "glacier", "photosynthesis", "café", "ice", "1,350", "naïve", "—", "the", "a"]


@pytest.fixture(scope="module")
def tokenizer():
    return ModelTokenizer(resolve(OUR_CROSS_ENCODER))


def text_of(words, seed=0):
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def cut(tokenizer, query, text):
    (encoding,) = tokenizer.encode_pairs([(query, text)])
    return tokenizer.tokens_cut(encoding)


def test_a_passage_that_fits_is_read_whole(tokenizer):
    passages = [Passage("0", ""), Passage("1", "tea"), Passage("2", text_of(100), title="On tea")]
    assert readings(tokenizer, QUERY, passages) == [None, None, None]
    assert readings(tokenizer, QUERY, []) == []


@settings(max_examples=60, deadline=None)
@given(
    words=st.integers(1, 1500),
    title=st.sampled_from(["", "On tea", "A very long title " * 8]),
    query=st.sampled_from([QUERY, "tea", "why " * 100]),
    seed=st.integers(0, 9),
)
def test_windows_fit_and_cover_the_text(tokenizer, words, title, query, seed):
    passage = Passage("0", text_of(words, seed), title=title)
    (reading,) = readings(tokenizer, query, [passage])
    if reading is None:
        assert cut(tokenizer, query, passage.model_text) == 0
        return
    assert cut(tokenizer, query, passage.model_text) > 0
    assert all(cut(tokenizer, query, text) == 0 for text in reading.texts(passage))
    assert all(text.startswith(title) for text in reading.texts(passage))
    assert reading.windows[0][0] == 0
    for (_, end), (start, _) in zip(reading.windows, reading.windows[1:], strict=False):
        assert start < end  # they overlap
    for start, end in reading.windows:  # and cut no word
        assert start == 0 or passage.text[start - 1] == " "
        assert end == len(passage.text) or passage.text[end] == " "
    if reading.cut_tokens == 0:
        assert reading.windows[-1][1] == len(passage.text)
    else:
        read = len(tokenizer.offsets([passage.text[: reading.windows[-1][1]]])[0])
        assert read >= MOST_TOKENS
        rest = passage.text[reading.windows[-1][1] :]
        assert reading.cut_tokens == len(tokenizer.offsets([rest])[0])


def test_a_query_that_leaves_no_room_cuts_the_text_and_counts_it(tokenizer):
    query = "why " * (tokenizer.max_tokens - LEAST_ROOM)
    passage = Passage("0", "tea " * 400)
    (reading,) = readings(tokenizer, query, [passage])
    assert reading.windows == ((0, len(passage.text)),)
    assert reading.cut_tokens == 400 - (LEAST_ROOM - tokenizer.pair_specials)
    (whole,) = readings(tokenizer, query * 2, [passage])
    assert whole.cut_tokens == 400


def test_words_that_are_longer_than_a_window(tokenizer):
    """One endless word has nowhere to be cut but inside."""
    passage = Passage("0", "x" * 5000 + "é\0\ud800" * 300)
    (reading,) = readings(tokenizer, QUERY, [passage])
    assert len(reading.windows) > 1 or reading.cut_tokens == 0
    assert all(0 <= start < end <= len(passage.text) for start, end in reading.windows)


def test_a_megabyte_is_read_from_its_start(tokenizer):
    passage = Passage("0", text_of(200_000))
    (reading,) = readings(tokenizer, QUERY, [passage])
    assert 4 <= len(reading.windows) <= 8
    assert reading.cut_tokens > 100_000
