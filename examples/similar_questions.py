"""Questions that ask the same as yours. Symmetric: both sides are questions, one stage is enough.

    python examples/similar_questions.py           # offline: the sample's 525 questions
    python examples/similar_questions.py --full quora_duplicate_questions.tsv

With --full it is Quora's file, and a multilingual model of the hub: ask in any language.
An empty line ends it.
"""

import argparse
import tempfile
from importlib.resources import files

from shortlist import RetrieveRerankPipeline, read_passages
from shortlist.pipeline.stages import load_bi_encoder

SAMPLE = files("shortlist.data") / "sample" / "similar_questions"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", metavar="FILE", help="quora_duplicate_questions.tsv")
    options = parser.parse_args()

    preset = "quora-multilingual" if options.full else "minilm-symmetric"
    model = load_bi_encoder(preset)
    questions = read_passages(options.full or SAMPLE, model)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = RetrieveRerankPipeline.build(
            questions, f"{folder}/questions.idx", preset=preset, bi_encoder=model, progress=None
        )
        while question := input("Question: ").strip():
            for hit in pipeline.search(question, top_k=5):
                print(f"  {hit.score:.3f}  {hit.text}")


if __name__ == "__main__":
    main()
