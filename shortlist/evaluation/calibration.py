"""Scores as probabilities: fitted on judged questions, measured on others, with a way to say no.

A calibration is a logistic function of the score that the order is by (Platt, "Probabilistic
outputs for support vector machines", 1999), so it never changes an order. How far its probabilities
are from what is seen is the expected calibration error over bins of equal width (Guo et al., "On
calibration of modern neural networks", 2017).

When to say that there is no good answer is a matter of how many good ones may be lost: the fit
finds the probability of the first hit that keeps a wished share of the questions with an answer,
and measures on other questions what is then shown where there is none. Questions without an answer
are made from judged ones, by taking away the passages that answer them and everything else of the
same document or title, as if the collection lacked the article.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.answers import OnProgress, judged_queries, sampled
from shortlist.records import Calibration, Hit, Qrels

SHOWN = 5  # hits of each question that are given a probability: as many as a search shows
BINS = 10
COVERAGE = 0.95
LEAST_QUESTIONS = 50  # of each half
_SPARE = 10  # candidates beyond the depth, for when those of an article are taken away


class Searcher(Protocol):
    """What is calibrated."""

    def search_many(self, queries: Sequence[str], *, top_k: int, depth: int) -> list[list[Hit]]:
        """Return the best `top_k` passages of each query, the first `depth` of them reranked."""


@dataclass(frozen=True, slots=True)
class Question:
    """What one judged question was answered.

    Attributes:
        scores: of the hits that are shown, best first.
        labels: whether each is relevant.
        without: the best score where everything of the relevant documents is taken away; None
            where nothing is left, or no relevant passage was found: its document is not known then.
    """

    scores: tuple[float, ...]
    labels: tuple[bool, ...]
    without: float | None


@dataclass(frozen=True, slots=True)
class Bin:
    """Hits whose probability lies between two bounds."""

    low: float
    high: float
    count: int
    said: float  # their mean probability
    seen: float  # the share of them that is relevant


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold gives, if there are as many questions with an answer as without one."""

    answered_from: float
    coverage: float  # share of the questions with an answer that are answered
    precision: float  # share of the answered ones whose first hit is relevant
    # share of the questions without an answer that are answered; None where none could be made
    answered_without: float | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far a calibration is right on some questions."""

    questions: int
    hits: int
    error: float  # expected calibration error
    bins: tuple[Bin, ...]
    curve: tuple[Point, ...]
    at_threshold: Point

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def asked(
    searcher: Searcher,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    depth: int = 30,
    limit_queries: int | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> list[Question]:
    """Ask judged questions, once each.

    Args:
        searcher: a pipeline.
        queries: id -> text.
        qrels: judgements; a grade of 1 or more is relevant, what is not judged is not.
        depth: candidates that are rescored; scores do not depend on it, the hits do.
        limit_queries: at most so many, drawn with the seed.
        seed: of the drawing.
        on_progress: told (questions done, questions to do).

    Raises:
        DataError: no judged question has a text.
    """
    ids = sampled(judged_queries(queries, qrels, "drop"), limit_queries, seed)
    made: list[Question] = []
    step = 64
    for start in range(0, len(ids), step):
        part = ids[start : start + step]
        answers = searcher.search_many(
            [queries[query_id] for query_id in part], top_k=depth + _SPARE, depth=depth + _SPARE
        )
        for query_id, hits in zip(part, answers, strict=True):
            made.append(_question(hits, qrels[query_id], depth))
        if on_progress is not None:
            on_progress(start + len(part), len(ids))
    return made


def _question(hits: Sequence[Hit], grades: Mapping[str, int], depth: int) -> Question:
    relevant = {passage_id for passage_id, grade in grades.items() if grade >= 1}
    shown = [hit for hit in hits if hit.retrieval_rank <= depth][:SHOWN]
    there = [hit for hit in hits if hit.id in relevant]
    documents = {hit.document for hit in there}
    titles = {hit.title for hit in there if hit.title}
    others = [
        hit
        for hit in sorted(hits, key=lambda hit: hit.retrieval_rank)
        if hit.id not in relevant and hit.document not in documents and hit.title not in titles
    ][:depth]
    return Question(
        tuple(hit.score for hit in shown),
        tuple(hit.id in relevant for hit in shown),
        max((hit.score for hit in others), default=None) if there else None,
    )


def halves(questions: Sequence[Question], seed: int = 0) -> tuple[list[Question], list[Question]]:
    """Questions to fit on, and others to measure on.

    Raises:
        DataError: too few of them.
    """
    if len(questions) < 2 * LEAST_QUESTIONS:
        raise DataError(
            f"{len(questions)} judged questions are too few: {LEAST_QUESTIONS} are needed to fit a "
            f"calibration, and {LEAST_QUESTIONS} others to measure it"
        )
    order = np.random.default_rng(seed).permutation(len(questions))
    half = len(questions) // 2
    return [questions[i] for i in order[:half]], [questions[i] for i in order[half:]]


def fitted(questions: Sequence[Question], coverage: float = COVERAGE) -> Calibration:
    """The calibration of most likelihood, and the threshold that keeps so many answers.

    Raises:
        DataError: all hits are relevant or none is, or relevant ones score lower.
        UsageError: a coverage that is no share.
    """
    check_coverage(coverage)
    scores, labels = _hits(questions)
    if labels.all() or not labels.any():
        raise DataError(
            f"{'all' if labels.any() else 'none'} of the {len(labels)} hits are relevant: nothing "
            "tells high scores from low ones; are the judgements those of this collection?"
        )
    from sklearn.linear_model import LogisticRegression  # heavy, and needed nowhere else

    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    model = LogisticRegression(C=np.inf).fit((scores[:, None] - centre) / spread, labels)
    slope = float(model.coef_[0, 0]) / spread
    if slope <= 0:
        raise DataError(
            "relevant hits do not score higher than others: the scores say nothing about these "
            "judgements; is the model one for this kind of task?"
        )
    found = Calibration(slope=slope, intercept=float(model.intercept_[0]) - slope * centre)
    return found.answering_from(_threshold(found, questions, coverage))


def check_coverage(coverage: float) -> None:
    """Refuse what is no share.

    Raises:
        UsageError: it does not lie between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise UsageError(f"coverage must lie between 0 and 1, got {coverage}")


