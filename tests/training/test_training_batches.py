"""Which rows share a step, checked against a plain graph search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.training.batches import Said, apart, waiting
from shortlist.training.groups import Group, few_of_each

texts = st.sampled_from("abcdefghijklmnop")
groups = st.lists(
    st.builds(Group, texts, texts, st.lists(texts, max_size=2).map(tuple)), min_size=1, max_size=30
)
symmetric = st.booleans()


def reached(rows, text):
    """What a chain of pairs joins with a text, by walking it."""
    seen, here = {text}, [text]
    while here:
        at = here.pop()
        for row in rows:
            for one, other in ((row.query, row.positive), (row.positive, row.query)):
                if one == at and other not in seen:
                    seen.add(other)
                    here.append(other)
    return seen


def answers(rows, query, chained):
    if chained:
        return reached(rows, query)
    return {query, *(row.positive for row in rows if row.query == query)}


def batches_of(rows, said, size, epoch=0, seed=5):
    sampler = apart(rows, said)(range(len(rows)), batch_size=size, drop_last=False, seed=seed)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert batches == list(sampler)
    assert len(batches) <= len(sampler)
    return batches


@settings(deadline=None)
@given(groups, symmetric, st.integers(1, 8), st.integers(0, 3), st.randoms())
def test_no_row_of_a_batch_answers_another_ones_query(rows, chained, size, epoch, random):
    said = Said.by(rows, symmetric=chained)
    some = random.sample(rows, random.randint(1, len(rows)))  # pairs that are left out still count
    batches = batches_of(some, said, size, epoch)
    dealt = [row for batch in batches for row in batch]
    assert len(dealt) == len(set(dealt))
    for batch in batches:
        assert len(batch) <= size
        for one in batch:
            right = answers(rows, some[one].query, chained)
            for other in batch:
                if one != other:
                    assert right.isdisjoint({some[other].query, *some[other].passages})


@settings(deadline=None)
@given(groups, symmetric)
def test_a_negative_that_answers_by_another_pair_is_none(rows, chained):
    for row, right in zip(rows, Said.by(rows, symmetric=chained).without_same(rows), strict=True):
        wrong = answers(rows, row.query, chained)
        assert right.negatives == tuple(text for text in row.negatives if text not in wrong)


def test_pairs_about_different_things_all_come_in_full_batches_in_a_new_order_each_epoch():
    rows = [Group(f"q{n}", f"p{n}", (f"n{n % 7}",)) for n in range(100)]
    said = Said.by(rows, symmetric=False)
    orders = [batches_of(rows, said, 8, epoch, seed) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for batches in orders:
        assert sorted(row for batch in batches for row in batch) == list(range(100))
        assert sorted(map(len, batches)) == [7] * 4 + [8] * 9
    assert orders[0] != orders[1] != orders[2] != orders[0]
    together = [{frozenset((a, b)) for batch in order for a in batch for b in batch if a != b}
                for order in orders]  # fmt: skip
    assert len(together[0] & together[1]) < 0.3 * len(together[0])


def test_a_group_larger_than_the_epoch_is_dealt_to_every_batch_and_others_take_turns():
    clique = [Group(f"c{a}", f"c{b}") for a in range(20) for b in range(20) if a != b]
    rows = clique + [Group(f"q{n}", f"p{n}") for n in range(150)]
    said = Said.by(rows, symmetric=True)
    batches = batches_of(rows, said, 16)
    assert [sum(row < 380 for row in batch) for batch in batches] == [1] * 11  # of 161 rows
    assert {len(batch) for batch in batches} == {14, 15}
    assert waiting(apart(rows, said), len(rows), 16) == 369
    seen = {row for epoch in range(30) for b in batches_of(rows, said, 16, epoch) for row in b}
    assert len(seen) > 150 + 150  # other pairs of the group in other epochs
    # one-way, any two of its pairs share a step that have no text in common
    one_way = batches_of(rows, Said.by(rows, symmetric=False), 16)
    assert sum(row < 380 for batch in one_way for row in batch) > 20


def test_a_large_collection_with_a_hub_is_dealt_quickly():
    """Half of the rows have one passage: looking at each of them for each batch takes minutes."""
    rows = [Group(f"q{n}", "hub" if n % 2 else f"p{n}") for n in range(100_000)]
    said = Said.by(rows, symmetric=False)
    sampler = apart(rows, said)(range(len(rows)), batch_size=64, drop_last=False)
    sizes = list(map(len, sampler))
    assert sum(sizes) == 50_000 + len(sizes)
    assert set(sizes) <= {63, 64}


@settings(deadline=None)
@given(groups, st.integers(1, 3), st.integers(0, 9))
def test_few_of_each_query_are_drawn(rows, count, seed):
    kept = few_of_each(rows, count, seed)
    places = [next(i for i, row in enumerate(rows) if row is own) for own in kept]
    assert places == sorted(places)
    for query in {row.query for row in rows}:
        there = sum(row.query == query for row in rows)
        assert sum(row.query == query for row in kept) == min(count, there)


def test_what_is_drawn_is_drawn_by_chance():
    rows = [Group("q", f"p{n}") for n in range(20)]
    assert len({few_of_each(rows, 1, seed)[0].positive for seed in range(20)}) > 5


@pytest.mark.parametrize("positives", [0, 1])
def test_a_dropped_pair_still_keeps_its_texts_apart(positives):
    """a-b, b-c and c-d ask the same; without b-c the others would be each other's wrong answers."""
    rows = [Group("b", "a"), Group("b", "c"), Group("d", "c"), Group("x", "y")]
    said = Said.by(rows, symmetric=True)
    some = few_of_each(rows, positives, 0) if positives else rows
    for epoch in range(20):
        for batch in batches_of(some, said, 4, epoch):
            assert sum(some[row].query != "x" for row in batch) <= 1
    assert np.all([said.numbers[text] == said.numbers["a"] for text in "bcd"])
