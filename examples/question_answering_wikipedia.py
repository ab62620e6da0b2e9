"""Ask Wikipedia: dump -> paragraphs -> the candidates of a bi-encoder -> the best five passages.

    python examples/question_answering_wikipedia.py                     # the sample encyclopedia
    python examples/question_answering_wikipedia.py --full DUMP.xml.bz2 # any MediaWiki dump

The index is kept in wikipedia.idx and made once; an empty line ends it.
"""

import argparse
import logging
from importlib.resources import files
from pathlib import Path

from shortlist import BiEncoder, RetrieveRerankPipeline, read_passages

SAMPLE = files("shortlist.data") / "sample" / "encyclopedia.xml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", metavar="DUMP", help="of a MediaWiki, .xml, .bz2, .gz or .zst")
    parser.add_argument("--index", type=Path, default=Path("wikipedia.idx"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)

    if options.index.exists():
        pipeline = RetrieveRerankPipeline.open(options.index)
    else:
        model = BiEncoder.load("all-MiniLM-L6-v2")
        passages = read_passages(options.full or SAMPLE, model)
        pipeline = RetrieveRerankPipeline.build(
            passages, options.index, bi_encoder=model, progress=None
        )
    while question := input("Question: ").strip():
        hits = pipeline.search(question, top_k=5)
        for hit in hits:
            print(f"\n{hit.rank}. {hit.title} / {hit.section}  (was at {hit.retrieval_rank})")
            print(f"   {hit.relevance:.0%}  {hit.text[:300]}")
        if pipeline.is_answered(hits) is False:
            print("\nNo good answer found.")


if __name__ == "__main__":
    main()
