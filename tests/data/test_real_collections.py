"""Every public collection that lies beside the checkout loads, with the counts of its README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shortlist.data.collections import Cutting, load
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries

pytestmark = pytest.mark.collections


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def stated(shared_data: Path) -> dict[str, tuple[int, list[int | None]]]:
    """Folder -> passages, and its train, dev and test judgements, as the README's table says."""
    found: dict[str, tuple[int, list[int | None]]] = {}
    for line in (shared_data / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        numbers = [
            int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", cells[2])
        ] if len(cells) > 3 else []  # fmt: skip
        if not numbers:
            continue
        names = cells[0].split(", ")
        passages = [int(part) for part in re.findall(r"\d+", cells[2].replace(",", ""))]
        judged: list[int | None] = [None, None, None]
        if cells[3].count("/") == 2 and len(names) == 1:
            judged = [
                int(digits[0].replace(",", "")) if (digits := re.findall(r"\d[\d,]*", part)) else 0
                for part in cells[3].split("/")
            ]
        for name, count in zip(names, passages, strict=False):
            found[name] = (count, judged)
    return found


def test_the_counts_are_those_of_the_readme(shared_data: Path) -> None:
    table = stated(shared_data)
    folders = {folder.name for folder in shared_data.iterdir() if folder.is_dir()}
    assert folders - {"xquad"} == table.keys() - {"xquad"}
    for name, (passages, judged) in table.items():
        folder = shared_data / name
        collection = load(folder, Cutting(count_words, 256))
        assert collection.kind == "BEIR folder"
        ids = {passage.id for passage in collection.passages}
        if name != "xquad":  # "240 paragraphs x 12 languages"
            # two of cranfield's abstracts are empty: left out, and said so
            empty = collection.ledger.dropped["passages without text and title"]
            assert len(ids) + empty == passages, name
            assert empty == (2 if name == "cranfield" else 0)
        for split, count in zip(("train", "dev", "test"), judged, strict=True):
            file = folder / "qrels" / f"{split}.tsv"
            if count:
                qrels = read_qrels(file)
                assert sum(map(len, qrels.values())) == count, (name, split)
                assert qrels.keys() <= read_queries(folder / "queries.jsonl").keys()


def test_every_language_of_xquad_loads(shared_data: Path) -> None:
    files = sorted((shared_data / "xquad").glob("corpus*.jsonl"))
    assert len(files) == 12
    ids = [{p.id for p in load(file, Cutting(count_words, 256)).passages} for file in files]
    assert len(ids[0]) == 240
    assert all(found == ids[0] for found in ids)
    for file in files:
        queries = read_queries(file.with_name(file.name.replace("corpus", "queries")))
        assert len(queries) == 1190


def test_whole_articles_are_cut_when_asked(shared_data: Path) -> None:
    source = shared_data / "wikipedia" / "articles.jsonl.gz"
    collection = load(source, Cutting(count_words, 100, cut_records=True))
    longest = documents = 0
    for number, passage in enumerate(collection.passages):
        longest = max(longest, *count_words([passage.model_text]))
        documents += passage.offset == 0
        if number == 5000:
            break
    assert longest <= 100
    assert documents > 50
