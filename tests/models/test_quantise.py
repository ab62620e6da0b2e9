"""int8: against integer arithmetic in numpy, against float32, and alone as in any batch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from shortlist import BiEncoder, CrossEncoder
from shortlist.errors import ExportError, UsageError
from shortlist.models import onnx as light_path
from shortlist.models.loading import resolve
from shortlist.models.presets import OUR_CROSS_ENCODER, OUR_STATIC_BI_ENCODER
from shortlist.models.quantise import quantise, quantised_columns
from shortlist.models.saturation import GRAPH, products_saturate
from shortlist.models.verification import QUESTIONS_AND_ANSWERS

MINILM = "all-MiniLM-L6-v2"
LARGEST = [127, 63]
TEXTS = [text for pair in QUESTIONS_AND_ANSWERS for text in pair] + [
    "",
    "tea",
    "a\0b",
    "\ud800 tea",
]


@pytest.fixture(scope="module")
def int8_bi_encoder(exports):
    return BiEncoder.load(MINILM, precision="int8")


@pytest.fixture(scope="module")
def int8_cross_encoder(exports):
    return CrossEncoder.load(OUR_CROSS_ENCODER, precision="int8")


def graph_of(weights):
    """Rows times each of the weight matrices, [k, n], as a float32 graph of one input."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", f"w{n}"], [f"y{n}"]) for n in range(len(weights))],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, weights[0].shape[0]])],
        [
            helper.make_tensor_value_info(f"y{n}", TensorProto.FLOAT, [None, None, w.shape[1]])
            for n, w in enumerate(weights)
        ],
        [numpy_helper.from_array(w, f"w{n}") for n, w in enumerate(weights)],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def run(model, x):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def integer_product(x, weight, largest):
    """The same by the definition: integers summed in int64, everything else in float64."""
    size = np.abs(x.astype(np.float64)).max(axis=-1, keepdims=True)
    unit = np.divide(x, size, out=np.zeros(x.shape), where=size > 0)
    rows = np.rint(unit * 127).astype(np.int64)
    columns = np.abs(weight).max(axis=0).astype(np.float64) / largest
    columns[columns == 0] = 1
    return (rows @ np.rint(weight / columns).astype(np.int64)) * size / 127 * columns


@pytest.mark.parametrize("largest", LARGEST)
def test_a_product_is_that_of_integer_arithmetic(largest):
    if largest == 127 and products_saturate():
        pytest.skip("this CPU needs the 7-bit weights")
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(64, 32)).astype("f4"), rng.normal(size=(64, 48)).astype("f4")]
    weights[0][:, 3] = 0
    magnitudes = 10.0 ** rng.integers(-6, 7, size=(3, 7, 1))
    x = (rng.normal(size=(3, 7, 64)) * magnitudes).astype("f4")
    x[1, 2] = 0
    model = graph_of(weights)
    quantise(model, largest_weight=largest)
    for got, weight in zip(run(model, x), weights, strict=True):
        expected = integer_product(x, weight, largest)
        size = np.abs(x).max(-1, keepdims=True)
        assert np.isclose(got, expected, rtol=1e-5, atol=1e-5 * size).mean() > 0.99
        # a value in the middle between two integers may become either of them in float32
        assert (np.abs(got - expected) <= 1.1 * size / 127 * np.abs(weight).max()).all()
        np.testing.assert_array_equal(got[1, 2], 0)
        exact = x @ weight
        assert np.linalg.norm(got - exact) < 0.03 * np.linalg.norm(exact)


def with_bias(model, bias):
    """The graph of one product, and a constant row added to it."""
    model.graph.initializer.append(numpy_helper.from_array(bias, "bias"))
    model.graph.node[0].output[0] = "product"
    model.graph.node.append(helper.make_node("Add", ["bias", "product"], ["y0"]))
    return model


