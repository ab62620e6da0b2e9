"""What training both kinds of model has in common: sentence-transformers' trainer, set up.

The trainer is the one of sentence-transformers (and under it that of transformers); here is what it
is told, and what is made of a loss that is no number.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.errors import MissingExtraError, ShortlistError, UsageError
from shortlist.models.loading import resolve

log = logging.getLogger(__name__)

LOG_EVERY = 20  # steps
CHECKPOINTS = "checkpoints"
BEFORE = "before.json"  # the dev metric before the first step


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a model is trained, whichever kind it is.

    Attributes:
        learning_rate: of AdamW, at its highest: it rises over the warm-up and falls to zero.
        warmup_steps: steps until then.
        batch: queries in a step.
        epochs: passes over the groups.
        weight_decay: of all weights but biases and normalisation.
        seed: of the order and of what is drawn.
        bfloat16: products in bfloat16 (autocast); weights and optimizer stay in float32.
        evaluate_every: steps between two looks at the dev metric, if there is one.
        patience: looks without a new best one after which training ends; 0: it goes to its end.
    """

    learning_rate: float = 6e-5
    warmup_steps: int = 25
    batch: int = 16
    epochs: int = 1
    weight_decay: float = 0.01
    seed: int = 0
    bfloat16: bool = True
    evaluate_every: int = 100
    patience: int = 3

    def __post_init__(self) -> None:
        for name in ("batch", "epochs", "evaluate_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if not 0 < self.learning_rate < 1:
            raise UsageError(
                f"learning_rate must lie between 0 and 1 (got {self.learning_rate}), such as 2e-5"
            )
        if self.patience < 0 or self.warmup_steps < 0:
            raise UsageError("patience and warmup_steps must not be negative")


DevMetric = Callable[[Any], float]
"""A model in training -> how good it is on dev questions; higher is better."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run did."""

    steps: int
    losses: Sequence[float]  # of each step
    dev: Sequence[tuple[int, float]]  # step, dev metric; step 0 is the model before
    best_step: int | None  # whose weights the model has; None where there was no dev metric
    seconds: float  # of this process: less than the whole where a run went on


def start(
    kind: Any, init: str, schedule: Schedule, device: str, *, new_head: bool = False, **options: Any
) -> Any:
    """Load what training begins with, in float32, as that class of sentence-transformers.

    With `new_head`, a head of another size gives way to a new one.
    """
    import torch
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call] # it announces that a head is new: it must be
    torch.manual_seed(schedule.seed)
    return kind(
        str(resolve(init).path),
        device=device,
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={
            "use_safetensors": True,
            "dtype": torch.float32,
            "ignore_mismatched_sizes": new_head,
            # On a CPU, torch 2.13's fused attention going back in bfloat16 takes 43 % of a step; in
            # float32 a twentieth.
            **({"attn_implementation": "eager"} if device == "cpu" and schedule.bfloat16 else {}),
        },
        # Few epochs over many pairs do not overfit, and drawing dropout masks is slow on a CPU.
        config_kwargs={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        **options,
    )


def fit(
    model: Any,
    dataset: Any,
    loss: Any,
    schedule: Schedule,
    *,
    folder: Path,
    batches: Any,
    epochs: int,
    dev_metric: DevMetric | None = None,
    checkpoint_every: int = 100,
    device: str = "cpu",
) -> Trained:
    """Train a sentence-transformers model in place; its last or, with a dev metric, best weights.

    Interrupted, the same call goes on from the last checkpoint in `folder`. Checkpoints hold the
    state of the optimizer as torch writes it, and are read with `weights_only`.

    Args:
        model: a `SentenceTransformer` or a `CrossEncoder`.
        dataset: a `datasets.Dataset` with the columns that the loss expects.
        loss: a loss of sentence-transformers for that model.
        schedule: how.
        folder: of checkpoints.
        batches: the class of a batch sampler of sentence-transformers.
        epochs: passes over the rows of the dataset.
        dev_metric: looked at before the first step and every `evaluate_every` steps.
        checkpoint_every: steps; with a dev metric, `evaluate_every` counts.
        device: a torch device.

    Raises:
        ShortlistError: the loss is no number any more, or memory was too small; what to do is said.
        MissingExtraError: the extra `train` is not installed.
    """
    try:
        import accelerate  # type: ignore[import-untyped] # noqa: F401 - transformers needs it
    except ImportError:
        raise MissingExtraError("training needs an extra: pip install 'shortlist[train]'") from None
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    every = schedule.evaluate_every if dev_metric else checkpoint_every
    checkpoints = folder / CHECKPOINTS
    last = _last_checkpoint(checkpoints)
    before = _before(model, dev_metric, folder) if dev_metric else None
    trainer = _trainer(
        model, dataset, loss, schedule, checkpoints, batches, epochs, every, dev_metric, device
    )
    if last:
        log.info("going on after step %s", last.rpartition("-")[2])
    started = time.monotonic()
    try:
        trainer.train(resume_from_checkpoint=last)
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        raise ShortlistError(
            f"memory was too small for a step of {schedule.batch} queries ({error}); use smaller "
            "steps (--batch), fewer tokens (--max-tokens), fewer negatives, or, for a bi-encoder, "
            "--mini-batch, which computes a large batch in parts"
        ) from error
    return _outcome(trainer, before, time.monotonic() - started)


def _before(model: Any, dev_metric: DevMetric, folder: Path) -> float:
    """The metric of the model that training begins with, measured once."""
    file = folder / BEFORE
    if not file.exists():
        value = float(dev_metric(model))
        log.info("before training: dev metric %.4f", value)
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value), encoding="utf-8")
    return float(json.loads(file.read_text(encoding="utf-8")))


