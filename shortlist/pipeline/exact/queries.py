"""A block of queries as the first passes take them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.models.saturation import products_saturate
from shortlist.pipeline.arrays import FloatArray

LARGEST = 127  # of int8
# Where the sum of two products goes through 16 bits: 2 * 127 * 127 < 2**15, as uint8 around 64.
LARGEST_SATURATING = 63


@dataclass(frozen=True)
class IntegerQueries:
    """Queries rounded to integers.

    Attributes:
        values: uint8 `[q, dim]`, around `zero_point`.
        zero_point: what stands for 0.
        steps: float32 `[q]`, what one integer is worth.
        residuals: float64 `[q]`, at least the norm of what rounding took away.
    """

    values: NDArray[np.uint8]
    zero_point: int
    steps: FloatArray
    residuals: NDArray[np.float64]

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """The inputs of onnxruntime's product."""
        import onnxruntime

        zero_point = np.array(self.zero_point, np.uint8)
        given = {"queries": self.values, "zero_point": zero_point}
        make = onnxruntime.OrtValue.ortvalue_from_numpy
        return {name: make(array) for name, array in given.items()}


@dataclass(frozen=True)
class Queries:
    """Some queries, float32 `[q, dim]`."""

    values: FloatArray

    @cached_property
    def wide(self) -> NDArray[np.float64]:
        """The queries in float64."""
        return self.values.astype(np.float64)

    @cached_property
    def norms(self) -> NDArray[np.float64]:
        """At least the norm of each query."""
        return np.asarray(np.sqrt(np.vecdot(self.wide, self.wide)) * (1 + 1e-9))

    @cached_property
    def integers(self) -> IntegerQueries:
        """The queries rounded, each with its own step."""
        largest = integer_range()
        steps = (np.abs(self.values).max(axis=1, initial=0) / largest).astype(np.float32)
        steps = np.where(steps > 0, steps, np.float32(1)).astype(np.float32)
        wide = self.wide
        rounded = np.rint(wide / steps[:, None]).clip(-largest, largest)
        rest = wide - rounded * steps[:, None].astype(np.float64)
        zero_point = largest + 1
        return IntegerQueries(
            values=(rounded + zero_point).astype(np.uint8),
            zero_point=zero_point,
            steps=steps,
            residuals=np.sqrt(np.vecdot(rest, rest)) * (1 + 1e-9),
        )


def integer_range() -> int:
    """The largest integer of a query that this CPU multiplies rightly."""
    return LARGEST_SATURATING if products_saturate() else LARGEST
