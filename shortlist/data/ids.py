"""Which ids were there already, in nine bytes an id: for collections of many millions."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from hashlib import blake2b

_BUCKETS = 1 << 12


def fingerprint(text: str) -> int:
    """Return 64 bits of a text's hash, the same in every process."""
    return int.from_bytes(
        blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


class SeenIds:
    """A set of ids that holds 64 bits of hash of each.

    Two different ids share a hash once in about 10**19 pairs, so whoever is told that an id was
    there before looks for the place of the first, and finds none in that case.
    """

    def __init__(self) -> None:
        # Sorted arrays, each so short that an insertion moves a few kilobytes
        self._buckets = [array("Q") for _ in range(_BUCKETS)]

    def add(self, identifier: str) -> bool:
        """Add an id; whether it (or its hash) is new."""
        key = fingerprint(identifier)
        bucket = self._buckets[key % _BUCKETS]
        place = bisect_left(bucket, key)
        if place < len(bucket) and bucket[place] == key:
            return False
        bucket.insert(place, key)
        return True

    def __len__(self) -> int:
        return sum(map(len, self._buckets))
