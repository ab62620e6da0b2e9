"""The documentation is true: its commands and Python run, its questions have answers."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from world import make

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
COMMANDS = ("shortlist", "python", "pip", "make", "curl", ".venv/bin/")

# what is not run here, and where it is
ELSEWHERE = {
    r"^make (demo|test)": "what .ci/run and whoever reads this do",
    r"^(python -m venv|\.venv/bin/pip|pip) ": "an environment is made by .ci/run",
    r"^shortlist (serve|ask)": "tests/web and tests/cli/test_ask_terminal.py run them",
    r"^curl ": "tests/web asks the server",
    r"HOST:|db\.example": "needs a server or a cluster: tests/pipeline has both",
    r"--ray local": "tests/pipeline/test_ray.py builds on a cluster",
    r"--held-out data/squad": "the world's squad is its wikipedia: tests/data/test_check.py",
}
CODES = {"shortlist check": (0, 1)}  # it finds something in so small a collection
BUILDS = re.compile(r"^shortlist (?:index|encode|sample|train).* -o (\S+)|^shortlist sample (\S+)")


def commands_of(page: Path) -> list[str]:
    """The indented lines of a page that begin with a command, continued ones joined."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = text.replace("\\\n", " ")
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return [re.sub(r"\s+# .*", "", line) for line in lines if line.startswith(COMMANDS)]


def programs_of(page: Path) -> list[tuple[str, str | None]]:
    """The Python of a page, each block with the output that is shown below it."""
    found = re.findall(
        r"^```python\n(.*?)^```\n(?:\n```(?:text)?\n(.*?)^```)?", page.read_text(),
        re.MULTILINE | re.DOTALL,
    )  # fmt: skip
    return [(code, output or None) for code, output in found]


def elsewhere(command: str) -> bool:
    return any(re.search(pattern, command) for pattern in ELSEWHERE)


@pytest.fixture(scope="session")
def prepared(exports, tmp_path_factory):
    return make(tmp_path_factory.mktemp("world") / "world")


@pytest.fixture
def world(prepared, tmp_path, monkeypatch):
    """A copy of its own for each page, and the current folder."""
    shutil.copytree(prepared, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    monkeypatch.setenv("SHORTLIST_CONFIG", str(tmp_path / "settings"))
    return tmp_path / "world"


def run(command: str) -> None:
    if built := BUILDS.search(command):
        place = Path(built[1] or built[2])
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    program, *arguments = shlex.split(command)
    start = [sys.executable, "-m", "shortlist.cli"] if program == "shortlist" else [sys.executable]
    done = subprocess.run(
        [*start, *arguments], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    allowed = next((codes for name, codes in CODES.items() if command.startswith(name)), (0,))
    assert done.returncode in allowed, f"{command}\n{done.stderr}"


@pytest.mark.docs
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [p for p in PAGES if commands_of(p)], ids=lambda p: p.stem)
def test_the_commands_of_a_page_run(page, world):
    for command in commands_of(page):
        if not elsewhere(command):
            run(command)


@pytest.mark.docs
@pytest.mark.parametrize("page", [p for p in PAGES if programs_of(p)], ids=lambda p: p.stem)
def test_the_python_of_a_page_prints_what_is_shown(page, world, bi_encoder):
    shutil.rmtree("notes.idx")  # where the page makes one
    names: dict[str, object] = {"__name__": "page"}
    if "corpus" in page.read_text():  # what a reader has
        names |= {
            "corpus": bi_encoder.encode_passages(["a", "b", "c"] * 5),
            "queries": bi_encoder.encode_queries(["a", "b"]),
        }
    for code, output in programs_of(page):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(page), "exec"), names)  # noqa: S102
        if output is not None:
            assert printed.getvalue() == output


def test_everything_is_run_here_or_elsewhere():
    """Every indented or fenced block is a command, Python, or something that is only shown."""
    shown = re.compile(r"^```(?!python|text|mermaid|json|console|$)(\w+)", re.MULTILINE)
    assert {
        p.name: shown.findall(p.read_text()) for p in PAGES if shown.findall(p.read_text())
    } == {}
    used = {pattern for pattern in ELSEWHERE for p in PAGES for command in commands_of(p)
            if re.search(pattern, command)}  # fmt: skip
    assert used == set(ELSEWHERE)


def test_every_question_has_a_page_and_a_heading():
    text = (ROOT / "docs/questions.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE)[1:]
    assert len(rows) > 20
    for question, answer in rows:
        links = re.findall(r"\]\(([\w.-]+\.md)(?:#([\w-]+))?\)", answer)
        assert links, question
        for page, anchor in links:
            headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
            assert not anchor or anchor in {_anchor(heading) for heading in headings}, (
                page,
                anchor,
            )
    for asked in ("add documents", "duplicate questions", "exceed 1", "my GPU", "recall@100"):
        assert any(asked in question for question, _ in rows), asked


def _anchor(heading: str) -> str:
    plain = re.sub(r"[^\w\s-]", "", heading).strip().lower()
    return re.sub(r"[-\s]+", "-", plain)


def test_the_reference_of_commands_is_the_commands():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from cli_reference import reference
    finally:
        sys.path.pop(0)
    written = (ROOT / "docs/cli.md").read_text()
    assert written == reference(), "run python docs/cli_reference.py"


@pytest.mark.docs
def test_the_documentation_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="needs mkdocs-material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