def constants(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


@pytest.mark.parametrize("largest", LARGEST)
def test_a_product_with_fixed_scales_is_that_of_integer_arithmetic(largest):
    if largest == 127 and products_saturate():
        pytest.skip("this CPU needs the 7-bit weights")
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(64, 32)).astype("f4"), rng.normal(size=32).astype("f4")
    x = (rng.normal(size=(3, 7, 64)) * 10.0 ** rng.integers(-2, 3, size=64)).astype("f4")
    model = with_bias(graph_of([weight]), bias)
    quantise(model, largest_weight=largest, maxima={"x": np.abs(x).max(axis=(0, 1))})
    assert [n.op_type for n in model.graph.node] == [
        "Mul",
        "QuantizeLinear",
        "MatMulIntegerToFloat",
    ]
    known = constants(model)
    columns = known["x/columns"].astype(np.float64)
    rows = weight / columns[:, None]
    scales = np.abs(rows).max(axis=0) / largest
    integers = np.rint(rows / scales).astype(np.int64)
    for values in (x, 100 * x):  # the second beyond what was seen: cut, and nothing wraps round
        units = np.clip(np.rint(values * columns), -128, 127).astype(np.int64)
        expected = (units @ integers) * scales + bias
        (got,) = run(model, values)
        # a value in the middle between two integers may become either of them in float32
        off = np.abs(got - expected).max(axis=(0, 1))
        assert (off <= 3 * largest * scales).all()
        assert np.isclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()).mean() > 0.9
    far = np.sign(x) * 1e6  # all of it cut: nothing is near the middle between two integers
    units = np.where(far > 0, 127, -128).astype(np.int64)
    expected = (units @ integers) * scales + bias
    np.testing.assert_allclose(run(model, far)[0], expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("also", ["another node", "the caller"])
def test_a_product_that_somebody_else_reads_keeps_its_name(also):
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(16, 8)).astype("f4"), rng.normal(size=8).astype("f4")
    x = rng.normal(size=(1, 4, 16)).astype("f4")
    model = with_bias(graph_of([weight]), bias)
    name = "product"
    if also == "another node":
        name = "negative"
        model.graph.node.append(helper.make_node("Neg", ["product"], ["negative"]))
    shape = [None, None, 8]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    quantise(model, maxima={"x": np.abs(x).max(axis=(0, 1))})
    total, other = run(model, x)
    np.testing.assert_allclose(total - bias, other if also == "the caller" else -other, atol=1e-5)


def test_a_column_that_is_large_in_every_text_costs_the_others_nothing():
    """As the layer norms of BERT have them: a row's own scale is that of its largest column."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(384, 64)).astype("f4")
    x = rng.normal(size=(4, 50, 384)).astype("f4")
    x[..., 7] = 40 + rng.normal(size=(4, 50))
    exact = x @ weight
    errors = []
    for maxima in ({"x": np.abs(x).max(axis=(0, 1))}, None):
        model = graph_of([weight])
        quantise(model, maxima=maxima)
        errors.append(np.linalg.norm(run(model, x)[0] - exact))
    assert errors[0] < 0.5 * errors[1]


def test_a_column_that_was_never_in_use_divides_nothing_by_zero():
    weight = np.zeros((8, 4), "f4")
    weight[0] = 1
    model = graph_of([weight])
    quantise(model, maxima={"x": np.zeros(8, "f4")})
    (got,) = run(model, np.zeros((1, 2, 8), "f4"))
    np.testing.assert_array_equal(got, 0)


def test_a_row_is_quantised_once_for_all_that_read_it():
    model = graph_of([np.eye(8, dtype="f4")] * 3)
    quantise(model)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") == 1
    assert kinds.count("MatMulIntegerToFloat") == 3
    assert "MatMul" not in kinds


def test_seven_bit_weights_cannot_overflow_sixteen_bits():
    weight = np.random.default_rng(0).standard_cauchy((100, 50)).astype("f4")
    integers, _ = quantised_columns(weight, 63)
    pairs = np.abs(integers[::2].astype(np.int64)) + np.abs(integers[1::2].astype(np.int64))
    assert (255 * pairs).max() <= np.iinfo(np.int16).max
    assert (np.abs(integers).max(axis=0) == 63).all()


@pytest.mark.parametrize("activation", ["Relu", "Gelu"])
def test_activations_that_are_hardly_negative_get_finer_steps(activation):
    """Against the exact product, with and without the knowledge of what they are never below."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, size=(64, 32)).astype("f4")
    weight[0] = 127  # as integers without an error: what is left is that of the activations
    x = rng.normal(size=(5, 9, 64)).astype("f4") * 3
    x[0, 0], x[0, 1] = 0, -5  # of a row without anything positive, too
    model = graph_of([weight])
    torch = pytest.importorskip("torch")
    kind = {"Relu": torch.nn.ReLU(), "Gelu": torch.nn.GELU()}[activation]
    acted = kind(torch.from_numpy(x)).numpy()
    if activation == "Relu":
        model.graph.node.insert(0, helper.make_node("Relu", ["x"], ["acted"]))
    else:
        for number, (name, *inputs) in enumerate(
            [
                ("Div", "x", "root", "divided"),
                ("Erf", "divided", "erf"),
                ("Add", "erf", "one", "added"),
                ("Mul", "x", "added", "product"),
                ("Mul", "product", "half", "acted"),
            ]
        ):
            model.graph.node.insert(number, helper.make_node(name, inputs[:-1], inputs[-1:]))
        for name, value in (("root", 2**0.5), ("one", 1.0), ("half", 0.5)):
            model.graph.initializer.append(numpy_helper.from_array(np.array(value, "f4"), name))
    model.graph.node[-1].input[0] = "acted"
    quantise(model)
    (got,) = run(model, x)
    plain = graph_of([weight])
    quantise(plain)
    (coarse,) = run(plain, acted)
    exact = acted @ weight
    assert np.linalg.norm(got - exact) < 0.7 * np.linalg.norm(coarse - exact)
    assert np.abs(got[0, :2] - exact[0, :2]).max() < 10  # of sums of 64 products with up to 127


