"""Memory: what there is, and giving back what is no longer used."""

from __future__ import annotations

import ctypes
from pathlib import Path

_ASSUMED = 4 << 30  # available bytes where the system does not say


def available() -> int:
    """Bytes that can be taken without pushing others out, as Linux estimates them."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return _ASSUMED
    _, found, rest = text.partition("MemAvailable:")
    return int(rest.split()[0]) * 1024 if found else _ASSUMED


def trim() -> None:
    """Have glibc return freed memory to the system; elsewhere nothing.

    It keeps freed arrays of some megabytes for the next ones, which fit no hole exactly where they
    must be aligned: packing a collection would take twice its memory.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return
