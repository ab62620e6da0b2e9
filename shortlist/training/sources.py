"""What a model is trained on, by name: folders, tables of pairs, collections without labels.

A source is a path and, after a colon, how many queries to take of it: ``data/squad:2000``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from shortlist.data.collections import Cutting
from shortlist.data.rows import kind_of
from shortlist.errors import DataError, UsageError
from shortlist.models.cross_encoder import Scorer
from shortlist.models.encoders import Encoder
from shortlist.records import Passage
from shortlist.training.groups import Group, kept_groups, read_groups, usable, write_groups
from shortlist.training.judged import (
    HeldOut,
    Judged,
    read_training_split,
    state_of,
    without_labels,
)
from shortlist.training.mining import Mining, mine

log = logging.getLogger(__name__)

Kind = Literal["judged", "pairs", "unlabelled"]
Miner = Callable[..., Iterator[Group]]
"""`mine`, with everything given but the collection and `groups`."""

UNLABELLED_QUERIES = 2000  # where no number is named
_LICENCE = ("licence:", "license:")


@dataclass(frozen=True, slots=True)
class Source:
    """Where training data is, and how much of it to take."""

    path: Path
    kind: Kind
    queries: int = sys.maxsize

    @classmethod
    def parse(cls, text: str, *, labelled: bool = True) -> Source:
        """Read `folder:300`; a table is one of pairs.

        Raises:
            UsageError: a number below 1.
            DataError: no such file or folder.
        """
        if text.startswith("hf://"):
            raise UsageError(
                f"{text}: datasets of the hub are not read here; name files or folders"
            )
        name, colon, count = text.rpartition(":")
        if not colon or Path(text).exists():
            name, count = text, ""
        if count and (not count.isdigit() or int(count) < 1):
            raise UsageError(f"{text!r}: expected PATH or PATH:QUERIES with QUERIES at least 1")
        path = Path(name)
        if not path.exists():
            raise DataError(f"{name}: there is no such file or folder to train on")
        if not labelled:
            return cls(path, "unlabelled", int(count) if count else UNLABELLED_QUERIES)
        kind: Kind = "pairs" if path.is_file() and kind_of(path) else "judged"
        return cls(path, kind, int(count) if count else sys.maxsize)

    @property
    def licence(self) -> str:
        """What the folder's SOURCE.txt says; "not stated" where it says nothing."""
        file = (self.path if self.path.is_dir() else self.path.parent) / "SOURCE.txt"
        if not file.is_file():
            return "not stated"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        found = (line.strip() for line in lines if line.strip().lower().startswith(_LICENCE))
        return next((line.partition(":")[2].strip() for line in found), "not stated")


@dataclass(frozen=True, slots=True)
class Used:
    """What became of a source."""

    name: str
    kind: Kind
    groups: int
    licence: str


def gather(
    sources: Sequence[Source],
    work: Path,
    *,
    encoder: Encoder,
    held_out: HeldOut,
    cutting: Cutting,
    mining: Mining,
    negatives: int,
    max_passages: int | None,
    scorer: Scorer | None = None,
    seed: int = 0,
) -> tuple[list[Group], list[Used]]:
    """Read every source and mine negatives where it has none; kept in `work` for another try.

    Args:
        sources: what to train on.
        work: a folder for indexes and for the groups that were found.
        encoder: the model that negatives are mined with.
        held_out: what must not be learnt.
        cutting: how documents that are no records are cut.
        mining: which passages become negatives.
        negatives: that a group needs, or it is left out.
        max_passages: of each collection, to mine from; None: all.
        scorer: takes out negatives that look like answers.
        seed: of the samples.

    Raises:
        DataError: a source without anything to train on.
    """
    work.mkdir(parents=True, exist_ok=True)
    groups: list[Group] = []
    used: list[Used] = []
    for source in sources:
        options = [
            str(source.path.resolve()), state_of(source.path), source.kind, source.queries,
            asdict(mining), max_passages, held_out.digest, cutting.max_tokens,
            encoder.fingerprint, scorer and scorer.fingerprint, negatives, seed,
        ]  # fmt: skip
        made_from = hashlib.sha256(json.dumps(options).encode()).hexdigest()
        file = work / f"{source.path.stem}-{made_from[:8]}.groups.jsonl"
        found = kept_groups(file, made_from)
        if found is None:
            miner = partial(
                mine, encoder=encoder, folder=work, mining=mining, max_passages=max_passages,
                scorer=scorer, seed=seed, key=made_from[:8],
            )  # fmt: skip
            found = _groups(source, held_out, cutting, negatives, seed, miner)
            write_groups(file, found, made_from)
        log.info("%s: %d groups", source.path.name, len(found))
        groups += found
        used.append(Used(source.path.name, source.kind, len(found), source.licence))
    return groups, used