def test_a_graph_without_constant_weights_is_refused():
    model = graph_of([np.eye(4, dtype="f4")])
    del model.graph.node[:]
    with pytest.raises(ExportError, match="no product with constant weights"):
        quantise(model)


def test_the_product_that_is_tried_out_overflows_sixteen_bits():
    """What the file holds; and what a kernel that saturates would make of it."""
    model = onnx.load(GRAPH)
    (weights,) = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
    assert [node.op_type for node in model.graph.node] == ["MatMulInteger"]
    assert weights.dtype == np.int8
    np.testing.assert_array_equal(weights, np.tile([-127, 127], (64, 16)))
    pairs = 255 * (weights[::2].astype(int) + weights[1::2].astype(int))
    assert (np.abs(pairs) > np.iinfo(np.int16).max).all()


def test_trying_it_out_does_not_import_onnx():
    code = (
        "import sys; from shortlist.models.saturation import products_saturate as p; p(); "
        "print('onnx' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_int8_embeddings_are_near_those_of_float32(int8_bi_encoder, bi_encoder):
    assert (int8_bi_encoder.precision, bi_encoder.precision) == ("int8", "float32")
    assert int8_bi_encoder.fingerprint == bi_encoder.fingerprint
    texts = [text for text in TEXTS if text.strip()]
    cosines = np.sum(
        int8_bi_encoder.encode_passages(texts) * bi_encoder.encode_passages(texts), axis=1
    )
    assert cosines.mean() > 0.995
    assert cosines.min() > 0.98
    assert cosines.min() < 0.99999  # it is another graph


def test_int8_logits_are_near_those_of_float32(int8_cross_encoder):
    float32 = CrossEncoder.load(OUR_CROSS_ENCODER)
    assert int8_cross_encoder.fingerprint != float32.fingerprint
    assert int8_cross_encoder.fingerprint.startswith(float32.fingerprint)
    questions, answers = zip(*QUESTIONS_AND_ANSWERS, strict=True)
    pairs = [(question, answer) for question in questions[:8] for answer in answers]
    got, expected = int8_cross_encoder.score(pairs), float32.score(pairs)
    assert np.corrcoef(got, expected)[0, 1] > 0.99
    assert 0 < np.abs(got - expected).max() < 0.5 * expected.std()


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("tokens", [64, 512, 4096])
def test_a_text_alone_is_as_in_any_batch(precision, tokens, exports):
    rng = np.random.default_rng(tokens)
    encoder = BiEncoder.load(MINILM, precision=precision)
    scorer = CrossEncoder.load(OUR_CROSS_ENCODER, precision=precision)
    encoder._tokens_per_batch = scorer._tokens_per_batch = tokens
    pairs = [(TEXTS[0], text) for text in TEXTS]
    embeddings = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
    logits = np.concatenate([scorer.score([pair]) for pair in pairs])
    for _ in range(3):
        chosen = rng.permutation(len(TEXTS))[: rng.integers(2, len(TEXTS))]
        mates = [TEXTS[n] for n in chosen]
        np.testing.assert_allclose(encoder.encode_passages(mates), embeddings[chosen], atol=1e-5)
        np.testing.assert_allclose(
            scorer.score([pairs[n] for n in chosen]), logits[chosen], atol=1e-5
        )


def test_odd_texts_have_finite_embeddings(int8_bi_encoder):
    texts = ["", "\0", "\ud800", "word " * 200_000]
    assert np.isfinite(int8_bi_encoder.encode_passages(texts)).all()


def test_a_torn_int8_graph_is_made_again(tmp_path, monkeypatch, exports):
    monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path))
    _copy_float32(exports, tmp_path)
    expected = BiEncoder.load(MINILM, precision="int8").encode_queries(["tea"])
    (graph,) = tmp_path.rglob("*-int8*/model.onnx")
    graph.write_bytes(graph.read_bytes()[:1000])
    again = BiEncoder.load(MINILM, precision="int8").encode_queries(["tea"])
    np.testing.assert_array_equal(again, expected)
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("name", ["model.onnx", "weights.bin"])
def test_a_damaged_int8_graph_of_the_right_size_is_made_again(name, tmp_path, monkeypatch, exports):
    monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path))
    _copy_float32(exports, tmp_path)
    expected = BiEncoder.load(MINILM, precision="int8").encode_queries(["tea"])
    (file,) = tmp_path.rglob(f"*-int8*/{name}")
    file.write_bytes(b"\xff" * file.stat().st_size)
    again = BiEncoder.load(MINILM, precision="int8").encode_queries(["tea"])
    np.testing.assert_array_equal(again, expected)


