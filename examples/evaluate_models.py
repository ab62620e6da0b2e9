"""Symmetric or asymmetric? Models measured on judged questions of both kinds of task.

    python examples/evaluate_models.py                  # the two tasks of the sample
    python examples/evaluate_models.py --full data/msmarco data/quora  # BEIR folders, dev splits

The first folder asks short questions of long passages, the second looks for like questions.
"""

import argparse
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from shortlist import RetrieveRerankPipeline, read_passages
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.evaluate import evaluate
from shortlist.pipeline.stages import load_bi_encoder

SAMPLE = Path(str(files("shortlist.data") / "sample"))
TASKS = {
    "asymmetric": (SAMPLE / "encyclopedia.xml", SAMPLE),
    "symmetric": (SAMPLE / "similar_questions/corpus.jsonl", SAMPLE / "similar_questions"),
}
PRESETS = ("minilm", "fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", metavar="FOLDER", type=Path, nargs=2)
    parser.add_argument("--queries", type=int, default=100, help="of each task, without --full")
    options = parser.parse_args()
    full = zip(TASKS, options.full or (), strict=False)
    tasks = {kind: (folder / "corpus.jsonl", folder) for kind, folder in full} or TASKS
    limit = None if options.full else options.queries

    print(f"{'task':12} {'preset':8} {'retrieval':>10} {'both stages':>12}   MRR@10")
    for kind, (corpus, folder) in tasks.items():
        queries = read_queries(folder / "queries.jsonl")
        qrels = read_qrels(folder / "qrels/dev.tsv")
        for preset in PRESETS:
            with TemporaryDirectory() as work:
                model = load_bi_encoder(preset)
                pipeline = RetrieveRerankPipeline.build(
                    read_passages(corpus, model), f"{work}/x.idx", preset=preset, bi_encoder=model
                )
                found = evaluate(
                    pipeline, queries, qrels, measures=["MRR@10"], limit_queries=limit,
                    exclude_self=kind == "symmetric",
                )  # fmt: skip
            first, both = found.retrieval.mean["MRR@10"], found.reranked.mean["MRR@10"]
            print(f"{kind:12} {preset:8} {first:10.3f} {both:12.3f}")


if __name__ == "__main__":
    main()
