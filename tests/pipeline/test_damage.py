"""Bytes that changed on the disk: found, named, and where the texts are left, put right.

`benchmarks/damage.py` does the first part hundreds of times.
"""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from test_distinct import words

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import DamagedIndexError, IndexFolderError
from shortlist.models.encoders import FunctionEncoder
from shortlist.pipeline import segments as segments_module
from shortlist.pipeline import verify as verify_module
from shortlist.pipeline import writer as writer_module
from shortlist.pipeline.building import building
from shortlist.pipeline.changes import Additions
from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import Manifest
from shortlist.pipeline.segments import Rows
from shortlist.pipeline.verify import LOST, faults_of, repair, restore
from shortlist.pipeline.writer import IndexWriter

FLIPS = int(os.environ.get("SHORTLIST_FLIPS", "40"))
SEED = int(os.environ.get("SHORTLIST_SEED", "0"))

CONTENT = [
    Passage(f"p{n}", f"text {n} of many", metadata={"n": n, "mixed": n or "zero"})
    for n in range(40)
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An index of three segments, a few passages deleted."""
    path = tmp_path_factory.mktemp("damage") / "x.idx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer_module, "ROWS_PER_SEGMENT", 15)
        built = RetrieveRerankPipeline.build(
            CONTENT, path, bi_encoder=FunctionEncoder(words), cross_encoder="none"
        )
        built.delete(["p3", "p20"])
    assert len(Index(path).segments) == 3
    return path


@pytest.fixture
def index(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "x.idx")
    return tmp_path / "x.idx"


LEFT = [p for p in CONTENT if p.id not in ("p3", "p20")]


@pytest.mark.parametrize("number", range(FLIPS))
def test_every_change_of_a_byte_is_found(index, number):
    random = np.random.default_rng([number, SEED])
    files = sorted(path for path in index.iterdir())
    assert len(files) == 7
    file = files[number % len(files)]
    content = bytearray(file.read_bytes())
    if random.random() < 0.3:
        how = f"cut to {(size := int(random.integers(0, len(content))))} bytes"
        content = content[:size]
    else:
        place, bit = int(random.integers(len(content))), int(random.integers(8))
        how = f"bit {bit} of byte {place} flipped"
        content[place] ^= 1 << bit
    file.write_bytes(content)

    is_named = pytest.raises(DamagedIndexError, match=file.name)
    if file.name == "manifest.json":
        with pytest.raises(IndexFolderError, match=r"manifest\.json|index format"):
            faults_of(index)
    else:
        (fault,) = faults_of(index)
        assert fault.file == file.name, how
        with is_named:
            Index(index, check="full")
    if file.name == "manifest.json":
        with pytest.raises(IndexFolderError, match=r"manifest\.json|index format"):
            Index(index)
    elif file.suffix == ".arrow" or how.startswith("cut"):
        with is_named:
            Index(index)
    else:  # nobody promised to look at every embedding: an answer or an error, and no crash
        try:
            opened = RetrieveRerankPipeline.open(index, bi_encoder=words_again())
            assert len(opened.search("text 7 of many", top_k=50)) == len(LEFT)
        except (DamagedIndexError, IndexFolderError, ValueError) as error:
            assert str(error)


def words_again():
    return FunctionEncoder(words)


def test_embeddings_are_made_again_and_nothing_else(index):
    before = Index(index)
    expected = before.vectors(before.live_rows)
    file = index / before.manifest.segments[1].embeddings.name
    file.write_bytes(bytes(file.stat().st_size))
    texts = []

    def counting(asked):
        texts.extend(asked)
        return words(asked)

    encoder = FunctionEncoder(counting, name="words")
    faults = faults_of(index)
    assert [(f.file, f.rows, f.is_lost) for f in faults] == [(file.name, 14, False)]
    texts.clear()
    assert repair(index, encoder, faults) == 14
    assert sorted(texts) == sorted(p.text for p in CONTENT[15:30] if p.id != "p20")
    assert faults_of(index, encoder) == []
    after = Index(index, check="full")
    assert list(after.all_passages()) == LEFT
    np.testing.assert_allclose(after.vectors(after.live_rows), expected, rtol=1e-6)


def test_embeddings_of_another_model_are_found_though_the_checksums_agree(tmp_path, whole):
    """As if somebody had built the index with the rows in another order."""
    manifest = Manifest.read(whole)
    vectors = FunctionEncoder(words).encode_passages([p.text for p in CONTENT])
    with building(tmp_path / "x.idx", manifest) as writer:
        writer.append(Rows(CONTENT, vectors[::-1], np.zeros(40, np.int64)))
    assert faults_of(tmp_path / "x.idx") == []
    (fault,) = faults_of(tmp_path / "x.idx", FunctionEncoder(words))
    assert "is not what function:words makes of its text (cosine 0." in fault.what
    repair(tmp_path / "x.idx", FunctionEncoder(words), [fault])
    index = Index(tmp_path / "x.idx", check="full")
    np.testing.assert_allclose(index.vectors(np.arange(40)), vectors, rtol=1e-6)


def test_texts_that_are_lost_are_said_to_be(index):
    file = index / Index(index).manifest.segments[0].passages.name
    content = bytearray(file.read_bytes())
    content[content.index(b"text 4")] ^= 1
    file.write_bytes(content)
    encoder = FunctionEncoder(words)
    (fault,) = faults_of(index, encoder)
    assert (fault.file, fault.rows, fault.is_lost) == (file.name, 14, True)
    repair(index, encoder, [fault])
    with pytest.raises(DamagedIndexError, match=f"{file.name} .*: shortlist repair"):
        Index(index)
    repair(index, encoder, [fault], drop_lost=True)
    assert list(Index(index, check="full").all_passages()) == CONTENT[15:20] + CONTENT[21:]
    assert Manifest.read(index).source[LOST] == 14

    with IndexWriter(index) as writer:  # what came from elsewhere, and must stay
        more = Passage("more", "another text")
        vectors = encoder.encode_passages([more.text])
        writer.append(Rows([more], vectors, np.zeros(1, np.int64)))
    assert restore(index, CONTENT, encoder) == Additions(added=15, encoded=15)
    restored = Index(index, check="full")
    # p20 was deleted and stays so; p3 cannot be told from what was lost with it
    assert list(restored.all_passages()) == CONTENT[15:20] + CONTENT[21:] + [more] + CONTENT[:15]
    assert LOST not in restored.manifest.source
    assert faults_of(index, encoder) == []


def test_vectors_without_texts_cannot_be_made_again(tmp_path):
    """One vector for all of them would be worse than the damage."""
    vectors = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    content = [Passage(f"p{n}", "") for n in range(20)]
    encoder = FunctionEncoder(words)
    path = tmp_path / "x.idx"
    RetrieveRerankPipeline.build(
        content, path, bi_encoder=encoder, cross_encoder="none", embeddings=vectors
    )
    (file,) = path.glob("*.npy")
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    (fault,) = faults_of(path, encoder)
    assert fault.is_lost
    assert "20 of its passages have no text to make embeddings from" in fault.what
    assert repair(path, encoder, [fault]) == 0
    assert file.read_bytes() == damaged


def test_a_file_that_cannot_be_read_now_is_not_called_damaged(index, monkeypatch):
    def failing(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(segments_module, "file_record", failing)
    with pytest.raises(IndexFolderError, match="cannot be read: Input/output error") as caught:
        faults_of(index)
    assert not isinstance(caught.value, DamagedIndexError)


def test_a_repair_of_what_has_changed_since(index):
    encoder = FunctionEncoder(words)
    file = index / Index(index).manifest.segments[2].embeddings.name
    content = file.read_bytes()
    file.write_bytes(bytes(len(content)))
    faults = faults_of(index)
    file.write_bytes(content)
    with IndexWriter(index) as writer:
        writer.delete([39])
        writer.commit()
        writer.compact()
    with pytest.raises(IndexFolderError, match="was changed since it was verified"):
        repair(index, encoder, faults)
    assert faults_of(index, encoder) == []


def test_verifying_while_somebody_compacts(index, monkeypatch):
    """Files that vanish because another commit has come are no damage."""
    damage = verify_module._damage

    def compacting(path, manifest, record):
        found = damage(path, manifest, record)
        with IndexWriter(path) as writer:
            writer.compact()
        return found

    monkeypatch.setattr(verify_module, "_damage", compacting)
    assert faults_of(index, FunctionEncoder(words)) == []
    assert len(Index(index, check="full")) == len(LEFT)
