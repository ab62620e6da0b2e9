"""`shortlist choose` as it is typed: what it prints, writes and keeps, and what it refuses.

Figures are those of pipelines made and searched here, scored by pytrec_eval.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytrec_eval
from lxml import html
from test_cli import run
from typer.testing import CliRunner

from shortlist import RetrieveRerankPipeline
from shortlist.cli.__main__ import app
from shortlist.errors import ShortlistError
from shortlist.models.cross_encoder import CrossEncoder
from shortlist.pipeline.bm25 import BM25Pipeline
from shortlist.records import Passage

TEXTS = {
    "Leaves in hot water": "Tea is made by pouring hot water over the dried leaves of an evergreen "
    "shrub. Black and green tea come from one plant; what differs is how long the leaf meets air.",
    "Rivers of slow ice": "A glacier flows downhill under its own weight, slower than any stream. "
    "Where it ends, it leaves a wall of stones that it has carried down from the mountains.",
    "Sugar out of light": "Plants turn water, air and sunshine into sugar, and let oxygen go. "
    "Nearly every food chain on land and in the sea begins with what they make in this manner.",
    "Held between the knees": "The cello sounds an octave lower than the viola. Its four strings "
    "are tuned in fifths, and its player sits, for the instrument stands on a spike.",
    "Learning before the illness": "A vaccine teaches the immune system to recognise a germ before "
    "it meets it. Some hold a weakened germ, and some only the plan of a part of one.",
    "A lamp against rocks": "A lighthouse warns ships with a beam that can be seen for miles. Each "
    "has a rhythm of its own, by which sailors tell it from its neighbours along the coast.",
    "Dances in the dark": "Bees tell each other where flowers are by dancing in the hive. The "
    "angle of the dance is the direction from the sun, and its length is the distance to fly.",
    "Sixteen pieces each side": "Chess is played on sixty-four squares. The game ends when a king "
    "is attacked and has no way out, or when nobody can win any more and both shake hands.",
    "Twice a day it rises": "The sea swells and sinks because the moon pulls at it. Twice a month "
    "sun and moon pull in one line, and then high and low water are furthest from each other.",
    "Pages from single letters": "Movable type lets a page be set and printed many times. Books "
    "became cheap enough, within fifty years, for small towns to have a library of their own.",
    "Mountains that breathe fire": "A volcano is an opening through which molten rock and ash "
    "reach the surface. Thin lava builds broad shields, thick lava steep cones that may burst.",
    "Hunting without a sound": "An owl hears with ears of unequal height and knows how high its "
    "prey is. The feathers of its wings are combed at the edge, so that its flight is silent.",
}
PASSAGES = [Passage(f"n{n}", text, title) for n, (title, text) in enumerate(TEXTS.items())]
QUESTIONS = {
    "q0": "How is green tea made?",
    "q1": "What moves stones down from mountains?",
    "q2": "How do plants make food?",
    "q3": "Which instrument is lower than a viola?",
    "q4": "How does the body get to know a germ?",
    "q5": "What warns sailors of the coast?",
    "q6": "How does an insect show the way to a flower?",
    "q7": "When is a game of chess over?",
    "q8": "Why is the water higher at full moon?",
    "q9": "What made books cheap?",
    "q10": "What comes out of a volcano?",
}
QRELS = {f"q{n}": {f"n{n}": 2} for n in range(11)}
QRELS["q1"]["n10"] = 1
QRELS["q5"]["n8"] = 0
pytestmark = pytest.mark.usefixtures("notes_index")  # both stages are exported by then


def choose(*arguments: object) -> tuple[str, str]:
    """Standard output and standard error; what is raised goes on."""
    command = ["choose", *map(str, arguments)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout, done.stderr


def answer(*arguments: object) -> dict[str, Any]:
    found = json.loads(choose(*arguments, "--json")[0])
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with questions and judgements, and the same texts as notes."""
    made = tmp_path_factory.mktemp("choose")
    rows = [{"_id": p.id, "title": p.title, "text": p.text} for p in PASSAGES]
    (made / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (made / "queries.tsv").write_text("".join(f"{i}\t{text}\n" for i, text in QUESTIONS.items()))
    lines = [f"{i} 0 {p} {grade}" for i, grades in QRELS.items() for p, grade in grades.items()]
    (made / "dev.qrels").write_text("\n".join(lines) + "\n")
    (made / "notes").mkdir()
    for title, text in TEXTS.items():
        name = title.lower().replace(" ", "-")
        (made / "notes" / f"{name}.md").write_text(f"# {title}\n\n{text}\n")
    return made


@pytest.fixture(scope="module")
def judged(folder: Path) -> list[object]:
    """The corpus, its questions and its judgements, as they are typed."""
    given = {"--queries": "queries.tsv", "--qrels": "dev.qrels"}
    options = [part for option, name in given.items() for part in (option, folder / name)]
    return [folder / "corpus.jsonl", *options]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work") / "kept"


@pytest.fixture(scope="module")
def found(judged: list[object], work: Path) -> dict[str, Any]:
    """What is found with judgements."""
    systems = ["--system", "bm25", "--system", "fast", "--depth", "2", "--depth", "6"]
    return answer(*judged, *systems, "--work", work)


def by_trec_eval(
    rankings: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]] = QRELS
) -> dict[str, float]:
    """Means over the judged queries by trec_eval's C code; a query without a ranking is zero."""
    run = {i: {p: -float(n) for n, p in enumerate(ids)} for i, ids in rankings.items() if ids}
    evaluator = pytrec_eval.RelevanceEvaluator(
        {i: dict(grades) for i, grades in qrels.items()}, {"ndcg_cut.10", "recip_rank"}
    )
    values = evaluator.evaluate(run).values()
    names = {"nDCG@10": "ndcg_cut_10", "MRR": "recip_rank"}
    return {ours: sum(v[name] for v in values) / len(qrels) for ours, name in names.items()}


