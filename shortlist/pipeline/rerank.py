"""The second stage: the cross-encoder rescores the candidates, and both stages make one order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from shortlist.models.cross_encoder import Scorer, windows_of
from shortlist.models.presets import Fusion
from shortlist.models.windows import Reading
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.calibrated import with_relevance
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.schedule import FixedDepth, Plan
from shortlist.records import Calibration, Hit, Passage

QUERIES_AT_ONCE = 128  # of several queries' pairs, batches of equal length are easier to make


@dataclass(frozen=True, slots=True)
class Rescored:
    """What the cross-encoder said of the first candidates of one question."""

    logits: FloatArray  # [depth]
    windows: Sequence[tuple[int, int] | None]  # the best window of each that was too long
    cut_tokens: Sequence[int]  # tokens of each that no window holds


def reranked(
    cross_encoder: Scorer,
    fusion: Fusion,
    candidates: Sequence[Candidates],
    *,
    depth: int | Plan,
    metric: str,
    calibration: Calibration | None = None,
    on_batch: Callable[[int], object] | None = None,
) -> list[list[Hit]]:
    """Rescore the first candidates of every query and put them in a new order.

    Candidates below the depth keep their order, behind those that were rescored. Equal scores are
    ordered by retrieval rank. A passage that is longer than the cross-encoder reads has the logit
    of its best window.

    Args:
        cross_encoder: what rescores.
        fusion: how both stages make one score.
        candidates: of each query, best first.
        depth: how many of each are rescored, or a plan that decides it step by step.
        metric: the kind of score that the candidates have.
        calibration: of the scores that are made, for `Hit.relevance`.
        on_batch: told the number of pairs after each batch.
    """
    plan = FixedDepth(depth) if isinstance(depth, int) else depth
    answers: list[list[Hit]] = []
    for start in range(0, len(candidates), QUERIES_AT_ONCE):
        part = candidates[start : start + QUERIES_AT_ONCE]
        for found, rescored in zip(
            part, _rescored(cross_encoder, part, plan, on_batch), strict=True
        ):
            answers.append(_reorder(found, metric, rescored, fusion, calibration))
    return answers


def _rescored(
    cross_encoder: Scorer,
    candidates: Sequence[Candidates],
    plan: Plan,
    on_batch: Callable[[int], object] | None,
) -> list[Rescored]:
    """Rescore round by round, all queries of a round in one call, until the plan wants no more."""
    done = [Rescored(np.empty(0, np.float32), [], []) for _ in candidates]
    waiting = list(range(len(candidates)))
    while waiting:
        blocks: list[tuple[int, Sequence[Passage], list[Reading | None]]] = []
        for number in waiting:
            found, taken = candidates[number], len(done[number].logits)
            count = plan.more(found, done[number].logits)
            if block := found.passages[taken : taken + count]:
                blocks.append((number, block, windows_of(cross_encoder, found.query, block)))
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


def _reorder(
    found: Candidates,
    metric: str,
    rescored: Rescored,
    fusion: Fusion,
    calibration: Calibration | None,
) -> list[Hit]:
    hits, depth = found.hits(metric), len(rescored.logits)
    changed = [
        replace(
            hit,
            score=fusion.score(float(logit), float(similarity), hit.retrieval_rank),
            score_kind=fusion.kind,
            rerank_score=float(logit),
            window=window,
            cut_tokens=cut,
        )
        for hit, similarity, logit, window, cut in zip(
            hits[:depth],
            found.first_stage[:depth],
            rescored.logits,
            rescored.windows,
            rescored.cut_tokens,
            strict=True,
        )
    ]
    if calibration:
        changed = with_relevance(changed, calibration)
    order = np.argsort([-hit.score for hit in changed], kind="stable")
    ordered = [*(changed[i] for i in order), *hits[depth:]]
    return [replace(hit, rank=rank, depth=depth) for rank, hit in enumerate(ordered, start=1)]
