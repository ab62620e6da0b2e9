"""What the commands of the documentation are run in: small files under the names that they use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from shortlist import BiEncoder, Passage, RetrieveRerankPipeline, read_passages
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries

SAMPLE = Path(str(files("shortlist.data") / "sample"))
ARTICLES = 40  # passages of the sample


def make(folder: Path) -> Path:
    """Everything that is there before the first command of a page."""
    model = BiEncoder.load("all-MiniLM-L6-v2")
    everything = list(read_passages(SAMPLE / "encyclopedia.xml", model))
    queries, qrels = read_queries(SAMPLE / "queries.jsonl"), read_qrels(SAMPLE / "qrels/dev.tsv")
    chosen = dict(list(qrels.items())[:40])
    needed = {passage for grades in chosen.values() for passage in grades}
    passages = [p for p in everything if p.id in needed]
    passages += [p for p in everything if p.id not in needed][:ARTICLES]
    asked = {query: queries[query] for query in chosen}

    notes = folder / "my-notes"
    notes.mkdir(parents=True)
    for number, passage in enumerate(passages):
        (notes / f"{number}.txt").write_text(passage.model_text + "\n")
    shutil.copytree(notes, folder / "notes")
    command = [sys.executable, "-m", "shortlist.cli", "index", notes, "-o", folder / "notes.idx"]
    subprocess.run(command, check=True, capture_output=True)
    # under the ids that they have in that index
    names = {p.id: f"{number}.txt#0" for number, p in enumerate(passages)}
    passages = [Passage(id=names[p.id], text=p.model_text) for p in passages]
    chosen = {q: {names[p]: grade for p, grade in grades.items()} for q, grades in chosen.items()}
    _collection(folder, passages, asked, dev=chosen)
    halves = list(chosen)
    train = {query: chosen[query] for query in halves[:28]}
    dev = {query: chosen[query] for query in halves[28:]}
    for name in ("my-collection", "squad", "wikipedia"):
        _collection(folder / "data" / name, passages, asked, train=train, dev=dev)
    shutil.copytree(folder / "data/my-collection", folder / "my-collection")
    shutil.copy(folder / "qrels/dev.tsv", folder / "qrels.tsv")
    shutil.copy(folder / "qrels/dev.tsv", folder / "dev.tsv")
    _like_questions(folder)
    _papers(folder, model)
    _runs(folder, passages, asked)
    shutil.copy(SAMPLE / "encyclopedia.xml", folder / "wiki.xml")
    RetrieveRerankPipeline.build(everything, folder / "wiki.idx", bi_encoder=model)
    pairs = [{"query": asked[q], "positive": p.model_text}
             for q in asked for p in passages if p.id in chosen[q]]  # fmt: skip
    _lines(folder / "pairs.jsonl", pairs)
    return folder


def _lines(file: Path, records: Iterable[Any]) -> None:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def _collection(folder: Path, passages: Sequence[Passage], queries: Any, **splits: Any) -> None:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    rows = [{"_id": p.id, "title": p.title, "text": p.text} for p in passages]
    _lines(folder / "corpus.jsonl", rows)
    _lines(folder / "queries.jsonl", [{"_id": q, "text": text} for q, text in queries.items()])
    for name, qrels in splits.items():
        lines = [f"{q}\t{p}\t{g}\n" for q, grades in qrels.items() for p, g in grades.items()]
        (folder / f"qrels/{name}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))


def _like_questions(folder: Path) -> None:
    """The sample's pairs of questions, half of them to train on."""
    for name in ("questions", "quora"):
        place = folder / "data" / name
        shutil.copytree(SAMPLE / "similar_questions", place)
        head, *lines = (place / "qrels/dev.tsv").read_text().splitlines(keepends=True)
        (place / "qrels/dev.tsv").write_text(head + "".join(lines[:20]))
        (place / "qrels/train.tsv").write_text(head + "".join(lines[20:]))
        (place / "qrels/test.tsv").unlink()
    shutil.copy(folder / "data/questions/corpus.jsonl", folder / "questions.jsonl")


def _papers(folder: Path, model: BiEncoder) -> None:
    texts = ["Neural parsing of sentences.", "Parsing with rules.", "A corpus of speech."]
    papers = [
        {"_id": f"P18-100{n}", "title": f"Paper {n}", "text": text, "year": 1999 + 9 * n,
         "venue": "ACL"}
        for n, text in enumerate(texts, 1)
    ]  # fmt: skip
    _lines(folder / "papers.jsonl", papers)
    _lines(folder / "more.jsonl", [{"_id": "new", "title": "", "text": "A text that is new."}])
    _lines(folder / "corrected.jsonl", [papers[2] | {"text": "A corpus of spoken words."}])
    passages = read_passages(folder / "papers.jsonl", model)
    RetrieveRerankPipeline.build(passages, folder / "papers.idx", bi_encoder=model)


def _runs(folder: Path, passages: Sequence[Passage], queries: dict[str, str]) -> None:
    for number, name in enumerate(("bm25", "mine", "first", "second", "dense", "run")):
        lines = [
            f"{query} Q0 {passages[(place + number * 7 + at) % len(passages)].id} {place + 1} "
            f"{20 - place} {name}\n"
            for at, query in enumerate(queries)
            for place in range(10)
        ]
        (folder / f"{name}.trec").write_text("".join(lines))
    rows = [
        f"{number}\t{place}\t{text}\t{passages[place].text}\n"
        for number, text in enumerate(list(queries.values())[:3])
        for place in range(5)
    ]
    (folder / "top1000.dev").write_text("".join(rows))
