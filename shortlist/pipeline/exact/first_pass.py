"""Rows that a first pass multiplies with many queries at once: as they are, or rounded to int8.

Both give approximate products and, for each row, what `bounds` needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shortlist.pipeline.arrays import BoolArray, FloatArray, Int64Array
from shortlist.pipeline.exact.bounds import Bounds, float_bounds, integer_bounds
from shortlist.pipeline.exact.queries import LARGEST, Queries
from shortlist.pipeline.exact.rounding import ROUNDING, UNIT_ROUNDOFF
from shortlist.pipeline.exact.rows import sizes

BLOCK_ROWS = 32  # of which the largest product alone is looked at first
STRIP_ROWS = 1_024  # that are rounded with one step where the rows of a chunk differ much
PIECE_ROWS = 1_024  # that are rounded at once, in the cache; divides a strip
STEEP = 2  # times their mean, of the largest values of rows: what one step for all is good for
HIDDEN = -(2**30)  # the integer product of a row that may not be found
LARGEST_INTEGER_PRODUCT = 2**31 - 1


class Kind(Enum):
    """The two first passes."""

    FLOATS = "float32"
    INTEGERS = "int8"

    @property
    def hidden(self) -> float:
        """The product of a row that may not be found."""
        return HIDDEN if self is Kind.INTEGERS else -np.inf

    @property
    def largest(self) -> float:
        """What no product is above."""
        return LARGEST_INTEGER_PRODUCT if self is Kind.INTEGERS else np.inf

    @property
    def dtype(self) -> type[np.int32] | type[np.float32]:
        """Of the products."""
        return np.int32 if self is Kind.INTEGERS else np.float32

    def units(self, queries: Queries) -> FloatArray:
        """What a product of 1 with a step of 1 is worth, float32 `[q]`."""
        if self is Kind.INTEGERS:
            return queries.integers.steps
        return np.ones(len(queries.values), np.float32)

    def bounds(self, queries: Queries) -> Bounds:
        """How far the products can be from the scores."""
        return integer_bounds(queries) if self is Kind.INTEGERS else float_bounds(queries)


class Chunk:
    """Rows that are multiplied together, in strips of equal length.

    Attributes:
        kind: for which first pass.
        width: columns of the products; those beyond the rows are hidden.
        steps: what an integer of each strip is worth, float32 `[strips]`.
        sizes: at least the norm of each row as this pass has it, and of what it leaves out of it:
            float32 `[2, width]`, 0 beyond the rows.
        numbers: the number in the collection of each row, int64 `[rows]`.
    """

    kind: Kind

    def __init__(self, width: int, steps: FloatArray, numbers: Int64Array) -> None:
        self.width = width
        self.steps = steps
        self.numbers = numbers
        self.sizes = np.zeros((2, width), np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Strips, and columns of each."""
        return len(self.steps), self.width // len(self.steps)

    @cached_property
    def largest_of_strips(self) -> FloatArray:
        """Of `sizes`, float32 `[2, strips]`."""
        largest: FloatArray = self.sizes.reshape(2, *self.shape).max(axis=-1)
        return largest

    @cached_property
    def _largest_of_blocks(self) -> FloatArray:
        return largest_of_blocks(self.sizes.reshape(2, *self.shape), BLOCK_ROWS)

    def largest_of_blocks(self, block_rows: int) -> FloatArray:
        """Of `sizes`, float32 `[2, strips, blocks]`."""
        if block_rows == BLOCK_ROWS:
            return self._largest_of_blocks
        return largest_of_blocks(self.sizes.reshape(2, *self.shape), block_rows)

    def cap(self, allowed: BoolArray) -> NDArray[Any]:
        """What hides the other rows: no product may be above it, `[width]`."""
        cap = np.full(self.width, self.kind.hidden, self.kind.dtype)
        cap[: len(self.numbers)][allowed[self.numbers]] = self.kind.largest
        return cap

    @cached_property
    def last_number(self) -> int:
        """The largest number of a row."""
        return int(self.numbers.max())

    @cached_property
    def largest_size(self) -> float:
        """The largest norm of a row."""
        return float(self.sizes[0].max())

    def write_products(self, queries: Queries, cap: NDArray[Any] | None, out: NDArray[Any]) -> None:
        """Write the products `[q, width]`, in units of the kind times the step of the strip."""
        self._multiply(queries, out)
        out[:, len(self.numbers) :] = self.kind.hidden
        if cap is not None:
            np.minimum(out, cap, out=out)

    def _multiply(self, queries: Queries, out: NDArray[Any]) -> None:
        raise NotImplementedError


class FloatChunk(Chunk):
    """Rows as they are, multiplied by BLAS. They are read when they are multiplied, and not kept.

    Args:
        read: returns the rows, float32 `[n, dim]`.
        numbers: see `Chunk`.
        size: at least the norm of each, if known; else that is found out when they are read.
        zeros: whether rows of zeros are taken.
    """

    kind = Kind.FLOATS

    def __init__(
        self,
        read: Callable[[], FloatArray],
        numbers: Int64Array,
        size: FloatArray | None = None,
        *,
        zeros: bool = True,
    ) -> None:
        super().__init__(up_to(len(numbers), BLOCK_ROWS), np.ones(1, np.float32), numbers)
        self._read = read
        self._zeros = zeros
        self.is_known = size is not None
        if size is not None:
            self.sizes[0, : len(size)] = size

    def _multiply(self, queries: Queries, out: NDArray[Any]) -> None:
        rows = self._read()
        if not self.is_known:
            self.sizes[0, : len(rows)] = sizes(rows, self.numbers, zeros=self._zeros)
            self.is_known = True
        with np.errstate(over="ignore", invalid="ignore"):  # it is refused afterwards
            np.matmul(queries.values, rows.T, out=out[:, : len(rows)])


