"""What both kinds of model learn from: a query, a passage that answers it, some that do not."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.data.rows import Row, read_rows
from shortlist.errors import DataError

log = logging.getLogger(__name__)

QUERIES = ("query", "anchor", "question", "sentence1", "question1")
POSITIVES = ("positive", "passage", "answer", "document", "text", "sentence2", "question2")
_NEGATIVE = re.compile(r"negatives?|negative_\d+")
LABELS = ("label", "score", "is_duplicate")


@dataclass(frozen=True, slots=True)
class Group:
    """One query with a passage that answers it and passages that do not, as the models read them.

    `scores` are what a teacher says of the positive and then of each negative; None without one.
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    scores: tuple[float, ...] | None = None

    @property
    def passages(self) -> tuple[str, ...]:
        """The positive, then the negatives."""
        return (self.positive, *self.negatives)


def read_groups(path: Path) -> list[Group]:
    """Read pairs or triplets from a `.jsonl`, `.csv`, `.tsv` or `.parquet` table.

    The columns are called query (or anchor, question), positive (or passage, answer), and negative,
    negative_1, ... where there are any; in JSONL and Parquet `negatives` may be a list. Where there
    is a label, rows whose label is 0 are no pairs and are left out.

    Raises:
        DataError: no such columns, an empty query or positive (the row is named), or labels that
            are all alike and say of no row that it is a pair.
    """
    groups, rows, apart = [], 0, 0
    for row in read_rows(path, frozenset({*QUERIES, *POSITIVES, *LABELS})):
        rows += 1
        if _is_apart(row):
            apart += 1
            continue
        groups.append(Group(_text(row, QUERIES), _text(row, POSITIVES), tuple(_negatives(row))))
    if not groups:
        what = f"all {rows} rows are labelled 0" if apart else "there are no rows"
        raise DataError(
            f"{path}: {what}; expected pairs of a query and a passage that answers it, their label "
            "(if they have one) 1"
        )
    if apart:
        log.info("%s: %d rows labelled 0 are no pairs and were left out", path.name, apart)
    return groups


def usable(groups: Sequence[Group], negatives: int) -> list[Group]:
    """The groups that can be learnt from, with at least `negatives` negatives; the rest is told.

    Left out are groups with too few negatives, and negatives that are the positive word for word.

    Raises:
        DataError: none is left.
    """
    kept, few, same = [], 0, 0
    for group in map(_whole_characters, groups):
        right = [text for text in group.negatives if text.strip() and text != group.positive]
        same += len(group.negatives) - len(right)
        if len(right) < negatives:
            few += 1
            continue
        kept.append(only(group, right))
    if same:
        log.info("%d negatives are empty or equal to their positive and were left out", same)
    if few:
        log.info("%d groups have fewer than %d negatives and were left out", few, negatives)
    if not kept:
        raise DataError(
            f"no training groups: of {len(groups)} none has a positive and {negatives} negatives; "
            "give more passages to mine them from, a wider range of ranks, or ask for fewer "
            "negatives"
        )
    return kept


def _whole_characters(group: Group) -> Group:
    """The same without halves of characters, which no tokenizer takes."""
    texts = [t.encode("utf-8", "replace").decode() for t in (group.query, *group.passages)]
    return replace(group, query=texts[0], positive=texts[1], negatives=tuple(texts[2:]))


def write_groups(path: Path, groups: Iterable[Group], made_from: str) -> None:
    """Keep groups as JSON lines, the first of which says what they were made from."""
    draft = path.with_name(path.name + ".draft")
    with draft.open("w", encoding="utf-8", errors="surrogatepass") as lines:
        lines.write(json.dumps({"made_from": made_from}) + "\n")
        for group in groups:
            record = [group.query, group.positive, group.negatives, group.scores]
            lines.write(json.dumps(record) + "\n")
    draft.replace(path)


def kept_groups(path: Path, made_from: str) -> list[Group] | None:
    """Groups that `write_groups` kept; None where there are none, or of something else."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8", errors="surrogatepass") as lines:
        if json.loads(next(lines)) != {"made_from": made_from}:
            return None
        return [
            Group(query, positive, tuple(negatives), tuple(scores) if scores else None)
            for query, positive, negatives, scores in map(json.loads, lines)
        ]


def drawn(group: Group, count: int, rng: np.random.Generator) -> Group:
    """The same with `count` of its negatives, drawn without replacement, and their scores."""
    if len(group.negatives) == count:
        return group
    chosen = rng.permutation(len(group.negatives))[:count]
    scores = group.scores and (group.scores[0], *(group.scores[1 + i] for i in chosen))
    return Group(
        group.query, group.positive, tuple(group.negatives[i] for i in chosen), scores or None
    )


def few_of_each(groups: Sequence[Group], count: int, seed: int) -> list[Group]:
    """At most `count` groups of each query, drawn, in the order given."""
    by_query: dict[str, list[int]] = {}
    for number, group in enumerate(groups):
        by_query.setdefault(group.query, []).append(number)
    rng = np.random.default_rng(seed)
    kept = [rng.permutation(own)[:count] for own in by_query.values()]
    return [groups[number] for number in sorted(np.concatenate(kept).tolist())]


def only(group: Group, negatives: Sequence[str]) -> Group:
    """The same with these of its negatives alone, and their scores."""
    if len(negatives) == len(group.negatives):
        return group
    scores = None
    if group.scores:
        said = dict(zip(group.negatives, group.scores[1:], strict=True))
        scores = (group.scores[0], *(said[text] for text in negatives))
    return Group(group.query, group.positive, tuple(negatives), scores)


def _is_apart(row: Row) -> bool:
    label = next((row.values[name] for name in LABELS if row.values.get(name) is not None), 1)
    try:
        return not float(label) > 0
    except (TypeError, ValueError):
        raise DataError(f"{row.place}: the label is {label!r}; expected a number, 0 or 1") from None


def _text(row: Row, names: Sequence[str]) -> str:
    for name in names:
        if isinstance(value := row.values.get(name), str) and value.strip():
            return value
    there = [name for name in names if name in row.values]
    if there:
        raise DataError(f"{row.place}: {there[0]} is empty; expected a text")
    raise DataError(
        f"{row.place}: expected a column called {' or '.join(names)}; there are "
        f"{', '.join(map(str, row.values)) or 'none'}"
    )


def _negatives(row: Row) -> Iterator[str]:
    for name, value in row.values.items():
        if _NEGATIVE.fullmatch(str(name)):
            texts: Any = value if isinstance(value, list | tuple) else [value]
            yield from (text for text in texts if isinstance(text, str) and text.strip())