def _groups(
    source: Source, held_out: HeldOut, cutting: Cutting, negatives: int, seed: int, miner: Miner
) -> list[Group]:
    if source.kind == "pairs":
        return _of_a_table(source, held_out, negatives, seed, miner)
    if source.kind == "unlabelled":
        judged = without_labels(source.path, held_out, cutting, queries=source.queries, seed=seed)
    else:
        judged = read_training_split(source.path, held_out, cutting)
    if not negatives:
        return _pairs_alone(judged, source.queries, seed)
    return usable(list(miner(judged, groups=source.queries)), negatives)


def _of_a_table(
    source: Source, held_out: HeldOut, negatives: int, seed: int, miner: Miner
) -> list[Group]:
    """The rows, with mined negatives behind their own where those are too few."""
    rows = _without_leaks(read_groups(source.path), held_out)
    if source.queries < len(rows):
        order = np.random.default_rng(seed).permutation(len(rows))[: source.queries]
        rows = [rows[i] for i in order]
    given = [group for group in rows if len(group.negatives) >= negatives]
    lacking = [group for group in rows if len(group.negatives) < negatives]
    if not lacking:
        return usable(given, negatives)
    log.info("%s: negatives are mined for %d rows", source.path.name, len(lacking))
    own = {(group.query, group.positive): group.negatives for group in lacking}
    mined = miner(_as_judged(source.path, lacking, given), groups=len(lacking))
    joined = [
        replace(group, negatives=(*own[group.query, group.positive], *group.negatives))
        for group in mined
    ]
    return usable([*given, *joined], negatives)


def _without_leaks(groups: Iterable[Group], held_out: HeldOut) -> list[Group]:
    kept = [
        replace(group, negatives=tuple(n for n in group.negatives if not held_out.has_passage(n)))
        for group in groups
        if not held_out.has_question(group.query) and not held_out.has_passage(group.positive)
    ]
    if not kept:
        raise DataError("every pair is in dev or test of a held-out folder; nothing is left")
    return kept


def _as_judged(path: Path, groups: Sequence[Group], others: Sequence[Group]) -> Judged:
    """Pairs that lack negatives, and the positives of all rows to mine them from."""
    texts = list(dict.fromkeys(group.positive for group in (*groups, *others)))
    number = {text: str(i) for i, text in enumerate(texts)}
    return Judged(
        path.stem,
        lambda: (Passage(id=str(i), text=text) for i, text in enumerate(texts)),
        [(group.query, number[group.positive]) for group in groups],
    )


def _pairs_alone(judged: Judged, queries: int, seed: int) -> list[Group]:
    order = np.random.default_rng(seed).permutation(len(judged.pairs))[:queries]
    chosen = [judged.pairs[i] for i in order]
    wanted = {passage for _, passage in chosen}
    texts = {p.id: p.model_text for p in judged.corpus() if p.id in wanted}
    pairs = [(question, texts[passage]) for question, passage in chosen]
    return usable([Group(question, text) for question, text in pairs if question != text], 0)
