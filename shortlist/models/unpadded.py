"""A graph for batches without padding: what hides padding from the attention is left out.

Texts of one length need no mask. Adding it to the scores takes as long as multiplying them, and a
third of a graph's nodes only work it out. What may be left out is made of the mask, of constants
and of shapes alone. Whether it is the same for all that a softmax weighs, and so changes nothing,
is tried out on the longest text that the model reads: a window or an order of the tokens that is
put into the same numbers is not, and stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shortlist.models.graph_cache import session
from shortlist.models.graphs import has_subgraphs, keep_what_is_read

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

MASK = "attention_mask"
LONGEST = 4096  # tokens; of a longer text the mask and what makes it would take gigabytes
DATA, FIXED, MASKING = range(3)  # made of the texts; of constants and shapes; of these and the mask


class _Masked(NamedTuple):
    """A softmax that reads scores which something was done to."""

    softmax: NodeProto
    scores: str  # before it was done
    by: str  # what was added, or the condition for something in their place
    kept_where: bool | None  # what the condition is where the scores stay; None where it was added


def without_mask(model: ModelProto, inputs: tuple[str, ...], tokens: int) -> int:
    """Rewrite a graph in place so that its attention does not read the mask.

    Only what no text without padding depends on is left out; that all of it is found so is for the
    caller to verify.

    Args:
        model: any graph; one in which no such mask is found is left as it is.
        inputs: names of the graph's inputs, each int64 `[batch, tokens]`.
        tokens: the most that a text may have.

    Returns:
        The number of softmaxes that no longer see it.
    """
    graph = model.graph
    if tokens > LONGEST or has_subgraphs(graph):
        return 0
    found = _masked(graph)
    if not found:
        return 0
    values = _values(model, list(dict.fromkeys(masked.by for masked in found)), inputs, tokens)
    idle = [masked for masked in found if _changes_nothing(values[masked.by], masked.kept_where)]
    for masked in idle:
        masked.softmax.input[0] = masked.scores
    if idle:
        keep_what_is_read(graph)
    return len(idle)


def _masked(graph: GraphProto) -> list[_Masked]:
    kinds = _kinds(graph)
    made_by = {name: node for node in graph.node for name in node.output}
    found = []
    for node in graph.node:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1)
        if node.op_type != "Softmax" or axis not in (-1, 3) or node.input[0] not in made_by:
            continue
        masking = made_by[node.input[0]]
        data = [name for name in masking.input if kinds[name] == DATA]
        masks = [name for name in masking.input if kinds[name] == MASKING]
        if masking.op_type == "Add" and len(data) == len(masks) == 1:
            found.append(_Masked(node, data[0], masks[0], None))
        elif masking.op_type == "Where" and len(data) == 1 and masking.input[0] in masks:
            found.append(_Masked(node, data[0], masking.input[0], masking.input[1] == data[0]))
    return found


def _kinds(graph: GraphProto) -> dict[str, int]:
    """What each tensor is made of."""
    kinds = {tensor.name: FIXED for tensor in graph.initializer}
    kinds |= {value.name: MASKING if value.name == MASK else DATA for value in graph.input}
    for node in graph.node:
        made_of = {kinds[name] for name in node.input if name}
        if node.op_type in ("Shape", "Size"):
            kind = FIXED
        else:
            kind = DATA if DATA in made_of else MASKING if MASKING in made_of else FIXED
        kinds.update(dict.fromkeys(node.output, kind))
    return kinds


def _values(
    model: ModelProto, names: list[str], inputs: tuple[str, ...], tokens: int
) -> dict[str, np.ndarray]:
    """Tensors of a graph for one text of so many tokens, computed without the rest of it."""
    from onnx import ModelProto, shape_inference

    alone = ModelProto()
    alone.CopyFrom(model)
    kinds = {v.name: v for v in shape_inference.infer_shapes(model).graph.value_info}
    del alone.graph.output[:]
    alone.graph.output.extend(kinds[name] for name in names)
    keep_what_is_read(alone.graph)
    ones = np.ones((1, tokens), np.int64)
    given = {name: np.zeros_like(ones) if "type" in name else ones for name in inputs}
    computed = session(alone.SerializeToString()).run(names, given)
    return dict(zip(names, computed, strict=True))


def _changes_nothing(values: np.ndarray, kept_where: bool | None) -> bool:
    if kept_where is None:  # a softmax does not see what is added to all that it weighs
        return bool((values == values[..., :1]).all())
    return bool((values == kept_where).all())
