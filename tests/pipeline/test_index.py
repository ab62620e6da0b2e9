"""The index folder: what is written is what is read, and nothing broken is ever left or opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist import Passage
from shortlist.errors import DamagedIndexError, DataError, IndexFolderError, IndexWriteError
from shortlist.pipeline import index as index_module
from shortlist.pipeline.index import Index, IndexWriter
from shortlist.pipeline.layout import Manifest, ModelRecord

MODEL = ModelRecord(name="toy", fingerprint="f" * 32, dim=4, metric="cosine", max_tokens=8)
MANIFEST = Manifest(model=MODEL, cross_encoder=None)


def passages(count, start=0):
    return [
        Passage(f"p{n}", f"text {n} é🍵\n\0", f"title {n}", "section", f"d{n // 3}", n)
        for n in range(start, start + count)
    ]


def vectors(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def write(path, count=10, **options):
    with IndexWriter(path, MANIFEST, **options) as writer:
        writer.add(passages(count), vectors(count))
    return path


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6), rows=st.integers(1, 7))
def test_what_is_written_is_what_is_read(tmp_path_factory, sizes, rows):
    path = tmp_path_factory.mktemp("index") / "x.idx"
    total = sum(sizes)
    if total == 0:
        return
    written = index_module.ROWS_PER_SEGMENT
    index_module.ROWS_PER_SEGMENT = rows
    try:
        with IndexWriter(path, MANIFEST) as writer:
            start = 0
            for size in sizes:
                writer.add(passages(size, start), vectors(total)[start : start + size])
                start += size
    finally:
        index_module.ROWS_PER_SEGMENT = written
    index = Index(path)
    assert len(index) == total
    assert len(index.embeddings) == -(-total // rows)
    np.testing.assert_array_equal(np.concatenate(index.embeddings), vectors(total))
    shuffled = np.random.default_rng(1).permutation(total)
    assert index.passages(shuffled) == [passages(total)[row] for row in shuffled]
    assert index.ids() == {p.id for p in passages(total)}
    index.verify()


def test_an_exception_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), IndexWriter(tmp_path / "x.idx", MANIFEST) as writer:
        writer.add(passages(3), vectors(3))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_the_index_that_was_there(tmp_path):
    path = write(tmp_path / "x.idx", 5)
    with (
        pytest.raises(KeyboardInterrupt),
        IndexWriter(path, MANIFEST, overwrite=True) as writer,
    ):
        writer.add(passages(3), vectors(3))
        raise KeyboardInterrupt
    assert len(Index(path)) == 5
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.idx"]


def test_an_index_is_replaced_only_when_asked(tmp_path):
    path = write(tmp_path / "x.idx", 5)
    with pytest.raises(IndexFolderError, match="there is an index at .* --overwrite"):
        write(path, 7)
    write(path, 7, overwrite=True)
    assert len(Index(path)) == 7
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.idx"]


def test_a_folder_that_is_no_index_is_never_replaced(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(IndexFolderError, match="is not an index; it is left as it is"):
        write(tmp_path, overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "x.idx").write_text("a file")
    with pytest.raises(IndexFolderError, match="is not an index"):
        write(tmp_path / "x.idx")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_place(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(IndexFolderError, match="cannot write an index"):
        write(tmp_path / "x.idx")


def test_no_passages(tmp_path):
    with pytest.raises(DataError, match="no passages to index"):
        write(tmp_path / "x.idx", 0)
    assert list(tmp_path.iterdir()) == []


def test_an_id_twice_is_refused(tmp_path):
    with (
        pytest.raises(DataError, match="the id 'p2' of passage number 5"),
        IndexWriter(tmp_path / "x.idx", MANIFEST) as writer,
    ):
        writer.add(passages(5), vectors(5))
        writer.add(passages(1, 2), vectors(1))


def test_an_empty_id_is_refused(tmp_path):
    with (
        pytest.raises(DataError, match="passage number 0 has an empty id"),
        IndexWriter(tmp_path / "x.idx", MANIFEST) as writer,
    ):
        writer.add([Passage("", "text")], vectors(1))


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (vectors(2), r"shape \(2, 4\) for 3 passages"),
        (np.zeros((3, 5), np.float32), r"shape \(3, 5\) for 3 passages, expected \(3, 4\)"),
        (np.full((3, 4), np.nan, np.float32), "row 0 has NaN"),
    ],
)
def test_embeddings_that_do_not_fit(tmp_path, embeddings, message):
    with (
        pytest.raises(DataError, match=message),
        IndexWriter(tmp_path / "x.idx", MANIFEST) as writer,
    ):
        writer.add(passages(3), embeddings)


def test_what_is_not_an_index(tmp_path):
    with pytest.raises(IndexFolderError, match="no index at .*nowhere; make one with"):
        Index(tmp_path / "nowhere")
    with pytest.raises(
        IndexFolderError, match=r"is not a shortlist index: it has no manifest.json"
    ):
        Index(tmp_path)


def test_another_format_is_named(tmp_path):
    path = write(tmp_path / "x.idx")
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(IndexFolderError, match="index format 99, this version .* format 0"):
        Index(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 0}', "\ufffd"])
def test_a_manifest_that_is_none(tmp_path, content):
    path = write(tmp_path / "x.idx")
    (path / "manifest.json").write_text(content)
    with pytest.raises(DamagedIndexError, match="is not a manifest"):
        Index(path)


def test_a_manifest_cannot_point_out_of_the_folder(tmp_path):
    path = write(tmp_path / "x.idx")
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace("segment-000001.pass", "../segment.pass"))
    with pytest.raises(DamagedIndexError, match="is not a manifest"):
        Index(path)


@pytest.mark.parametrize("kind", ["passages.arrow", "embeddings.npy"])
def test_missing_and_truncated_files_are_named(tmp_path, kind):
    path = write(tmp_path / "x.idx")
    (file,) = path.glob(f"*.{kind}")
    content = file.read_bytes()
    file.write_bytes(content[:-3])
    with pytest.raises(DamagedIndexError, match=f"{kind} has {len(content) - 3} bytes"):
        Index(path)
    file.unlink()
    with pytest.raises(DamagedIndexError, match=f"{kind} is missing"):
        Index(path)


@pytest.mark.parametrize("kind", ["passages.arrow", "embeddings.npy"])
def test_verify_finds_one_flipped_bit(tmp_path, kind):
    path = write(tmp_path / "x.idx")
    (file,) = path.glob(f"*.{kind}")
    content = bytearray(file.read_bytes())
    at = content.index(b"text 3") if kind == "passages.arrow" else len(content) - 9
    content[at] ^= 1
    file.write_bytes(content)
    index = Index(path)
    with pytest.raises(DamagedIndexError, match=f"{kind} is not the file .* .its SHA-256 differs"):
        index.verify()


def test_what_came_to_the_place_during_a_build_stays(tmp_path):
    path = tmp_path / "x.idx"
    with (
        pytest.raises(IndexFolderError, match="is not an index; it is left"),
        IndexWriter(path, MANIFEST) as writer,
    ):
        writer.add(passages(3), vectors(3))
        path.mkdir()
        (path / "precious.txt").write_text("mine")
    assert (path / "precious.txt").read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.idx"]


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_failed_swap_leaves_the_index_that_was_there(tmp_path, monkeypatch, exchange):
    path = write(tmp_path / "x.idx", 5)
    if not exchange:
        monkeypatch.setattr(index_module.ctypes, "CDLL", lambda *_, **__: object())
    write(path, 6, overwrite=True)
    assert len(Index(path)) == 6

    rename = Path.rename

    def failing(self, target):
        if self.name.endswith(".building"):
            raise OSError("the disk is gone")
        return rename(self, target)

    monkeypatch.setattr(index_module.ctypes, "CDLL", lambda *_, **__: object())
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(IndexWriteError, match="the disk is gone"):
        write(path, 7, overwrite=True)
    monkeypatch.undo()
    assert len(Index(path)) == 6
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.idx"]


def test_a_link_to_an_index_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    write(tmp_path / "there" / "x.idx", 3)
    (tmp_path / "link.idx").symlink_to(tmp_path / "there" / "x.idx")
    write(tmp_path / "link.idx", 4, overwrite=True)
    assert (tmp_path / "link.idx").is_symlink()
    assert len(Index(tmp_path / "there" / "x.idx")) == 4


def test_an_embedding_of_zeros_is_refused(tmp_path):
    embeddings = vectors(3)
    embeddings[1] = 0
    with (
        pytest.raises(DataError, match="the embedding of passage number 1 is all zeros"),
        IndexWriter(tmp_path / "x.idx", MANIFEST) as writer,
    ):
        writer.add(passages(3), embeddings)
