"""Bi-encoders of several families and poolings: the numbers of sentence-transformers.

The models are tiny and random, made here, with the tokenizer of all-MiniLM-L6-v2.
"""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from shortlist import BiEncoder, CrossEncoder
from shortlist.errors import ModelError
from shortlist.models.loading import resolve
from shortlist.models.verification import VERIFICATION_TEXTS

TEXTS = [*VERIFICATION_TEXTS, "", "a", "tea " * 30]
MODERN = {"local_attention": 16, "global_attn_every_n_layers": 2, "cls_token_id": 101}
MODERN |= {"sep_token_id": 102, "bos_token_id": 101, "eos_token_id": 102}
SIZES = {
    "vocab_size": 30522,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 80}


def made(folder, family, pooling, *, dense=False, normalise=True, **changes):
    """A SentenceTransformer of random weights, saved."""
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer, models

    torch.manual_seed(0)
    sizes = SIZES if family != "DistilBert" else DISTIL | {"vocab_size": 30522, "pad_token_id": 0}
    config = getattr(transformers, f"{family}Config")(**(sizes | changes))
    network = getattr(transformers, f"{family}Model")(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    base = folder / "base"
    network.save_pretrained(base)
    transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(resolve("all-MiniLM-L6-v2").path / "tokenizer.json"),
        model_max_length=64,
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "unk", "mask")},
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(base)
    parts = [models.Transformer(str(base), max_seq_length=64)]
    parts.append(models.Pooling(32, pooling_mode=pooling))
    if dense:
        parts.append(models.Dense(32, 24, activation_function=torch.nn.Tanh()))
    if normalise:
        parts.append(models.Normalize())
    model = SentenceTransformer(modules=parts, device="cpu").eval()
    model.save(str(folder / "model"))
    return model, folder / "model"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("family", "pooling", "options"),
    [
        ("Bert", "mean", {}),
        ("Bert", "cls", {}),
        ("DistilBert", "max", {}),
        ("Roberta", "mean", {"dense": True}),
        ("Electra", "cls", {"normalise": False, "embedding_size": 32}),
        ("MPNet", "mean", {"normalise": False}),
        ("Albert", "mean", {"embedding_size": 32}),
        # each token sees those within eight places: a window is no mask
        ("ModernBert", "cls", MODERN),
    ],
)
def test_embeddings_are_those_of_sentence_transformers(family, pooling, options, tmp_path):
    model, folder = made(tmp_path, family, pooling, **options)
    encoder = BiEncoder.load(folder)
    expected = model.encode(TEXTS, normalize_embeddings=True)
    got = encoder.encode_passages(TEXTS)
    assert encoder.dim == expected.shape[1] == (24 if options.get("dense") else 32)
    np.testing.assert_allclose(got, expected, atol=2e-5)
    alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, got, atol=1e-5)
    # random weights are no easier for int8: it may be refused, and must then fall back
    automatic = BiEncoder.load(folder, precision="auto")
    cosines = (automatic.encode_passages(TEXTS) * expected).sum(axis=1)
    assert cosines.min() > 0.97


@pytest.mark.filterwarnings("ignore")
def test_weights_in_half_precision_are_run_in_float32(tmp_path):
    model, folder = made(tmp_path, "Bert", "mean")
    model.half().save(str(folder))
    expected = model.float().encode(TEXTS, normalize_embeddings=True)
    for precision, near in (("float32", 2e-5), ("auto", 0.05)):
        got = BiEncoder.load(folder, precision=precision).encode_passages(TEXTS)
        np.testing.assert_allclose(got, expected, atol=near)


def test_an_architecture_that_nobody_knows_is_a_clear_error(tmp_path):
    _, folder = made(tmp_path, "Bert", "mean")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "no-such-network", "architectures": ["NoSuchNetwork"]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot load .*no-such-network"):
        BiEncoder.load(folder)
    with pytest.raises(ModelError, match="is no cross-encoder: its architecture is NoSuchNetwork"):
        CrossEncoder.load(folder)


def test_a_cache_without_space_is_a_clear_error(tmp_path):
    """A limit on the size of files, which a write meets as it would a full disk."""
    _, folder = made(tmp_path, "Bert", "mean")
    code = (
        "import os, resource\n"
        f"os.environ['SHORTLIST_CACHE'] = {str(tmp_path / 'cache')!r}\n"
        "from shortlist import BiEncoder\n"
        "from shortlist.errors import ExportError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try:\n"
        f"    BiEncoder.load({str(folder)!r})\n"
        "except ExportError as error:\n"
        "    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "name another folder in SHORTLIST_CACHE" in ran.stdout
    assert not list((tmp_path / "cache").rglob("*.onnx"))
