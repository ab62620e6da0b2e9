"""A graph for batches without padding: what hides padding from the attention is left out.

Texts of one length need no mask. Adding it to the scores takes as long as multiplying them, and a
third of a graph's nodes only work it out. What to leave out is found by where it comes from: a
number that is made of the mask, of constants and of shapes alone is the same for every token of
such a batch, and a softmax does not see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

MASK = "attention_mask"
DATA, FIXED, MASKING = range(3)  # made of the texts; of constants and shapes; of these and the mask


def without_mask(model: ModelProto) -> int:
    """Rewrite a graph in place so that its attention does not read the mask.

    Args:
        model: any graph; one in which no such mask is found is left as it is.

    Returns:
        The number of softmaxes that no longer see it.
    """
    graph = model.graph
    kinds = _kinds(graph)
    made_by = {name: node for node in graph.node for name in node.output}
    found = 0
    for node in graph.node:
        if node.op_type == "Softmax" and (masking := made_by.get(node.input[0])) is not None:
            scores = _scores(masking, kinds)
            if scores is not None:
                node.input[0] = scores
                found += 1
    if found:
        _keep_what_is_read(graph)
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


def _scores(masking: NodeProto, kinds: dict[str, int]) -> str | None:
    """The scores that a node adds the mask to, or puts a constant in the place of."""
    of_kind = {kind: [n for n in masking.input if kinds[n] == kind] for kind in (DATA, MASKING)}
    if masking.op_type == "Add" and len(masking.input) == 2 and of_kind[MASKING]:
        return of_kind[DATA][0] if of_kind[DATA] else None
    if masking.op_type == "Where" and kinds[masking.input[0]] == MASKING:
        return of_kind[DATA][0] if len(of_kind[DATA]) == 1 else None
    return None


def _keep_what_is_read(graph: GraphProto) -> None:
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input)
    tensors = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(tensors)
