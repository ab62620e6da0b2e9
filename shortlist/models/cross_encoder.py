"""(query, passage) -> one relevance logit: the second stage's model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from shortlist.errors import ModelError
from shortlist.models.batches import FloatArray, pad, run_batches
from shortlist.models.bi_encoder import TOKENS_PER_BATCH_GPU, choose_device
from shortlist.models.loading import ModelFolder, resolve
from shortlist.models.onnx import (
    VERIFICATION_TEXTS,
    TorchModel,
    cores,
    exported,
    loaded,
    runner,
    torch_runner,
)
from shortlist.models.tokens import ModelTokenizer


class Scorer(Protocol):
    """What a pipeline asks of its second stage; `CrossEncoder` is one."""

    name: str
    fingerprint: str

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        on_batch: Callable[[int], object] | None = None,
    ) -> FloatArray:
        """Logits of (query, passage) pairs, float32 `[n]`."""


class CrossEncoder:
    """A sequence-classification model with one logit that reads a query and a passage together.

    Attributes:
        name: the canonical name, or the path of the folder.
        fingerprint: hex digest over every file that the model is loaded from.
        max_tokens: the most tokens of a pair that are read, special tokens included.
    """

    def __init__(self, folder: ModelFolder, *, device: str) -> None:
        self.name = folder.name
        self.fingerprint = folder.fingerprint
        require_one_logit(folder)
        self._tokenizer = ModelTokenizer(folder)
        self.max_tokens = self._tokenizer.max_tokens

        def build() -> TorchModel:
            return _load_with_torch(folder, self._tokenizer)

        if device == "cpu":
            self._run, self._workers = runner(exported(folder, build)), cores()
            self._tokens_per_batch = None
        else:
            target = device.removeprefix("torch-")
            self._run, self._workers = torch_runner(loaded(build), target), 1
            self._tokens_per_batch = None if target == "cpu" else TOKENS_PER_BATCH_GPU

    @classmethod
    def load(cls, name: str | Path, *, device: str = "auto") -> CrossEncoder:
        """Load a cross-encoder by name or folder; `device` as in `BiEncoder.load`.

        Raises:
            ModelError: not found, damaged, or a head with other than one logit.
        """
        return cls(resolve(name), device=choose_device(device))

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        on_batch: Callable[[int], object] | None = None,
    ) -> FloatArray:
        """Logits of (query, passage) pairs, float32 `[n]`, in the order given.

        A higher logit means more relevant; logits of different queries are comparable as far as
        the model was trained to make them so.
        """
        options = {"tokens_per_batch": self._tokens_per_batch} if self._tokens_per_batch else {}
        logits = run_batches(
            self._run,
            self._tokenizer.encode_pairs(pairs),
            width=1,
            pad_id=self._tokenizer.pad_id,
            workers=self._workers,
            on_batch=on_batch,
            **options,
        )
        return logits[:, 0]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each text alone, special tokens included, nothing cut."""
        return self._tokenizer.count(texts)


def require_one_logit(folder: ModelFolder) -> None:
    """Refuse a bi-encoder or a classifier: its numbers would look like scores and mean nothing."""
    config = folder.read_json("config.json")
    kinds = config.get("architectures")
    labels = config.get("id2label")
    heads = [str(kind) for kind in kinds] if isinstance(kinds, list) else []
    count = len(labels) if isinstance(labels, dict) else config.get("num_labels")
    if not any("SequenceClassification" in head for head in heads):
        raise ModelError(
            f"{folder.name} is no cross-encoder: its architecture is "
            f"{', '.join(heads) or 'unknown'}, expected one for sequence classification with a "
            "single logit"
        )
    if count != 1:
        raise ModelError(
            f"{folder.name} has {count} output labels, expected one relevance logit; "
            "classifiers and NLI models cannot rerank"
        )


def _load_with_torch(folder: ModelFolder, tokenizer: ModelTokenizer) -> TorchModel:
    import torch
    from transformers import AutoModelForSequenceClassification

    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            str(folder.path),
            local_files_only=True,
            attn_implementation="eager",
            use_safetensors=True,
            dtype=torch.float32,  # stored in half precision or not
        ).eval()
    except Exception as error:  # transformers raises many kinds for a folder it cannot read
        raise ModelError(f"cannot load {folder.name} from {folder.path}: {error}") from error

    class Logit(torch.nn.Module):
        def __init__(self, inputs: tuple[str, ...]) -> None:
            super().__init__()
            self.model, self.inputs = model, inputs

        def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(**dict(zip(self.inputs, arrays, strict=True))).logits
            return logits

    has_types = getattr(model.config, "type_vocab_size", 0) > 1
    inputs = ("input_ids", "attention_mask", *(("token_type_ids",) if has_types else ()))
    pairs = [(VERIFICATION_TEXTS[0], text) for text in VERIFICATION_TEXTS]
    encodings = tokenizer.encode_pairs(pairs)
    examples = [pad(encodings, tokenizer.pad_id), pad(encodings[:1], tokenizer.pad_id)]
    return TorchModel(module=Logit(inputs).eval(), inputs=inputs, examples=examples)
