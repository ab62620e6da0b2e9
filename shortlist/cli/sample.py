"""`shortlist sample`: the sample corpus that ships with the package, as files to work with."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.show import note
from shortlist.errors import UsageError

SAMPLE = Path(str(files("shortlist.data") / "sample"))


def sample(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make.")],
) -> None:
    """Copy the sample encyclopedia, its questions and judgements into a folder.

    Example: shortlist sample my-sample
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists already and is not an empty folder; choose another")
    shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
    note(
        f"{folder}: encyclopedia.xml, queries.jsonl, qrels/ (a question and the passages that "
        "answer it), similar_questions/ (questions that ask the same); see README.md there"
    )
