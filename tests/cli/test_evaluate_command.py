"""`shortlist evaluate`: its numbers beside other people's, its files, what it says of wrong ones.

The run that it writes is scored by ir-measures' own reader and provider pytrec_eval, which is
trec_eval's C code (MRR@10: MS MARCO's script); other orders are made anew by searching; p-values
are counted over all 2^n signs; Markdown is read by markdown-it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
from notes import NOTES
from test_cli import run
from test_compare_command import tables
from typer.testing import CliRunner

from shortlist import RetrieveRerankPipeline
from shortlist.cli.__main__ import app
from shortlist.errors import ShortlistError
from shortlist.records import Passage

DEPTH = 6
PASSAGES = [
    "Black tea is made from leaves that were left to oxidise.",
    "Green tea is heated soon after picking, so that the leaves stay green.",
    "Tea was carried from China to Europe by Dutch ships.",
    "A pot of tea should draw for three to five minutes.",
    "Tea with milk is drunk for breakfast in Britain.",
    "The tea plant grows on cool, wet hillsides.",
    "Coffee is brewed from the roasted seeds of a shrub.",
    "The cello is held between the knees.",
    "The viola is tuned an octave above the cello.",
    "A violin has four strings and is held under the chin.",
    "The double bass is the largest string instrument of the orchestra.",
    "Cellists draw the bow across the strings or pluck them.",
    "A string quartet has two violins, a viola and a cello.",
    "The harp has forty-seven strings and seven pedals.",
]
QUERIES = {
    "q0": "how is tea made",
    "q1": "where does tea come from",
    "q2": "how long must tea stand",
    "q3": "which string instrument is the largest",
    "q4": "how is a cello played",
    "q5": "what is a string quartet | <b>members</b> *and* `parts`",
    "q6": "a hot drink",
    "q7": "who drinks tea with milk",
    "q8": "instruments that are plucked",
    "q9": "how is a violin tuned",
    "p03": PASSAGES[3],  # a passage asked for itself
    "extra": "nobody judged this",
}
RNG = np.random.default_rng(229)  # of this seed every system has figures of its own
JUDGED: dict[str, dict[str, int]] = {
    query_id: {
        f"p{p:02}": int(RNG.integers(1, 3)) for p in topic + RNG.choice(7, size=2, replace=False)
    }
    for query_id, topic in zip(
        [*QUERIES, "textless"], (0, 0, 0, 7, 7, 7, 0, 0, 7, 7, 0, 0, 0), strict=True
    )
    if query_id != "extra"
} | {"none": {"p00": 0}}
MEASURES = {
    "MRR@10": ir_measures.RR @ 10,
    "nDCG@3": ir_measures.nDCG @ 3,
    "Recall@2": ir_measures.R @ 2,
    "MAP": ir_measures.AP,
}
OPTIONS = [option for measure in MEASURES for option in ("-m", measure)]


def evaluate(*arguments: object) -> tuple[str, str]:
    """Standard output and standard error; what is raised goes on."""
    done = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout, done.stderr


def write_qrels(path: Path, judged: Mapping[str, Mapping[str, int]]) -> Path:
    lines = [f"{q} 0 {p} {grade}\n" for q, grades in judged.items() for p, grade in grades.items()]
    path.write_text("".join(lines))
    return path


def write_queries(path: Path, queries: Mapping[str, str]) -> Path:
    path.write_text("".join(json.dumps({"_id": q, "text": t}) + "\n" for q, t in queries.items()))
    return path


def per_query(lines: Any, measure: str) -> dict[str, float]:
    """What others say of each query with a relevant passage; 0 where they say nothing."""
    provider = ir_measures.msmarco if measure == "MRR@10" else ir_measures.pytrec_eval
    values = dict.fromkeys((q for q, grades in JUDGED.items() if any(grades.values())), 0.0)
    for metric in provider.iter_calc([MEASURES[measure]], JUDGED, lines):
        if metric.query_id in values:
            values[metric.query_id] = metric.value
    assert len(values) == 12
    return values


def mean(values: Mapping[str, float]) -> float:
    return math.fsum(values.values()) / len(values)


def as_run(rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    return {q: {p: -float(n) for n, p in enumerate(ids)} for q, ids in rankings.items()}


@pytest.fixture(scope="module")
def pipeline(bi_encoder, notes_index, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Both stages over short passages of two topics."""
    path = tmp_path_factory.mktemp("topics") / "topics.idx"
    passages = [Passage(f"p{n:02}", text) for n, text in enumerate(PASSAGES)]
    return RetrieveRerankPipeline.build(passages, path, bi_encoder=bi_encoder)


