"""`shortlist duplicates`, as it is typed."""

from __future__ import annotations

import json

import pytest
from notes import NOTES
from test_cli import run

TWICE = {1: "a", 4: "b"}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    home = tmp_path_factory.mktemp("duplicates")
    rows = [{"_id": f"n{i}", "text": text, "kind": "note"} for i, text in enumerate(NOTES)]
    rows += [{"_id": name, "text": NOTES[n], "kind": "copy"} for n, name in TWICE.items()]
    (home / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("index", home / "notes.jsonl", "-o", home / "notes.idx")
    return home / "notes.idx"


def test_the_most_similar_pairs(index):
    done = run("duplicates", index, "--top", "2")
    assert done.stdout.splitlines()[0] == "1.0000"
    assert "  n1: " in done.stdout
    assert "  a: " in done.stdout
    pairs = json.loads(run("duplicates", index, "--top", "2", "--json").stdout)
    assert [pair["ids"] for pair in pairs] == [["n1", "a"], ["n4", "b"]]
    assert pairs[0]["texts"] == [NOTES[1], NOTES[1]]
    assert [pair["score"] for pair in pairs] == pytest.approx([1, 1], abs=1e-5)


def test_all_pairs_above_a_cosine(index, tmp_path):
    done = run("duplicates", index, "--threshold", "0.999", "-o", tmp_path / "pairs.jsonl")
    assert "2 pairs" in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert sorted(row["ids"] for row in rows) == [["n1", "a"], ["n4", "b"]]


def test_among_some_passages(index):
    pairs = json.loads(
        run("duplicates", index, "--where", "kind == 'note'", "--top", "999", "--json").stdout
    )
    assert len(pairs) == len(NOTES) * (len(NOTES) - 1) // 2
    assert {name[0] for pair in pairs for name in pair["ids"]} == {"n"}


def test_nothing_to_compare(index):
    done = run("duplicates", index, "--where", "id == 'n1'")
    assert done.stdout == ""
    assert "no pairs: there are fewer than two passages" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "0.9", "--top", "3"], "give --threshold or --top"),
        (["--threshold", "0.9"], "may be very many: write them with -o FILE"),
        (["--threshold", "2", "-o", "x.jsonl"], "a cosine is between -1 and 1"),
        (["--top", "-1"], "the number of pairs must be at least 1 (got -1)"),
    ],
)
def test_what_makes_no_sense_is_refused(index, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in run("duplicates", index, *options, code=2).stderr
    assert not list(tmp_path.iterdir())
