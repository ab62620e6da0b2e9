"""Probabilities of relevance and "no good answer" for the shipped pair of models.

    python benchmarks/relevance.py ../shared/data --work work/relevance

The dev questions of five collections that may serve shipped weights, half of those drawn for the
fit and half to measure on. One calibration is fitted on two of them together, each with the same
weight: it is what is shipped. Beside it stands one fitted for each collection alone, as `shortlist
calibrate` makes it. Told of each: the expected calibration error of the five hits shown, how many
first hits are right, and, at 90 and 95 % of the questions with an answer answered, how many are
answered whose article is taken away (where there are others), and how many of all answers are
right. Answers are kept in --work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from shortlist import RetrieveRerankPipeline, read_passages
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.calibration import (
    Question,
    asked,
    at_coverage,
    fitted,
    halves,
    reliability,
)
from shortlist.models.cross_encoder import CrossEncoder, Scorer
from shortlist.models.presets import OUR_CROSS_ENCODER, PRESETS
from shortlist.models.score_cache import CachedScores
from shortlist.pipeline.stages import load_bi_encoder

FITTED = ("squad", "squadshifts_new_wiki")
# longer, templated texts, whose best windows score higher; and collections with many near-equal
# passages of which one is judged: what is fitted there is wrong elsewhere
BESIDE = ("medquad", "squadshifts_reddit", "squadshifts_amazon_reviews")
FITTED_FOR = ("minilm",)  # presets
COVERAGES = (0.9, 0.95)
QUESTIONS = 240  # of each collection


def answers(data: Path, work: Path, preset: str, name: str, second: Scorer) -> list[Question]:
    """What the questions of a collection are answered, asked once and then read again."""
    rule = hashlib.sha256(repr(PRESETS[preset].fusion).encode()).hexdigest()[:8]
    kept = work / f"{preset}-{name}-{second.fingerprint[:8]}-{rule}.json"
    if not kept.exists():
        folder = data / name
        path = work / f"{preset}-{name}.idx"
        if not path.exists():
            encoder = load_bi_encoder(preset)
            passages = read_passages(folder, encoder, say=print)
            RetrieveRerankPipeline.build(
                passages, path, preset=preset, bi_encoder=encoder, progress=None
            )
        pipeline = RetrieveRerankPipeline.open(path, cross_encoder=second)
        queries, qrels = (
            read_queries(folder / "queries.jsonl"),
            read_qrels(folder / "qrels/dev.tsv"),
        )
        found = asked(pipeline, queries, qrels, limit_queries=QUESTIONS)
        kept.write_text(json.dumps([asdict(question) for question in found]))
    rows = json.loads(kept.read_text())
    return [Question(tuple(r["scores"]), tuple(r["labels"]), r["without"]) for r in rows]


def told(name: str, calibration, held_out: list[Question]) -> None:
    found = reliability(calibration, held_out)
    points = [at_coverage(calibration, held_out, share) for share in COVERAGES]
    points.append(found.at_threshold)
    first = np.mean([bool(q.labels and q.labels[0]) for q in held_out])
    print(
        f"{name:28} {found.questions:5} {found.error:7.3f} {first:10.1%}"
        + "".join(
            f" | {p.coverage:8.1%} {_share(p.answered_without):>8} {p.precision:8.1%}"
            for p in points
        )
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("work/relevance"))
    parser.add_argument("--beside", nargs="*", default=BESIDE, help="measured, not fitted on")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    # another preset meets many of the first one's candidates again
    second = CachedScores(CrossEncoder.load(OUR_CROSS_ENCODER), 1_000_000)
    for preset in FITTED_FOR:
        parts = {
            name: halves(answers(options.data, options.work, preset, name, second))
            for name in (*FITTED, *options.beside)
        }
        pooled = fitted([question for name in FITTED for question in parts[name][0]])
        print(
            f"\n{preset}: slope {pooled.slope:.4f}, intercept {pooled.intercept:.4f}, "
            f"answered from {pooled.answered_from:.4f}"
        )
        print(
            f"{'':28} {'held':>5} {'error':>7} {'1st right':>10}"
            + 3 * f" | {'answered':>8} {'without':>8} {'right':>8}"
        )
        for name, (_, others) in parts.items():
            told(name, pooled, others)
        told("those of the fit", pooled, [q for name in FITTED for q in parts[name][1]])
        print("each by itself")
        for name, (ours, others) in parts.items():
            told(name, fitted(ours), others)


if __name__ == "__main__":
    main()
