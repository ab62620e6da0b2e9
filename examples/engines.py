"""One search through every engine that is installed: how much of the exact answer, how fast?

    python examples/engines.py                       # the sample encyclopedia
    python examples/engines.py --full wikipedia.idx  # an index of your own

Approximate engines pay where the collection is large: over a thousand passages none is needed.
Extras: faiss, hnswlib, annoy, milvus.
"""

import argparse
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from shortlist import BiEncoder, RetrieveRerankPipeline, read_passages
from shortlist.data.queries import read_queries
from shortlist.errors import MissingExtraError

SAMPLE = Path(str(files("shortlist.data") / "sample"))
ENGINES = ("exact", "faiss", "faiss-ivfpq", "hnswlib", "annoy", "milvus")


def search(index: Path | str, engine: str, questions: list[str]) -> tuple[list[set[str]], float]:
    """The ids of the best ten for every question, and the seconds that it took."""
    pipeline = RetrieveRerankPipeline.open(index, engine=engine, cross_encoder="none")
    pipeline.search_many(questions[:1], top_k=10)  # what is made on first use
    started = time.perf_counter()
    answers = pipeline.search_many(questions, top_k=10)
    seconds = time.perf_counter() - started
    return [{hit.id for hit in hits} for hits in answers], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", metavar="INDEX", type=Path)
    options = parser.parse_args()
    questions = list(read_queries(SAMPLE / "queries.jsonl").values())[:200]
    with tempfile.TemporaryDirectory() as work:
        index = options.full or Path(work) / "sample.idx"
        if not options.full:
            model = BiEncoder.load("all-MiniLM-L6-v2")
            passages = read_passages(SAMPLE / "encyclopedia.xml", model)
            RetrieveRerankPipeline.build(passages, index, bi_encoder=model, progress=None)
        exact, _ = search(index, "exact", questions)
        print(f"{'engine':12} recall@10  ms a question")
        for engine in ENGINES:
            try:
                found, seconds = search(index, engine, questions)
            except MissingExtraError as error:
                print(f"{engine:12} {error}")
                continue
            recall = sum(len(a & b) for a, b in zip(exact, found, strict=True))
            recall /= sum(map(len, exact))
            print(f"{engine:12} {recall:9.3f}  {1000 * seconds / len(questions):13.1f}")


if __name__ == "__main__":
    main()
