"""`shortlist serve` as a process of its own, and passages that would like to be HTML."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from notes import NOTES

from shortlist.records import Passage

PAYLOADS = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<a href='javascript:window.hit=1'>go</a>",
    '"><script>window.hit=1</script>',
    "'-window.hit=1-'",
    "</p></li></ol><script>window.hit=1</script>",
    "{{constructor.constructor('window.hit=1')()}}",
    "${window.hit=1}",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "<math><mtext></p><script>window.hit=1</script>",
    "<details open ontoggle=window.hit=1>",
    "<body onload=window.hit=1>",
    "<input autofocus onfocus=window.hit=1>",
    "<style>@import 'http://127.0.0.1:1/x.css'</style>",
    "\u202e<b>turned</b>\u202c \U0001f600 <i>slanted</i>",
    "<template><script>window.hit=1</script></template>",
    "<object data='javascript:window.hit=1'>",
    "<base href='http://127.0.0.1:1/'>",
]
LINK = "https://example.org/plants?a=1&b=2"


def passages() -> list[Passage]:
    """The notes, one with a link; and payloads as texts, titles, sections and metadata."""
    notes = [
        Passage(f"n{number}", text, metadata={"year": 2015 + number, "url": LINK})
        for number, text in enumerate(NOTES)
    ]
    hostile = [
        Passage(
            f"x{number}<b>",
            f"Payload number {number} is a danger. {payload} It ends here.",
            title=f"Title {payload}",
            section=payload,
            metadata={"year": 1999, "url": "javascript:window.hit=1"},
        )
        for number, payload in enumerate(PAYLOADS)
    ]
    return [*notes, *hostile]


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    def end(self) -> int:
        """Ask it to end, as a terminal or a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(index, *options, **environment) -> Iterator[Server]:
    command = [sys.executable, "-m", "shortlist.cli", "serve", str(index), "--port", "0", *options]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            said = ""
            for line in process.stderr:
                said += line
                if found := re.search(r"answering at (\S+)/ ", line):
                    break
            else:
                raise AssertionError(said)
            yield Server(process, found[1])
        finally:
            if process.poll() is None:
                process.kill()
