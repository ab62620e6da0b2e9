"""Fine-tuning a bi-encoder on groups: each query close to its positive, far from all others.

The loss is sentence-transformers' MultipleNegativesRankingLoss (in-batch negatives, Henderson et
al. 2017, arXiv 1705.00652), with mined negatives where the groups have them; its cached variant
(Gao et al. 2021, arXiv 2101.06983) computes a large batch in parts, for the same gradient in less
memory; Matryoshka (Kusupati et al. 2022, arXiv 2205.13147) makes the first dimensions good alone.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.errors import DataError, UsageError
from shortlist.models.loading import resolve
from shortlist.models.presets import MINILM
from shortlist.training.batches import Said, apart, waiting
from shortlist.training.groups import Group, drawn, few_of_each, usable
from shortlist.training.output import Output, forget, run_digest, write_json
from shortlist.training.trainer import DevMetric, Schedule, Trained, fit, start

log = logging.getLogger(__name__)

PASSAGE_PROMPTS = ("document", "passage", "corpus")  # as models call them


@dataclass(frozen=True, kw_only=True)
class BiEncoderRecipe(Schedule):
    """Everything that decides the weights, but the groups; see `Schedule` for the rest.

    Attributes:
        init: model or folder whose weights are the start.
        batch: queries in a step; each has the positives of all others as negatives.
        mini_batch: computed at once; None: the whole batch.
        negatives: mined ones of each query, beside those in the batch; 0 for none.
        positives: at most so many of each query, drawn; 0: all. Where fifty questions ask the
            same, 2,450 pairs say little more than fifty do.
        scale: of the similarities in the softmax, its inverse temperature; None: 20 for cosines, 1
            for a start that goes by the dot product.
        both_ways: each positive must find its query as well; for symmetric tasks.
        max_tokens: of a text in training; None: as many as the model reads.
        query_prompt, passage_prompt: put before the texts, in training and afterwards; None: those
            of the start.
        matryoshka: dimensions that are to be good alone, such as 256, 128 and 64.
    """

    learning_rate: float = 2e-5
    batch: int = 64
    init: str = MINILM
    mini_batch: int | None = None
    negatives: int = 1
    positives: int = 0
    scale: float | None = None
    both_ways: bool = False
    max_tokens: int | None = 128
    query_prompt: str | None = None
    passage_prompt: str | None = None
    matryoshka: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 2:
            raise UsageError("batch must be at least 2: the negatives are the other queries'")
        for name in ("negatives", "positives"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative (got {getattr(self, name)})")
        for name in ("mini_batch", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1 (got {value})")


# As in sentence-transformers' training examples for these data, in sizes that a laptop finishes.
RECIPES: dict[str, BiEncoderRecipe] = {
    # short question -> passage, with a mined negative each
    "msmarco": BiEncoderRecipe(warmup_steps=100, max_tokens=192),
    # question <-> question that asks the same, and each must find the other in a large batch
    "quora": BiEncoderRecipe(
        learning_rate=4e-5,
        warmup_steps=20,
        batch=128,
        mini_batch=64,
        positives=1,
        both_ways=True,
        max_tokens=64,
    ),
}


def train(
    groups: Sequence[Group],
    output: Path,
    recipe: BiEncoderRecipe,
    *,
    dev_metric: DevMetric | None = None,
    dev_key: str = "",
    device: str = "cpu",
    checkpoint_every: int = 100,
) -> Trained:
    """Train and write a model folder as sentence-transformers reads it, weights in float32.

    An interrupted run that is started again with the same groups and recipe goes on from its last
    checkpoint and ends as the uninterrupted one would. What answers a query by the word of any
    group is never a negative of it: see `batches.apart`.

    Args:
        groups: at least two; each with at least `recipe.negatives` negatives.
        output: the folder to write; progress is kept beside it in `<output>.partial/`.
        recipe: what decides the weights.
        dev_metric: see `trainer.fit`; the weights that were best by it are kept.
        dev_key: names what the metric measures on: progress is gone on with only for the same.
        device: a torch device.
        checkpoint_every: steps between checkpoints.

    Raises:
        DataError: no group has enough negatives, or all say the same.
        UsageError: a dimension of `matryoshka` that the model does not have, or a taken place.
        ShortlistError: the loss is not a number any more, or memory was too small.
    """
    groups = usable(groups, 0)
    said = Said.by(groups, symmetric=recipe.both_ways)  # before pairs are left out
    groups = usable(said.without_same(groups), recipe.negatives)
    if recipe.positives:
        groups = few_of_each(groups, recipe.positives, recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    rows = [drawn(group, recipe.negatives, rng) for group in groups]
    batches = apart(rows, said)
    _check_apart(batches, len(rows), recipe)
    if resolve(recipe.init).is_static:
        raise UsageError(f"{recipe.init} is a table of token vectors; only networks are trained")
    place = Output(output, run_digest(recipe, recipe.init, groups, dev_key))
    if done := place.done:
        forget(place.partial)
        return done
    recipe = with_prompts(recipe)
    model = _start(recipe, device)
    dim = model.get_embedding_dimension()
    if any(not 1 <= size <= dim for size in recipe.matryoshka):
        raise UsageError(f"matryoshka has {recipe.matryoshka}; expected dimensions from 1 to {dim}")
    trained = fit(
        model,
        _dataset(rows, recipe),
        _loss(model, recipe, dim),
        recipe,
        folder=place.partial,
        batches=batches,
        epochs=recipe.epochs,
        dev_metric=dev_metric,
        checkpoint_every=checkpoint_every,
        device=device,
    )
    _write(model, place, recipe)
    place.finish(asdict(recipe), len(groups), trained)
    return trained


def _check_apart(batches: type, rows: int, recipe: BiEncoderRecipe) -> None:
    left = waiting(batches, rows, recipe.batch)
    if rows - left < 2:
        raise DataError(
            f"{rows} pairs that all answer one another are no training data: the negatives of "
            "each are those of the others; give pairs about more things"
        )
    if left:
        log.info(
            "%d of %d pairs wait for another epoch: more say the same than there are steps",
            left, rows,
        )  # fmt: skip


def with_prompts(recipe: BiEncoderRecipe) -> BiEncoderRecipe:
    """The recipe with the prompts of its start where it names none."""
    own = resolve(recipe.init).read_json("config_sentence_transformers.json").get("prompts")
    prompts: dict[str, str] = own if isinstance(own, dict) else {}
    query, passage = recipe.query_prompt, recipe.passage_prompt
    if query is None:
        query = prompts.get("query", "")
    if passage is None:
        passage = next((prompts[name] for name in PASSAGE_PROMPTS if name in prompts), "")
    return replace(recipe, query_prompt=query, passage_prompt=passage)


def _start(recipe: BiEncoderRecipe, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    model = start(SentenceTransformer, recipe.init, recipe, device)
    if recipe.max_tokens is not None:
        model.max_seq_length = min(recipe.max_tokens, model.max_seq_length or recipe.max_tokens)
    return model


def _dataset(rows: Sequence[Group], recipe: BiEncoderRecipe) -> Any:
    from datasets import Dataset

    before, ahead = recipe.query_prompt or "", recipe.passage_prompt or ""
    columns = {
        "anchor": [before + row.query for row in rows],
        "positive": [ahead + row.positive for row in rows],
    }
    for number in range(recipe.negatives):
        columns[f"negative_{number + 1}"] = [ahead + row.negatives[number] for row in rows]
    return Dataset.from_dict(columns)


def _loss(model: Any, recipe: BiEncoderRecipe, dim: int) -> Any:
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.util import dot_score

    loss: Any
    by_dot = model.similarity_fn_name == "dot"
    scale = recipe.scale if recipe.scale is not None else 1.0 if by_dot else 20.0
    ways: dict[str, Any] = {"scale": scale}
    if by_dot:
        ways["similarity_fct"] = dot_score
    if recipe.both_ways:
        ways |= {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
    if recipe.mini_batch is None:
        loss = losses.MultipleNegativesRankingLoss(model, **ways)
    else:
        loss = losses.CachedMultipleNegativesRankingLoss(
            model, mini_batch_size=recipe.mini_batch, **ways
        )
    if recipe.matryoshka:
        sizes = sorted({dim, *recipe.matryoshka}, reverse=True)
        loss = losses.MatryoshkaLoss(model, loss, matryoshka_dims=sizes)
    return loss


def _write(model: Any, place: Output, recipe: BiEncoderRecipe) -> None:
    draft = place.draft()
    before = resolve(recipe.init)
    model.default_prompt_name = None
    model.prompts = {
        name: prompt
        for name, prompt in (("query", recipe.query_prompt), ("document", recipe.passage_prompt))
        if prompt
    }
    model.save_pretrained(str(draft), create_model_card=False)
    # what is read stays what it was: training may have read less of each text
    for name in ("tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"):
        if (before.path / name).exists():
            shutil.copyfile(before.path / name, draft / name)
    config = json.loads((draft / "config.json").read_text(encoding="utf-8"))
    own = before.read_json("config.json")
    dropout = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    config |= {name: own[name] for name in dropout if name in own}
    write_json(draft / "config.json", config)
