"""Which rows make a step: batch samplers for sentence-transformers' trainer.

Each is made for the rows of one dataset and shuffles by (seed, epoch) alone: a run that was
interrupted and goes on meets the batches that it would have met.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from shortlist.training.groups import Group

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


def apart(groups: Sequence[Group]) -> type:
    """A batch sampler that keeps apart what says the same, for losses with in-batch negatives.

    There the positives of all other rows are wrong answers. Where questions that ask the same were
    paired with each other (a with b, c with d, b with c), the texts of any two of these pairs are
    right answers of both: they never share a batch, nor does one and a negative that equals it. Of
    groups of texts that are larger than there are batches, the pairs that are left wait for the
    next epoch's shuffle, for an epoch has as many batches as without this.
    """
    from sentence_transformers.base.sampler import DefaultBatchSampler

    said = meanings(groups)

    class Apart(DefaultBatchSampler):
        def __iter__(self) -> Iterator[list[int]]:
            rng = np.random.default_rng((self.seed, self.epoch))
            fresh = iter(rng.permutation(len(said)).tolist())
            deferred: list[int] = []
            while True:
                again = iter(deferred)
                batch: list[int] = []
                passed: list[int] = []
                taken: set[int] = set()
                for row in chain(again, fresh):
                    if not taken.isdisjoint(said[row]):
                        passed.append(row)
                        continue
                    batch.append(row)
                    taken |= said[row]
                    if len(batch) == self.batch_size:
                        break
                if not batch:
                    return
                deferred = [*passed, *again]
                yield batch

    return Apart


def meanings(groups: Sequence[Group]) -> list[frozenset[int]]:
    """Numbers of what each group's texts say; equal for texts that a chain of pairs joins."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[str, int] = {}
    rows = [
        [numbers.setdefault(text, len(numbers)) for text in (group.query, *group.passages)]
        for group in groups
    ]
    pairs = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2).T
    joined = coo_array((np.ones(len(rows), np.int8), pairs), shape=(len(numbers), len(numbers)))
    meaning = connected_components(joined, directed=False)[1].tolist()
    return [frozenset(meaning[number] for number in row) for row in rows]
