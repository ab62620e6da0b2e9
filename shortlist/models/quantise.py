"""A float32 graph -> the same graph with int8 products: a quarter of the weights to move and read.

The weights of a `MatMul` become int8 with one scale for each output column; the activations become
uint8 with one scale for each *row*, computed in the graph: what one token gives then depends on
nothing else in its batch. Stock dynamic quantisation has one scale a batch, so that a text's
embedding moves with the texts beside it. What a GELU or a ReLU gave is hardly or never negative:
nearly all of the steps go to its positive side.

Kept in float32: the products of activations with activations in the attention, the layer norms,
the embeddings' tables, and heads that see one row a text (`Gemm`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shortlist.errors import PrecisionError
from shortlist.models.batches import FloatArray
from shortlist.models.graphs import least_values

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

ZERO_POINT = 128  # of uint8 activations that may be as negative as positive
ZERO_POINT_GELU = 16
LARGEST_INTEGER = 255
LARGEST_WEIGHT = 127
# Where two products are summed in 16 bits, as in AVX2's vpmaddubsw: 2 * 255 * 63 < 2**15.
LARGEST_WEIGHT_SATURATING = 63
SMALLEST_MAXIMUM = 1e-30  # a row of zeros is divided by this


def quantise(model: ModelProto, *, largest_weight: int = LARGEST_WEIGHT) -> None:
    """Rewrite a float32 graph in place as its int8 graph.

    Args:
        model: opset 13 to 17.
        largest_weight: of the int8 weights: `LARGEST_WEIGHT`, or `LARGEST_WEIGHT_SATURATING`.

    Raises:
        PrecisionError: the graph has no product with constant weights.
    """
    from onnx import helper

    graph = model.graph
    weights = _constant_weights(graph)
    if not weights:
        raise PrecisionError("there is no product with constant weights to make int8; use float32")
    rewriting = _Rewriting(weights, least_values(graph), largest_weight)
    for node in graph.node:
        rewriting.take(node)
    used = {name for node in rewriting.nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(rewriting.nodes)
    graph.initializer.extend([*kept, *rewriting.tensors])
    if not any(opset.domain == "com.microsoft" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def quantised_columns(
    weight: FloatArray, largest: int = LARGEST_WEIGHT
) -> tuple[NDArray[np.int8], FloatArray]:
    """A weight matrix `[k, n]` as int8 `[k, n]` and one scale for each column, float32 `[n]`."""
    scales = np.abs(weight).max(axis=0) / largest
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    return np.rint(weight / scales).clip(-largest, largest).astype(np.int8), scales


def _constant_weights(graph: GraphProto) -> dict[str, FloatArray]:
    from onnx import TensorProto, numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    used = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    return {
        name: numpy_helper.to_array(tensors[name])
        for name in used & tensors.keys()
        if tensors[name].data_type == TensorProto.FLOAT and len(tensors[name].dims) == 2
    }


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
        self, weights: dict[str, FloatArray], least: dict[str, float], largest_weight: int
    ) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: list[Any] = []
        self._weights = weights
        self._largest_weight = largest_weight
        self._least = least
        self._rows: dict[str, _Rows] = {}
        self._done: set[str] = set()

    def take(self, node: NodeProto) -> None:
        """Keep a node as it is, or replace a product with constant weights."""
        if node.op_type != "MatMul" or node.input[1] not in self._weights:
            self.nodes.append(node)
            return
        rows = self._quantised_rows(node.input[0])
        weight, scales, zeros = self._quantised_weight(node.input[1])
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

    def _quantised_weight(self, name: str) -> tuple[str, str, str]:
        names = f"{name}/int8", f"{name}/scales", f"{name}/zeros"
        if name not in self._done:
            integers, scales = quantised_columns(self._weights[name], self._largest_weight)
            for key, array in zip(
                names, (integers, scales, np.zeros_like(integers[0])), strict=True
            ):
                self._constant(key, array)
            self._done.add(name)
        return names

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
