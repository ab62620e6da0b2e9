"""An index that follows a collection: equal to one built anew, and nothing encoded twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_distinct import words

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import DataError, IndexFolderError
from shortlist.models.encoders import FunctionEncoder
from shortlist.pipeline.index import Index
from shortlist.pipeline.sync import sync

DOCUMENT = st.lists(st.text("abc ", min_size=1, max_size=6), min_size=1, max_size=4)
FOLDER = st.dictionaries(st.sampled_from("pqrstu"), DOCUMENT, min_size=1)


def passages(folder):
    return [
        Passage(f"{name}#{n}", text, title=name, document_id=name, offset=n, metadata={"n": n})
        for name, texts in sorted(folder.items())
        for n, text in enumerate(texts)
    ]


class Counting:
    """The same function, and what it was asked for."""

    def __init__(self):
        self.texts: list[str] = []

    def __call__(self, texts):
        self.texts += texts
        return words(texts)


@given(before=FOLDER, after=FOLDER)
@settings(max_examples=25, deadline=None)
def test_a_synced_index_is_one_built_anew(tmp_path_factory, before, after):
    folder = tmp_path_factory.mktemp("sync")
    encode = Counting()
    encoder = FunctionEncoder(encode, name="words")
    RetrieveRerankPipeline.build(
        passages(before), folder / "i", bi_encoder=encoder, cross_encoder="none"
    )
    encode.texts.clear()
    if 2 * len(before.keys() - after.keys()) > len(before):
        with pytest.raises(IndexFolderError, match=r"is it another one\? .*--force"):
            sync(passages(after), folder / "i", encoder)
        assert [p.id for p in Index(folder / "i").all_passages()] == [
            p.id for p in passages(before)
        ]
        encode.texts.clear()
    changes = sync(passages(after), folder / "i", encoder, force=True)

    assert changes.added == len(after.keys() - before.keys())
    assert changes.deleted == len(before.keys() - after.keys())
    same = [name for name in before.keys() & after.keys() if before[name] == after[name]]
    assert changes.unchanged == len(same)
    assert changes.replaced == len(before.keys() & after.keys()) - len(same)

    known = {p.model_text for p in passages(before)}
    assert not known & set(encode.texts)
    assert changes.encoded == len(encode.texts)

    RetrieveRerankPipeline.build(
        passages(after), folder / "anew", bi_encoder=encoder, cross_encoder="none"
    )
    synced, anew = Index(folder / "i", check="full"), Index(folder / "anew")
    assert sorted(entry.name for entry in folder.iterdir()) == ["anew", "i"]
    assert list(synced.all_passages()) == list(anew.all_passages()) == passages(after)
    rows = np.arange(len(anew))
    np.testing.assert_array_equal(synced.vectors(rows), anew.vectors(rows))


def test_nothing_changed_leaves_the_files_alone(tmp_path):
    encoder = FunctionEncoder(words)
    content = passages({"p": ["one", "two"], "q": ["three"]})
    RetrieveRerankPipeline.build(content, tmp_path / "i", bi_encoder=encoder, cross_encoder="none")
    before = (tmp_path / "i").stat().st_ino, (tmp_path / "i" / "manifest.json").stat().st_mtime_ns
    changes = sync(content, tmp_path / "i", encoder)
    assert not changes
    assert changes.unchanged == 2
    after = (tmp_path / "i").stat().st_ino, (tmp_path / "i" / "manifest.json").stat().st_mtime_ns
    assert after == before
    assert [p.name for p in tmp_path.iterdir()] == ["i"]  # and no draft is left


def test_a_sync_that_fails_changes_nothing(tmp_path):
    encoder = FunctionEncoder(words)
    content = passages({"p": ["one", "two"]})
    RetrieveRerankPipeline.build(content, tmp_path / "i", bi_encoder=encoder, cross_encoder="none")
    with pytest.raises(DataError, match="that is that of|is that of passage number 0"):
        sync([*content, content[0]], tmp_path / "i", encoder)
    with pytest.raises(DataError, match="no passages to index"):
        sync([], tmp_path / "i", encoder)
    assert list(Index(tmp_path / "i").all_passages()) == content


def test_two_texts_of_one_hash_are_not_taken_for_one(tmp_path, monkeypatch):
    monkeypatch.setattr("shortlist.pipeline.known.fingerprint", len)  # collisions galore
    encoder = FunctionEncoder(words)
    before = passages({"p": ["aa", "ab", "abc"], "q": ["ba"]})
    after = passages({"p": ["ab", "ac", "abd"], "q": ["ba"]})
    RetrieveRerankPipeline.build(before, tmp_path / "i", bi_encoder=encoder, cross_encoder="none")
    sync(after, tmp_path / "i", encoder)
    RetrieveRerankPipeline.build(after, tmp_path / "j", bi_encoder=encoder, cross_encoder="none")
    rows = np.arange(4)
    synced, anew = Index(tmp_path / "i").vectors(rows), Index(tmp_path / "j").vectors(rows)
    np.testing.assert_array_equal(synced, anew)


def test_what_cannot_be_read_now_is_kept(tmp_path):
    encode = Counting()
    encoder = FunctionEncoder(encode, name="words")
    before = passages({"p": ["one", "two"], "q": ["three"], "r": ["four"]})
    RetrieveRerankPipeline.build(before, tmp_path / "i", bi_encoder=encoder, cross_encoder="none")
    encode.texts.clear()
    after = passages({"p": ["one", "new"]})
    changes = sync(after, tmp_path / "i", encoder, unreadable=lambda name: name == "q")
    assert (changes.replaced, changes.deleted, changes.kept, changes.encoded) == (1, 1, 1, 1)
    synced = Index(tmp_path / "i")
    kept = [p for p in before if p.document_id == "q"]
    assert list(synced.all_passages()) == [*after, *kept]
    np.testing.assert_allclose(synced.vectors(np.arange(3))[2], encoder.encode_passages(
        [kept[0].model_text])[0])  # fmt: skip
    again = sync(after, tmp_path / "i", encoder, unreadable=lambda name: name == "q")
    assert not again


def test_passages_that_were_cut_stay_counted(tmp_path, bi_encoder):
    long, short = Passage("long", "many words " * 400), Passage("short", "few words")
    path = tmp_path / "i"
    RetrieveRerankPipeline.build([long], path, bi_encoder=bi_encoder, cross_encoder="none")
    cut = Index(path).manifest
    assert cut.cut_passages == 1
    sync([long, short], path, bi_encoder)
    synced = Index(path).manifest
    assert (synced.cut_passages, synced.cut_tokens) == (1, cut.cut_tokens)