@pytest.fixture(scope="module")
def index(pipeline) -> Path:
    return Path(pipeline.index.path)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    folder = tmp_path_factory.mktemp("judged")
    queries = write_queries(folder / "queries.jsonl", QUERIES)
    return ("--queries", queries, "--qrels", write_qrels(folder / "dev.qrels", JUDGED))


@pytest.fixture(scope="module")
def folder(index, given, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All forms of one evaluation; what was printed stands in printed.json."""
    folder = tmp_path_factory.mktemp("evaluated")
    outputs = [
        folder / name for name in ("all.json", "all.md", "all.csv", "all.trec", "zip.run.gz")
    ]
    out, err = evaluate(
        index, *given, *OPTIONS, "--depth", DEPTH, "--curve", "--changed", 3, "--json",
        *(part for output in outputs for part in ("-o", output)),
    )  # fmt: skip
    assert [line for line in err.splitlines() if line.startswith("written: ")] == [
        f"written: {output}" for output in outputs
    ]
    (folder / "printed.json").write_text(out)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    answer = json.loads((folder / "printed.json").read_text())
    assert isinstance(answer, dict)
    return answer


@pytest.fixture(scope="module")
def orders(pipeline) -> dict[str, dict[str, list[str]]]:
    """Every system's order, searched anew; the cross-encoder alone and the ceiling by sorting."""
    both = {q: pipeline.search(text, top_k=14, depth=DEPTH) for q, text in QUERIES.items()}
    first = {q: pipeline.search(text, top_k=14, rerank=False) for q, text in QUERIES.items()}
    retrieval = {q: [hit.id for hit in hits] for q, hits in first.items()}
    logits = {q: {hit.id: hit.rerank_score for hit in hits} for q, hits in both.items()}
    return {
        "retrieval": retrieval,
        "cross_encoder": {
            q: sorted(ids[:DEPTH], key=lambda p, q=q: -logits[q][p]) + ids[DEPTH:]
            for q, ids in retrieval.items()
        },
        "reranked": {q: [hit.id for hit in hits] for q, hits in both.items()},
        "ceiling": {
            q: sorted(ids[:DEPTH], key=lambda p, q=q: -JUDGED.get(q, {}).get(p, 0)) + ids[DEPTH:]
            for q, ids in retrieval.items()
        },
    }


# numbers


@pytest.mark.parametrize("name", ["all.trec", "zip.run.gz"])
def test_the_run_scored_by_others_gives_the_printed_figures(
    folder: Path, found: dict[str, Any], name: str
) -> None:
    content = (folder / name).read_bytes()
    text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
    lines = list(ir_measures.read_trec_run(io.StringIO(text)))
    assert list(found["reranked"]) == list(MEASURES)
    for measure, value in found["reranked"].items():
        assert value == pytest.approx(mean(per_query(lines, measure)), abs=1e-9), measure
    by_query: dict[str, list[tuple[float, str]]] = {}
    for line in lines:
        by_query.setdefault(line.query_id, []).append((line.score, line.doc_id))
    assert set(by_query) == QUERIES.keys() - {"extra"}
    for scores in by_query.values():
        singles = np.array([score for score, _ in scores], dtype=np.float32)
        assert len(singles) == 14  # MAP looks at all
        assert (np.diff(singles) < 0).all()


def test_every_system_is_scored_as_others_score_its_order(
    found: dict[str, Any], orders: dict[str, dict[str, list[str]]]
) -> None:
    for system, rankings in orders.items():
        for measure in MEASURES:
            expected = mean(per_query(as_run(rankings), measure))
            assert found[system][measure] == pytest.approx(expected, abs=1e-9), (system, measure)
    means = [found[system]["nDCG@3"] for system in orders]
    assert len(set(means)) == 4  # or a test of one would be a test of another


def test_the_run_of_the_first_stage_is_its_order(
    index, given, tmp_path: Path, orders: dict[str, dict[str, list[str]]]
) -> None:
    out, _ = evaluate(
        index, *given, *OPTIONS, "--no-rerank", "--json", "-o", tmp_path / "first.trec"
    )
    answer = json.loads(out)
    assert answer["reranked"] is answer["ceiling"] is answer["curve"] is None
    assert answer["comparisons"] == {}
    lines = list(ir_measures.read_trec_run(str(tmp_path / "first.trec")))
    for measure, value in answer["retrieval"].items():
        assert value == pytest.approx(mean(per_query(lines, measure)), abs=1e-9)
    ranked = {(line.query_id, line.doc_id) for line in lines if line.score == 14}
    assert ranked == {(q, ids[0]) for q, ids in orders["retrieval"].items() if q != "extra"}


def test_values_of_each_query_are_those_of_others(
    folder: Path, orders: dict[str, dict[str, list[str]]]
) -> None:
    with (folder / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["query_id"] for row in rows] == sorted(set(JUDGED) - {"none"})
    assert {row["query_id"]: row["query"] for row in rows} == {
        q: QUERIES.get(q, "") for q in JUDGED if q != "none"
    }
    assert list(rows[0]) == ["query_id", "query"] + [f"{s} {m}" for s in orders for m in MEASURES]
    for system, rankings in orders.items():
        for measure in MEASURES:
            values = {row["query_id"]: float(row[f"{system} {measure}"]) for row in rows}
            assert values == pytest.approx(per_query(as_run(rankings), measure), abs=1e-9)


def test_the_change_is_tested_and_counted(
    found: dict[str, Any], orders: dict[str, dict[str, list[str]]]
) -> None:
    assert list(found["comparisons"]) == list(MEASURES)
    for measure, comparison in found["comparisons"].items():
        before, after = (
            np.array(list(per_query(as_run(orders[system]), measure).values()))
            for system in ("retrieval", "reranked")
        )
        differences = after - before
        assert comparison["difference"] == pytest.approx(differences.mean())
        signs = np.array(list(product((-1, 1), repeat=12)))
        as_far = np.abs((signs * differences).mean(axis=1)) >= abs(differences.mean()) - 1e-12
        assert comparison["p"] == pytest.approx(as_far.mean())
        counts = ((differences > 0).sum(), (differences == 0).sum(), (differences < 0).sum())
        assert (comparison["wins"], comparison["ties"], comparison["losses"]) == counts
        assert comparison["low"] <= comparison["difference"] <= comparison["high"]
        # what stood in the JSON before says the same
        assert found["comparison"][measure]["low"] == comparison["low"]
    assert len({c["p"] for c in found["comparisons"].values()}) > 2


def test_what_was_counted_is_said(found: dict[str, Any], orders: dict[str, Any]) -> None:
    counts = {
        "queries": 12, "judged": 12, "without_relevant": 1, "unjudged": 1, "missing": 1,
        "retrieved": 11, "dangling": 0, "depth": DEPTH, "exclude_self": False,
    }  # fmt: skip
    assert {name: found[name] for name in counts} == counts
    assert found["passages"] == {"retrieved": 154, "judged": 22, "unjudged": 132}
    assert found["latency"]["queries"] == 11
    assert set(found["latency"]) >= {"encode", "retrieve", "rerank", "first_stage", "p50", "p95"}
    assert found["footprint"]["index"] > 14 * 384 * 4
    assert found["footprint"]["bi_encoder"] > 80e6
    for system in ("retrieval", "cross_encoder", "reranked"):
        for measure, (low, high) in found["intervals"][system].items():
            assert low <= found[system][measure] <= high


def test_the_curve_is_that_of_searches_at_each_depth(found: dict[str, Any], pipeline) -> None:
    curve = found["curve"]
    assert (curve["measure"], curve["queries"]) == ("MRR@10", 12)
    assert [point["depth"] for point in curve["points"]] == [1, 2, 5, 6, 10, 20]
    reached = {}
    for point in curve["points"]:
        depth = point["depth"]
        answers = {q: pipeline.search(text, top_k=14, depth=depth) for q, text in QUERIES.items()}
        order = {q: [hit.id for hit in hits] for q, hits in answers.items()}
        reached[depth] = mean(per_query(as_run(order), "MRR@10"))
        assert point["reached"] == pytest.approx(reached[depth], abs=1e-9)
        assert point["low"] <= point["reached"] <= point["high"]
        assert point["ms"] > 0
        found_by_first = {
            q: sum(hit.retrieval_rank <= depth and hit.id in JUDGED[q] for hit in hits) / 2
            for q, hits in answers.items()
            if q != "extra"
        }
        assert point["recall"] == pytest.approx(sum(found_by_first.values()) / 12)
    best = max(reached.values())
    assert curve["knee"] == min(depth for depth in reached if reached[depth] >= 0.99 * best)


def test_the_queries_that_changed_are_shown_with_ranks(
    found: dict[str, Any], orders: dict[str, dict[str, list[str]]]
) -> None:
    changed = found["changed"]
    assert changed["measure"] == "MRR@10"
    before, after = (
        per_query(as_run(orders[system]), "MRR@10") for system in ("retrieval", "reranked")
    )
    for name, sign in (("gained", 1), ("lost", -1)):
        sizes = sorted((round(-sign * (after[q] - before[q]), 9), q) for q in before)
        assert [row["query"] for row in changed[name]] == [q for s, q in sizes if s < 0][:3]
        assert changed[name], name
        for row in changed[name]:
            q = row["query"]
            assert row["text"] == QUERIES[q]
            assert (row["before"], row["after"]) == pytest.approx((before[q], after[q]))
            ranks = {
                p["id"]: (p["grade"], p["rank_before"], p["rank_after"]) for p in row["relevant"]
            }
            assert ranks == {
                p: (grade, *(orders[s][q].index(p) + 1 for s in ("retrieval", "reranked")))
                for p, grade in JUDGED[q].items()
            }


# forms


def test_the_file_holds_what_is_printed(folder: Path) -> None:
    assert json.loads((folder / "all.json").read_text()) == json.loads(
        (folder / "printed.json").read_text()
    )


def test_json_keeps_its_keys(found: dict[str, Any]) -> None:
    expected = (
        "retrieval cross_encoder reranked ceiling comparison queries judged without_relevant "
        "unjudged dangling depth exclude_self seconds retrieved missing latency footprint "
        "peak_memory warnings passages intervals comparisons curve changed engine"
    )
    assert " ".join(found) == expected


def test_markdown_has_the_figures(folder: Path, found: dict[str, Any]) -> None:
    text = (folder / "all.md").read_text()
    systems, changes, times, depths, gained, lost = tables(text)
    assert systems[0] == ["system", *MEASURES, "p50 ms", "p95 ms", "queries/s"]
    names = ("retrieval", "cross_encoder", "reranked", "ceiling")
    assert [row[0] for row in systems[1:]] == [
        "retrieval", "cross-encoder alone", "reranked", "ceiling",
    ]  # fmt: skip
    for row, name in zip(systems[1:], names, strict=True):
        assert row[1:5] == [f"{value:.4f}" for value in found[name].values()]
    assert float(systems[1][5]) == pytest.approx(found["latency"]["first_stage"]["p50"], abs=0.06)
    assert float(systems[3][7]) == pytest.approx(found["latency"]["queries_per_second"], abs=0.06)
    assert systems[4][5:] == ["-"] * 3
    for row, (measure, c) in zip(changes[1:], found["comparisons"].items(), strict=True):
        assert row == [
            measure,
            f"{c['difference']:+.4f} ({c['low']:+.4f} to {c['high']:+.4f})",
            f"{100 * c['relative']:+.1f} %",
            f"{c['p']:.3f}",
            f"{c['wins']}/{c['ties']}/{c['losses']}",
            f"{c['detectable']:.4f}",
        ]
    assert [row[0] for row in times[1:]] == ["encode", "retrieve", "rerank", "all"]
    for row, point in zip(depths[1:], found["curve"]["points"], strict=True):
        numbers = [f"{point[name]:.4f}" for name in ("recall", "ceiling", "reached")]
        assert row[:4] == [str(point["depth"]), *numbers]
    assert f"knee: depth {found['curve']['knee']}," in text
    for rows, name in ((gained, "gained"), (lost, "lost")):
        assert [row[0] for row in rows[1:]] == [
            f"{changed['query']}: {changed['text']}" for changed in found["changed"][name]
        ]
        first = found["changed"][name][0]
        assert rows[1][1] == f"{first['before']:.4f} → {first['after']:.4f}"
        ranks = [f"{p['id']} {p['rank_before']} → {p['rank_after']}" for p in first["relevant"]]
        assert rows[1][2] == ", ".join(ranks)


def test_markdown_is_printed_too(index, given, tmp_path: Path) -> None:
    out, _ = evaluate(index, *given, *OPTIONS, "--depth", DEPTH, "--markdown")
    assert len(tables(out)) == 3
    assert "queries: 12 counted, all that are; 1 excluded (no relevant passage), 1 missing" in out
    assert "passages: 154 retrieved, 22 of them judged, 132 unjudged; 0 judgements dangling" in out
    assert "a query's own passage is not excluded" in out


def test_the_tables_say_what_json_says(index, given, found: dict[str, Any]) -> None:
    out, err = evaluate(
        index, *given, *OPTIONS, "--depth", DEPTH, "--changed", 1, "--limit-queries", 12
    )
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}
    for label, name in (("retrieval", "retrieval"), ("reranked", "reranked"), ("ceiling",) * 2):
        for value in found[name].values():
            assert f" {value:.4f} " in rows[label]
    low, high = found["intervals"]["reranked"]["MRR@10"]
    assert f"95 % intervals, reranked: MRR@10 {low:.4f} to {high:.4f}" in out
    comparison = found["comparisons"]["nDCG@3"]
    assert f"{comparison['difference']:+.4f} (" in rows["nDCG@3"]
    assert f" {comparison['p']:.3f} " in rows["nDCG@3"]
    assert "detectable: the smallest true change" in out
    assert "on disk: index " in out
    assert "peak memory of the process: " in out
    assert "MRR@10: gained most by reranking" in out
    assert "knee" not in out
    assert "warning: 1 judged queries are not among the queries given and count as zero" in err


