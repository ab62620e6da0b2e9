"""One hit a document, near-duplicates folded: against a brute force over the full ranking."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import UsageError
from shortlist.pipeline.distinct import Distinct, Selection
from shortlist.records import Hit


def words(texts):
    """Bags of words, hashed into 64 columns: an encoder whose cosines anyone can compute."""
    rows = np.full((len(texts), 64), 1e-3)
    for row, text in zip(rows, texts, strict=True):
        for word in re.findall(r"\w+", text.casefold()):
            row[zlib.crc32(word.encode()) % 64] += 1
    return rows


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """300 passages of 12 documents, most of them of the first."""
    rng = np.random.default_rng(5)
    vocabulary = [f"word{i}" for i in range(40)]
    passages = [
        Passage(
            id=f"p{i}",
            text=" ".join(rng.choice(vocabulary, 12)),
            document_id=f"d{0 if i < 200 else i % 12}",
        )
        for i in range(300)
    ]
    path = tmp_path_factory.mktemp("many") / "many.idx"
    return RetrieveRerankPipeline.build(passages, path, bi_encoder=words, cross_encoder="none")


@given(
    picked=st.lists(st.integers(0, 39), min_size=1, max_size=6),
    top_k=st.integers(1, 14),
    depth=st.sampled_from([1, 3, 30]),
)
@settings(max_examples=60, deadline=None)
def test_the_best_passage_of_each_document(many, picked, top_k, depth):
    query = " ".join(f"word{i}" for i in picked)
    everything = many.search(query, top_k=300)
    assert len(everything) == 300
    best: dict[str, Hit] = {}
    for hit in everything:
        best.setdefault(hit.document_id, hit)
    expected = list(best.values())[:top_k]
    found = many.search(query, top_k=top_k, depth=depth, group_by="document")
    assert [hit.id for hit in found] == [hit.id for hit in expected]
    assert [hit.rank for hit in found] == list(range(1, len(expected) + 1))
    assert [hit.retrieval_rank for hit in found] == [hit.retrieval_rank for hit in expected]
    assert len(found) == min(top_k, 12)  # never fewer hits without a word


def test_passages_that_are_their_own_document_stay(tmp_path):
    pipeline = RetrieveRerankPipeline.build(
        ["one two", "two three", "three four"], tmp_path / "i", bi_encoder=words,
        cross_encoder="none",
    )  # fmt: skip
    assert len(pipeline.search("two", top_k=3, group_by="document")) == 3
    with pytest.raises(UsageError, match="group_by must be 'document'"):
        pipeline.search("two", group_by="title")


def hit(identifier, text, document=""):
    return Hit(1, identifier, "", text, 1.0, "cosine", 1, 1.0, document_id=document)


def test_near_duplicates_are_folded_into_the_best():
    tea = "Tea is made by pouring hot water over the dried leaves of an evergreen shrub."
    hits = [
        hit("a", tea),
        hit("b", tea.replace("the dried", "dried").upper()),
        hit("c", tea.replace("hot water", "boiling milk").replace("evergreen", "old")),
        hit("d", tea + " "),
        hit("e", "Something else altogether, in other words."),
    ]
    kept = Selection(Distinct(texts=True), 5).take(hits).hits()
    assert [(h.id, h.folded, h.rank) for h in kept] == [
        ("a", ("b", "d"), 1),
        ("c", (), 2),
        ("e", (), 3),
    ]
    nothing_in_common = [hit("x", ""), hit("y", ""), hit("z", "!?")]
    kept = Selection(Distinct(texts=True), 5).take(nothing_in_common).hits()
    assert [h.id for h in kept] == ["x", "y", "z"]


def test_a_folded_answer_is_filled_up(tmp_path):
    same = [f"the very same words in a row again and again {mark}" for mark in ("", ".", "!", "?")]
    other = ["the very different end of a story", "a row of houses", "again"]
    pipeline = RetrieveRerankPipeline.build(
        same * 20 + other,
        tmp_path / "i",
        bi_encoder=words,
        cross_encoder="none",
    )
    found = pipeline.search(same[0], top_k=4, depth=2, fold_duplicates=True)
    assert len(found) == 4
    assert len(found[0].folded) >= 3
    assert {h.text for h in found[1:]} == set(other)
