"""search --queries, rerank, encode, sync, own vectors and column options, as scripts use them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from notes import NOTES
from test_cli import run

from shortlist.data.runs import read_run
from shortlist.pipeline.index import Index


@pytest.fixture(scope="module")
def home(tmp_path_factory, notes_index):
    folder = tmp_path_factory.mktemp("verbs")
    with (folder / "notes.csv").open("w", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["Nr", "Note", "year"])
        table.writerows([f"n{i}", text, 1990 + i] for i, text in enumerate(NOTES))
    lines = [{"_id": "plants", "text": "how do plants make food?"}, {"_id": "sea", "text": "ships"}]
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run(
        "index", folder / "notes.csv", "-o", folder / "notes.idx", "--id-field", "Nr",
        "--text-field", "Note",
    )  # fmt: skip
    assert "CSV: 8 passages" in done.stderr
    return folder


def test_columns_become_metadata(home):
    hits = json.loads(run("search", home / "notes.idx", "plants", "-k", "1", "--json").stdout)
    assert hits[0]["id"] == "n0"
    assert hits[0]["metadata"] == {"year": "1990"}
    done = run(
        "index", home / "notes.csv", "-o", home / "x.idx", "--text-field", "Text", code=2
    )  # fmt: skip
    assert "no column 'Text' for --text-field; there are: 'Nr', 'Note', 'year'" in done.stderr


def test_a_file_of_queries_becomes_a_run(home):
    done = run("search", home / "notes.idx", "--queries", home / "queries.jsonl", "-k", "3",
               "-o", home / "run.trec.gz", "--runtag", "mine")  # fmt: skip
    assert done.stdout == ""
    found = read_run(home / "run.trec.gz")
    assert [len(scores) for scores in found.values()] == [3, 3]
    assert next(iter(found["plants"])) == "n0"
    assert next(iter(found["sea"])) == "n5"
    run("search", home / "notes.idx", "--queries", home / "queries.jsonl", "-k", "3", "--json",
        "-o", home / "hits.jsonl")  # fmt: skip
    rows = [json.loads(line) for line in (home / "hits.jsonl").read_text().splitlines()]
    assert [row["query_id"] for row in rows] == ["plants", "sea"]
    for row in rows:
        assert [hit["id"] for hit in row["hits"]] == list(found[row["query_id"]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "notes.idx"], "give one QUERY, or a file of them with --queries"),
        (["search", "notes.idx", "q", "--queries", "queries.jsonl"], "give one QUERY, or a file"),
        (["search", "notes.idx", "--queries", "queries.jsonl"], "--queries and -o belong together"),
        (["search", "notes.idx", "q", "--group-by", "title"], "group_by must be 'document'"),
        (["index", "-o", "x.idx"], "what to index? Give a SOURCE, or --embeddings with --ids"),
        (["index", "notes.csv", "-o", "x.idx", "--ids", "i"], "--ids names the rows of --embedd"),
        (["index", "notes.csv", "-o", "x.idx", "--passage-tokens", "900"], "expected 8 to 256"),
        (["rerank", "notes.csv", "-o", "r"], "expected 6 columns"),
    ],
)
def test_what_cannot_work_is_said(home, arguments, message):
    done = run(*arguments, code=2, cwd=home)
    assert message in done.stderr
    assert not (home / "x.idx").exists()


def test_a_foreign_run_is_reranked(home):
    (home / "bm25.run").write_text(
        "plants Q0 n5 1 9 b\nplants Q0 n0 2 8 b\nsea Q0 n1 1 7 b\nsea Q0 n5 2 6 b\n"
    )
    for corpus in ("notes.idx", "notes.csv"):
        run("rerank", "bm25.run", "--corpus", corpus, "--queries", "queries.jsonl", "-o", "new.run",
            *(["--id-field", "Nr", "--text-field", "Note"] if corpus.endswith("csv") else []),
            cwd=home)  # fmt: skip
        found = read_run(home / "new.run")
        assert {q: list(scores) for q, scores in found.items()} == {
            "plants": ["n0", "n5"],
            "sea": ["n5", "n1"],
        }
    done = run("rerank", "bm25.run", "-o", "x.run", code=2, cwd=home)
    assert "holds ids only; give their texts with --corpus and --queries" in done.stderr


def test_candidates_of_ms_marco_need_nothing_else(home):
    rows = [
        ("1", "7", "how do plants make food?", NOTES[5]),
        ("1", "3", "how do plants make food?", NOTES[0]),
    ]
    (home / "top1000.dev").write_text("".join("\t".join(row) + "\n" for row in rows))
    run("rerank", home / "top1000.dev", "-o", home / "new.run")
    assert list(read_run(home / "new.run")["1"]) == ["3", "7"]


def test_encoded_vectors_make_the_same_index(home):
    columns = ["--id-field", "Nr", "--text-field", "Note"]
    done = run("encode", home / "notes.csv", "-o", home / "notes.npy", *columns)
    assert "8 embeddings of 384 dimensions" in done.stderr
    vectors = np.load(home / "notes.npy", allow_pickle=False)
    index = Index(home / "notes.idx")
    np.testing.assert_array_equal(vectors, index.vectors(np.arange(8)))
    assert (home / "notes.ids.txt").read_text().split() == [f"n{i}" for i in range(8)]
    run("index", home / "notes.csv", "-o", home / "own.idx", *columns,
        "--embeddings", home / "notes.npy", "--ids", home / "notes.ids.txt")  # fmt: skip
    own = Index(home / "own.idx")
    assert list(own.all_passages()) == list(index.all_passages())
    np.testing.assert_allclose(own.vectors(np.arange(8)), vectors, atol=1e-6)
    run("index", "-o", home / "bare.idx", "--embeddings", home / "notes.npy",
        "--ids", home / "notes.ids.txt")  # fmt: skip
    hits = json.loads(run("search", home / "bare.idx", "a lamp for ships", "--json").stdout)
    assert hits[0]["id"] == "n5"
    run("encode", home / "queries.jsonl", "--queries", "-o", home / "q.npy")
    assert np.load(home / "q.npy").shape == (2, 384)


def test_an_index_follows_a_folder(tmp_path: Path, notes_index):
    notes, index = tmp_path / "notes", tmp_path / "notes.idx"
    notes.mkdir()
    for number, text in enumerate(NOTES[:4]):
        (notes / f"{number}.md").write_text(f"# Note {number}\n\n{text}\n")
    assert "4 passages from 4 files" in run("sync", notes, index).stderr
    assert "nothing changed" in run("sync", notes, index).stderr
    (notes / "0.md").unlink()
    (notes / "1.md").write_text(f"# Note 1\n\n{NOTES[1]}\n\n{NOTES[5]}\n")
    (notes / "2.md").rename(notes / "moved.md")
    (notes / "new.html").write_text(f"<html><title>New</title><body><p>{NOTES[7]}</p></body>")
    done = run("sync", notes, index)
    assert (
        "2 documents added, 1 replaced, 2 deleted, 1 unchanged; 2 passages encoded" in done.stderr
    )
    found = {p.text for p in Index(index).all_passages()}
    assert found == {NOTES[1], NOTES[2], NOTES[3], NOTES[5], NOTES[7]}
    (notes / "3.md").write_bytes(b"\xff\xfe broken")
    done = run("sync", notes, index)
    assert "3.md:1: not UTF-8" in done.stderr
    assert "1 kept that cannot be read now, nothing changed" in done.stderr
    assert {p.text for p in Index(index).all_passages()} == found
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("Other words.")
    assert "is it another one" in run("sync", tmp_path / "other", index, code=2).stderr
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"_id": "1", "text": "x"}\n')
    done = run("sync", corpus, index, code=2)
    assert "was made from a folder of texts" in done.stderr
    assert {p.text for p in Index(index).all_passages()} == found


def test_text_in_another_language_is_warned_of(tmp_path: Path, notes_index):
    lines = [
        f"Tallinn on Eesti pealinn ja suurim linn, mis asub Soome lahe lõunakaldal, osa {i}."
        for i in range(60)
    ]
    (tmp_path / "eesti.txt").write_text("\n\n".join(lines))
    done = run("index", tmp_path / "eesti.txt", "-o", tmp_path / "eesti.idx")
    assert "warning: the text does not seem to be in a language that the model was" in done.stderr
    assert "et 100%" in done.stderr
    assert done.stderr.count("does not seem to be") == 1


def test_nothing_is_written_over_its_own_source(home):
    for arguments in (
        ["encode", "notes.csv", "-o", "notes.csv"],
        ["encode", "notes.csv", "-o", "x.npy", "--ids", "notes.csv"],
        ["search", "notes.idx", "--queries", "queries.jsonl", "-o", "queries.jsonl"],
        ["rerank", "queries.jsonl", "-o", "queries.jsonl"],
    ):
        before = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
        assert "would be written over" in run(*arguments, code=2, cwd=home).stderr
        assert {p.name: p.read_bytes() for p in home.iterdir() if p.is_file()} == before
    (home / "folder").mkdir()
    done = run(
        "search", "notes.idx", "--queries", "queries.jsonl", "-o", "folder", code=2, cwd=home
    )
    assert "folder: is a folder; expected the name of a file" in done.stderr


def test_ids_that_no_run_can_hold_are_said_before_the_searching(tmp_path, notes_index):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "my note.md").write_text("Tea is made with hot water.")
    (tmp_path / "q.tsv").write_text("1\ttea\n")
    run("index", tmp_path / "notes", "-o", tmp_path / "n.idx")
    arguments = ["search", tmp_path / "n.idx", "--queries", tmp_path / "q.tsv", "-o"]
    done = run(*arguments, tmp_path / "run.trec", code=2)
    assert "the passage id 'my note.md#0' has a blank in it" in done.stderr
    assert "--json" in done.stderr
    run(*arguments, tmp_path / "hits.jsonl", "--json")
    assert "my note.md" in run("search", tmp_path / "n.idx", "tea").stdout  # where to read on


def test_rows_stay_whole_unless_asked(home):
    done = run("index", "notes.csv", "-o", "x.idx", "--id-field", "Nr", "--text-field", "Note",
               "--passage-tokens", "16", code=2, cwd=home)  # fmt: skip
    assert "rows of a CSV stay whole" in done.stderr
    assert "--cut-records" in done.stderr
    run("index", "notes.csv", "-o", "cut.idx", "--id-field", "Nr", "--text-field", "Note",
        "--passage-tokens", "16", "--overlap", "4", "--cut-records", cwd=home)  # fmt: skip
    cut = list(Index(home / "cut.idx").all_passages())
    assert {p.document_id for p in cut} == {f"n{i}" for i in range(8)}
    assert len(cut) > 8
