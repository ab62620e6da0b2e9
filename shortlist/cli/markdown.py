"""Tables in Markdown, as GitHub writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence


def markdown_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table below its title; the first column is left-aligned, the others are numbers.

    What a cell holds is shown as it is: nothing in it is read as Markdown or ends its cell.
    """
    rule = ["---", *["---:"] * (len(columns) - 1)]
    body = [[_plain(cell) for cell in row] for row in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (map(_plain, columns), rule, *body)]
    return "\n".join([f"{title}:", "", *lines, ""])


def _plain(text: str) -> str:
    return re.sub(r"([\\`*\[<&~|])", r"\\\1", text)
