"""How far a first pass can be from the score: the inequality that the whole search rests on.

The score of query q and row x is their dot product summed in float64 and rounded to float32. A
first pass computes something cheaper, and for every row of a block

    |score - product| <= by_size * max |x'| + by_residual * max |x - x'|

where x' is the row as the pass has it. With integers, (q - q') x' + q (x - x') and Cauchy and
Schwarz give `by_size` = |q - q'| and `by_residual` = |q|; what floating point adds is in
`ROUNDING`. In float32 x' is x, and any order of summing d products is off by at most gamma_d |q|
|x|, gamma_d = d u / (1 - d u) with u = 2**-24 (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import DataError
from shortlist.pipeline.arrays import FloatArray, Int64Array
from shortlist.pipeline.exact.queries import Queries
from shortlist.pipeline.exact.rounding import LEAST, ROUNDING, UNIT_ROUNDOFF

LARGEST_SCORE = 1e38


@dataclass(frozen=True)
class Bounds:
    """What a block's largest size and residual are multiplied by, float32 `[q]` each, and added."""

    by_size: FloatArray
    by_residual: FloatArray
    added: float

    def of(self, sizes: FloatArray) -> FloatArray:
        """The bound for every query and every row, or the largest for a block of them.

        Args:
            sizes: size and residual of each, float32 `[chunks, 2, n]`.

        Returns:
            float32 `[chunks, q, n]`.
        """
        bound = self.by_size[:, None] * sizes[:, None, 0]
        if sizes[:, 1].any():
            bound += self.by_residual[:, None] * sizes[:, None, 1]
        bound += np.float32(self.added)
        return bound

    def of_rows(self, queries: Int64Array, sizes: FloatArray) -> FloatArray:
        """The bound for pairs of a query and a row, `[m]`; `sizes` are `[2, m]`."""
        bound: FloatArray = self.by_size.take(queries) * sizes[0]
        bound += self.by_residual.take(queries) * sizes[1]
        bound += np.float32(self.added)
        return bound


def integer_bounds(queries: Queries) -> Bounds:
    """Of a product of int8 rows with integer queries."""
    residuals = queries.integers.residuals
    return _bounds(queries, residuals + ROUNDING * queries.norms)


def float_bounds(queries: Queries) -> Bounds:
    """Of a product in float32, summed in whatever order."""
    dim = queries.values.shape[1]
    gamma = dim * UNIT_ROUNDOFF / (1 - dim * UNIT_ROUNDOFF)
    return _bounds(queries, (gamma + ROUNDING) * queries.norms)


def _bounds(queries: Queries, by_size: NDArray[np.float64]) -> Bounds:
    dim = queries.values.shape[1]
    return Bounds(
        by_size=_above(by_size),
        by_residual=_above(queries.norms * (1 + ROUNDING)),
        added=dim * LEAST,
    )


def _above(values: NDArray[np.float64]) -> FloatArray:
    rounded = values.astype(np.float32)
    return np.where(rounded < values, np.nextafter(rounded, np.float32(np.inf)), rounded)


def check_scores(row: float, query: float) -> None:
    """Refuse rows and queries so long that their products leave float32.

    Raises:
        DataError: it says how long they are.
    """
    if row * query > LARGEST_SCORE:
        raise DataError(
            f"queries of length {query:.3g} and rows of {row:.3g} have scores too large for "
            f"float32; expected products up to {LARGEST_SCORE:g}: divide the embeddings by a number"
        )
