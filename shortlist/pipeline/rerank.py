"""The second stage: the cross-encoder rescores the candidates, and both stages make one order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from shortlist.models.cross_encoder import Scorer
from shortlist.models.presets import Fusion
from shortlist.pipeline.calibrated import with_relevance
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.cascade import Cascade
from shortlist.pipeline.rescoring import Rescored, rescored
from shortlist.pipeline.schedule import FixedDepth, Plan
from shortlist.records import Calibration, Hit

QUERIES_AT_ONCE = 128  # of several queries' pairs, batches of equal length are easier to make


def reranked(
    cross_encoder: Scorer,
    fusion: Fusion,
    candidates: Sequence[Candidates],
    *,
    depth: int | Plan,
    metric: str,
    cascade: Cascade | None = None,
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
        cascade: a student that chooses which are rescored; the plan is a number or its own.
        calibration: of the scores that are made, for `Hit.relevance`.
        on_batch: told the number of pairs after each batch.
    """
    plan = FixedDepth(depth) if isinstance(depth, int) else depth
    answers: list[list[Hit]] = []
    for start in range(0, len(candidates), QUERIES_AT_ONCE):
        part = candidates[start : start + QUERIES_AT_ONCE]
        if cascade:
            part, said = cascade.rescored(cross_encoder, part, plan, on_batch)
        else:
            said = rescored(cross_encoder, part, plan, on_batch)
        answers += [
            _reorder(found, metric, logits, fusion, calibration)
            for found, logits in zip(part, said, strict=True)
        ]
    return answers


def _reorder(
    found: Candidates,
    metric: str,
    said: Rescored,
    fusion: Fusion,
    calibration: Calibration | None,
) -> list[Hit]:
    hits, depth = found.hits(metric), len(said.logits)
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
            said.logits,
            said.windows,
            said.cut_tokens,
            strict=True,
        )
    ]
    if calibration:
        changed = with_relevance(changed, calibration)
    changed.sort(key=lambda hit: (-hit.score, hit.retrieval_rank))
    ordered = [*changed, *hits[depth:]]
    return [replace(hit, rank=rank, depth=depth) for rank, hit in enumerate(ordered, start=1)]
