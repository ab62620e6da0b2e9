"""The report's HTML, read back by lxml: every figure is there, and no text of a study is markup."""

from __future__ import annotations

import base64
import copy
import hashlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html
from study_example import HOSTILE, MEASURES, example_study

from shortlist.errors import DataError, MissingExtraError, UsageError
from shortlist.evaluation.report import render, write_report

NAMES = (
    "dataset task counts warnings recommendation systems comparisons depth_curves robustness "
    "robustness_sentences kinds inspector environment measures primary"
)
BLOCKS = NAMES.split()


@pytest.fixture(scope="module")
def study() -> dict[str, Any]:
    return example_study()


@pytest.fixture(scope="module")
def page(study: dict[str, Any]) -> html.HtmlElement:
    return html.fromstring(render(study))


def words(node: html.HtmlElement) -> str:
    return " ".join(node.text_content().split())


def section(page: html.HtmlElement, name: str) -> html.HtmlElement:
    (found,) = page.xpath(f"//section[@aria-labelledby='{name}']")
    return found


def rows(page: html.HtmlElement, name: str) -> list[list[str]]:
    """Texts of the cells of a section's first table."""
    table = section(page, name).xpath(".//table")[0]
    return [[words(cell) for cell in row] for row in table.xpath("./tbody/tr")]


def numbers(text: str) -> list[float]:
    """The numbers of a cell, however they are set: "−0.0123 (+3.4 %)"."""
    found = re.findall(r"[+−-]?\d[\d,]*(?:\.\d+)?", re.sub(r"(?<=\d)–(?=\d)", " ", text))
    return [float(number.replace("−", "-").replace(",", "")) for number in found]


def embedded(page: html.HtmlElement) -> dict[str, Any]:
    (script,) = page.xpath("//script[@id='study']")
    assert not set("<>&") & set(script.text)  # no browser can see an element begin or end in it
    found: dict[str, Any] = json.loads(script.text)
    return found


# what is shown


def test_the_verdict_is_the_recommendation_with_its_evidence(
    page: html.HtmlElement, study: dict[str, Any]
) -> None:
    (chosen,) = [system for system in study["systems"] if system["recommended"]]
    verdict = section(page, "verdict")
    lead = words(verdict.find_class("lead")[0])
    assert lead.startswith(f"Use {chosen['name']}: nDCG@10 ")
    low, high = chosen["interval"]["nDCG@10"]
    figures = [chosen["mean"]["nDCG@10"], 95, low, high, chosen["ms"]["p50"]]
    assert numbers(lead.split("nDCG@10")[1]) == pytest.approx(figures, rel=2e-3)
    assert all(reason in words(verdict) for reason in study["recommendation"]["reasons"])
    assert verdict.xpath(".//code")[0].text == study["recommendation"]["command"]


def test_the_table_of_systems_has_every_figure(
    page: html.HtmlElement, study: dict[str, Any]
) -> None:
    body = section(page, "systems").xpath(".//tbody/tr")
    assert len(body) == len(study["systems"])
    for row, system in zip(body, study["systems"], strict=True):
        name, *cells = list(row)
        assert words(name).startswith(system["name"])
        assert ("recommended" in words(name)) == system["recommended"]
        assert ("frontier" in words(name)) == system["pareto"]
        ms = system["ms"]
        expected = [[system["mean"][m], *system["interval"][m]] for m in MEASURES]
        expected.append([ms["p50"], ms["p95"]])
        expected += [list((ms[stage] or {}).values()) for stage in ("encode", "retrieve", "rerank")]
        expected.append([system["queries_per_second"]])
        expected += [[system[key] / 1e6] for key in ("index_bytes", "model_bytes")]
        assert [words(cell)[-2:] for cell in cells[-2:]] == ["MB", "MB"]
        for cell, figures in zip(cells, expected, strict=True):
            assert numbers(words(cell)) == pytest.approx(figures, rel=6e-3, abs=5e-4)
        exact = [float(cell.get("data-value")) for cell in cells[: len(MEASURES)]]
        assert exact == [system["mean"][m] for m in MEASURES]  # what the table is sorted by