def reliability(calibration: Calibration, questions: Sequence[Question]) -> Reliability:
    """Measure a calibration on questions; those that it was fitted on flatter it."""
    scores, labels = _hits(questions)
    said = np.array([calibration.relevance(score) for score in scores])
    bins = _bins(said, labels)
    error = sum(one.count * abs(one.said - one.seen) for one in bins) / max(1, len(said))
    points = [_point(calibration, questions, share / 20) for share in range(20)]
    return Reliability(
        len(questions),
        len(said),
        error,
        tuple(bins),
        tuple(points),
        _point(calibration, questions, calibration.answered_from),
    )


def at_coverage(calibration: Calibration, questions: Sequence[Question], coverage: float) -> Point:
    """The point of the curve that answers so large a share of the questions with an answer."""
    return _point(calibration, questions, _threshold(calibration, questions, coverage))


def _threshold(calibration: Calibration, questions: Sequence[Question], coverage: float) -> float:
    """The relevance that so large a share of the first hits reach."""
    best = np.sort([calibration.relevance(q.scores[0]) for q in questions if q.scores])
    return float(best[min(len(best) - 1, int((1 - coverage) * len(best)))])


def _hits(questions: Sequence[Question]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    scores = [score for question in questions for score in question.scores]
    labels = [label for question in questions for label in question.labels]
    return np.array(scores, np.float64), np.array(labels, bool)


def _bins(said: NDArray[np.float64], labels: NDArray[np.bool_]) -> list[Bin]:
    numbers = np.minimum((said * BINS).astype(int), BINS - 1)
    return [
        Bin(
            number / BINS,
            (number + 1) / BINS,
            int((numbers == number).sum()),
            float(said[numbers == number].mean()),
            float(labels[numbers == number].mean()),
        )
        for number in range(BINS)
        if (numbers == number).any()
    ]


def _point(calibration: Calibration, questions: Sequence[Question], threshold: float) -> Point:
    having = [q for q in questions if q.scores]
    answered = [q for q in having if calibration.relevance(q.scores[0]) >= threshold]
    without = [calibration.relevance(q.without) for q in questions if q.without is not None]
    coverage = len(answered) / max(1, len(questions))
    right = sum(q.labels[0] for q in answered) / max(1, len(questions))
    shown = sum(one >= threshold for one in without) / len(without) if without else None
    both = coverage + (shown or 0.0)
    return Point(threshold, coverage, right / both if both else 1.0, shown)
