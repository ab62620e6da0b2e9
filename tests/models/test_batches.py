"""Length-sorted batches: a partition within the budget, rows back in their order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shortlist.models.batches import batches_by_length, run_batches


@given(
    lengths=st.lists(st.integers(1, 600), max_size=120),
    budget=st.integers(1, 3000),
    min_batches=st.integers(1, 5),
    one_length=st.booleans(),
)
def test_batches_are_a_partition_within_the_budget(lengths, budget, min_batches, one_length):
    batches = batches_by_length(lengths, budget, min_batches, one_length=one_length)
    rows = np.concatenate(batches).tolist() if batches else []
    assert sorted(rows) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget
        assert not one_length or {lengths[row] for row in batch} == {longest}
    assert len(batches) >= min(min_batches, len(lengths))


@dataclass
class Tokens:
    ids: list[int]

    @property
    def type_ids(self):
        return [0] * len(self.ids)


@given(
    texts=st.lists(st.lists(st.integers(1, 99), max_size=30), max_size=50),
    workers=st.integers(1, 3),
    one_length=st.booleans(),
)
def test_rows_come_back_in_the_order_of_the_input(texts, workers, one_length):
    def run(arrays):
        assert arrays["input_ids"].shape[1] > 0
        assert arrays["attention_mask"].all() or not one_length or arrays["input_ids"].shape[1] == 1
        assert set(np.unique(arrays["input_ids"][arrays["attention_mask"] == 0])) <= {7}
        return (arrays["input_ids"] * arrays["attention_mask"]).sum(1, keepdims=True).astype("f4")

    counted = []
    out = run_batches(
        run,
        [Tokens(ids) for ids in texts],
        width=1,
        pad_id=7,
        workers=workers,
        tokens_per_batch=64,
        one_length=one_length,
        on_batch=counted.append,
    )
    assert out[:, 0].tolist() == [sum(ids) for ids in texts]
    assert sum(counted) == len(texts)