def test_a_query_without_its_own_passage(index, given, pipeline, tmp_path: Path) -> None:
    out, _ = evaluate(
        index, *given, *OPTIONS, "--depth", DEPTH, "--exclude-self", "--curve", "--json",
        "-o", tmp_path / "x.trec", "-o", tmp_path / "x.md",
    )  # fmt: skip
    answer = json.loads(out)
    assert answer["exclude_self"] is True
    assert "a query's own passage is excluded (--exclude-self)" in (tmp_path / "x.md").read_text()
    lines = list(ir_measures.read_trec_run(str(tmp_path / "x.trec")))
    assert "p03" not in [line.doc_id for line in lines if line.query_id == "p03"]
    hits = {q: pipeline.search(text, top_k=14, depth=DEPTH + 1) for q, text in QUERIES.items()}
    order = {q: [hit.id for hit in found if hit.id != q] for q, found in hits.items()}
    assert answer["reranked"]["MAP"] == pytest.approx(mean(per_query(lines, "MAP")), abs=1e-9)
    assert answer["reranked"]["MAP"] == pytest.approx(
        mean(per_query(as_run(order), "MAP")), abs=1e-9
    )
    first = {q: sorted(found, key=lambda hit: hit.retrieval_rank) for q, found in hits.items()}
    without = {q: [hit.id for hit in found if hit.id != q] for q, found in first.items()}
    assert first["p03"][0].id == "p03"
    for point in answer["curve"]["points"]:
        depth = point["depth"]
        counts = [sum(p in JUDGED[q] for p in without[q][:depth]) for q in without if q in JUDGED]
        assert point["recall"] == pytest.approx(sum(counts) / 2 / 12)


