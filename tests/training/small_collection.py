"""A small judged collection on disk: eight notes, a question about each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from notes import NOTES

from shortlist.training.groups import Group

QUESTIONS = [
    "how do plants make food?",
    "a warm drink",
    "ice that moves",
    "an instrument",
    "what stops illness",
    "what helps sailors",
    "insects that dance",
    "a board game",
]
GROUPS = [
    Group(question, NOTES[n], tuple(NOTES[(n + step) % 8] for step in (1, 2, 3, 5)))
    for n, question in enumerate(QUESTIONS)
]


WAYS = ("", "tell me: ", "please, ", "what about ")
ASKED = [way + question for way in WAYS for question in QUESTIONS]


def write_collection(folder: Path, **splits: Iterable[int]) -> Path:
    """A BEIR folder in which each split judges the questions of these numbers, 0 to 31.

    Questions 0, 8, 16 and 24 are answered by the first note, and so on.
    """
    (folder / "qrels").mkdir(parents=True)
    corpus = [json.dumps({"_id": f"p{i}", "text": text}) for i, text in enumerate(NOTES)]
    (folder / "corpus.jsonl").write_text("\n".join(corpus))
    lines = [json.dumps({"_id": f"q{i}", "text": text}) for i, text in enumerate(ASKED)]
    (folder / "queries.jsonl").write_text("\n".join(lines))
    for name, numbers in splits.items():
        rows = "".join(f"q{i}\tp{i % 8}\t1\n" for i in numbers)
        (folder / f"qrels/{name}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder
