"""SIGKILL at any moment of a change: what was committed is there, whole, and the rest can follow.

`benchmarks/crashes.py` does the same hundreds of times.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import killed
import numpy as np
import pytest

from shortlist.errors import IndexFolderError
from shortlist.pipeline import writer, writing
from shortlist.pipeline.index import Index
from shortlist.pipeline.verify import faults_of

KILLS = int(os.environ.get("SHORTLIST_KILLS", "6"))  # of each change, at a moment
OPERATIONS = int(os.environ.get("SHORTLIST_KILLED_OPERATIONS", "2"))  # before a file operation
SEED = int(os.environ.get("SHORTLIST_SEED", "0"))


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    for module, name in (
        (writer, "ROWS_PER_SEGMENT"),
        (writer, "COMMIT_SECONDS"),
        (writing, "PASSAGES_AT_ONCE"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back afterwards
    killed.small_steps()


def contents(index):
    """Everything that an index holds, in its order."""
    return list(index.all_passages()), index.vectors(index.live_rows).tobytes()


@dataclass
class Undisturbed:
    """A change that nobody interrupted."""

    before: Path
    first: int = 0  # the commit that was there before
    states: dict[int, object] = field(default_factory=dict)  # by the number of the commit
    seconds: float = 0.0
    operations: int = 0

    @property
    def last(self):
        return self.states[max(self.states)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    known: dict[str, Undisturbed] = {}

    def of(verb: str) -> Undisturbed:
        if verb not in known:
            folder = tmp_path_factory.mktemp(verb)
            found = known[verb] = Undisturbed(folder / "before")
            killed.prepare(verb, found.before)
            copied(found.before, folder / "x.idx")
            publish = writer.IndexWriter._publish

            def noted(self, records, fields):
                publish(self, records, fields)
                found.states[self.index.manifest.commit] = contents(self.index)

            writer.IndexWriter._publish = noted
            try:
                if found.before.exists():
                    index = Index(found.before)
                    found.first = index.manifest.commit
                    found.states[found.first] = contents(index)
                killed.change(verb, folder / "x.idx")
            finally:
                writer.IndexWriter._publish = publish
            copied(found.before, folder / "y.idx")
            *_, operations, seconds = run(verb, folder / "y.idx", 1_000_000).split()
            found.operations, found.seconds = int(operations), float(seconds)
        return known[verb]

    return of


def chance(verb, number):
    return np.random.default_rng([killed.VERBS.index(verb), number, SEED])


def copied(source, target):
    if source.exists():
        shutil.copytree(source, target)


def run(verb, path, operations=0, seconds=None):
    """What the process said until it ended, or was killed so many seconds after it began."""
    command = [sys.executable, killed.__file__, verb, str(path)]
    command += [str(operations)] if operations else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        return process.stdout.read()


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("verb", killed.VERBS)
def test_killed_at_a_moment(verb, number, undisturbed, tmp_path):
    reference = undisturbed(verb)
    copied(reference.before, tmp_path / "x.idx")
    moment = chance(verb, number).uniform(0, 1.2 * reference.seconds)
    check(verb, tmp_path / "x.idx", run(verb, tmp_path / "x.idx", seconds=moment), reference)


@pytest.mark.parametrize("number", range(OPERATIONS))
@pytest.mark.parametrize("verb", killed.VERBS)
def test_killed_before_a_file_operation(verb, number, undisturbed, tmp_path):
    reference = undisturbed(verb)
    copied(reference.before, tmp_path / "x.idx")
    operation = int(chance(verb, number).integers(1, reference.operations + 1))
    check(verb, tmp_path / "x.idx", run(verb, tmp_path / "x.idx", operation), reference)


def check(verb, path, output, reference):
    acknowledged = max(
        [int(line.split()[1]) for line in output.splitlines() if line.startswith("committed")],
        default=reference.first,
    )
    there: set[str] = set()
    try:
        index = Index(path)
    except IndexFolderError as error:
        assert verb == "index"
        assert acknowledged == 0
        assert str(error).startswith("no index at")
    else:
        assert index.manifest.commit in (acknowledged, acknowledged + 1)
        expected = reference.states.get(index.manifest.commit, ([], b""))
        assert contents(index) == expected
        assert faults_of(path, killed.encoder()) == []
        there = {passage.model_text for passage in index.all_passages()}

    encoded = []

    def counting(texts):
        encoded.extend(texts)
        return killed.embed(texts)

    left = {"manifest.json"}
    if verb == "index" and there and Index(path).manifest.complete:
        left.add("writer.lock")  # of the process that was killed; the next writer takes it over
        with pytest.raises(IndexFolderError, match="there is an index"):
            killed.change(verb, path, counting)
    else:
        killed.change(verb, path, counting)
    assert contents(Index(path)) == reference.last
    assert faults_of(path, killed.encoder()) == []
    if verb in ("index", "add"):
        # the probe for the number of dimensions, and whether it is still the same function
        checks = 1 + (4 if verb == "index" and there else 0)
        assert not set(encoded[checks:]) & there
    assert sorted(p.name for p in path.parent.iterdir()) == ["x.idx"]
    manifest = Index(path).manifest
    assert {p.name for p in path.iterdir()} - left == {file.name for file in manifest.files}
    assert manifest.complete
