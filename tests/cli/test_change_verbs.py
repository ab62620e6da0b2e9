"""add, upsert, delete, compact, verify, repair and index --store, as they are typed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from notes import NOTES
from test_cli import run

from shortlist import RetrieveRerankPipeline
from shortlist.pipeline.index import Index


@pytest.fixture
def home(tmp_path, notes_index):
    """A table, an index of it, and a second table."""
    rows = [{"_id": f"n{i}", "text": text, "year": 1990 + i} for i, text in enumerate(NOTES)]
    write(tmp_path / "notes.jsonl", rows)
    write(tmp_path / "more.jsonl", [{"_id": "n8", "text": "Coffee is made of roasted beans."}])
    return tmp_path


@pytest.fixture
def index(home):
    run("index", home / "notes.jsonl", "-o", home / "notes.idx")
    return home / "notes.idx"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def found(index, question, *options):
    done = run("search", index, question, "--json", "--no-rerank", *options)
    return [hit["id"] for hit in json.loads(done.stdout)]


def test_passages_come_and_go(home, index):
    done = run("add", index, home / "more.jsonl")
    assert "1 passage added, 0 replaced, 0 there already; 1 text encoded" in done.stderr
    assert found(index, "roasted beans", "-k", "1") == ["n8"]
    done = run("add", index, home / "more.jsonl")
    assert "0 passages added, 0 replaced, 1 there already; 0 texts encoded" in done.stderr

    write(home / "more.jsonl", [{"_id": "n8", "text": "Cocoa is made of beans as well."}])
    done = run("add", index, home / "more.jsonl", code=2)
    assert "the id 'n8' is in" in done.stderr
    assert "with other contents; to replace it: upsert" in done.stderr
    done = run("upsert", index, home / "more.jsonl")
    assert "0 passages added, 1 replaced" in done.stderr
    assert json.loads(run("info", index, "--json").stdout)["deleted_rows"] == 0  # of the last one

    done = run("delete", index, "n8", "nobody", "--where", "year < 1993")
    assert "warning: 1 id of no passage: 'nobody'" in done.stderr
    assert "4 passages deleted" in done.stderr
    assert sorted(found(index, "beans", "-k", "20")) == [f"n{n}" for n in range(3, 8)]
    assert "4 deleted ones take space until shortlist compact" in run("info", index).stdout
    done = run("compact", index)
    assert "4 deleted passages dropped" in done.stderr
    record = json.loads(run("info", index, "--json").stdout)
    assert (record["rows"], record["deleted_rows"], record["format"]) == (5, 0, 1)
    assert [source["name"] for source in record["source"]["added"]] == ["more.jsonl"] * 2
    assert "5 passages, every file is as it was committed" in run("verify", index).stderr


def test_ids_from_a_file(home, index):
    (home / "ids.txt").write_text("n1\nn2\tand what it is about\n")
    assert "2 passages deleted" in run("delete", index, "--ids", home / "ids.txt").stderr
    assert "what to delete?" in run("delete", index, code=2).stderr
    assert "is no expression" in run("delete", index, "--where", "year ==", code=2).stderr


def test_damage_is_found_and_put_right(home, index):
    embeddings = index / "segment-000001.embeddings.npy"
    content = bytearray(embeddings.read_bytes())
    content[-1] ^= 1
    embeddings.write_bytes(content)
    done = run("verify", index, code=1)
    assert "segment-000001.embeddings.npy is not the file that was committed" in done.stderr
    assert "1 of 1 segment damaged, 8 passages" in done.stderr
    assert "8 passages encoded again" in run("repair", index).stderr
    assert "is whole: there is nothing to repair" in run("repair", index).stderr


def test_a_source_is_read_only_where_texts_are_lost(home, index):
    """What was deleted does not come again because some embeddings were damaged."""
    run("delete", index, "n7")
    run("compact", index)
    embeddings = next(index.glob("*.npy"))
    content = bytearray(embeddings.read_bytes())
    content[-1] ^= 1
    embeddings.write_bytes(content)
    assert "7 passages encoded again" in run("repair", index, home / "notes.jsonl").stderr
    assert Index(index, check="full").ids() == {f"n{n}" for n in range(7)}


def test_texts_that_are_lost_are_read_again(home, index):

    passages = next(index.glob("*.arrow"))
    content = bytearray(passages.read_bytes())
    content[content.index(b"photosynthesis")] ^= 1
    passages.write_bytes(content)
    done = run("search", index, "plants", code=1)
    assert passages.name in done.stderr
    assert "shortlist repair" in done.stderr
    for source in ([], [home / "nowhere.jsonl"]):
        before = (index / "manifest.json").read_bytes()
        done = run("repair", index, *source, code=2 if source else 1)
        assert ("no such file" if source else "8 passages in segment-") in done.stderr
        assert (index / "manifest.json").read_bytes() == before
    done = run("repair", index, home / "notes.jsonl")
    assert "8 passages were lost, 8 are added again" in done.stderr
    assert "every file is as it was committed" in run("verify", index).stderr
    assert found(index, "how do plants make food?", "-k", "1") == ["n0"]


def test_half_the_bytes(home):
    run("index", home / "notes.jsonl", "-o", home / "half.idx", "--store", "float16")
    assert Index(home / "half.idx").embeddings[0].nbytes == 8 * 384 * 2
    assert found(home / "half.idx", "how do plants make food?", "-k", "1") == ["n0"]
    assert "kept as float16" in run("info", home / "half.idx").stdout
    run("add", home / "half.idx", home / "more.jsonl")
    assert Index(home / "half.idx", check="full").manifest.store == "float16"


def test_what_is_added_is_read_as_the_index_was_where_that_fits(home):
    write(home / "table.jsonl", [{"_id": "t1", "body": "Tea is made of leaves."}])
    run("index", home / "table.jsonl", "-o", home / "t.idx", "--text-field", "body")
    (home / "notes").mkdir()
    (home / "notes" / "coffee.md").write_text("Coffee is made of roasted beans.")
    assert "1 passage added" in run("add", home / "t.idx", home / "notes").stderr
    write(home / "table.jsonl", [{"nr": "t2", "body": "Cocoa is made of beans."}])
    done = run("add", home / "t.idx", home / "table.jsonl", "--id-field", "nr")
    assert "1 passage added" in done.stderr
    assert found(home / "t.idx", "cocoa", "-k", "1") == ["t2"]


def test_an_index_of_a_function_is_verified_by_its_checksums(home):
    def embed(texts):
        return np.ones((len(texts), 4))

    RetrieveRerankPipeline.build(["a", "b"], home / "own.idx", bi_encoder=embed)
    done = run("verify", home / "own.idx")
    assert "warning: checksums only, no passage is encoded again" in done.stderr
    assert "2 passages, every file is as it was committed" in done.stderr
