"""Memory: what there is, and giving back what is no longer used."""

from __future__ import annotations

import ctypes
from pathlib import Path

_LIMITS = (  # of control groups, version 2 and 1
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_ASSUMED = 4 << 30  # available bytes where the system does not say


def available() -> int:
    """Bytes that can be taken without pushing others out, as Linux estimates them."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return _ASSUMED
    _, found, rest = text.partition("MemAvailable:")
    there = int(rest.split()[0]) * 1024 if found else _ASSUMED
    return min([there, *_limits()])


def _limits() -> list[int]:
    """What a container may take at most, whatever the machine has."""
    limits = []
    for file in _LIMITS:
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return limits


def trim() -> None:
    """Have glibc return freed memory to the system; elsewhere nothing.

    It keeps freed arrays of some megabytes for the next ones, which fit no hole exactly where they
    must be aligned: packing a collection would take twice its memory.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return
