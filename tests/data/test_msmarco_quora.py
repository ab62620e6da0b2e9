"""MS MARCO's file forms, and Quora's pairs against networkx and a brute-force closure."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.collections import Cutting, load
from shortlist.data.ledger import Ledger
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.data.quora import is_pairs, read_duplicates
from shortlist.errors import DataError
from shortlist.records import Passage

PUBLISHED = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def drawn(source: Path) -> list[Passage]:
    return list(load(source, Cutting(count_words, 50)).passages)


# MS MARCO


def test_a_folder_as_it_is_published(tmp_path: Path) -> None:
    lines = ['0\t"Unclosed, and\ta tab', "1\tplain ", "", "7 \t"]
    (tmp_path / "collection.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "queries.dev.small.tsv").write_text("1048585\twhat is paula deen's brother\n")
    (tmp_path / "qrels.dev.small.tsv").write_text("1048585\t0\t7\t1\n")
    collection = load(tmp_path, Cutting(count_words, 50))
    assert collection.kind == "MS MARCO folder"
    assert list(collection.passages) == [
        Passage("0", '"Unclosed, and\ta tab'),
        Passage("1", "plain "),
    ]
    assert collection.ledger.dropped == {"passages without text and title": 1}
    assert load(tmp_path / "collection.tsv", Cutting(count_words, 50)).kind == "MS MARCO collection"
    assert drawn(tmp_path / "collection.tsv") == drawn(tmp_path)
    assert read_queries(tmp_path / "queries.dev.small.tsv") == {
        "1048585": "what is paula deen's brother"
    }
    assert read_qrels(tmp_path / "qrels.dev.small.tsv") == {"1048585": {"7": 1}}
    (tmp_path / "collection.tsv.gz").write_bytes(
        gzip.compress((tmp_path / "collection.tsv").read_bytes())
    )
    (tmp_path / "collection.tsv").unlink()
    assert [p.id for p in drawn(tmp_path)] == ["0", "1"]


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("0\ta\nno tab\n", r"collection\.tsv:2: expected pid<TAB>passage, got 'no tab'"),
        (" \ta\n", r"collection\.tsv:1: expected pid<TAB>passage"),
        ("0\ta\n0\tb\n", r"collection\.tsv:2: the id '0' stands already at .*\.tsv:1;"),
    ],
)
def test_a_broken_collection_is_refused(tmp_path: Path, lines: str, match: str) -> None:
    (tmp_path / "collection.tsv").write_text(lines)
    with pytest.raises(DataError, match=match):
        drawn(tmp_path)


# Quora


def published(path: Path, pairs: list[tuple[int, int, bool]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerow(PUBLISHED)
        for n, (one, other, same) in enumerate(pairs):
            texts = [f'What is "{i}",\nasked {i} times?' for i in (one, other)]
            writer.writerow([n, one, other, *texts, int(same)])
    return path


def closure(pairs: list[tuple[int, int, bool]]) -> dict[str, set[str]]:
    """Each question -> all that it can be reached from, by stepping until nothing is new."""
    linked = defaultdict[str, set[str]](set)
    for one, other, same in pairs:
        if same and one != other:
            linked[str(one)].add(str(other))
            linked[str(other)].add(str(one))
    while True:
        further = {q: found.union(*(linked[f] for f in found)) for q, found in linked.items()}
        if further == linked:
            return {q: found - {q} for q, found in linked.items()}
        linked.update(further)


PAIRS = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12), st.booleans()), max_size=25)


@given(pairs=PAIRS.filter(bool), name=st.sampled_from(["questions.csv", "pairs.tsv"]))
@settings(deadline=None)
def test_asking_the_same_is_transitive(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int, bool]], name: str
) -> None:
    path = published(tmp_path_factory.mktemp("quora") / name, pairs)
    assert is_pairs(path)
    ledger = Ledger()
    found = read_duplicates(path, ledger)
    expected = closure(pairs)
    assert {q: set(others) for q, others in found.qrels.items()} == expected
    assert {grade for others in found.qrels.values() for grade in others.values()} <= {1}
    order = list(dict.fromkeys(str(i) for pair in pairs for i in pair[:2]))
    assert list(found.questions) == order
    assert list(found.queries) == [q for q in order if q in expected]
    assert all(text.split('"')[1] == q for q, text in found.questions.items())
    graph = nx.Graph([(str(one), str(other)) for one, other, same in pairs if same])
    clusters = {frozenset({q, *others}) for q, others in found.qrels.items()}
    assert clusters == {frozenset(c) for c in nx.connected_components(graph) if len(c) > 1}
    conflicts = sum(
        not same and one != other and str(other) in expected.get(str(one), ())
        for one, other, same in pairs
    )
    assert ledger.noted.total() == conflicts


@given(pairs=PAIRS.filter(bool))
@settings(deadline=None)
def test_pairs_without_ids_are_linked_by_their_texts(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("quora") / "pairs.tsv"
    lines = [f"dev\t{int(same)}\tquestion {a}?\t question {b}?" for a, b, same in pairs]
    path.write_text("\n".join(["split\tscore\ttext1\ttext2", *lines]))
    found = read_duplicates(path)
    numbers = {i: text.removeprefix("question ")[:-1] for i, text in found.questions.items()}
    assert len(set(numbers.values())) == len(numbers)
    by_text = {numbers[q]: {numbers[o] for o in others} for q, others in found.qrels.items()}
    assert by_text == closure(pairs)
    again = path.with_name("again.tsv")
    again.write_text("\n".join(["split\tscore\ttext1\ttext2", *lines[::-1]]))
    assert read_duplicates(again).questions == found.questions  # ids depend on the text alone


def test_the_three_readers_agree_on_one_file(tmp_path: Path) -> None:
    path = published(tmp_path / "quora_duplicate_questions.tsv", [(1, 2, True), (3, 1, False)])
    for source in (path, tmp_path):
        assert load(source, Cutting(count_words, 50)).kind == "Quora question pairs"
        assert [p.id for p in drawn(source)] == ["1", "2", "3"]
    assert list(read_queries(path)) == ["1", "2"]
    assert read_qrels(path) == {"1": {"2": 1}, "2": {"1": 1}}


def row(*cells: str) -> str:
    return "\t".join(PUBLISHED) + "\n0\t1\t2\tWhy?\tHow?\t1\n" + "\t".join(cells) + "\n"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (row("1", "3", "4", "Who?", "Where?", "yes"), r"q\.tsv:3: expected a label of 0 or 1"),
        (row("1", "3", "", "Who?", "Where?", "1"), r"q\.tsv:3: qid2 is empty"),
        (row("1", "3", "2", "Who?", "Where?", "1"), r"q\.tsv:3: the id '2' is that of 'How\?' in"),
        (row("1", "3", "4", "Who?"), r"q\.tsv:3: 4 cells under 6 columns"),
        (",".join(PUBLISHED) + "\n0,1,2,a,b,1\n", r"q\.tsv:2: expected the columns .*with tabs"),
        ("score\ttext1\ttext2\tquestion1\n2\ta\tb\tc\n", r"q\.tsv:2: expected a label of 0 or 1"),
    ],
)
def test_broken_pairs_are_refused(tmp_path: Path, content: str, match: str) -> None:
    path = tmp_path / "q.tsv"
    path.write_text(content)
    for read in (read_duplicates, read_queries, read_qrels, drawn):
        with pytest.raises(DataError, match=match):
            read(path)


def test_spelling_may_differ_between_pairs_and_empty_questions_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "q.tsv"
    path.write_text(row("1", "2", "5", "how? ", "", "1") + "2\t2\t6\tHOW?\tWhat?\t0.0\n")
    ledger = Ledger()
    found = read_duplicates(path, ledger)
    assert found.questions == {"1": "Why?", "2": "How?", "6": "What?"}
    assert ledger.dropped == {"pairs with an empty question": 1}
    assert ledger.noted == {"questions whose spelling differs between pairs": 2}


@pytest.mark.collections
def test_the_public_pairs_give_the_public_judgements(shared_data: Path) -> None:
    """The collection beside the pairs was made by others; it takes texts of other case for one."""
    folder = shared_data / "quora"
    found = read_duplicates(folder / "pairs.tsv")
    ours = [(found.questions[q], found.questions[o]) for q, x in found.qrels.items() for o in x]
    corpus = {p.id: p.text for p in drawn(folder)}
    assert len(found.questions) == 38_084
    assert set(found.questions.values()) >= set(corpus.values())
    theirs = [
        (corpus[query], corpus[other])
        for split in ("train", "dev", "test")
        for query, others in read_qrels(folder / "qrels" / f"{split}.tsv").items()
        for other in others
    ]
    clusters = [
        {
            frozenset(cluster)
            for cluster in nx.connected_components(
                nx.Graph((one.casefold(), other.casefold()) for one, other in pairs)
            )
            if len(cluster) > 1
        }
        for pairs in (ours, theirs)
    ]
    assert len(clusters[1]) > 5000
    assert clusters[0] == clusters[1]
