"""Embeddings as arrays: their types, and the door where bad ones are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DataError

FloatArray = NDArray[np.float32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether values of a type are real numbers."""
    return dtype.kind in "biuf"


def check_embeddings(embeddings: Any, what: str) -> FloatArray:
    """Return embeddings as C-contiguous float32 `[n, dim]`.

    Raises:
        DataError: not two-dimensional, not numbers, or NaN or infinity in a row, which is named.
    """
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            array = np.ascontiguousarray(embeddings, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: expected an array of numbers [n, dim] ({error})") from error
    if array.ndim != 2:
        raise DataError(f"{what}: expected an array [n, dim], got shape {array.shape}")
    check_finite(array, what)
    return array


def check_finite(array: FloatArray, what: str, numbers: Int64Array | None = None) -> None:
    """Refuse NaN and infinity; `numbers` are those of the rows, if not their places.

    Raises:
        DataError: it names the row.
    """
    # A row's sum is finite unless a value is not: one pass without a copy.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(array.sum(axis=1, dtype=np.float64)))
    for row in suspects:
        number = row if numbers is None else numbers[row]
        raise DataError(f"{what}: row {number} has NaN or infinite values; encode that text again")


def check_not_zero(array: FloatArray, what: str, numbers: Int64Array | None = None) -> None:
    """Refuse rows of zeros, which are similar to nothing.

    Raises:
        DataError: it names the row.
    """
    for row in np.flatnonzero(~array.any(axis=1)):
        number = row if numbers is None else numbers[row]
        raise DataError(
            f"{what}: row {number} is all zeros, so that no score of it means anything; leave it "
            "out, or encode that text again"
        )
