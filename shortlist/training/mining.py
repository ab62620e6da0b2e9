"""Judged questions -> groups with hard negatives: what the bi-encoder itself ranks high.

The collection is embedded into an index on disk and searched exactly, so memory holds a block of
questions and their candidates, whatever the number of passages. What is nearly as similar as the
positive, or more, is often an answer that nobody judged: candidates are taken from a range of ranks
(Xiong et al. 2021, arXiv 2007.00808) below a share of the positive's similarity (Moreira et al.
2024, arXiv 2407.15831), and a cross-encoder may look at them too (Qu et al. 2021, RocketQA, arXiv
2010.08191).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shortlist.errors import UsageError
from shortlist.models.cross_encoder import Scorer
from shortlist.models.encoders import Encoder
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.changes import is_complete
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.index import Index
from shortlist.pipeline.pipeline import RetrieveRerankPipeline
from shortlist.training.groups import Group
from shortlist.training.judged import Judged, answers_of, only, sampled_ids

log = logging.getLogger(__name__)

QUESTIONS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Mining:
    """Which of the ranked passages become negatives.

    Attributes:
        negatives: kept for each question, at most; a step of training draws from them.
        first_rank, last_rank: of the candidates, 1 is the most similar passage.
        relative_margin: their similarity is below this share of the positive's; None: any.
        absolute_margin: and below the positive's by so much; None: by nothing.
        hardest: so many of the best ranked ones are always kept, the rest is drawn from those that
            follow, up to `among`.
        among: see `hardest`.
        filter_margin: with a cross-encoder: its logit is below that of the positive by so much.
    """

    negatives: int = 6
    first_rank: int = 1
    last_rank: int = 50
    relative_margin: float | None = 0.95
    absolute_margin: float | None = None
    hardest: int = 3
    among: int = 20
    filter_margin: float = 1.0

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise UsageError(f"negatives must be at least 1 (got {self.negatives})")
        if not 1 <= self.first_rank <= self.last_rank:
            raise UsageError(
                f"the ranks of negatives must rise from 1 (got {self.first_rank} to "
                f"{self.last_rank}); such as 1 to 50"
            )

    @property
    def looked_at(self) -> int:
        """Candidates that may become negatives, of those below the margins."""
        return max(self.hardest + self.among, self.negatives)

    def limits(self, similarities: FloatArray) -> FloatArray:
        """What a negative's similarity must be below, for positives of these similarities."""
        limits = np.full_like(similarities, np.inf)
        if self.relative_margin is not None:
            # of a similarity below zero a share is more, not less
            share = similarities - (1 - self.relative_margin) * np.abs(similarities)
            limits = np.minimum(limits, share)
        if self.absolute_margin is not None:
            limits = np.minimum(limits, similarities - self.absolute_margin)
        return limits


@dataclass(frozen=True, slots=True)
class Ranked:
    """One question with its positive and the passages that may be negatives, best first."""

    query: str
    positive: str
    candidates: Sequence[str]


