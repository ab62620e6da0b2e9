"""One thread for each core, and the memory that each works in."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shortlist.models.onnx import cores

T = TypeVar("T")
Scalar = TypeVar("Scalar", bound=np.generic)
_own = threading.local()
LEAST_FOR_THREADS = 256
MOST_PLACED = 15  # threads: moving each costs some microseconds, and of many cores some are idle


def buffer(name: str, values: int, dtype: type[Scalar]) -> NDArray[Scalar]:
    """So many values, uninitialised; of one name the same memory at every call in a thread.

    Memory that is new every time costs a page fault for every 4 KB, a tenth of a search.
    """
    size = values * np.dtype(dtype).itemsize
    known: dict[str, NDArray[np.uint8]] = _own.__dict__.setdefault("buffers", {})
    if name not in known or len(known[name]) < size:
        known[name] = np.empty(size, np.uint8)
    return known[name][:size].view(dtype)


def in_threads(work: Callable[[T], object], items: Iterable[T], *, is_brief: bool = False) -> None:
    """Do some work for every item, on every core; this thread takes part.

    Work that calls this again does that part in its own thread.

    Args:
        work: what is called, in no order.
        items: what with.
        is_brief: whether it may take no more than milliseconds: then the other threads are kept off
            this thread's core. A thread often wakes up on the core of the one that wakes it, though
            another is idle, and waits there until the system moves it.

    Raises:
        Exception: the first that `work` raised; items that were not begun are left.
    """
    waiting = list(items)[::-1]
    if getattr(_own, "is_inside", False) or len(waiting) == 1:
        while waiting:
            work(waiting.pop())
        return

    def work_on() -> None:
        _own.is_inside = True
        try:
            while waiting:
                try:
                    item = waiting.pop()
                except IndexError:  # another thread was faster
                    return
                work(item)
        except BaseException:
            waiting.clear()
            raise
        finally:
            _own.is_inside = False

    threads, count = _threads(), min(cores(), len(waiting)) - 1
    if count > 0:
        threads.place(is_brief)
    others = [threads.submit(work_on) for _ in range(count)]
    try:
        work_on()
    finally:
        for other in others:
            if not other.cancel():  # one that has not begun, behind the work of other calls
                other.result()


def parts_for_cores(count: int) -> list[slice]:
    """So many items in one part for each core; few of them are not worth a second thread."""
    return parts(count, cores() if count > LEAST_FOR_THREADS else 1)


def parts(count: int, number: int) -> list[slice]:
    """Parts of about equal length, none of them empty."""
    bounds = [count * place // number for place in range(number + 1)] if number else []
    return [slice(a, b) for a, b in pairwise(bounds) if a < b]


class _Threads(ThreadPoolExecutor):
    """The other threads, and the cores that they may use."""

    def __init__(self) -> None:
        self._count = max(1, cores() - 1)
        super().__init__(self._count, "shortlist-search", initializer=self._begin)
        self._numbers: list[int] = []
        self._at_first = os.sched_getaffinity(0) if _sched_getcpu() else set()
        self._placed: tuple[int, set[int]] = (0, self._at_first)
        self._placing = threading.Lock()

    def _begin(self) -> None:
        self._numbers.append(threading.get_native_id())

    def place(self, elsewhere: bool) -> None:
        """Let them run on the cores that they began with, `elsewhere` without this thread's.

        One caller's place is another's too: enough cores for all of them are left in any case.
        """
        get_core = _sched_getcpu()
        if get_core is None or self._count > MOST_PLACED:
            return
        cores_left = self._at_first - {get_core()} if elsewhere else self._at_first
        if len(cores_left) < self._count:
            cores_left = self._at_first
        with self._placing:
            wanted = (len(self._numbers), cores_left)  # more of them may have begun
            if wanted == self._placed or cores_left == self._at_first == self._placed[1]:
                return
            for number in self._numbers[: wanted[0]]:
                with suppress(OSError):  # the system does not allow it
                    os.sched_setaffinity(number, cores_left)
            self._placed = wanted


@cache
def _sched_getcpu() -> Callable[[], int] | None:
    """What tells the core that a thread is on; Linux has it."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    import ctypes

    return getattr(ctypes.CDLL(None), "sched_getcpu", None)


@cache
def _threads() -> _Threads:
    return _Threads()


if hasattr(os, "register_at_fork"):  # threads do not live on in the child
    os.register_at_fork(after_in_child=_threads.cache_clear)
