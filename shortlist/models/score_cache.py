"""A cross-encoder that keeps its last scores in memory: a question asked again costs nothing.

A key is made of the question and the passage's text, so a text that changed is scored anew; the
object stands before one cross-encoder, so scores of different models cannot be mixed up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np

from shortlist.errors import UsageError
from shortlist.models.batches import FloatArray
from shortlist.models.cross_encoder import Scorer, windows_of
from shortlist.models.remembered import pair_key
from shortlist.models.windows import Reading
from shortlist.records import Passage


class CachedScores:
    """The last `most` scores of a cross-encoder, about 250 bytes each. Safe from several threads.

    Raises:
        UsageError: `most` is below 1.
    """

    def __init__(self, scorer: Scorer, most: int) -> None:
        if most < 1:
            raise UsageError(f"a score cache keeps at least 1 score (got {most})")
        self.name = scorer.name
        self.fingerprint = scorer.fingerprint
        self.scored = 0  # pairs that had to be scored
        self._scorer = scorer
        self._most = most
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        on_batch: Callable[[int], object] | None = None,
    ) -> FloatArray:
        """Logits of (query, passage) pairs, float32 `[n]`, in the order given."""
        keys = [pair_key(pair) for pair in pairs]
        with self._lock:
            found = {key: self._known[key] for key in keys if key in self._known}
            for key in found:
                self._known.move_to_end(key)
        new = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}
        if on_batch:
            on_batch(len(pairs) - len(new))
        if new:
            logits = self._scorer.score(list(new.values()), on_batch)
            made = {key: float(logit) for key, logit in zip(new, logits, strict=True)}
            found |= made
            self._keep(made)
        return np.array([found[key] for key in keys], dtype=np.float32)

    def windows(self, query: str, passages: Sequence[Passage]) -> list[Reading | None]:
        """As the cross-encoder does; every window is a pair of its own here."""
        return windows_of(self._scorer, query, passages)

    def _keep(self, made: dict[bytes, float]) -> None:
        with self._lock:
            self.scored += len(made)
            self._known.update(made)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