def test_the_table_of_comparisons_has_every_figure(
    page: html.HtmlElement, study: dict[str, Any]
) -> None:
    for cells, row in zip(rows(page, "comparisons"), study["comparisons"], strict=True):
        name, difference, interval, p, outcomes, detectable = cells
        assert name.startswith(f"{row['b']} against {row['a']}")
        verdict = "no difference shown" if row["p_holm"] >= 0.05 else "better"
        assert name.endswith(verdict)
        expected = [row["difference"], 100 * row["relative"], row["mean_a"], row["mean_b"]]
        assert numbers(difference) == pytest.approx(expected, abs=0.05)
        assert numbers(difference)[0] == pytest.approx(row["difference"], abs=5.1e-5)
        assert numbers(interval) == pytest.approx([row["low"], row["high"]], abs=5.1e-5)
        assert numbers(p) == pytest.approx([row["p_holm"], row["p"]], abs=1e-3)
        assert numbers(outcomes) == [row["wins"], row["ties"], row["losses"]]
        assert numbers(detectable) == pytest.approx([row["detectable"]], abs=5.1e-5)
    text = words(section(page, "comparisons"))
    smallest = min(row["detectable"] for row in study["comparisons"])
    assert f"With 60 queries, a difference in nDCG@10 must be at least {smallest:.4f}" in text
    queries = {query["id"]: query["text"] for query in study["inspector"]["queries"]}
    assert f"0.000 → 0.631 {queries['q5']}" in text  # what gained, by its text


def test_the_forest_plot_lies_where_the_figures_say(
    page: html.HtmlElement, study: dict[str, Any]
) -> None:
    drawn = section(page, "comparisons").xpath(".//*[local-name()='svg']")
    ends = [svg.xpath("./*/@x1 | ./*/@x2 | ./*/@cx") for svg in drawn]  # zero twice, then the bar
    at = [[float(end.rstrip("%")) for end in row] for row in ends]
    values = [
        [0.0, 0.0, row["low"], row["high"], row["difference"]] for row in study["comparisons"]
    ]
    scale = (at[0][4] - at[0][0]) / values[0][4]
    assert scale > 0
    for places, row in zip(at, values, strict=True):
        assert places == pytest.approx([at[0][0] + scale * value for value in row], abs=0.05)
        assert all(0 <= place <= 100 for place in places)


def test_the_other_tables_have_every_figure(page: html.HtmlElement, study: dict[str, Any]) -> None:
    for place, curve in enumerate(study["depth_curves"]):
        figure = section(page, "depth_curves").xpath(".//figure")[place]
        assert words(figure.xpath("./h3")[0]) == f"{curve['retriever']}: knee at 20"
        shown = [
            [number for cell in row for number in numbers(words(cell))]
            for row in figure.xpath(".//tbody/tr")
        ]
        names = ("depth", "recall", "ceiling", "reached", "low", "high", "ms")
        for cells, point in zip(shown, curve["points"], strict=True):
            known = [point[name] for name in names if point[name] is not None]
            assert cells == pytest.approx(known, rel=6e-3, abs=5e-4)
    changes = {(row["change"], row["system"]): row for row in study["robustness"]}
    table = rows(page, "robustness")
    for name, *cells in table:
        for system, cell in zip(("bm25", "minilm", "minilm + rerank 30"), cells, strict=True):
            row = changes.pop((name.removesuffix("53 queries").strip(), system), None)
            if row is None:
                assert cell == "–"
                continue
            keys = ("clean", "changed", "difference", "low", "high")
            relative, *figures = numbers(cell)
            assert relative == pytest.approx(100 * row["relative"], abs=0.051)
            assert figures == pytest.approx([row[key] for key in keys], abs=5.1e-4)
    assert not changes
    kinds = [numbers(cell) for _, *cells in rows(page, "kinds") for cell in cells]
    assert kinds == [
        pytest.approx([row["mean"], row["low"], row["high"]], abs=5.1e-4) for row in study["kinds"]
    ]


def test_counts_reasons_warnings_and_environment_are_shown(
    page: html.HtmlElement, study: dict[str, Any]
) -> None:
    tiles = [int(words(dd)) for dd in section(page, "counts").xpath(".//dd")]
    assert sorted(tiles) == sorted(study["counts"].values())
    task = words(section(page, "task"))
    assert "looks asymmetric" in task
    assert all(reason in task for reason in study["task"]["reasons"])
    assert "0.4127" in task
    assert study["warnings"][0] in words(section(page, "warnings"))
    environment = words(section(page, "environment"))
    assert "x86-64, AVX-512" in environment
    assert "numpy 2.4.6, onnxruntime 1.23.2" in environment
    assert "10,352 passages 60 of 1,204 queries 2026-11-24" in words(page.find_class("facts")[0])
    assert not page.xpath("//section[@aria-labelledby='known-item']")


