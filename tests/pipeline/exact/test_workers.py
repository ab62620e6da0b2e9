"""Work in threads: where they run, and what becomes of errors."""

import os
import threading

import pytest

from shortlist.models.onnx import cores
from shortlist.pipeline.exact.workers import MOST_PLACED, in_threads

two_cores = pytest.mark.skipif(
    not 2 <= cores() <= MOST_PLACED + 1, reason="only a few cores are shared out, and not one"
)


def cores_of_threads(*, is_brief: bool) -> dict[int, set[int]]:
    """Which cores each of all threads may use while they work, by its number."""
    everyone, seen = threading.Barrier(cores()), {}

    def work(_: int) -> None:
        everyone.wait(timeout=30)  # one item for each
        seen[threading.get_ident()] = os.sched_getaffinity(0)

    in_threads(work, range(cores()), is_brief=is_brief)
    return seen


@two_cores
def test_for_brief_work_other_threads_keep_off_this_core():
    allowed, own = os.sched_getaffinity(0), threading.get_ident()
    cores_of_threads(is_brief=False)  # they are there now
    placed = cores_of_threads(is_brief=True)
    assert placed.pop(own) == allowed
    assert len(placed) == cores() - 1
    for others in placed.values():
        assert others < allowed
        assert len(others) == len(allowed) - 1
    # and nothing stays of it: the system knows best for work that takes longer
    assert all(found == allowed for found in cores_of_threads(is_brief=False).values())


@two_cores
def test_a_caller_that_was_pinned_does_not_pin_the_others():
    allowed = os.sched_getaffinity(0)
    cores_of_threads(is_brief=True)

    def pinned() -> None:
        os.sched_setaffinity(0, {min(allowed)})  # of this thread alone
        in_threads(lambda _: None, range(8), is_brief=True)
        in_threads(lambda _: None, range(8))

    caller = threading.Thread(target=pinned)
    caller.start()
    caller.join()
    found = cores_of_threads(is_brief=False)
    assert all(own == allowed for own in found.values())
    assert len(found) == cores()


@two_cores
def test_where_threads_may_not_be_moved_the_work_is_done_all_the_same(monkeypatch):
    cores_of_threads(is_brief=False)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert len(cores_of_threads(is_brief=True)) == cores()


def test_an_error_of_the_work_comes_to_the_caller():
    def work(number: int) -> None:
        if number == 3:
            raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        in_threads(work, range(100))
    done = []
    in_threads(done.append, range(100))  # and the threads live on
    assert sorted(done) == list(range(100))
