"""The command line as scripts use it: what is printed where, and what it ends with."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from notes import NOTES

from shortlist.pipeline.index import Index
from shortlist.pipeline.layout import Manifest

FIELDS = [
    "rank",
    "id",
    "title",
    "text",
    "score",
    "score_kind",
    "retrieval_rank",
    "retrieval_score",
    "rerank_score",
    "relevance",
    "section",
    "document_id",
    "metadata",
    "folded",
    "depth",
    "window",
    "cut_tokens",
]
SHORTLIST = [sys.executable, "-m", "shortlist.cli.__main__"]


def run(*arguments, code=0, **options):
    done = subprocess.run(
        [*SHORTLIST, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        **{"stdin": subprocess.DEVNULL, **options},
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    lines = [json.dumps({"_id": f"n{i}", "title": "", "text": t}) for i, t in enumerate(NOTES)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def index(corpus, notes_index):
    path = corpus.parent / "notes.idx"
    done = run("index", corpus, "-o", path)
    assert "8 passages" in done.stderr
    assert done.stdout == ""
    return path


def test_search_prints_the_passages(index):
    done = run("search", index, "how do plants make food?", "-k", "2")
    assert "Plants make sugar" in done.stdout
    assert done.stderr == ""


def test_search_as_json(index):
    hits = json.loads(run("search", index, "a warm drink", "--json", "-k", "3").stdout)
    assert len(hits) == 3
    assert [list(hit) for hit in hits] == [FIELDS] * 3
    assert hits[0]["id"] == "n1"
    assert hits[0]["rerank_score"] is not None
    assert 0 < hits[0]["relevance"] < 1


def test_search_without_reranking(index):
    done = run("search", index, "a warm drink", "--no-rerank", "--json")
    hits = json.loads(done.stdout)
    assert {hit["score_kind"] for hit in hits} == {"cosine"}
    assert {hit["rerank_score"] for hit in hits} == {None}


@pytest.mark.parametrize("precision", ["auto", "float32", "int8"])
def test_search_in_a_precision(index, precision):
    done = run("search", index, "a warm drink", "--json", "--precision", precision)
    assert json.loads(done.stdout)[0]["id"] == "n1"


def test_search_within_an_effort(index):
    arguments = ("search", index, "a warm drink", "--json", "-k", "8")
    hits = json.loads(run(*arguments, "--adaptive", "--depth", "3").stdout)
    assert [hit["depth"] for hit in hits] == [3] * 8
    hits = json.loads(run(*arguments, "--budget-ms", "60000").stdout)
    assert [hit["depth"] for hit in hits] == [8] * 8
    hits = json.loads(run(*arguments, "--budget-ms", "0.001").stdout)
    assert [(hit["depth"], hit["rerank_score"]) for hit in hits] == [(0, None)] * 8
    error = run(*arguments, "--budget-ms", "0", code=2).stderr
    assert "budget_ms must be milliseconds above zero (got 0.0)" in error


def test_search_among_some(index):
    arguments = ("search", index, "a warm drink", "--json", "--where")
    hits = json.loads(run(*arguments, "id in ('n0', 'n3')").stdout)
    assert {hit["id"] for hit in hits} == {"n0", "n3"}
    assert (
        "has a field 'year'; there are: document_id" in run(*arguments, "year > 1", code=2).stderr
    )
    assert "is no expression" in run(*arguments, "year >", code=2).stderr


def test_ask_within_an_effort(index):
    done = run("ask", index, "--json", "--budget-ms", "0.001", stdin=None, input="a warm drink\n")
    assert {hit["depth"] for hit in json.loads(done.stdout)} == {0}


def test_ask_answers_every_line_of_a_pipe(index):
    done = run("ask", index, "--json", stdin=None, input="a warm drink\n\na board game\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer[0]["id"] for answer in answers] == ["n1", "n7"]


def test_info(index):
    record = json.loads(run("info", index, "--json").stdout)
    assert record["rows"] == 8
    assert record["model"]["name"] == "all-MiniLM-L6-v2"
    assert record["cross_encoder"] == "shortlist-cross-encoder-v2"
    assert record["source"]["kind"] == "JSONL"
    assert "all-MiniLM-L6-v2" in run("info", index).stdout


def test_an_index_of_the_edition_before_says_what_reranks_it_now(index, tmp_path):
    older = tmp_path / "older.idx"
    shutil.copytree(index, older)
    replace(Manifest.read(older), cross_encoder="shortlist-cross-encoder-v1").write(older)
    now = "shortlist-cross-encoder-v1, now shortlist-cross-encoder-v2"
    assert now in run("info", older, env=os.environ | {"COLUMNS": "160"}).stdout
    asked = ("search", older, "how do plants make food?", "--json")
    there = json.loads(run("search", index, *asked[2:]).stdout)
    assert json.loads(run(*asked).stdout) == there


def test_evaluate(index, tmp_path):
    (tmp_path / "queries.jsonl").write_text(
        '{"_id": "q1", "text": "how do plants make food?"}\n{"_id": "q2", "text": "warm drink"}\n'
    )
    qrels = tmp_path / "dev.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\tn0\t1\nq2\tn1\t1\n")
    arguments = ("evaluate", index, "--queries", tmp_path / "queries.jsonl", "--qrels", qrels)
    result = json.loads(run(*arguments, "--json").stdout)
    assert result["retrieval"] == {"MRR@10": 1.0, "nDCG@10": 1.0, "Recall@100": 1.0}
    assert set(result["reranked"]) == {"MRR@10", "nDCG@10", "Recall@100"}
    assert result["queries"] == 2
    limited = json.loads(run(*arguments, "--json", "--limit-queries", "1", "-m", "Recall@1").stdout)
    assert limited["queries"] == 1
    assert list(limited["retrieval"]) == ["Recall@1"]
    assert "MRR@10" in run(*arguments).stdout
    wrong = run(*arguments, "-m", "MRR@zehn", code=2)
    assert "MRR@zehn" in wrong.stderr


def bad_inputs():
    yield "nothing.jsonl", b"", "is empty"
    yield "noise.jsonl", bytes(range(256)) * 8, "binary"
    yield "latin.jsonl", b'{"_id": "1", "text": "ok"}\n{"_id": "2", "text": "caf\xe9"}\n', ":2"
    yield "notext.jsonl", b'{"_id": "1", "text": "ok"}\n{"_id": "2"}\n', ":2"
    yield "broken.jsonl", b'{"_id": "1", "text": "ok"}\n{"_id": "2", "te', ":2"
    yield "twice.jsonl", b'{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}\n', "'1'"
    yield "nothing.xml", b"", "is empty"
    yield "page.xml", b"<html><body>no dump</body></html>", "MediaWiki"
    yield "noise.xml.bz2", bytes(range(256)), "MediaWiki"
    yield "corpus.zip", b"PK\x03\x04" + bytes(60), "unpack"
    yield "picture.png", b"\x89PNG\r\n\x1a\n" + bytes(60), ".jsonl"


@pytest.mark.parametrize(
    ("name", "content", "message"), list(bad_inputs()), ids=[name for name, _, _ in bad_inputs()]
)
def test_bad_input_is_one_clear_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    done = run("index", tmp_path / name, "-o", tmp_path / "x.idx", code=2)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("shortlist: ")
    assert message in last
    assert name in last
    assert done.stdout == ""
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_dump_that_is_cut_off_keeps_what_can_be_read(tmp_path):
    sample = Path(__file__).parents[2] / "shortlist" / "data" / "sample" / "encyclopedia.xml"
    whole = gzip.compress(sample.read_bytes())
    (tmp_path / "cut.xml.gz").write_bytes(whole[: len(whole) * 2 // 3])
    done = run("index", tmp_path / "cut.xml.gz", "-o", tmp_path / "cut.idx")
    assert "warning: " in done.stderr
    assert json.loads(run("info", tmp_path / "cut.idx", "--json").stdout)["rows"] > 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "{index}", "tea", "-k", "0"], "top_k must be at least 1 (got 0)"),
        (["search", "{index}", ""], "the query is empty"),
        (["search", "{index}", "tea", "--depth", "0"], "depth must be at least 1"),
        (["search", "{index}", "tea", "-k", "many"], "valid integer"),
        (["search", "{index}"], "QUERY"),
        (["search", "{folder}", "tea"], "is not a shortlist index"),
        (["search", "{folder}/nowhere", "tea"], "no index at"),
        (["index", "{folder}/nowhere", "-o", "{folder}/x.idx"], "nowhere"),
        (["index", "{corpus}", "-o", "{index}"], "--overwrite"),
        (["index", "{corpus}", "-o", "{folder}/x.idx", "--preset", "best"], "unknown preset"),
        (["index", "{corpus}", "-o", "{folder}/x.idx", "--bi-encoder", "no/such"], "no/such"),
        (["index", "{corpus}", "-o", "{folder}/x.idx", "--preset", "specter"], "specter"),
        (["search", "{index}", "tea", "--cross-encoder", "./nowhere"], "no model folder"),
        (["search", "{index}", "tea", "--device", "gpu"], "unknown device 'gpu'"),
        (["train", "cross-encoder", "{folder}:many", "-o", "{folder}/m"], "PATH:QUERIES"),
        (["train", "cross-encoder", "{folder}/nowhere", "-o", "{folder}/m"], "nowhere"),
        (["index", "{corpus}", "-o", "{folder}/x", "--cross-encoder", "all-MiniLM-L6-v2"], "is no"),
        (["frobnicate"], "No such command"),
    ],
)
def test_a_users_mistake_ends_with_2_and_one_line(index, corpus, tmp_path, arguments, message):
    names = {"index": index, "corpus": corpus, "folder": tmp_path}
    done = run(*(str(a).format(**names) for a in arguments), code=2)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_index_ends_with_1(index, tmp_path):
    import shutil

    shutil.copytree(index, tmp_path / "x.idx")
    (file,) = (tmp_path / "x.idx").glob("*.npy")
    file.write_bytes(file.read_bytes()[:-1])
    done = run("search", tmp_path / "x.idx", "tea", code=1)
    assert file.name in done.stderr


def test_ctrl_c_keeps_what_is_committed_and_the_same_command_goes_on(tmp_path, notes_index):
    text = "A sentence that is long enough to keep the encoder busy for a while. " * 4
    lines = (json.dumps({"_id": str(n), "text": f"{n} {text}"}) for n in range(2_500))
    (tmp_path / "big.jsonl").write_text("\n".join(lines))
    command = ["index", str(tmp_path / "big.jsonl"), "-o", str(tmp_path / "x.idx")]
    often = "import shortlist.pipeline.writer as w; w.COMMIT_SECONDS = 0.0; "
    often += "from shortlist.cli.__main__ import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", often, *command], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    committed = 0
    while not committed and time.monotonic() < deadline:
        time.sleep(0.05)
        if (tmp_path / "x.idx").exists():
            committed = len(Index(tmp_path / "x.idx"))
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    if committed == 2_500:
        pytest.skip("this machine indexes it all before the first commit is due")
    assert committed > 0, stderr
    assert process.returncode == 130
    committed = len(Index(tmp_path / "x.idx"))
    first, last = stderr.strip().splitlines()[-2:]
    assert first.startswith(f"{committed} passages are committed in")
    assert last == "shortlist: interrupted"
    assert "; unfinished: run the same" in run("info", tmp_path / "x.idx").stdout
    done = run(*command)
    assert f"going on with {committed} passages of an interrupted build" in done.stderr
    index = Index(tmp_path / "x.idx", check="full")
    assert (len(index), index.manifest.complete) == (2_500, True)
    assert [p.id for p in index.all_passages()] == [str(n) for n in range(2_500)]


def test_a_reader_that_stops_early_is_no_error(index):
    with subprocess.Popen(
        [*SHORTLIST, "search", str(index), "tea"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_an_index_is_replaced_when_asked(index, corpus, tmp_path):
    run("index", corpus, "-o", tmp_path / "x.idx", "--cross-encoder", "none")
    run("index", corpus, "-o", tmp_path / "x.idx", "--overwrite")
    record = json.loads(run("info", tmp_path / "x.idx", "--json").stdout)
    assert record["cross_encoder"] == "shortlist-cross-encoder-v2"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.idx"]


def test_no_arguments_show_the_help_and_nothing_else():
    done = run(code=2)
    assert "Usage" in done.stdout + done.stderr
    assert "shortlist: " not in done.stderr


def test_an_odd_byte_in_a_pipe_does_not_end_the_other_questions(index):
    process = subprocess.run(
        [*SHORTLIST, "ask", str(index), "--json"],
        input=b"a warm \xff drink\na board game\n",
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert len(process.stdout.splitlines()) == 2


def test_version():
    assert run("--version").stdout.startswith("shortlist 0.")


def test_every_verb_has_an_example_in_its_help():
    for verb in ("index", "search", "ask", "demo", "evaluate", "info", "train cross-encoder"):
        text = " ".join(run(*verb.split(), "--help").stdout.split())
        assert f"shortlist {verb.split()[0]}" in text
        assert "Example:" in text


def test_demo_answers_and_measures(tmp_path):
    done = run("demo", "--index", tmp_path / "demo.idx")
    assert done.stdout.count("? ") >= 5
    assert "bi-encoder's first" in done.stdout
    for measure in ("MRR@10", "nDCG@10", "Recall@100"):
        assert measure in done.stdout


def test_a_long_passage_shows_where_it_answers(tmp_path):
    """The answer stands behind what the cross-encoder reads at once; the end is never read."""
    filler = "The committee met again on Tuesday and nothing was decided about the budget. "
    answer = (
        f"{NOTES[0]} The green pigment in their leaves catches the light, and what the plant does "
        "not need at once it keeps as starch: so plants make their own food."
    )
    text = filler * 60 + answer + " " + filler * 400
    (tmp_path / "c.jsonl").write_text(json.dumps({"_id": "a", "title": "Minutes", "text": text}))
    run("index", tmp_path / "c.jsonl", "-o", tmp_path / "i")
    question = "how do plants make food?"
    (hit,) = json.loads(run("search", tmp_path / "i", question, "--json").stdout)
    start, end = hit["window"]
    assert answer in hit["text"][start:end]
    assert hit["cut_tokens"] > 1000
    shown = run("search", tmp_path / "i", question).stdout
    assert "tokens at its end were not read by the cross-encoder" in shown
    assert "… " in shown
