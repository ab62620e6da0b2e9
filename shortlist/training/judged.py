"""Training questions and the passages they are asked of, without what dev and test hold."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np

from shortlist.data.collections import Cutting, load
from shortlist.data.ids import fingerprint
from shortlist.data.judged import judged_folder
from shortlist.data.near_duplicates import NearDuplicates, words
from shortlist.data.sentences import sentence_spans
from shortlist.errors import DataError, UsageError
from shortlist.evaluation.known_item import known_items
from shortlist.records import Passage, Qrels

log = logging.getLogger(__name__)

HELD_OUT_SPLITS = ("dev", "test", "validation")


class HeldOut:
    """What dev and test splits contain: questions by their words, passages by shared sequences.

    Args:
        questions: of dev and test.
        passages: what dev and test judge relevant; near-duplicates of it are found as
            `shortlist.data.near_duplicates` says.

    Attributes:
        digest: of both; two that hold out the same have the same.
    """

    def __init__(self, questions: Iterable[str] = (), passages: Iterable[str] = ()) -> None:
        passages = list(passages)
        self._questions = {_key(question) for question in questions}
        self._passages = NearDuplicates(passages)
        self.digest = blake2b(
            repr((sorted(self._questions), sorted(map(fingerprint, passages)))).encode()
        ).hexdigest()

    def has_question(self, question: str) -> bool:
        """Whether a held-out question has the same words in the same order."""
        return _key(question) in self._questions

    def has_passage(self, passage: str) -> bool:
        """Whether a passage nearly repeats a held-out one, or has a good part of it."""
        return bool(self._passages.matches(passage))


@dataclass(frozen=True, slots=True)
class Judged:
    """A collection to train on: its passages, to be drawn as often as is wanted, and its pairs."""

    name: str
    corpus: Callable[[], Iterator[Passage]]
    pairs: Sequence[tuple[str, str]]  # text of the question, id of a passage that answers it


def judgements_of(folder: Path, split: str) -> tuple[Mapping[str, str] | None, Qrels | None]:
    """Questions and judgements of a split; a file of pairs is split here, by what asks the same.

    Of ten groups of questions that ask the same, one is dev and one test, by the hash of an id.

    Raises:
        DataError: no folder of judged questions.
        UsageError: it has no such split.
    """
    there = judged_folder(folder, split)
    queries, qrels = there.read()
    if not there.pairs or not qrels:
        return queries, qrels
    return queries, {q: grades for q, grades in qrels.items() if _share(q, grades) == split}


def _share(query: str, grades: Mapping[str, int]) -> str:
    """The split of a group of questions, the same for each of them."""
    first = min(query, *grades)
    return {0: "dev", 1: "test"}.get(fingerprint(first) % 10, "train")


def read_held_out(folders: Iterable[Path], cutting: Cutting) -> HeldOut:
    """The questions of the dev and test splits of BEIR and MS MARCO folders, and what they judge.

    Raises:
        DataError: a folder that is no collection with judgements.
    """
    questions: list[str] = []
    passages: list[str] = []
    for folder in folders:
        wanted: set[str] = set()
        for split in HELD_OUT_SPLITS:
            try:
                asked, qrels = judgements_of(folder, split)
            except UsageError:  # no such split
                continue
            for query, grades in (qrels or {}).items():
                questions += [asked[query]] if asked and query in asked else []
                wanted.update(passage for passage, grade in grades.items() if grade > 0)
        if wanted:
            passages += [p.model_text for p in load(folder, cutting).passages if p.id in wanted]
    return HeldOut(questions, passages)


def read_training_split(folder: Path, held_out: HeldOut, cutting: Cutting) -> Judged:
    """The training split of a BEIR, MS MARCO or Quora folder without what is held out.

    Passages that nearly repeat a held-out one are no candidates for negatives either.

    Raises:
        DataError: nothing is left to train on.
        UsageError: the folder has no training split.
    """
    queries, qrels = judgements_of(folder, "train")
    if not queries or not qrels:
        raise DataError(f"{folder}: expected questions and judgements, in qrels/train.tsv or pairs")
    corpus = partial(_corpus, folder, held_out, cutting)
    ids = {passage.id for passage in corpus()}
    pairs, missing, leaking = [], 0, 0
    for query, grades in qrels.items():
        relevant = [passage for passage, grade in grades.items() if grade > 0]
        if query not in queries:
            missing += 1
        elif relevant and held_out.has_question(queries[query]):
            leaking += 1
        else:
            pairs += [(queries[query], passage) for passage in relevant if passage in ids]
    if missing or leaking:
        log.info(
            "%s: left out %d questions that dev or test ask as well, and %d without a text",
            folder.name, leaking, missing,
        )  # fmt: skip
    if not pairs:
        raise DataError(
            f"{folder}: no training pair is left of {len(qrels)} judged questions; expected "
            "qrels/train.tsv with grades above 0, and passages that dev and test do not have"
        )
    log.info("%s: %d passages, %d pairs", folder.name, len(ids), len(pairs))
    return Judged(folder.name, corpus, pairs)


def without_labels(
    source: Path, held_out: HeldOut, cutting: Cutting, *, queries: int, seed: int = 0
) -> Judged:
    """Training pairs out of any collection: titles and sentences, each taken out of its passage.

    See `shortlist.evaluation.known_item` for how they are made, and what they are not: they are in
    the collection's own words, so a model learns its vocabulary from them and hardly how its users
    ask. docs/training.md has what that gave where it could be measured.

    Raises:
        DataError: a collection that no query can be made from.
    """
    corpus = partial(_corpus, source, held_out, cutting)
    made = known_items(corpus(), queries, sentences=sentence_spans, seed=seed)
    changed = made.changed

    def with_gaps() -> Iterator[Passage]:
        return (changed.get(passage.id, passage) for passage in corpus())

    pairs = [
        (text, passage)
        for query, text in made.queries.items()
        if not held_out.has_question(text)
        for passage in made.qrels[query]
    ]
    log.info("%s: %s", source.name, ", ".join(f"{n} by {how}" for how, n in made.method.items()))
    return Judged(source.name, with_gaps, pairs)


def sampled_ids(
    ids: Iterable[str], needed: Set[str], most: int, rng: np.random.Generator
) -> Set[str]:
    """So many of the ids, drawn; those that are needed always."""
    rest = [identifier for identifier in ids if identifier not in needed]
    extra = max(0, most - len(needed))
    return needed | {rest[i] for i in rng.permutation(len(rest))[:extra]}


def only(judged: Judged, kept: Set[str]) -> Judged:
    """The same collection with no other passages than those."""
    corpus = judged.corpus

    def some() -> Iterator[Passage]:
        return (passage for passage in corpus() if passage.id in kept)

    return Judged(judged.name, some, judged.pairs)


def answers_of(judged: Judged) -> Mapping[str, set[str]]:
    """Question -> the passages that answer it."""
    answers: dict[str, set[str]] = {}
    for question, passage in judged.pairs:
        answers.setdefault(question, set()).add(passage)
    return answers


def state_of(path: Path) -> str:
    """A digest of names, sizes and times of a file or of the files below a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return blake2b(repr(states).encode(), digest_size=16).hexdigest()


def _corpus(source: Path, held_out: HeldOut, cutting: Cutting) -> Iterator[Passage]:
    passages = load(source, cutting).passages
    return (passage for passage in passages if not held_out.has_passage(passage.model_text))


def _key(question: str) -> int:
    return fingerprint(" ".join(words(question)))
