"""Where a pipeline's calibration comes from: fitted for this index, or shipped for its models.

`shortlist calibrate` leaves ``calibration.json`` in the index folder, with the models that it was
fitted for. It is no part of the index: with other models it is left alone, and an index that is
made anew has none.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import shortlist
from shortlist.data.atomic import written
from shortlist.models.presets import calibration_for
from shortlist.pipeline.index import Index
from shortlist.records import Calibration, Hit

logger = logging.getLogger(__name__)

FILE = "calibration.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Stages:
    """The models whose scores are calibrated."""

    bi_encoder: str  # fingerprint
    cross_encoder: str | None  # fingerprint; None without a second stage

    @classmethod
    def of(cls, index: Index, cross_encoder_fingerprint: str | None) -> Stages:
        """Of a pipeline; its precision makes no difference."""
        second = cross_encoder_fingerprint and cross_encoder_fingerprint.partition("-")[0]
        return cls(index.manifest.model.fingerprint, second)


def with_relevance(hits: Sequence[Hit], calibration: Calibration) -> list[Hit]:
    """Hits with the probability that their score stands for."""
    return [replace(hit, relevance=calibration.relevance(hit.score)) for hit in hits]


def write_calibration(
    index: Index, stages: Stages, calibration: Calibration, measured: dict[str, Any]
) -> Path:
    """Keep a calibration beside an index, in the place of one that was there.

    Args:
        index: the index.
        stages: the models whose scores it was fitted on.
        calibration: what was fitted.
        measured: what was found of it, for people.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(index.path) / FILE
    record = {
        "format": FORMAT,
        "bi_encoder": stages.bi_encoder,
        "cross_encoder": stages.cross_encoder,
        "slope": calibration.slope,
        "intercept": calibration.intercept,
        "answered_from": calibration.answered_from,
        "measured": measured,
        "created_by": f"shortlist {shortlist.__version__}",
    }
    with written(path) as stream:
        stream.write((json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    return path


def calibration_of(
    index: Index, stages: Stages, cross_encoder_name: str | None
) -> Calibration | None:
    """The one beside the index if it is for these models, else the shipped one; None without."""
    own = _read(Path(index.path) / FILE, stages) if isinstance(index, Index) else None
    return own or calibration_for(index.manifest.model.name, cross_encoder_name)


def _read(path: Path, stages: Stages) -> Calibration | None:
    try:
        record = json.loads(path.read_bytes())
        if record["format"] != FORMAT:
            logger.warning("%s is of a later version of shortlist; it is left out of account", path)
            return None
        fitted_for = Stages(record["bi_encoder"], record["cross_encoder"])
        if stages != fitted_for:
            second = {stages.cross_encoder, fitted_for.cross_encoder}
            if stages.bi_encoder == fitted_for.bi_encoder and None not in second:
                logger.warning(
                    "%s was fitted for another cross-encoder than the one that reranks now; run "
                    "shortlist calibrate again", path
                )  # fmt: skip
            return None
        return _made(record)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning(
            "%s cannot be read (%s); run shortlist calibrate again, or delete it", path, error
        )
        return None


def _made(record: dict[str, Any]) -> Calibration:
    numbers = [float(record[name]) for name in ("slope", "intercept", "answered_from")]
    if not (all(map(math.isfinite, numbers)) and numbers[0] > 0):
        raise ValueError(f"{numbers} are no calibration")
    return Calibration(slope=numbers[0], intercept=numbers[1], answered_from=numbers[2])
