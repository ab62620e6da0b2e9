"""A float32 graph -> the same graph with int8 products: a quarter of the weights to move and read.

The weights of a `MatMul` become int8 with one scale for each output column; the activations become
uint8 in one of two ways, in both of which what one token gives depends on nothing else in its
batch. (Stock dynamic quantisation has one scale a batch, so that a text's embedding moves with the
texts beside it.)

What a layer norm gave has the same size in every text, column by column: one scale for each column
is fixed here, from the largest values seen on real text, and the weights' rows take up the other
part of it, as in SmoothQuant (https://arxiv.org/abs/2211.10438). The product is then a number as it
stands, its bias added within. What an attention or an activation function gave varies: it has one
scale for each *row*, computed in the graph. What a GELU or a ReLU gave is hardly or never negative:
nearly all of its steps go to its positive side.

Kept in float32: the products of activations with activations in the attention, the layer norms,
the embeddings' tables, and heads that see one row a text (`Gemm`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import PrecisionError
from shortlist.models.batches import FloatArray
from shortlist.models.graphs import keep_what_is_read, least_values, names_read

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

ZERO_POINT = 128  # of uint8 activations that may be as negative as positive
ZERO_POINT_GELU = 16
LARGEST_INTEGER = 255
LARGEST_WEIGHT = 127
# Where two products are summed in 16 bits, as in AVX2's vpmaddubsw: 2 * 255 * 63 < 2**15.
LARGEST_WEIGHT_SATURATING = 63
SMALLEST_MAXIMUM = 1e-30  # a row of zeros is divided by this

# How much of a column's size its scale takes up, and not the weights' row: where the products of
# two MiniLMs are nearest to float32 is between 0.7 and 0.8, almost everywhere.
SMOOTHING = 0.75
MARGIN = 1.1  # room for values above the largest that was seen; what is still above is cut
SMALLEST_SIZE = 1e-6  # of a column of which nothing at all was seen
LEAST_OF_MEDIAN = 0.2  # a column that was hardly in use is taken for as large as this


def quantise(
    model: ModelProto,
    *,
    largest_weight: int = LARGEST_WEIGHT,
    maxima: Mapping[str, FloatArray] | None = None,
) -> None:
    """Rewrite a float32 graph in place as its int8 graph.

    Args:
        model: opset 13 to 17.
        largest_weight: of the int8 weights: `LARGEST_WEIGHT`, or `LARGEST_WEIGHT_SATURATING`.
        maxima: the largest size of each column, `[k]`, of the activations that get fixed scales,
            by name (see `ranges.column_maxima`); the others have a scale for each row.

    Raises:
        PrecisionError: the graph has no product with constant weights.
    """
    from onnx import helper

    graph = model.graph
    weights = constant_weights(graph)
    if not weights:
        raise PrecisionError("there is no product with constant weights to make int8; use float32")
    rewriting = _Rewriting(
        weights, least_values(graph), largest_weight, fixed_columns(graph, weights, maxima or {})
    )
    biases = _biases(graph, weights)
    for node in graph.node:
        rewriting.take(node, biases.get(node.output[0]))
    del graph.node[:]
    graph.node.extend(rewriting.nodes)
    graph.initializer.extend(rewriting.tensors)
    keep_what_is_read(graph)
    if not any(opset.domain == "com.microsoft" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def quantised_columns(
    weight: FloatArray, largest: int = LARGEST_WEIGHT
) -> tuple[NDArray[np.int8], FloatArray]:
    """A weight matrix `[k, n]` as int8 `[k, n]` and one scale for each column, float32 `[n]`."""
    scales = np.abs(weight).max(axis=0) / largest
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    return np.rint(weight / scales).clip(-largest, largest).astype(np.int8), scales


def constant_weights(graph: GraphProto) -> dict[str, FloatArray]:
    """The float32 matrices that activations are multiplied by, `[k, n]`, by name."""
    from onnx import TensorProto, numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    used = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    return {
        name: numpy_helper.to_array(tensors[name])
        for name in used & tensors.keys()
        if tensors[name].data_type == TensorProto.FLOAT and len(tensors[name].dims) == 2
    }


def fixed_columns(
    graph: GraphProto, weights: Mapping[str, FloatArray], maxima: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """What each column of an activation is multiplied by to fill the range of int8, `[k]`.

    Args:
        graph: whose products read the activations.
        weights: `[k, n]` by name.
        maxima: the largest size of each column, by the activation's name.
    """
    readers: dict[str, list[FloatArray]] = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[0] in maxima and node.input[1] in weights:
            readers.setdefault(node.input[0], []).append(weights[node.input[1]])
    return {name: _columns(maxima[name], read) for name, read in readers.items()}


def _columns(maxima: FloatArray, read: list[FloatArray]) -> FloatArray:
    sizes = _at_least_some(maxima)
    rows = _at_least_some(np.max([np.abs(weight).max(axis=1) for weight in read], axis=0))
    smoothing = sizes**SMOOTHING / rows ** (1 - SMOOTHING)
    largest = float((sizes / smoothing).max()) * MARGIN
    columns: FloatArray = ((LARGEST_INTEGER - ZERO_POINT) / largest / smoothing).astype(np.float32)
    return columns


def _at_least_some(sizes: FloatArray) -> FloatArray:
    least = max(LEAST_OF_MEDIAN * float(np.median(sizes)), SMALLEST_SIZE)
    raised: FloatArray = np.maximum(sizes, np.float32(least))
    return raised


def _biases(graph: GraphProto, weights: Mapping[str, FloatArray]) -> dict[str, tuple[str, str]]:
    """Products to which a constant row is added, and nothing else done: (the row, the sum)."""
    widths = {tensor.name: tensor.dims[0] for tensor in graph.initializer if len(tensor.dims) == 1}
    handed_out = {value.name for value in graph.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in names_read(node):
            readers.setdefault(name, []).append(node)
    biases = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            width = weights[node.input[1]].shape[1]
            reading = readers.get(node.output[0], [])
            alone = [reader.op_type for reader in reading] == ["Add"]
            if alone and node.output[0] not in handed_out:
                for name in reading[0].input:
                    if widths.get(name) == width:
                        biases[node.output[0]] = name, reading[0].output[0]
    return biases


@dataclass(frozen=True)
class _Rows:
    """Names of an activation's uint8 rows, of what they are scaled by, and of their constants."""

    integers: str
    maxima: str
    step: str
    zero_point: str


