"""What can be read off an ONNX graph: who reads what, single values, what is never below what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

LEAST_GELU = -0.17  # x * Phi(x) is never less: its minimum is -0.16997, at -0.75179


def names_read(node: NodeProto) -> set[str]:
    """The tensors that a node reads, also within the branches or the loop that it runs."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names |= names_read(inner)
    return names


def has_subgraphs(graph: GraphProto) -> bool:
    """Whether a node has branches or a loop of its own."""
    return any(
        attribute.g.node or attribute.graphs for n in graph.node for attribute in n.attribute
    )


def keep_what_is_read(graph: GraphProto) -> None:
    """Remove the nodes and constants of a graph that no output is made of."""
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read & set(node.output):
            kept.append(node)
            read |= names_read(node)
    tensors = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(tensors)


def single_values(graph: GraphProto) -> dict[str, float]:
    """The constants of a graph that are one number, by name."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                tensors[node.output[0]] = attribute.t
    arrays = {name: numpy_helper.to_array(t) for name, t in tensors.items() if not t.dims}
    return {name: float(array) for name, array in arrays.items()}


def least_values(graph: GraphProto) -> dict[str, float]:
    """What the values of an activation are never below, for those of which it is known.

    A GELU is found as torch exports it, 0.5 * (x * (1 + erf(x / sqrt(2)))), constants included.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    constants = single_values(graph)

    def other(name: str, kind: str, constant: float) -> str | None:
        """The input of a node of that kind whose other one is that constant."""
        node = made_by.get(name)
        if node is None or node.op_type != kind:
            return None
        first, second = node.input
        for one, two in ((first, second), (second, first)):
            if two in constants and np.isclose(constants[two], constant, rtol=1e-6):
                return str(one)
        return None

    def is_gelu(name: str) -> bool:
        product = made_by.get(other(name, "Mul", 0.5) or "")
        if product is None or product.op_type != "Mul":
            return False
        for x, factor in (product.input, reversed(product.input)):
            erf = made_by.get(other(factor, "Add", 1) or "")
            if erf is not None and erf.op_type == "Erf":
                divided = made_by.get(erf.input[0])
                if divided is not None and divided.input[0] == x:
                    return bool(other(erf.input[0], "Div", np.sqrt(2)) == x)
        return False

    least = {node.output[0]: 0.0 for node in graph.node if node.op_type == "Relu"}
    used = {node.input[0] for node in graph.node if node.op_type == "MatMul"}
    return least | {name: LEAST_GELU for name in used if is_gelu(name)}
