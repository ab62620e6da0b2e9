"""Fine-tuning a cross-encoder on groups of one positive and hard negatives.

Losses, all of sentence-transformers:

- ``listwise``: softmax cross-entropy over a positive and its negatives, ListNet's top-one
  cross-entropy (Cao et al. 2007) with one relevant passage, as in "localized contrastive
  estimation" (Gao et al. 2021, arXiv 2101.08751). With a teacher: against the teacher's softmax.
- ``pairwise``: RankNet (Burges et al. 2005); a teacher's scores decide which of two is better.
- ``lambda``: LambdaLoss with NDCG-Loss2++ (Wang et al. 2018).
- ``margin-mse``: the margins of a teacher between positive and negatives (Hofstätter et al. 2020,
  arXiv 2010.02666).

With a teacher this is distillation; with `layers`, of a student that has some of the layers of the
model it starts from.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from shortlist.errors import ModelError, UsageError
from shortlist.models.loading import resolve
from shortlist.models.presets import MINILM
from shortlist.training.batches import similar_lengths
from shortlist.training.groups import Group, drawn, usable
from shortlist.training.output import Output, forget, run_digest, write_json
from shortlist.training.trainer import DevMetric, Schedule, Trained, fit, start

Loss = Literal["listwise", "pairwise", "lambda", "margin-mse"]
LOSSES: tuple[Loss, ...] = get_args(Loss)

ONE_HOT = 40.0  # ListNetLoss takes the softmax of its labels: of 40 and zeros, one and zeros


@dataclass(frozen=True, kw_only=True)
class CrossEncoderRecipe(Schedule):
    """Everything that decides the weights, but the groups; see `Schedule` for the rest.

    Attributes:
        init: model or folder whose weights are the start.
        loss: see above.
        negatives: of each query in a step, drawn from its group.
        max_tokens: of a pair in training; attention costs grow with it.
        read_tokens: of a pair when the model is used.
        layers: of the start's that are kept, the lowest; None: all.
        teachers: whose scores the groups have, for the record.
    """

    init: str = MINILM
    loss: Loss = "listwise"
    negatives: int = 3
    max_tokens: int = 192
    read_tokens: int = 256
    layers: int | None = None
    teachers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("negatives", "max_tokens", "read_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if self.loss not in LOSSES:
            raise UsageError(f"loss must be one of {', '.join(LOSSES)} (got {self.loss!r})")


# As in sentence-transformers' training examples for these data, in sizes that a laptop finishes.
RECIPES: dict[str, CrossEncoderRecipe] = {
    "msmarco": CrossEncoderRecipe(learning_rate=2e-5, warmup_steps=100, negatives=4, max_tokens=256)
}


def train(
    groups: Sequence[Group],
    output: Path,
    recipe: CrossEncoderRecipe,
    *,
    dev_metric: DevMetric | None = None,
    dev_key: str = "",
    device: str = "cpu",
    checkpoint_every: int = 100,
) -> Trained:
    """Train and write a model folder (config, tokenizer, safetensors weights in float16).

    An interrupted run that is started again with the same groups and recipe goes on from its last
    checkpoint and ends as the uninterrupted one would.

    Args:
        groups: at least one; each with at least `recipe.negatives` negatives.
        output: the folder to write; progress is kept beside it in `<output>.partial/`.
        recipe: what decides the weights.
        dev_metric: see `trainer.fit`; the weights that were best by it are kept.
        dev_key: names what the metric measures on: progress is gone on with only for the same.
        device: a torch device.
        checkpoint_every: steps between checkpoints.

    Raises:
        DataError: no group has enough negatives.
        UsageError: a loss that needs a teacher's scores without them, or a place that is taken.
        ShortlistError: the loss is not a number any more, or memory was too small.
    """
    groups = usable(groups, recipe.negatives)
    _check_lengths(recipe)
    if recipe.loss == "lambda" and any(group.scores is not None for group in groups):
        raise UsageError("lambda learns no teacher's scores; use listwise, pairwise or margin-mse")
    if recipe.loss == "margin-mse" and any(group.scores is None for group in groups):
        raise UsageError("margin-mse learns a teacher's margins; name one (--teacher)")
    place = Output(output, run_digest(recipe, recipe.init, groups, dev_key))
    if done := place.done:
        forget(place.partial)
        return done
    model = _start(recipe, device)
    dataset, lengths = _rows(groups, recipe)
    trained = fit(
        model,
        dataset,
        _loss(model, recipe),
        recipe,
        folder=place.partial,
        batches=similar_lengths(lengths, shuffled_within=len(groups)),
        epochs=1,  # the rows are those of all
        dev_metric=dev_metric,
        checkpoint_every=checkpoint_every,
        device=device,
    )
    _write(model, place, recipe)
    place.finish(asdict(recipe), len(groups), trained)
    return trained


def _check_lengths(recipe: CrossEncoderRecipe) -> None:
    most = resolve(recipe.init).read_json("config.json").get("max_position_embeddings")
    for name in ("max_tokens", "read_tokens"):
        if isinstance(most, int) and getattr(recipe, name) > most:
            raise UsageError(f"{name} is {getattr(recipe, name)}; {recipe.init} reads {most}")


def _start(recipe: CrossEncoderRecipe, device: str) -> Any:
    """The model that is trained: its head is new where the start has none of one logit."""
    from sentence_transformers import CrossEncoder

    model = start(
        CrossEncoder, recipe.init, recipe, device,
        new_head=True, num_labels=1, max_length=recipe.max_tokens,
    )  # fmt: skip
    if recipe.layers is not None:
        keep_layers(model.model, recipe.layers)
    return model


def keep_layers(model: Any, count: int) -> None:
    """Take layers out of a model in place, so that the lowest `count` are left.

    They work on what the layers before them make: a student of the lowest three of six learned at
    once where those of two, the first and the last or the first and the third, stood at chance
    (benchmarks/RESULTS.md).

    Raises:
        ModelError: an architecture that has no list of layers where BERT has it.
        UsageError: more layers than there are.
    """
    import torch

    encoder: Any = getattr(model.base_model, "encoder", None)
    layers = getattr(encoder, "layer", None)
    if layers is None:
        raise ModelError(
            f"{type(model).__name__} has no layers that can be taken out; expected an architecture "
            "like BERT's, such as that of MiniLM"
        )
    if not 1 <= count <= len(layers):
        raise UsageError(f"layers must be 1 to {len(layers)} (got {count})")
    encoder.layer = torch.nn.ModuleList(list(layers)[:count])
    model.config.num_hidden_layers = count


def _rows(groups: Sequence[Group], recipe: CrossEncoderRecipe) -> tuple[Any, list[int]]:
    """The dataset that the loss expects, and the characters of the longest pair of each row.

    Each epoch draws its negatives anew: the rows are those of all epochs, one after the other.
    """
    from datasets import Dataset

    rng = np.random.default_rng(recipe.seed)
    rows = [drawn(group, recipe.negatives, rng) for _ in range(recipe.epochs) for group in groups]
    lengths = [len(row.query) + max(map(len, row.passages)) for row in rows]
    columns: dict[str, list[Any]] = {"query": [row.query for row in rows]}
    if recipe.loss == "margin-mse":
        columns["positive"] = [row.positive for row in rows]
        for number in range(recipe.negatives):
            columns[f"negative_{number + 1}"] = [row.negatives[number] for row in rows]
        columns["labels"] = [list(row.scores or ()) for row in rows]
    else:
        columns["passages"] = [list(row.passages) for row in rows]
        columns["labels"] = [_labels(row, recipe.loss) for row in rows]
    return Dataset.from_dict(columns), lengths


def _labels(row: Group, loss: Loss) -> list[float]:
    if row.scores is not None:
        return list(row.scores)
    relevant = ONE_HOT if loss == "listwise" else 1.0
    return [relevant, *([0.0] * len(row.negatives))]


def _loss(model: Any, recipe: CrossEncoderRecipe) -> Any:
    from sentence_transformers.cross_encoder import losses

    if recipe.loss == "margin-mse":
        return losses.MarginMSELoss(model)
    kinds = {
        "listwise": losses.ListNetLoss, "pairwise": losses.RankNetLoss, "lambda": losses.LambdaLoss,
    }  # fmt: skip
    return kinds[recipe.loss](model, mini_batch_size=-1)  # all pairs of a step at once


def _write(model: Any, place: Output, recipe: CrossEncoderRecipe) -> None:
    import torch

    draft = place.draft()
    model.model.to(torch.float16).save_pretrained(draft)
    # The tokenizer as it was: a saved one would carry the last batch's padding and truncation.
    before = resolve(recipe.init)
    shutil.copyfile(before.path / "tokenizer.json", draft / "tokenizer.json")
    settings = before.read_json("tokenizer_config.json")
    write_json(draft / "tokenizer_config.json", settings | {"model_max_length": recipe.read_tokens})
