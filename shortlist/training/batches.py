"""Which rows make a step: batch samplers for sentence-transformers' trainer.

Each is made for the rows of one dataset and shuffles by (seed, epoch) alone: a run that was
interrupted and goes on meets the batches that it would have met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shortlist.training.groups import Group, only

TRIES = 64  # batches that a row is offered to, before it waits for another epoch
BATCHES_IN_A_WINDOW = 32  # sorted by length within a window: bucketed, and still mixed


def similar_lengths(lengths: Sequence[int], *, shuffled_within: int) -> type:
    """A batch sampler of sentence-transformers that puts rows of similar length into a batch.

    Less is computed for padding then. Rows are shuffled, sorted by length within a window of some
    batches, and the batches of all windows shuffled.

    Args:
        lengths: of each row of the dataset, in whatever unit.
        shuffled_within: rows of an epoch; no row moves into another one.
    """
    from sentence_transformers.base.sampler import DefaultBatchSampler

    values = np.asarray(lengths)
    starts = range(0, len(values), shuffled_within)

    class SimilarLengths(DefaultBatchSampler):
        def __iter__(self) -> Iterator[list[int]]:
            rng = np.random.default_rng((self.seed, self.epoch))
            size = self.batch_size
            for first in starts:
                count = min(shuffled_within, len(values) - first)
                order, batches = first + rng.permutation(count), []
                for start in range(0, count, size * BATCHES_IN_A_WINDOW):
                    part = order[start : start + size * BATCHES_IN_A_WINDOW]
                    part = part[np.argsort(values[part], kind="stable")]
                    batches += [part[i : i + size] for i in range(0, len(part), size)]
                for number in rng.permutation(len(batches)):
                    yield batches[number].tolist()

        def __len__(self) -> int:
            counts = [min(shuffled_within, len(values) - first) for first in starts]
            return sum(-(-count // self.batch_size) for count in counts)

    return SimilarLengths


@dataclass(frozen=True)
class Said:
    """What the texts of groups say, as numbers, by the judgements of all of them.

    Texts that ask the same (symmetric) have one number where a chain of pairs joins them; otherwise
    every text has its own, and `answers` has those of all positives of each query.
    """

    numbers: Mapping[str, int]
    answers: Mapping[str, frozenset[int]]

    @classmethod
    def by(cls, groups: Sequence[Group], *, symmetric: bool) -> Said:
        """Number the texts of groups; `symmetric` where queries and positives are of one kind."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        numbers: dict[str, int] = {}
        for group in groups:
            for text in (group.query, *group.passages):
                numbers.setdefault(text, len(numbers))
        if symmetric:
            ends = np.array([[numbers[g.query], numbers[g.positive]] for g in groups]).T
            shape = (len(numbers), len(numbers))
            joined = coo_array((np.ones(len(groups), np.int64), ends), shape=shape)
            meaning = connected_components(joined, directed=False)[1].tolist()
            numbers = {text: meaning[number] for text, number in numbers.items()}
        answers: dict[str, set[int]] = {}
        for group in groups:
            answers.setdefault(group.query, set()).update(
                (numbers[group.query], numbers[group.positive])
            )
        return cls(numbers, {query: frozenset(own) for query, own in answers.items()})

    def without_same(self, groups: Sequence[Group]) -> list[Group]:
        """The groups without those of their negatives that answer their query by other pairs."""
        right = []
        for group in groups:
            answers = self.answers[group.query]
            others = [text for text in group.negatives if self.numbers[text] not in answers]
            right.append(only(group, others))
        return right


def apart(rows: Sequence[Group], said: Said) -> type:
    """A batch sampler that keeps right answers out of a batch, for losses with in-batch negatives.

    There the positives (and negatives) of all other rows are wrong answers of a query. Two rows
    share no batch where one has a passage that answers the other's query: the same text, another
    of its positives, or, among texts that ask the same, any that a chain of pairs joins.

    Rows that all clash, such as those of one query, are dealt to one batch each. An epoch has as
    many full batches as can be dealt so; what is left waits for another epoch's shuffle.
    """
    from sentence_transformers.base.sampler import DefaultBatchSampler

    own = [said.answers[row.query] for row in rows]
    texts = [frozenset(said.numbers[text] for text in (row.query, *row.passages)) for row in rows]
    often = Counter(number for row in rows for number in _mutual(row, said))
    _, hubs, sizes = np.unique(
        [max(_mutual(row, said), key=lambda number: (often[number], number)) for row in rows],
        return_inverse=True, return_counts=True,
    )  # fmt: skip

    class Apart(DefaultBatchSampler):
        def __iter__(self) -> Iterator[list[int]]:
            rng = np.random.default_rng((self.seed, self.epoch))
            count = len(self)
            batches: list[list[int]] = [[] for _ in range(count)]
            there: list[set[int]] = [set() for _ in range(count)]  # texts of a batch
            wanted: list[set[int]] = [set() for _ in range(count)]  # answers to its queries
            for place, row in enumerate(_dealt(hubs, count, rng)):
                for number in range(place, place + min(TRIES, count)):
                    at = number % count
                    if (
                        len(batches[at]) < self.batch_size
                        and there[at].isdisjoint(own[row])
                        and wanted[at].isdisjoint(texts[row])
                    ):
                        batches[at].append(row)
                        there[at] |= texts[row]
                        wanted[at] |= own[row]
                        break
            for at in rng.permutation(count).tolist():
                if batches[at]:
                    yield batches[at]

        def __len__(self) -> int:
            return _batches(sizes, self.batch_size)

    return Apart


def waiting(batches: type, rows: int, batch: int) -> int:
    """How many of its rows an epoch of what `apart` made leaves for another one."""
    sampler = batches(range(rows), batch_size=batch, drop_last=False)
    return rows - sum(map(len, sampler))


def _mutual(row: Group, said: Said) -> tuple[int, int]:
    """Rows that have one of these numbers in common clash."""
    return said.numbers[row.query], said.numbers[row.positive]


def _dealt(hubs: NDArray[np.int64], batches: int, rng: np.random.Generator) -> list[int]:
    """The rows of an epoch in an order that, dealt in turn, gives no batch two rows of a hub."""
    shuffled = rng.permutation(hubs.max() + 1)[hubs]
    order = rng.permutation(len(hubs))
    order = order[np.argsort(shuffled[order], kind="stable")]
    _, first, sizes = np.unique(shuffled[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, sizes)
    kept = rank < batches
    largest = np.argsort(-np.repeat(sizes, sizes)[kept], kind="stable")
    return [int(row) for row in order[kept][largest]]


def _batches(sizes: NDArray[np.int64], batch: int) -> int:
    """How many batches can be filled where each takes one row of a hub."""
    count = -(-int(sizes.sum()) // batch)
    while (fewer := -(-int(np.minimum(sizes, count).sum()) // batch)) < count:
        count = fewer
    return max(count, 1)
