"""A student chooses, the large cross-encoder decides: against sorting everything by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notes import NOTES

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import UsageError
from shortlist.models.presets import Fusion
from shortlist.models.registered import write_fusion
from shortlist.models.windows import Reading
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.cascade import Cascade
from shortlist.pipeline.rerank import reranked
from shortlist.pipeline.schedule import (
    CHOSEN_BLOCK,
    CHOSEN_FIRST,
    AdaptiveCascade,
    AdaptiveDepth,
    Effort,
    FixedDepth,
    Pace,
)

STUDENT_RULE = Fusion(logit=1.0, retrieval=3.0)
RULE = Fusion(logit=1.0, retrieval=2.0, log_rank=-0.5)
NUMBERS = st.integers(-4, 4)


class Written:
    """Scores a passage by one of the two numbers that are its text."""

    def __init__(self, place):
        self.place, self.name, self.fingerprint = place, f"written {place}", f"written {place}"
        self.pairs = 0

    def score(self, pairs, on_batch=None):
        self.pairs += len(pairs)
        logits = [float(text.split()[self.place]) for _, text in pairs]
        return np.array(logits, dtype=np.float32)


@given(
    numbers=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12),
    depth=st.integers(1, 14),
    data=st.data(),
)
def test_the_best_by_the_student_are_rescored_and_the_rest_follows(numbers, depth, data):
    keep = data.draw(st.integers(1, depth))
    cosines = np.linspace(0.9, 0.1, len(numbers), dtype=np.float32)
    passages = [Passage(f"p{n}", f"{a} {b}") for n, (a, b) in enumerate(numbers)]
    found = Candidates("q", passages, cosines)
    student, large = Written(0), Written(1)
    (hits,) = reranked(
        large, RULE, [found], depth=keep, metric="cosine",
        cascade=Cascade(student, STUDENT_RULE, depth, keep),
    )  # fmt: skip
    (whole,) = reranked(large, RULE, [found], depth=len(numbers), metric="cosine")

    seen = range(min(depth, len(numbers)))
    by_student = sorted(seen, key=lambda i: (-(numbers[i][0] + 3.0 * float(cosines[i])), i))
    chosen = {f"p{i}" for i in by_student[:keep]}
    scores = {hit.id: hit for hit in whole}
    assert {hit.id for hit in hits if hit.rerank_score is not None} == chosen
    # the order and every score are those without a cascade
    assert [h.id for h in hits[: len(chosen)]] == [h.id for h in whole if h.id in chosen]
    for rank, hit in enumerate(hits, 1):
        assert hit.rank == rank
        assert hit.retrieval_rank == scores[hit.id].retrieval_rank
        if hit.id in chosen:
            assert hit.score == scores[hit.id].score
    rest = [hit.retrieval_rank for hit in hits[len(chosen) :]]
    assert rest == sorted(rest)
    assert student.pairs == len(seen)


def candidates_of(query, numbers, skipped=0):
    cosines = np.linspace(0.9, 0.1, len(numbers), dtype=np.float32)
    passages = [Passage(f"p{n}", f"{a} {b}") for n, (a, b) in enumerate(numbers)]
    return Candidates(query, passages, cosines - 0.5, cosines, skipped)


@settings(max_examples=300, deadline=None)
@given(
    questions=st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=40), min_size=1, max_size=3),
    keep=st.integers(1, 40),
    first_look=st.integers(1, 30),
    wrong_by=st.integers(-6, 8),
    plausible=st.integers(-4, 4),
    skipped=st.integers(0, 3),
)
def test_an_adaptive_cascade_hands_on_until_no_better_one_is_plausible(
    questions, keep, first_look, wrong_by, plausible, skipped
):
    """By hand, with sets: look, hand on block after block, and look at the rest if need be."""
    student, large = Written(0), Written(1)
    found = [candidates_of(f"q{n}", numbers, skipped) for n, numbers in enumerate(questions)]
    answers = reranked(
        large, RULE, found, metric="cosine",
        depth=AdaptiveCascade(RULE, plausible, wrong_by),
        cascade=Cascade(student, STUDENT_RULE, 100, keep, first_look),
    )  # fmt: skip
    pairs = np.zeros(2, int)
    for numbers, one, hits in zip(questions, found, answers, strict=True):
        read, chosen, looked = by_hand(numbers, one, keep, first_look, wrong_by, plausible)
        pairs += looked, len(read)
        large_says = [score(RULE, one, i, numbers[i][1]) for i in range(len(numbers))]
        ordered = sorted(read, key=lambda i: (-large_says[i], i))
        ordered += [i for i in chosen if i not in read]
        ordered += sorted(set(range(len(numbers))) - set(ordered))
        assert [hit.id for hit in hits] == [f"p{i}" for i in ordered]
        assert [hit.retrieval_rank for hit in hits] == [i + 1 + skipped for i in ordered]
        assert {hit.depth for hit in hits} <= {len(read)}
    assert [student.pairs, large.pairs] == pairs.tolist()


def score(rule, found, i, logit):
    return rule.score(logit, float(found.similarities[i]), i + 1 + found.skipped)


def by_hand(numbers, found, keep, first_look, wrong_by, plausible):
    """What the large one reads in order, what the student chose, and how many it looked at."""
    student_says = [score(STUDENT_RULE, found, i, numbers[i][0]) for i in range(len(numbers))]
    read = []
    looks = [(100, keep)]
    if first_look < 100 and keep >= 2 * CHOSEN_FIRST:
        looks = [(first_look, keep - CHOSEN_FIRST), *looks]
    for most, kept in looks:
        looked = min(most, len(numbers))
        left = sorted(set(range(looked)) - set(read), key=lambda i: (-student_says[i], i))
        chosen = [*read, *left][:kept]
        while len(read) < len(chosen):
            following = chosen[len(read)]
            best = max((score(RULE, found, i, numbers[i][1]) for i in read), default=-np.inf)
            if read and np.float32(student_says[following]) + wrong_by <= best:
                break
            read = chosen[: len(read) + (CHOSEN_BLOCK if read else CHOSEN_FIRST)]
        if looked == len(numbers):
            break
        best = max(score(RULE, found, i, numbers[i][1]) for i in read)
        if best >= score(RULE, found, looked, plausible):
            break
    return read, chosen, looked


def test_what_the_student_sees_at_its_second_look_is_handed_on_as_well():
    """A full first look must not leave the second with nothing to hand on."""
    numbers = [(0, 0)] * 60 + [(4, 4)] + [(0, 0)] * 39
    for keep in (1, 8, 20, 32, 40):
        (hits,) = reranked(
            Written(1), RULE, [candidates_of("q", numbers)], metric="cosine",
            depth=AdaptiveCascade(RULE, 100.0, 100.0),
            cascade=Cascade(Written(0), STUDENT_RULE, 100, keep),
        )  # fmt: skip
        assert hits[0].id == "p60"
        assert hits[0].depth == keep


def test_a_plan_that_counts_on_the_order_of_retrieval_is_refused():
    with pytest.raises(TypeError, match="FixedDepth or AdaptiveCascade"):
        reranked(
            Written(1), RULE, [candidates_of("q", [(0, 0)])], metric="cosine",
            depth=AdaptiveDepth(10, RULE, 3.0), cascade=Cascade(Written(0), RULE, 10, 5),
        )  # fmt: skip


def test_the_student_reads_the_start_of_a_long_passage_the_large_one_its_windows():
    class Long(Written):
        def windows(self, query, passages):
            return [Reading([(0, 3), (4, 7)], 0) for _ in passages]

    student, large = Long(0), Long(0)
    found = Candidates("q", [Passage("p", "1 2 5 6")], np.ones(1, np.float32))
    reranked(
        large, RULE, [found], depth=1, metric="cosine", cascade=Cascade(student, RULE, 1, 1)
    )  # fmt: skip
    assert (student.pairs, large.pairs) == (1, 2)


def test_what_a_search_with_a_cascade_costs_and_finds(bi_encoder, tmp_path):
    texts = [f"{(7 * n) % 8 - 4} {(3 * n) % 8 - 4} {note}" for n, note in enumerate(NOTES)]
    RetrieveRerankPipeline.build(texts, tmp_path / "x.idx", bi_encoder=bi_encoder)
    student, large = Written(0), Written(1)
    pipeline = RetrieveRerankPipeline.open(
        tmp_path / "x.idx", bi_encoder=bi_encoder, cross_encoder=large, student=student
    )
    questions = ["a warm drink", "ice that moves"]
    answers = pipeline.search_many(questions, top_k=3, depth=8, cascade=3)
    assert (student.pairs, large.pairs) == (16, 6)
    for hits in answers:
        kept = sorted(texts, key=lambda text: -int(text.split()[0]))[:3]
        assert [hit.text for hit in hits] == sorted(kept, key=lambda text: -int(text.split()[1]))
        assert {hit.depth for hit in hits} == {3}
    everything = pipeline.search_many(questions, top_k=3, depth=8, cascade=8)
    assert everything == pipeline.search_many(questions, top_k=3, depth=8)


@pytest.mark.parametrize(
    ("effort", "message"),
    [
        (Effort(cascade=0), "cascade must leave 1 to 100 candidates, of .* .got 0"),
        (Effort(depth=20, cascade=21), "cascade must leave 1 to 20 candidates, of .* .got 21"),
        (Effort(cascade=5, budget_ms=300), "a cascade has no budget_ms"),
    ],
)
def test_a_cascade_that_cannot_be(effort, message):
    with pytest.raises(UsageError, match=message):
        effort.check()


def test_how_deep_a_cascade_goes():
    assert Effort(cascade=10).deepest == 100
    found = Candidates("q", [Passage("p", "x")] * 50, np.ones(50, np.float32))
    plan = Effort(depth=40, cascade=10).plan(Fusion(), Pace(), 0.0)
    assert plan.more(found, np.empty(0, np.float32)) == 10


def test_an_adaptive_cascade_takes_what_was_measured_with_both_models():
    student, large = Fusion(wrong_by=3.0), Fusion(plausible=5.0)
    adaptive, fixed = Effort(cascade=20, adaptive=True), Effort(cascade=20)
    assert fixed.plan(RULE, Pace(), 0.0, student) == FixedDepth(20)
    assert adaptive.plan(large, Pace(), 0.0, student) == AdaptiveCascade(large, 5.0, 3.0)
    for pair in ((large, Fusion()), (Fusion(), student), (large, Fusion(plausible=3.0))):
        with pytest.raises(UsageError, match="adaptive with the default models and engine only"):
            adaptive.plan(pair[0], Pace(), 0.0, pair[1])
    alone = Effort(adaptive=True).plan(large, Pace(), 0.0)
    assert alone == AdaptiveDepth(100, large, 5.0)


def test_behind_keywords_the_students_logit_decides(bi_encoder, tmp_path):
    """A rule that was fitted for cosines would let BM25 decide, whose scores are larger."""
    pytest.importorskip("bm25s", reason="needs the extra bm25")
    texts = ["tea tea tea -4 x", "tea and more words -1 x", "tea and yet more words 4 x"]
    student, large = Written(-2), Written(-2)
    student.name = str(tmp_path)
    write_fusion(tmp_path, "all-MiniLM-L6-v2", Fusion(logit=1.0, retrieval=100.0))
    RetrieveRerankPipeline.build(texts, tmp_path / "x.idx", bi_encoder=bi_encoder)
    pipeline = RetrieveRerankPipeline.open(
        tmp_path / "x.idx", bi_encoder=bi_encoder, cross_encoder=large, student=student,
        engine="bm25",
    )  # fmt: skip
    (hit,) = pipeline.search("tea", top_k=1, depth=3, cascade=1)
    assert hit.text == texts[2]


def test_our_own_student_chooses_for_our_cross_encoder(pipeline):
    question = "how do plants make food?"
    (whole,) = pipeline.search_many([question], depth=len(NOTES), top_k=1)
    for keep in (1, 3):
        (hits,) = pipeline.search_many([question], cascade=keep, top_k=1)
        assert hits[0].id == whole[0].id
        assert hits[0].score == pytest.approx(whole[0].score, abs=1e-3)
        assert hits[0].depth == keep
    (hits,) = pipeline.search_many([question], cascade=len(NOTES), adaptive=True, top_k=1)
    assert hits[0].id == whole[0].id
    assert hits[0].depth == min(CHOSEN_FIRST, len(NOTES))
    assert pipeline.student.name == "shortlist-student-v1"


def test_without_a_student(pipeline):
    alone = RetrieveRerankPipeline.open(pipeline.index.path, cross_encoder=Written(0))
    with pytest.raises(
        UsageError, match=r"there is no student of written 0 .*; train one .*--stud"
    ):
        alone.search("tea", cascade=2)
