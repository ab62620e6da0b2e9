"""A searcher whose answers stand in a table, and the same answers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from shortlist.records import Hit, Qrels

Rows: TypeAlias = Sequence[tuple[str, float]]
"""(passage id, logit) in the order of the first stage."""


class Clock:
    """Seconds that pass only where a searcher says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@dataclass
class TableSearcher:
    """Query -> rows; the score of both stages is the logit, and a search takes what it is told."""

    table: Mapping[str, Rows]
    has_reranker: bool = True
    clock: Clock = field(default_factory=Clock)
    first_ms: float = 1.0
    pair_ms: float = 1.0
    footprint: Mapping[str, int | None] = field(default_factory=dict)
    calls: list[tuple[list[str], int, int, bool]] = field(default_factory=list)

    def search_many(
        self,
        queries: Sequence[str],
        *,
        top_k: int,
        depth: int,
        rerank: bool,
        on_stage: Callable[[str, float], object] | None = None,
    ) -> list[list[Hit]]:
        assert self.has_reranker or not rerank
        self.calls.append((list(queries), top_k, depth, rerank))
        stages = {"retrieve": self.first_ms} | ({"rerank": depth * self.pair_ms} if rerank else {})
        for stage, ms in stages.items():
            self.clock.now += len(queries) * ms / 1000
            if on_stage:
                on_stage(stage, len(queries) * ms / 1000)
        return [_hits(self.table[query], top_k, depth if rerank else 0) for query in queries]


def _hits(rows: Rows, top_k: int, depth: int) -> list[Hit]:
    """As a pipeline answers: the candidates are the deeper of both, the hits are cut afterwards."""
    candidates = list(enumerate(rows, 1))[: max(top_k, depth)]
    ordered = sorted(candidates[:depth], key=lambda row: -row[1][1]) + candidates[depth:]
    return [
        Hit(
            rank=rank,
            id=passage_id,
            title="",
            text=f"text of {passage_id}",
            score=logit if before <= depth else -float(before),
            score_kind="logit" if before <= depth else "cosine",
            retrieval_rank=before,
            retrieval_score=-float(before),
            rerank_score=logit if before <= depth else None,
        )
        for rank, (before, (passage_id, logit)) in enumerate(ordered, 1)
    ][:top_k]


def random_table(seed: int, queries: Sequence[str], passages: Sequence[str], found: int) -> Mapping:
    """Query -> `found` of the passages in random order, with random logits."""
    rng = np.random.default_rng(seed)
    return {
        query: [(str(p), float(rng.normal())) for p in rng.permutation(passages)[:found]]
        for query in queries
    }


def ranked_by_hand(rows: Rows, depth: int, without: str | None = None) -> list[str]:
    """The ids of a query's passages with the first `depth` by logit."""
    left = [row for row in rows if row[0] != without]
    return [i for i, _ in sorted(left[:depth], key=lambda row: -row[1]) + left[depth:]]


def ndcg(ranking: Sequence[str], grades: Mapping[str, int], k: int = 10) -> float:
    """As trec_eval has it: the gain is the grade."""
    ideal = sorted(grades.values(), reverse=True)
    gains = [grades.get(passage_id, 0) for passage_id in ranking]
    found, best = (
        sum(max(0, g) / math.log2(rank + 1) for rank, g in enumerate(row[:k], 1))
        for row in (gains, ideal)
    )
    return found / best


def reciprocal_rank(ranking: Sequence[str], grades: Mapping[str, int], k: int = 10) -> float:
    """1 / rank of the first relevant passage."""
    ranks = (rank for rank, i in enumerate(ranking[:k], 1) if grades.get(i, 0) >= 1)
    return next((1 / rank for rank in ranks), 0.0)


def recall(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """The share of the relevant passages that is found."""
    relevant = {i for i, grade in grades.items() if grade >= 1}
    return len(relevant & set(ranking[:k])) / len(relevant)


def mean_over(
    measure: Callable[[Sequence[str], Mapping[str, int]], float],
    rankings: Mapping[str, Sequence[str]],
    qrels: Qrels,
) -> float:
    """Over the queries with a relevant passage; one that has no ranking counts as zero."""
    judged = {i: grades for i, grades in qrels.items() if max(grades.values(), default=0) >= 1}
    return sum(measure(rankings.get(i, []), grades) for i, grades in judged.items()) / len(judged)
