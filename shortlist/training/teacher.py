"""What a larger cross-encoder, or several, say of the groups: labels for distillation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import UsageError
from shortlist.models.cross_encoder import Scorer
from shortlist.training.groups import Group

log = logging.getLogger(__name__)


def taught(groups: Sequence[Group], teachers: Sequence[Scorer]) -> list[Group]:
    """The groups with the teachers' logits, those of several as their mean.

    Each teacher's logits are brought to one mean and spread first, those of the first teacher:
    otherwise the one with the largest numbers would decide alone. Scoring may take as long as
    training: `shortlist.models.remembered.RememberedScores` keeps what was scored.

    Raises:
        UsageError: no teacher, or one that says the same of everything.
    """
    if not teachers:
        raise UsageError("a teacher must be named; give a cross-encoder or several")
    pairs = [(group.query, passage) for group in groups for passage in group.passages]
    said = [np.asarray(teacher.score(pairs), dtype=np.float64) for teacher in teachers]
    logits = np.mean([_as(said[0], other) for other in said], axis=0)
    ends = np.cumsum([len(group.passages) for group in groups])[:-1]
    scored = zip(groups, np.split(logits, ends), strict=True)
    found = [replace(group, scores=tuple(map(float, own))) for group, own in scored]
    wrong = sum(max(group.scores or (0.0,)) > (group.scores or (0.0,))[0] for group in found)
    log.info(
        "%d teachers scored %d pairs; in %d of %d groups they prefer a negative",
        len(teachers), len(pairs), wrong, len(found),
    )  # fmt: skip
    return found


def _as(first: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = float(other.std())
    if spread == 0.0:
        raise UsageError("a teacher gives all pairs the same logit; it is none")
    scaled: NDArray[np.float64] = (other - other.mean()) / spread * first.std() + first.mean()
    return scaled