def test_the_prompts_of_who_makes_it_are_not_in_the_graph(tmp_path, monkeypatch, exports):
    graphs = []
    for prompt in ("", "query: "):
        monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path / f"with {prompt}"))
        _copy_float32(exports, tmp_path / f"with {prompt}")
        BiEncoder.load(MINILM, precision="int8", query_prompt=prompt, passage_prompt=prompt)
        (file,) = (tmp_path / f"with {prompt}").rglob("*-int8*/weights.bin")
        graphs.append(file.read_bytes())
    assert graphs[0] == graphs[1]


def test_two_processes_may_quantise_at_once(tmp_path, exports):
    _copy_float32(exports, tmp_path)
    code = (
        f"import os; os.environ['SHORTLIST_CACHE'] = {str(tmp_path)!r}\n"
        "from shortlist import BiEncoder\n"
        "print(BiEncoder.load('all-MiniLM-L6-v2', precision='int8').encode_queries(['tea'])[0, :4])"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert first == second != ""
    assert not list(tmp_path.rglob(".*"))


def test_weights_without_a_fine_enough_int8_graph_are_refused(tmp_path, monkeypatch, exports):
    """One huge weight in each column leaves nothing of the others."""
    from safetensors.numpy import load_file, save_file

    monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    shutil.copytree(resolve(MINILM).path, folder)
    tensors = load_file(folder / "model.safetensors")
    name = "encoder.layer.5.output.dense.weight"  # [out, in]
    tensors[name] = tensors[name].copy()
    tensors[name][:, 0] += 300
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExportError, match="loses too much in int8: the cosines .* run in float32"):
        BiEncoder.load(folder, precision="int8")
    assert not list(tmp_path.rglob("*-int8*"))
    assert BiEncoder.load(folder, precision="auto").precision == "float32"
    assert BiEncoder.load(MINILM, precision="auto").precision == "int8"


def test_a_model_for_which_fixed_scales_are_too_coarse_has_its_rows_own(
    tmp_path, monkeypatch, exports
):
    """Room for values a thousand times those that were seen leaves no steps for the others."""
    monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path))
    _copy_float32(exports, tmp_path)
    monkeypatch.setattr("shortlist.models.quantise.MARGIN", 1000.0)
    encoder = BiEncoder.load(MINILM, precision="int8")
    (file,) = tmp_path.rglob("*-int8*/model.onnx")
    kinds = [node.op_type for node in onnx.load(file, load_external_data=False).graph.node]
    assert kinds.count("ReduceMax") == 24  # of each layer: what its norms, attention and GELU give
    expected = BiEncoder.load(MINILM).encode_passages(TEXTS)
    assert (encoder.encode_passages(TEXTS) * expected).sum(axis=1).min() > 0.98


def test_a_cpu_that_saturates_has_a_graph_of_its_own(tmp_path, monkeypatch, exports):
    monkeypatch.setenv("SHORTLIST_CACHE", str(tmp_path))
    _copy_float32(exports, tmp_path)
    monkeypatch.setattr(light_path, "products_saturate", lambda: True)
    encoder = BiEncoder.load(MINILM, precision="int8")
    (home,) = tmp_path.rglob("*-int8-7bit-v*")
    tensors = onnx.load(home / "model.onnx").graph.initializer
    integers = [
        numpy_helper.to_array(t)
        for t in tensors
        if t.data_type == TensorProto.INT8 and len(t.dims) > 1
    ]
    assert len(integers) == 36  # six layers of six products
    assert max(int(np.abs(i.astype(int)).max()) for i in integers) == 63
    assert json.loads((home / "export.json").read_text())["width"] == encoder.dim


def test_int8_is_refused_where_it_cannot_be_had():
    with pytest.raises(UsageError, match="int8 runs on the CPU with ONNX Runtime only"):
        BiEncoder.load(MINILM, device="torch-cpu", precision="int8")
    with pytest.raises(UsageError, match="precision must be auto, float32 or int8, got 'int4'"):
        CrossEncoder.load(OUR_CROSS_ENCODER, precision="int4")


def test_a_static_model_stays_in_float32():
    assert BiEncoder.load(OUR_STATIC_BI_ENCODER, precision="int8").precision == "float32"


def _copy_float32(exports, target):
    for home in (exports / "onnx").glob("[!.]*-float32-*"):  # no draft of another process
        shutil.copytree(home, target / "onnx" / home.name, dirs_exist_ok=True)
