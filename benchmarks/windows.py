"""Long passages in windows against cut ones: the same candidates, the same cross-encoder.

    python benchmarks/precision.py score             # its rows are read; resumable
    python benchmarks/windows.py work/precision/depth30-float32-int8-*.jsonl --sets medquad

Of the questions with a long passage among their candidates: MRR@10 and nDCG@10 of the fused order,
long passages scored from their start as far as the model reads, and by their best window.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from encode import SHARED
from precision import by_question, line, ranked, rows_of
from two_stages import passages_of

from shortlist import CrossEncoder
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.models.presets import OUR_CROSS_ENCODER, PRESETS
from shortlist.models.remembered import RememberedScores


def with_cut(row: dict, text: str, passages: dict, scorer: RememberedScores) -> dict | None:
    """The row with the logits of long passages cut short; None where no candidate is long."""
    if "ids" not in row:
        return None
    own = [passages[i] for i in row["ids"]]
    cut = list(row["int8"])  # by the best window of each
    readings = scorer.windows(text, own)
    if not any(readings):
        return None
    for place, (passage, reading) in enumerate(zip(own, readings, strict=True)):
        if reading:
            cut[place] = float(scorer.score([(text, passage.model_text)])[0])
    return row | {"cut": cut}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--sets", nargs="*", default=["medquad"])
    parser.add_argument("--limit", type=int, default=200, help="questions of a set")
    parser.add_argument("--work", type=Path, default=Path("work/systems"))
    parser.add_argument("--data", type=Path, default=SHARED)
    args = parser.parse_args()
    scorer = RememberedScores(
        CrossEncoder.load(OUR_CROSS_ENCODER, device="cpu", precision="int8"), args.work
    )
    print("| set | measure | questions | cut | windows | change (95 %) |")
    print("|---|---|---|---|---|---|")
    for name in args.sets:
        passages = {p.id: p for p in passages_of(args.data / name)}
        queries = read_queries(args.data / name / "queries.jsonl")
        qrels = read_qrels(args.data / name / "qrels" / "dev.tsv")
        rows = [row for row in rows_of(args.file) if row["set"] == name][: args.limit]
        made = [with_cut(row, queries[row["query"]], passages, scorer) for row in rows]
        rows = [row for row in made if row]
        judged = {row["query"]: qrels[row["query"]] for row in rows}
        for measure in ("MRR@10", "nDCG@10"):
            values = [
                by_question(
                    {r["query"]: ranked(r, PRESETS["minilm"].fusion, kind) for r in rows},
                    judged,
                    measure,
                )
                for kind in ("cut", "int8")
            ]
            line(f"{name} | {measure}", *np.array(values))


if __name__ == "__main__":
    main()
