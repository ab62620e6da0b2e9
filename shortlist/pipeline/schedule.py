"""How many candidates are rescored: so many, until nothing can change, or until the time is up.

A plan is asked again and again how many more candidates of a question to rescore, with the logits
of those that were; zero ends it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from shortlist.errors import UsageError
from shortlist.models.presets import Fusion
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.candidates import Candidates
from shortlist.records import Passage

DEFAULT_DEPTH = 30
DEEPEST = 100  # where the depth is decided by something else: a budget, or the candidates
SLOW = 0.9  # of the blocks that were seen were faster
LONGEST = 5000  # characters: the tokens of English that are read of one passage at most
PAIR_UNITS = 150  # what a pair takes beside its length, in characters
REFUSALS = 25  # questions
ADAPTIVE_FIRST = 16  # candidates that are always rescored
ADAPTIVE_BLOCK = 8  # candidates rescored between two looks at whether that was enough
CHOSEN_FIRST, CHOSEN_BLOCK = 8, 4  # the same where a student has put them in order
FIRST_BLOCK = 4  # candidates from which an unknown machine's pace is learned
RESERVED = 0.1  # of a budget, for what comes after the rescoring, and for surprises
LEAST_BLOCK = 2  # a single pair would leave all cores but one idle


@dataclass(frozen=True)
class Effort:
    """What a search may cost, as it is asked for.

    Attributes:
        depth: candidates of a question that are rescored; where something else decides as well,
            the most. None: 30, or 100.
        adaptive: stop where no remaining candidate can plausibly beat the best one.
        budget_ms: milliseconds from the question to the answer; models are loaded before.
        cascade: a student looks at the candidates and leaves so many to be rescored; with
            `adaptive` that is the most.
    """

    depth: int | None = None
    adaptive: bool = False
    budget_ms: float | None = None
    cascade: int | None = None

    @property
    def deepest(self) -> int:
        """Candidates that may be needed."""
        if self.depth is not None:
            return self.depth
        decided = self.adaptive or self.budget_ms is not None or self.cascade is not None
        return DEEPEST if decided else DEFAULT_DEPTH

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: a depth below 1, a budget that is not above zero, or a cascade that leaves
                none or that is to end in time as well.
        """
        if self.deepest < 1:
            raise UsageError(f"depth must be at least 1 (got {self.deepest})")
        if self.budget_ms is not None and not 0 < self.budget_ms < float("inf"):
            raise UsageError(
                f"budget_ms must be milliseconds above zero (got {self.budget_ms}), such as 300"
            )
        if self.cascade is None:
            return
        if not 1 <= self.cascade <= self.deepest:
            raise UsageError(
                f"cascade must leave 1 to {self.deepest} candidates, of which there are so many "
                f"(got {self.cascade})"
            )
        if self.budget_ms is not None:
            raise UsageError("a cascade has no budget_ms; use one of the two")

    def plan(
        self, fusion: Fusion, pace: Pace, started: float, student: Fusion | None = None
    ) -> Plan:
        """The plan for questions that were asked at `started`, by `time.perf_counter`.

        Args:
            fusion: how the scores are made that the passages will have.
            pace: what is known of this machine.
            started: when the questions were asked.
            student: how the scores were made by which a cascade's student has chosen.

        Raises:
            UsageError: adaptive, and that was not measured for the models.
        """
        if self.cascade is not None:
            return self._plan_behind(self.cascade, student or Fusion(), fusion)
        plan: Plan = FixedDepth(self.deepest)
        if self.adaptive:
            if fusion.plausible is None:
                raise UsageError(
                    "the depth can be adaptive with the default models only, which it was measured "
                    "with; use depth= (--depth) or budget_ms= (--budget-ms) with others"
                )
            plan = AdaptiveDepth(self.deepest, fusion, fusion.plausible)
        if self.budget_ms is None:
            return plan
        return WithinBudget(plan, pace, seconds=self.budget_ms / 1000, started=started)

    def _plan_behind(self, keep: int, student: Fusion, fusion: Fusion) -> Plan:
        if not self.adaptive:
            return FixedDepth(keep)
        if student.wrong_by is None or fusion.plausible is None:
            raise UsageError(
                "a cascade can be adaptive with the default models and engine only, which it was "
                "measured with; use cascade= (--cascade) alone with others"
            )
        return AdaptiveCascade(fusion, fusion.plausible, student.wrong_by)


class Plan(Protocol):
    """Decides the depth of one question, step by step."""

    def more(self, found: Candidates, logits: FloatArray) -> int:
        """How many of the next candidates to rescore; `logits` are those of the first ones."""


@dataclass(frozen=True)
class FixedDepth:
    """The first `depth` candidates of every question."""

    depth: int

    def more(self, found: Candidates, logits: FloatArray) -> int:  # noqa: ARG002 - as every plan
        """All that is missing, at once."""
        return max(self.depth - len(logits), 0)


