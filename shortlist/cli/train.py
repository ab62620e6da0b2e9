"""`shortlist train`: fine-tune a model on judged collections."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.options import Device
from shortlist.cli.show import note
from shortlist.errors import UsageError
from shortlist.models.presets import MINILM

app = typer.Typer(
    help="Fine-tune a model on judged collections.", no_args_is_help=True, add_completion=False
)


@app.callback()
def _train() -> None:
    pass  # with a callback, a group of one command keeps the command's name


@app.command("cross-encoder")
def cross_encoder(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER[:GROUPS]...",
            help="BEIR folders with a training split; after a colon, how many questions to take.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model folder to write.")],
    init: Annotated[
        str, typer.Option("--init", help="Model whose weights are the start.")
    ] = MINILM,
    held_out: Annotated[
        list[Path] | None,
        typer.Option("--held-out", help="More BEIR folders whose dev and test splits to avoid."),
    ] = None,
    learning_rate: Annotated[float, typer.Option("--learning-rate")] = 6e-5,
    groups_per_step: Annotated[int, typer.Option("--groups-per-step")] = 16,
    negatives: Annotated[int, typer.Option("--negatives", help="Per question.")] = 3,
    epochs: Annotated[int, typer.Option("--epochs")] = 1,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Of a pair, in training.")] = 192,
    read_tokens: Annotated[
        int, typer.Option("--read-tokens", help="Of a pair, when the model is used.")
    ] = 256,
    max_passages: Annotated[
        int, typer.Option("--max-passages", help="Of a collection, to mine negatives from.")
    ] = 20_000,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    device: Device = "cpu",
) -> None:
    """Train a cross-encoder with hard negatives; started again, it goes on where it was.

    Example: shortlist train cross-encoder data/squad:2000 data/fever -o my-cross-encoder
    """
    from shortlist.models.bi_encoder import BiEncoder, choose_device
    from shortlist.training.cross_encoder import CrossEncoderRecipe, train
    from shortlist.training.mining import mine, read_held_out, read_training_split

    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    device = choose_device(device).removeprefix("torch-")
    recipe = CrossEncoderRecipe(
        init=init,
        learning_rate=learning_rate,
        groups_per_step=groups_per_step,
        negatives=negatives,
        epochs=epochs,
        max_tokens=max_tokens,
        read_tokens=read_tokens,
        seed=seed,
    )
    sources = [_source(text) for text in data]
    avoided = read_held_out({*(folder for folder, _ in sources), *(held_out or [])})
    bi_encoder = BiEncoder.load(MINILM)
    groups = []
    for folder, count in sources:
        judged = read_training_split(folder, avoided)
        groups += mine(
            judged,
            bi_encoder,
            groups=count,
            pool=max(6, negatives),
            max_passages=max_passages,
            seed=seed,
        )
    train(groups, output, recipe, device=device)
    note(f"cross-encoder: {output}")


def _source(text: str) -> tuple[Path, int]:
    """`folder:300` -> the folder and at most how many questions of it."""
    folder, colon, count = text.rpartition(":")
    if not colon:
        return Path(text), sys.maxsize
    if not count.isdigit() or int(count) < 1:
        raise UsageError(f"{text!r}: expected FOLDER or FOLDER:GROUPS with GROUPS at least 1")
    return Path(folder), int(count)
