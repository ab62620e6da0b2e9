"""A part of a corpus: all that is judged, and others drawn by their ids, whatever their order."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.errors import UsageError
from shortlist.evaluation.sampling import passage_sample
from shortlist.records import Passage

PASSAGES = [Passage(f"p{n}", f"text {n}") for n in range(200)]


def ids(passages: list[Passage]) -> list[str]:
    return [passage.id for passage in passages]


def test_without_a_limit_all_are_taken() -> None:
    found = passage_sample(iter(PASSAGES), keep={"p3"})
    assert found.passages == PASSAGES
    assert (found.of, found.is_part) == (200, False)
    whole = passage_sample(PASSAGES, 200)
    assert (whole.passages, whole.is_part) == (PASSAGES, False)
    nothing = passage_sample([], 5)
    assert (nothing.passages, nothing.of, nothing.is_part) == ([], 0, False)


@settings(max_examples=100, deadline=None)
@given(
    number=st.integers(0, 40),
    limit=st.integers(1, 50),
    kept=st.sets(st.integers(0, 60), max_size=30),
    seed=st.integers(0, 3),
    shuffles=st.randoms(use_true_random=False),
)
def test_what_is_judged_is_kept_and_the_rest_is_drawn_whatever_the_order(
    number: int, limit: int, kept: set[int], seed: int, shuffles: Random
) -> None:
    passages = PASSAGES[:number]
    keep = {f"p{n}" for n in kept}  # some name no passage
    found = passage_sample(iter(passages), limit, keep=keep, seed=seed)
    there = keep & set(ids(passages))
    assert there <= set(ids(found.passages))
    assert len(found.passages) == max(len(there), min(limit, number))
    assert found.passages == [p for p in passages if p in found.passages]  # in their order
    assert found.of == number
    assert found.is_part == (len(found.passages) < number)

    shuffled = passages.copy()
    shuffles.shuffle(shuffled)
    again = passage_sample(iter(shuffled), limit, keep=keep, seed=seed)
    assert set(ids(again.passages)) == set(ids(found.passages))
    assert again.passages == [p for p in shuffled if p in again.passages]


def test_a_larger_sample_holds_the_smaller_one() -> None:
    samples = [set(ids(passage_sample(PASSAGES, limit).passages)) for limit in (1, 5, 50, 199)]
    assert [len(sample) for sample in samples] == [1, 5, 50, 199]
    assert all(small < large for small, large in pairwise(samples))


def test_every_passage_is_as_likely() -> None:
    draws = [passage_sample(PASSAGES, 50, seed=seed).passages for seed in range(400)]
    counts = Counter(passage_id for draw in draws for passage_id in ids(draw))
    # binomial of 400 draws and a quarter: mean 100, standard deviation 8.7; 5 of those of 200
    assert set(counts) == set(ids(PASSAGES))
    assert min(counts.values()) > 100 - 5 * 8.7
    assert max(counts.values()) < 100 + 5 * 8.7
    assert len({tuple(ids(draw)) for draw in draws}) == 400


def test_memory_is_bounded_by_what_is_taken() -> None:
    def stream() -> Iterator[Passage]:
        for n in range(5_000):
            yield Passage(f"p{n}", str(n % 10) * 10_000)  # 50 MB in all

    tracemalloc.start()
    try:
        found = passage_sample(stream(), 20, keep={"p17"})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(found.passages), found.of) == (20, 5_000)
    assert peak < 2_000_000


@pytest.mark.parametrize("limit", [0, -3])
def test_a_sample_of_nothing_is_refused(limit: int) -> None:
    with pytest.raises(UsageError, match=f"a sample of passages must be of 1 or more, got {limit}"):
        passage_sample(PASSAGES, limit)
