"""Where an adaptive depth stops, and what it costs: fitted on half of dev, measured on the rest.

    python benchmarks/precision.py score --depth 100 --precisions int8 --limit 800   # minutes
    python benchmarks/adaptive_depth.py work/precision/depth100-int8-*.jsonl           # seconds

The questions are a random sample of all dev questions of the asymmetric sets. For each `plausible`
logit (see `AdaptiveDepth`) the mean depth and the change of MRR@10 and nDCG@10 against rescoring
all 100 candidates; fixed depths beside it. The rule that decides is the package's own.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from encode import SHARED
from precision import by_question, change, named_rows, ranked

from shortlist.models.presets import PRESETS, Fusion
from shortlist.pipeline.candidates import Candidates
from shortlist.pipeline.schedule import AdaptiveDepth
from shortlist.records import Passage

FUSION = PRESETS["minilm"].fusion
PLAUSIBLE = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
FIXED = (10, 20, 30, 50)
ALLOWED = 0.005  # of nDCG@10, on the half that it is fitted on
MEASURES = ("MRR@10", "nDCG@10")


def depth_of(row: dict, fusion: Fusion, precision: str) -> int:
    """Ask the rule as the pipeline does, block by block."""
    if "ids" not in row:
        return 0  # nothing relevant was found: no depth changes its value
    passages = [Passage(i, "") for i in row["ids"]]
    found = Candidates("", passages, np.array(row["cosines"], np.float32))
    logits = np.array(row[precision], np.float32)
    assert fusion.plausible is not None
    plan = AdaptiveDepth(len(passages), fusion, fusion.plausible)
    done = 0
    while more := plan.more(found, logits[:done]):
        done += more
    return done


def values(rows: list[dict], qrels: dict, depths: list[int], precision: str) -> np.ndarray:
    """`[measure, question]`, in the order of the questions' names."""
    run = {r["name"]: ranked(r, FUSION, precision, d) for r, d in zip(rows, depths, strict=True)}
    judged = {r["name"]: qrels[r["set"]][r["query"]] for r in rows}
    return np.array([by_question(run, judged, measure) for measure in MEASURES])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args()
    rows, qrels = named_rows(args.file, args.data)
    halves = {"fitted on": rows[::2], "measured on": rows[1::2]}  # they are in random order
    print(f"{len(rows)} questions, all candidates: {max(len(r.get('ids', [])) for r in rows)}\n")
    print("| half | depth | mean depth | MRR@10 | nDCG@10 |")
    print("|---|---|---|---|---|")
    chosen, least = None, 0.0
    for half, part in halves.items():
        whole = values(part, qrels, [10**6] * len(part), args.precision)
        for plausible in PLAUSIBLE:
            fusion = replace(FUSION, plausible=plausible)
            depths = [depth_of(row, fusion, args.precision) for row in part]
            got = values(part, qrels, depths, args.precision)
            reached = np.mean([d for d, row in zip(depths, part, strict=True) if "ids" in row])
            show(half, f"adaptive, plausible {plausible:g}", reached, whole, got)
            loss = 1 - got[1].mean() / whole[1].mean()
            # the smallest; of those that lose the same, the most careful
            if half == "fitted on" and loss <= ALLOWED and (chosen is None or loss == least):
                chosen, least = plausible, loss
        for depth in FIXED:
            got = values(part, qrels, [depth] * len(part), args.precision)
            show(half, f"fixed {depth}", depth, whole, got)
    print(f"\nchosen on the first half: plausible {chosen}; the package has {FUSION.plausible}")


def show(half: str, what: str, depth: float, whole: np.ndarray, got: np.ndarray) -> None:
    cells = [change(before, after) for before, after in zip(whole, got, strict=True)]
    print(f"| {half} | {what} | {depth:.1f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
