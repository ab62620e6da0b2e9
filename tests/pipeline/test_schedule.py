"""How deep the second stage goes: fixed, adaptive, and within a budget of simulated time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist import Passage
from shortlist.errors import UsageError
from shortlist.models.presets import PRESETS, Fusion
from shortlist.models.windows import Reading
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.rerank import reranked
from shortlist.pipeline.schedule import (
    ADAPTIVE_BLOCK,
    ADAPTIVE_FIRST,
    DEEPEST,
    DEFAULT_DEPTH,
    LEAST_BLOCK,
    REFUSALS,
    AdaptiveDepth,
    Effort,
    FixedDepth,
    Pace,
    WithinBudget,
)

FUSION = PRESETS["minilm"].fusion


class WrittenLogits:
    """Scores a passage by the number that its text begins with."""

    def __init__(self):
        self.calls = []

    def score(self, pairs, on_batch=None):
        self.calls.append(len(pairs))
        return np.array([float(text.split()[0]) for _, text in pairs], dtype=np.float32)


def found_with(logits, query="q", top=0.9, bottom=0.1):
    cosines = np.linspace(top, bottom, len(logits), dtype=np.float32)
    passages = [Passage(f"p{n}", str(logit)) for n, logit in enumerate(logits)]
    return Candidates(query, passages, cosines)


def order(hits):
    return [hit.id for hit in hits]


logit_lists = st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(logits=logit_lists, plausible=st.floats(-9, 9.5))
def test_an_adaptive_depth_never_misses_a_better_one_that_is_plausible(logits, plausible):
    """Against the whole depth: the winner may be missed only by a logit above the plausible one."""
    found = found_with(logits)
    plan = AdaptiveDepth(100, FUSION, plausible)
    (hits,) = reranked(WrittenLogits(), FUSION, [found], depth=plan, metric="cosine")
    (whole,) = reranked(WrittenLogits(), FUSION, [found], depth=100, metric="cosine")
    depth = hits[0].depth
    assert depth == len(logits) or depth % ADAPTIVE_BLOCK == 0
    assert sorted(order(hits)) == sorted(order(whole))
    if max(logits) <= plausible:
        assert hits[0].id == whole[0].id
    elif hits[0].id != whole[0].id:
        assert whole[0].rerank_score > plausible
        assert whole[0].retrieval_rank > depth


def test_a_clear_answer_ends_it_after_the_first_block():
    plan = AdaptiveDepth(100, FUSION, 7.0)
    scorer = WrittenLogits()
    clear, unclear = found_with([9.0] + [-5.0] * 49), found_with([-5.0] * 50, bottom=0.5)
    one, other = reranked(scorer, FUSION, [clear, unclear], depth=plan, metric="cosine")
    assert {hit.depth for hit in one} == {ADAPTIVE_FIRST}
    assert {hit.depth for hit in other} == {50}
    assert [hit.rerank_score is None for hit in one] == [False] * 16 + [True] * 34
    # both questions share a call as long as both go on
    assert scorer.calls == [32, 8, 8, 8, 8, 2]


def test_an_adaptive_depth_has_a_limit():
    plan = AdaptiveDepth(20, FUSION, 7.0)
    (hits,) = reranked(WrittenLogits(), FUSION, [found_with([-5.0] * 50)], depth=plan, metric="c")
    assert hits[0].depth == 20


def test_no_candidates():
    empty = Candidates("q", [], np.empty(0, np.float32))
    for plan in (FixedDepth(3), AdaptiveDepth(3, FUSION, 7.0)):
        assert reranked(WrittenLogits(), FUSION, [empty], depth=plan, metric="cosine") == [[]]


class Machine:
    """A clock and a scorer that moves it: so long for each pair and character, and a jitter."""

    def __init__(self, per_pair, per_character, jitter=0.0, seed=0):
        self.now = 100.0
        self._pair, self._character, self._jitter = per_pair, per_character, jitter
        self._rng = np.random.default_rng(seed)

    def clock(self):
        return self.now

    def score(self, pairs, on_batch=None):
        work = sum(self._pair + self._character * (len(q) + len(p)) for q, p in pairs)
        self.now += work * (1 + self._jitter * self._rng.random())
        return np.zeros(len(pairs), np.float32)


def answer(machine, pace, seconds, lengths, plan=None):
    passages = [Passage(str(n), "x" * length) for n, length in enumerate(lengths)]
    found = Candidates("q", passages, np.linspace(0.9, 0.1, len(passages), dtype=np.float32))
    started = machine.now
    plan = WithinBudget(
        plan or FixedDepth(100), pace, seconds=seconds, started=started, clock=machine.clock
    )
    (hits,) = reranked(machine, FUSION, [found], depth=plan, metric="cosine")
    return hits[0].depth, machine.now - started


@pytest.mark.parametrize("seconds", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("speed", [0.2, 1.0, 5.0])
def test_answers_end_in_time_and_use_it(seconds, speed):
    rng = np.random.default_rng(0)
    machine, pace = Machine(0.002 / speed, 1.5e-5 / speed, jitter=0.3), Pace()
    taken, depths = [], []
    for _ in range(200):
        depth, spent = answer(machine, pace, seconds, rng.integers(20, 2000, 100))
        taken.append(spent)
        depths.append(depth)
    assert np.mean(np.array(taken) <= seconds) >= 0.95
    pair = (0.002 + 1.5e-5 * 1000) / speed
    if max(depths) < 100 and seconds > 10 * pair:
        assert np.mean(taken) > 0.6 * seconds


def test_more_time_is_more_depth():
    depths = []
    for seconds in (0.05, 0.2, 0.8):
        machine, pace = Machine(0.002, 1e-5), Pace()
        answer(machine, pace, seconds, [500] * 100)
        depths.append(answer(machine, pace, seconds, [500] * 100)[0])
    assert depths == sorted(depths)
    assert depths[0] < depths[2]


def test_a_machine_that_is_too_slow_shows_the_first_stage():
    machine, pace = Machine(1.0, 0.0), Pace()
    answer(machine, pace, 0.1, [10] * 20)  # its pace is learned once, late
    depth, spent = answer(machine, pace, 0.1, [10] * 20)
    assert (depth, spent) == (0, 0.0)


def test_a_machine_that_was_busy_once_is_not_given_up():
    """The first block took an hour; the machine is fast, and that is found out again."""
    machine, pace = Machine(0.001, 0.0), Pace()
    pace.learn(1.0, 3600.0)
    depths = [answer(machine, pace, 0.1, [10] * 50)[0] for _ in range(REFUSALS + 2)]
    assert set(depths[:REFUSALS]) == {0}
    assert depths[-1] > 20


def test_a_budget_that_is_over_before_it_begins():
    machine = Machine(0.001, 0.0)
    plan = WithinBudget(
        FixedDepth(9), Pace(), seconds=0.1, started=machine.now - 1, clock=machine.clock
    )
    (hits,) = reranked(machine, FUSION, [found_with([1.0, 2.0])], depth=plan, metric="cosine")
    assert [hit.score_kind for hit in hits] == ["cosine", "cosine"]


def test_a_budget_stops_where_the_other_plan_does():
    machine, pace = Machine(0.0001, 0.0), Pace()
    depth, _ = answer(machine, pace, 10.0, [10] * 50, FixedDepth(7))
    assert depth == 7
    assert LEAST_BLOCK < 7


@pytest.mark.parametrize(
    ("effort", "deepest"),
    [
        (Effort(), DEFAULT_DEPTH),
        (Effort(depth=7), 7),
        (Effort(adaptive=True), DEEPEST),
        (Effort(budget_ms=300), DEEPEST),
        (Effort(depth=50, adaptive=True, budget_ms=300), 50),
    ],
)
def test_the_deepest_that_may_be_needed(effort, deepest):
    effort.check()
    assert effort.deepest == deepest


@pytest.mark.parametrize("budget", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(UsageError, match="budget_ms must be milliseconds above zero"):
        Effort(budget_ms=budget).check()


def test_models_that_no_adaptive_depth_was_measured_for_are_refused():
    with pytest.raises(UsageError, match="with the default models only"):
        Effort(adaptive=True).plan(Fusion(), Pace(), 0.0)


class Windowed(WrittenLogits):
    """Reads one number at a time."""

    def windows(self, query, passages):
        made = []
        for passage in passages:
            words = passage.text.split()
            starts = [sum(len(w) + 1 for w in words[:n]) for n in range(len(words))]
            spans = tuple((s, s + len(w)) for s, w in zip(starts, words, strict=True))
            made.append(Reading(spans, cut_tokens=3) if len(words) > 1 else None)
        return made


def test_a_long_passage_has_the_logit_of_its_best_window():
    passages = [Passage("a", "1.5"), Passage("b", "-2 4.25 3"), Passage("c", "2 1")]
    found = Candidates("q", passages, np.array([0.9, 0.8, 0.7], np.float32))
    scorer = Windowed()
    (hits,) = reranked(scorer, Fusion(), [found], depth=3, metric="cosine")
    assert [(h.id, h.rerank_score, h.cut_tokens) for h in hits] == [
        ("b", 4.25, 3),
        ("c", 2.0, 3),
        ("a", 1.5, 0),
    ]
    texts = {passage.id: passage.text for passage in passages}
    shown = [texts[h.id][slice(*h.window)] if h.window else None for h in hits]
    assert shown == ["4.25", "2", None]
    assert scorer.calls == [6]
