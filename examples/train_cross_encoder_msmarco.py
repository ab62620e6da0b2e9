"""Train a cross-encoder on MS MARCO's questions with hard negatives, and see what reranking gains.

    python examples/train_cross_encoder_msmarco.py --data ../shared/data/msmarco         # small
    python examples/train_cross_encoder_msmarco.py --data ../shared/data/msmarco --full  # hours

The same in one command: shortlist train cross-encoder FOLDER --recipe msmarco --dev FOLDER -o MODEL
Needs the extra: pip install 'shortlist[train]'
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from shortlist import BiEncoder, CrossEncoder
from shortlist.data.collections import Cutting
from shortlist.training.cross_encoder import RECIPES, train
from shortlist.training.dev import read_dev
from shortlist.training.held_out import both_stages
from shortlist.training.judged import read_held_out
from shortlist.training.mining import Mining
from shortlist.training.sources import Source, gather

BESIDE = Path(__file__).resolve().parents[2] / "shared/data/msmarco"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=BESIDE)
    parser.add_argument("--full", action="store_true", help="every question")
    parser.add_argument("--output", type=Path, help="where to keep the model")
    options = parser.parse_args()
    recipe = RECIPES["msmarco"]
    if not options.full:  # from ours, so that so few steps show anything
        recipe = replace(recipe, init="shortlist-cross-encoder-v2", batch=4, max_tokens=128)

    first = BiEncoder.load("all-MiniLM-L6-v2")
    cutting = Cutting(first.count_tokens, first.max_tokens)
    with TemporaryDirectory() as work:
        source = Source.parse(str(options.data) if options.full else f"{options.data}:40")
        groups, _ = gather(
            [source], Path(work), encoder=first, cutting=cutting, mining=Mining(),
            held_out=read_held_out([options.data], cutting), negatives=recipe.negatives,
            max_passages=None if options.full else 300,
        )  # fmt: skip
        output = options.output or Path(work) / "model"
        done = train(groups, output, recipe)
        print(f"{len(groups)} questions, {done.steps} steps")
        dev = read_dev(
            options.data, first, Path(work), cutting, questions=500 if options.full else 60,
            max_passages=None if options.full else 2000,
        )  # fmt: skip
        _, (row,) = both_stages([dev], CrossEncoder.load(output))
    for name, value in row.values.items():
        print(f"MRR@10 {name:12} {value:.4f}")


if __name__ == "__main__":
    main()