def test_texts_cannot_drive_the_terminal(index, tmp_path: Path) -> None:
    queries = write_queries(tmp_path / "q.jsonl", {"a\x1b[2J": "tea\x1b]0;x\x07", "b": "glacier"})
    qrels = write_qrels(tmp_path / "q.qrels", {"a\x1b[2J": {"p06": 1}, "b": {"p07": 1}})
    for form in ([], ["--markdown"], ["--json"]):
        out, err = evaluate(index, "--queries", queries, "--qrels", qrels, "--changed", 2, *form)
        assert "\x1b" not in out + err
        assert "\x07" not in out + err


# what is refused: before a model is loaded where that can be


def wrong_files() -> list[Any]:
    """Queries, qrels, the file that is blamed, and what is said of it."""
    good = '{"_id": "q1", "text": "tea"}\n'
    many = "".join(f'{{"_id": "q{n}", "text": "tea"}}\n' * 2 for n in range(12))
    cases: list[tuple[str, str, str, str, list[str]]] = [
        ("query ids", '{"_id": 1, "text": "tea"}\n', "q1 0 0 1\n", "dev.qrels",
         ["no judged query is among those of", "['q1'] in the qrels, ['1'] in the queries"]),
        ("query zeros", '{"_id": 7, "text": "tea"}\n', "007 0 0 1\n", "dev.qrels",
         ["alike but for how they are written: '7' and '007'"]),
        ("many query ids", many.replace("}\n{", "}\n\n{"), "x 0 0 1\n", "queries.jsonl",
         ["12: ids that stand already further up; keep one line", "'q9'"]),
        ("passage ids", good, "".join(f"q1 0 p{n} 1\n" for n in range(12)), "dev.qrels",
         ["no passage judged relevant is in the index: ['p0', 'p1', 'p10', 'p11', 'p2', 'p3', "
          "'p4', 'p5', 'p6', 'p7'] in the qrels, ['0', '1', '2', '3', '4', '5', '6', '7'] in the"]),
        ("passage fractions", good, "q1 0 1.0 1\nq1 0 02 1\nq1 0 5 0\n", "dev.qrels",
         ["alike but for how they are written: '1' and '1.0', '2' and '02'"]),
        ("empty queries", "", "q1 0 0 1\n", "queries.jsonl", ["the file is empty"]),
        ("empty qrels", good, "", "dev.qrels", ["the file is empty"]),
        ("header only", good, "query-id\tcorpus-id\tscore\n", "dev.qrels",
         ["a header and no judgement below it"]),
        ("never relevant", good, "q1 0 0 0\nq1 0 1 -1\n", "dev.qrels",
         ["no judgement has a grade of 1 or more", "[('q1', '0', 0), ('q1', '1', -1)]"]),
        ("conflict", good, "q1 0 0 1\nq1 0 1 1\nq1 0 0 2\nq1 0 1 0\n", "dev.qrels",
         ["2: pairs with two different grades", "line 1 and 3 'q1' '0' grades 1 and 2",
          "line 2 and 4 'q1' '1' grades 1 and 0"]),
        ("grades", good, "q1 0 0 1\nq1 0 1 1.5\nq1 0 2 nan\n", "dev.qrels",
         ["2: lines that cannot be read", "line 2 the grade is not an integer: '1.5'",
          "line 3 the grade is not an integer: 'nan'"]),
        ("run as qrels", good, "q1 Q0 0 1 2.5 tag\n", "dev.qrels",
         ["a run (6 columns) holds no grades"]),
        ("empty text", good + '{"_id": "q2", "text": " "}\n{"_id": "", "text": "x"}\n',
         "q1 0 0 1\n", "queries.jsonl", ["2: queries without id or text", "line 2", "line 3"]),
        ("no text", good + '{"_id": "q2"}\nx\n', "q1 0 0 1\n", "queries.jsonl",
         ["2: lines that cannot be read", "line 2", "line 3"]),
    ]  # fmt: skip
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


