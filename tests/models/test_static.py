"""Static embeddings against model2vec and a mean made by hand; every way to name such a model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model2vec import StaticModel
from notes import NOTES
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from shortlist import BiEncoder, CrossEncoder, RetrieveRerankPipeline
from shortlist.errors import IndexFolderError, ModelError
from shortlist.models.loading import resolve
from shortlist.models.registered import preset
from shortlist.models.static import TEXTS_AT_ONCE, StaticBiEncoder
from shortlist.pipeline.stages import load_bi_encoder

NAME = "shortlist-static-v1"
TEXTS = [
    "How do plants make food?",
    "tea",
    "Naïve café owners — 42 % of them — said: “¿qué?” 你好 tea 🍵",
    "a b c " * 400,
    *(f"Sentence number {n} of a batch, " + "with more words " * (n % 7) for n in range(40)),
]
SAYS_NOTHING = ["", "   ", "🍵", "你好", "\u200b"]


@pytest.fixture(scope="module")
def static():
    return BiEncoder.load(NAME)


def by_model2vec(path, texts):
    model = StaticModel.from_pretrained(path)
    model.embedding = model.embedding.astype(np.float32)  # it rounds means to the table's precision
    return model.encode(texts, max_length=512, normalize=True, use_multiprocessing=False)


def test_embeddings_are_those_of_model2vec(static):
    embeddings = static.encode_passages(TEXTS)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (len(TEXTS), 256)
    np.testing.assert_allclose(embeddings, by_model2vec(resolve(NAME).path, TEXTS), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_an_embedding_is_the_mean_of_the_vectors_of_the_known_tokens(static):
    folder = resolve(NAME).path
    table = load_file(folder / "model.safetensors")["embeddings"].astype(np.float64)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    for text, made in zip(TEXTS, static.encode_passages(TEXTS), strict=True):
        encoding = tokenizer.encode(text, add_special_tokens=False)  # it is cut by its own file
        known = [i for i in encoding.ids if i != tokenizer.token_to_id("[UNK]")]
        mean = table[known].mean(axis=0)
        np.testing.assert_allclose(made, mean / np.linalg.norm(mean), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=12))
def test_an_embedding_does_not_depend_on_its_batch(static, texts):
    together = static.encode_passages(texts)
    assert together.shape == (len(texts), 256)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert together.tobytes() == static.encode_queries(texts[::-1])[::-1].tobytes()
    assert together.tobytes() == b"".join(static.encode_passages([t]).tobytes() for t in texts)


def test_many_texts_and_the_progress_told(static):
    texts = [f"note {n}" for n in range(2 * TEXTS_AT_ONCE + 3)]
    told = []
    embeddings = static.encode_passages(texts, told.append)
    assert sum(told) == len(texts)
    last = static.encode_passages(texts[-1:])
    assert embeddings[-1].tobytes() == last[0].tobytes()


def test_a_text_that_says_nothing_is_far_from_those_that_say_something(static):
    nothing = static.encode_passages(SAYS_NOTHING)
    assert (nothing == nothing[0]).all()
    assert np.linalg.norm(nothing[0]) == 1
    assert np.abs(static.encode_passages(TEXTS + NOTES) @ nothing[0]).max() < 0.2


def test_what_says_nothing_is_indexed_and_found_by_a_query_that_says_nothing(static, tmp_path):
    pipeline = RetrieveRerankPipeline.build([*NOTES, "🍵"], tmp_path / "i.idx", bi_encoder=static)
    assert pipeline.search("🎻", rerank=False)[0].text == "🍵"
    assert pipeline.search("a hot drink from leaves", rerank=False)[0].text == NOTES[1]


def test_cut_tokens_are_counted(static):
    cuts = []
    long = "tea " * 700
    embeddings = static.encode_passages(
        ["short", long, "tea " * 512], on_cut=lambda *cut: cuts.append(cut)
    )
    assert static.max_tokens == 512
    assert static.count_tokens(["", "tea", long]) == [0, 1, 700]
    assert cuts == [(1, 700 - 512)]
    np.testing.assert_array_equal(embeddings[1], embeddings[2])
    tail = static.encode_passages(["tea " * 512 + "coffee " * 100])
    np.testing.assert_array_equal(embeddings[1], tail[0])


def test_prompts_are_part_of_the_text(static):
    prompted = BiEncoder.load(NAME, query_prompt="query: ", passage_prompt="passage: ")
    assert (prompted.encode_queries(["tea"]) == static.encode_queries(["query: tea"])).all()
    assert (prompted.encode_passages(["tea"]) == static.encode_queries(["passage: tea"])).all()
    assert prompted.count_tokens(["tea"]) == static.count_tokens(["passage: tea"])


def test_lone_surrogates_and_nuls_are_encoded(static):
    embeddings = static.encode_queries(["\ud800 tea", "tea\0tea"])
    np.testing.assert_allclose(embeddings[0], static.encode_queries(["? tea"])[0])
    assert np.isfinite(embeddings).all()


@pytest.fixture
def folder(tmp_path):
    """A small folder of model2vec, made by the library: few vectors, weights, a longest text."""
    tokenizer = Tokenizer.from_file(str(resolve(NAME).path / "tokenizer.json"))
    tokens, rng = tokenizer.get_vocab_size(), np.random.default_rng(5)
    model = StaticModel(
        rng.normal(size=(50, 8)).astype(np.float32),
        tokenizer,
        weights=rng.uniform(0.1, 1, tokens).astype(np.float32),
        token_mapping=rng.integers(0, 50, tokens),
        normalize=False,
        config={"model_type": "model2vec", "hidden_dim": 8},
    )
    model.config["max_length"] = 16
    model.save_pretrained(tmp_path / "foreign")
    return tmp_path / "foreign"


def test_a_foreign_folder_with_weights_and_a_mapping(folder):
    encoder = BiEncoder.load(folder)
    assert isinstance(encoder, StaticBiEncoder)
    assert (encoder.dim, encoder.max_tokens) == (8, 16)
    expected = StaticModel.from_pretrained(folder).encode(
        TEXTS[:3], normalize=True, max_length=16, use_multiprocessing=False
    )
    np.testing.assert_allclose(encoder.encode_passages(TEXTS[:3]), expected, atol=1e-5)


def test_a_configuration_without_a_longest_text_means_512(folder):
    config = json.loads((folder / "config.json").read_text())
    without = {key: value for key, value in config.items() if key != "max_length"}
    for content in (without, without | {"max_length": None}):
        (folder / "config.json").write_text(json.dumps(content))
        assert BiEncoder.load(folder).max_tokens == 512


def test_damaged_weights_are_an_error_of_ours(folder):
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot load"):
        BiEncoder.load(folder)


def test_weights_of_another_kind_are_an_error_of_ours(folder):
    shutil.copy(resolve("all-MiniLM-L6-v2").path / "model.safetensors", folder)
    with pytest.raises(ModelError, match="cannot load .*expected.* with `embeddings`, a row for"):
        BiEncoder.load(folder)


def test_a_model_card_is_not_read(folder):
    (folder / "README.md").write_bytes(b"---\nlicense: [unclosed\n---\n\xff")
    assert BiEncoder.load(folder).dim == 8


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pytorch_model.bin, a pickle: convert it"):
        BiEncoder.load(folder)


def test_it_is_no_cross_encoder():
    with pytest.raises(ModelError, match="no cross-encoder: its architecture is StaticModel"):
        CrossEncoder.load(NAME)


def test_the_bundled_folder_names_no_machine():
    config = (resolve(NAME).path / "config.json").read_text()
    assert json.loads(config)["tokenizer_name"] == "sentence-transformers/all-MiniLM-L6-v2"


def test_the_preset_is_found_by_every_name(tmp_path):
    row = preset("fast")
    shutil.copytree(resolve(NAME).path, tmp_path / "copy")
    loaded = [load_bi_encoder("fast"), load_bi_encoder("minilm", NAME), BiEncoder.load(NAME)]
    loaded.append(load_bi_encoder("minilm", tmp_path / "copy"))
    assert all(isinstance(encoder, StaticBiEncoder) for encoder in loaded)
    assert len({encoder.fingerprint for encoder in loaded}) == 1
    assert (loaded[0].name, row.task) == (row.bi_encoder, "both")


@pytest.fixture(scope="module")
def fast_index(tmp_path_factory):
    path = tmp_path_factory.mktemp("fast") / "notes.idx"
    RetrieveRerankPipeline.build(NOTES, path, preset="fast")
    return path


def test_an_index_is_opened_with_the_model_that_made_it(fast_index, bi_encoder, tmp_path):
    shutil.copytree(resolve(NAME).path, tmp_path / "copy")
    for choice in (None, NAME, tmp_path / "copy"):
        pipeline = RetrieveRerankPipeline.open(fast_index, bi_encoder=choice)
        assert pipeline.search("how do plants make food?", rerank=False)[0].text == NOTES[0]
    with pytest.raises(
        IndexFolderError, match="made with shortlist-static-v1 .* not with all-Mini"
    ):
        RetrieveRerankPipeline.open(fast_index, bi_encoder=bi_encoder)


def test_searching_loads_no_torch_and_no_onnxruntime(fast_index):
    code = (
        "import sys\n"
        "from shortlist import RetrieveRerankPipeline\n"
        f"pipeline = RetrieveRerankPipeline.open({str(fast_index)!r})\n"
        "assert pipeline.search('how do plants make food?', rerank=False)\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'onnxruntime', 'scipy',"
        " 'pandas', 'datasets', 'sklearn'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert done.stderr == ""


def shortlist(*arguments):
    command = [sys.executable, "-m", "shortlist.cli.__main__", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_command_line(tmp_path):
    corpus, index = tmp_path / "corpus.jsonl", tmp_path / "notes.idx"
    rows = [json.dumps({"_id": f"n{i}", "text": text}) for i, text in enumerate(NOTES)]
    corpus.write_text("\n".join(rows))
    shortlist("index", corpus, "-o", index, "--preset", "fast")
    shortlist("index", corpus, "-o", index, "--bi-encoder", NAME, "--overwrite")
    assert json.loads(shortlist("info", index, "--json"))["model"]["name"] == NAME
    hits = json.loads(shortlist("search", index, "plants make food", "--json", "--no-rerank"))
    assert hits[0]["id"] == "n0"
    assert hits[0]["score_kind"] == "cosine"