class _Rewriting:
    """The new nodes and tensors of a graph, as its old nodes are taken one after the other."""

    def __init__(
        self,
        weights: dict[str, FloatArray],
        least: dict[str, float],
        largest_weight: int,
        columns: dict[str, FloatArray],
    ) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: list[Any] = []
        self._weights = weights
        self._largest_weight = largest_weight
        self._least = least
        self._columns = columns
        self._rows: dict[str, _Rows] = {}
        self._done: set[str] = set()  # tensors and nodes that are there already

    def take(self, node: NodeProto, bias: tuple[str, str] | None) -> None:
        """Keep a node as it is, or replace a product with constant weights.

        Args:
            node: the next one.
            bias: what is added to it where it is a product, and the name of that sum.
        """
        if node.output[0] in self._done:
            return
        if node.op_type != "MatMul" or node.input[1] not in self._weights:
            self.nodes.append(node)
        elif node.input[0] in self._columns:
            self._fixed(node, bias)
        else:
            self._by_rows(node)

    def _fixed(self, node: NodeProto, bias: tuple[str, str] | None) -> None:
        activation, weight = node.input
        one, zero = self._shared("one", 1, np.float32), self._shared("zero", ZERO_POINT, np.uint8)
        integers = self._quantised_columns(activation, one, zero)
        rows = self._weights[weight] / self._columns[activation][:, None]
        names = self._quantised_weight(f"{weight}/{activation}", rows)
        inputs = [integers, names[0], one, names[1], zero, names[2]]
        output = node.output[0]
        if bias:
            row, output = bias
            inputs.append(row)
            self._done.add(output)
        self._add("MatMulIntegerToFloat", inputs, output, domain="com.microsoft")

    def _quantised_columns(self, activation: str, one: str, zero: str) -> str:
        """An activation's uint8 values, made once for all its uses."""
        scaled, integers = f"{activation}/scaled", f"{activation}/uint8"
        if integers not in self._done:
            columns = self._constant(f"{activation}/columns", self._columns[activation])
            self._add("Mul", [activation, columns], scaled)
            self._add("QuantizeLinear", [scaled, one, zero], integers)
            self._done.add(integers)
        return integers

    def _by_rows(self, node: NodeProto) -> None:
        rows = self._quantised_rows(node.input[0])
        weight, scales, zeros = self._quantised_weight(node.input[1], self._weights[node.input[1]])
        product = node.output[0] + "/int8"
        self._add(
            "MatMulIntegerToFloat",
            [rows.integers, weight, rows.step, scales, rows.zero_point, zeros],
            product,
            domain="com.microsoft",
        )
        self._add("Mul", [product, rows.maxima], node.output[0])

    def _quantised_rows(self, activation: str) -> _Rows:
        """An activation's uint8 rows, made once for all its uses."""
        if activation in self._rows:
            return self._rows[activation]
        least = self._least.get(activation)
        zero_point = ZERO_POINT if least is None else ZERO_POINT_GELU if least < 0 else 0
        steps = LARGEST_INTEGER - zero_point  # from zero to the largest of its row
        size, maxima, unit, integers = (
            f"{activation}/{part}" for part in ("size", "maxima", "unit", "uint8")
        )
        if least is None:
            self._add("Abs", [activation], size)
        # the least value must not fall below the integer 0; a row of zeros is divided as well
        smallest = max(SMALLEST_MAXIMUM, -(least or 0) * steps / max(zero_point, 1))
        floor = self._constant(f"{activation}/smallest", np.array(smallest, np.float32))
        whole = activation if least is not None else size
        self._add("ReduceMax", [whole], maxima + "/raw", axes=[-1], keepdims=1)
        self._add("Max", [maxima + "/raw", floor], maxima)
        self._add("Div", [activation, maxima], unit)
        step = self._constant(f"{activation}/step", np.array(1 / steps, np.float32))
        zero = self._constant(f"{activation}/zero_point", np.array(zero_point, np.uint8))
        self._add("QuantizeLinear", [unit, step, zero], integers)
        self._rows[activation] = _Rows(integers, maxima, step, zero)
        return self._rows[activation]

    def _quantised_weight(self, name: str, weight: FloatArray) -> tuple[str, str, str]:
        names = f"{name}/int8", f"{name}/scales", f"{name}/zeros"
        if name not in self._done:
            integers, scales = quantised_columns(weight, self._largest_weight)
            for key, array in zip(
                names, (integers, scales, np.zeros_like(integers[0])), strict=True
            ):
                self._constant(key, array)
            self._done.add(name)
        return names

    def _shared(self, name: str, value: float, kind: type) -> str:
        """A constant of one number that many nodes read."""
        name = f"quantised/{name}"
        if name not in self._done:
            self._constant(name, np.array(value, kind))
            self._done.add(name)
        return name

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
