"""The index folder: what is written is what is read, and nothing broken is ever opened."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist import Passage
from shortlist.errors import DamagedIndexError, DataError, IndexFolderError, UsageError
from shortlist.pipeline import writer as writer_module
from shortlist.pipeline.building import building
from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import Manifest, ModelRecord
from shortlist.pipeline.segments import Rows
from shortlist.pipeline.writer import IndexWriter

MODEL = ModelRecord(name="toy", fingerprint="f" * 32, dim=4, metric="cosine", max_tokens=8)
MANIFEST = Manifest(model=MODEL, cross_encoder=None)


def passages(count, start=0):
    return [
        Passage(f"p{n}", f"text {n} é🍵\n\0", f"title {n}", "section", f"d{n // 3}", n)
        for n in range(start, start + count)
    ]


def vectors(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def rows(count, start=0, seed=0):
    made = vectors(start + count, seed)[start:]
    return Rows(passages(count, start), made, np.arange(count, dtype=np.int64) % 3)


def write(path, count=10, manifest=MANIFEST, **options):
    with building(path, manifest, **options) as writer:
        writer.append(rows(count))
    return path


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6), limit=st.integers(1, 7))
def test_what_is_written_is_what_is_read(tmp_path_factory, sizes, limit):
    path = tmp_path_factory.mktemp("index") / "x.idx"
    total = sum(sizes)
    if total == 0:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer_module, "ROWS_PER_SEGMENT", limit)
        with building(path, MANIFEST) as writer:
            for size in sizes:
                writer.append(rows(size, len(writer)))
                writer.commit()
    index = Index(path, check="full")
    assert len(index) == total
    # whatever the commits, segments are filled up
    assert [len(part) for part in index.embeddings[:-1]] == [limit] * (-(-total // limit) - 1)
    np.testing.assert_array_equal(np.concatenate(index.embeddings), vectors(total))
    shuffled = np.random.default_rng(1).permutation(total)
    assert index.passages(shuffled) == [passages(total)[row] for row in shuffled]
    assert list(index.all_passages()) == passages(total)
    assert index.ids() == {p.id for p in passages(total)}
    expected = np.concatenate([np.arange(size) % 3 for size in sizes])
    np.testing.assert_array_equal(index.cut_tokens(np.arange(total)), expected)
    assert index.manifest.cut_passages == (expected > 0).sum()
    assert index.manifest.cut_tokens == expected.sum()


@settings(max_examples=40, deadline=None)
@given(
    gone=st.sets(st.integers(0, 19)), asked=st.sets(st.integers(-3, 22)), limit=st.integers(1, 9)
)
def test_what_is_deleted_is_not_there(tmp_path_factory, gone, asked, limit):
    path = tmp_path_factory.mktemp("index") / "x.idx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer_module, "ROWS_PER_SEGMENT", limit)
        write(path, 20)
        before = Index(path)
        with IndexWriter(path) as writer:
            writer.delete(sorted(gone))
        after = Index(path)
        left = [n for n in range(20) if n not in gone]
        for index in (after, Index(path, check="full")):
            assert len(index) == len(left)
            assert list(index.all_passages()) == [passages(20)[n] for n in left]
            assert index.ids() == {f"p{n}" for n in left}
            found = index.rows_of(f"p{n}" for n in asked)
            assert set(found) == {f"p{n}" for n in asked} & index.ids()
            assert all(index.passages(np.array([row]))[0].id == i for i, row in found.items())
            among = index.among(None)
            assert among.count == len(left)
            mask = np.ones(index.stored_rows, bool) if among.mask is None else among.mask
            assert [p.id for p in index.passages(np.flatnonzero(mask))] == [f"p{n}" for n in left]
            np.testing.assert_array_equal(index.vectors(np.flatnonzero(mask)), vectors(20)[left])
            cut = np.concatenate([np.arange(20) % 3])[left]
            assert index.manifest.cut_tokens == cut.sum()
            assert index.manifest.cut_passages == (cut > 0).sum()
            with IndexWriter(path) as writer:
                writer.compact()
        compacted = Index(path, check="full")
        assert compacted.stored_rows == len(compacted) == len(left)
        assert list(compacted.all_passages()) == [passages(20)[n] for n in left]
        np.testing.assert_array_equal(compacted.vectors(compacted.live_rows), vectors(20)[left])
        # the state that was opened first is still what it was
        assert list(before.all_passages()) == passages(20)
        np.testing.assert_array_equal(before.vectors(np.arange(20)), vectors(20))


def test_the_files_are_what_other_programs_read(tmp_path):
    path = write(tmp_path / "x.idx")
    embeddings = np.load(path / "segment-000001.embeddings.npy", allow_pickle=False)
    np.testing.assert_array_equal(embeddings, vectors(10))
    table = pa.ipc.open_file(path / "segment-000001.passages.arrow").read_all()
    assert table.column("text").to_pylist() == [p.text for p in passages(10)]


def test_an_empty_id_is_refused(tmp_path):
    with (
        pytest.raises(DataError, match="passage number 0 has an empty id"),
        building(tmp_path / "x.idx", MANIFEST) as writer,
    ):
        writer.append(Rows([Passage("", "text")], vectors(1), np.zeros(1, np.int64)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (vectors(2), r"shape \(2, 4\) for 3 passages"),
        (np.zeros((3, 5), np.float32), r"shape \(3, 5\) for 3 passages, expected \(3, 4\)"),
        (np.full((3, 4), np.nan, np.float32), "row 0 has NaN"),
        (np.eye(3, 4, k=2, dtype=np.float32), "the embedding of passage number 2 is all zeros"),
    ],
)
def test_embeddings_that_do_not_fit(tmp_path, embeddings, message):
    with (
        pytest.raises(DataError, match=message),
        building(tmp_path / "x.idx", MANIFEST) as writer,
    ):
        writer.append(Rows(passages(3), embeddings, np.zeros(3, np.int64)))
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_an_index(tmp_path):
    with pytest.raises(IndexFolderError, match="no index at .*nowhere; make one with"):
        Index(tmp_path / "nowhere")
    with pytest.raises(
        IndexFolderError, match=r"is not a shortlist index: it has no manifest.json"
    ):
        Index(tmp_path)
    with pytest.raises(IndexFolderError, match="is not a shortlist index"):
        IndexWriter(tmp_path)
    with pytest.raises(UsageError, match="check must be"):
        Index(write(tmp_path / "x.idx"), check="half")


@pytest.mark.parametrize(("number", "hint"), [(0, "build the index again"), (99, "newer")])
def test_another_format_is_named(tmp_path, number, hint):
    path = write(tmp_path / "x.idx")
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": number}))
    with pytest.raises(
        IndexFolderError, match=rf"index format {number}, this version .* format 1; .*{hint}"
    ):
        Index(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', "\ufffd", "[" * 100_000])
def test_a_manifest_that_is_none(tmp_path, content):
    path = write(tmp_path / "x.idx")
    (path / "manifest.json").write_text(content)
    with pytest.raises(DamagedIndexError, match="is not the manifest that was committed"):
        Index(path)


@pytest.mark.parametrize("name", ["../segment.passages.arrow", "/etc/passwd", "a/b"])
def test_a_manifest_cannot_point_out_of_the_folder(tmp_path, name):
    path = write(tmp_path / "x.idx")
    manifest = Manifest.read(path)
    segment = asdict(manifest)["segments"][0]
    segment["passages"]["name"] = name
    content = asdict(manifest) | {"segments": [segment]}
    text = json.dumps(content | {"sha256": "0" * 64})
    digest = hashlib.sha256(text.encode()).hexdigest()
    (path / "manifest.json").write_text(text.replace("0" * 64, digest))
    with pytest.raises(DamagedIndexError, match="is not the manifest .*file name"):
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


def test_float16_keeps_half_the_bytes(tmp_path):
    manifest = Manifest(model=MODEL, cross_encoder=None, store="float16")
    path = write(tmp_path / "x.idx", 1000, manifest)
    index = Index(path, check="full")
    assert index.embeddings[0].dtype == np.float16
    np.testing.assert_array_equal(
        index.vectors(np.arange(1000)), vectors(1000).astype(np.float16).astype(np.float32)
    )
    assert (path / "segment-000001.embeddings.npy").stat().st_size == 128 + 1000 * 4 * 2


def test_what_float16_cannot_hold_is_refused(tmp_path):
    manifest = Manifest(model=MODEL, cross_encoder=None, store="float16")
    with (
        pytest.raises(UsageError, match="a value of 70000, float16 holds up to 65504"),
        building(tmp_path / "x.idx", manifest) as writer,
    ):
        large = np.full((1, 4), 70_000, dtype=np.float32)
        writer.append(Rows(passages(1), large, np.zeros(1, np.int64)))


def test_an_open_index_outlives_its_folder(tmp_path):
    index = Index(write(tmp_path / "x.idx"))
    shutil.rmtree(tmp_path / "x.idx")
    assert list(index.all_passages()) == passages(10)
    np.testing.assert_array_equal(index.vectors(np.arange(10)), vectors(10))
    assert index.has_changed()
