"""`--engine`, `shortlist tune`, `fuse` and `push`, as they are typed."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import ir_measures
import pytest
from notes import NOTES
from test_cli import run

ROWS = 1_500
QUESTION = "which lamp warns ships of rocks and is seen for miles?"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """1,500 texts of the words of eight notes, judged questions, an index with an engine."""
    home = tmp_path_factory.mktemp("engines")
    rng = random.Random(4)  # noqa: S311
    words = sorted({word for note in NOTES for word in note.split()})
    texts = NOTES + [" ".join(rng.sample(words, 9)) for _ in range(ROWS - len(NOTES))]
    rows = [{"_id": f"p{n}", "text": text, "half": n % 2} for n, text in enumerate(texts)]
    (home / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions = ["how do plants make sugar", "how is tea made", QUESTION, "what do bees dance for"]
    lines = [json.dumps({"_id": f"q{n}", "text": text}) for n, text in enumerate(questions)]
    (home / "queries.jsonl").write_text("\n".join(lines) + "\n")
    judged = [("q0", "p0"), ("q1", "p1"), ("q2", "p5"), ("q3", "p6")]
    qrels = "".join(f"{query}\t{passage}\t1\n" for query, passage in judged)
    (home / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    done = run(
        "index", home / "corpus.jsonl", "-o", home / "x.idx", "--preset", "fast",
        "--engine", "hnswlib",
    )  # fmt: skip
    assert "engine hnswlib: recall@30 " in done.stderr
    assert " of the exact search's, with " in done.stderr
    return home


def hits(home, *options):
    done = run("search", home / "x.idx", QUESTION, "--json", *options)
    return json.loads(done.stdout), done.stderr


def test_an_engine_answers_as_the_exact_search_does(home):
    exact, said = hits(home)
    assert "engine" not in said
    found, said = hits(home, "--engine", "hnswlib")
    assert found[0]["id"] == exact[0]["id"]
    assert found[0]["score"] == pytest.approx(exact[0]["score"], abs=3e-7)
    assert len({hit["id"] for hit in found} & {hit["id"] for hit in exact}) >= 4
    assert "engine hnswlib: recall@30" in said
    assert exact[0]["id"] == "p5"
    even, _ = hits(home, "--engine", "hnswlib", "--where", "half == 1")
    assert all(hit["metadata"]["half"] == 1 for hit in even)


def test_words_and_both(home):
    words, said = hits(home, "--engine", "bm25", "--no-rerank")
    assert {hit["score_kind"] for hit in words} == {"bm25"}
    assert words[0]["id"] == "p5"
    assert "recall" not in said
    both, _ = hits(home, "--engine", "exact+bm25", "--no-rerank", "--fuse", "rrf")
    assert both[0]["id"] == "p5"
    assert both[0]["score"] == pytest.approx(2 / 61)  # first in both
    reranked, _ = hits(home, "--engine", "hnswlib+bm25")
    assert reranked[0]["id"] == "p5"


def test_what_an_engine_reaches_is_written_down(home):
    done = run("tune", home / "x.idx", "--engine", "annoy", "-k", "10", "--target-recall", "0.9")
    assert "annoy: recall 0.9 wanted, 1,500 passages" in done.stdout
    measured = json.loads(
        run("tune", home / "x.idx", "--engine", "annoy", "-k", "10", "--json").stdout
    )
    found = measured[0]
    assert found["top_k"] == 10
    assert found["recall"] >= found["target"] == 0.99
    assert set(found["effort"]) == {"search_k"}
    info = json.loads(run("info", home / "x.idx", "--json").stdout)
    engines = {record["engine"]: record for record in info["engines"]}
    assert {"annoy", "hnswlib"} <= set(engines)
    assert engines["annoy"]["measured"] == measured
    assert "annoy (annoy 1." in run("info", home / "x.idx").stdout


def test_evaluation_names_its_engine(home, tmp_path):
    arguments = ("evaluate", home / "x.idx", "--queries", home / "queries.jsonl")
    arguments += ("--qrels", home / "qrels.tsv", "-m", "MRR@10", "--json")
    plain = json.loads(run(*arguments).stdout)
    done = json.loads(run(*arguments, "--engine", "hnswlib").stdout)
    assert plain["engine"] is None
    assert done["engine"]["name"] == "hnswlib"
    assert done["engine"]["measured"]["recall"] >= 0.99
    assert done["retrieval"] == plain["retrieval"]


def test_runs_are_fused(home, tmp_path):
    """As the definition says: the sum over the runs of 1 / (60 + rank)."""
    for engine in ("exact", "bm25"):
        run(
            "search", home / "x.idx", "--queries", home / "queries.jsonl", "--no-rerank",
            "--engine", engine, "-k", "20", "-o", tmp_path / f"{engine}.trec",
        )  # fmt: skip
    both = [tmp_path / "exact.trec", tmp_path / "bm25.trec"]
    done = run("fuse", *both, "-o", tmp_path / "both.trec", "--depth", "20")
    assert "4 queries" in done.stderr
    expected: dict[tuple[str, str], float] = {}
    for path in both:
        for line in path.read_text().splitlines():
            query, _, passage, rank, *_ = line.split()
            expected[query, passage] = expected.get((query, passage), 0) + 1 / (60 + int(rank))
    fused = {
        (scored.query_id, scored.doc_id): scored.score
        for scored in ir_measures.read_trec_run(str(tmp_path / "both.trec"))
    }
    assert fused.keys() == expected.keys()
    assert fused == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["search", "{}", "tea", "--engine", "quick"], "no engine is named 'quick'; there are ex"),
        (["search", "{}", "tea", "--engine", "hnswlib", "--target-recall", "2"], "most 1, got 2"),
        (["search", "{}", "tea", "--engine", "bm25+bm25"], "fuses an engine with itself"),
        (["search", "{}", "tea", "--engine", "exact+bm25", "--fuse", "best"], "named 'best'"),
        (["tune", "{}", "--engine", "exact"], "no engine is named 'exact'"),
        (["tune", "{}", "--engine", "annoy", "-k", "0"], "must be 1 or more, got 0"),
        (["fuse", "{}", "-o", "x.trec"], "fusing takes two runs or more"),
        (["push", "{}", "--to", "nowhere"], "is no address of a Milvus server"),
        (["index", "--embeddings", "a", "--ids", "b", "-o", "y", "--ray", "local"], "leave --ray"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(home, options, message):
    arguments = [option.format(home / "x.idx") for option in options]
    assert message in run(*arguments, code=2, cwd=home).stderr


@pytest.mark.parametrize(
    ("engine", "extra"),
    [("faiss", "faiss"), ("milvus", "milvus"), ("exact+bm25", "bm25")],
)
def test_a_library_that_is_missing_is_named(engine, extra, home, tmp_path):
    """In an environment without it: the standard library and what shortlist always needs."""
    hidden = {"faiss": "faiss", "milvus": "pymilvus", "exact+bm25": "bm25s"}[engine]
    script = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = classmethod(\n"
        f"    lambda cls, name, *rest: None if name == {hidden!r} else find(name, *rest))\n"
        "from shortlist.cli.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "search", home / "x.idx", "tea", "--engine", engine],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2, done.stderr
    assert f"pip install 'shortlist[{extra}]'" in done.stderr
