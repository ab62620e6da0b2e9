"""Each example runs offline, as a user starts it, and prints what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# sentence-transformers' documentation of semantic search, all-MiniLM-L6-v2
PUBLISHED = {
    "A man is eating pasta.": (None, None, "0.1889", "0.1047", "0.0980"),
    "Someone in a gorilla costume is playing a set of drums.": (
        "0.6433", "0.2564", "0.1389", "0.1191", "0.1080",
    ),
    "A cheetah chases prey on across a field.": (
        "0.8253", "0.1399", "0.1292", "0.1097", "0.0650",
    ),
}  # fmt: skip


def run(name, *arguments, stdin=""):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_semantic_search_prints_the_published_scores(exports):
    by_hand, with_function = run("semantic_search.py").split("With semantic_search")
    for shown in (by_hand, with_function):
        for query, published in PUBLISHED.items():
            found = re.findall(r"(\d\.\d{4})  ", shown.split(query)[1])[:5]
            assert [p or f for p, f in zip(published, found, strict=True)] == found


@pytest.mark.examples
def test_question_answering_over_the_sample(exports, tmp_path):
    index = tmp_path / "w.idx"
    asked = "Which ants grow a fungus?\nzxqv brrgl\n\n"
    shown = run("question_answering_wikipedia.py", "--index", index, stdin=asked)
    first, second = shown.split("Question: ")[1:3]
    assert len(re.findall(r"^\d\. ", first, re.MULTILINE)) == 5
    assert first.lstrip().startswith("1. Ant / Farmers and herders")
    assert "No good answer found." not in first
    assert "No good answer found." in second
    assert index.is_dir()
    again = run("question_answering_wikipedia.py", "--index", index, stdin=asked)
    assert again == shown  # opened, not made again


@pytest.mark.examples
def test_similar_questions_of_the_sample(exports):
    shown = run("similar_questions.py", stdin="the display of my phone is broken\n\n")
    best = shown.split("Question: ")[1].splitlines()[0]
    assert "My phone fell and the screen cracked, what should I do?" in best


@pytest.mark.examples
def test_hybrid_measures_three_engines(exports):
    pytest.importorskip("bm25s", reason="needs the extra bm25")
    figures = dict(re.findall(r"^(\S+) +(0\.\d{3})$", run("hybrid.py"), re.MULTILINE))
    assert figures.keys() == {"bm25", "exact", "exact+bm25"}
    assert float(figures["exact+bm25"]) > float(figures["bm25"])


@pytest.mark.examples
def test_a_client_of_the_api(notes_index):
    pytest.importorskip("fastapi", reason="needs the extra serve")
    command = [sys.executable, "-m", "shortlist.cli", "serve", notes_index, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = next(line for line in server.stderr if "answering at" in line)
            address = re.search(r"answering at (\S+)/ ", said)[1]
            shown = run("serve_api_client.py", "how do plants make food?", "--address", address)
        finally:
            server.terminate()
    first, last = shown.split("the answer")
    assert first.startswith("the first stage")
    assert "Plants make sugar" in last.splitlines()[1]


@pytest.mark.examples
def test_similar_publications(exports, shared_data):
    folder = shared_data / "publications"
    shown = run("similar_publications.py", "--data", folder, "--papers", 200, "--queries", 2)
    assert shown.count("\n  0.") == 6
    assert "Attending to Future Tokens for Bidirectional Sequence Generation" in shown


@pytest.mark.examples
def test_engines_find_what_the_exact_search_finds(exports):
    shown = run("engines.py")
    found = dict(re.findall(r"^(\S+) +([01]\.\d{3}) +\d", shown, re.MULTILINE))
    assert found["exact"] == "1.000"
    assert len(found) > 1
    assert min(map(float, found.values())) > 0.9


@pytest.mark.examples
def test_models_are_measured_on_both_kinds_of_task(exports):
    shown = run("evaluate_models.py", "--queries", 40)
    rows = re.findall(r"^(\w+) +(\S+) +(0\.\d+) +(0\.\d+)$", shown, re.MULTILINE)
    measured = {(task, preset): (float(a), float(b)) for task, preset, a, b in rows}
    assert len(measured) == 4
    retrieval, both = measured["symmetric", "minilm"]
    assert retrieval > both  # of pairs of questions one stage is enough
    assert measured["asymmetric", "minilm"][0] > measured["asymmetric", "fast"][0]


@pytest.mark.examples
def test_a_bi_encoder_is_trained_on_quora(exports, shared_data):
    shown = run("train_bi_encoder_quora.py", "--data", shared_data / "quora")
    assert re.search(r"^4\d\d pairs, [34] steps, loss", shown, re.MULTILINE)  # of 500 questions
    assert len(re.findall(r"nDCG@10 (?:before|after) +(?:0\.[89]|1\.0)\d+", shown)) == 2


@pytest.mark.examples
def test_a_cross_encoder_is_trained_on_msmarco(exports, shared_data):
    shown = run("train_cross_encoder_msmarco.py", "--data", shared_data / "msmarco")
    assert re.search(r"^(\d+) questions, \d+ steps$", shown, re.MULTILINE)
    figures = dict(re.findall(r"MRR@10 (.+?) +([01]\.\d+)", shown))
    assert figures.keys() == {"retrieval", "logit alone", "both stages"}


def test_every_example_is_short_and_run_here():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < 60, path
        assert f'run("{path.name}"' in Path(__file__).read_text(), path
