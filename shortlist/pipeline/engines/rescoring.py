"""The order of the true scores, of what an engine found.

An engine's distances are rounded, or those of compressed vectors. Reading every row again to add it
up in float64 takes longer than a graph takes to notice it. But a float32 sum of d products is off
by no more than gamma_d times the lengths of both vectors (Higham, "Accuracy and Stability of
Numerical Algorithms", 2002, section 3.1): where two products are further apart than twice that,
their order is certain. Only rows that are nearer to each other than that are looked at again.
"""

from __future__ import annotations

import numpy as np

from shortlist.pipeline.arrays import BoolArray, FloatArray, Int64Array
from shortlist.pipeline.engines.protocol import Multiply
from shortlist.pipeline.exact.ranking import Ranking, products_of, scores_of
from shortlist.pipeline.exact.rounding import UNIT_ROUNDOFF
from shortlist.pipeline.exact.rows import Rows

MANY = 1.5  # times as many rows as are wanted: then it is worth multiplying in float32 first
_SLACK = 1.01  # for the lengths of rows that are stored as float16, and of unit ones


def best_of(
    queries: FloatArray,
    rows: Rows,
    found: Int64Array,
    products: FloatArray | None,
    top_k: int,
    longest: float,
    multiply: Multiply = products_of,
) -> Ranking:
    """The best `top_k` rows of each query, of those that an engine found, as by their true scores.

    Args:
        queries: float32 `[q, dim]`.
        rows: all rows.
        found: numbers of rows `[q, w]`, -1 where there is none.
        products: dot products summed in float32 `[q, w]`, where the engine says them.
        top_k: k.
        longest: length of the longest row.
        multiply: makes such products.

    Returns:
        With true scores, or such as are off by the rounding of float32 and change no order.
    """
    if products is None and found.shape[1] > MANY * top_k:
        products = multiply(queries, rows, np.maximum(found, 0))
    ranking = Ranking(len(queries), top_k)
    if products is None:
        scores = products_of(queries.astype(np.float64), rows, np.maximum(found, 0))
        ranking.merge_table(found, scores.astype(np.float32))
    else:
        ranking.merge_table(*_settled(queries, rows, found, products, top_k, longest))
    return ranking


def _settled(
    queries: FloatArray,
    rows: Rows,
    found: Int64Array,
    products: FloatArray,
    top_k: int,
    longest: float,
) -> tuple[Int64Array, FloatArray]:
    """Rows with scores in the order of the true ones, of all that can be among the best."""
    products = np.where(found < 0, -np.inf, products)
    order = np.argsort(-products, axis=1)
    found = np.take_along_axis(found, order, axis=1)
    products = np.take_along_axis(products, order, axis=1)
    lengths = np.sqrt(np.vecdot(queries, queries, dtype=np.float64))
    apart = 2 * _SLACK * _gamma(queries.shape[1]) * longest * lengths
    with np.errstate(invalid="ignore"):  # of two places without a row
        close = products[:, :-1] - products[:, 1:] <= apart[:, None]
    width = _needed(close, top_k)
    found, products, close = found[:, :width], products[:, :width], close[:, : width - 1]
    unclear = np.zeros(found.shape, np.bool_)
    unclear[:, :-1] |= close
    unclear[:, 1:] |= close
    unclear &= found >= 0
    of, column = np.nonzero(unclear)
    numbers = found[of, column]
    products[of, column] = scores_of(queries.astype(np.float64), rows, of, numbers)
    return found, products


def _needed(close: BoolArray, top_k: int) -> int:
    """Columns up to one behind which, for every query, no row can be among the best."""
    width: int = close.shape[1] + 1
    if width <= top_k:
        return width
    behind = close[:, top_k - 1 :]
    more = np.where(behind.all(axis=1), width - top_k, behind.argmin(axis=1))
    return int(top_k + more.max(initial=0))


def _gamma(dim: int) -> float:
    error = dim * UNIT_ROUNDOFF
    return error / (1 - error)
