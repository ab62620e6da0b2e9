"""Train a bi-encoder on duplicate questions, and see whether it finds more of them.

    python examples/train_bi_encoder_quora.py --data ../shared/data/quora          # 500 pairs
    python examples/train_bi_encoder_quora.py --data ../shared/data/quora --full   # all of them

The folder has Quora's questions in BEIR format: training pairs, and a dev split to measure on.
The same in one command: shortlist train bi-encoder FOLDER --recipe quora --dev FOLDER -o MODEL
Needs the extra: pip install 'shortlist[train]'
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from shortlist import BiEncoder
from shortlist.data.collections import Cutting
from shortlist.training.bi_encoder import RECIPES, train
from shortlist.training.held_out import first_stage
from shortlist.training.judged import read_held_out
from shortlist.training.mining import Mining
from shortlist.training.sources import Source, gather

BESIDE = Path(__file__).resolve().parents[2] / "shared/data/quora"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=BESIDE)
    parser.add_argument("--full", action="store_true", help="every pair and every dev question")
    parser.add_argument("--output", type=Path, help="where to keep the model")
    options = parser.parse_args()
    recipe = RECIPES["quora"] if options.full else replace(RECIPES["quora"], warmup_steps=1)

    start = BiEncoder.load(recipe.init)
    cutting = Cutting(start.count_tokens, start.max_tokens)
    with TemporaryDirectory() as work:
        source = Source.parse(str(options.data) if options.full else f"{options.data}:500")
        groups, _ = gather(
            [source], Path(work), encoder=start, cutting=cutting, mining=Mining(),
            held_out=read_held_out([options.data], cutting), negatives=recipe.negatives,
            max_passages=None if options.full else 3000,
        )  # fmt: skip
        output = options.output or Path(work) / "model"
        done = train(groups, output, recipe)
        print(f"{len(groups)} pairs, {done.steps} steps, loss {done.losses[0]:.3f} to "
              f"{done.losses[-1]:.3f}")  # fmt: skip
        rows = first_stage(
            [(options.data, None if options.full else 50)], start, BiEncoder.load(output),
            Path(work), cutting, max_passages=None if options.full else 3000,
        )  # fmt: skip
    for name, value in rows[0].values.items():
        print(f"nDCG@10 {name:6} {value:.4f}")


if __name__ == "__main__":
    main()
