"""`shortlist check` as scripts use it: what it prints where, and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BEIR folder without a fault."""
    (tmp_path / "qrels").mkdir()
    texts = ["tea is made of leaves", "ice flows slowly downhill", "bees dance in the dark"]
    queries = ["what is tea?", "which river is of ice?", "who dances?"]
    for name, rows in (("corpus", texts), ("queries", queries)):
        lines = [json.dumps({"_id": f"{name[0]}{i}", "text": text}) for i, text in enumerate(rows)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    lines = ["query-id\tcorpus-id\tscore", "q0\tc0\t1", "q1\tc1\t1", "q2\tc2\t1"]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def add(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def test_a_folder_without_a_fault_ends_with_0(folder: Path) -> None:
    done = run("check", folder)
    assert "read: 3 passages, 3 queries, 3 judgements of test" in done.stdout
    assert "0 errors, 0 warnings, 0 notes" in done.stdout
    assert "reading the corpus" in done.stderr
    assert "reading" not in done.stdout


def test_notes_do_not_fail(folder: Path) -> None:
    add(folder / "queries.jsonl", '{"_id": "q3", "text": "what is wool?"}')
    assert "queries/query-without-judgement" in run("check", folder).stdout


def test_warnings_fail_unless_errors_only(folder: Path) -> None:
    add(folder / "corpus.jsonl", '{"_id": "c3", "text": "Tea is made of LEAVES"}')
    done = run("check", folder, code=1)
    places = f"{folder}/corpus.jsonl:1 and {folder}/corpus.jsonl:4"
    assert f"warning  corpus/duplicate-text  {folder}/corpus.jsonl" in done.stdout
    assert f"    {places}  'c0', 'c3'" in done.stdout
    run("check", folder, "--errors-only")


def test_errors_fail_and_come_first(folder: Path) -> None:
    add(folder / "corpus.jsonl", '{"_id": "c3", "text": "Tea is made of LEAVES"}')
    add(folder / "qrels" / "test.tsv", "q0\tC1\t1")
    done = run("check", folder, "--errors-only", code=1)
    order = ["qrels/dangling-passage", "qrels/id-type", "corpus/duplicate-text", "2 errors, 1 warn"]
    found = [done.stdout.index(part) for part in order]
    assert found == sorted(found)


def test_json_has_stable_keys(folder: Path) -> None:
    add(folder / "qrels" / "test.tsv", "q0\tc9\t1")
    done = run("check", folder, "--json", code=1)
    report = json.loads(done.stdout)
    assert list(report) == ["read", "errors", "warnings", "notes", "findings"]
    assert report["read"] == {"passages": 3, "queries": 3, "judgements of test": 4}
    assert (report["errors"], report["warnings"], report["notes"]) == (1, 0, 0)
    (finding,) = report["findings"]
    assert list(finding) == ["subject", "code", "level", "where", "message", "count", "examples"]
    place = f"{folder}/qrels/test.tsv:5"
    assert finding["examples"] == [{"places": [place], "ids": ["c9"], "texts": [], "remark": ""}]


def test_files_may_be_named_one_by_one(folder: Path) -> None:
    add(folder / "run.trec", "q0 Q0 c0 1 1.5 mine\nq1 Q0 c1 1 1.5 mine\nq2 Q0 c2 1 1.5 mine")
    (folder / "dev.txt").write_text("q0 0 c1 1\n")
    done = run(
        "check", "--corpus", folder / "corpus.jsonl", "--queries", folder / "queries.jsonl",
        "--qrels", folder / "qrels" / "test.tsv", "--qrels", folder / "dev.txt",
        "--run", folder / "run.trec", code=1,
    )  # fmt: skip
    assert "3 judgements of test" in done.stdout
    assert "splits/same-query-in-two-splits  dev, test" in done.stdout


def test_held_out_folders(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    corpus = tmp_path_factory.mktemp("own") / "corpus.jsonl"
    add(corpus, '{"_id": "x", "text": "Ice flows slowly downhill."}')
    done = run("check", "--corpus", corpus, "--held-out", folder, code=1)
    assert "held-out/near-duplicate-passage" in done.stdout
    assert "overlap 1.00" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to check; give a BEIR folder"),
        (["/nowhere"], "/nowhere: no such folder"),
        (["--run", "/nowhere"], "/nowhere: no such file"),
        (["--depth", "3"], "No such option"),
    ],
)
def test_usage_errors_end_with_2(arguments: list[str], message: str) -> None:
    assert message in run("check", *arguments, code=2).stderr


def test_texts_cannot_drive_the_terminal(folder: Path) -> None:
    add(folder / "corpus.jsonl", '{"_id": "c3", "text": "\\u001b[2Jtea \\ud83d"}')
    add(folder / "corpus.jsonl", '{"_id": "c4", "text": "\\u001b[2Jtea \\ud83d"}')
    done = run("check", folder, code=1)
    assert "\x1b" not in done.stdout
    assert "[2Jtea" in done.stdout


def test_the_columns_of_a_table_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("Nr,message\n1,tea\n1,ice\n2,tea\n")
    done = run("check", "--corpus", tmp_path / "c.csv", code=1)
    assert done.stdout.count("name the column that holds it with --text-field") == 1
    done = run(
        "check", "--corpus", tmp_path / "c.csv", "--id-field", "Nr", "--text-field", "message",
        code=1,
    )  # fmt: skip
    assert "corpus/duplicate-id" in done.stdout
    assert "corpus/duplicate-text" in done.stdout
