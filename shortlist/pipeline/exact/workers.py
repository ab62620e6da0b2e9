"""One thread for each core, and the memory that each works in."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
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


def buffer(name: str, values: int, dtype: type[Scalar]) -> NDArray[Scalar]:
    """So many values, uninitialised; of one name the same memory at every call in a thread.

    Memory that is new every time costs a page fault for every 4 KB, a tenth of a search.
    """
    size = values * np.dtype(dtype).itemsize
    known: dict[str, NDArray[np.uint8]] = _own.__dict__.setdefault("buffers", {})
    if name not in known or len(known[name]) < size:
        known[name] = np.empty(size, np.uint8)
    return known[name][:size].view(dtype)


def in_threads(work: Callable[[T], object], items: Iterable[T]) -> None:
    """Do some work for every item, on every core; this thread takes part.

    Work that calls this again does that part in its own thread.

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

    others = [_executor().submit(work_on) for _ in range(min(cores(), len(waiting)) - 1)]
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


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, cores() - 1), "shortlist-search")


if hasattr(os, "register_at_fork"):  # threads do not live on in the child
    os.register_at_fork(after_in_child=_executor.cache_clear)