class IntegerChunk(Chunk):
    """Rows rounded to int8, packed for onnxruntime's product of bytes.

    They are sorted by their largest value, so that those of a strip lose little by having one step;
    large ones make no other strip coarse.

    Args:
        rows: float32 `[n, dim]`; not kept.
        first: the number of the first in the collection; the others follow.
        zeros: whether rows of zeros are taken.

    Raises:
        DataError: a row with NaN or infinite values, or one of zeros.
    """

    kind = Kind.INTEGERS

    def __init__(self, rows: FloatArray, first: int, *, zeros: bool = True) -> None:
        count, dim = rows.shape
        size = sizes(rows, np.arange(first, first + count), zeros=zeros)
        largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
        order = np.argsort(-largest, kind="stable")
        is_steep = count > STRIP_ROWS and largest[order[0]] > STEEP * largest.mean()
        width = up_to(count, STRIP_ROWS if is_steep else BLOCK_ROWS)
        length = STRIP_ROWS if is_steep else width
        super().__init__(width, np.ones(width // length, np.float32), first + order)
        columns = np.zeros((dim, width), np.int8)
        tops = largest[order[::length]]
        self.steps[tops > 0] = np.maximum(tops[tops > 0] / LARGEST, np.finfo(np.float32).tiny)
        for start in range(0, count, PIECE_ROWS):
            some = order[start : start + PIECE_ROWS]
            part = slice(start, start + len(some))
            step = self.steps[start // length]
            taken = rows[some]
            integers = np.rint(taken / step)
            columns[:, part] = integers.astype(np.int8).T
            integers *= step
            taken -= integers
            # what was just computed is off by the rounding of float32 itself
            left = sizes(taken, first + some) + np.float32(4 * UNIT_ROUNDOFF) * size[some]
            self.sizes[:, part] = (size[some] + left) * np.float32(1 + ROUNDING), left
        self._session, self._kept = _packed(columns)

    def _multiply(self, queries: Queries, out: NDArray[Any]) -> None:
        import onnxruntime

        binding = self._session.io_binding()
        for name, value in queries.integers.inputs.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output("products", onnxruntime.OrtValue.ortvalue_from_numpy(out))
        self._session.run_with_iobinding(binding)


def largest_of_blocks(values: NDArray[Any], block_rows: int) -> NDArray[Any]:
    """The largest of every strided block, `[..., blocks]` of `[..., columns]`."""
    *others, columns = values.shape
    if block_rows == 1:
        return values
    blocks = values.reshape(*others, block_rows, columns // block_rows)
    largest: NDArray[Any] = np.maximum.reduce(blocks, axis=-2)
    return largest


def up_to(rows: int, multiple: int) -> int:
    """The next multiple, or that number of rows itself."""
    return -(-rows // multiple) * multiple


def _packed(columns: NDArray[np.int8]) -> tuple[Any, NDArray[np.int8] | None]:
    """A session that does not read `columns` any more, so that they may go.

    The second is what it reads instead, if anything.

    onnxruntime rearranges constant columns for its kernel. It refers to the ones given as well, but
    where it has rearranged them it has no use for them: that is tried out here.
    """
    session = _session(columns)
    given = {
        "queries": np.full((1, len(columns)), 2, np.uint8),
        "zero_point": np.array(1, np.uint8),
    }
    expected = columns.sum(axis=0, dtype=np.int32)
    kept = columns[:, :BLOCK_ROWS].copy()
    columns[:, :BLOCK_ROWS] = ~kept
    if np.array_equal(session.run(None, given)[0][0], expected):
        return session, None
    columns[:, :BLOCK_ROWS] = kept
    columns = columns.copy()
    return _session(columns), columns


def _session(columns: NDArray[np.int8]) -> Any:
    """A session of one thread: int32 `products` of uint8 `queries` around `zero_point`."""
    import onnxruntime
    from onnx import TensorProto, helper

    dim, width = columns.shape
    outside = TensorProto(
        name="columns",
        dims=columns.shape,
        data_type=TensorProto.INT8,
        data_location=TensorProto.EXTERNAL,  # handed over beside the model, without a copy
    )
    outside.external_data.add(key="location", value="columns")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["queries", "columns", "zero_point"], ["products"])],
        "products",
        [
            helper.make_tensor_value_info("queries", TensorProto.UINT8, [None, dim]),
            helper.make_tensor_value_info("zero_point", TensorProto.UINT8, []),
        ],
        [helper.make_tensor_value_info("products", TensorProto.INT32, [None, width])],
        [outside],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would keep what a large block of queries needed
    value = onnxruntime.OrtValue.ortvalue_from_numpy(columns)
    options.add_external_initializers(["columns"], [value])
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
