"""One change of an index in small steps, in a process of its own that may be killed at any moment.

    python killed.py index|add|upsert|delete|compact FOLDER [OPERATIONS]

It says "ready" before it begins and "committed NUMBER" after every commit. With OPERATIONS it kills
itself before the file operation of that number.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.models.encoders import EncodeFunction, FunctionEncoder
from shortlist.pipeline import changes, writer, writing

COUNT = 250
DIM = 24
VERBS = ("index", "add", "upsert", "delete", "compact")
WATCHED = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")


def passages(start: int, count: int, mark: str = "") -> list[Passage]:
    """Passages with every kind of metadata; some texts come twice."""
    return [
        Passage(
            f"p{n} é🍵\n{'x' * (n % 7)}",
            f"text {n % 90} about {n % 13} things {mark}",
            title=f"title {n % 90}",
            document_id=f"d{n // 5}",
            offset=n,
            metadata={"n": n, "odd": n % 2 == 1, "mixed": n if n % 3 else str(n)},
        )
        for n in range(start, start + count)
    ]


def embed(texts: Sequence[str]) -> np.ndarray:
    """Counts of hashed words: the same in every process."""
    made = np.zeros((len(texts), DIM), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in re.findall(r"\w+", text):
            made[row, zlib.crc32(word.encode()) % DIM] += 1
    made[:, 0] += 0.1
    return made


def encoder(embed: EncodeFunction = embed) -> FunctionEncoder:
    return FunctionEncoder(embed, name="words")


def small_steps() -> None:
    """Commit after every 16 passages, segments of 50."""
    writer.ROWS_PER_SEGMENT = 50
    writer.COMMIT_SECONDS = 0.0
    writing.PASSAGES_AT_ONCE = 16


def prepare(verb: str, path: Path) -> None:
    """Make what is there before the change; some of it is deleted already."""
    if verb == "index":
        return
    small_steps()
    build(path)
    if verb != "add":
        changes.add_passages(passages(COUNT, 100), path, encoder())
        changes.delete_passages(path, where="odd and n < 200")


def build(path: Path, embed: EncodeFunction = embed) -> None:
    RetrieveRerankPipeline.build(
        passages(0, COUNT), path, bi_encoder=encoder(embed), cross_encoder="none"
    )


def change(verb: str, path: Path, embed: EncodeFunction = embed) -> None:
    """Do what may be killed."""
    if verb == "index":
        build(path, embed)
    elif verb == "add":
        changes.add_passages(passages(COUNT, COUNT), path, encoder(embed))
    elif verb == "upsert":
        new = passages(COUNT - 100, 300, "changed")
        changes.add_passages(new, path, encoder(embed), replace=True)
    elif verb == "delete":
        for third in range(10):
            names = [p.id for p in passages(0, COUNT) if p.offset % 10 == third and third < 5]
            changes.delete_passages(path, names)
    else:
        changes.compact(path)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(verb: str, path: Path, operations: int = 0) -> None:
    small_steps()
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in WATCHED:
            count += 1
            if count == operations:
                os.kill(os.getpid(), signal.SIGKILL)

    publish = writer.IndexWriter._publish

    def announced(self, records, fields):
        publish(self, records, fields)
        say("committed", self.index.manifest.commit)

    writer.IndexWriter._publish = announced
    say("ready")
    if operations:
        sys.addaudithook(watch)
    started = time.monotonic()
    change(verb, path)
    say("done", count, time.monotonic() - started)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *(int(n) for n in sys.argv[3:]))
