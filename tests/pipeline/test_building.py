"""Making an index: whole or unfinished, never in the way of another, and gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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

CHECKED = 4  # passages by which a function is known again


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
@pytest.mark.parametrize("at", [4, 5, 12, 25])
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
    assert encode.texts[:CHECKED] == [p.text for p in texts(CHECKED)]
    assert encode.texts[CHECKED:] == [p.text for p in texts(30)[committed:]]
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
    at=st.integers(1, 12),
    interrupts_again=st.booleans(),
)
def test_a_source_that_changed_since(tmp_path_factory, before, after, at, interrupts_again):
    """The index holds what is there now; nothing of it that was committed is encoded again."""
    path = tmp_path_factory.mktemp("build") / "x.idx"

    def content(numbers):
        return [Passage(f"p{n}", f"text {n}") for n in numbers]

    in_time = 3 * ((len(before) - 1) // 3)  # before the last batch
    encode, encoder = interrupted(path, content(before), min(at, in_time))
    committed = {p.text for p in Index(path).all_passages()}
    checked = min(CHECKED, len(committed))
    if interrupts_again:
        encode.breaks_at = 1 + checked
        with pytest.raises(KeyboardInterrupt):
            RetrieveRerankPipeline.build(
                content(after), path, bi_encoder=encoder, cross_encoder="none"
            )
            raise KeyboardInterrupt  # there was nothing left to encode
        encode.breaks_at = None
        if Index(path).manifest.complete:
            return
        committed |= {p.text for p in Index(path).all_passages()}
        checked = min(CHECKED, len(Index(path)))
        encode.texts.clear()
    built = RetrieveRerankPipeline.build(
        content(after), path, bi_encoder=encoder, cross_encoder="none"
    )
    assert list(built.index.all_passages()) == content(after)
    np.testing.assert_allclose(
        built.index.vectors(np.arange(len(after))),
        encoder.encode_passages([p.text for p in content(after)]),
        rtol=1e-6,
    )
    assert not committed & set(encode.texts[checked : -len(after)])
    index = Index(path, check="full")
    assert index.stored_rows == len(after)
    assert names(path.parent) == ["x.idx"]


@pytest.mark.usefixtures("small_steps")
def test_an_unfinished_index_is_searched_with_a_warning(tmp_path, caplog):
    _, encoder = interrupted(tmp_path / "x.idx", texts(30), 9)
    opened = RetrieveRerankPipeline.open(tmp_path / "x.idx", bi_encoder=encoder)
    assert "is unfinished: it has the first 9 passages" in caplog.text
    assert opened.search("text 4", top_k=1)[0].id == "p4"
    for change in (
        lambda: opened.add(["more"]),
        lambda: opened.delete(["p1"]),
        opened.compact,
    ):
        with pytest.raises(IndexFolderError, match="is unfinished; run the same shortlist index"):
            change()


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


@pytest.mark.usefixtures("small_steps")
def test_a_function_that_was_mended_since_is_not_mixed_with_what_it_was(tmp_path):
    interrupted(tmp_path / "x.idx", texts(30), 9)
    mended = FunctionEncoder(lambda asked: words(asked)[:, ::-1], name="words")
    with pytest.raises(IndexFolderError, match="are not those of function:words"):
        RetrieveRerankPipeline.build(
            texts(30), tmp_path / "x.idx", bi_encoder=mended, cross_encoder="none"
        )
    assert len(Index(tmp_path / "x.idx")) == 9


@pytest.mark.usefixtures("small_steps")
def test_what_was_encoded_survives_a_second_interruption(tmp_path):
    """A passage is put in front of all others, and the next run is interrupted at once."""
    encode, encoder = interrupted(tmp_path / "x.idx", texts(30), 24)
    changed = [Passage("new", "quite new"), *texts(30)]
    encode.breaks_at = CHECKED
    with pytest.raises(KeyboardInterrupt):
        RetrieveRerankPipeline.build(
            changed, tmp_path / "x.idx", bi_encoder=encoder, cross_encoder="none"
        )
    encode.breaks_at = None
    encode.texts.clear()
    built = RetrieveRerankPipeline.build(
        changed, tmp_path / "x.idx", bi_encoder=encoder, cross_encoder="none"
    )
    assert len(encode.texts) <= CHECKED + 1 + 6
    assert list(built.index.all_passages()) == changed


@pytest.mark.usefixtures("small_steps")
def test_a_replacement_that_could_not_be_put_in_its_place_is_not_made_again(tmp_path, monkeypatch):
    path = write(tmp_path / "x.idx", 5)
    encode = Counting()
    encoder = FunctionEncoder(encode, name="words")

    def build():
        return RetrieveRerankPipeline.build(
            texts(30), path, bi_encoder=encoder, cross_encoder="none", overwrite=True
        )

    def failing(one, other):
        raise OSError("the disk is gone")

    monkeypatch.setattr(building_module, "_exchange", failing)
    with pytest.raises(IndexWriteError, match="the disk is gone"):
        build()
    assert len(Index(path)) == 5
    monkeypatch.undo()
    encode.texts.clear()
    assert len(build().index) == 30
    assert len(encode.texts) == CHECKED
    assert names(tmp_path) == ["x.idx"]


def test_another_build_that_came_to_its_end_meanwhile(tmp_path, monkeypatch):
    """It is seen as unfinished, and is complete when the lock is there."""
    path = tmp_path / "x.idx"
    may_go_on = building_module._may_go_on

    def slow(place, manifest, overwrite):
        found = may_go_on(place, manifest, overwrite)
        with IndexWriter(place) as other:
            other.append(rows(4, 3))
            other.commit(complete=True)
        return found

    with pytest.raises(KeyboardInterrupt), building(path, MANIFEST) as writer:
        writer.append(rows(3))
        writer.commit()
        raise KeyboardInterrupt
    monkeypatch.setattr(building_module, "_may_go_on", slow)
    with pytest.raises(IndexFolderError, match="there is an index at"):
        write(path, 2)
    assert len(Index(path)) == 7


def test_numbers_of_states_go_on_over_a_replacement(tmp_path):
    path = write(tmp_path / "x.idx", 5)
    before = Index(path).manifest
    write(path, 7, overwrite=True)
    after = Index(path).manifest
    assert after.commit > before.commit
    assert not {f.name for f in after.files} & {f.name for f in before.files}


def test_an_index_that_is_replaced_while_it_is_opened(tmp_path, monkeypatch):
    """Manifest and files are of one folder: never one model's manifest with another's vectors."""
    path = write(tmp_path / "x.idx", 5)
    read = Manifest.read.__func__
    replaced = []

    def replacing(cls, folder):
        found = read(cls, folder)
        if not replaced and folder == path:
            replaced.append(True)
            with building(path, MANIFEST, overwrite=True) as writer:
                writer.append(rows(7, seed=1))
        return found

    monkeypatch.setattr(Manifest, "read", classmethod(replacing))
    index = Index(path)
    assert len(index) == 7
    np.testing.assert_array_equal(index.vectors(np.arange(7)), rows(7, seed=1).embeddings)


def test_a_full_disk_does_not_keep_the_lock(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    lock = WriterLock(tmp_path)
    with pytest.raises(IndexFolderError, match=r"is being written by process \(unknown\)"):
        WriterLock(tmp_path)
    lock.release()
    WriterLock(tmp_path).release()


def test_open_indexes_keep_no_file_descriptors(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "ROWS_PER_SEGMENT", 2)
    path = write(tmp_path / "x.idx", 100)
    before = len(names(Path("/proc/self/fd")))
    opened = [Index(path) for _ in range(10)]
    assert len(opened[0].segments) == 50
    assert len(names(Path("/proc/self/fd"))) - before < 10
