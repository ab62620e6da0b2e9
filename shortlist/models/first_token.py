"""A graph whose output reads the first token only, without the work that nobody reads.

A cross-encoder, and a bi-encoder with CLS pooling, take one row of the last layer's output: its
queries, its feed-forward network and its norms need that row alone; keys and values need them all.
Which nodes those are is found from the end of the graph backwards: a tensor of which every reader
wants the first token is cut where it is made, as far up as it goes. The numbers stay the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shortlist.models.graphs import single_values

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

WHOLE = -1  # an input that is read on all of its axes
TOKENS = 1  # the axis of the tokens in [batch, tokens, width]

_ONE_BY_ONE = frozenset(
    {"Cast", "Erf", "Gelu", "Identity", "Neg", "Relu", "Sigmoid", "Sqrt", "Tanh"}
)
_TWO_BY_TWO = frozenset({"Add", "Div", "Mul", "Pow", "Sub"})


def read_first_token_only(model: ModelProto) -> int:
    """Rewrite a graph in place so that what only the first token's output needs is computed alone.

    Args:
        model: any graph; one that reads all tokens is left as it is.

    Returns:
        The number of matrix products that now see one token.
    """
    from onnx import shape_inference

    graph = model.graph
    ranks = _ranks(shape_inference.infer_shapes(model).graph)
    wanted, cut = _plan(graph, ranks)
    products: int = sum(node.op_type == "MatMul" and node.output[0] in cut for node in graph.node)
    if products:
        _rewrite(graph, wanted, cut)
    return products


def _ranks(graph: GraphProto) -> dict[str, int]:
    """The number of axes of each tensor for which it could be found out."""
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            ranks[value.name] = len(value.type.tensor_type.shape.dim)
    return ranks


def _plan(
    graph: GraphProto, ranks: dict[str, int]
) -> tuple[dict[str, set[int]], dict[str, dict[str, int]]]:
    """Which axis of each tensor its readers want the first entry of, from the end backwards.

    Returns:
        The wishes of each tensor's readers, and for each output of a node that can be computed for
        the first entry alone, what it needs of each of its inputs.
    """
    zeros = {name for name, value in single_values(graph).items() if value == 0}
    wanted: dict[str, set[int]] = {value.name: {WHOLE} for value in graph.output}
    cut: dict[str, dict[str, int]] = {}
    for node in reversed(graph.node):
        needs: dict[str, int] | None = None
        if node.op_type == "Gather" and node.input[1] in zeros and _axis(node, 0) > 0:
            needs = {node.input[0]: _axis(node, 0)}
        elif len(node.output) == 1 and len(wishes := wanted.get(node.output[0], set())) == 1:
            (axis,) = wishes
            needs = None if axis == WHOLE else _needs(node, axis, ranks)
        if needs is not None:
            cut[node.output[0]] = needs
        for name in node.input:
            wanted.setdefault(name, set()).add((needs or {}).get(name, WHOLE))
    return wanted, cut


def _needs(node: NodeProto, axis: int, ranks: dict[str, int]) -> dict[str, int] | None:
    """What a node needs of its inputs for the first entry on one axis of its output.

    Returns:
        An axis for each input of which the first entry is enough; None for a node of which that
        is not known.
    """
    kind, first = node.op_type, node.input[0]
    rank = ranks.get(node.output[0])
    if rank is None or any(name and name not in ranks for name in node.input):
        return None
    if kind in _ONE_BY_ONE:
        return {first: axis}
    if kind in _TWO_BY_TWO:
        shifted = {name: axis - (rank - ranks[name]) for name in node.input}
        return {name: own for name, own in shifted.items() if own >= 0}
    if kind in ("LayerNormalization", "Softmax") and _axis(node, -1) in (-1, rank - 1):
        return {first: axis} if axis < rank - 1 else None
    if kind == "MatMul" and axis == rank - 2 and ranks[first] == rank:
        return {first: axis}
    if kind == "Transpose":
        order = next(list(a.ints) for a in node.attribute if a.name == "perm")
        return {first: order[axis]}
    if kind == "Reshape" and axis == TOKENS and min(rank, ranks[first]) > TOKENS + 1:
        return {first: axis}  # [batch, tokens, ...] both: what else there is the check finds out
    return None


def _rewrite(
    graph: GraphProto, wanted: dict[str, set[int]], cut: dict[str, dict[str, int]]
) -> None:
    from onnx import helper, numpy_helper

    def constant(name: str, *values: int) -> str:
        if name not in constants:
            constants[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        if output not in made:
            made.add(output)
            nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def first_of(name: str, axis: int) -> str:
        if name in cut and wanted[name] == {axis}:
            return name  # made so
        bounds = [constant(f"first_token/{value}", value) for value in (0, 1, axis)]
        return add("Slice", [name, *bounds], f"{name}/first/{axis}")

    constants: dict[str, Any] = {}
    nodes: list[NodeProto] = []
    made: set[str] = set()
    for node in graph.node:
        needs = cut.get(node.output[0], {})
        if needs and node.op_type == "Reshape":
            start, end = constant("first_token/2", 2), constant("first_token/end", 1 << 31)
            rest = add("Slice", [node.input[1], start, end], f"{node.output[0]}/rest")
            same = constant("first_token/same", 0, 0)  # 0: as in what is reshaped
            node.input[1] = add("Concat", [same, rest], f"{node.output[0]}/shape", axis=0)
        for place, name in enumerate(node.input):
            if name in needs:
                node.input[place] = first_of(name, needs[name])
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants.values())


def _axis(node: NodeProto, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "axis"), default)
