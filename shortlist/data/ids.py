"""Which ids or texts were there already, in few bytes each: for collections of many millions."""

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


class HashedRows:
    """At which row each of many texts stands, by 64 bits of its hash: 16 bytes a text.

    The hash may lie, though it hardly ever will: whoever is told a row compares what is there.
    """

    def __init__(self) -> None:
        self._keys = [array("Q") for _ in range(_BUCKETS)]
        self._rows = [array("q") for _ in range(_BUCKETS)]

    def add(self, key: int, row: int) -> None:
        """Remember the row of a text, by its `fingerprint`; the first row stays."""
        keys = self._keys[key % _BUCKETS]
        place = bisect_left(keys, key)
        if place == len(keys) or keys[place] != key:
            keys.insert(place, key)
            self._rows[key % _BUCKETS].insert(place, row)

    def get(self, key: int) -> int:
        """Return the row of the text with that `fingerprint`, -1 where there is none."""
        keys = self._keys[key % _BUCKETS]
        place = bisect_left(keys, key)
        if place < len(keys) and keys[place] == key:
            return self._rows[key % _BUCKETS][place]
        return -1


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
