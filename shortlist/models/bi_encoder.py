"""Text -> unit-length float32 embeddings `[n, dim]`: the first stage's model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from shortlist.errors import ModelError, UsageError
from shortlist.models.batches import (
    TOKENS_PER_BATCH,
    FloatArray,
    Int64Array,
    each_alone,
    of_one_length,
    run_batches,
)
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
)
from shortlist.models.tokens import ModelTokenizer
from shortlist.models.verification import (
    IN_OTHER_LANGUAGES,
    LONG_TEXT,
    QUESTIONS_AND_ANSWERS,
    TEXTS_OF_MANY_KINDS,
    VERIFICATION_TEXTS,
)

Metric = Literal["cosine", "dot"]

TOKENS_PER_BATCH_GPU = 65_536
TEXTS_AT_ONCE = 8192  # tokenised together: 100 MB at most, of texts as long as the model reads

# all-MiniLM-L6-v2 reaches 0.9991 and 0.9981, with 7-bit weights 0.9976 and 0.9898.
LEAST_MEAN_COSINE_INT8 = 0.99
LEAST_COSINE_INT8 = 0.98


class BiEncoder:
    """A sentence-transformers model that turns queries and passages into embeddings.

    Attributes:
        name: the canonical name, or the path of the folder.
        fingerprint: hex digest over every file that the model is loaded from.
        dim: columns of an embedding.
        max_tokens: the most tokens of a text that are read, special tokens included.
        metric: ``cosine`` (embeddings have unit length) or ``dot``.
        precision: ``float32`` or ``int8``. The fingerprint is that of the weights either way: the
            embeddings of both can be compared with each other.
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        query_prompt: str,
        passage_prompt: str,
        device: str,
        precision: Precision = "float32",
    ) -> None:
        self.name = folder.name
        self.fingerprint = folder.fingerprint
        self.query_prompt = query_prompt
        self.passage_prompt = passage_prompt
        self.precision: Precision = precision
        self.metric: Metric = _metric(folder)
        self._tokenizer = ModelTokenizer(folder)
        self.max_tokens = self._tokenizer.max_tokens

        def build() -> TorchModel:
            return _load_with_torch(folder, self._tokenizer)

        self._on_light_path = device == "cpu"
        if self._on_light_path:
            self._run, self.dim = light_path(folder, build, self._quality(), precision)
            self._workers, self._tokens_per_batch = cores(), TOKENS_PER_BATCH
        else:
            model = loaded(build)
            target = device.removeprefix("torch-")
            self._run, self._workers = torch_runner(model, target), 1
            self.dim = int(self._run(model.examples[0]).shape[1])
            self._tokens_per_batch = tokens_per_batch(target)

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        device: str = "auto",
        precision: PrecisionChoice = "float32",
    ) -> BiEncoder:
        """Load a bi-encoder by name or folder.

        A folder of the library model2vec gives a `StaticBiEncoder`, a table of token vectors.

        Args:
            name: a folder, `all-MiniLM-L6-v2`, `shortlist-static-v1`, or a name on the Hugging Face
                hub.
            query_prompt: put before every query; the model's own by default.
            passage_prompt: put before every passage; the model's own by default.
            device: `auto` (CUDA where there is one, else `cpu`), `cpu` (ONNX Runtime, no torch),
                `torch-cpu`, `cuda`, `cuda:1`, `mps`.
            precision: `int8` is faster on the CPU and a little less exact; `auto` is int8 where it
                can be and the model's int8 graph is near enough to float32.

        Raises:
            ModelError: not found, damaged, or of a kind that cannot be run.
            UsageError: a device that there is not, or int8 where it cannot be had.
        """
        device = choose_device(device, precision)
        folder = resolve(name)
        own = folder.read_json("config_sentence_transformers.json").get("prompts")
        prompts = own if isinstance(own, dict) else {}
        if query_prompt is None:
            query_prompt = str(prompts.get("query") or "")
        if passage_prompt is None:
            passage_prompt = str(prompts.get("passage") or prompts.get("document") or "")
        kind = cls
        if folder.is_static:
            from shortlist.models.static import StaticBiEncoder  # which is made from this class

            kind = StaticBiEncoder
        return in_precision(
            lambda chosen: kind(
                folder,
                query_prompt=query_prompt,
                passage_prompt=passage_prompt,
                device=device,
                precision=chosen,
            ),
            precision,
            device,
        )

    def encode_queries(
        self, texts: Sequence[str], on_batch: Callable[[int], object] | None = None
    ) -> FloatArray:
        """Embeddings of queries, float32 `[n, dim]`, in the order given."""
        return self._encode(texts, self.query_prompt, on_batch)

    def encode_passages(
        self,
        texts: Sequence[str],
        on_batch: Callable[[int], object] | None = None,
        on_cut: Callable[[int, int], object] | None = None,
    ) -> FloatArray:
        """Embeddings of passages, float32 `[n, dim]`, in the order given.

        Args:
            texts: what the model reads, up to `max_tokens` of each.
            on_batch: told the number of texts after each batch.
            on_cut: told of each text that is longer: its place in `texts`, and the number of tokens
                left out.
        """
        return self._encode(texts, self.passage_prompt, on_batch, on_cut)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each passage as the model would read it whole: prompt and specials included."""
        return self._tokenizer.count([self.passage_prompt + text for text in texts])

    def _quality(self) -> Quality:
        def batches(texts: Sequence[str]) -> list[dict[str, Int64Array]]:
            return each_alone(self._tokenizer.encode(texts), self._tokenizer.pad_id)

        def seen() -> list[dict[str, Int64Array]]:
            return batches(TEXTS_OF_MANY_KINDS)  # and no prompt: the graph is for all of them

        def checked() -> list[dict[str, Int64Array]]:
            queries, passages = zip(*QUESTIONS_AND_ANSWERS, strict=True)
            texts = [self.query_prompt + text for text in queries]
            passages += IN_OTHER_LANGUAGES
            return batches(texts + [self.passage_prompt + text for text in passages])

        return Quality(seen=seen, checked=checked, fault=_int8_fault)

    def _encode(
        self,
        texts: Sequence[str],
        prompt: str,
        on_batch: Callable[[int], object] | None,
        on_cut: Callable[[int, int], object] | None = None,
    ) -> FloatArray:
        embeddings = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            block = slice(start, start + TEXTS_AT_ONCE)
            encodings = self._tokenizer.encode([prompt + text for text in texts[block]])
            if on_cut:
                for place, encoding in enumerate(encodings, start):
                    if cut := self._tokenizer.tokens_cut(encoding):
                        on_cut(place, cut)
            embeddings[block] = run_batches(
                self._run,
                encodings,
                width=self.dim,
                pad_id=self._tokenizer.pad_id,
                workers=self._workers,
                on_batch=on_batch,
                tokens_per_batch=self._tokens_per_batch,
                one_length=self._on_light_path,
            )
        if self.metric == "cosine":
            norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
            embeddings /= np.maximum(norms, np.finfo(np.float32).tiny)
        return embeddings


def tokens_per_batch(device: str) -> int:
    """How large torch's batches are: a GPU wants large ones."""
    return TOKENS_PER_BATCH if device == "cpu" else TOKENS_PER_BATCH_GPU


