"""Adding, replacing, deleting, compacting: held to a dictionary that does the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from test_building import Counting, names
from test_distinct import words

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import DataError, IndexFolderError, UsageError
from shortlist.models.encoders import FunctionEncoder
from shortlist.pipeline import writer as writer_module
from shortlist.pipeline import writing as writing_module
from shortlist.pipeline.changes import Additions
from shortlist.pipeline.index import Index
from shortlist.pipeline.verify import faults_of

IDS = st.sampled_from([f"p{n}" for n in range(12)] + ["é\n🍵", "x" * 300])
TEXTS = st.sampled_from(["tea leaves", "ice river", "bees dance", "tea ice", "chess"])
PASSAGES = st.builds(Passage, IDS, TEXTS, metadata=st.fixed_dictionaries({"n": st.integers(0, 3)}))
BATCH = st.lists(PASSAGES, max_size=6, unique_by=lambda p: p.id)


class IndexLikeADictionary(RuleBasedStateMachine):
    """Whatever is done to it, an index holds what a dictionary would, and finds only that."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(writer_module, "ROWS_PER_SEGMENT", 4)
        self.patch.setattr(writer_module, "COMMIT_SECONDS", 0.0)
        self.patch.setattr(writing_module, "PASSAGES_AT_ONCE", 3)
        self.encoder = FunctionEncoder(words)
        self.expected: dict[str, Passage] = {}

    def teardown(self):
        self.patch.undo()
        shutil.rmtree(self.folder)

    @initialize(batch=BATCH.filter(len), store=st.sampled_from(["float32", "float16"]))
    def build(self, batch, store):
        self.pipeline = RetrieveRerankPipeline.build(
            batch, self.folder / "i", bi_encoder=self.encoder, cross_encoder="none", store=store
        )
        self.expected = {p.id: p for p in batch}
        self.pinned = self.pipeline.index, dict(self.expected)

    @rule(batch=BATCH)
    def add(self, batch):
        others = [p.id for p in batch if self.expected.get(p.id, p) != p]
        if others:
            with pytest.raises(DataError, match="with other contents; to replace it: upsert"):
                self.pipeline.add(batch)
            # what stood in whole batches before it is there
            for start in range(0, len(batch), 3):
                part = batch[start : start + 3]
                if any(p.id in others for p in part):
                    break
                self.expected |= {p.id: p for p in part}
            return
        new = [p for p in batch if p.id not in self.expected]
        done = self.pipeline.add(batch)
        assert (done.added, done.unchanged) == (len(new), len(batch) - len(new))
        self.expected |= {p.id: p for p in new}

    @rule(batch=BATCH)
    def upsert(self, batch):
        there = {p.id for p in batch} & self.expected.keys()
        same = {name for name in there if self.expected[name] in batch}
        done = self.pipeline.upsert(batch)
        assert done.added == len(batch) - len(there)
        assert done.replaced == len(there - same)
        assert done.unchanged == len(same)
        for passage in batch:
            if passage.id not in same:
                self.expected.pop(passage.id, None)  # it goes to the end
                self.expected[passage.id] = passage

    @rule(ids=st.lists(IDS, max_size=4))
    def delete(self, ids):
        there = set(ids) & self.expected.keys()
        assert self.pipeline.delete(ids) == len(there)
        for name in there:
            del self.expected[name]

    @rule(n=st.integers(0, 3))
    def delete_where(self, n):
        if self.pipeline.index.stored_rows:
            met = [p.id for p in self.expected.values() if p.metadata["n"] == n]
            assert self.pipeline.delete(where=f"n == {n}") == len(met)
            for name in met:
                del self.expected[name]

    @rule()
    def compact(self):
        self.pipeline.compact()
        assert self.pipeline.index.stored_rows == len(self.expected)

    @rule()
    def reopen(self):
        self.pipeline = RetrieveRerankPipeline.open(
            self.folder / "i", bi_encoder=self.encoder, check="full"
        )

    @invariant()
    def holds_what_the_dictionary_holds(self):
        index = self.pipeline.index
        assert list(index.all_passages()) == list(self.expected.values())
        assert len(index) == len(self.expected)
        made = self.encoder.encode_passages([p.model_text for p in self.expected.values()])
        if index.manifest.store == "float16":
            made = made.astype(np.float16).astype(np.float32)
        np.testing.assert_allclose(index.vectors(index.live_rows), made, rtol=1e-6)
        hits = self.pipeline.search("tea", top_k=50)
        assert sorted(hit.id for hit in hits) == sorted(self.expected)
        scores = made @ self.encoder.encode_queries(["tea"])[0]
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1], atol=1e-6)

    @invariant()
    def is_whole(self):
        assert faults_of(self.folder / "i", self.encoder) == []
        assert names(self.folder) == ["i"]

    @invariant()
    def leaves_readers_their_state(self):
        index, expected = self.pinned
        assert list(index.all_passages()) == list(expected.values())


