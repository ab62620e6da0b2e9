"""Words and meaning: BM25, the bi-encoder and both fused, measured on judged questions.

    python examples/hybrid.py                       # the sample encyclopedia
    python examples/hybrid.py --full data/squad     # a BEIR folder with qrels/dev.tsv

Needs the extra: pip install 'shortlist[bm25]'
"""

import argparse
import tempfile
from importlib.resources import files
from pathlib import Path

from shortlist import BiEncoder, RetrieveRerankPipeline, read_passages
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.evaluation.evaluate import evaluate

SAMPLE = Path(str(files("shortlist.data") / "sample"))
ENGINES = ("bm25", "exact", "exact+bm25")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", metavar="FOLDER", type=Path)
    options = parser.parse_args()
    folder = options.full or SAMPLE
    queries, qrels = read_queries(folder / "queries.jsonl"), read_qrels(folder / "qrels/dev.tsv")

    model = BiEncoder.load("all-MiniLM-L6-v2")
    with tempfile.TemporaryDirectory() as work:
        passages = read_passages(options.full or SAMPLE / "encyclopedia.xml", model)
        RetrieveRerankPipeline.build(passages, f"{work}/x.idx", bi_encoder=model, progress=None)
        print(f"{'nDCG@10 of':12} retrieval")
        for engine in ENGINES:
            pipeline = RetrieveRerankPipeline.open(
                f"{work}/x.idx", engine=engine, cross_encoder="none"
            )
            found = evaluate(pipeline, queries, qrels, measures=["nDCG@10"], limit_queries=200)
            print(f"{engine:12} {found.retrieval.mean['nDCG@10']:.3f}")


if __name__ == "__main__":
    main()
