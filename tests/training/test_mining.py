"""Hard negatives against a brute force over the same embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from notes import NOTES
from small_collection import QUESTIONS

from shortlist.errors import UsageError
from shortlist.records import Passage
from shortlist.training.judged import Judged
from shortlist.training.mining import Mining, mine

PASSAGES = [Passage(id=f"p{i}", text=text) for i, text in enumerate([*NOTES, NOTES[0] + " "])]
PAIRS = [(question, f"p{i}") for i, question in enumerate(QUESTIONS)]
JUDGED = Judged("notes", lambda: iter(PASSAGES), [*PAIRS, (QUESTIONS[0], "p6")])


def negatives_of(bi_encoder, folder, mining, **options):
    groups = mine(JUDGED, bi_encoder, folder, mining, groups=100, device="cpu", **options)
    return {(group.query, group.positive): group.negatives for group in groups}


@pytest.mark.parametrize(
    "mining",
    [
        Mining(negatives=8, relative_margin=0.95),
        Mining(negatives=8, relative_margin=None, absolute_margin=0.3),
        Mining(negatives=8, relative_margin=None, first_rank=3, last_rank=6),
        Mining(negatives=8, hardest=8, relative_margin=0.6, absolute_margin=0.05, last_rank=8),
    ],
)
def test_negatives_are_those_of_a_brute_force(bi_encoder, tmp_path, mining):
    texts = [passage.text for passage in PASSAGES]
    passages = bi_encoder.encode_passages(texts).astype(np.float64)
    found = negatives_of(bi_encoder, tmp_path, mining)
    assert len(found) == len(JUDGED.pairs)
    for question, answer in JUDGED.pairs:
        similar = passages @ bi_encoder.encode_queries([question])[0]
        positive = similar[int(answer[1:])]
        order = np.argsort(-similar, kind="stable")[mining.first_rank - 1 : mining.last_rank]
        answers = {int(p[1:]) for q, p in JUDGED.pairs if q == question}
        expected = [
            texts[i]
            for i in order
            if i not in answers
            and texts[i] != texts[int(answer[1:])]
            and (mining.relative_margin is None or similar[i] < mining.relative_margin * positive)
            and (mining.absolute_margin is None or similar[i] < positive - mining.absolute_margin)
        ]
        assert list(found[question, texts[int(answer[1:])]]) == expected


def test_the_hardest_are_always_there_and_the_rest_is_drawn(bi_encoder, tmp_path):
    everything = negatives_of(bi_encoder, tmp_path, Mining(negatives=8, relative_margin=None))
    few = Mining(negatives=3, hardest=2, among=4, relative_margin=None)
    draws = [negatives_of(bi_encoder, tmp_path, few, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    for key, ranked in everything.items():
        assert draws[0][key][:2] == ranked[:2]
        assert draws[0][key][2] in ranked[2:6]


def test_a_cross_encoder_takes_out_what_looks_like_an_answer(bi_encoder, tmp_path):
    class LongIsRelevant:
        name = fingerprint = "length"

        def score(self, pairs, on_batch=None):
            return np.array([len(text) for _, text in pairs], dtype=np.float32)

    mining = Mining(negatives=8, relative_margin=None, filter_margin=5)
    found = negatives_of(bi_encoder, tmp_path, mining, scorer=LongIsRelevant())
    everything = negatives_of(bi_encoder, tmp_path, Mining(negatives=8, relative_margin=None))
    for (question, positive), negatives in everything.items():
        expected = [text for text in negatives if len(text) < len(positive) - 5]
        assert list(found[question, positive]) == expected
    assert sum(map(len, found.values())) < sum(map(len, everything.values()))


def test_the_positives_are_among_few_passages_too(bi_encoder, tmp_path):
    judged = Judged("few", lambda: iter(PASSAGES), PAIRS)
    mining = Mining(relative_margin=None)
    (group,) = mine(judged, bi_encoder, tmp_path, mining, groups=1, max_passages=4, device="cpu")
    assert len(group.negatives) == 3


def test_of_a_positive_less_similar_than_nothing_negatives_are_less_similar_still():
    limits = Mining(relative_margin=0.9).limits(np.array([0.5, -0.5], dtype=np.float32))
    np.testing.assert_allclose(limits, [0.45, -0.55], atol=1e-6)


def test_as_many_negatives_as_are_asked_for():
    assert Mining(negatives=60, last_rank=100).looked_at == 60
    assert Mining(negatives=2).looked_at == 23


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": 0}, "negatives must be at least 1"),
        ({"first_rank": 0}, "must rise from 1 .got 0 to 50"),
        ({"first_rank": 9, "last_rank": 8}, "must rise from 1 .got 9 to 8"),
    ],
)
def test_mining_that_cannot_be(options, message):
    with pytest.raises(UsageError, match=message):
        Mining(**options)
