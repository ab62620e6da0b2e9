"""Draw docs/answer.svg from what the terminal shows: `python docs/answer_svg.py SAMPLE_INDEX`.

SAMPLE_INDEX is what `shortlist demo` or `shortlist index` made of the sample encyclopedia.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

QUESTION = "which string instrument is held between the knees"
COLUMNS = 96


def main(index: str) -> None:
    """Run the search, and write its output with its colours."""
    shown = f'shortlist search encyclopedia.idx "{QUESTION}" -k 2'
    command = [sys.executable, "-m", "shortlist.cli", "search", index, QUESTION, "-k", "2"]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=True,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)},
    )  # fmt: skip
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), shown))
    console.print(Text.from_ansi(done.stdout.rstrip()))
    svg = console.export_svg(title="shortlist")
    # the picture fetches nothing: a font of the reader's own will do
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "Fira Code, DejaVu Sans Mono, Menlo, monospace")
    svg = "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"
    Path(__file__).with_name("answer.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
