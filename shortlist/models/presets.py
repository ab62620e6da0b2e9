"""The table of model choices: what each is for, where its weights are, how its two stages combine.

A *preset* names a bi-encoder and a cross-encoder that fit a kind of task:

- ``asymmetric``: a short question, a longer passage that answers it;
- ``symmetric``: two texts of one kind that say the same - question and question, paper and paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from shortlist.records import Calibration

TaskKind = Literal["asymmetric", "symmetric", "both"]

MINILM = "all-MiniLM-L6-v2"
OUR_CROSS_ENCODER = "shortlist-cross-encoder-v2"
OUR_STUDENT = "shortlist-student-v1"
OUR_STATIC_BI_ENCODER = "shortlist-static-v1"


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How the two stages make one score: a weighted sum that looks at one passage alone.

    ``score = logit * l + retrieval * retrieval score + log_rank * ln(rank)``, where ``l`` is the
    cross-encoder's logit or, with a `floor`, ``ln(1 + exp(logit - floor))``: above the floor nearly
    the logit, below it nearly nothing, so that where the cross-encoder has no idea of any passage
    the order of the bi-encoder stands. Nothing in it depends on the other candidates: a passage's
    score is the same at every depth.

    `plausible` and `wrong_by` are no part of the score: an adaptive depth takes the first for the
    highest logit that a candidate may still have, an adaptive cascade the second for what the large
    cross-encoder's score may be above that of its student, whose rule this is. None: that was not
    measured.
    """

    logit: float = 1.0
    retrieval: float = 0.0
    log_rank: float = 0.0
    floor: float | None = None
    plausible: float | None = None
    wrong_by: float | None = None

    @property
    def kind(self) -> str:
        """The `score_kind` of what comes out."""
        return "logit" if self == Fusion() else "fused"

    def score(self, logit: float, retrieval_score: float, retrieval_rank: int) -> float:
        """One passage's score; `retrieval_rank` 1 is best."""
        if self.floor is not None:
            above = logit - self.floor
            logit = max(above, 0.0) + math.log1p(math.exp(-abs(above)))
        return (
            self.logit * logit
            + self.retrieval * retrieval_score
            + self.log_rank * math.log(retrieval_rank)
        )

    def scores(
        self,
        logits: Iterable[float],
        retrieval_scores: Iterable[float],
        retrieval_ranks: Iterable[int] | None = None,
    ) -> list[float]:
        """The scores of candidates, of as many as have a logit; by default in retrieval's order."""
        ranks = count(1) if retrieval_ranks is None else retrieval_ranks
        return [
            self.score(float(logit), float(retrieval), int(rank))
            for logit, retrieval, rank in zip(logits, retrieval_scores, ranks, strict=False)
        ]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One row of the table."""

    name: str
    task: TaskKind
    bi_encoder: str
    cross_encoder: str | None
    note: str
    licence: str
    query_prompt: str = ""
    passage_prompt: str = ""
    fusion: Fusion = field(default_factory=Fusion)
    calibration: Calibration | None = None  # of the fused score; see benchmarks/relevance.py
    languages: frozenset[str] = frozenset({"en"})  # ISO 639 codes; empty: too many to list


DEFAULT_PRESET = "minilm"

# Cross-encoder -> the small one that chooses for it in a cascade
STUDENTS = {OUR_CROSS_ENCODER: OUR_STUDENT}

# BM25 and our cross-encoder; no preset, for there is no bi-encoder in it
BM25_FUSION = Fusion(logit=1.0, retrieval=0.5, floor=-4.0)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="minilm",
            task="both",
            bi_encoder=MINILM,
            cross_encoder=OUR_CROSS_ENCODER,
            note="the default; works offline, English",
            licence="Apache-2.0",
            fusion=Fusion(logit=1.0, retrieval=5.0, floor=-2.0, plausible=6.0),
            calibration=Calibration(slope=0.3775, intercept=-4.3245, answered_from=0.0330),
        ),
        Preset(
            name="minilm-symmetric",
            task="symmetric",
            bi_encoder=MINILM,
            cross_encoder=None,
            note="similar questions, papers, sentences; works offline, English",
            licence="Apache-2.0",
        ),
        Preset(
            name="fast",
            task="both",
            bi_encoder=OUR_STATIC_BI_ENCODER,
            cross_encoder=OUR_CROSS_ENCODER,
            note="a table of token vectors instead of a network; works offline, English",
            licence="Apache-2.0",
            fusion=Fusion(),  # fitted: no weight of so coarse a cosine gained on the logit alone
        ),
        Preset(
            name="multi-qa",
            task="asymmetric",
            bi_encoder="sentence-transformers/multi-qa-MiniLM-L6-cos-v1",
            cross_encoder="cross-encoder/ms-marco-MiniLM-L6-v2",
            note="question answering over paragraphs; from the hub, English",
            licence="no licence stated for the bi-encoder; cross-encoder Apache-2.0",
        ),
        Preset(
            name="specter",
            task="symmetric",
            bi_encoder="sentence-transformers/allenai-specter",
            cross_encoder=None,
            note="similar scientific papers, title and abstract; from the hub, English",
            licence="Apache-2.0",
        ),
        Preset(
            name="quora-multilingual",
            task="symmetric",
            bi_encoder="sentence-transformers/distilbert-multilingual-nli-stsb-quora-ranking",
            cross_encoder=None,
            note="duplicate questions in many languages; from the hub",
            licence="Apache-2.0",
            languages=frozenset(),
        ),
        Preset(
            name="e5-small",
            task="asymmetric",
            bi_encoder="intfloat/e5-small-v2",
            cross_encoder="cross-encoder/ms-marco-MiniLM-L6-v2",
            note="question answering with role prompts; from the hub, English",
            licence="MIT; cross-encoder Apache-2.0",
            query_prompt="query: ",
            passage_prompt="passage: ",
        ),
    )
}


def calibration_for(bi_encoder: str, cross_encoder: str | None) -> Calibration | None:
    """The calibration that was fitted for two models; None where none was."""
    for row in PRESETS.values():
        if (row.bi_encoder, row.cross_encoder) == (bi_encoder, cross_encoder):
            return row.calibration
    return None


def fusion_with_bm25(cross_encoder: str | None) -> Fusion:
    """The fusion fitted for BM25 and a cross-encoder; for others than ours, the logit alone."""
    return BM25_FUSION if cross_encoder == OUR_CROSS_ENCODER else Fusion()
