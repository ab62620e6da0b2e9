"""Graphs that do not hide padding: the same numbers, and nothing else left out."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from shortlist.models.loading import resolve
from shortlist.models.onnx import EXPORT_FORMAT
from shortlist.models.presets import OUR_CROSS_ENCODER
from shortlist.models.unpadded import without_mask


def attention(*masking, reading="masked"):
    """Softmax over scores, `[b, n, n]`, after some nodes that may hide what the mask says."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["ids", "last"], ["values"]),
        helper.make_node("Unsqueeze", ["ids", "axis"], ["across"]),
        helper.make_node("Mul", ["values", "across"], ["products"]),
        helper.make_node("Sin", ["products"], ["scores"]),
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "seen"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "far"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "axis"], ["mask"]),
        *masking,
        helper.make_node("Softmax", [reading], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "values"], ["output"]),
    ]
    of = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "attention",
        [
            of("input_ids", TensorProto.INT64, ["b", "n"]),
            of("attention_mask", TensorProto.INT64, ["b", "n"]),
        ],
        [of("output", TensorProto.FLOAT, ["b", "n", 1])],
        [
            numpy_helper.from_array(np.array(1, "f4"), "one"),
            numpy_helper.from_array(np.array(-1e9, "f4"), "far"),
            numpy_helper.from_array(np.array([1]), "axis"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array(1), "tokens"),
        ],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


INPUTS = ("input_ids", "attention_mask")


def outputs(model):
    rng = np.random.default_rng(0)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    inputs = {
        "input_ids": rng.integers(1, 50, size=(2, 5)),
        "attention_mask": np.ones((2, 5), np.int64),
    }
    return session.run(None, inputs)[0]


ADDED = [helper.make_node("Add", ["scores", "mask"], ["masked"])]
PUT_IN_PLACE = [
    helper.make_node("Cast", ["mask"], ["is_hidden"], to=TensorProto.BOOL),
    helper.make_node("Where", ["is_hidden", "far", "scores"], ["masked"]),
]


@pytest.mark.parametrize("masking", [ADDED, PUT_IN_PLACE], ids=["added", "put in place"])
def test_the_mask_is_left_out_with_all_that_made_it(masking):
    model = attention(*masking)
    expected = outputs(model)
    assert without_mask(model, INPUTS, 40) == 1
    assert not {"seen", "hidden", "mask"} & {name for n in model.graph.node for name in n.output}
    assert {tensor.name for tensor in model.graph.initializer} == {"axis", "last"}
    onnx.checker.check_model(model)
    np.testing.assert_allclose(outputs(model), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("masking", "reading"),
    [
        ([], "scores"),
        ([helper.make_node("Add", ["scores", "scores"], ["masked"])], "masked"),
        # the mask times what the texts say: it differs from token to token
        (
            [
                helper.make_node("Mul", ["scores", "seen"], ["said"]),
                helper.make_node("Add", ["scores", "said"], ["masked"]),
            ],
            "masked",
        ),
        # two masks that were added have no scores between them
        ([helper.make_node("Add", ["mask", "mask"], ["masked"])], "masked"),
        # the further a token is, the less it weighs, as ALiBi has it
        (
            [
                helper.make_node("CumSum", ["seen", "tokens"], ["places"]),
                helper.make_node("Unsqueeze", ["places", "axis"], ["sloping"]),
                helper.make_node("Add", ["scores", "sloping"], ["masked"]),
            ],
            "masked",
        ),
        # a token sees those before it only
        (
            [
                helper.make_node("Shape", ["products"], ["shape"]),
                helper.make_node("Expand", ["far", "shape"], ["everywhere"]),
                helper.make_node("Trilu", ["everywhere", "tokens"], ["later"], upper=1),
                helper.make_node("Add", ["mask", "later"], ["causal"]),
                helper.make_node("Add", ["scores", "causal"], ["masked"]),
            ],
            "masked",
        ),
        # and with a condition
        (
            [
                helper.make_node("Shape", ["products"], ["shape"]),
                helper.make_node("Expand", ["far", "shape"], ["everywhere"]),
                helper.make_node("Trilu", ["everywhere", "tokens"], ["later"], upper=1),
                helper.make_node("Add", ["mask", "later"], ["causal"]),
                helper.make_node("Cast", ["causal"], ["is_hidden"], to=TensorProto.BOOL),
                helper.make_node("Where", ["is_hidden", "far", "scores"], ["masked"]),
            ],
            "masked",
        ),
    ],
)
def test_what_is_no_mask_stays(masking, reading):
    model = attention(*masking, reading=reading)
    before = model.SerializeToString()
    assert without_mask(model, INPUTS, 40) == 0
    assert model.SerializeToString() == before


def test_a_graph_with_branches_is_left_alone():
    model = attention(*ADDED)
    branch = helper.make_graph(
        [helper.make_node("Identity", ["mask"], ["inner"])], "branch", [], []
    )
    model.graph.node[0].attribute.append(helper.make_attribute("then_branch", branch))
    before = model.SerializeToString()
    assert without_mask(model, INPUTS, 40) == 0
    assert model.SerializeToString() == before


def test_padding_is_refused(exports):
    from shortlist import BiEncoder

    encoder = BiEncoder.load("all-MiniLM-L6-v2")
    ids = np.array([[101, 5572, 102], [101, 102, 0]])
    arrays = {
        "input_ids": ids,
        "attention_mask": (ids > 0).astype(np.int64),
        "token_type_ids": np.zeros_like(ids),
    }
    with pytest.raises(ValueError, match="expected texts of one length"):
        encoder._run(arrays)


def test_a_position_bias_stays_where_the_mask_goes():
    """As MPNet and T5 have it: made of shapes and weights, and no mask."""
    bias = [
        helper.make_node("Add", ["scores", "one"], ["placed"]),
        helper.make_node("Add", ["placed", "mask"], ["masked"]),
    ]
    model = attention(*bias)
    assert without_mask(model, INPUTS, 40) == 1
    kinds = [node.op_type for node in model.graph.node]
    assert kinds[-3:] == ["Add", "Softmax", "MatMul"]


def test_our_cross_encoder_reads_no_mask(exports):
    """It has no use for it: its output is made of the first token."""
    from shortlist import CrossEncoder

    scorer = CrossEncoder.load(OUR_CROSS_ENCODER)
    folder = f"{resolve(OUR_CROSS_ENCODER).fingerprint}-float32-v{EXPORT_FORMAT}"
    graph = onnx.load(exports / "onnx" / folder / "model.onnx", load_external_data=False).graph
    assert not any("attention_mask" in node.input for node in graph.node)
    assert np.isfinite(scorer.score([("tea", "a leaf")])).all()
