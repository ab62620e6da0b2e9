"""Making an index: whole or unfinished, never in the way of another, and gone on with."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_distinct import words
from test_index import MANIFEST, MODEL, passages, rows, write

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import DataError, IndexFolderError, IndexWriteError
from shortlist.models.encoders import FunctionEncoder
from shortlist.pipeline import building as building_module
from shortlist.pipeline import writer as writer_module
from shortlist.pipeline import writing as writing_module
from shortlist.pipeline.building import building
from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import Manifest
from shortlist.pipeline.lock import WriterLock
from shortlist.pipeline.writer import IndexWriter


class Counting:
    """The same function, and what it was asked for; it may break down."""

    def __init__(self):
        self.texts: list[str] = []
        self.breaks_at = None

    def __call__(self, texts):
        if self.breaks_at is not None and len(self.texts) >= self.breaks_at:
            raise KeyboardInterrupt
        self.texts += texts
        return words(texts)


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(writer_module, "ROWS_PER_SEGMENT", 7)
    monkeypatch.setattr(writer_module, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(writing_module, "PASSAGES_AT_ONCE", 3)


def texts(count, changed=()):
    return [Passage(f"p{n}", f"text {n}{'!' * (n in changed)}") for n in range(count)]


def interrupted(path, content, at, **options):
    """A build that was given up when so many texts were encoded."""
    encode = Counting()
    encoder = FunctionEncoder(encode, name="words")
    encode.texts.clear()
    encode.breaks_at = at
    with pytest.raises(KeyboardInterrupt):
        RetrieveRerankPipeline.build(
            content, path, bi_encoder=encoder, cross_encoder="none", **options
        )
    encode.breaks_at = None
    encode.texts.clear()
    return encode, encoder


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_an_exception_leaves_nothing_where_nothing_was_committed(tmp_path):
    with pytest.raises(KeyboardInterrupt), building(tmp_path / "x.idx", MANIFEST) as writer:
        writer.append(rows(3))
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_an_exception_leaves_the_index_that_was_there(tmp_path):
    path = write(tmp_path / "x.idx", 5)
    with (
        pytest.raises(KeyboardInterrupt),
        building(path, MANIFEST, overwrite=True) as writer,
    ):
        writer.append(rows(3))
        raise KeyboardInterrupt
    assert len(Index(path)) == 5
    assert names(tmp_path) == ["x.idx"]


def test_an_index_is_replaced_only_when_asked(tmp_path):
    path = write(tmp_path / "x.idx", 5)
    with pytest.raises(IndexFolderError, match="there is an index at .* --overwrite"):
        write(path, 7)
    write(path, 7, overwrite=True)
    assert len(Index(path)) == 7
    assert names(tmp_path) == ["x.idx"]


def test_a_folder_that_is_no_index_is_never_replaced(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(IndexFolderError, match="is not an index; it is left as it is"):
        write(tmp_path, overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "x.idx").mkdir()
    assert len(Index(write(tmp_path / "x.idx", 4))) == 4
    assert names(tmp_path) == ["x.idx"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "x.idx").write_text("a file")
    with pytest.raises(IndexFolderError, match="is not an index"):
        write(tmp_path / "x.idx")


def test_no_passages(tmp_path):
    with pytest.raises(DataError, match="no passages to index"):
        write(tmp_path / "x.idx", 0)
    assert names(tmp_path) == []


def test_what_came_to_the_place_during_a_build_stays(tmp_path):
    """An index that is replaced is made beside it; meanwhile somebody puts a folder there."""
    path = write(tmp_path / "x.idx", 5)
    with (
        pytest.raises(IndexFolderError, match="is not an index; it is left"),
        building(path, MANIFEST, overwrite=True) as writer,
    ):
        writer.append(rows(3))
        for file in path.iterdir():
            file.unlink()
        (path / "precious.txt").write_text("mine")
    assert names(path) == ["precious.txt"]


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_failed_swap_leaves_the_index_that_was_there(tmp_path, monkeypatch, exchange):
    path = write(tmp_path / "x.idx", 5)
    if not exchange:
        monkeypatch.setattr(building_module.ctypes, "CDLL", lambda *_, **__: object())
    write(path, 6, overwrite=True)
    assert len(Index(path)) == 6
    if exchange:
        return
    rename = type(path).rename

    def failing(self, target):
        if self.name.endswith(".building"):
            raise OSError("the disk is gone")
        return rename(self, target)

    monkeypatch.setattr(type(path), "rename", failing)
    with pytest.raises(IndexWriteError, match="the disk is gone"):
        write(path, 7, overwrite=True)
    monkeypatch.undo()
    assert len(Index(path)) == 6


def test_a_link_to_an_index_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    write(tmp_path / "there" / "x.idx", 3)
    (tmp_path / "link.idx").symlink_to(tmp_path / "there" / "x.idx")
    write(tmp_path / "link.idx", 4, overwrite=True)
    assert (tmp_path / "link.idx").is_symlink()
    assert len(Index(tmp_path / "there" / "x.idx")) == 4
    with IndexWriter(tmp_path / "link.idx") as writer:
        writer.append(rows(1, 4))
    assert len(Index(tmp_path / "link.idx")) == 5


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("at", [1, 5, 12, 25])
@pytest.mark.parametrize("replaces", [False, True])
def test_the_same_call_goes_on(tmp_path, at, replaces, caplog):
    path = tmp_path / "x.idx"
    if replaces:
        write(path, 5)
    encode, encoder = interrupted(path, texts(30), at, overwrite=replaces)
    committed = -(-at // 3) * 3
    unfinished = tmp_path / ".x.idx.building" if replaces else path
    partial = Index(unfinished)
    assert not partial.manifest.complete
    assert list(partial.all_passages()) == texts(committed)
    if replaces:
        assert len(Index(path)) == 5
    built = RetrieveRerankPipeline.build(
        texts(30), path, bi_encoder=encoder, cross_encoder="none", overwrite=replaces
    )
    assert encode.texts == [p.text for p in texts(30)[committed:]]
    assert built.index.manifest.complete
    assert names(tmp_path) == ["x.idx"]
    anew = RetrieveRerankPipeline.build(
        texts(30), tmp_path / "y.idx", bi_encoder=encoder, cross_encoder="none"
    )
    assert list(built.index.all_passages()) == list(anew.index.all_passages()) == texts(30)
    np.testing.assert_array_equal(
        built.index.vectors(np.arange(30)), anew.index.vectors(np.arange(30))
    )
    assert [s.record.rows for s in built.index.segments] == [7, 7, 7, 7, 2]


@pytest.mark.usefixtures("small_steps")
@settings(max_examples=40, deadline=None)
@given(
    before=st.lists(st.integers(0, 12), min_size=4, max_size=16, unique=True),
    after=st.lists(st.integers(0, 12), min_size=1, max_size=16, unique=True),
    at=st.integers(1, 3),
)
def test_a_source_that_changed_since(tmp_path_factory, before, after, at):
    """The index holds what is there now; nothing of it that was committed is encoded again."""
    path = tmp_path_factory.mktemp("build") / "x.idx"

    def content(numbers):
        return [Passage(f"p{n}", f"text {n}") for n in numbers]

    encode, encoder = interrupted(path, content(before), at)
    committed = {p.text for p in Index(path).all_passages()}
    built = RetrieveRerankPipeline.build(
        content(after), path, bi_encoder=encoder, cross_encoder="none"
    )
    assert list(built.index.all_passages()) == content(after)
    np.testing.assert_allclose(
        built.index.vectors(np.arange(len(after))),
        encoder.encode_passages([p.text for p in content(after)]),
        rtol=1e-6,
    )
    assert not committed & set(encode.texts[: -len(after)])


@pytest.mark.usefixtures("small_steps")
def test_an_unfinished_index_is_searched_with_a_warning(tmp_path, caplog):
    _, encoder = interrupted(tmp_path / "x.idx", texts(30), 9)
    opened = RetrieveRerankPipeline.open(tmp_path / "x.idx", bi_encoder=encoder)
    assert "is unfinished: it has the first 9 passages" in caplog.text
    assert opened.search("text 4", top_k=1)[0].id == "p4"
    with pytest.raises(IndexFolderError, match="is unfinished; run the same shortlist index"):
        opened.add(["more"])


@pytest.mark.usefixtures("small_steps")
def test_an_unfinished_index_of_another_kind(tmp_path):
    path = tmp_path / "x.idx"
    _, encoder = interrupted(path, texts(30), 9, source=lambda: {"name": "a", "kind": "JSONL"})

    def build(store="float32", source="a", bi_encoder=encoder, **options):
        return RetrieveRerankPipeline.build(
            texts(30),
            path,
            bi_encoder=bi_encoder,
            cross_encoder="none",
            store=store,
            source=lambda: {"name": source, "kind": "JSONL"},
            **options,
        )

    with pytest.raises(
        IndexFolderError, match="an unfinished index .* of 9 passages, made from a "
    ):
        build(source="b")
    with pytest.raises(IndexFolderError, match="made with --store float32, not float16"):
        build(store="float16")
    with pytest.raises(IndexFolderError, match="made with function:words .*, not with function:x"):
        build(bi_encoder=FunctionEncoder(words, name="x"))
    assert len(Index(path)) == 9
    assert len(build(store="float16", overwrite=True).index) == 30
    assert names(tmp_path) == ["x.idx"]


@pytest.mark.usefixtures("small_steps")
def test_identical_passages_are_encoded_once(tmp_path):
    encode = Counting()
    encoder = FunctionEncoder(encode, name="words")
    encode.texts.clear()
    content = [Passage(f"p{n}", f"text {n % 5}", title="t" * (n % 2)) for n in range(40)]
    built = RetrieveRerankPipeline.build(
        content, tmp_path / "x", bi_encoder=encoder, cross_encoder="none"
    )
    assert sorted(encode.texts) == sorted({p.model_text for p in content})
    np.testing.assert_allclose(
        built.index.vectors(np.arange(40)),
        encoder.encode_passages([p.model_text for p in content]),
        rtol=1e-6,
    )


def test_an_id_twice_is_refused_wherever_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(writing_module, "PASSAGES_AT_ONCE", 4)
    for first, second in ((0, 1), (0, 9), (5, 6), (5, 9), (8, 9)):
        content = texts(10)
        content[second] = Passage(content[first].id, "another text")
        with pytest.raises(
            DataError, match=rf"the id 'p{first}' of passage number {second} is .* number {first};"
        ):
            RetrieveRerankPipeline.build(
                content,
                tmp_path / f"{first}-{second}",
                bi_encoder=FunctionEncoder(words),
                cross_encoder="none",
            )


def test_ids_whose_hashes_are_the_same_are_no_duplicates(tmp_path, monkeypatch):
    monkeypatch.setattr(writing_module, "fingerprint", len)
    monkeypatch.setattr(writing_module, "PASSAGES_AT_ONCE", 3)
    built = RetrieveRerankPipeline.build(
        texts(10), tmp_path / "x", bi_encoder=FunctionEncoder(words), cross_encoder="none"
    )
    assert list(built.index.all_passages()) == texts(10)
    with pytest.raises(DataError, match="the id 'p3'"):
        RetrieveRerankPipeline.build(
            [*texts(10), texts(4)[3]],
            tmp_path / "y",
            bi_encoder=FunctionEncoder(words),
            cross_encoder="none",
        )


@pytest.mark.parametrize(
    "identifier", ["x" * 10_000, "a\nb\r\n", "é🍵\u2028", "\0", " ", "\ud800?"]
)
def test_odd_ids(tmp_path, identifier):
    passage = Passage(identifier, "text")
    built = RetrieveRerankPipeline.build(
        [passage, Passage("other", "another")],
        tmp_path / "x",
        bi_encoder=FunctionEncoder(words),
        cross_encoder="none",
    )
    kept = identifier.replace("\ud800", "?")
    assert built.index.ids() == {kept, "other"}
    assert built.search("text", top_k=1)[0].id == kept
    assert built.upsert([Passage(identifier, "replaced")]).replaced == 1
    assert built.delete([kept]) == 1
    assert built.index.ids() == {"other"}


def test_one_writer_at_a_time(tmp_path):
    path = write(tmp_path / "x.idx", 5)
    with IndexWriter(path):
        for attempt in (IndexWriter, lambda p: write(p, 3, overwrite=True)):
            with pytest.raises(IndexFolderError, match=f"written by process {os.getpid()}"):
                attempt(path)
        assert len(Index(path)) == 5  # and readers are not kept out
    with IndexWriter(path) as writer:
        writer.append(rows(1, 5))
    assert len(Index(path)) == 6
    assert not (path / "writer.lock").exists()


def test_the_lock_of_a_process_that_is_gone(tmp_path):
    path = write(tmp_path / "x.idx", 5)
    code = (
        "import os, sys; from pathlib import Path; from shortlist.pipeline.lock import WriterLock\n"
        "lock = WriterLock(Path(sys.argv[1])); print(os.getpid(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        owner = process.stdout.readline().strip()
        with pytest.raises(IndexFolderError, match=f"is being written by process {owner};"):
            IndexWriter(path)
        process.kill()
    assert (path / "writer.lock").read_text().strip() == owner  # what it left behind
    with IndexWriter(path) as writer:
        writer.append(rows(1, 5))
    assert len(Index(path)) == 6


def test_a_released_lock_is_released_once(tmp_path):
    first = WriterLock(tmp_path)
    first.release()
    second = WriterLock(tmp_path)
    first.release()
    with pytest.raises(IndexFolderError, match="is being written"):
        WriterLock(tmp_path)
    second.release()
    assert names(tmp_path) == []


def test_files_that_no_manifest_names_are_removed_by_the_next_writer(tmp_path):
    path = write(tmp_path / "x.idx", 5)
    for name in ("segment-000007.passages.arrow", "segment-000007.deleted", "manifest.json.draft"):
        (path / name).write_text("left by a crash")
    (path / "mine.txt").write_text("precious")
    assert len(Index(path)) == 5
    with IndexWriter(path):
        pass
    assert names(path) == [
        "manifest.json", "mine.txt",
        "segment-000001.embeddings.npy", "segment-000001.passages.arrow",
    ]  # fmt: skip


def test_an_interrupt_right_after_the_swap_loses_nothing(tmp_path, monkeypatch):
    path = write(tmp_path / "x.idx", 5)
    written = Manifest.write

    def interrupted_after(self, folder):
        written(self, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(Manifest, "write", interrupted_after)
    with pytest.raises(KeyboardInterrupt), IndexWriter(path) as writer:
        writer.append(rows(2, 5))
        writer.commit()
    monkeypatch.undo()
    assert list(Index(path, check="full").all_passages()) == passages(7)
    assert Index(path).manifest.model == MODEL
