"""How large the columns of a graph's layer norms get on real text: what fixed int8 scales need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shortlist.models.batches import FloatArray, Int64Array
from shortlist.models.graph_cache import opened, save
from shortlist.models.quantise import constant_weights

if TYPE_CHECKING:
    from onnx import GraphProto


def normed_activations(graph: GraphProto) -> list[str]:
    """The outputs of layer norms, or parts of them, that products with constant weights read."""
    made_by = {name: node for node in graph.node for name in node.output}
    weights = constant_weights(graph)

    def is_normed(name: str) -> bool:
        node = made_by.get(name)
        while node is not None and node.op_type == "Slice":  # the first token of each text
            node = made_by.get(node.input[0])
        return node is not None and node.op_type == "LayerNormalization"

    read = [n.input[0] for n in graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    return [name for name in dict.fromkeys(read) if is_normed(name)]


def column_maxima(
    full: Path, home: Path, batches: Iterable[dict[str, Int64Array]]
) -> dict[str, FloatArray]:
    """The largest size of each column of what a graph's layer norms hand on, by name, `[k]`.

    Args:
        full: the file of a float32 graph.
        home: a folder to write a copy of it into, which has these activations as outputs.
        batches: without padding, whose values mean nothing.

    Raises:
        ExportError: onnxruntime cannot read the copy.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(full))
    names = normed_activations(model.graph)
    if not names:
        return {}
    for name in names:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = opened(save(model, home))
    taken = {node.name for node in session.get_inputs()}
    maxima: dict[str, FloatArray] = {}
    for batch in batches:
        inputs = {key: array for key, array in batch.items() if key in taken}
        for name, values in zip(names, session.run(names, inputs), strict=True):
            sizes = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            maxima[name] = np.maximum(maxima.get(name, 0), sizes)
    return maxima
