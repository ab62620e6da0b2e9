"""The effort that reaches a recall: found by measuring, with questions that the index can be asked.

Recall here is the share of the true `top_k` that was found; a passage as good as the last of them
counts as one of them (Aumüller et al., "ANN-Benchmarks", 2020).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from shortlist.data.sentences import sentence_spans
from shortlist.errors import UsageError
from shortlist.models.encoders import Encoder
from shortlist.pipeline.arrays import FloatArray
from shortlist.pipeline.engines.approximate import ApproximateSearch, Measured
from shortlist.pipeline.engines.protocol import SEED, Effort
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.index import Index

TARGET = 0.99
DEPTHS = (10, 30, 100)  # neighbours that efforts are measured for
SAMPLE = 500  # queries
_QUERY_WORDS = 3
_SHORT_WORD = 3  # letters
_TIMED = 3  # searches, of which the middle one counts


def check_target(target: float) -> None:
    """Raise UsageError where a recall is none."""
    if not 0 < target <= 1:
        raise UsageError(f"the target recall must be above 0 and at most 1, got {target:g}")


def sample_queries(index: Index, encoder: Encoder, count: int | None = None) -> FloatArray:
    """Questions for an index that nobody has asked yet, 500 of them, float32 `[q, dim]`.

    Each is three words of a sentence of one passage, encoded as a query. Whole sentences are too
    easy: the nearest passage of one is much nearer than that of a question that the index does not
    answer, and engines that find 99.5 % of the neighbours of sentences find 98 % of those of
    questions (benchmarks/RESULTS.md, Engines). Where passages have no texts, the middle between two
    of them.
    """
    count = count or SAMPLE
    rows = index.live_rows
    drawn = np.random.default_rng(SEED).permutation(len(rows))[: 2 * count]
    passages = index.passages(np.sort(rows[drawn]))
    texts = [_words_of(p.text or p.title, number) for number, p in enumerate(passages)]
    queries = [text for text in texts if text][:count]
    if len(queries) >= min(count, len(rows)) // 2 and queries:
        return encoder.encode_queries(queries)
    return _middles(index, count)


def _words_of(text: str, number: int) -> str:
    """The first longer words of one of its sentences."""
    sentences = [text[start:end] for start, end in sentence_spans(text)]
    longer = [[w for w in one.split() if len(w) > _SHORT_WORD] for one in sentences]
    fit = [words for words in longer if len(words) >= _QUERY_WORDS]
    return " ".join(fit[number % len(fit)][:_QUERY_WORDS]) if fit else ""


def _middles(index: Index, count: int) -> FloatArray:
    rng = np.random.default_rng(SEED)
    one, other = (index.vectors(rng.permutation(index.live_rows)[:count]) for _ in range(2))
    middles: FloatArray = (one + other) * np.float32(0.5)
    return middles[middles.any(axis=1)]


def tuned(
    search: ApproximateSearch,
    queries: FloatArray,
    target: float = TARGET,
    depths: Sequence[int] = DEPTHS,
) -> list[Measured]:
    """The least effort for each number of neighbours whose recall holds the target.

    It holds it where the mean over the sample less its standard error does. Where none does, the
    greatest effort is returned with what it reaches.
    """
    check_target(target)
    if not len(queries) or not len(search.index):
        return []
    return [
        _tuned(search, queries, target, depth)
        for depth in dict.fromkeys(min(depth, len(search.index)) for depth in depths)
    ]


def _tuned(search: ApproximateSearch, queries: FloatArray, target: float, top_k: int) -> Measured:
    best, _ = search.exact.search(queries, top_k)
    efforts = search.engine.efforts(top_k)
    low, high = 0, len(efforts) - 1
    while low < high:
        middle = (low + high) // 2 if high - low < 8 else low + 3  # efforts above are slow to try
        recall, error = _recall(search, queries, best, efforts[middle])
        if recall - error >= target:
            high = middle
        else:
            low = middle + 1
    return measure(search, queries, best, efforts[low], target)


def measure(
    search: ApproximateSearch,
    queries: FloatArray,
    best: FloatArray,
    effort: Effort,
    target: float,
) -> Measured:
    """What an effort reaches, and how fast; `best` are the true scores `[q, top_k]`, falling."""
    top_k = best.shape[1]
    recall, error = _recall(search, queries, best, effort)
    trial = search.with_efforts([_trial(top_k, effort)])
    taken = [
        (_seconds(trial, queries, top_k), _seconds(search.exact, queries, top_k))
        for _ in range(_TIMED)
    ]
    ms, exact_ms = (
        sorted(times)[_TIMED // 2] * 1000 / len(queries) for times in zip(*taken, strict=True)
    )
    return Measured(top_k, target, recall, error, effort, len(queries), ms, exact_ms)


def _seconds(search: ApproximateSearch | ExactSearch, queries: FloatArray, top_k: int) -> float:
    started = time.perf_counter()
    search.search(queries, top_k)
    return time.perf_counter() - started


def _recall(
    search: ApproximateSearch, queries: FloatArray, best: FloatArray, effort: Effort
) -> tuple[float, float]:
    """Mean and standard error of the recall."""
    top_k = best.shape[1]
    _, rows = search.with_efforts([_trial(top_k, effort)]).search(queries, top_k)
    scores = search.true_scores(queries, rows)
    found = ((scores >= best[:, -1:]) & (rows >= 0)).sum(axis=1) / top_k
    return float(found.mean()), float(found.std() / len(found) ** 0.5)


def _trial(top_k: int, effort: Effort) -> Measured:
    return Measured(top_k, 0.0, 0.0, 0.0, effort, 0, 0.0, 0.0)
