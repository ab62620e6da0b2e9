"""Where a model is written: beside its place until it is whole, with what a run needs to go on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from shortlist.errors import UsageError
from shortlist.models.loading import resolve
from shortlist.training.groups import Group
from shortlist.training.trainer import BEFORE, CHECKPOINTS, Schedule, Trained

RUN = "run.json"
TRAINING = "training.json"


class Output:
    """The place of a model in training.

    Args:
        path: the folder that is to be written.
        run: a digest of everything that decides the weights.

    Attributes:
        path: absolute.
        partial: the folder beside it that holds progress.

    Raises:
        UsageError: something that training did not make is there, or the progress of another run.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._run = run
        self.path = path.resolve()
        self.partial = partial_of(path)
        refuse_to_replace(self.path)
        self.partial.mkdir(parents=True, exist_ok=True)
        mark = self.partial / RUN
        if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) != {"run": run}:
            raise UsageError(
                f"{self.partial} is from a run with another recipe or other groups; delete it to "
                "start anew"
            )
        write_json(mark, {"run": run})

    @property
    def done(self) -> Trained | None:
        """What a run of the same did that has already ended; None where none has."""
        file = self.path / TRAINING
        record = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if record.get("run") != self._run:
            return None
        done = Trained(**{field.name: record[field.name] for field in fields(Trained)})
        return replace(done, dev=[(step, value) for step, value in done.dev])

    def draft(self) -> Path:
        """The folder in which the model is put together, empty."""
        draft = self.partial / "model"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        return draft

    def finish(self, recipe: dict[str, Any], groups: int, trained: Trained) -> None:
        """Record how it went, and put the model in its place; progress is forgotten."""
        draft = self.partial / "model"
        record = {"recipe": recipe, "groups": groups, "run": self._run, **asdict(trained)}
        write_json(draft / TRAINING, record)
        if self.path.exists():
            shutil.rmtree(self.path)
        draft.rename(self.path)
        forget(self.partial)


def run_digest(recipe: Schedule, init: str, groups: Sequence[Group], dev_key: str) -> str:
    """What tells one run from another: everything that decides the weights."""
    digest = hashlib.sha256(json.dumps(asdict(recipe)).encode())
    digest.update(f"{resolve(init).fingerprint} {dev_key}".encode())
    for group in groups:
        digest.update(json.dumps([group.query, group.passages, group.scores]).encode())
    return digest.hexdigest()


def forget(partial: Path) -> None:
    """Delete checkpoints, and the folder where nothing else is in it."""
    shutil.rmtree(partial / CHECKPOINTS, ignore_errors=True)
    for name in (RUN, BEFORE):
        (partial / name).unlink(missing_ok=True)
    if partial.is_dir() and not any(partial.iterdir()):
        partial.rmdir()


def partial_of(path: Path) -> Path:
    """The folder beside a model's that holds what a run needs to go on."""
    path = path.resolve()
    return path.with_name(path.name + ".partial")


def refuse_to_replace(path: Path) -> None:
    """A folder that training made may be replaced, anything else is left alone.

    Raises:
        UsageError: anything else is there.
    """
    ours = (path / TRAINING).is_file()
    if path.exists() and not ours and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(
            f"{path} exists and was not made by training; it is left as it is: choose another place"
        )


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
