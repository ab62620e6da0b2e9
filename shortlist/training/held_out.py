"""Did it pay? Both stages on judged questions that were not trained on, before and after."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from shortlist.data.collections import Cutting
from shortlist.evaluation.compare import paired, paired_bootstrap
from shortlist.models.cross_encoder import Scorer
from shortlist.models.encoders import Encoder
from shortlist.models.presets import Fusion
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.rescoring import rescored
from shortlist.pipeline.schedule import FixedDepth
from shortlist.training.card import Measured
from shortlist.training.dev import (
    PIPELINE_MEASURE,
    RETRIEVAL_MEASURE,
    DevSet,
    Logits,
    fused,
    mean_of,
    read_dev,
    retrieved,
)
from shortlist.training.fusing import fit_fusion

log = logging.getLogger(__name__)


def both_stages(
    sets: Sequence[DevSet],
    trained: Scorer,
    *,
    before: tuple[Scorer, Fusion] | None = None,
) -> tuple[Fusion, list[Measured]]:
    """Fit the fusion on one half of the questions and measure the pipeline on the other.

    Args:
        sets: judged questions with their candidates.
        trained: the new cross-encoder.
        before: the cross-encoder that it is to replace, with its own rule.

    Returns:
        The rule that was fitted, and a row for each set: retrieval alone, the one before, the new
        one's logit alone, and fused.
    """
    halves = [dev.halves() for dev in sets]
    rule, _ = fit_fusion(
        [first for first, _ in halves], [read_by(first, trained) for first, _ in halves]
    )
    rows = []
    for _, dev in halves:
        logits = read_by(dev, trained)
        rankings = {"retrieval": retrieved(dev)}
        if before:
            scorer, its_rule = before
            rankings["before"] = fused(dev, read_by(dev, scorer), its_rule)
        rankings["logit alone"] = fused(dev, logits, Fusion())
        rankings["both stages"] = fused(dev, logits, rule)
        rows.append(_row(dev, rankings, PIPELINE_MEASURE, against="retrieval"))
    return rule, rows


def read_by(dev: DevSet, scorer: Scorer) -> Logits:
    """The logits of a search: of the best window where a passage is longer than is read."""
    candidates = [
        Candidates(question.text, question.candidates, question.similarities)
        for question in dev.questions.values()
    ]
    deepest = max(len(found.passages) for found in candidates)
    said = rescored(scorer, candidates, FixedDepth(deepest), None)
    return {query: one.logits for query, one in zip(dev.questions, said, strict=True)}


def first_stage(
    folders: Sequence[tuple[Path, int | None]],
    before: Encoder,
    trained: Encoder,
    work: Path,
    cutting: Cutting,
    *,
    split: str = "dev",
    max_passages: int | None = None,
) -> list[Measured]:
    """Retrieval alone over the collections, before and after training.

    Measured on the half of the questions that `trainer.fit` did not choose the weights by.

    Args:
        folders: each with how many of its questions to ask; None: all.
        before: the model that training began with.
        trained: what it became.
        work: where the indexes are made.
        cutting: how documents that are no records are cut.
        split: which judgements.
        max_passages: see `read_dev`.
    """
    rows = []
    for folder, questions in folders:
        first, second = (
            read_dev(
                folder,
                encoder,
                work,
                cutting,
                questions=questions,
                split=split,
                depth=10,
                max_passages=max_passages,
            ).halves()[1]
            for encoder in (before, trained)
        )
        rankings = {"before": retrieved(first), "after": retrieved(second)}
        rows.append(_row(first, rankings, RETRIEVAL_MEASURE, against="before"))
    return rows


def _row(
    dev: DevSet, rankings: Mapping[str, Mapping[str, Sequence[str]]], measure: str, *, against: str
) -> Measured:
    values = {name: dev.measured(ranking, measure) for name, ranking in rankings.items()}
    last = list(values)[-1]
    row = Measured(
        name=dev.name,
        questions=len(dev.questions),
        judged=dev.judged,
        measure=measure,
        values={name: mean_of(own) for name, own in values.items()},
        change=paired_bootstrap(*paired(values[against], values[last])),
        against=against,
    )
    log.info("%s: %s", row.name, ", ".join(f"{n} {v:.4f}" for n, v in row.values.items()))
    return row
