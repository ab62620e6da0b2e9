"""`python -m shortlist.evaluation`: every system on every dataset, kept, with a report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import pytrec_eval

from shortlist.cli.__main__ import run
from shortlist.cli.datasets import app
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries, write_queries
from shortlist.pipeline.pipeline import RetrieveRerankPipeline

SAMPLE = Path(__file__).resolve().parents[2] / "shortlist" / "data" / "sample"
SYMMETRIC = SAMPLE / "similar_questions"
CHEAP = ["--system", "fast", "--system", "bm25", "--cross-encoder", "none"]


def script(capsys, *arguments):
    """Exit code, stdout and stderr of the script run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["evaluation", *map(str, arguments)])
        with pytest.raises(SystemExit, match=r"^\d+$") as leaving:
            run(app)
    captured = capsys.readouterr()
    return leaving.value.code, captured.out, captured.err


@pytest.fixture(scope="module")
def finished(tmp_path_factory, exports):
    """The symmetric sample, measured once by a process of its own."""
    output = tmp_path_factory.mktemp("evaluation")
    command = [sys.executable, "-m", "shortlist.evaluation", "--dataset", SYMMETRIC, *CHEAP]
    done = subprocess.run(
        [*command, "--task", "symmetric", "-o", output], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return output, done


def test_it_writes_a_study_a_table_and_a_report(finished):
    output, done = finished
    study = json.loads((output / "similar_questions-dev.json").read_text())
    assert {system["name"] for system in study["systems"]} == {"fast", "bm25"}
    assert study["task"]["kind"] == "symmetric"
    assert "<html" in (output / "similar_questions-dev.html").read_text()
    for system in study["systems"]:
        figure = f"{system['mean']['nDCG@10']:.4f}"
        assert figure in (output / "similar_questions-dev.md").read_text()
    assert study["recommendation"]["system"] in (output / "summary.md").read_text()
    assert "recommended" in done.stdout


def test_its_figures_are_those_of_trec_eval(finished, tmp_path):
    study = json.loads((finished[0] / "similar_questions-dev.json").read_text())
    (fast,) = (system for system in study["systems"] if system["name"] == "fast")
    from shortlist.data.collections import read_table
    from shortlist.data.ledger import Ledger

    queries = read_queries(SYMMETRIC / "queries.jsonl")
    qrels = read_qrels(SYMMETRIC / "qrels" / "dev.tsv")
    passages = read_table(SYMMETRIC / "corpus.jsonl", Ledger())
    pipeline = RetrieveRerankPipeline.build(passages, tmp_path / "i.idx", preset="fast")
    answers = pipeline.search_many([queries[i] for i in qrels], top_k=101, rerank=False)
    found = {
        query: {hit.id: -float(hit.rank) for hit in hits if hit.id != query}
        for query, hits in zip(qrels, answers, strict=True)
    }
    values = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(found)
    mean = sum(value["ndcg_cut_10"] for value in values.values()) / len(qrels)
    assert fast["mean"]["nDCG@10"] == pytest.approx(mean, abs=1e-9)


def test_misspellings_are_measured_beside_keyword_search(finished):
    study = json.loads((finished[0] / "similar_questions-dev.json").read_text())
    said = [s for s in study["robustness_sentences"] if s.startswith("With misspellings")]
    assert len(said) == 1
    assert "fast" in said[0] and "bm25" in said[0]


def test_what_is_done_is_kept_and_another_option_is_not(finished, capsys):
    output = finished[0]
    again = ["--dataset", SYMMETRIC, *CHEAP, "-o", output]
    before = (output / "similar_questions-dev.json").stat().st_mtime_ns
    code, _, err = script(capsys, *again, "--task", "symmetric")
    assert code == 0
    assert "kept from before" in err
    assert (output / "similar_questions-dev.json").stat().st_mtime_ns == before
    code, _, err = script(capsys, *again, "--no-robustness")
    assert code == 0
    assert "kept from before" not in err


def test_queries_in_other_languages_are_asked_where_a_model_speaks_them(
    tmp_path, capsys, monkeypatch
):
    shutil.copytree(SYMMETRIC, tmp_path / "questions")
    queries = read_queries(SYMMETRIC / "queries.jsonl")
    shouted = {query: f"{text.upper()} xyzzy" for query, text in queries.items()}
    write_queries(shouted, tmp_path / "questions" / "queries_xx.jsonl")
    monkeypatch.setattr("shortlist.cli.datasets._is_multilingual", lambda name: name == "fast")
    code, _, err = script(
        capsys, "--dataset", tmp_path / "questions", *CHEAP, "-o", tmp_path / "out"
    )
    assert code == 0, err
    study = json.loads((tmp_path / "out" / "questions-dev.json").read_text())
    rows = [row for row in study["robustness"] if row["change"] == "xx"]
    assert {row["system"] for row in rows} == {"fast", "bm25"}
    assert all(row["queries"] == study["dataset"]["queries"] for row in rows)


def test_a_change_anywhere_in_the_folder_is_measured_anew(tmp_path, capsys):
    shutil.copytree(SYMMETRIC, tmp_path / "questions")
    output = tmp_path / "questions" / "evaluation"  # its own files are no change
    again = ["--dataset", tmp_path / "questions", *CHEAP, "--no-robustness", "-o", output]
    assert script(capsys, *again)[0] == 0
    assert "kept from before" in script(capsys, *again)[2]
    qrels = tmp_path / "questions" / "qrels" / "dev.tsv"
    qrels.write_text("\n".join(qrels.read_text().splitlines()[:-1]) + "\n")
    assert "kept from before" not in script(capsys, *again)[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "nowhere"], "expected a folder"),
        (["--dataset", SYMMETRIC, "--split", "gold"], "no judgements for 'gold'"),
        (["--dataset", SYMMETRIC, "--depth", "0"], "--depth must be 1 or more"),
        (["--dataset", SYMMETRIC, "--task", "both"], "symmetric"),
        (["--dataset", SYMMETRIC, "--dataset", SYMMETRIC], "two datasets have one name"),
        (["--dataset", SYMMETRIC, "-m", "quality"], "quality"),
    ],
)
def test_a_mistake_is_one_line_and_2(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = script(capsys, *arguments)
    assert code == 2 or "nowhere" in arguments
    assert said in err
    assert out == ""
    with suppress(FileNotFoundError):
        assert not list((tmp_path / "evaluation").glob("*.json"))
