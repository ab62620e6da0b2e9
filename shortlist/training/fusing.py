"""The fusion rule of a pair of models, fitted on judged questions.

Rules are `Fusion`s with a weight of the retrieval score and a floor below which a logit counts for
nothing. Of those within half a percent of the best one the surest is taken: the one that trusts
retrieval most. On the kinds of text that a cross-encoder was trained on many rules are equally
good; on foreign ground the bi-encoder is the surer one of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from shortlist.models.presets import Fusion
from shortlist.training.dev import PIPELINE_MEASURE, DevSet, Logits, fused, mean_of

FLOORS = (None, -8.0, -6.0, -4.0, -2.0, 0.0)
WEIGHTS = (0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0)
NEARLY_BEST = 0.995


def fit_fusion(
    sets: Sequence[DevSet],
    logits: Sequence[Logits],
    *,
    floors: Sequence[float | None] = FLOORS,
    weights: Sequence[float] = WEIGHTS,
) -> tuple[Fusion, dict[Fusion, float]]:
    """The rule, and what each rule reaches: the mean of the sets' MRR@10.

    Args:
        sets: judged questions with their candidates.
        logits: of the candidates, a mapping for each set.
        floors: to choose from.
        weights: of the retrieval score, to choose from.
    """
    means = {}
    for floor in floors:
        for weight in weights:
            rule = Fusion(logit=1.0, retrieval=weight, floor=floor)
            means[rule] = float(
                np.mean(
                    [
                        mean_of(dev.measured(fused(dev, own, rule), PIPELINE_MEASURE))
                        for dev, own in zip(sets, logits, strict=True)
                    ]
                )
            )
    return surest(means), means


def surest(means: Mapping[Fusion, float]) -> Fusion:
    """Of the rules nearly as good as the best, the one that trusts retrieval most."""
    best = max(means.values())
    good = [rule for rule, mean in means.items() if mean >= NEARLY_BEST * best]
    return max(good, key=lambda r: (r.retrieval, -np.inf if r.floor is None else r.floor))