@dataclass
class Pace:
    """What rescoring takes on this machine, learned from every block that was rescored.

    The time of a pair is taken to grow with its length, read up to `LONGEST`; that is roughly so,
    and the rest is in the spread of what was seen: the slow ones count.
    """

    seen: deque[float] = field(default_factory=lambda: deque(maxlen=32))  # seconds per unit
    refused: int = 0  # questions since anything was rescored

    def learn(self, units: float, seconds: float) -> None:
        """Remember a block."""
        self.refused = 0
        if units > 0:
            self.seen.append(seconds / units)

    def refuse(self) -> None:
        """Remember a question with no time to rescore anything.

        After some of them the slowest block is forgotten: the machine may have been busy with
        something else then, and would never be measured again.
        """
        self.refused += 1
        if self.refused >= REFUSALS and self.seen:
            self.refused = 0
            self.seen.remove(max(self.seen))

    @property
    def seconds_per_unit(self) -> float | None:
        """What most blocks did not exceed; None before the first."""
        return float(np.quantile(list(self.seen), SLOW)) if self.seen else None


class WithinBudget:
    """As many candidates as can be rescored before a point in time, and no more than another plan.

    Made for one question; `pace` outlives it.
    """

    def __init__(
        self,
        plan: Plan,
        pace: Pace,
        *,
        seconds: float,
        started: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plan, self._pace, self._clock = plan, pace, clock
        self._end = started + seconds * (1 - RESERVED)
        self._running: tuple[float, float] | None = None  # when the block began, and its units

    def more(self, found: Candidates, logits: FloatArray) -> int:
        """What the time that is left is enough for, by the slow ones of the blocks seen so far."""
        now = self._clock()
        if self._running:
            began, done = self._running
            self._pace.learn(done, now - began)
            self._running = None
        wanted = min(self._plan.more(found, logits), len(found.passages) - len(logits))
        rest = found.passages[len(logits) : len(logits) + wanted]
        units: FloatArray = np.cumsum([_units(found.query, passage) for passage in rest])
        count = self._affordable(units, self._end - now)
        if not count:
            if not len(logits) and wanted:
                self._pace.refuse()
            return 0
        self._running = (now, float(units[count - 1]))
        return count

    def _affordable(self, units: FloatArray, seconds: float) -> int:
        if seconds <= 0 or not len(units):
            return 0
        per_unit = self._pace.seconds_per_unit
        if per_unit is None:
            return min(FIRST_BLOCK, len(units))
        count = int(np.searchsorted(units * per_unit, seconds, side="right"))
        return count if count >= min(LEAST_BLOCK, len(units)) else 0


def _units(query: str, passage: Passage) -> float:
    length = len(query) + len(passage.title) + len(passage.text)
    return PAIR_UNITS + min(length, LONGEST)


@dataclass(frozen=True)
class AdaptiveDepth:
    """Until the best passage so far could not be beaten by any that remains.

    A remaining candidate is taken to reach at most the logit `plausible`; with the cosine of the
    next one, which is the highest of them, that makes the score it has to stay below. Questions
    whose answer is found among the first candidates end there; those without one go on to the end.
    What it costs in quality is in benchmarks/RESULTS.md, by `benchmarks/adaptive_depth.py`.
    """

    depth: int
    fusion: Fusion
    plausible: float

    def more(self, found: Candidates, logits: FloatArray) -> int:
        """A first block, then block after block while a better one may come."""
        done = len(logits)
        left = min(self.depth, len(found.passages)) - done
        if done and (left <= 0 or not self._may_be_beaten(found, logits)):
            return 0
        return min(ADAPTIVE_BLOCK if done else ADAPTIVE_FIRST, left)

    def _may_be_beaten(self, found: Candidates, logits: FloatArray) -> bool:
        highest = _reachable(self.fusion, self.plausible, found, len(logits))
        return highest > _best(self.fusion, found, logits)


@dataclass(frozen=True)
class AdaptiveCascade:
    """The same, behind a student that has put the candidates in its own order.

    What remains is taken to reach at most the score that the student gave the next one, the
    highest of them, and `wrong_by`; what the student has not looked at yet, as much as
    `AdaptiveDepth` says. Fitted and measured by `benchmarks/cascade.py`.
    """

    fusion: Fusion
    plausible: float
    wrong_by: float

    def more(self, found: Candidates, logits: FloatArray) -> int:
        """A first block of those chosen, then block after block while a better one may come."""
        chosen_by = () if found.chosen_by is None else found.chosen_by
        done = len(logits)
        left = len(chosen_by) - done
        if left <= 0:
            return 0
        if not done:
            return min(CHOSEN_FIRST, left)
        highest = float(chosen_by[done]) + self.wrong_by
        return min(CHOSEN_BLOCK, left) if highest > _best(self.fusion, found, logits) else 0

    def is_enough(
        self, found: Candidates, handed_on: Candidates, logits: FloatArray, looked: int
    ) -> bool:
        """Whether no candidate that the student has not looked at can plausibly be the best.

        Args:
            found: the candidates in the order of retrieval.
            handed_on: those that the large one has read are the first of them.
            logits: what it said.
            looked: how many of `found` the student has looked at.
        """
        if looked >= len(found.passages):
            return True
        highest = _reachable(self.fusion, self.plausible, found, looked)
        return highest <= _best(self.fusion, handed_on, logits)


def _reachable(fusion: Fusion, plausible: float, found: Candidates, place: int) -> float:
    """The highest score that a candidate may have, with the logit `plausible`."""
    rank = int(found.retrieval_ranks[place])
    return fusion.score(plausible, float(found.first_stage[place]), rank)


def _best(fusion: Fusion, found: Candidates, logits: FloatArray) -> float:
    """The highest score so far."""
    return max(fusion.scores(logits, found.first_stage, found.retrieval_ranks))
