"""Text -> unit-length embeddings by a table of token vectors: a first stage without a network.

A static model (Model2Vec, Minish Lab 2024) keeps one vector a token, computed once by a
transformer; the embedding of a text is their mean. It knows nothing of the order of words, and
costs little more than the tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from shortlist.errors import ModelError
from shortlist.models.batches import FloatArray
from shortlist.models.bi_encoder import BiEncoder
from shortlist.models.encoders import unit_length
from shortlist.models.loading import ModelFolder
from shortlist.models.onnx import Precision
from shortlist.models.tokens import DEFAULT_MAX_TOKENS

if TYPE_CHECKING:
    from model2vec import StaticModel

TEXTS_AT_ONCE = 1024  # tokenised together: enough for every core, little memory


class StaticBiEncoder(BiEncoder):
    """A Model2Vec folder as a bi-encoder: `BiEncoder.load` gives one where the folder holds one.

    Only the tokens of a text itself decide its embedding, bit for bit. A text without any token
    that the model knows (empty, only emoji, a script that it has not seen) has no mean: it gets the
    last axis as its embedding, which after the distillation's principal components is the one that
    texts differ least along. So it can be indexed, is about as far from everything as can be, and
    is found by queries that say as little.

    It runs on the CPU in float32, whatever the device and the precision asked for.
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        query_prompt: str,
        passage_prompt: str,
        device: str = "cpu",  # noqa: ARG002 - a table look-up gains nothing elsewhere
        precision: Precision = "float32",  # noqa: ARG002 - no products to speed up
    ) -> None:
        self.precision = "float32"
        self.name = folder.name
        self.fingerprint = folder.fingerprint
        self.query_prompt = query_prompt
        self.passage_prompt = passage_prompt
        self.metric = "cosine"
        model = _load(folder)
        self._vectors = _token_vectors(model)
        self.dim = self._vectors.shape[1]
        self.max_tokens = _max_tokens(folder)
        self._unknown = model.unk_token_id
        self._tokens = model.tokenizer
        self._tokens.no_truncation()
        self._tokens.no_padding()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each passage as the model would read it whole, the prompt included."""
        return [len(ids) for ids in self._ids([self.passage_prompt + text for text in texts])]

    def _encode(
        self,
        texts: Sequence[str],
        prompt: str,
        on_batch: Callable[[int], object] | None,
        on_cut: Callable[[int, int], object] | None = None,
    ) -> FloatArray:
        means = np.zeros((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = [prompt + text for text in texts[start : start + TEXTS_AT_ONCE]]
            for row, ids in enumerate(self._ids(part), start):
                if on_cut and len(ids) > self.max_tokens:
                    on_cut(row, len(ids) - self.max_tokens)
                known = [i for i in ids[: self.max_tokens] if i != self._unknown]
                if known:
                    means[row] = self._vectors[known].mean(axis=0)
            if on_batch:
                on_batch(len(part))
        means[~means.any(axis=1), -1] = 1.0
        return unit_length(means)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        # a lone surrogate cannot be passed on as UTF-8: it becomes "?", as str.encode does
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        encodings = self._tokens.encode_batch_fast(clean, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def _load(folder: ModelFolder) -> StaticModel:
    # Not by from_pretrained: it reads the model card as well, and complains of it on stderr.
    from model2vec import StaticModel
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    try:
        tensors = load_file(folder.path / "model.safetensors")
        return StaticModel(
            tensors["embeddings"],
            Tokenizer.from_file(str(folder.path / "tokenizer.json")),
            weights=tensors.get("weights"),
            token_mapping=tensors.get("mapping"),
        )
    except Exception as error:  # safetensors and tokenizers raise bare ones for a damaged file
        raise ModelError(
            f"cannot load {folder.name} from {folder.path}: {error!r}; expected, as model2vec "
            "writes it, model.safetensors with `embeddings`, a row for each token of tokenizer.json"
        ) from error


def _token_vectors(model: StaticModel) -> FloatArray:
    """One vector a token id, float32 `[vocabulary, dim]`.

    A folder may keep few vectors for many tokens, and a weight a token: both are applied here.
    """
    vectors: FloatArray = model.embedding.astype(np.float32)
    if model.token_mapping is not None:
        vectors = vectors[model.token_mapping]
    if model.weights is not None:
        vectors = vectors * model.weights.astype(np.float32)[:, None]
    return vectors


def _max_tokens(folder: ModelFolder) -> int:
    """What the folder's configuration says; model2vec's own default where it says nothing."""
    found = folder.read_json("config.json").get("max_length")
    return found if isinstance(found, int) and found > 0 else DEFAULT_MAX_TOKENS
