"""Hits and tables on a terminal."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shortlist.data.ledger import counted
from shortlist.errors import UsageError
from shortlist.models.encoders import Encoder
from shortlist.records import Hit

LONGEST_TEXT = 700  # characters of a passage that are shown


def stdout() -> Console:
    """Where results go: as wide as the terminal, or 100 columns into a pipe."""
    console = Console(highlight=False, markup=False, emoji=False)
    return (
        console
        if console.is_terminal
        else Console(highlight=False, markup=False, emoji=False, width=100)
    )


def note(message: str) -> None:
    """A remark for the user, on stderr."""
    typer.echo(message, err=True)


def report_cuts(model: Encoder, passages: int, tokens: int) -> None:
    """Say on stderr what the model did not read."""
    if passages:
        note(
            f"{counted(passages, 'passages')} longer than the {model.max_tokens} tokens that "
            f"{model.name} reads; {counted(tokens, 'tokens')} cannot be found (--cut-records cuts)"
        )


def refuse_same(output: Path | None, *inputs: Path | None) -> None:
    """Nobody wants a result in the place of what it was made from.

    Raises:
        UsageError: the output is one of the inputs.
    """
    for given in inputs:
        if output and given and output.exists() and given.exists() and output.samefile(given):
            raise UsageError(f"{output} is read and would be written over; choose another name")


def print_json(value: Any, *, indent: int | None = 1) -> None:
    """JSON on stdout; lone surrogates and the like stay escaped."""
    typer.echo(json.dumps(value, ensure_ascii=True, indent=indent, allow_nan=False))


def print_hits(hits: Sequence[Hit], spans: Sequence[tuple[int, int] | None] = ()) -> None:
    """The passages of one answer, best first; `spans` are parts of their texts to be marked."""
    console = stdout()
    for hit, span in zip_longest(hits, spans):
        console.print(heading(hit), soft_wrap=True)
        console.print(marked(hit, indented(excerpt(hit), 4, console), span), soft_wrap=True)
        if hit.cut_tokens:
            unread = f"    {hit.cut_tokens:,} tokens at its end were not read by the cross-encoder"
            console.print(Text(unread, "dim"), soft_wrap=True)
        if hit.folded:
            console.print(Text(f"    also: {', '.join(hit.folded)}", "dim"), soft_wrap=True)
        console.print()


def note_unanswered(answered: bool | None, hits: Sequence[Hit]) -> None:
    """Say on stderr that what is shown is no answer, where that is known."""
    if answered is not False:
        return
    said = "; the first passage answers with a probability of {:.0%}"
    first = [said.format(hit.relevance) for hit in hits[:1]]
    note("no good answer found" + "".join(first))


def heading(hit: Hit) -> Text:
    """Rank, title and section, and what both stages said."""
    line = Text(f"{hit.rank:>2}. ", style="bold")
    line.append(
        " / ".join(part for part in (hit.title, hit.section) if part) or hit.id, "bold cyan"
    )
    if hit.relevance is not None:
        line.append(f"  relevance {hit.relevance:.0%}", "green")
    line.append(f"  {hit.score_kind} {hit.score:.3f}", "green")
    if hit.rerank_score is not None:
        moved = "stays" if hit.retrieval_rank == hit.rank else f"{hit.retrieval_rank} → {hit.rank}"
        line.append(f"  (retrieval {hit.retrieval_score:.3f}, {moved})", "dim")
    if "#" in hit.id:  # a file: where to read on
        line.append(f"  {hit.document}", "dim")
    return line


def marked(hit: Hit, shown: str, span: tuple[int, int] | None) -> Text:
    """A passage as it is shown, with one part of its text marked where all of it is there."""
    text = Text(shown)
    if span and (words := hit.text[span[0] : span[1]].split()):
        for found in [*re.finditer(r"\s+".join(map(re.escape, words)), shown)][:1]:
            for line in re.finditer(r"\S.*", found[0]):  # not the margin
                start, end = line.span()
                text.stylize("bold yellow", found.start() + start, found.start() + end)
    return text


def indented(text: str, columns: int, console: Console) -> str:
    """A text wrapped to the console's width behind a margin, without trailing blanks."""
    margin = " " * columns
    return textwrap.fill(text, width=console.width, initial_indent=margin, subsequent_indent=margin)


def excerpt(hit: Hit, longest: int = LONGEST_TEXT) -> str:
    """The beginning of a passage, or of the window of a long one that scored best."""
    start, end = hit.window or (0, len(hit.text))
    before = "… " if start else ""
    after = " …" if hit.window and end < len(hit.text) else ""
    text = shortened(hit.text[start:end], longest)
    return before + text + ("" if text.endswith(" …") else after)


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """The beginning of a text on one line, cut at a word."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[:longest].rsplit(" ", 1)[0] + " …"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A small table; the first column is left-aligned, the others are numbers."""
    shown = Table(title=title or None, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        shown.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    stdout().print(shown)
