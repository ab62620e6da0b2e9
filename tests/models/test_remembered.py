"""Scores kept on disk: no pair is scored twice, in this process or the next."""

from __future__ import annotations

import numpy as np
import pytest

from shortlist import CrossEncoder
from shortlist.errors import DataError
from shortlist.models.remembered import RememberedScores

PAIRS = [
    ("how do plants make food?", "Plants make sugar from water, air and light."),
    ("how do plants make food?", "Tea is made with hot water."),
    ("how do plants make", "food? Tea is made with hot water."),  # the same words, cut elsewhere
    ("how do plants make food?", "Plants make sugar from water, air and light."),
]


@pytest.fixture(scope="module")
def cross_encoder(exports) -> CrossEncoder:
    return CrossEncoder.load("shortlist-cross-encoder-v2")


def test_scores_are_the_models_own_and_each_pair_is_scored_once(cross_encoder, tmp_path):
    remembered = RememberedScores(cross_encoder, tmp_path)
    first = remembered.score(PAIRS)
    assert first.dtype == np.float32
    np.testing.assert_allclose(first, cross_encoder.score(PAIRS), atol=1e-4)
    assert remembered.scored == 3
    again = RememberedScores(cross_encoder, tmp_path)
    np.testing.assert_array_equal(again.score(PAIRS[::-1]), first[::-1])
    assert again.scored == 0


def test_progress_counts_every_pair(cross_encoder, tmp_path):
    remembered = RememberedScores(cross_encoder, tmp_path)
    remembered.score(PAIRS[:2])
    told: list[int] = []
    remembered.score(PAIRS[:3], told.append)
    assert sum(told) == 3


def test_two_at_once_see_what_the_other_wrote(cross_encoder, tmp_path):
    one, other = (RememberedScores(cross_encoder, tmp_path) for _ in range(2))
    one.score(PAIRS[:1])
    other.score(PAIRS[:1])
    assert (one.scored, other.scored) == (1, 0)


def test_a_damaged_file_is_named(cross_encoder, tmp_path):
    RememberedScores(cross_encoder, tmp_path).score(PAIRS[:1])
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(b"torn")
    with pytest.raises(DataError, match=file.name):
        RememberedScores(cross_encoder, tmp_path).score(PAIRS[:1])
