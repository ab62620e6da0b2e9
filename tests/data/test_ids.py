"""The memory of ids: a set in what it answers, a fraction of one in what it takes."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.ids import SeenIds

ANY = st.text(st.characters(exclude_categories=()), max_size=3)  # halves of surrogate pairs, too


@given(st.lists(ANY | st.integers(0, 30).map(str), max_size=60))
@settings(deadline=None)
def test_it_answers_as_a_set(ids: list[str]) -> None:
    seen, known = SeenIds(), set[str]()
    for identifier in ids:
        assert seen.add(identifier) == (identifier not in known)
        known.add(identifier)
        assert len(seen) == len(known)


def test_many_ids_take_few_bytes_each() -> None:
    count = 200_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        seen = SeenIds()
        new = sum(seen.add(f"https://example.org/a/rather/long/id/{i}") for i in range(count))
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert new == len(seen) == count
    assert held < 20 * count
    assert not any(seen.add(f"https://example.org/a/rather/long/id/{i}") for i in range(1000))
