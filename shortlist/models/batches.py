"""Batches that waste little or nothing on padding: texts by length, up to a token budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float32]

TOKENS_PER_BATCH = 512  # activations of a batch this size stay in the cache of a CPU core


class Encoding(Protocol):
    """The part of `tokenizers.Encoding` that is used."""

    ids: list[int]
    type_ids: list[int]


def batches_by_length(
    lengths: Sequence[int],
    tokens_per_batch: int = TOKENS_PER_BATCH,
    min_batches: int = 1,
    *,
    one_length: bool = False,
) -> list[Int64Array]:
    """Cut texts into batches of similar length, or of the same.

    Args:
        lengths: tokens in each text, `[n]`.
        tokens_per_batch: texts in a batch times its longest text stays at or below this number,
            unless a single text is longer.
        min_batches: make at least this many batches where there are as many texts, so that a
            small job keeps every core busy.
        one_length: whether all texts of a batch must have the same, so that nothing is padded.

    Returns:
        Positions of the texts, longest first: the peak of memory comes at once, and the last
        batches are short, so that parallel workers finish together.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    most = max(1, len(order) // max(1, min_batches))
    changes = np.flatnonzero(np.diff(sizes[order])) + 1 if one_length else np.empty(0, np.int64)
    batches: list[Int64Array] = []
    for group in np.split(order, changes):
        start = 0
        while start < len(group):
            longest = max(1, int(sizes[group[start]]))
            size = min(most, max(1, tokens_per_batch // longest))
            batches.append(group[start : start + size])
            start += size
    return batches


def pad(encodings: Sequence[Encoding], pad_id: int) -> dict[str, Int64Array]:
    """Stack encodings into the three arrays that BERT-like models take, int64 `[b, longest]`."""
    longest = max(1, *(len(encoding.ids) for encoding in encodings))
    shape = (len(encodings), longest)
    ids = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    types = np.zeros(shape, dtype=np.int64)
    for row, encoding in enumerate(encodings):
        length = len(encoding.ids)
        ids[row, :length] = encoding.ids
        mask[row, :length] = 1
        types[row, :length] = encoding.type_ids
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def each_alone(encodings: Sequence[Encoding], pad_id: int) -> list[dict[str, Int64Array]]:
    """Every text as a batch of its own."""
    return [pad([encoding], pad_id) for encoding in encodings]


def of_one_length(encodings: Sequence[Encoding]) -> list[dict[str, Int64Array]]:
    """A batch of the two longest texts, cut to one length, and every text as a batch of its own."""
    alone = each_alone(encodings, 0)
    first, second = sorted(alone, key=lambda one: -one["input_ids"].shape[1])[:2]
    length = second["input_ids"].shape[1]
    both = {key: np.concatenate([first[key][:, :length], second[key]]) for key in first}
    return [both, *alone]


def run_batches(
    run: Callable[[dict[str, Int64Array]], FloatArray],
    encodings: Sequence[Encoding],
    *,
    width: int,
    pad_id: int,
    workers: int,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    one_length: bool = False,
    on_batch: Callable[[int], Any] | None = None,
) -> FloatArray:
    """Run a model over encoded texts and put the rows back into the order of the input.

    Args:
        run: arrays of one batch -> float32 `[b, width]`; called from several threads.
        encodings: `n` encoded texts.
        width: columns of the model's output.
        pad_id: the token that fills short rows.
        workers: batches in flight.
        tokens_per_batch: see `batches_by_length`.
        one_length: see there; else short rows are padded.
        on_batch: told the number of texts after each batch, for a progress bar.

    Returns:
        float32 `[n, width]`.
    """
    out = np.empty((len(encodings), width), dtype=np.float32)
    if not encodings:
        return out
    lengths = [len(encoding.ids) for encoding in encodings]

    def work(rows: Int64Array) -> int:
        out[rows] = run(pad([encodings[row] for row in rows], pad_id))
        return len(rows)

    batches = batches_by_length(
        lengths, tokens_per_batch, min_batches=workers, one_length=one_length
    )
    if workers == 1 or len(batches) == 1:
        done = map(work, batches)
        for count in done:
            if on_batch:
                on_batch(count)
        return out
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, rows) for rows in batches]
        try:
            for future in futures:
                count = future.result()
                if on_batch:
                    on_batch(count)
        except BaseException:  # Ctrl-C as well: do not run what is still queued
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return out
