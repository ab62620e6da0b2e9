"""What a cross-encoder says of the candidates of many questions, of as many as a plan wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from shortlist.models.cross_encoder import Scorer, windows_of
from shortlist.models.windows import Reading
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.schedule import Plan
from shortlist.records import Passage


@dataclass(frozen=True, slots=True)
class Rescored:
    """What the cross-encoder said of the first candidates of one question."""

    logits: FloatArray  # [depth]
    windows: Sequence[tuple[int, int] | None]  # the best window of each that was too long
    cut_tokens: Sequence[int]  # tokens of each that no window holds


NOTHING = Rescored(np.empty(0, np.float32), [], [])


def rescored(
    cross_encoder: Scorer,
    candidates: Sequence[Candidates],
    plan: Plan,
    on_batch: Callable[[int], object] | None,
    *,
    windows: bool = True,
    known: Sequence[Rescored] | None = None,
) -> list[Rescored]:
    """Rescore round by round, all queries of a round in one call, until the plan wants no more.

    Of a passage that is longer than is read at once the best window counts, or without `windows`
    its start. `known` is what was said of the first candidates of each; it is gone on behind them.
    """
    done = list(known) if known else [NOTHING] * len(candidates)
    waiting = list(range(len(candidates)))
    while waiting:
        blocks: list[tuple[int, Sequence[Passage], list[Reading | None]]] = []
        for number in waiting:
            found, taken = candidates[number], len(done[number].logits)
            count = plan.more(found, done[number].logits)
            if block := found.passages[taken : taken + count]:
                read = windows_of(cross_encoder, found.query, block) if windows else None
                blocks.append((number, block, read or [None] * len(block)))
        pairs = [
            (candidates[number].query, text)
            for number, block, readings in blocks
            for passage, reading in zip(block, readings, strict=True)
            for text in (reading.texts(passage) if reading else [passage.model_text])
        ]
        logits: Iterator[float] = iter(cross_encoder.score(pairs, on_batch) if pairs else [])
        for number, _, readings in blocks:
            done[number] = _extended(done[number], readings, logits)
        waiting = [number for number, _, _ in blocks]
    return done


def _extended(
    done: Rescored, readings: Sequence[Reading | None], logits: Iterator[float]
) -> Rescored:
    """Add the next candidates, whose logits come next."""
    best: list[float] = []
    windows: list[tuple[int, int] | None] = []
    for reading in readings:
        own = list(islice(logits, len(reading.windows) if reading else 1))
        place = int(np.argmax(own))
        best.append(own[place])
        windows.append(reading.windows[place] if reading else None)
    cut = [reading.cut_tokens if reading else 0 for reading in readings]
    return Rescored(
        np.concatenate([done.logits, np.array(best, np.float32)]),
        [*done.windows, *windows],
        [*done.cut_tokens, *cut],
    )