@pytest.mark.parametrize(("queries", "qrels", "blamed", "parts"), wrong_files())
def test_wrong_files_are_refused_with_what_is_wrong(
    notes_index, tmp_path: Path, queries: str, qrels: str, blamed: str, parts: list[str]
) -> None:
    (tmp_path / "queries.jsonl").write_text(queries)
    (tmp_path / "dev.qrels").write_text(qrels)
    with pytest.raises(ShortlistError, match=rf"^{tmp_path / blamed}:") as caught:
        evaluate(
            notes_index, "--queries", tmp_path / "queries.jsonl", "--qrels", tmp_path / "dev.qrels"
        )
    message = str(caught.value)
    assert caught.value.exit_code == 2
    for part in parts:
        assert part in message
    assert message.count("; line ") < 10  # ten examples of a kind at most


def test_a_wrong_file_ends_with_2_and_one_line(notes_index, tmp_path: Path) -> None:
    queries = write_queries(tmp_path / "queries.jsonl", {"q1": "tea"})
    qrels = write_qrels(tmp_path / "dev.qrels", {"q1": {"p1": 1}})
    done = run("evaluate", notes_index, "--queries", queries, "--qrels", qrels, code=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"shortlist: {qrels}: no passage judged relevant is in the index: ['p1']"
    )


