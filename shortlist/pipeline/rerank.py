"""The second stage: the cross-encoder rescores the candidates, and both stages make one order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shortlist.models.cross_encoder import Scorer
from shortlist.models.presets import Fusion
from shortlist.pipeline.topk import FloatArray
from shortlist.records import Hit, Passage

QUERIES_AT_ONCE = 128  # of several queries' pairs, batches of equal length are easier to make


@dataclass(frozen=True, slots=True)
class Candidates:
    """What retrieval found for one query, best first."""

    query: str
    passages: Sequence[Passage]
    scores: FloatArray  # [len(passages)]
    skipped: int = 0  # better candidates that are not here

    def hits(self, metric: str) -> list[Hit]:
        """The candidates as an answer of their own."""
        return [
            Hit(
                rank=rank,
                id=passage.id,
                title=passage.title,
                text=passage.text,
                score=float(score),
                score_kind=metric,
                retrieval_rank=rank,
                retrieval_score=float(score),
                section=passage.section,
                document_id=passage.document_id,
                metadata=passage.metadata,
            )
            for rank, (passage, score) in enumerate(
                zip(self.passages, self.scores, strict=True), start=self.skipped + 1
            )
        ]


def reranked(
    cross_encoder: Scorer,
    fusion: Fusion,
    candidates: Sequence[Candidates],
    *,
    depth: int,
    metric: str,
    on_batch: Callable[[int], object] | None = None,
) -> list[list[Hit]]:
    """Rescore the first `depth` candidates of every query and put them in a new order.

    Candidates below the depth keep their order, behind those that were rescored. Equal scores are
    ordered by retrieval rank.
    """
    answers: list[list[Hit]] = []
    for start in range(0, len(candidates), QUERIES_AT_ONCE):
        part = candidates[start : start + QUERIES_AT_ONCE]
        pairs = [(c.query, p.model_text) for c in part for p in c.passages[:depth]]
        logits = cross_encoder.score(pairs, on_batch)
        taken = 0
        for candidate in part:
            count = min(depth, len(candidate.passages))
            hits = candidate.hits(metric)
            answers.append(_reorder(hits, logits[taken : taken + count], fusion))
            taken += count
    return answers


def _reorder(hits: list[Hit], logits: FloatArray, fusion: Fusion) -> list[Hit]:
    rescored = [
        replace(
            hit,
            score=fusion.score(float(logit), hit.retrieval_score, hit.retrieval_rank),
            score_kind=fusion.kind,
            rerank_score=float(logit),
        )
        for hit, logit in zip(hits[: len(logits)], logits, strict=True)
    ]
    order = np.argsort([-hit.score for hit in rescored], kind="stable")
    ordered = [*(rescored[i] for i in order), *hits[len(logits) :]]
    return [replace(hit, rank=rank) for rank, hit in enumerate(ordered, start=1)]
