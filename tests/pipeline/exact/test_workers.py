"""Work in threads: where they run, and what becomes of errors."""

import os
import threading

import pytest

from shortlist.models.onnx import cores
from shortlist.pipeline.exact.workers import in_threads

two_cores = pytest.mark.skipif(cores() < 2, reason="one core has one thread")


def cores_of_threads(*, is_brief: bool) -> dict[int, set[int]]:
    """Which cores each of two threads may use while they work, by its number."""
    both, seen = threading.Barrier(2), {}

    def work(_: int) -> None:
        both.wait(timeout=30)  # one item for each
        seen[threading.get_ident()] = os.sched_getaffinity(0)

    in_threads(work, range(2), is_brief=is_brief)
    return seen


@two_cores
def test_for_brief_work_other_threads_keep_off_this_core():
    allowed, own = os.sched_getaffinity(0), threading.get_ident()
    cores_of_threads(is_brief=False)  # it is there now
    placed = cores_of_threads(is_brief=True)
    (other,) = placed.keys() - {own}
    assert placed[own] == allowed
    assert placed[other] < allowed
    assert len(placed[other]) == len(allowed) - 1
    # and nothing stays of it: the system knows best for work that takes longer
    assert cores_of_threads(is_brief=False) == {own: allowed, other: allowed}


@two_cores
def test_where_threads_may_not_be_moved_the_work_is_done_all_the_same(monkeypatch):
    cores_of_threads(is_brief=False)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    assert len(cores_of_threads(is_brief=True)) == 2
