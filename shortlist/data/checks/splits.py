"""What train, dev and test share: queries and relevant passages, equal or nearly so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from shortlist.data.checks.qrels import Split
from shortlist.data.checks.queries import Queries
from shortlist.data.checks.report import Example, Findings, shown
from shortlist.data.columns import PlacedPassage
from shortlist.data.near_duplicates import NearDuplicates

_ORDER = ("train", "dev", "test")


class Positives:
    """The texts of passages judged relevant; shown every passage of the corpus."""

    def __init__(self, splits: Iterable[Split]) -> None:
        self._wanted = {passage_id for split in splits for _, passage_id in split.relevant()}
        self.texts: dict[str, str] = {}
        self.places: dict[str, str] = {}

    def __call__(self, placed: PlacedPassage) -> None:
        """Look at one passage."""
        passage = placed.passage
        if passage.id in self._wanted and not placed.id_is_made:
            self.texts[passage.id] = passage.text or passage.title
            self.places[passage.id] = placed.place


def families(splits: Sequence[Split]) -> dict[str, list[Split]]:
    """Group splits by family: dev and dev.small share by design."""
    found: dict[str, list[Split]] = {}
    for split in in_order(splits):
        found.setdefault(split.family, []).append(split)
    return found


def in_order(splits: Sequence[Split]) -> list[Split]:
    """Sort splits: train, dev, test, then others as they came."""
    rank = {name: number for number, name in enumerate(_ORDER)}
    return sorted(splits, key=lambda split: rank.get(split.family, len(rank)))


def is_held_out(split: Split) -> bool:
    """Whether a split is one to measure on, not to train on."""
    return not split.family.startswith("train")


def check_splits(
    splits: Sequence[Split], queries: Queries, positives: Positives, findings: Findings
) -> None:
    """Compare each two families of splits; relevant passages only between train and another."""
    for (one, ones), (other, others) in combinations(families(splits).items(), 2):
        where = f"{one}, {other}"
        _same_queries(where, ones, others, queries, findings)
        _near_queries(where, ones, others, queries, findings)
        if is_held_out(ones[0]) == is_held_out(others[0]):
            continue
        _shared_positives(where, ones, others, positives, findings)
        _near_positives(where, ones, others, positives, findings)


def _judged(splits: Iterable[Split]) -> dict[str, str]:
    """Query id -> place of its first judgement."""
    found: dict[str, str] = {}
    for split in splits:
        for query_id, grades in split.grades.items():
            found.setdefault(query_id, split.place(query_id, next(iter(grades))))
    return found


def _relevant(splits: Iterable[Split]) -> dict[str, str]:
    """Passage id -> place of the first judgement that it is relevant."""
    found: dict[str, str] = {}
    for split in splits:
        for query_id, passage_id in split.relevant():
            found.setdefault(passage_id, split.place(query_id, passage_id))
    return found


def _same_queries(
    where: str, ones: list[Split], others: list[Split], queries: Queries, findings: Findings
) -> None:
    second = _judged(others)
    for query_id, place in _judged(ones).items():
        if query_id in second:
            text = (shown(queries.texts[query_id]),) if query_id in queries.texts else ()
            example = Example((place, second[query_id]), (query_id,), text)
            findings.add("splits", "same-query-in-two-splits", where, example)


def _near_queries(
    where: str, ones: list[Split], others: list[Split], queries: Queries, findings: Findings
) -> None:
    second = [query_id for query_id in _judged(others) if query_id in queries.texts]
    first = [query_id for query_id in _judged(ones) if query_id in queries.texts]
    for a, b, overlap in _near(first, second, queries.texts):
        example = Example(
            (queries.place(a), queries.place(b)),
            (a, b),
            (shown(queries.texts[a]), shown(queries.texts[b])),
            f"overlap {overlap:.2f}",
        )
        findings.add("splits", "near-duplicate-query", where, example)


def _shared_positives(
    where: str, ones: list[Split], others: list[Split], positives: Positives, findings: Findings
) -> None:
    second = _relevant(others)
    for passage_id, place in _relevant(ones).items():
        if passage_id in second:
            known = positives.texts.get(passage_id)
            text = (shown(known),) if known else ()
            example = Example((place, second[passage_id]), (passage_id,), text)
            findings.add("splits", "shared-positive", where, example)


def _near_positives(
    where: str, ones: list[Split], others: list[Split], positives: Positives, findings: Findings
) -> None:
    texts = positives.texts
    second = _relevant(others)
    first = [p for p in _relevant(ones) if p in texts and p not in second]
    for a, b, overlap in _near(first, [p for p in second if p in texts], texts):
        example = Example(
            (positives.places[a], positives.places[b]),
            (a, b),
            (shown(texts[a]), shown(texts[b])),
            f"overlap {overlap:.2f}",
        )
        findings.add("splits", "near-duplicate-positive", where, example)


def _near(
    first: list[str], second: list[str], texts: dict[str, str]
) -> Iterator[tuple[str, str, float]]:
    """Yield each of the first ids whose text one of the second nearly repeats, and the nearest."""
    index = NearDuplicates(texts[identifier] for identifier in second)
    for identifier in first:
        for match in index.matches(texts[identifier]):
            if second[match.number] != identifier:
                yield identifier, second[match.number], match.overlap
                break