def test_some_wrong_ids_are_warned_of_and_counted(notes_index, tmp_path: Path) -> None:
    queries = write_queries(tmp_path / "queries.jsonl", {"q1": "tea", "2": "glacier"})
    judged = {"q1": {"1": 1, "02": 1, "gone": 1}, "002": {"2": 1}, **{f"x{n}": {"3": 1}
              for n in range(12)}}  # fmt: skip
    qrels = write_qrels(tmp_path / "dev.qrels", judged)
    out, err = evaluate(notes_index, "--queries", queries, "--qrels", qrels, "--json")
    answer = json.loads(out)
    assert (answer["queries"], answer["missing"], answer["dangling"]) == (14, 13, 2)
    assert answer["retrieval"]["MRR@10"] == pytest.approx(1 / 14)  # tea is found, first
    alike = "alike but for how they are written"
    assert f"note: {qrels}: judged queries are missing; {alike}: '2' and '002'\n" in err
    assert f"note: {qrels}: judged passages are not in the index; {alike}: '2' and '02'\n" in err
    ten = ["002", "x0", "x1", "x10", "x11", "x2", "x3", "x4", "x5", "x6"]
    assert f"13 judged queries are not among the queries given and count as zero: {ten}\n" in err
    assert "2 judgements, 2 of them relevant, name passages that the corpus lacks" in err
    assert "['02', 'gone']" in err