TestIndexLikeADictionary = IndexLikeADictionary.TestCase
TestIndexLikeADictionary.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)


@pytest.fixture
def encode():
    return Counting()


@pytest.fixture
def built(tmp_path, encode):
    content = [Passage(f"p{n}", f"text {n}", metadata={"n": n}) for n in range(10)]
    pipeline = RetrieveRerankPipeline.build(
        content, tmp_path / "i", bi_encoder=FunctionEncoder(encode), cross_encoder="none"
    )
    encode.texts.clear()
    return pipeline


def test_only_texts_that_are_new_are_encoded(built, encode):
    new = [Passage("q0", "new"), Passage("q1", "new"), Passage("p3", "text 3", metadata={"n": 3})]
    assert built.add(new) == Additions(added=2, unchanged=1, encoded=1)
    assert encode.texts == ["new"]
    encode.texts.clear()
    changed = [Passage("p4", "text 4", metadata={"n": 40}), Passage("p5", "other")]
    assert built.upsert(changed) == Additions(replaced=2, encoded=1)
    assert encode.texts == ["other"]  # of the first only the metadata changed
    assert built.search("text 4", top_k=1, where="n == 40")[0].id == "p4"


def test_an_id_twice_in_one_addition(built):
    for method in (built.add, built.upsert):
        with pytest.raises(
            DataError, match="the id 'q' of passage number 2 is .* passage number 0"
        ):
            method([Passage("q", "one"), Passage("r", "two"), Passage("q", "three")])
    assert len(built.index) == 10


def test_bad_input_changes_nothing(built):
    before = (built.index.path / "manifest.json").read_bytes()
    with pytest.raises(DataError, match="has an empty id"):
        built.add([Passage("", "text")])
    with pytest.raises(UsageError, match="passage number 0 is a int"):
        built.add([1])
    with pytest.raises(UsageError, match="several ids, got one text"):
        built.delete("p1")
    with pytest.raises(UsageError, match="is no expression"):
        built.delete(where="n ==")
    with pytest.raises(UsageError, match="has a field 'm'"):
        built.delete(where="m == 1")
    assert built.delete(["nobody", "\ud800"]) == 0
    assert built.add([]) == Additions()
    assert (built.index.path / "manifest.json").read_bytes() == before


def test_everything_may_be_deleted_and_added_again(built):
    assert built.delete(where="n >= 0") == 10
    assert built.search("text 4") == []
    assert built.index.stored_rows == 0
    assert built.add([Passage("p4", "text 4")]).added == 1
    assert [hit.id for hit in built.search("text 4")] == ["p4"]


def test_a_pipeline_sees_what_others_did_when_it_is_refreshed(built):
    other = RetrieveRerankPipeline.open(built.index.path, bi_encoder=built.bi_encoder)
    assert not other.refresh()
    built.upsert([Passage("p4", "quite another text")])
    assert other.search("text 4", top_k=1)[0].text == "text 4"
    assert other.refresh()
    assert other.search("quite another text", top_k=1)[0].id == "p4"
    RetrieveRerankPipeline.build(
        ["made anew"], built.index.path, bi_encoder=built.bi_encoder, cross_encoder="none",
        overwrite=True,
    )  # fmt: skip
    assert other.refresh()
    assert other.search("anew")[0].text == "made anew"


def test_another_model_is_refused_and_both_are_named(built):
    wrong = FunctionEncoder(lambda texts: words(texts)[:, :32], name="narrow")
    with pytest.raises(
        IndexFolderError, match=r"made with function:Counting .*not with function:n"
    ):
        RetrieveRerankPipeline(built.index, wrong, None).add(["text"])


def test_many_small_additions_make_few_segments(built):
    for n in range(30):
        built.add([Passage(f"q{n}", f"more {n}")])
    assert len(built.index.segments) == 1
    assert len(built.index) == 40


def test_sources_are_remembered(built):
    built.add(["text"], source=lambda: {"name": "notes", "passages": 1})
    built.add([Passage("q", "more")], source=lambda: {"name": "papers", "passages": 1})
    added = Index(built.index.path).manifest.source["added"]
    assert [source["name"] for source in added] == ["notes", "papers"]