# what is found


def test_figures_are_those_of_pipelines_made_by_hand(found: dict[str, Any], tmp_path: Path) -> None:
    model = CrossEncoder.load("shortlist-cross-encoder-v2", precision="auto")
    RetrieveRerankPipeline.build(PASSAGES, tmp_path / "x.idx", preset="fast")
    searchers: dict[str, Any] = {
        "bm25": BM25Pipeline(PASSAGES, model),
        "fast": RetrieveRerankPipeline.open(tmp_path / "x.idx", cross_encoder=model),
    }
    assert {s["name"] for s in found["systems"]} == {
        f"{name}{rest}" for name in searchers for rest in ("", " + rerank 2", " + rerank 6")
    }
    for system in found["systems"]:
        depth = system["depth"]
        answers = searchers[system["retriever"]].search_many(
            list(QUESTIONS.values()), top_k=12, depth=depth or 1, rerank=depth > 0
        )
        rankings = {i: [hit.id for hit in hits] for i, hits in zip(QUESTIONS, answers, strict=True)}
        assert system["mean"]["nDCG@10"] == pytest.approx(by_trec_eval(rankings)["nDCG@10"])
    assert len({system["mean"]["nDCG@10"] for system in found["systems"]}) > 2


def test_json_has_the_documented_names_and_stdout_nothing_else(found: dict[str, Any]) -> None:
    assert list(found) == [
        "title", "created_by", "created", "dataset", "task", "measures", "primary", "counts",
        "warnings", "recommendation", "systems", "comparisons", "depth_curves", "robustness",
        "robustness_sentences", "kinds", "environment",
    ]  # fmt: skip
    assert found["dataset"] | {"name": ""} == {
        "name": "", "split": None, "known_item": False, "sampled_from": None, "passages": 12,
        "queries": 11, "of_queries": 11,
    }  # fmt: skip
    assert found["counts"] == {
        "judged": 11, "retrieved": 11, "unjudged": 0, "without_relevant": 0, "missing": 0,
        "dangling": 0,
    }  # fmt: skip
    assert found["task"]["kind"] == "asymmetric"
    assert (found["measures"], found["primary"]) == (["nDCG@10", "MRR@10", "Recall@100"], "nDCG@10")
    assert found["warnings"] == []
    (recommended,) = [s for s in found["systems"] if s["recommended"]]
    assert found["recommendation"]["system"] == recommended["name"]
    best = max(s["mean"]["nDCG@10"] for s in found["systems"])
    assert recommended["mean"]["nDCG@10"] >= 0.99 * best
    assert [curve["retriever"] for curve in found["depth_curves"]] == ["bm25", "fast"]
    assert len(found["comparisons"]) == 5


def test_measures_are_those_that_were_asked_for_and_the_first_decides(
    judged: list[object], work: Path
) -> None:
    found = answer(
        *judged, "--system", "fast", "--cross-encoder", "none", "--work", work, "-m", "recip_rank",
        "-m", "P@3",
    )  # fmt: skip
    assert (found["measures"], found["primary"]) == (["MRR", "P@3"], "MRR")
    (system,) = found["systems"]
    assert (system["name"], system["cross_encoder"], system["depth"]) == ("fast", None, 0)
    assert found["comparisons"] == []
    assert found["depth_curves"][0]["knee"] is None


