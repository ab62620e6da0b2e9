"""The graph that reads the first token only: the same numbers as torch's, for several families."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers
from onnx import TensorProto, helper, numpy_helper

from shortlist.models.first_token import read_first_token_only
from shortlist.models.graphs import LEAST_GELU, least_values
from shortlist.models.loading import resolve
from shortlist.models.onnx import TorchModel, exported, runner

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "num_labels": 1,
    "pad_token_id": 0,
    "attn_implementation": "eager",
}
DISTIL = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "seq_classif_dropout": 0.0}
FAMILIES = {
    "Bert": SMALL,
    "Roberta": SMALL,
    "Electra": SMALL | {"embedding_size": 16},
    "XLMRoberta": SMALL,
    "DistilBert": {k: SMALL[k] for k in ("vocab_size", "num_labels", "pad_token_id")} | DISTIL,
}


class Output(torch.nn.Module):
    def __init__(self, model, attribute):
        super().__init__()
        self.model, self.attribute = model, attribute

    def forward(self, input_ids, attention_mask):
        made = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return getattr(made, self.attribute)


def tiny(family, head="ForSequenceClassification"):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family])
    model = getattr(transformers, f"{family}{head}")._from_config(
        config, attn_implementation="eager"
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def arrays(rows, longest, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, size=rows)
    mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
    mask[0] = 1
    return {"input_ids": rng.integers(1, 50, (rows, longest)) * mask, "attention_mask": mask}


def graph_of(module, path):
    example = tuple(torch.from_numpy(a) for a in arrays(3, 7).values())
    names = ["input_ids", "attention_mask"]
    torch.onnx.export(
        module,
        example,
        str(path),
        input_names=names,
        output_names=["output"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in names} | {"output": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    return onnx.load(str(path))


def outputs(model, inputs):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_cross_encoder_gives_the_logits_of_torch(family, tmp_path):
    module = Output(tiny(family), "logits").eval()
    graph = graph_of(module, tmp_path / "m.onnx")
    assert read_first_token_only(graph) == 6  # query, two of attention, output, feed-forward
    onnx.checker.check_model(graph)
    for rows, longest in ((1, 1), (1, 9), (4, 1), (5, 13), (2, 30)):
        inputs = arrays(rows, longest, seed=rows)
        with torch.inference_mode():
            expected = module(*(torch.from_numpy(a) for a in inputs.values())).numpy()
        np.testing.assert_allclose(outputs(graph, inputs), expected, atol=2e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_reads_every_token_is_left_as_it_is(tmp_path):
    graph = graph_of(Output(tiny("Bert", "Model"), "last_hidden_state").eval(), tmp_path / "m.onnx")
    before = graph.SerializeToString()
    assert read_first_token_only(graph) == 0
    assert graph.SerializeToString() == before


@pytest.mark.filterwarnings("ignore")
def test_a_rewriting_that_computes_something_else_is_thrown_away(tmp_path, monkeypatch, caplog):
    """A reshaping that moves the tokens' axis is taken for one that does not: the check sees it."""

    class Moving(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(50, 16)
            self.out = torch.nn.Linear(16, 16, bias=False)

        def forward(self, input_ids):
            rows, tokens = input_ids.shape
            halves = self.out(self.table(input_ids)).reshape(rows, 2, 8 * tokens)
            return halves[:, 0].sum(1, keepdim=True)

    monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path))
    torch.manual_seed(0)
    examples = [{"input_ids": arrays(rows, 8)["input_ids"]} for rows in (3, 1)]
    model = TorchModel(module=Moving().eval(), inputs=("input_ids",), examples=examples)
    with caplog.at_level(logging.INFO):
        made = exported(resolve("all-MiniLM-L6-v2"), lambda: model)
    assert "is run with more of what torch exports" in caplog.text
    assert {p.name for p in made.path.parent.iterdir()} <= {
        "export.json",
        "model.onnx",
        "weights.bin",
    }
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(examples[0]["input_ids"])).numpy()
    np.testing.assert_allclose(runner(made)(examples[0]), expected, atol=1e-5)


def activation_graph(kind):
    """x -> an activation -> a product with weights."""
    x = torch.zeros(2, 3, 8)
    module = torch.nn.Sequential(kind, torch.nn.Linear(8, 4, bias=False))
    return module.eval(), x


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "least"),
    [
        (torch.nn.GELU(), LEAST_GELU),
        (torch.nn.ReLU(), 0.0),
        (torch.nn.Tanh(), None),
        (torch.nn.SiLU(), None),
        (torch.nn.GELU("tanh"), None),
    ],
)
def test_what_an_activation_is_never_below(kind, least, tmp_path):
    module, x = activation_graph(kind)
    torch.onnx.export(
        module, (x,), str(tmp_path / "m.onnx"), opset_version=17, dynamo=False, input_names=["x"]
    )
    graph = onnx.load(str(tmp_path / "m.onnx")).graph
    (used,) = [node.input[0] for node in graph.node if node.op_type == "MatMul"]
    assert least_values(graph).get(used) == least
    if least is not None:
        values = kind(torch.linspace(-20, 20, 100_001, dtype=torch.float64))
        assert float(values.min()) >= least


def test_another_factor_is_no_gelu():
    """0.6 * x * (1 + erf(x / sqrt(2))) goes lower than a GELU does."""
    constants = {"root": 2**0.5, "one": 1.0, "half": 0.6}
    graph = helper.make_graph(
        [
            helper.make_node("Div", ["x", "root"], ["d"]),
            helper.make_node("Erf", ["d"], ["e"]),
            helper.make_node("Add", ["e", "one"], ["a"]),
            helper.make_node("Mul", ["x", "a"], ["m"]),
            helper.make_node("Mul", ["m", "half"], ["g"]),
            helper.make_node("MatMul", ["g", "w"], ["y"]),
        ],
        "nearly",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.array(v, "f4"), k) for k, v in constants.items()]
        + [numpy_helper.from_array(np.eye(2, dtype="f4"), "w")],
    )
    assert least_values(graph) == {}
    graph.initializer[2].CopyFrom(numpy_helper.from_array(np.array(0.5, "f4"), "half"))
    assert least_values(graph) == {"g": LEAST_GELU}
