"""Which rows share a step, checked against a plain graph search."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.training.batches import apart, meanings
from shortlist.training.groups import Group, few_of_each

texts = st.sampled_from("abcdefghijklmnop")
groups = st.lists(
    st.builds(Group, texts, texts, st.lists(texts, max_size=2).map(tuple)), min_size=1, max_size=30
)


def reached(rows, text):
    """What a chain of pairs joins with a text, by walking it."""
    seen, waiting = {text}, [text]
    while waiting:
        here = waiting.pop()
        for row in rows:
            for one, other in ((row.query, row.positive), (row.positive, row.query)):
                if one == here and other not in seen:
                    seen.add(other)
                    waiting.append(other)
    return seen


@settings(deadline=None)
@given(groups)
def test_texts_have_one_number_where_a_chain_of_pairs_joins_them(rows):
    said = meanings(rows)
    for row, its in zip(rows, said, strict=True):
        everything = set().union(*(reached(rows, text) for text in (row.query, *row.passages)))
        for other, theirs in zip(rows, said, strict=True):
            meet = everything & {other.query, *other.passages}
            assert its.isdisjoint(theirs) == (not meet)


@settings(deadline=None)
@given(groups, st.integers(1, 8), st.integers(0, 3))
def test_a_batch_never_says_a_thing_twice_and_every_row_comes_once(rows, size, epoch):
    sampler = apart(rows)(range(len(rows)), batch_size=size, drop_last=False, seed=5)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert batches == list(sampler)
    assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
    said = meanings(rows)
    for number, batch in enumerate(batches):
        assert len(batch) <= size
        together = [meaning for row in batch for meaning in said[row]]
        assert len(together) == len(set(together))
        if len(batch) < size:  # no later row could have filled it
            later = [row for rest in batches[number + 1 :] for row in rest]
            assert all(not said[row].isdisjoint(together) for row in later)


def test_rows_are_in_another_order_in_every_epoch_and_for_every_seed():
    rows = [Group(f"q{n}", f"p{n}") for n in range(50)]
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        sampler = apart(rows)(range(50), batch_size=8, drop_last=False, seed=seed)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] != orders[1] != orders[2] != orders[0]


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