def test_what_was_encoded_and_scored_is_kept_for_the_next_time(
    judged: list[object], work: Path, found: dict[str, Any]
) -> None:
    before = {file: file.stat().st_mtime_ns for file in work.rglob("*") if file.is_file()}
    assert {file.suffix for file in before} >= {".parquet", ".npy", ".json"}
    systems = ["--system", "bm25", "--system", "fast", "--depth", "2", "--depth", "6"]
    again = answer(*judged, *systems, "--work", work)
    after = {file: file.stat().st_mtime_ns for file in work.rglob("*") if file.is_file()}
    assert after == before
    means = [{s["name"]: s["mean"] for s in study["systems"]} for study in (found, again)]
    assert means[0] == means[1]


def test_the_report_is_one_file_with_every_system(
    judged: list[object], work: Path, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    systems = ["--system", "bm25", "--system", "fast", "--depth", "2", "--depth", "6"]
    out, err = choose(*judged, *systems, "--work", work, "--report", page)
    assert f"report: {page}" in err
    assert "Leaves in hot water" not in out
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    text = html.fromstring(page.read_text(encoding="utf-8")).text_content()
    for words in ("fast + rerank 6", "bm25 + rerank 2", "asymmetric", "How is green tea made?"):
        assert words in text


def test_the_table_says_what_json_says_and_the_command_works(
    judged: list[object], work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--system", "fast", "--depth", "4", "--work", work]
    found = answer(*judged, *options)
    out, _ = choose(*judged, *options)
    assert "The task looks asymmetric." in out
    assert "11 queries, 12 passages" in out
    for system in found["systems"]:
        low, high = system["interval"]["nDCG@10"]
        assert f"{system['mean']['nDCG@10']:.3f}" in out
        assert f"({low:.3f}–{high:.3f})" in out
    (arrow,) = [line for line in out.splitlines() if "→" in line]
    (recommended,) = [system for system in found["systems"] if system["recommended"]]
    assert arrow.split("┃")[0].split("│")[1].strip() == f"→ {recommended['name']}"
    command = out.strip().splitlines()[-1]
    assert command == found["recommendation"]["command"]
    assert ("--cross-encoder none" in command) == (recommended["depth"] == 0)
    assert ("--depth 4" in command) == (recommended["depth"] == 4)
    monkeypatch.chdir(tmp_path)
    for part in command.split(" && "):
        words = shlex.split(part)
        assert words[0] == "shortlist"
        done = CliRunner().invoke(app, words[1:], catch_exceptions=False)
        assert done.exit_code == 0
    assert done.stdout.startswith(" 1. ")
    (made,) = tmp_path.glob("*.idx")
    assert made.name == f"{found['dataset']['name']}.idx"


# without judgements


@pytest.mark.parametrize("own_queries", [False, True])
def test_without_judgements_queries_are_made_and_that_is_said(
    folder: Path, work: Path, own_queries: bool
) -> None:
    given = ["--queries", folder / "queries.tsv"] if own_queries else []
    options = ["--system", "bm25", "--system", "fast", "--cross-encoder", "none", "--work", work]
    found = answer(folder / "notes", *given, *options)
    out, err = choose(folder / "notes", *given, *options)
    warning = "no judgements were given: 12 queries were made from the passages (12 by title)"
    assert f"warning: {warning}" in err
    assert found["warnings"][0].startswith(warning)
    assert "which flatters keyword search" in err
    assert found["dataset"]["known_item"] is True
    assert (found["dataset"]["name"], found["dataset"]["queries"]) == ("notes", 12)
    assert "12 known-item queries, 12 passages" in out
    assert found["task"]["kind"] == ("asymmetric" if own_queries else "unclear")
    # the titles were taken out of the index: keyword search finds them no more where the text
    # has none of their words
    means = {system["name"]: system["mean"] for system in found["systems"]}
    untitled = [Passage(p.id, p.text) for p in PASSAGES]
    answers = BM25Pipeline(untitled).search_many(list(TEXTS), top_k=12, depth=1)
    rankings = {f"t{n}": [hit.id for hit in hits] for n, hits in enumerate(answers)}
    qrels = {f"t{n}": {f"n{n}": 1} for n in range(12)}
    expected = by_trec_eval(rankings, qrels)["nDCG@10"]
    assert means["bm25"]["nDCG@10"] == pytest.approx(expected)
    assert expected < 1


def test_by_default_every_system_of_this_machine_is_measured(folder: Path, tmp_path: Path) -> None:
    done = run(
        "choose", folder / "notes", "--depth", "2", "--limit-queries", "3", "--json",
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "none")},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert {s["retriever"] for s in found["systems"]} == {"bm25", "minilm", "fast"}
    assert len(found["systems"]) == 6
    assert (found["dataset"]["queries"], found["dataset"]["of_queries"]) == (3, 3)
    assert "fast: preparing 12 passages" in done.stderr
    assert not list(tmp_path.iterdir())


# parts


def test_a_part_of_the_passages_keeps_the_judged_ones_and_says_that_it_is_a_part(
    folder: Path, tmp_path: Path
) -> None:
    qrels = tmp_path / "few.qrels"
    qrels.write_text("q0 0 n0 1\nq3 0 n3 1\nq7 0 n7 1\nq7 0 n2 0\n")
    options = ["--system", "fast", "--cross-encoder", "none", "--limit-passages", "6"]
    arguments = [folder / "corpus.jsonl", "--queries", folder / "queries.tsv", "--qrels", qrels]
    found = answer(*arguments, *options)
    assert (found["dataset"]["passages"], found["dataset"]["sampled_from"]) == (6, 12)
    assert found["counts"]["dangling"] == 0
    assert found["counts"]["unjudged"] == 8
    (warning,) = found["warnings"]
    assert warning.startswith("6 of 12 passages were searched, the judged ones among them")
    whole = answer(*arguments, *options[:-1], "0")
    assert (whole["dataset"]["passages"], whole["dataset"]["sampled_from"]) == (12, None)


def test_a_limit_of_queries_takes_a_sample_of_those_that_are_judged(
    judged: list[object], work: Path
) -> None:
    options = ["--system", "fast", "--cross-encoder", "none", "--work", work]
    found = answer(*judged, *options, "--limit-queries", "4")
    assert (found["dataset"]["queries"], found["dataset"]["of_queries"]) == (4, 11)
    assert found["counts"]["judged"] == 4


def test_a_query_can_be_kept_from_finding_itself(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    texts = {f"d{n}": text for n, text in enumerate(QUESTIONS.values())}
    texts |= {f"e{n}": f"Tell me, {text.lower()}" for n, text in enumerate(QUESTIONS.values())}
    corpus.write_text("".join(json.dumps({"_id": i, "text": t}) + "\n" for i, t in texts.items()))
    queries, qrels = tmp_path / "queries.tsv", tmp_path / "dev.qrels"
    queries.write_text("".join(f"d{n}\t{texts[f'd{n}']}\n" for n in range(11)))
    qrels.write_text("".join(f"d{n} 0 e{n} 1\n" for n in range(11)))
    arguments = [corpus, "--queries", queries, "--qrels", qrels, "--system", "fast"]
    options = ["--cross-encoder", "none", "-m", "Success@1"]
    with_self = answer(*arguments, *options)
    without = answer(*arguments, *options, "--exclude-self")
    assert with_self["systems"][0]["mean"] == {"Success@1": 0.0}
    assert without["systems"][0]["mean"] == {"Success@1": 1.0}
    assert without["task"]["kind"] == "symmetric"


# what must be known with the figures


def test_judged_queries_without_a_text_are_warned_of(
    judged: list[object], folder: Path, tmp_path: Path
) -> None:
    qrels = tmp_path / "dev.qrels"
    qrels.write_text((folder / "dev.qrels").read_text() + "lost 0 n1 1\n")
    options = ["--system", "fast", "--cross-encoder", "none", "-m", "MRR@10"]
    whole = answer(*judged, *options)
    found = answer(*judged[:-1], qrels, *options)
    said = "1 judged queries have no text and count as zero: ['lost']"
    assert said in found["warnings"]
    assert found["counts"]["missing"] == 1
    means = [study["systems"][0]["mean"]["MRR@10"] for study in (whole, found)]
    assert means[1] == pytest.approx(means[0] * 11 / 12)
    assert f"warning: {said}" in choose(*judged[:-1], qrels, *options)[1]


def test_a_model_that_was_made_for_another_task_is_warned_of(
    judged: list[object], work: Path
) -> None:
    options = ["--cross-encoder", "none", "--work", work]
    _, err = choose(*judged, "--system", "minilm-symmetric", *options)
    assert (
        "warning: minilm-symmetric: the model was made for symmetric search (texts of one kind "
        "that say the same), but the data look like asymmetric search" in err
    )
    _, err = choose(*judged, "--system", "fast", *options)
    assert "warning" not in err


def test_titles_that_are_the_queries_are_not_indexed(folder: Path, tmp_path: Path) -> None:
    queries, qrels = tmp_path / "queries.tsv", tmp_path / "dev.qrels"
    queries.write_text("".join(f"t{n}\t{title}\n" for n, title in enumerate(TEXTS)))
    qrels.write_text("".join(f"t{n} 0 n{n} 1\n" for n in range(12)))
    found = answer(
        folder / "corpus.jsonl", "--queries", queries, "--qrels", qrels, "--system", "bm25",
        "--cross-encoder", "none",
    )  # fmt: skip
    assert found["warnings"][0].startswith(
        "100% of the queries are titles of passages: titles were"
    )
    assert found["systems"][0]["mean"]["nDCG@10"] < 1


# mistakes


def wrong(*arguments: object) -> tuple[str, str]:
    """The message and standard error of a command that must fail as a user's mistake."""
    done = CliRunner().invoke(app, ["choose", *map(str, arguments)])
    assert isinstance(done.exception, ShortlistError), done.exception
    assert done.exception.exit_code == 2
    assert done.stdout == ""
    return str(done.exception), done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--depth", "0"], "--depth must be 1 or more, got 0"),
        (["--depth", "10", "--depth", "-3"], "--depth must be 1 or more, got -3"),
        (["--limit-queries", "0"], "--limit-queries must be 1 or more, got 0"),
        (["--limit-passages", "-1"], "--limit-passages must be 1 or more, got -1"),
        (["-m", "best"], "unknown measure 'best'"),
        (["--report", "nowhere/report.html"], "--report nowhere/report.html: give the path of a"),
        (["--report", "."], "--report .: give the path of a file in a folder that exists"),
        (["--qrels", "dev.qrels"], "--qrels judges queries that were not given; add --queries"),
        (["--queries", "no.tsv"], "no.tsv"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(folder)
    said, err = wrong("corpus.jsonl", *options)
    assert message in said
    assert err == ""


def test_nothing_that_is_read_is_written_over(
    judged: list[object], folder: Path, tmp_path: Path
) -> None:
    before = {file.name: file.read_bytes() for file in folder.glob("*.*")}
    for given in ("corpus.jsonl", "queries.tsv", "dev.qrels"):
        said, _ = wrong(*judged, "--system", "bm25", "--report", folder / given)
        assert "is read and would be written over" in said
    said, _ = wrong(*judged, "--work", folder / "corpus.jsonl")
    assert "corpus.jsonl is a file; give a folder" in said
    assert {file.name: file.read_bytes() for file in folder.glob("*.*")} == before


def test_judgements_of_other_queries_and_systems_that_are_not_here_are_mistakes(
    folder: Path, judged: list[object], tmp_path: Path
) -> None:
    qrels = tmp_path / "other.qrels"
    qrels.write_text("x1 0 n1 1\n")
    options = ["--system", "fast", "--cross-encoder", "none"]
    said, _ = wrong(*judged[:-1], qrels, *options)
    assert "no judged query is among the queries given" in said
    assert "'q0'" in said
    assert "'x1'" in said
    said, err = wrong(*judged, "--system", "fast", "--system", "slow")
    assert "'slow'" in said
    assert "systems on this machine: bm25, minilm, fast" in said
    assert "preparing" not in err
    said, _ = wrong(*judged, "--system", "fast", "--cross-encoder", "nobody/nothing")
    assert "nobody/nothing" in said


def test_texts_that_no_query_can_be_made_from_are_a_mistake(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(
        "".join(json.dumps({"_id": str(n), "text": f"Word {n}"}) + "\n" for n in range(9))
    )
    said, _ = wrong(corpus, "--system", "bm25")
    assert "no known-item query can be made from 9 passages" in said


def test_a_mistake_is_one_line_on_stderr(folder: Path) -> None:
    done = run("choose", folder / "corpus.jsonl", "--depth", "0", code=2)
    assert (done.stdout, done.stderr) == ("", "shortlist: --depth must be 1 or more, got 0\n")
    done = run("choose", folder / "nothing", code=2)
    assert done.stderr.startswith("shortlist: ")
    assert done.stderr.count("\n") == 1


def test_queries_that_find_themselves_are_warned_of(tmp_path: Path) -> None:
    sample = Path(__file__).resolve().parents[2] / "shortlist/data/sample/similar_questions"
    given = [sample, "--queries", sample / "queries.jsonl", "--qrels", sample / "qrels/dev.tsv"]
    cheap = ["--system", "fast", "--cross-encoder", "none", "--work", tmp_path]
    assert "--exclude-self" in choose(*given, *cheap)[1]
    assert "--exclude-self" not in choose(*given, *cheap, "--exclude-self")[1]
