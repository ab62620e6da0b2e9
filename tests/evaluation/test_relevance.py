"""Calibration against scikit-learn's and scipy's, on data whose probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.calibration import calibration_curve

from shortlist.errors import DataError, UsageError
from shortlist.evaluation.calibration import (
    Question,
    asked,
    at_coverage,
    fitted,
    halves,
    reliability,
)
from shortlist.records import Calibration, Hit

SLOPE, INTERCEPT = 0.8, -4.0


def made(count, seed=0):
    """Questions whose hits are relevant with a probability that is known; half with an answer."""
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.normal(5, 4, (count, 5)), axis=1)
    labels = rng.random((count, 5)) < expit(SLOPE * scores + INTERCEPT)
    without = rng.normal(2, 3, count)
    return [
        Question(tuple(s), tuple(map(bool, one)), float(w))
        for s, one, w in zip(scores.tolist(), labels, without, strict=True)
    ]


def flat(questions):
    scores = np.array([score for q in questions for score in q.scores])
    return scores, np.array([label for q in questions for label in q.labels])


def test_the_fit_is_the_one_of_most_likelihood():
    questions = made(2_000)
    scores, labels = flat(questions)
    found = fitted(questions)

    def loss(line):
        logits = line[0] * scores + line[1]
        return np.logaddexp(0, np.where(labels, -logits, logits)).mean()

    best = minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-9}).x
    assert (found.slope, found.intercept) == pytest.approx(best, rel=1e-3)
    assert (found.slope, found.intercept) == pytest.approx((SLOPE, INTERCEPT), rel=0.1)


def test_the_error_is_that_of_scikit_learn():
    questions = made(500, seed=1)
    wrong = Calibration(slope=0.3, intercept=-1.0)
    scores, labels = flat(questions)
    said = np.array([wrong.relevance(score) for score in scores])
    seen, mean = calibration_curve(labels, said, n_bins=10)
    counts = np.histogram(said, bins=10, range=(0, 1))[0]
    expected = (counts[counts > 0] * np.abs(seen - mean)).sum() / counts.sum()
    found = reliability(wrong, questions)
    assert found.error == pytest.approx(expected)
    assert found.error > 0.1
    assert [(one.said, one.seen) for one in found.bins] == [
        (pytest.approx(one), pytest.approx(other)) for one, other in zip(mean, seen, strict=True)
    ]
    assert reliability(fitted(made(500, seed=2)), questions).error < 0.03


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_the_threshold_keeps_the_coverage_asked_for(coverage):
    calibration = fitted(made(1_000, seed=3), coverage)
    on_itself = reliability(calibration, made(1_000, seed=3)).at_threshold
    assert on_itself.coverage == pytest.approx(coverage, abs=2e-3)
    others = made(4_000, seed=4)
    at = reliability(calibration, others).at_threshold
    assert at.coverage == pytest.approx(coverage, abs=0.06)
    answered = [q for q in others if calibration.relevance(q.scores[0]) >= at.answered_from]
    without = [q for q in others if calibration.relevance(q.without) >= at.answered_from]
    right = sum(q.labels[0] for q in answered)
    assert at.answered_without == len(without) / len(others)
    assert at.precision == pytest.approx(right / (len(answered) + len(without)))
    assert at_coverage(calibration, others, 0.9).coverage == pytest.approx(0.9, abs=2e-3)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_a_better_score_is_never_less_relevant(one, other, slope, intercept):
    calibration = Calibration(slope=slope, intercept=intercept)
    low, high = sorted((one, other))
    assert 0 <= calibration.relevance(low) <= calibration.relevance(high) <= 1


class Searcher:
    """Ranks six passages of three articles the same for every question."""

    HITS = (
        ("a1", "A", "a", 9.0), ("a2", "A", "", 8.0), ("b1", "B", "", 7.0), ("a3", "", "a", 6.0),
        ("c1", "C", "", 5.0), ("c2", "C", "", 4.0),
    )  # fmt: skip

    def search_many(self, queries, *, top_k, depth):
        hits = [
            Hit(rank, i, title, "", score, "fused", 7 - rank, 0.5, document_id=document)
            for rank, (i, title, document, score) in enumerate(self.HITS, 1)
        ]
        return [hits[:top_k] for _ in queries]


def test_everything_of_the_document_and_the_title_is_taken_away():
    qrels = {
        "q1": {"a1": 1}, "q2": {"b1": 2, "c1": 0}, "q3": {"elsewhere": 1},
        "q4": {"a1": 1, "b1": 1, "c2": 1}, "unjudged": {"a1": 0},
    }  # fmt: skip
    queries = dict.fromkeys(qrels, "?")
    q1, q2, q3, q4 = asked(Searcher(), queries, qrels, depth=6)
    assert q1 == Question((9.0, 8.0, 7.0, 6.0, 5.0), (True, False, False, False, False), 7.0)
    assert q2.without == 9.0
    assert q2.labels == (False, False, True, False, False)
    assert q3.without is None  # nobody knows which article it is in
    assert q4.without is None  # nothing is left
    (few,) = asked(Searcher(), {"q1": "?"}, {"q1": {"a1": 1}}, depth=2)
    assert few.scores == (5.0, 4.0)  # the two that retrieval had first


def test_what_cannot_be_calibrated():
    good = made(100)
    with pytest.raises(DataError, match="99 judged questions are too few: 50 are needed to fit"):
        halves(good[:99])
    with pytest.raises(UsageError, match=r"between 0 and 1, got 1\.0"):
        fitted(good, 1.0)
    nothing = [Question(q.scores, (False,) * 5, q.without) for q in good]
    with pytest.raises(DataError, match="none of the 500 hits are relevant"):
        fitted(nothing)
    reverse = [Question(tuple(-s for s in q.scores), q.labels, q.without) for q in good]
    with pytest.raises(DataError, match="relevant hits do not score higher"):
        fitted(reverse)
    with pytest.raises(DataError, match="no judged query"):
        asked(Searcher(), {"other": "?"}, {"q1": {"a1": 1}})
    ours, others = halves(good, seed=1)
    assert len(ours) == len(others) == 50
    assert not {id(q) for q in ours} & {id(q) for q in others}


def test_where_no_question_is_without_an_answer_that_is_said():
    questions = [Question(q.scores, q.labels, None) for q in made(200)]
    calibration = fitted(questions)
    at = reliability(calibration, questions).at_threshold
    assert at.answered_without is None
    answered = [q for q in questions if calibration.relevance(q.scores[0]) >= at.answered_from]
    assert at.precision == sum(q.labels[0] for q in answered) / len(answered)
