"""Papers like a new one: title and abstract are the query, the papers of earlier years the corpus.

    python examples/similar_publications.py --data ../shared/data/publications    # offline
    python examples/similar_publications.py --data ... --full              # SPECTER

The folder has corpus.jsonl (_id, title, text: the abstract) and new_papers.jsonl, likewise.
Symmetric: both sides are papers, one stage is enough.
"""

import argparse
import tempfile
from itertools import islice
from pathlib import Path

from shortlist import RetrieveRerankPipeline, read_passages
from shortlist.pipeline.stages import load_bi_encoder

BESIDE = Path(__file__).resolve().parents[2] / "shared/data/publications"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=BESIDE)
    parser.add_argument("--papers", type=int, default=500, help="of the corpus, without --full")
    parser.add_argument("--queries", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="every paper, and SPECTER")
    options = parser.parse_args()

    preset = "specter" if options.full else "minilm-symmetric"
    model = load_bi_encoder(preset)
    papers = read_passages(options.data / "corpus.jsonl", model)
    new = read_passages(options.data / "new_papers.jsonl", model)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = RetrieveRerankPipeline.build(
            papers if options.full else islice(papers, options.papers),
            f"{folder}/papers.idx",
            preset=preset,
            bi_encoder=model,
            progress=None,
        )
        for paper in islice(new, options.queries):
            print(f"\n{paper.title}")
            for hit in pipeline.search(paper.model_text, top_k=3):
                print(f"  {hit.score:.3f}  {hit.id}  {hit.title}")


if __name__ == "__main__":
    main()