def choose_device(device: str, precision: str = "float32") -> str:
    """Resolve `auto`, and check a device that was named; without torch where there can be no GPU.

    Raises:
        UsageError: a name that is none, a device that this machine does not have, or int8 on
            another device than the CPU.
    """
    if precision not in ("auto", "float32", "int8"):
        raise UsageError(f"precision must be auto, float32 or int8, got {precision!r}")
    if precision == "int8" and device not in ("auto", "cpu"):
        raise UsageError(f"int8 runs on the CPU with ONNX Runtime only, not on {device}")
    if precision == "int8":
        return "cpu"
    if device in ("cpu", "torch-cpu"):
        return device
    if not re.fullmatch(r"auto|(cuda|mps)(:\d+)?", device):
        raise UsageError(
            f"unknown device {device!r}; choose auto, cpu, torch-cpu, cuda, cuda:1, ... or mps"
        )
    if device == "auto" and not Path("/dev/nvidiactl").exists():
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    there = torch.cuda.is_available() if device.startswith("cuda") else torch.mps.is_available()
    if not there:
        raise UsageError(f"this machine has no {device}, or torch cannot use it; try --device cpu")
    return device


def _int8_fault(expected: FloatArray, got: FloatArray) -> str | None:
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(got, axis=1)
    cosines = np.sum(expected * got, axis=1) / np.maximum(norms, np.finfo(np.float32).tiny)
    mean, least = float(cosines.mean()), float(cosines.min())
    if mean >= LEAST_MEAN_COSINE_INT8 and least >= LEAST_COSINE_INT8:  # a NaN fails
        return None
    return (
        f"the cosines to its float32 embeddings are {mean:.4f} in the mean and {least:.4f} at "
        f"least, expected {LEAST_MEAN_COSINE_INT8} and {LEAST_COSINE_INT8}"
    )


def _metric(folder: ModelFolder) -> Metric:
    settings = folder.read_json("config_sentence_transformers.json")
    return "dot" if settings.get("similarity_fn_name") in ("dot", "dot_product") else "cosine"


def _load_with_torch(folder: ModelFolder, tokenizer: ModelTokenizer) -> TorchModel:
    """The whole sentence-transformers model, pooling and normalisation included, as one module."""
    import torch
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(
            str(folder.path),
            device="cpu",
            local_files_only=True,
            model_kwargs={"attn_implementation": "eager", "use_safetensors": True},
        )
        model = model.float().eval()  # stored in half precision or not
    except Exception as error:  # transformers raises many kinds for a folder it cannot read
        raise ModelError(f"cannot load {folder.name} from {folder.path}: {error}") from error

    class Embedding(torch.nn.Module):
        def __init__(self, inputs: tuple[str, ...]) -> None:
            super().__init__()
            self.model, self.inputs = model, inputs

        def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
            features = dict(zip(self.inputs, arrays, strict=True))
            embedding: torch.Tensor = self.model(features)["sentence_embedding"]
            return embedding

    known = ("input_ids", "attention_mask", "token_type_ids")
    taken = model.tokenizer.model_input_names
    inputs = tuple(name for name in known if name in taken)
    encodings = tokenizer.encode([*VERIFICATION_TEXTS, LONG_TEXT])
    examples = of_one_length(encodings)
    return TorchModel(
        module=Embedding(inputs).eval(),
        inputs=inputs,
        examples=examples,
        max_tokens=tokenizer.max_tokens,
    )
