"""Text -> token ids, by the model's own tokenizer, with every cut counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shortlist.errors import ModelError
from shortlist.models.loading import ModelFolder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DEFAULT_MAX_TOKENS = 512
LONG_TEXT = 20  # characters for each token that can be read: four to five are usual


class ModelTokenizer:
    """A model's tokenizer, cutting at the model's own length.

    Attributes:
        max_tokens: the most tokens that the model reads, special tokens included.
        pad_id: the token that fills short rows of a batch.
    """

    def __init__(self, folder: ModelFolder, max_tokens: int | None = None) -> None:
        self._file = folder.path / "tokenizer.json"
        self._cutting = _tokenizer(self._file)
        settings = folder.read_json("sentence_bert_config.json")
        self._lower = bool(settings.get("do_lower_case", False))
        self.max_tokens = max_tokens or _max_tokens(folder)
        self.pad_id = _as_int(folder.read_json("config.json").get("pad_token_id")) or 0
        self._cutting.no_padding()
        self._cutting.enable_truncation(self.max_tokens, strategy="longest_first")

    @cached_property
    def _whole(self) -> Tokenizer:
        """The same without cutting, made when it is first needed: a short question never does."""
        tokenizer = _tokenizer(self._file)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def encode(self, texts: Sequence[str]) -> list[Any]:
        """`tokenizers.Encoding` of each text, cut at `max_tokens`."""
        return list(self._cutting.encode_batch([self._clean(text) for text in texts]))

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Any]:
        """`tokenizers.Encoding` of each pair, cut at `max_tokens`, the longer text first."""
        texts = {text for pair in pairs for text in pair}
        trimmed = {text: self._trimmed(self._clean(text)) for text in texts}
        return list(self._cutting.encode_batch([(trimmed[a], trimmed[b]) for a, b in pairs]))

    def _trimmed(self, text: str) -> str:
        """A very long text without what could not be read anyway.

        The tokenizers library lists every combination of the parts that it leaves out of the two
        texts of a pair: a quadratic number of them.
        """
        if len(text) <= LONG_TEXT * self.max_tokens:
            return text
        encoding = self._whole.encode(text, add_special_tokens=False)
        if len(encoding.ids) <= self.max_tokens:
            return text
        # at a blank behind the last token that may be read, so that no word is tokenised otherwise
        blank = re.compile(r"\s").search(text, encoding.offsets[self.max_tokens][1])
        return text[: blank.start()] if blank else text

    @staticmethod
    def tokens_cut(encoding: Any) -> int:
        """Tokens of a text that `encode` had to leave out, special tokens not counted."""
        return sum(part.special_tokens_mask.count(0) for part in encoding.overflowing)

    @property
    def pair_specials(self) -> int:
        """Tokens that are put around the two texts of a pair."""
        return int(self._cutting.num_special_tokens_to_add(True))

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """(start, end) in characters of each token of each whole text, without special tokens."""
        cleaned = [self._clean(text) for text in texts]
        made = self._whole.encode_batch(cleaned, add_special_tokens=False)
        return [encoding.offsets for encoding in made]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens in each whole text, special tokens included, nothing cut."""
        return [len(e.ids) for e in self._whole.encode_batch([self._clean(t) for t in texts])]

    def _clean(self, text: str) -> str:
        # A lone surrogate cannot be passed on as UTF-8: it becomes "?", as str.encode does.
        cleaned = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
        return cleaned.lower() if self._lower else cleaned


def _tokenizer(file: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ModelError(f"cannot read the tokenizer {file}: {error}") from error


def _max_tokens(folder: ModelFolder) -> int:
    """What sentence-transformers would use, never more than the model has positions for."""
    config = folder.read_json("config.json")
    found = [
        _as_int(folder.read_json("sentence_bert_config.json").get("max_seq_length")),
        _as_int(folder.read_json("tokenizer_config.json").get("model_max_length")),
        _as_int(config.get("max_position_embeddings")),
    ]
    limits = [limit for limit in found if limit and limit < 1_000_000]
    return min(limits, default=DEFAULT_MAX_TOKENS)


def _as_int(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None
