"""Passages -> embeddings -> an index: encoded, or taken from vectors that the user brings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from tqdm import tqdm

from shortlist.errors import DataError, UsageError
from shortlist.models.encoders import Encoder, unit_length
from shortlist.pipeline.topk import FloatArray, check_embeddings
from shortlist.pipeline.vectors import SAMPLE, OwnVectors, check_same_model
from shortlist.records import Passage

PASSAGES_AT_ONCE = 4096  # encoded together: enough to sort by length, little memory
QUIET_SECONDS = 2.0  # a progress bar appears on what takes longer

Batch: TypeAlias = tuple[list[Passage], FloatArray]


@dataclass
class Cuts:
    """Texts that were longer than the model reads, and the tokens of them that it did not see."""

    passages: int = 0
    tokens: int = 0

    def count(self, tokens: int) -> None:
        """Add one text that lost so many tokens."""
        self.passages += 1
        self.tokens += tokens


def encoded(passages: Iterable[Passage], encoder: Encoder, cuts: Cuts, bar: Any) -> Iterator[Batch]:
    """Encode passages as they come, in batches."""
    stream = iter(passages)
    while batch := list(islice(stream, PASSAGES_AT_ONCE)):
        texts = [passage.model_text for passage in batch]
        yield batch, encoder.encode_passages(texts, bar.update, cuts.count)


def with_own_vectors(
    passages: Iterable[Passage], vectors: OwnVectors, encoder: Encoder, bar: Any
) -> Iterator[Batch]:
    """Take each passage's embedding from the user's vectors, and check a sample of every batch.

    Raises:
        DataError: vectors of another model or dimension, or that do not match the passages.
    """
    if vectors.dim != encoder.dim:
        raise DataError(
            f"the embeddings have {vectors.dim} dimensions, those of {encoder.name} {encoder.dim}; "
            "name the model that made them: queries are encoded with it"
        )
    stream = vectors.matched(passages)
    while pairs := list(islice(stream, PASSAGES_AT_ONCE)):
        batch = [passage for passage, _ in pairs]
        rows = np.array([row for _, row in pairs])
        embeddings = check_embeddings(vectors.embeddings[rows], "own embeddings")
        sample = np.linspace(0, len(batch) - 1, min(SAMPLE, len(batch))).astype(int)
        texts = [batch[i].model_text for i in sample]
        check_same_model(encoder, texts, embeddings[sample], "the embeddings")
        bar.update(len(batch))
        yield batch, unit_length(embeddings) if encoder.metric == "cosine" else embeddings


def as_passages(passages: Iterable[str | Passage]) -> Iterator[Passage]:
    """Texts (their ids are "0", "1", ...) and `Passage` records as checked records.

    Raises:
        UsageError: something else; its number is named.
    """
    if isinstance(passages, str):
        raise UsageError("passages must be several texts or Passage records, got one text")
    for number, item in enumerate(passages):
        if isinstance(item, Passage):
            texts = (item.id, item.text, item.title, item.section, item.document_id)
            if not all(isinstance(text, str) for text in texts):
                raise UsageError(f"passage number {number}: its texts must be strings, got {item}")
            yield replace(item, metadata=_plain(item, number)) if item.metadata else item
        elif isinstance(item, str):
            yield Passage(id=str(number), text=item)
        else:
            raise UsageError(
                f"passage number {number} is a {type(item).__name__}; expected a text or a Passage"
            )


def _plain(passage: Passage, number: int) -> dict[str, Any]:
    """Return metadata as it will be read back."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(passage.metadata), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"passage number {number}: its metadata must be what JSON can hold ({error})"
        ) from error
    return plain


def progress_bar(what: str, total: int | None, unit: str, progress: bool | None) -> Any:
    """A bar on stderr for what takes longer than two seconds; None: only on a terminal."""
    disable = None if progress is None else not progress
    return tqdm(total=total, desc=what, unit=f" {unit}", delay=QUIET_SECONDS, disable=disable)
