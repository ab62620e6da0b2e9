"""`shortlist ask` at a terminal: the sentence that answers is marked, questions are remembered."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

MARKED = re.compile(r"\x1b\[1;33m(.*?)\x1b\[0m", re.DOTALL)


class Terminal:
    """A process at a pseudo-terminal of 80 columns."""

    def __init__(self, command, environment):
        self.leader, follower = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, env=environment
        )
        os.close(follower)
        self.said = ""

    def until(self, text, seconds=60):
        """What was said up to a text."""
        deadline = time.monotonic() + seconds
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            if select.select([self.leader], [], [], 0.2)[0]:
                self.said += os.read(self.leader, 65_536).decode()
        said, self.said = self.said.split(text, 1)
        return said

    def type(self, text):
        os.write(self.leader, text.encode())

    def end(self):
        self.type("\n")
        code = self.process.wait(30)
        os.close(self.leader)
        return code


@pytest.fixture
def terminal(notes_index, exports, tmp_path):
    started = []

    def start():
        environment = {
            **os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "HOME": str(tmp_path),
        }  # fmt: skip
        command = [sys.executable, "-m", "shortlist.cli", "ask", str(notes_index), "-k", "2"]
        started.append(Terminal(command, environment))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
    (exports / "ask-history").unlink(missing_ok=True)


def test_the_answer_is_marked_and_questions_are_remembered(terminal, exports):
    one = terminal()
    one.until("? ")
    one.type("what is photosynthesis?\n")
    shown = one.until("\n? ")
    sentences = ["Plants make sugar from water, air and light.", "This is called photosynthesis."]
    best = shown.partition(" 2. ")[0]
    assert " ".join(" ".join(MARKED.findall(best)).split()) in sentences, repr(shown)
    assert re.search(r"retrieval 0\.\d{3}, (stays|\d → \d)", shown)
    assert one.end() == 0
    history = exports / "ask-history"
    assert "what is photosynthesis?" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
    other = terminal()
    other.until("? ")
    other.type("\x1b[A\n")  # arrow up
    assert "photosynthesis" in other.until("\n? ")
    assert other.end() == 0


def test_a_pipe_gets_no_marks(notes_index):
    done = subprocess.run(
        [sys.executable, "-m", "shortlist.cli", "ask", str(notes_index), "-k", "1"],
        input="what is photosynthesis?\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "\x1b[" not in done.stdout
    assert "This is called photosynthesis." in done.stdout