def test_negative_grades_and_repeated_lines_are_noted_and_do_no_harm(
    notes_index, tmp_path: Path
) -> None:
    queries = write_queries(tmp_path / "queries.jsonl", {"q1": "hot water over dried leaves"})
    qrels = tmp_path / "dev.qrels"
    qrels.write_text("q1 0 2 1\nq1 0 1 -2\nq1 0 2 1\n")
    measures = ("-m", "MRR@10", "-m", "Recall@100", "-m", "nDCG@1")
    out, err = evaluate(
        notes_index, "--queries", queries, "--qrels", qrels, "--no-rerank", "--json", *measures,
        "-o", tmp_path / "x.trec",
    )  # fmt: skip
    order = [line.split()[2] for line in (tmp_path / "x.trec").read_text().splitlines()]
    assert order[0] == "1"  # the passage graded -2
    expected = {"MRR@10": 1 / (order.index("2") + 1), "Recall@100": 1.0, "nDCG@1": 0.0}
    assert json.loads(out)["retrieval"] == pytest.approx(expected)
    assert "negative grades count as not relevant" in err
    assert "(line 2 'q1' '1' grade -2)" in err
    assert "lines that repeat an earlier one (line 1 and 3 'q1' '2')" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--json", "--markdown"], "--json and --markdown are two forms of one answer"),
        (["-m", "MRR@ten"], "unknown measure 'MRR@ten'; write one of: MRR@10"),
        (["--changed", "0"], "--changed must be 1 or more, got 0"),
        (["--changed", "3", "--no-rerank"], "--changed shows what reranking changed, and nothing"),
        (["--limit-queries", "0"], "limit_queries must be 1 or more"),
        (["--depth", "0"], "depth must be 1 or more"),
        (["-o", "{folder}/x.html"], r"x.html: the ending says what to write; expected .json, .md"),
        (["-o", "{folder}/trec"], "trec: the ending says what to write"),
        (["-o", "{folder}/x.md", "-o", "{folder}/./x.md"], "x.md is named twice with -o"),
        (["-o", "{folder}/nowhere/x.md"], "x.md: there is no folder .*nowhere"),
        (["-o", "{folder}/made.md"], "made.md: is a folder; name a file"),
        (["-o", "{index}/manifest.json"], "manifest.json is inside of the index that is read"),
        (["-o", "{folder}/queries.json"], "queries.json is read and would be written over"),
        (["-o", "{folder}/link.csv"], "link.csv is read and would be written over"),
    ],
)
def test_what_cannot_be_done_is_refused(
    notes_index, tmp_path: Path, arguments: list[str], message: str
) -> None:
    queries = write_queries(tmp_path / "queries.json", {"q1": "tea"})
    qrels = write_qrels(tmp_path / "dev.qrels", {"q1": {"1": 1}})
    (tmp_path / "made.md").mkdir()
    (tmp_path / "link.csv").symlink_to(qrels)
    there = {path: path.read_bytes() for path in (queries, qrels, notes_index / "manifest.json")}
    with pytest.raises(ShortlistError, match=message) as caught:
        evaluate(
            notes_index, "--queries", queries, "--qrels", qrels,
            *(argument.format(folder=tmp_path, index=notes_index) for argument in arguments),
        )  # fmt: skip
    assert caught.value.exit_code == 2
    assert {path: path.read_bytes() for path in there} == there
    assert len(list(tmp_path.iterdir())) == 4


