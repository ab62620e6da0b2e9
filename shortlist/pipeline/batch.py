"""Many queries at once: a run from an index, and a foreign run reranked, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from shortlist.errors import DataError
from shortlist.models.cross_encoder import Scorer
from shortlist.models.presets import Fusion
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.pipeline import RetrieveRerankPipeline
from shortlist.pipeline.rerank import reranked
from shortlist.records import Hit, Passage, Run

QUERIES_AT_ONCE = 128
_NAMED = 10  # ids in an error message


def search_all(
    pipeline: RetrieveRerankPipeline,
    queries: Mapping[str, str],
    *,
    top_k: int,
    depth: int | None = None,
    group_by: str | None = None,
    fold_duplicates: bool = False,
    where: str | None = None,
    adaptive: bool = False,
    budget_ms: float | None = None,
    cascade: int | None = None,
    on_queries: Callable[[int], object] | None = None,
) -> Iterator[tuple[str, list[Hit]]]:
    """Yield the id and the hits of each query, in the order of the queries.

    Arguments and errors are those of `RetrieveRerankPipeline.search_many`; `on_queries` is told how
    many queries were answered.
    """
    for ids in _blocks(list(queries)):
        answers = pipeline.search_many(
            [queries[query_id] for query_id in ids],
            top_k=top_k,
            depth=depth,
            group_by=group_by,
            fold_duplicates=fold_duplicates,
            where=where,
            adaptive=adaptive,
            budget_ms=budget_ms,
            cascade=cascade,
        )
        if on_queries:
            on_queries(len(ids))
        yield from zip(ids, answers, strict=True)


def rerank_run(
    run: Run,
    queries: Mapping[str, str],
    passages: Mapping[str, Passage],
    cross_encoder: Scorer,
    *,
    depth: int,
    on_pairs: Callable[[int], object] | None = None,
) -> Iterator[tuple[str, list[Hit]]]:
    """Rescore the first `depth` passages of each query of a foreign run, in the order of the run.

    The order is by the cross-encoder alone: what the scores of the run mean is not known. Passages
    below the depth keep their order, behind those that were rescored.

    Raises:
        DataError: a query or passage of the run whose text is not there; up to ten are named.
    """
    _require("queries", run, queries)
    _require("passages", chain.from_iterable(run.values()), passages)
    for ids in _blocks(list(run)):
        candidates = [_candidates(queries[query_id], run[query_id], passages) for query_id in ids]
        answers = reranked(
            cross_encoder, Fusion(), candidates, depth=depth, metric="run", on_batch=on_pairs
        )
        yield from zip(ids, answers, strict=True)


def _candidates(
    query: str, scores: Mapping[str, float], passages: Mapping[str, Passage]
) -> Candidates:
    ranked = sorted(scores, key=lambda passage_id: -scores[passage_id])  # stable
    values = np.array([scores[passage_id] for passage_id in ranked])
    with np.errstate(over="ignore"):
        return Candidates(query, [passages[p] for p in ranked], values.astype(np.float32))


def run_scores(hits: Sequence[Hit], *, by_document: bool = False) -> dict[str, float]:
    """Return the hits of one query as the scores of a run, falling as the hits do.

    Those that were not reranked have scores of another scale: they go on below the last that was.
    """
    scores: dict[str, float] = {}
    rescored = [hit.score for hit in hits if hit.rerank_score is not None]
    below = [hit.score for hit in hits if hit.rerank_score is None]
    shift = min(rescored) - 1 - below[0] if rescored and below else 0.0
    for hit in hits:
        name = hit.document if by_document else hit.id
        scores.setdefault(name, hit.score + (shift if hit.rerank_score is None else 0.0))
    return scores


def _require(what: str, wanted: Iterable[str], there: Mapping[str, object]) -> None:
    missing = list(dict.fromkeys(name for name in wanted if name not in there))
    if missing:
        shown = ", ".join(map(repr, missing[:_NAMED]))
        raise DataError(
            f"the text of {len(missing)} {what} of the run is missing: {shown}; are these the "
            f"{what} that the run was made with?"
        )


def _blocks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), QUERIES_AT_ONCE):
        yield items[start : start + QUERIES_AT_ONCE]