def test_known_item_queries_are_labelled(study: dict[str, Any]) -> None:
    dataset = {**study["dataset"], "known_item": True, "sampled_from": 90_000}
    page = html.fromstring(render({**study, "dataset": dataset}))
    assert "made from the corpus" in words(section(page, "known-item"))
    assert "sampled from 90,000" in words(page.find_class("facts")[0])


def test_an_unclear_task_is_said_to_be_unclear(study: dict[str, Any]) -> None:
    page = html.fromstring(render({**study, "task": {"kind": "unclear", "reasons": ["A. B."]}}))
    assert "unclear whether the task is symmetric or asymmetric" in words(section(page, "task"))


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (8, 1, "The reranker lifted the relevant passage from 8 to 1."),
        (1, 12, "The reranker buried the relevant passage from 1 to 12."),
        (3, 3, "The reranker left the relevant passage at 3."),
        (None, None, "The relevant passage was never retrieved."),
        (4, None, "The reranker lost the relevant passage, which was at 4."),
        (None, 2, "The reranker found the relevant passage, which was not retrieved before, at 2."),
    ],
)
def test_a_sentence_says_what_became_of_the_relevant_passage(
    study: dict[str, Any], before: int | None, after: int | None, sentence: str
) -> None:
    inspector = copy.deepcopy(study["inspector"])
    query = inspector["queries"][0]
    query["relevant"][0] |= {"rank_before": before, "rank_after": after}
    told = embedded(html.fromstring(render({**study, "inspector": inspector})))
    assert told["inspector"]["queries"][0]["stories"] == [sentence]
    query["relevant"] *= 7  # of several, each is named, and the last ones are counted
    told = embedded(html.fromstring(render({**study, "inspector": inspector})))
    *stories, rest = told["inspector"]["queries"][0]["stories"]
    assert len(stories) == 5
    assert f"relevant passage “{query['relevant'][0]['title']}”" in stories[0]
    assert rest == "It has 2 more relevant passages."


def test_two_systems_that_differ_in_more_than_the_reranker_are_named(
    study: dict[str, Any],
) -> None:
    systems = {"before": "bm25", "after": "minilm + rerank 30"}
    page = html.fromstring(
        render({**study, "inspector": {**study["inspector"], "systems": systems}})
    )
    stories = [s for q in embedded(page)["inspector"]["queries"] for s in q["stories"]]
    assert stories
    assert all(story.startswith("minilm + rerank 30 ") for story in stories)


def test_the_inspector_holds_every_ranking_and_each_passage_once(
    page: html.HtmlElement, study: dict[str, Any]
) -> None:
    held = embedded(page)["inspector"]
    for query, given_query in zip(held["queries"], study["inspector"]["queries"], strict=True):
        for name in ("relevant", "ranking_before", "ranking_after"):
            whole = [row | held["passages"][row["id"]] for row in query[name]]
            assert whole == given_query[name]
    assert len(held["passages"]) == 12


# whatever is missing


def test_a_study_of_three_strings_is_a_page() -> None:
    page = html.fromstring(render({"title": "t", "created_by": "b", "created": "2026-11-24"}))
    assert [words(node) for node in page.xpath("//h1 | //h2")] == ["t", "How to read it"]
    assert len(page.xpath("//script[not(@type)]")) == 1  # plotly is left out where nothing is drawn


@given(kept=st.sets(st.sampled_from(BLOCKS)), empty=st.booleans())
@settings(deadline=None, max_examples=15)
def test_any_blocks_may_be_missing(study: dict[str, Any], kept: set[str], empty: bool) -> None:
    partial = {name: study[name] for name in ("title", "created_by", "created", *kept)}
    if empty:
        partial |= {name: type(study[name])() for name in BLOCKS if name not in kept}
    page = html.fromstring(render(partial))
    shown = {node.get("aria-labelledby") for node in page.xpath("//section")}
    told = {"robustness_sentences", "measures", "primary", "dataset", "recommendation"}
    expected = (kept - told) | {"glossary"} | ({"verdict"} if "recommendation" in kept else set())
    if "systems" in kept and kept & {"measures", "primary"}:
        expected.add("pareto")
    assert shown == expected
    anchors = [link.get("href") for link in page.xpath("//a[starts-with(@href, '#')]")]
    assert {anchor[1:] for anchor in anchors} <= {node.get("id") for node in page.xpath("//*[@id]")}


def test_figures_that_are_missing_are_dashes(study: dict[str, Any]) -> None:
    partial = copy.deepcopy(study)
    partial["systems"] = [{"name": "bare", "retriever": "bare", "mean": {"nDCG@10": 0.5}}]
    partial["comparisons"] = [{"a": "x", "b": "bare", "measure": "MAP", "difference": 0.1}]
    partial["recommendation"] = {"system": "gone"}
    page = html.fromstring(render(partial))
    assert rows(page, "systems") == [["bare", "0.5000", "–", "–", "–", "–", "–", "–"]]
    assert rows(page, "comparisons")[0][-4:-2] == ["–", "–"]
    assert words(section(page, "verdict")) == "Verdict Use gone."


