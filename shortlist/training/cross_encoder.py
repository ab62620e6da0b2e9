"""Fine-tuning a cross-encoder: listwise softmax cross-entropy over a positive and hard negatives.

The loss is ListNet's top-one cross-entropy (Cao et al. 2007) with one relevant passage, as in
"localized contrastive estimation" (Gao et al. 2021, arXiv 2101.08751).
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shortlist.errors import ShortlistError, UsageError
from shortlist.models.loading import resolve
from shortlist.models.presets import MINILM
from shortlist.training.mining import Group

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, kw_only=True)
class CrossEncoderRecipe:
    """Everything that decides the weights, but the groups."""

    init: str = MINILM  # model or folder whose weights are the start
    learning_rate: float = 6e-5
    warmup_steps: int = 25
    groups_per_step: int = 16
    negatives: int = 3
    epochs: int = 1
    max_tokens: int = 192  # of a pair in training; attention costs grow with it
    read_tokens: int = 256  # of a pair when the model is used
    weight_decay: float = 0.01
    seed: int = 0
    bfloat16: bool = True

    def __post_init__(self) -> None:
        for name in ("groups_per_step", "negatives", "epochs", "max_tokens", "read_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1 (got {getattr(self, name)})")


def train(
    groups: Sequence[Group],
    output: Path,
    recipe: CrossEncoderRecipe,
    *,
    device: str = "cpu",
    checkpoint_every: int = 100,
) -> Path:
    """Train and write a model folder (config, tokenizer, safetensors weights in float16).

    An interrupted run that is started again with the same groups and recipe goes on from its last
    checkpoint and ends as the uninterrupted one would.

    Args:
        groups: at least one; each with at least `recipe.negatives` negatives.
        output: the folder to write; progress is kept beside it in `<output>.partial/`.
        recipe: what decides the weights.
        device: a torch device.
        checkpoint_every: steps between checkpoints.

    Raises:
        ShortlistError: the loss is not a number any more.
    """
    import torch

    output = output.resolve()
    _refuse_to_replace(output)
    groups = _usable(groups, recipe.negatives)
    torch.manual_seed(recipe.seed)
    model, tokenizer = _start(recipe)
    model.to(device).train()
    optimizer = torch.optim.AdamW(_parameters(model, recipe.weight_decay), lr=recipe.learning_rate)
    plan = list(_plan(groups, recipe))
    partial = output.with_name(output.name + ".partial")
    run = _run_digest(groups, recipe)
    losses = _resume(partial, model, optimizer, run)
    started, pairs = time.monotonic(), 0
    for step in range(len(losses), len(plan)):
        loss, count = _step(model, tokenizer, plan[step], recipe, device)
        rate = recipe.learning_rate * _rate(step, len(plan), recipe.warmup_steps)
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        pairs += count
        losses.append(loss)
        if not np.isfinite(loss):
            raise ShortlistError(
                f"the loss became {loss} at step {step}; use a lower learning rate than "
                f"{recipe.learning_rate}"
            )
        if (step + 1) % 20 == 0 or step + 1 == len(plan):
            speed = pairs / (time.monotonic() - started)
            mean = float(np.mean(losses[-20:]))
            log.info("step %d/%d loss %.4f %.1f pairs/s", step + 1, len(plan), mean, speed)
        if (step + 1) % checkpoint_every == 0:
            _save_checkpoint(partial, model, optimizer, losses, run)
    return _finish(model, output, partial, recipe, groups, losses)


def _refuse_to_replace(output: Path) -> None:
    """A folder that training made may be replaced, anything else is left alone."""
    ours = (output / "training.json").is_file()
    if output.exists() and not ours and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(
            f"{output} exists and was not made by training; it is left as it is: choose another "
            "place"
        )


def _usable(groups: Sequence[Group], negatives: int) -> list[Group]:
    """The groups that have enough negatives for a full row of the loss."""
    usable = [group for group in groups if len(group.negatives) >= negatives]
    if len(usable) < len(groups):
        log.info("%d groups have fewer than %d negatives", len(groups) - len(usable), negatives)
    if not usable:
        raise UsageError(
            f"no training groups; expected at least one question with a positive and {negatives} "
            "negatives"
        )
    return usable


def _run_digest(groups: Sequence[Group], recipe: CrossEncoderRecipe) -> str:
    """What tells one run from another: everything that decides the weights."""
    digest = hashlib.sha256(json.dumps(asdict(recipe)).encode())
    digest.update(resolve(recipe.init).fingerprint.encode())
    for group in groups:
        for text in (group.query, group.positive, *group.negatives):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _start(recipe: CrossEncoderRecipe) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call] # it announces that the head is new: it must be
    path = str(resolve(recipe.init).path)
    model = AutoModelForSequenceClassification.from_pretrained(
        path,
        num_labels=1,
        local_files_only=True,
        use_safetensors=True,
        dtype=torch.float32,
        # Few epochs over many pairs do not overfit, and drawing dropout masks is slow on a CPU.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True
    return model, tokenizer


def _parameters(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay, biases and normalisation do not."""
    named = list(model.named_parameters())
    return [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for _, p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _rate(step: int, steps: int, warmup: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (steps - step) / max(1, steps - warmup))


def _plan(
    groups: Sequence[Group], recipe: CrossEncoderRecipe
) -> Iterator[list[tuple[str, list[str]]]]:
    """Steps of (question, positive first and then negatives), of similar length within a step."""
    rng = np.random.default_rng(recipe.seed)
    lengths = np.array([max(len(g.positive), *(len(n) for n in g.negatives)) for g in groups])
    for _ in range(recipe.epochs):
        order = rng.permutation(len(groups))
        window = recipe.groups_per_step * 32  # sorted within a window: bucketed, still mixed
        batches = []
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[np.argsort(lengths[part], kind="stable")]
            size = recipe.groups_per_step
            batches += [part[i : i + size] for i in range(0, len(part), size)]
        for number in rng.permutation(len(batches)):
            step = []
            for i in batches[number]:
                group = groups[i]
                drawn = rng.permutation(len(group.negatives))[: recipe.negatives]
                step.append((group.query, [group.positive, *(group.negatives[n] for n in drawn)]))
            yield step


def _step(
    model: Any,
    tokenizer: Any,
    step: list[tuple[str, list[str]]],
    recipe: CrossEncoderRecipe,
    device: str,
) -> tuple[float, int]:
    """Forward and backward of one step; mean loss over its questions, and the number of pairs."""
    import torch

    width = 1 + recipe.negatives
    queries = [query for query, texts in step for _ in texts]
    passages = [text for _, texts in step for text in texts]
    batch = tokenizer(
        queries,
        passages,
        truncation="longest_first",
        max_length=recipe.max_tokens,
        padding=True,
        return_tensors="pt",
    ).to(device)
    kind = torch.device(device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=recipe.bfloat16):
        logits = model(**batch).logits.float().view(-1, width)
    loss: torch.Tensor = -torch.log_softmax(logits, dim=-1)[:, 0].mean()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return float(loss.detach()), len(queries)


def _save_checkpoint(
    folder: Path, model: Any, optimizer: Any, losses: Sequence[float], run: str
) -> None:
    """Weights and optimizer moments as safetensors, the rest as JSON; replaced atomically."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimizer.{number}.{key}"] = value
    draft = folder / (CHECKPOINT + ".draft")
    record = {"run": run, "losses": losses}
    save_file(tensors, draft, metadata={"record": json.dumps(record)})
    draft.replace(folder / CHECKPOINT)


def _resume(folder: Path, model: Any, optimizer: Any, run: str) -> list[float]:
    """Load the last checkpoint where there is one; return the losses of the steps it has done."""
    file = folder / CHECKPOINT
    if not file.exists():
        return []
    from safetensors import safe_open

    with safe_open(file, framework="pt") as stored:
        record = json.loads(stored.metadata()["record"])
        if record["run"] != run:
            raise UsageError(
                f"{file} is from a run with another recipe or other groups; delete it to start anew"
            )
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    model.load_state_dict(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    )
    state = optimizer.state_dict()
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".")
            state["state"].setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(state)
    losses: list[float] = record["losses"]
    log.info("going on at step %d", len(losses) + 1)
    return losses


def _finish(
    model: Any,
    output: Path,
    partial: Path,
    recipe: CrossEncoderRecipe,
    groups: Sequence[Group],
    losses: Sequence[float],
) -> Path:
    """Write the folder beside its place, then rename it there."""
    import torch

    draft = partial / "model"
    draft.mkdir(parents=True, exist_ok=True)
    model.to(torch.float16).save_pretrained(draft)
    # The tokenizer as it was: a saved one would carry the last batch's padding and truncation.
    start = resolve(recipe.init)
    shutil.copyfile(start.path / "tokenizer.json", draft / "tokenizer.json")
    settings = start.read_json("tokenizer_config.json")
    settings |= {"model_max_length": recipe.read_tokens}
    _write_json(draft / "tokenizer_config.json", settings)
    tenth = max(1, len(losses) // 10)
    record = {
        "recipe": asdict(recipe),
        "groups": len(groups),
        "steps": len(losses),
        "first_loss": float(np.mean(losses[:tenth])),  # of the first tenth of the steps
        "last_loss": float(np.mean(losses[-tenth:])),
    }
    _write_json(draft / "training.json", record)
    if output.exists():
        shutil.rmtree(output)
    draft.rename(output)
    shutil.rmtree(partial)
    return output


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
