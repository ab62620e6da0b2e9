"""The page in headless Chromium."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from serving import LINK, PAYLOADS, serving

from shortlist import RetrieveRerankPipeline
from shortlist.pipeline.calibrated import Stages, write_calibration
from shortlist.records import Calibration

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
SWITCHES = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
QUESTION = "how do plants make food?"
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium or Chrome is installed")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES.split())
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, server):
    """A page whose console must stay empty, and that must ask nobody but its server."""
    said, elsewhere = [], []
    context = browser.new_context(base_url=server.address, viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: elsewhere.append(request.url))
    yield page
    assert page.evaluate("window.hit") is None
    context.close()
    assert [url for url in elsewhere if not url.startswith(("http://127.0.0.1:", "data:"))] == []
    assert [text for text in said if "status of 4" not in text and "ERR_" not in text] == []


def ask(page, question):
    page.fill("#q", question)
    page.keyboard.press("Enter")
    answered(page)


def answered(page):
    page.wait_for_selector("body[data-state=done]")


def until(page, condition):
    """Wait for what a script says; the page's policy allows no script of Playwright's own."""
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def ids(page):
    return page.eval_on_selector_all("#hits > li", "all => all.map(one => one.dataset.id)")


def test_a_question_and_its_answer(page):
    page.goto("/")
    page.wait_for_selector("#samples a")
    assert "web.idx" in page.inner_text("#name")
    ask(page, QUESTION)
    assert ids(page)[0] == "n0"
    assert page.inner_text("#hits > li:first-child mark") in (
        "Plants make sugar from water, air and light.",
        "This is called photosynthesis.",
    )
    assert re.search(
        r"5 passages in \d+ ms \(.*encode \d+ ms, .*rerank \d+ ms", page.inner_text("#status")
    )
    lifts = page.eval_on_selector_all(".lift", "all => all.map(one => one.textContent)")
    assert len(lifts) == 5
    assert all(re.fullmatch(r"\d+ → \d+|stays \d+", lift) for lift in lifts)
    assert re.fullmatch(r"relevance \d+ %", page.get_attribute("#hits meter", "aria-label"))
    assert not page.is_visible("#unsure")
    assert page.query_selector("#hits > li.answer:first-child")
    assert parse_qs(urlsplit(page.url).query) == {"q": [QUESTION]}
    assert page.title() == f"{QUESTION} – shortlist"


def test_no_good_answer_is_said(browser, served_index, tmp_path):
    index = shutil.copytree(served_index, tmp_path / "x.idx")
    pipeline = RetrieveRerankPipeline.open(index)
    stages = Stages.of(pipeline.index, pipeline.cross_encoder.fingerprint)
    strict = Calibration(slope=0.5, intercept=-4.0, answered_from=0.9999)
    write_calibration(pipeline.index, stages, strict, {})
    relevance = RetrieveRerankPipeline.open(index).search(QUESTION)[0].relevance
    with serving(index) as server:
        page = browser.new_page(base_url=server.address)
        page.goto("/")
        ask(page, QUESTION)
        assert page.inner_text("#unsure") == (
            "No good answer found. The first passage answers with a probability of "
            f"{relevance * 100:.0f} %."
        )
        assert len(ids(page)) == 5
        assert page.query_selector("#hits .answer") is None
        bar = page.get_attribute("#hits meter", "aria-label")
        assert bar == f"relevance {relevance * 100:.0f} %"
        page.goto("/")
        page.wait_for_selector("body[data-state=empty]")
        assert not page.is_visible("#unsure")
        page.close()


def test_samples_options_filters_and_the_address(page):
    page.goto("/")
    page.click(f"#samples a:has-text('{QUESTION}')")
    answered(page)
    page.click("#more summary")
    page.fill("#top_k", "3")
    page.press("#top_k", "Enter")
    until(page, "document.querySelectorAll('#hits > li').length === 3")
    page.fill("#depth", "2")
    page.press("#depth", "Enter")
    until(page, "document.querySelectorAll('.lift').length === 3")
    page.fill("#where", "year == 1999")
    page.press("#where", "Enter")
    until(
        page,
        "[...document.querySelectorAll('#hits > li')].every(one => one.dataset.id.startsWith('x'))",
    )
    answered(page)
    address = page.url
    assert parse_qs(urlsplit(address).query) == {
        "q": [QUESTION], "top_k": ["3"], "depth": ["2"], "where": ["year == 1999"],
    }  # fmt: skip
    shown = ids(page)
    page.goto("/")
    page.wait_for_selector("#samples a")
    page.goto(address)  # as one who was sent it
    answered(page)
    assert ids(page) == shown
    assert page.input_value("#where") == "year == 1999"
    page.fill("#where", "moon == 1")
    page.press("#where", "Enter")
    page.wait_for_selector("#problem:not([hidden])")
    assert "has a field 'moon'" in page.inner_text("#problem")


def test_back_and_forward(page):
    page.goto("/")
    page.wait_for_selector("#samples a")
    ask(page, QUESTION)
    first = ids(page)
    ask(page, "what warns ships of rocks?")
    assert ids(page)[0] == "n5"
    page.go_back()
    until(page, "document.querySelector('#hits > li')?.dataset.id === 'n0'")
    answered(page)
    assert page.input_value("#q") == QUESTION
    assert ids(page) == first
    page.go_back()
    page.wait_for_selector("#empty:not([hidden])")
    assert ids(page) == []
    page.go_forward()
    until(page, "document.querySelector('#hits > li')?.dataset.id === 'n0'")


def test_the_keyboard_and_links(page):
    page.goto("/?q=" + QUESTION)
    answered(page)
    page.focus("#q")
    for place in (0, 1):
        page.keyboard.press("ArrowDown")
        assert (
            page.evaluate(
                "[...document.querySelectorAll('#hits > li')].indexOf(document.activeElement)"
            )
            == place
        )
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    link = page.locator("#hits > li[data-id=n0] h2 a")
    assert link.get_attribute("href") == LINK
    assert page.locator("#hits > li[data-id^=x] h2 a").count() == 0  # javascript: is no link


@pytest.mark.parametrize("part", range(5))
def test_payloads_are_text(page, part):
    """As passages and as queries, twenty of each in five parts."""
    for payload in PAYLOADS[part::5]:
        page.goto("/")
        ask(page, payload)  # before the page has heard from its server
        until(page, "document.querySelectorAll('mark').length > 0")
        shown = page.inner_text("#hits")
        for hit in page.query_selector_all("#hits > li"):
            assert hit.query_selector("script, img, iframe, object, svg, math, style, base") is None
        assert "&lt;script" not in shown or "&lt;script&gt;window.hit=1&lt;" in shown
        assert page.input_value("#q") == payload.strip()
    number = part  # this payload's own passage shows what it says
    page.goto(f"/?q=Payload number {number} is a danger&top_k=30&where=id == 'x{number}<b>'")
    page.wait_for_selector("mark")
    text = page.locator("#hits > li .text").text_content()
    assert PAYLOADS[number] in text
    assert PAYLOADS[number] in page.locator("#hits > li h2").text_content()


def test_the_highlight_is_right_behind_characters_of_two_units(page):
    page.goto("/?q=turned slanted Payload number 16&top_k=1")
    page.wait_for_selector("mark")
    text, mark = page.locator("#hits .text").text_content(), page.inner_text("mark")
    assert mark in text
    assert mark.strip()[0].isupper() or mark.startswith("\u202e")
    assert mark.rstrip()[-1] in ".>\u202c"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_people_who_cannot_see_well(browser, server, scheme, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    context = browser.new_context(
        base_url=server.address, color_scheme=scheme, viewport={"width": 375, "height": 800}
    )
    page = context.new_page()
    for path in ("/", f"/?q={QUESTION}", "/?q=a&where=moon == 1", "/api/docs"):
        page.goto(path)
        page.wait_for_selector(
            "body:is([data-state=empty], [data-state=done], [data-state=problem], .reference)"
        )
        if path != "/api/docs":
            page.click("#more summary")
        page.wait_for_timeout(300)
        found = axe.Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0  # nothing to be scrolled sideways on a phone
        page.screenshot(path=Path(tmp_path) / "page.png")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    context.close()


def test_a_server_that_is_gone_is_said(page, served_index):
    with serving(served_index) as server:
        page.goto(server.address)
        page.wait_for_selector("#name:not(:empty)")
        server.end()
        page.fill("#q", QUESTION)
        page.keyboard.press("Enter")
        page.wait_for_selector("#problem:not([hidden])")
        assert "does not answer" in page.inner_text("#problem")


def test_a_token_is_asked_for(page, served_index):
    with serving(served_index, SHORTLIST_TOKEN="s3cret") as server:  # noqa: S106
        page.goto(server.address + "/?q=" + QUESTION)
        page.wait_for_selector("#token-row:not([hidden])")
        page.fill("#token", "s3cret")
        page.press("#token", "Enter")
        answered(page)
        assert ids(page)[0] == "n0"