def mine(
    judged: Judged,
    encoder: Encoder,
    folder: Path,
    mining: Mining | None = None,
    *,
    groups: int,
    max_passages: int | None = None,
    scorer: Scorer | None = None,
    seed: int = 0,
    key: str = "",
    device: str = "auto",
) -> Iterator[Group]:
    """Groups of a question, its positive and hard negatives, in random order.

    Args:
        judged: a collection to train on.
        encoder: the model whose mistakes become negatives.
        folder: where the index is made.
        mining: which passages become negatives.
        groups: at most so many, a seeded sample of the pairs.
        max_passages: search only so many passages (the sampled positives always among them).
        scorer: a cross-encoder that takes out what it finds as relevant as the positive.
        seed: of the samples.
        key: in the name of the index; one of the same passages that is there is used, or finished.
        device: where the exact search runs.

    Yields:
        Groups with up to `mining.negatives` negatives, hardest first.
    """
    mining = mining or Mining()
    rng = np.random.default_rng(seed)
    chosen = [judged.pairs[i] for i in rng.permutation(len(judged.pairs))[:groups]]
    index = _indexed(judged, chosen, encoder, folder, key, max_passages, rng)
    search = ExactSearch(index.embeddings, device=device, zeros=True)
    answers = answers_of(judged)
    left_out = 0
    for start in range(0, len(chosen), QUESTIONS_AT_ONCE):
        block = chosen[start : start + QUESTIONS_AT_ONCE]
        ranked = list(_ranked(block, answers, index, encoder, search, mining))
        if scorer:
            before = sum(len(one.candidates) for one in ranked)
            ranked = _unlike_answers(ranked, scorer, mining.filter_margin)
            left_out += before - sum(len(one.candidates) for one in ranked)
        for one in ranked:
            yield Group(one.query, one.positive, tuple(_pool(one.candidates, mining, rng)))
    if scorer:
        log.info("%s: %d candidates look like answers to the filter", judged.name, left_out)


def _indexed(
    judged: Judged,
    chosen: Sequence[tuple[str, str]],
    encoder: Encoder,
    folder: Path,
    key: str,
    max_passages: int | None,
    rng: np.random.Generator,
) -> Index:
    if max_passages is not None:
        needed = {passage for _, passage in chosen}
        ids = (passage.id for passage in judged.corpus())
        judged = only(judged, sampled_ids(ids, needed, max_passages, rng))
    path = folder / f"{judged.name}-{key}.idx"
    if not (key and is_complete(path)):
        RetrieveRerankPipeline.build(
            judged.corpus(), path, bi_encoder=encoder, cross_encoder="none", overwrite=True
        )
    index = Index(path)
    log.info("%s: %d passages to mine from", judged.name, len(index))
    return index


def _ranked(
    pairs: Sequence[tuple[str, str]],
    answers: Mapping[str, set[str]],
    index: Index,
    encoder: Encoder,
    search: ExactSearch,
    mining: Mining,
) -> Iterator[Ranked]:
    queries = encoder.encode_queries([question for question, _ in pairs])
    row_of = index.rows_of({passage for _, passage in pairs})
    rows = np.array([row_of[passage] for _, passage in pairs], dtype=np.int64)
    similar = np.einsum("ij,ij->i", queries, index.vectors(rows))
    limits = mining.limits(similar)
    scores, found = search.search(queries, min(mining.last_rank, len(index)))
    positives = index.passages(rows)
    for number, (question, _) in enumerate(pairs):
        right: Int64Array = np.flatnonzero((found[number] >= 0) & (scores[number] < limits[number]))
        right = right[right >= mining.first_rank - 1]
        relevant = {positives[number].model_text, question}  # in a symmetric task: itself
        texts = [
            passage.model_text
            for passage in index.passages(found[number][right])
            if passage.id not in answers[question]
        ]
        candidates = [text for text in dict.fromkeys(texts) if text not in relevant]
        candidates = candidates[: mining.looked_at]
        yield Ranked(question, positives[number].model_text, candidates)


def _unlike_answers(ranked: Sequence[Ranked], scorer: Scorer, margin: float) -> list[Ranked]:
    """Take out the candidates that the cross-encoder finds as relevant as the positive."""
    pairs = [(one.query, text) for one in ranked for text in (one.positive, *one.candidates)]
    logits = iter(scorer.score(pairs))
    kept = []
    for one in ranked:
        limit = next(logits) - margin
        right = [text for text in one.candidates if next(logits) < limit]
        kept.append(Ranked(one.query, one.positive, right))
    return kept


def _pool(ranked: Sequence[str], mining: Mining, rng: np.random.Generator) -> list[str]:
    hardest = min(mining.hardest, mining.negatives)
    following = ranked[hardest : mining.looked_at]
    some = sorted(rng.permutation(len(following))[: mining.negatives - hardest])
    return [*ranked[:hardest], *(following[i] for i in some)]
