"""The report in headless Chromium, opened from disk with the network cut: it draws and obeys."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from study_example import HOSTILE, example_study

from shortlist.evaluation.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
Browser, Page = sync_api.Browser, sync_api.Page
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium or Chrome is installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES.split())
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def study() -> dict[str, Any]:
    return example_study(40)


class Visitor:
    """Opens reports from disk with the network cut, and writes down what goes wrong."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.folder = browser, folder
        self.trouble: list[str] = []

    def open(self, name: str, study: dict[str, Any], width: int = 1280, **options: Any) -> Page:
        path = self.folder / f"{name}.html"
        write_report(study, path)
        context = self.browser.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_default_timeout(30_000)  # a busy machine
        context.set_offline(True)
        page = context.new_page()

        def only_the_file(route: Any) -> None:
            if route.request.url == path.as_uri():
                route.continue_()
            else:
                self.trouble.append(f"asked for {route.request.url}")
                route.abort()

        page.route(lambda url: not url.startswith("data:"), only_the_file)
        page.on("console", lambda message: self.trouble.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("requestfailed", lambda request: self.trouble.append(f"failed: {request.url}"))
        page.goto(path.as_uri())
        return page


@pytest.fixture(scope="module")
def visitor(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    return Visitor(browser, tmp_path_factory.mktemp("reports"))


@pytest.fixture(autouse=True)
def calm(visitor: Visitor) -> Iterator[None]:
    """No test may leave an error on the console, or a request for anything but the file."""
    yield
    for context in visitor.browser.contexts:
        for page in context.pages:
            page.wait_for_timeout(20)  # lets late errors arrive
    trouble, visitor.trouble = visitor.trouble, []
    assert not trouble


@pytest.fixture(scope="module")
def page(visitor: Visitor, study: dict[str, Any]) -> Page:
    """One page for most tests, for a browser reads plotly for a second; each sets what it needs."""
    return visitor.open("whole", study)


def listed(page: Page) -> list[str]:
    found: list[str] = page.locator("#inspect-list button span:last-child").all_text_contents()
    return found


def order(page: Page, by: str) -> None:
    page.fill("#inspect-search", "")
    page.select_option("#inspect-order", by)


def test_the_plots_show_the_figures(page: Page, study: dict[str, Any]) -> None:
    traces = page.evaluate("document.getElementById('pareto-plot').data")
    marks = [trace for trace in traces if trace["mode"] == "markers+text"]
    drawn = {(x, y) for trace in marks for x, y in zip(trace["x"], trace["y"], strict=True)}
    systems = study["systems"]
    assert drawn == {(s["ms"]["p50"], s["mean"]["nDCG@10"]) for s in systems}
    first = systems[0]
    errors = marks[0]["error_y"]
    low, high = first["interval"]["nDCG@10"]
    assert marks[0]["y"][0] - errors["arrayminus"][0] == pytest.approx(low)
    assert marks[0]["y"][0] + errors["array"][0] == pytest.approx(high)
    (frontier,) = [trace for trace in traces if trace.get("name") == "frontier"]
    assert set(frontier["y"]) == {s["mean"]["nDCG@10"] for s in systems if s["pareto"]}
    (chosen,) = [s for s in systems if s["recommended"]]
    note = page.locator("#pareto-plot .annotation-text").first
    assert chosen["name"] in note.text_content()
    assert page.locator(".plot svg.main-svg").count() >= 4
    reached = page.evaluate(
        "document.querySelector('[data-curve=\"1\"]').data.find((t) => /reached/.test(t.name)).y"
    )
    points = study["depth_curves"][1]["points"]
    assert reached == [p["reached"] for p in points if p["reached"] is not None]


def test_hovering_a_system_shows_all_its_figures(page: Page, study: dict[str, Any]) -> None:
    page.locator("#pareto-plot").scroll_into_view_if_needed()
    box = page.locator("#pareto-plot .scatterlayer .points path.point").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    text = page.locator("#pareto-plot .hoverlayer .hovertext").text_content()
    system = study["systems"][0]
    for figure in ("nDCG@10", "MRR@10", "Recall@100"):
        assert f"{figure} {system['mean'][figure]:.4f}" in text
    assert "0.9 ms, 95 % within 1.26 ms" in text


def test_a_heading_sorts_the_table_by_click_and_by_key(page: Page, study: dict[str, Any]) -> None:
    heading = page.locator("table.systems thead th", has_text="nDCG@10")

    def column() -> list[float]:
        cells = page.locator("table.systems tbody tr td:nth-child(2)")
        return [float(cell.get_attribute("data-value")) for cell in cells.all()]

    values = [system["mean"]["nDCG@10"] for system in study["systems"]]
    assert column() == values
    heading.locator("button").click()
    assert column() == sorted(values, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    heading.locator("button").press("Enter")
    assert column() == sorted(values)
    assert heading.get_attribute("aria-sort") == "ascending"
    page.locator("table.systems thead th", has_text="rerank").locator("button").click()
    last = page.locator("table.systems tbody tr td:nth-child(8)").all_text_contents()[-3:]
    assert [text.strip() for text in last] == ["–"] * 3  # what was not measured comes last
    assert heading.get_attribute("aria-sort") == "none"


def test_the_inspector_begins_with_the_worst_regression_and_can_be_reordered(
    page: Page, study: dict[str, Any]
) -> None:
    queries = study["inspector"]["queries"]
    order(page, "regressions")
    gains = sorted(query["after"] - query["before"] for query in queries)

    def deltas() -> list[float]:
        texts = page.locator("#inspect-list .delta").all_text_contents()
        return [float(text.replace("−", "-")) for text in texts]

    assert deltas() == pytest.approx(gains, abs=0.0051)
    page.select_option("#inspect-order", "gains")
    assert deltas() == pytest.approx(gains[::-1], abs=0.0051)
    page.select_option("#inspect-order", "lowest")
    scores = {query["text"]: query["after"] for query in queries}
    lowest = [scores[text] for text in listed(page)]
    assert lowest == sorted(lowest)
    page.fill("#inspect-search", "Tide  why")
    expected = [q["text"] for q in queries if "tide" in q["text"] and "why" in q["text"].lower()]
    assert sorted(listed(page)) == sorted(expected)
    assert expected
    assert page.text_content("#inspect-count") == f"{len(expected)} of 40 queries"
    assert page.text_content("#inspect-detail h3") in expected
    page.fill("#inspect-search", "nothing has this")
    assert (listed(page), page.text_content("#inspect-detail")) == ([], "")


def test_a_click_shows_both_rankings_with_what_moved(page: Page, study: dict[str, Any]) -> None:
    query = next(q for q in study["inspector"]["queries"] if q["relevant"][0]["rank_before"] == 3)
    order(page, "gains")
    page.locator("#inspect-list button", has_text=query["text"]).first.click()
    assert page.text_content("#inspect-detail h3") == query["text"]
    for side in ("before", "after"):
        ids = page.locator(f"[data-side={side}] [data-passage]").all()
        ranking = query[f"ranking_{side}"]
        assert [i.get_attribute("data-passage") for i in ids] == [row["id"] for row in ranking]
        marked = page.locator(f"[data-side={side}] li.relevant .passage-title").all_text_contents()
        assert marked == [row["title"] for row in ranking if row["grade"] == 2]
    moved = [row for row in query["ranking_after"] if row["rank"] != row["rank_before"]]
    moves = page.locator("[data-side=after] .move").all_text_contents()
    assert [move for move in moves if move != "not moved"] == [
        f"{row['rank_before']} → {row['rank']}" for row in moved
    ]
    both = {row["id"] for row in query["ranking_before"]}
    both &= {row["id"] for row in query["ranking_after"]}
    assert page.locator(".stages > svg path").count() == len(both)
    text = page.locator("[data-side=before] li").first
    height = text.bounding_box()["height"]
    text.locator(".more").click()
    assert text.bounding_box()["height"] > height


def test_the_inspector_obeys_the_keyboard(page: Page, study: dict[str, Any]) -> None:
    order(page, "regressions")
    texts = listed(page)
    page.focus("#inspect-order")
    page.keyboard.press("Tab")  # one stop for the whole list
    for key, place in (
        ("ArrowDown", 1),
        ("ArrowDown", 2),
        ("ArrowUp", 1),
        ("End", 39),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert page.text_content("#inspect-detail h3") == texts[place]
        current = page.locator("#inspect-list [aria-current=true]")
        assert current.locator("span").last.text_content() == texts[place]
        assert current.evaluate("(node) => node === document.activeElement")


def test_the_command_is_copied(page: Page, study: dict[str, Any]) -> None:
    page.click("[data-copy]")
    sync_api.expect(page.locator("[data-copy]")).to_have_text("Copied")
    page.fill("#inspect-search", "")  # a browser may remember what an earlier page had there
    page.focus("#inspect-search")
    page.keyboard.press("Control+V")
    assert page.input_value("#inspect-search") == study["recommendation"]["command"]


def test_dark_mode_reaches_the_plots(page: Page, study: dict[str, Any]) -> None:
    def colours() -> tuple[str, str, str]:
        found = page.evaluate(
            """() => {
              const tick = document.querySelector('#pareto-plot .xtick text');
              const style = getComputedStyle(document.body);
              return [style.backgroundColor, style.color, getComputedStyle(tick).fill];
            }"""
        )
        return tuple(found)

    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(200)
    dark = colours()
    page.emulate_media(color_scheme="light")
    page.wait_for_timeout(200)
    light = colours()
    assert dark[1] == dark[2]  # the ticks are written in the colour of the text
    assert light[1] == light[2]
    assert sum(map(int, dark[0][4:-1].split(","))) < 120
    assert sum(map(int, light[0][4:-1].split(","))) > 700


def excess_width(page: Page) -> int:
    """How much wider than the window the page is, with everything open."""
    page.evaluate("document.querySelectorAll('details').forEach((node) => (node.open = true))")
    page.wait_for_timeout(200)
    widths = page.locator(".plot .main-svg").evaluate_all("(all) => all.map((s) => s.clientWidth)")
    assert widths
    assert max(widths) <= page.viewport_size["width"]
    found: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return found


def test_a_narrow_window_scrolls_only_downwards(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    too_wide = excess_width(page)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert too_wide == 0


def test_on_a_phone_hostile_passages_neither_run_nor_spread(visitor: Visitor) -> None:
    study = example_study(12, hostile=True)
    for system in study["systems"]:
        system["name"] += "x" * 80
    page = visitor.open("hostile", study, width=360, has_touch=True, is_mobile=True)
    assert excess_width(page) == 0
    page.locator("#inspect-list button").nth(3).tap()
    chosen = page.locator("#inspect-list [aria-current=true] span").last.text_content()
    assert page.text_content("#inspect-detail h3") == chosen
    assert HOSTILE in chosen
    assert HOSTILE in page.locator("[data-side=before] .passage-text").first.text_content()
    assert excess_width(page) == 0
    page.locator("#pareto-plot .points path.point").first.tap(force=True)
    page.wait_for_timeout(200)
    assert HOSTILE in page.locator(".hoverlayer .hovertext").first.text_content()
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main b").count() == 0


def test_studies_of_few_blocks_run_without_errors(visitor: Visitor, study: dict[str, Any]) -> None:
    head = {name: study[name] for name in ("title", "created_by", "created")}
    bare = {**study["systems"][0], "interval": {}, "cross_encoder": None, "ms": {"p50": 3.0}}
    blocks: list[tuple[dict[str, Any], int]] = [
        ({}, 0),
        ({"inspector": study["inspector"]}, 0),
        ({"systems": [bare], "primary": "nDCG@10", "depth_curves": study["depth_curves"][:1]}, 2),
    ]
    for number, (block, plots) in enumerate(blocks):
        page = visitor.open(f"few-{number}", copy.deepcopy({**head, **block}))
        assert page.locator(".plot:has(.main-svg)").count() == plots
        assert page.text_content("h1") == study["title"]
        assert bool(listed(page)) == ("inspector" in block)
        page.context.close()
