"""`shortlist duplicates`: the most similar pairs of passages of an index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from shortlist.cli.options import AsJson, IndexArgument, Where
from shortlist.cli.show import note, print_json
from shortlist.data.atomic import written
from shortlist.data.ledger import counted
from shortlist.errors import UsageError
from shortlist.pipeline.duplicates import ScoredPair, similar_pairs
from shortlist.pipeline.index import Index
from shortlist.pipeline.writing import progress_bar

SHOWN = 20
_TEXT = 300  # characters of each text on a terminal


def duplicates(
    index: IndexArgument,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="All pairs of at least this cosine, such as 0.95."),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", help=f"The most similar pairs, so many: {SHOWN}.", show_default=False
        ),
    ] = None,
    where: Where = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write JSON lines with ids and scores.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find passages that say nearly the same: the most similar pairs of an index.

    Every pair is compared. With --threshold there may be very many: write them with -o.

    Example: shortlist duplicates notes.idx --top 50

    Example: shortlist duplicates notes.idx --threshold 0.95 -o pairs.jsonl
    """
    if threshold is not None and top is not None:
        raise UsageError("give --threshold or --top: all that reach it, or so many")
    if threshold is not None and output is None:
        raise UsageError("all pairs above a threshold may be very many: write them with -o FILE")
    opened = Index(index)
    count = opened.among(where).count
    with progress_bar("comparing", count, "passages", None) as bar:
        pairs = similar_pairs(
            opened,
            threshold=threshold,
            count=(SHOWN if top is None else top) if threshold is None else None,
            where=where,
            on_rows=bar.update,
        )
        if output is not None:
            note(f"{counted(_write(pairs, output), 'pairs')}: {output}")
            return
        found = list(pairs)
    if as_json:
        print_json(list(_with_texts(opened, found)))
    else:
        _print(opened, found)


def _write(pairs: Iterable[ScoredPair], output: Path) -> int:
    count = 0
    with written(output) as stream:
        for pair in pairs:
            count += 1
            row = {"score": pair.score, "ids": [pair.first_id, pair.second_id]}
            stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
    return count


def _with_texts(index: Index, pairs: list[ScoredPair]) -> Iterator[dict[str, Any]]:
    for pair in pairs:
        first, second = index.passages(np.array([pair.first, pair.second]))
        yield {
            "score": pair.score,
            "ids": [first.id, second.id],
            "texts": [first.text, second.text],
        }


def _print(index: Index, pairs: list[ScoredPair]) -> None:
    for row in _with_texts(index, pairs):
        typer.echo(f"{row['score']:.4f}")
        for identifier, text in zip(row["ids"], row["texts"], strict=True):
            shown = " ".join(text.split())
            shown = shown if len(shown) <= _TEXT else shown[: _TEXT - 1] + "…"
            typer.echo(f"  {identifier}: {shown}")
    if not pairs:
        note("no pairs: there are fewer than two passages")
