"""(query, passage) -> one relevance logit: the second stage's model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from shortlist.errors import ModelError
from shortlist.models.batches import (
    TOKENS_PER_BATCH,
    FloatArray,
    Int64Array,
    each_alone,
    of_one_length,
    run_batches,
)
from shortlist.models.bi_encoder import choose_device, tokens_per_batch
from shortlist.models.loading import ModelFolder, resolve
from shortlist.models.onnx import (
    Precision,
    PrecisionChoice,
    Quality,
    TorchModel,
    cores,
    in_precision,
    light_path,
    loaded,
    torch_runner,
    variant,
)
from shortlist.models.tokens import ModelTokenizer
from shortlist.models.verification import (
    LONG_TEXT,
    QUESTIONS_AND_ANSWERS,
    TEXTS_OF_MANY_KINDS,
    VERIFICATION_TEXTS,
)
from shortlist.models.windows import Reading, readings
from shortlist.records import Passage

# Of the standard deviation of the float32 logits. shortlist-cross-encoder-v2 is off by up to 0.16
# and correlates to 0.9997; with 7-bit weights 0.20 and 0.9990.
LARGEST_ERROR_INT8 = 0.5
LEAST_CORRELATION_INT8 = 0.995


Windows: TypeAlias = Callable[[str, Sequence[Passage]], list[Reading | None]]


class Scorer(Protocol):
    """What a pipeline asks of its second stage; `CrossEncoder` is one.

    A scorer may have a method `windows` as well, as `CrossEncoder` does: long passages are then
    scored in the windows that it names, and otherwise handed over whole.
    """

    name: str
    fingerprint: str

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        on_batch: Callable[[int], object] | None = None,
    ) -> FloatArray:
        """Logits of (query, passage) pairs, float32 `[n]`."""


PAIRS_AT_ONCE = 4096  # tokenised together: some 40 MB


class CrossEncoder:
    """A sequence-classification model with one logit that reads a query and a passage together.

    Attributes:
        name: the canonical name, or the path of the folder.
        fingerprint: hex digest over every file that the model is loaded from; with a mark behind
            it in int8, so that scores kept by it are never taken for one another's.
        max_tokens: the most tokens of a pair that are read, special tokens included.
        precision: ``float32`` or ``int8``.
    """

    def __init__(
        self, folder: ModelFolder, *, device: str, precision: Precision = "float32"
    ) -> None:
        self.name = folder.name
        self.precision: Precision = precision
        mark = "" if precision == "float32" else f"-{variant(precision)}"
        self.fingerprint = folder.fingerprint + mark
        require_one_logit(folder)
        self._tokenizer = ModelTokenizer(folder)
        self.max_tokens = self._tokenizer.max_tokens

        def build() -> TorchModel:
            return _load_with_torch(folder, self._tokenizer)

        self._on_light_path = device == "cpu"
        if self._on_light_path:
            self._run, _ = light_path(folder, build, self._quality(), precision)
            self._workers, self._tokens_per_batch = cores(), TOKENS_PER_BATCH
        else:
            target = device.removeprefix("torch-")
            self._run, self._workers = torch_runner(loaded(build), target), 1
            self._tokens_per_batch = tokens_per_batch(target)

    @classmethod
    def load(
        cls, name: str | Path, *, device: str = "auto", precision: PrecisionChoice = "float32"
    ) -> CrossEncoder:
        """Load a cross-encoder by name or folder; the options are those of `BiEncoder.load`.

        Raises:
            ModelError: not found, damaged, or a head with other than one logit.
            UsageError: a device that there is not, or int8 where it cannot be had.
        """
        device = choose_device(device, precision)
        folder = resolve(name)
        return in_precision(
            lambda chosen: cls(folder, device=device, precision=chosen), precision, device
        )

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        on_batch: Callable[[int], object] | None = None,
    ) -> FloatArray:
        """Logits of (query, passage) pairs, float32 `[n]`, in the order given.

        A higher logit means more relevant; logits of different queries are comparable as far as
        the model was trained to make them so.
        """
        logits = np.empty(len(pairs), dtype=np.float32)
        # of similar lengths, so that batches are filled as well as without blocks
        order = np.argsort([len(query) + len(text) for query, text in pairs], kind="stable")
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            block = order[start : start + PAIRS_AT_ONCE]
            logits[block] = run_batches(
                self._run,
                self._tokenizer.encode_pairs([pairs[number] for number in block]),
                width=1,
                pad_id=self._tokenizer.pad_id,
                workers=self._workers,
                on_batch=on_batch,
                tokens_per_batch=self._tokens_per_batch,
                one_length=self._on_light_path,
            )[:, 0]
        return logits

    def windows(self, query: str, passages: Sequence[Passage]) -> list[Reading | None]:
        """How each passage is read beside that query; None for one that fits whole."""
        return readings(self._tokenizer, query, passages)

    def _quality(self) -> Quality:
        def batches(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Int64Array]]:
            return each_alone(self._tokenizer.encode_pairs(pairs), self._tokenizer.pad_id)

        def seen() -> list[dict[str, Int64Array]]:
            texts = TEXTS_OF_MANY_KINDS
            return batches([(texts[number - 1], text) for number, text in enumerate(texts)])

        def checked() -> list[dict[str, Int64Array]]:
            queries, passages = zip(*QUESTIONS_AND_ANSWERS, strict=True)
            # each question with its answer, and with those of two others
            return batches(
                [
                    (query, passages[(number + step) % len(passages)])
                    for number, query in enumerate(queries)
                    for step in (0, 1, 5)
                ]
            )

        return Quality(seen=seen, checked=checked, fault=_int8_fault)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each text alone, special tokens included, nothing cut."""
        return self._tokenizer.count(texts)


def windows_of(scorer: Scorer, query: str, passages: Sequence[Passage]) -> list[Reading | None]:
    """How a scorer reads each passage; one that knows nothing of windows reads them whole."""
    windows: Windows | None = getattr(scorer, "windows", None)
    return windows(query, passages) if windows else [None] * len(passages)


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


def _int8_fault(expected: FloatArray, got: FloatArray) -> str | None:
    spread = max(float(expected.std()), float(np.finfo(np.float32).tiny))
    worst = float(np.abs(expected - got).max()) / spread
    correlation = float(np.corrcoef(expected[:, 0], got[:, 0])[0, 1])
    if worst <= LARGEST_ERROR_INT8 and correlation >= LEAST_CORRELATION_INT8:  # a NaN fails
        return None
    return (
        f"its logits are off by up to {worst:.2f} of their spread and correlate to "
        f"{correlation:.4f} with those of float32, expected at most {LARGEST_ERROR_INT8} and at "
        f"least {LEAST_CORRELATION_INT8}"
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
    pairs = [(VERIFICATION_TEXTS[0], text) for text in (*VERIFICATION_TEXTS, LONG_TEXT)]
    encodings = tokenizer.encode_pairs(pairs)
    examples = of_one_length(encodings)
    return TorchModel(
        module=Logit(inputs).eval(),
        inputs=inputs,
        examples=examples,
        max_tokens=tokenizer.max_tokens,
    )
