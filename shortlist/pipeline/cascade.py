"""Two cross-encoders in a row: a small student looks at many candidates, the large one at the few.

The student is a few layers of the large one, taught by it (`shortlist train cross-encoder --layers
--teacher`). It only chooses: the order and the scores are those of the large one, so a passage has
the same score with a cascade as without (Nogueira et al. 2019, arXiv 1910.14424; Gao et al. 2020,
arXiv 2007.11088).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shortlist.models.cross_encoder import Scorer
from shortlist.models.presets import Fusion
from shortlist.pipeline.arrays import Int64Array
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.rescoring import rescored
from shortlist.pipeline.schedule import FixedDepth


@dataclass(frozen=True)
class Cascade:
    """What the student does.

    Attributes:
        student: a cross-encoder that is much faster than the one it chooses for.
        fusion: how its logit and the retrieval score make one score.
        depth: candidates that it looks at.
        keep: the best of them are handed on.
    """

    student: Scorer
    fusion: Fusion
    depth: int
    keep: int

    def chosen(
        self, candidates: Sequence[Candidates], on_batch: Callable[[int], object] | None = None
    ) -> list[Candidates]:
        """Put the best `keep` of each question's first `depth` in front, the others behind them.

        Both parts are in the order of retrieval.
        """
        said = rescored(self.student, candidates, FixedDepth(self.depth), on_batch)
        return [
            _in_front(found, self._best(found, logits.logits.tolist()))
            for found, logits in zip(candidates, said, strict=True)
        ]

    def _best(self, found: Candidates, logits: Sequence[float]) -> Int64Array:
        scores = self.fusion.scores(logits, found.first_stage, found.skipped + 1)
        return np.sort(np.argsort(-np.array(scores), kind="stable")[: self.keep])


def _in_front(found: Candidates, first: Int64Array) -> Candidates:
    rest = np.setdiff1d(np.arange(len(found.passages)), first)
    order = np.concatenate([first, rest])
    return replace(
        found,
        passages=[found.passages[i] for i in order],
        scores=found.scores[order],
        similarities=None if found.similarities is None else found.similarities[order],
        ranks=order + found.skipped + 1,
    )