def test_300_queries_stay_small() -> None:
    study = example_study(queries=300)
    size = len(render(study).encode())
    assert size - len(render({**study, "inspector": {}}).encode()) < 1_500_000
    assert size < 7_000_000


# safety


def test_the_policy_names_the_scripts_and_nothing_is_fetched(page: html.HtmlElement) -> None:
    (policy,) = page.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split("style-src")[0]
    scripts = page.xpath("//script[not(@type)]")
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "plotly.js" in scripts[0].text[:100]
    assert not page.xpath("//@src | //@srcset | //@action | //@onclick | //iframe | //object")
    assert {link for link in page.xpath("//@href") if link[0] != "#"} == {"data:,"}
    (style,) = page.xpath("//style")
    assert not re.search(r"url\(|@import|@font-face", style.text)


def test_hostile_text_stays_text() -> None:
    study = example_study(queries=12, hostile=True)
    page = html.fromstring(render(study))
    clean = html.fromstring(render(example_study(queries=12)))
    count = "count(//script | //img | //b | //*[local-name()='svg'] | //comment())"
    assert page.xpath(count) == clean.xpath(count)
    assert not [name for name in page.xpath("//@*") if name.attrname.startswith("on")]
    assert words(page.xpath("//h1")[0]).endswith(" ".join(HOSTILE.split()))
    assert page.xpath("//code")[0].text.endswith(HOSTILE)
    assert page.xpath("//tbody/tr/th")[0].get("data-value") == HOSTILE
    assert embedded(page)["inspector"]["queries"][0]["text"].endswith(HOSTILE)
    assert "{{ 7 * 7 }}" in words(section(page, "warnings"))


nasty = st.text(st.sampled_from("<>/!-&'\"\\scriptSCRIPT \n\u2028\0é"), max_size=40)


@given(texts=st.lists(nasty, min_size=1, max_size=20, unique=True))
@settings(deadline=None, max_examples=12)
def test_any_passage_reads_back(texts: list[str]) -> None:
    queries = [
        {"id": text, "text": text, "relevant": [{"id": text, "title": text, "text": text}]}
        for text in [*texts, "</script><!--<script>"]
    ]
    small = {"title": "t", "created_by": "b", "created": "c", "inspector": {"queries": queries}}
    held = embedded(html.fromstring(render(small)))["inspector"]
    assert [query["text"] for query in held["queries"]] == [query["id"] for query in queries]
    assert held["passages"] == {
        query["id"]: {"title": query["id"], "text": query["id"]} for query in queries
    }


# mistakes


def test_a_study_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match=r"no title, created; expected .* got \['created_by'\]"):
        render({"created_by": "b"})


def test_numbers_that_are_not_finite_are_named(study: dict[str, Any]) -> None:
    wrong = copy.deepcopy(study)
    wrong["systems"][1]["mean"]["nDCG@10"] = float("nan")
    wrong["kinds"][0]["high"] = float("inf")
    with pytest.raises(
        DataError, match=r"such as \['systems\.1\.mean\.nDCG@10', 'kinds\.0\.high'\]; write null"
    ):
        render(wrong)


def test_missing_libraries_are_named(
    study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def none_of_plotly(name: str) -> Any:
        return None if name == "plotly" else found(name)

    monkeypatch.setattr("shortlist.evaluation.report.find_spec", none_of_plotly)
    with pytest.raises(MissingExtraError, match=r"needs plotly: pip install 'shortlist\[report\]'"):
        render(study)


def test_the_file_is_what_was_rendered_and_replaces_what_was_there(
    study: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(json.loads(json.dumps(study)), path)
    assert path.read_bytes() == render(study).encode()
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    lone = {"title": "\ud800", "created_by": "b", "created": "c"}  # half a surrogate pair
    write_report(lone, str(path))
    assert html.fromstring(path.read_text(encoding="utf-8")).xpath("//h1")[0].text == "?"


@pytest.mark.parametrize("place", ["gone/report.html", "folder", "file/report.html"])
def test_a_place_that_cannot_be_written_is_named(
    study: dict[str, Any], tmp_path: Path, place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(UsageError, match=r"cannot be written \(.*\); give the path of a file"):
        write_report(study, tmp_path / place)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]
