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
from shortlist.pipeline.rescoring import NOTHING, Rescored, rescored
from shortlist.pipeline.schedule import CHOSEN_FIRST, AdaptiveCascade, FixedDepth, Plan

FIRST_LOOK = 32


@dataclass(frozen=True)
class Cascade:
    """What the student does.

    Attributes:
        student: a cross-encoder that is much faster than the one it chooses for.
        fusion: how its logit and the retrieval score make one score.
        depth: candidates that it looks at, at most.
        keep: the best of them are handed on, at most.
        first_look: candidates that it looks at before an adaptive plan may end it.
    """

    student: Scorer
    fusion: Fusion
    depth: int
    keep: int
    first_look: int = FIRST_LOOK

    def rescored(
        self,
        large: Scorer,
        candidates: Sequence[Candidates],
        plan: Plan,
        on_batch: Callable[[int], object] | None = None,
    ) -> tuple[list[Candidates], list[Rescored]]:
        """Let the large one rescore what the student hands on.

        With an adaptive plan the student looks at the first candidates, and at the others where
        these were not enough.

        Returns:
            The candidates of each question, those that were rescored in front, then the others
            that the student chose, then the rest; and what the large one said.

        Raises:
            TypeError: a plan that counts on the order of retrieval.
        """
        if not isinstance(plan, FixedDepth | AdaptiveCascade):
            raise TypeError(f"behind a student a plan is FixedDepth or AdaptiveCascade, not {plan}")
        ordered = list(candidates)
        by_student, by_large = [NOTHING] * len(ordered), [NOTHING] * len(ordered)
        waiting = list(range(len(ordered)))
        for looked, keep in self._looks(plan):
            student_said = rescored(
                self.student, [candidates[i] for i in waiting],
                FixedDepth(looked), on_batch,
                windows=False, known=[by_student[i] for i in waiting],
            )  # fmt: skip
            handed_on = [
                self._in_front(candidates[i], said, ordered[i], len(by_large[i].logits), keep)
                for i, said in zip(waiting, student_said, strict=True)
            ]
            large_said = rescored(
                large, handed_on, plan, on_batch, known=[by_large[i] for i in waiting]
            )
            for i, said, found, answer in zip(
                waiting, student_said, handed_on, large_said, strict=True
            ):
                by_student[i], ordered[i], by_large[i] = said, found, answer
            if isinstance(plan, AdaptiveCascade):
                waiting = [
                    i for i in waiting
                    if not plan.is_enough(candidates[i], ordered[i], by_large[i].logits, looked)
                ]  # fmt: skip
        return ordered, by_large

    def _looks(self, plan: FixedDepth | AdaptiveCascade) -> list[tuple[int, int]]:
        """How many candidates the student has looked at after each look, and how many it keeps.

        After the first look something is left for the second.
        """
        last, before = (self.depth, self.keep), self.keep - CHOSEN_FIRST
        if isinstance(plan, FixedDepth) or self.first_look >= self.depth or before < CHOSEN_FIRST:
            return [last]
        return [(self.first_look, before), last]

    def _in_front(
        self, found: Candidates, said: Rescored, so_far: Candidates, done: int, keep: int
    ) -> Candidates:
        """Put the best `keep` in front, in the student's order, the others behind them.

        The first `done` of the order so far, which the large one has read, stay where they are.
        """
        ranks = np.array(found.retrieval_ranks, np.int64)
        scores = np.array(self.fusion.scores(said.logits, found.first_stage, ranks))
        by_score = np.argsort(-scores, kind="stable")
        read = np.searchsorted(ranks, so_far.retrieval_ranks[:done])
        first = np.concatenate([read, by_score[~np.isin(by_score, read)]])[:keep]
        order = np.concatenate([first, np.setdiff1d(np.arange(len(found.passages)), first)])
        return replace(
            found,
            passages=[found.passages[i] for i in order],
            scores=found.scores[order],
            similarities=None if found.similarities is None else found.similarities[order],
            ranks=ranks[order],
            chosen_by=scores[first].astype(np.float32),
        )