def test_ids_that_no_run_can_hold_are_refused_before_the_search(
    bi_encoder, notes_index, tmp_path: Path
) -> None:
    blanks = tmp_path / "blanks.idx"
    passages = [Passage("my note#0", NOTES[0]), Passage("b", NOTES[1])]
    RetrieveRerankPipeline.build(passages, blanks, bi_encoder=bi_encoder)
    queries = write_queries(tmp_path / "queries.jsonl", {"q 1": "tea", "q2": "tea"})
    for index, qrels_text, what in (
        (blanks, "q2\tb\t1", "passage id 'my note#0' has a blank in it"),
        (notes_index, "q 1\t1\t1", "query id 'q 1' has a blank in it"),
    ):
        qrels = tmp_path / "dev.tsv"
        qrels.write_text(f"query-id\tcorpus-id\tscore\n{qrels_text}\n")
        arguments = (index, "--queries", queries, "--qrels", qrels)
        with pytest.raises(ShortlistError, match=what) as caught:
            evaluate(*arguments, "-o", tmp_path / "x.trec")
        assert caught.value.exit_code == 2
        evaluate(*arguments, "-o", tmp_path / "x.csv", "-o", tmp_path / "x.json")
        assert (tmp_path / "x.csv").exists()
        assert not (tmp_path / "x.trec").exists()
