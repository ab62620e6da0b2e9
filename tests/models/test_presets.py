from __future__ import annotations

import math

import numpy as np
import pytest

from shortlist.errors import UsageError
from shortlist.models.loading import PINNED_REVISIONS, local_names
from shortlist.models.presets import DEFAULT_PRESET, PRESETS, Fusion
from shortlist.models.registered import fusion_for, languages_of, preset


def test_the_default_is_there_and_works_offline():
    assert preset(DEFAULT_PRESET).bi_encoder == "all-MiniLM-L6-v2"


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(UsageError, match="unknown preset 'x'; choose one of: .*minilm.*e5-small"):
        preset("x")


def test_the_presets_cover_both_kinds_of_task():
    assert {"symmetric", "asymmetric"} <= {row.task for row in PRESETS.values()}


def test_the_fast_preset_works_offline_for_both_kinds_of_task():
    row = preset("fast")
    assert row.task == "both"
    assert {row.bi_encoder, row.cross_encoder} <= set(local_names())
    assert languages_of(row.bi_encoder) == {"en"}


def test_e5_has_its_prompts():
    assert preset("e5-small").query_prompt == "query: "
    assert preset("e5-small").passage_prompt == "passage: "


def test_revisions_are_commits():
    assert all(len(revision) == 40 for revision in PINNED_REVISIONS.values())


def test_a_pair_without_a_fitted_fusion_goes_by_the_logit_alone():
    fusion = fusion_for("someone/model", "another/model")
    assert fusion.kind == "logit"
    assert fusion.score(1.5, 0.9, 7) == 1.5


def test_fusion_is_a_weighted_sum_of_one_passage():
    fusion = Fusion(logit=2.0, retrieval=3.0, log_rank=-0.5)
    assert fusion.kind == "fused"
    assert fusion.score(1.0, 0.5, 4) == pytest.approx(2.0 + 1.5 - 0.5 * math.log(4))


def test_below_the_floor_the_order_of_the_bi_encoder_stands():
    fusion = Fusion(logit=1.0, retrieval=10.0, floor=-4.0)
    assert fusion.score(-8.0, 0.50, 1) > fusion.score(-7.0, 0.49, 2)
    assert fusion.score(3.0, 0.30, 9) > fusion.score(-7.0, 0.49, 2)
    for logit in (-900.0, -9.0, -4.0, 0.0, 6.0, 900.0):
        expected = float(np.logaddexp(0.0, logit + 4.0))
        assert fusion.score(logit, 0.0, 1) == pytest.approx(expected)
