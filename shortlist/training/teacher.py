"""What a larger cross-encoder, or several, say of the groups: labels for distillation."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import UsageError
from shortlist.models.cross_encoder import Scorer
from shortlist.training.groups import Group, kept_groups, write_groups

log = logging.getLogger(__name__)


def taught(
    groups: Sequence[Group], teachers: Sequence[Scorer], keep: Path | None = None
) -> list[Group]:
    """The groups with the teachers' logits, those of several as their mean.

    With `keep` they are kept in that file, and read there by the next call with the same groups
    and teachers: scoring may take as long as training.

    Each teacher's logits are brought to one mean and spread first, those of the first teacher:
    otherwise the one with the largest numbers would decide alone.

    Raises:
        UsageError: no teacher.
    """
    if not teachers:
        raise UsageError("a teacher must be named; give a cross-encoder or several")
    digest = hashlib.sha256(json.dumps([teacher.fingerprint for teacher in teachers]).encode())
    for group in groups:
        digest.update(json.dumps([group.query, group.passages]).encode())
    if keep and (found := kept_groups(keep, digest.hexdigest())) is not None:
        return found
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
    if keep:
        keep.parent.mkdir(parents=True, exist_ok=True)
        write_groups(keep, found, digest.hexdigest())
    return found


def _as(first: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = float(other.std())
    if spread == 0.0:
        raise UsageError("a teacher gives all pairs the same logit; it is none")
    scaled: NDArray[np.float64] = (other - other.mean()) / spread * first.std() + first.mean()
    return scaled
