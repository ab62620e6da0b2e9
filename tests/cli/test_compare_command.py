"""`shortlist compare`: its numbers beside other people's, and what it says of wrong files.

Means are those of ir-measures' own readers and of its provider pytrec_eval, which is trec_eval's C
code (MRR@10: of MS MARCO's script); p-values are counted over all 2^n signs, Holm's correction by
hand, intervals drawn by scipy; Markdown is read by markdown-it.
"""

from __future__ import annotations

import bz2
import gzip
import json
import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
from markdown_it import MarkdownIt
from scipy import stats
from test_cli import run
from typer.testing import CliRunner

from shortlist.cli.__main__ import app
from shortlist.errors import DataError, ShortlistError, UsageError

QUERIES = 11  # one has no relevant passage; all 2^10 signs of the others can be tried
MEASURES = {
    "nDCG@10": ir_measures.nDCG @ 10,
    "MRR@10": ir_measures.RR @ 10,
    "Recall@100": ir_measures.R @ 100,
    "MAP": ir_measures.AP,
    "MRR": ir_measures.RR,
    "P@5": ir_measures.P @ 5,
}


def compare(*arguments: object) -> tuple[str, str]:
    """Standard output and standard error; what is raised goes on."""
    command = ["compare", *map(str, arguments)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout, done.stderr


def answer(*arguments: object) -> dict[str, Any]:
    found = json.loads(compare(*arguments, "--json")[0])
    assert isinstance(found, dict)
    return found


def per_query(run_file: Path, qrels_file: Path, measure: str) -> dict[str, float]:
    """What ir-measures says of each query with a relevant passage; 0 where it says nothing."""
    judgements = list(ir_measures.read_trec_qrels(str(qrels_file)))
    judged = sorted({judgement.query_id for judgement in judgements if judgement.relevance > 0})
    provider = ir_measures.msmarco if measure == "MRR@10" else ir_measures.pytrec_eval
    lines = list(ir_measures.read_trec_run(str(run_file)))
    values = dict.fromkeys(judged, 0.0)
    for metric in provider.iter_calc([MEASURES[measure]], judgements, lines):
        if metric.query_id in values:
            values[metric.query_id] = metric.value
    return values


def write_run(path: Path, scores: Sequence[tuple[str, str, object]]) -> Path:
    """A TREC run: query, passage, score; its rank column says nothing."""
    lines = [f"{query} Q0 {passage} 1 {score} tag\n" for query, passage, score in scores]
    path.write_text("".join(lines))
    return path


def made_run(path: Path, seed: int, sharpness: float, missing: str = "") -> Path:
    """Random scores, higher for relevant passages; all different, lines in no order."""
    rng = np.random.default_rng(seed)
    scores = [
        (f"q{q}", f"d{p}", float(rng.normal() + sharpness * (p % QUERIES == q)))
        for q in range(QUERIES + 1)  # the last one is not judged
        for p in rng.permutation(120)
        if f"q{q}" != missing
    ]
    return write_run(path, [scores[i] for i in rng.permutation(len(scores))])


@pytest.fixture
def qrels(tmp_path: Path) -> Path:
    """Grades 1 to 3 for the passages that runs may find, 0 for some others."""
    path = tmp_path / "dev.qrels"
    lines = [
        f"q{q} 0 d{p} {(p // QUERIES % 3 + 1) * (p % QUERIES == q) * (q > 0)}"
        for q in range(QUERIES)
        for p in range(120)
        if p % QUERIES in (q, q + 1)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Three systems, the second without a query."""
    return [
        made_run(tmp_path / "bm25.trec", 1, 0.6),
        made_run(tmp_path / "dense.run", 2, 1.2, missing="q4"),
        made_run(tmp_path / "both.txt", 3, 1.6),
    ]


# numbers


def test_means_are_those_of_ir_measures(runs: list[Path], qrels: Path) -> None:
    options = [option for measure in MEASURES for option in ("-m", measure)]
    found = answer(*runs, "--qrels", qrels, *options)
    assert found["measures"] == list(MEASURES)
    assert found["without_relevant"] == 1
    for system, path in zip(found["systems"], runs, strict=True):
        means = {}
        for measure in MEASURES:
            values = per_query(path, qrels, measure)
            means[measure] = math.fsum(values.values()) / len(values)
        assert system["mean"] == pytest.approx(means, abs=1e-9)
        retrieved = 9 if path.stem == "dense" else 10
        assert (system["judged"], system["retrieved"], system["unjudged"]) == (10, retrieved, 1)


def test_the_numbers_of_a_comparison_are_those_of_others(runs: list[Path], qrels: Path) -> None:
    (found,) = answer(*runs[:2], "--qrels", qrels, "-m", "MRR@10")["comparisons"]
    before, after = (per_query(path, qrels, "MRR@10") for path in runs[:2])
    a, b = (np.array(list(side.values())) for side in (before, after))
    differences = b - a
    assert len(differences) == found["queries"] == 10
    assert (found["mean_a"], found["mean_b"]) == pytest.approx((a.mean(), b.mean()))
    assert found["difference"] == pytest.approx(differences.mean())
    assert found["relative"] == pytest.approx(b.mean() / a.mean() - 1)
    signs = np.array(list(product((-1, 1), repeat=10)))
    as_far = np.abs((signs * differences).mean(axis=1)) >= abs(differences.mean()) - 1e-12
    assert 10 < as_far.sum() < 500
    assert found["p"] == found["p_holm"] == pytest.approx(as_far.mean())
    quantiles = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert found["detectable"] == pytest.approx(quantiles * stats.sem(differences))
    counts = found["wins"], found["ties"], found["losses"]
    assert counts == ((differences > 0).sum(), (differences == 0).sum(), (differences < 0).sum())
    for name, sign in (("gained", 1), ("lost", -1)):
        sizes = sorted((-sign * (after[q] - before[q]), q) for q in before)
        expected = [
            {"query": q, "before": before[q], "after": after[q]} for size, q in sizes if size < 0
        ]
        assert len(expected) > 1
        assert found[name] == expected


def test_the_intervals_are_those_of_scipy(runs: list[Path], qrels: Path) -> None:
    found = answer(*runs[:2], "--qrels", qrels, "-m", "MRR@10")
    (comparison,) = found["comparisons"]
    a, b = (np.array(list(per_query(path, qrels, "MRR@10").values())) for path in runs[:2])
    expected = percentiles((b - a,), np.mean)
    assert (comparison["low"], comparison["high"]) == pytest.approx(expected, abs=0.02)
    expected = percentiles((a, b), lambda a, b, axis: b.mean(axis=axis) / a.mean(axis=axis) - 1)
    ends = comparison["relative_low"], comparison["relative_high"]
    assert ends == pytest.approx(expected, abs=0.1)
    for system, values in zip(found["systems"], (a, b), strict=True):
        expected = percentiles((values,), np.mean)
        assert tuple(system["interval"]["MRR@10"]) == pytest.approx(expected, abs=0.02)


def percentiles(data: tuple[np.ndarray, ...], statistic: Callable[..., Any]) -> tuple[float, float]:
    """95 % interval of scipy's paired bootstrap; ten queries are drawn anew 20,000 times."""
    drawn = stats.bootstrap(
        data, statistic, paired=len(data) > 1, method="percentile", n_resamples=20_000,
        rng=np.random.default_rng(5),
    )  # fmt: skip
    return tuple(drawn.confidence_interval)


@pytest.mark.parametrize("measure", ["nDCG@10", "nDCG@3", "recall_20"])
def test_three_systems_are_corrected_by_holm(runs: list[Path], qrels: Path, measure: str) -> None:
    found = answer(*runs, "--qrels", qrels, "-m", measure)["comparisons"]
    pairs = [("bm25", "dense"), ("bm25", "both"), ("dense", "both")]
    assert [(c["a"], c["b"]) for c in found] == pairs
    small, middle, large = sorted(found, key=lambda c: c["p"])
    assert 3 * small["p"] < large["p_holm"] < 1
    assert small["p_holm"] == pytest.approx(3 * small["p"])
    assert middle["p_holm"] == pytest.approx(max(small["p_holm"], min(1, 2 * middle["p"])))
    assert large["p_holm"] == pytest.approx(max(middle["p_holm"], large["p"]))


def test_a_baseline_is_compared_with_each_and_the_family_is_smaller(
    runs: list[Path], qrels: Path
) -> None:
    pairs = answer(*runs, "--qrels", qrels)["comparisons"]
    found = answer(*runs, "--qrels", qrels, "--baseline", "dense")["comparisons"]
    assert [(c["a"], c["b"]) for c in found] == [("dense", "bm25"), ("dense", "both")]
    assert found[0]["difference"] == pytest.approx(-pairs[0]["difference"])
    small, large = sorted(found, key=lambda c: c["p"])
    assert small["p_holm"] == pytest.approx(min(1, 2 * small["p"]))
    assert large["p_holm"] == pytest.approx(max(small["p_holm"], large["p"]))


def test_one_run_is_scored_and_compared_with_nothing(runs: list[Path], qrels: Path) -> None:
    found = answer(runs[0], "--qrels", qrels)
    assert [system["name"] for system in found["systems"]] == ["bm25"]
    assert found["comparisons"] == []
    out, _ = compare(runs[0], "--qrels", qrels)
    assert "mean (95 % interval)" in out
    assert "comparison" not in out


# ties


def test_ties_are_ordered_as_trec_eval_does(tmp_path: Path, qrels: Path) -> None:
    rng = np.random.default_rng(9)
    scores = [2.0, 1.0, 1.000000001, 1.000000002]  # the last three are one number as float32
    lines = [
        (f"q{q}", f"d{p}", scores[rng.integers(4)]) for q in range(QUERIES) for p in range(120)
    ]
    path = write_run(tmp_path / "tied.trec", [lines[i] for i in rng.permutation(len(lines))])
    options = [option for measure in ("MRR", "MAP", "nDCG@10", "P@5") for option in ("-m", measure)]
    found = answer(path, "--qrels", qrels, *options)["systems"][0]
    for measure, mean in found["mean"].items():
        values = per_query(path, qrels, measure)
        assert mean == pytest.approx(math.fsum(values.values()) / 10, abs=1e-9), measure


def test_equal_scores_go_by_id_descending_and_are_counted(tmp_path: Path) -> None:
    judgements = tmp_path / "dev.qrels"
    judgements.write_text("q1 0 d10 1\nq2 0 d2 1\nq3 0 d1 1\n")
    path = write_run(
        tmp_path / "a.trec",
        [
            ("q1", "d10", 3), ("q1", "d9", 3.00000001),  # equal as float32, and "d9" > "d10"
            ("q2", "d1", 1), ("q2", "d2", 1),
            ("q3", "d1", 0.5), ("q3", "d2", 0.25),
            ("q4", "d1", 1), ("q4", "d2", 1),  # tied, but not judged
        ],
    )  # fmt: skip
    found = answer(path, "--qrels", judgements, "-m", "MRR@1", "-m", "MRR@10")["systems"][0]
    assert found["mean"] == pytest.approx({"MRR@1": 2 / 3, "MRR@10": (1 / 2 + 1 + 1) / 3})
    assert found["tied"] == {"1": 2, "10": 0}


# what is printed


def test_json_has_stable_keys_and_stdout_nothing_else(runs: list[Path], qrels: Path) -> None:
    with qrels.open("a") as file:
        file.write("q1 0 d119 -1\n")
    out, err = compare(*runs[:2], "--qrels", qrels, "--json", "-m", "mrr_at_10", "-m", "Recall@5")
    found = json.loads(out)
    assert list(found) == ["measures", "without_relevant", "systems", "comparisons"]
    keys = ["name", "judged", "retrieved", "unjudged", "tied", "mean", "interval"]
    assert [list(system) for system in found["systems"]] == [keys] * 2
    assert list(found["systems"][0]["mean"]) == ["MRR@10", "Recall@5"]
    assert list(found["systems"][0]["interval"]) == ["MRR@10", "Recall@5"]
    assert list(found["systems"][0]["tied"]) == ["10", "5"]
    (comparison,) = found["comparisons"]
    expected = (
        "a b measure mean_a mean_b difference low high relative relative_low relative_high p "
        "p_holm wins ties losses detectable queries gained lost"
    )
    assert " ".join(comparison) == expected
    assert comparison["measure"] == "MRR@10"  # the first that was asked for
    assert "note: " in err
    assert "warning: " in err


def test_the_tables_say_what_json_says(runs: list[Path], qrels: Path) -> None:
    found = answer(*runs[:2], "--qrels", qrels, "-m", "MRR@10")
    out, _ = compare(*runs[:2], "--qrels", qrels, "-m", "MRR@10")
    assert "10 judged queries; 1 without a relevant passage left out" in " ".join(out.split())
    for system in found["systems"]:
        low, high = system["interval"]["MRR@10"]
        assert f"{system['mean']['MRR@10']:.4f} ({low:.4f} to {high:.4f})" in out
    (c,) = found["comparisons"]
    assert f"{c['difference']:+.4f} ({c['low']:+.4f} to {c['high']:+.4f})" in out
    assert f"{c['wins']}/{c['ties']}/{c['losses']}" in out
    assert f"{c['p']:.3f}" in out
    assert f"{c['detectable']:.4f}" in out
    first = c["gained"][0]
    change = f"{first['query']} {first['before']:.2f} → {first['after']:.2f}"
    assert f"bm25 → dense: gained most: {change}" in out


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text as markdown-it reads them: rows of cells."""
    found: list[list[list[str]]] = []
    cell = False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and cell:
            found[-1][-1].append("".join(child.content for child in token.children or []))
        cell = token.type in ("th_open", "td_open")
    return found


def test_markdown_is_tables_also_with_bars_in_names(runs: list[Path], qrels: Path) -> None:
    barred = runs[0].rename(runs[0].with_name("bm|25.trec"))
    arguments = (barred, *runs[1:], "--qrels", qrels, "-m", "MRR@10", "-m", "nDCG@10")
    found = answer(*arguments)
    counts, means, comparisons = tables(compare(*arguments, "--markdown")[0])
    assert counts == [
        ["system", "judged", "retrieved", "unjudged", "ties at 10"],
        ["bm|25", "10", "10", "1", "0"],
        ["dense", "10", "9", "1", "0"],
        ["both", "10", "10", "1", "0"],
    ]
    assert means[0] == ["system", "MRR@10", "nDCG@10"]
    for row, system in zip(means[1:], found["systems"], strict=True):
        assert row[0] == system["name"]
        starts = [f"{mean:.4f} (" for mean in system["mean"].values()]
        assert [cell[:8] for cell in row[1:]] == starts
    assert [row[0] for row in comparisons] == [
        "from → to", "bm|25 → dense", "bm|25 → both", "dense → both",
    ]  # fmt: skip
    assert {len(row) for row in comparisons} == {6}


def test_ids_cannot_drive_the_terminal(tmp_path: Path) -> None:
    judgements = tmp_path / "dev.qrels"
    judgements.write_text("q\x1b[2J1 0 d1 1\nq2 0 d1 1\n")
    found = [("q\x1b[2J1", "d1", 1), ("q2", "d2", 1)]
    one = write_run(tmp_path / "one.trec", found)
    two = write_run(tmp_path / "two.trec", [(q, "d3", 1) for q, _, _ in found])
    for form in ([], ["--markdown"], ["--json"]):
        out, err = compare(one, two, "--qrels", judgements, *form)
        assert "\x1b" not in out + err
        assert "[2J1" in out


# files


def packed_by_zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("ending", "packed"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", packed_by_zstd)],
)
def test_files_may_be_compressed(
    runs: list[Path], qrels: Path, ending: str, packed: Callable[[bytes], bytes]
) -> None:
    plain = answer(*runs[:2], "--qrels", qrels)
    files = []
    for path in (*runs[:2], qrels):
        files.append(path.with_name(path.name + ending))
        files[-1].write_bytes(packed(path.read_bytes()))
    assert answer(*files[:2], "--qrels", files[2]) == plain


def test_runs_and_judgements_come_in_other_forms(tmp_path: Path) -> None:
    trec, beir = tmp_path / "dev.qrels", tmp_path / "dev.tsv"
    trec.write_text("1 0 7 1\n2 0 8 1\n")
    beir.write_text("query-id\tcorpus-id\tscore\n1\t7\t1\n2\t8\t1\n")
    run_file = write_run(tmp_path / "a.trec", [("1", "9", 2), ("1", "7", 1), ("2", "8", 1)])
    ranked = tmp_path / "ranked" / "a.tsv"  # MS MARCO's: query, passage, rank
    ranked.parent.mkdir()
    ranked.write_text("1\t7\t2\n2\t8\t1\n1\t9\t1\n")
    expected = answer(run_file, "--qrels", trec)
    assert expected["systems"][0]["mean"]["MRR@10"] == 0.75
    assert answer(run_file, "--qrels", beir) == answer(ranked, "--qrels", trec) == expected


# what is odd, and said


def test_queries_that_a_run_lacks_count_zero_and_are_named(tmp_path: Path) -> None:
    judgements = tmp_path / "dev.qrels"
    judgements.write_text("".join(f"q{n:02} 0 d1 {int(n < 16)}\n" for n in range(17)))
    path = write_run(tmp_path / "a.trec", [(f"q{n:02}", "d1", 1) for n in range(4)])
    out, err = compare(path, "--qrels", judgements, "--json")
    assert json.loads(out)["systems"][0]["mean"]["MRR@10"] == 4 / 16
    ten = [f"q{n:02}" for n in range(4, 14)]
    line = f"warning: {path}: lacks 12 of 16 judged queries, counted as zero: {ten}\n"
    assert err == line


@pytest.mark.parametrize(
    ("own", "judged"),
    [("0001", "1"), ("1", "0001"), ("1.0", "1"), ("Q7", "q7"), ("caf\u0065\u0301", "caf\u00e9")],
)
def test_ids_of_another_type_are_shown_side_by_side(tmp_path: Path, own: str, judged: str) -> None:
    judgements = tmp_path / "dev.qrels"
    judgements.write_text(f"common 0 d1 1\n{judged} 0 d1 1\n")
    path = write_run(tmp_path / "a.trec", [("common", "d1", 1), (own, "d1", 1)])
    out, err = compare(path, "--qrels", judgements, "--json")
    assert json.loads(out)["systems"][0]["mean"]["MRR@10"] == 0.5
    assert f"lacks 1 of 2 judged queries, counted as zero: [{judged!r}]" in err
    assert f"alike but for how they are written: {own!r} and {judged!r}\n" in err
    write_run(path, [(own, "d1", 1)])
    with pytest.raises(DataError, match="no query id in common with the qrels") as caught:
        compare(path, "--qrels", judgements)
    assert f"[{own!r}] in the run, ['common', {judged!r}] in the qrels" in str(caught.value)
    assert f"written: {own!r} and {judged!r}" in str(caught.value)


def test_ten_pairs_of_ids_are_shown_in_the_order_of_the_run(tmp_path: Path) -> None:
    judgements = tmp_path / "dev.qrels"
    judgements.write_text("common 0 d1 1\n" + "".join(f"{n} 0 d1 1\n" for n in range(12)))
    lines = [("common", "d1", 1), *((f"000{n}", "d1", 1) for n in (5, *range(12)))]
    path = write_run(tmp_path / "a.trec", list(dict.fromkeys(lines)))
    _, err = compare(path, "--qrels", judgements)
    pairs = [f"'000{n}' and '{n}'" for n in (5, 0, 1, 2, 3, 4, 6, 7, 8, 9)]
    assert err.endswith(f"written: {', '.join(pairs)}\n")


def test_passages_that_nobody_judged_are_said(tmp_path: Path) -> None:
    judgements = tmp_path / "dev.qrels"
    judgements.write_text("q1 0 doc1 1\nq1 0 doc2 0\n")
    path = write_run(tmp_path / "a.trec", [("q1", "DOC1", 2), ("q1", "x", 1)])
    out, err = compare(path, "--qrels", judgements, "--json")
    assert json.loads(out)["systems"][0]["mean"]["MRR@10"] == 0
    assert f"warning: {path}: no passage of the run has a judgement" in err
    assert "['DOC1', 'x'] in the run, ['doc1', 'doc2'] in the qrels" in err
    assert err.endswith("alike but for how they are written: 'DOC1' and 'doc1'\n")
    judgements.write_text("q1 0 d1 1\nq2 0 d2 1\n")
    write_run(path, [("q1", "d2", 1), ("q2", "d1", 1)])  # the other query's
    _, err = compare(path, "--qrels", judgements)
    assert err.endswith("['d2', 'd1'] in the run, ['d1', 'd2'] in the qrels\n")


def test_negative_grades_and_repeated_lines_are_noted_and_do_no_harm(tmp_path: Path) -> None:
    judgements = tmp_path / "dev.qrels"
    judgements.write_text("q1 0 d1 1\nq1 0 d2 -2\nq1 0 d1 1\n")
    path = write_run(tmp_path / "a.trec", [("q1", "d2", 2), ("q1", "d1", 1)])
    out, err = compare(path, "--qrels", judgements, "--json")
    mean = json.loads(out)["systems"][0]["mean"]
    assert mean == pytest.approx({"MRR@10": 0.5, "nDCG@10": 1 / math.log2(3), "Recall@100": 1})
    notes = err.splitlines()
    assert [note.startswith(f"note: {judgements}: 1: ") for note in notes] == [True, True]
    assert "negative grades count as not relevant" in err
    assert "(line 2 'q1' 'd2' grade -2)" in err
    assert "lines that repeat an earlier one (line 1 and 3 'q1' 'd1')" in err


# what is wrong, and refused

GOOD_RUN = "q1 Q0 d1 1 2.5 tag\n"
GOOD_QRELS = "q1 0 d1 1\n"


def wrong_files() -> list[Any]:
    """Name, run, qrels, the file that is blamed, and what is said of it."""
    twice = "".join(f"q{n} Q0 d1 1 2 tag\nq{n} Q0 d1 2 1 tag\n" for n in range(12))
    cases: list[tuple[str, str, str, str, list[str]]] = [
        ("no id in common", "x Q0 d1 1 2.5 tag\n", GOOD_QRELS, "a.trec",
         ["no query id in common with the qrels: ['x'] in the run, ['q1'] in the qrels"]),
        ("empty run", "", GOOD_QRELS, "a.trec", ["the file is empty"]),
        ("empty qrels", GOOD_RUN, "", "dev.qrels", ["the file is empty"]),
        ("header only", GOOD_RUN, "query-id\tcorpus-id\tscore\n", "dev.qrels",
         ["a header and no judgement below it"]),
        ("all zero", GOOD_RUN, "q1 0 d1 0\nq2 0 d3 -1\n", "dev.qrels",
         ["no judgement has a grade of 1 or more", "[('q1', 'd1', 0), ('q2', 'd3', -1)]"]),
        ("conflict", GOOD_RUN, "q1 0 d1 1\nq1 0 d2 1\nq1 0 d1 2\nq1 0 d2 0\n", "dev.qrels",
         ["2: pairs with two different grades",
          "line 1 and 3 'q1' 'd1' grades 1 and 2; line 2 and 4 'q1' 'd2' grades 1 and 0"]),
        ("grade", GOOD_RUN, "q1 0 d1 1\nq1 0 d2 1.5\nq1 0 d3\n", "dev.qrels",
         ["2: lines that cannot be read", "line 2 the grade is not an integer: '1.5'",
          "line 3 expected 4 columns"]),
        ("run as qrels", GOOD_RUN, GOOD_RUN, "dev.qrels", ["a run (6 columns) holds no grades"]),
        ("qrels as run", GOOD_QRELS, GOOD_QRELS, "a.trec",
         ["line 1 expected 6 columns, qid Q0 docid rank score tag, got 4"]),
        ("twice", GOOD_RUN + GOOD_RUN, GOOD_QRELS, "a.trec",
         ["1: passages that come twice for a query", "line 1 and 2 'q1' 'd1'"]),
        ("twelve", twice, GOOD_QRELS, "a.trec",
         ["12: passages that come twice", "line 19 and 20 'q9' 'd1')"]),
        ("not finite", GOOD_RUN + "q1 Q0 d2 2 nan t\nq1 Q0 d3 3 -inf t\n", GOOD_QRELS, "a.trec",
         ["2: scores that are NaN or infinite", "line 2 'q1' 'd2' score nan",
          "line 3 'q1' 'd3' score -inf"]),
        ("columns", GOOD_RUN + "q1 Q0 d2 2\nq1 Q0 d3 3 high t\n", GOOD_QRELS, "a.trec",
         ["2: lines that cannot be read", "line 2 expected 6 columns as in the first line, got 4",
          "line 3 the score is not a finite number: 'high'"]),
        ("all at once", GOOD_RUN * 2 + "q1\nq1 Q0 d2 2 nan t\n", GOOD_QRELS, "a.trec",
         ["1: lines that cannot be read", "1: passages that come twice", "1: scores that are NaN"]),
    ]  # fmt: skip
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


@pytest.mark.parametrize(("run_text", "qrels_text", "blamed", "parts"), wrong_files())
def test_wrong_files_are_refused_with_what_is_wrong(
    tmp_path: Path, run_text: str, qrels_text: str, blamed: str, parts: list[str]
) -> None:
    (tmp_path / "a.trec").write_text(run_text)
    (tmp_path / "dev.qrels").write_text(qrels_text)
    with pytest.raises(DataError, match=rf"^{tmp_path / blamed}:") as caught:
        compare(tmp_path / "a.trec", "--qrels", tmp_path / "dev.qrels")
    message = str(caught.value)
    assert caught.value.exit_code == 2
    for part in parts:
        assert part in message
    assert message.count("; line ") < 10  # ten examples of a kind at most
    assert "left out" not in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}", "{a}"], r"{a} and {a} would both be called 'a'; rename one of the files"),
        (["{a}", "{folder}/other/a.run.gz"], "a.trec and .*other/a.run.gz would both be called"),
        (["{a}", "{b}", "--baseline", "c"], r"--baseline 'c' .* are called \['a', 'b'\]"),
        (["{a}", "--baseline", "a"], r"'a' is compared with the other runs; .* called \['a'\]"),
        (["{a}", "{b}", "--json", "--markdown"], "--json and --markdown .* give one of them"),
        (["{a}", "{b}", "-m", "MRR@ten"], "unknown measure 'MRR@ten'; write one of: MRR@10"),
        (["{a}", "{folder}/nowhere.trec"], "nowhere.trec: no such file"),
        (["{a}", "{folder}"], "expected a file, got a folder"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "dev.qrels").write_text(GOOD_QRELS)
    names = {"a": tmp_path / "a.trec", "b": tmp_path / "b.trec", "folder": tmp_path}
    for name in ("a", "b"):
        names[name].write_text(GOOD_RUN)
    given = [argument.format(**names) for argument in arguments]
    expected = message.format(**names) if "{a}" in message else message
    with pytest.raises(ShortlistError, match=expected) as caught:
        compare(*given, "--qrels", tmp_path / "dev.qrels")
    assert isinstance(caught.value, DataError | UsageError)
    assert caught.value.exit_code == 2


def test_a_users_mistake_ends_with_2_and_one_line(tmp_path: Path) -> None:
    path, judgements = tmp_path / "a.trec", tmp_path / "dev.qrels"
    path.write_text(GOOD_RUN * 2)
    judgements.write_text(GOOD_QRELS)
    for arguments, message in (
        ([path, "--qrels", judgements], "1: passages that come twice for a query"),
        ([path, path, "--qrels", judgements], "would both be called 'a'"),
        ([path], "Missing option '--qrels'"),
    ):
        done = run("compare", *arguments, code=2)
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("shortlist: ")
        assert message in line
