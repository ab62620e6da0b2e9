"""A cross-encoder that remembers on disk what it scored, so that no pair is ever scored twice.

An evaluation asks for the same pairs again and again: at several depths, behind several first
stages, and after a crash. The folder holds Parquet files of (key, logit), one for every few
thousand pairs; each appears complete or not at all, and several processes may add to it at once.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from shortlist.errors import DataError
from shortlist.models.batches import FloatArray
from shortlist.models.cross_encoder import Scorer, windows_of
from shortlist.models.windows import Reading
from shortlist.records import Passage

PAIRS_AT_ONCE = 2048  # scored between two writes: about a minute of work on two cores


class RememberedScores:
    """Scores of a cross-encoder, kept under a folder by its fingerprint: weights and precision.

    Raises:
        DataError: a file of the folder cannot be read; it is named.
    """

    def __init__(self, scorer: Scorer, folder: Path) -> None:
        self.name = scorer.name
        self.fingerprint = scorer.fingerprint
        self.scored = 0  # pairs that had to be scored since this object was made
        self._scorer = scorer
        self._folder = folder / f"scores-{scorer.fingerprint}"
        self._known: dict[bytes, float] = {}
        self._read: set[str] = set()

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        on_batch: Callable[[int], object] | None = None,
    ) -> FloatArray:
        """Logits of (query, passage) pairs, float32 `[n]`, in the order given."""
        self._read_new()
        keys = [pair_key(pair) for pair in pairs]
        new = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in self._known}
        waiting = list(new.items())
        for start in range(0, len(waiting), PAIRS_AT_ONCE):
            part = waiting[start : start + PAIRS_AT_ONCE]
            logits = self._scorer.score([pair for _, pair in part], on_batch)
            self._keep({key: float(x) for (key, _), x in zip(part, logits, strict=True)})
        if on_batch:
            on_batch(len(pairs) - len(waiting))
        self.scored += len(waiting)
        return np.array([self._known[key] for key in keys], dtype=np.float32)

    def windows(self, query: str, passages: Sequence[Passage]) -> list[Reading | None]:
        """As the cross-encoder does; every window is a pair of its own here."""
        return windows_of(self._scorer, query, passages)

    def _read_new(self) -> None:
        import pyarrow.parquet as parquet

        for file in sorted(self._folder.glob("*.parquet")):
            if file.name in self._read:
                continue
            try:
                table = parquet.read_table(file)
                keys, logits = (table.column(name).to_pylist() for name in ("key", "logit"))
            except (OSError, KeyError, ValueError) as error:
                raise DataError(f"{file} cannot be read ({error}); delete it") from error
            self._known.update(zip(keys, logits, strict=True))
            self._read.add(file.name)

    def _keep(self, scores: dict[bytes, float]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        self._folder.mkdir(parents=True, exist_ok=True)
        columns = {
            "key": pa.array(list(scores), pa.binary(16)),
            "logit": pa.array(list(scores.values()), pa.float32()),
        }
        name = f"{uuid.uuid4().hex}.parquet"
        draft = self._folder / f".{name}.part"
        parquet.write_table(pa.table(columns), draft)
        draft.rename(self._folder / name)
        self._known.update(scores)
        self._read.add(name)


def pair_key(pair: tuple[str, str]) -> bytes:
    """16 bytes that stand for a (query, passage) pair."""
    digest = hashlib.blake2b(digest_size=16)
    for text in pair:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.digest()
