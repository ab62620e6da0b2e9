"""Options that several verbs share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

IndexArgument = Annotated[Path, typer.Argument(metavar="INDEX", help="The index folder.")]
TopK = Annotated[int, typer.Option("-k", "--top-k", help="Passages to show.")]
Depth = Annotated[int, typer.Option("--depth", help="Candidates that the cross-encoder rescores.")]
NoRerank = Annotated[bool, typer.Option("--no-rerank", help="The first stage alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[
    str,
    typer.Option("--device", help="auto, cpu, torch-cpu, cuda, cuda:1, mps.", show_default=True),
]
CrossEncoderName = Annotated[
    str | None,
    typer.Option("--cross-encoder", help='Another second stage: a name, a folder, or "none".'),
]