def _trainer(
    model: Any, dataset: Any, loss: Any, schedule: Schedule, checkpoints: Path,
    batches: Any, epochs: int, every: int, dev_metric: DevMetric | None, device: str,
) -> Any:  # fmt: skip
    from sentence_transformers import CrossEncoder, SentenceTransformerTrainer
    from sentence_transformers.base.evaluation import BaseEvaluator
    from sentence_transformers.cross_encoder import (
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.training_args import (
        SentenceTransformerTrainingArguments,
    )
    from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

    is_cross = isinstance(model, CrossEncoder)
    kind: Any = CrossEncoderTrainer if is_cross else SentenceTransformerTrainer
    arguments: Any = (
        CrossEncoderTrainingArguments if is_cross else SentenceTransformerTrainingArguments
    )

    class Watched(kind):  # type: ignore[misc]
        """Ends where the loss is no number; goes without the model card of the library."""

        def training_step(self, *given: Any, **named: Any) -> Any:
            value = super().training_step(*given, **named)
            if not np.isfinite(float(value)):
                raise ShortlistError(
                    f"the loss became {float(value)} at step {self.state.global_step + 1}; use a "
                    f"lower learning rate than {schedule.learning_rate}"
                )
            return value

        def get_batch_sampler(self, dataset: Any, **named: Any) -> Any:
            return batches(dataset, **named)

        def add_model_card_callback(self, *_given: Any) -> None:
            pass

    class Evaluator(BaseEvaluator):
        def __call__(self, model: Any, *_given: Any, **_named: Any) -> dict[str, float]:
            assert dev_metric  # noqa: S101 - only made with one
            return {"dev": float(dev_metric(model))}

    class Told(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **named: Any) -> None:  # noqa: ARG002
            logs = named["logs"]
            step, last = state.global_step, state.max_steps
            if "loss" in logs and (step % LOG_EVERY == 0 or step == last):
                losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
                mean = float(np.mean(losses[-LOG_EVERY:]))
                log.info("step %d/%d loss %.4f", step, last, mean)
            elif "eval_dev" in logs:
                log.info("step %d: dev metric %.4f", state.global_step, logs["eval_dev"])

        def on_save(self, args: Any, state: Any, control: Any, **_named: Any) -> None:  # noqa: ARG002
            # the arguments, pickled: never read again
            last = checkpoints / f"checkpoint-{state.global_step}" / "training_args.bin"
            last.unlink(missing_ok=True)

    callbacks: list[Any] = [Told()]
    if dev_metric and schedule.patience:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=schedule.patience))
    evaluator = Evaluator()  # type: ignore[no-untyped-call]
    on_cpu = device == "cpu"
    trainer = Watched(
        model=model,
        args=arguments(
            output_dir=str(checkpoints),
            learning_rate=schedule.learning_rate,
            warmup_steps=schedule.warmup_steps,
            per_device_train_batch_size=schedule.batch,
            num_train_epochs=epochs,
            weight_decay=schedule.weight_decay,
            seed=schedule.seed,
            bf16=schedule.bfloat16 and _has_bfloat16(device),
            use_cpu=on_cpu,
            dataloader_pin_memory=not on_cpu,
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="steps",
            save_steps=every,
            save_total_limit=2,
            eval_strategy="steps" if dev_metric else "no",
            eval_steps=every,
            load_best_model_at_end=dev_metric is not None,
            restore_callback_states_from_checkpoint=True,  # the patience that is left
            metric_for_best_model="eval_dev" if dev_metric else None,
            greater_is_better=True if dev_metric else None,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=dataset,
        loss=loss,
        evaluator=evaluator if dev_metric else None,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout
    return trainer


def _outcome(trainer: Any, before: float | None, seconds: float) -> Trained:
    history = trainer.state.log_history
    dev = [(entry["step"], entry["eval_dev"]) for entry in history if "eval_dev" in entry]
    best = trainer.state.best_model_checkpoint
    if before is not None and dev and max(value for _, value in dev) < before:
        log.warning(
            "training did not pay: the dev metric was %.4f before it, and %.4f at best; use the "
            "model that it began with, or train with a lower learning rate or on more data",
            before, max(value for _, value in dev),
        )  # fmt: skip
    return Trained(
        steps=trainer.state.global_step,
        losses=[entry["loss"] for entry in history if "loss" in entry],
        dev=[*([(0, before)] if before is not None else []), *dev],
        best_step=int(best.rpartition("-")[2]) if best else None,
        seconds=seconds,
    )


def _has_bfloat16(device: str) -> bool:
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    return device == "cpu"


def _last_checkpoint(checkpoints: Path) -> str | None:
    """The last checkpoint that is whole; later ones, whose writing was interrupted, are deleted.

    The trainer writes its state last.
    """
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    for checkpoint in reversed(found):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
        else:
            return str(checkpoint)
    return None


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or any(
        sign in text for sign in ("out of memory", "not enough memory", "can't allocate memory")
    )
