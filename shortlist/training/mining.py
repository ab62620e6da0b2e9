"""Judged collections -> groups of one positive and some hard negatives, for listwise training.

Negatives are what the bi-encoder itself ranks high: among its first 50, less similar than 95 % of
the positive's similarity (what is more similar is often an unjudged answer; Xiong et al. 2021,
arXiv 2007.00808, and the positive-aware threshold of Moreira et al. 2024, arXiv 2407.15831).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shortlist.data.collections import read_table
from shortlist.data.ledger import Ledger
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.errors import DataError
from shortlist.models.bi_encoder import BiEncoder
from shortlist.pipeline.topk import exact_top_k
from shortlist.records import Passage
from shortlist.training.leakage import HeldOut

log = logging.getLogger(__name__)

DEEPEST_RANK = 50
HARDEST = 3  # always in the pool
NEXT = 20  # of the next twenty, some at random
RELATIVE_MARGIN = 0.95


@dataclass(frozen=True, slots=True)
class Group:
    """One question with a passage that answers it and passages that do not."""

    query: str
    positive: str
    negatives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A collection's training split: texts by id, and the pairs that were judged relevant."""

    name: str
    passages: Mapping[str, str]
    pairs: Sequence[tuple[str, str]]  # question text, passage id


def read_held_out(folders: Iterable[Path]) -> HeldOut:
    """The questions of the dev and test splits of BEIR folders, and the passages they judge."""
    held_out = HeldOut()
    for folder in folders:
        queries = read_queries(folder / "queries.jsonl")
        for split in ("dev", "test"):
            file = folder / "qrels" / f"{split}.tsv"
            if not file.exists():
                continue
            qrels = read_qrels(file)
            judged = {passage for grades in qrels.values() for passage in grades}
            held_out.add(
                questions=(queries[query] for query in qrels if query in queries),
                passages=(p.model_text for p in _passages(folder) if p.id in judged),
            )
    return held_out


def read_training_split(folder: Path, held_out: HeldOut) -> Judged:
    """The training split of a BEIR folder without what is held out.

    Passages that only dev or test judge are no candidates for negatives either.
    """
    qrels = read_qrels(folder / "qrels" / "train.tsv")
    queries = read_queries(folder / "queries.jsonl")
    passages = {
        passage.id: passage.model_text
        for passage in _passages(folder)
        if not held_out.has_passage(passage.model_text)
    }
    pairs = [
        (queries[query], passage)
        for query, grades in qrels.items()
        if query in queries and not held_out.has_question(queries[query])
        for passage, grade in grades.items()
        if grade > 0 and passage in passages
    ]
    if not pairs:
        raise DataError(f"{folder}: no training pair is left; expected qrels/train.tsv with grades")
    log.info("%s: %d passages, %d pairs", folder.name, len(passages), len(pairs))
    return Judged(folder.name, passages, pairs)


def mine(
    judged: Judged,
    bi_encoder: BiEncoder,
    *,
    groups: int,
    pool: int = 6,
    max_passages: int | None = None,
    seed: int = 0,
) -> list[Group]:
    """Groups of a question, its positive and a pool of hard negatives, in random order.

    Args:
        judged: a training split.
        bi_encoder: the model whose mistakes become negatives.
        groups: at most so many, a seeded sample of the pairs.
        pool: negatives kept for each group: the three hardest, the rest from the next twenty.
        max_passages: search only so many passages (the sampled positives always among them).
        seed: of the samples.

    Returns:
        Groups with `pool` negatives; pairs with fewer than three are left out.
    """
    rng = np.random.default_rng(seed)
    chosen = [judged.pairs[i] for i in rng.permutation(len(judged.pairs))[:groups]]
    ids = _candidates(judged, {passage for _, passage in chosen}, max_passages, rng)
    embeddings = bi_encoder.encode_passages([judged.passages[i] for i in ids])
    queries = bi_encoder.encode_queries([question for question, _ in chosen])
    row_of = {passage: row for row, passage in enumerate(ids)}
    positives = np.array([row_of[passage] for _, passage in chosen])
    limit = RELATIVE_MARGIN * np.einsum("ij,ij->i", queries, embeddings[positives])
    scores, rows = exact_top_k(queries, embeddings, DEEPEST_RANK)
    answers: dict[str, set[str]] = {}
    for question, passage in judged.pairs:
        answers.setdefault(question, set()).add(passage)
    found = []
    for number, (question, passage) in enumerate(chosen):
        allowed = [
            ids[row]
            for row, score in zip(rows[number], scores[number], strict=True)
            if row >= 0 and score < limit[number] and ids[row] not in answers[question]
        ]
        negatives = _pool(allowed, pool, rng)
        if len(negatives) >= HARDEST:
            texts = tuple(judged.passages[i] for i in negatives)
            found.append(Group(question, judged.passages[passage], texts))
    log.info("%s: %d groups mined from %d passages", judged.name, len(found), len(ids))
    return found


def _passages(folder: Path) -> Iterator[Passage]:
    return read_table(folder / "corpus.jsonl", Ledger())


def _candidates(
    judged: Judged, needed: set[str], max_passages: int | None, rng: np.random.Generator
) -> list[str]:
    ids = list(judged.passages)
    if max_passages is None or len(ids) <= max_passages:
        return ids
    rest = [passage for passage in ids if passage not in needed]
    extra = max(0, max_passages - len(needed))
    chosen = needed | {rest[i] for i in rng.permutation(len(rest))[:extra]}
    return [passage for passage in ids if passage in chosen]


def _pool(ranked: Sequence[str], size: int, rng: np.random.Generator) -> list[str]:
    following = ranked[HARDEST : HARDEST + NEXT]
    some = sorted(rng.permutation(len(following))[: max(0, size - HARDEST)])
    return [*ranked[:HARDEST], *(following[i] for i in some)]
