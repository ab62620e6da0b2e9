"""Two cross-encoders in a row: a small student looks at many candidates, the large one at the few.

The student is a few layers of the large one, taught by it (`shortlist train cross-encoder --layers
--teacher`). It only chooses: the order and the scores are those of the large one, so a passage has
the same score with a cascade as without (Nogueira et al. 2019, arXiv 1910.14424; Gao et al. 2020,
arXiv 2007.11088). Of a long passage it reads the start, which chooses as well as the best window,
at a third of the time (benchmarks/RESULTS.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shortlist.models.cross_encoder import Scorer
from shortlist.models.presets import Fusion
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

        Those in front are in the student's order, equal ones in that of retrieval; the others are
        in that of retrieval.
        """
        plan = FixedDepth(self.depth)
        said = rescored(self.student, candidates, plan, on_batch, windows=False)
        return [
            self._in_front(found, logits.logits.tolist())
            for found, logits in zip(candidates, said, strict=True)
        ]

    def _in_front(self, found: Candidates, logits: Sequence[float]) -> Candidates:
        scores = np.array(self.fusion.scores(logits, found.first_stage, found.skipped + 1))
        first = np.argsort(-scores, kind="stable")[: self.keep]
        rest = np.setdiff1d(np.arange(len(found.passages)), first)
        order = np.concatenate([first, rest])
        return replace(
            found,
            passages=[found.passages[i] for i in order],
            scores=found.scores[order],
            similarities=None if found.similarities is None else found.similarities[order],
            ranks=order + found.skipped + 1,
            chosen_by=scores[first].astype(np.float32),
        )
