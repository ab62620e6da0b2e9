"""Scoring against transformers' own forward pass, and heads that are no cross-encoders."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from shortlist import CrossEncoder
from shortlist.errors import ModelError
from shortlist.models.loading import resolve
from shortlist.models.presets import OUR_CROSS_ENCODER
from shortlist.models.tokens import ModelTokenizer

PAIRS = [
    ("how do plants make food?", "Plants make sugar from water, air and light."),
    ("how do plants make food?", "The cello is held between the knees."),
    ("tea", "A very long passage about tea. " * 100),
    ("", "an empty question"),
    *((f"question {n}", f"a passage about number {n} " * (1 + n % 5)) for n in range(20)),
]


@pytest.fixture(scope="module")
def cross_encoder(exports):
    return CrossEncoder.load(OUR_CROSS_ENCODER)


def test_logits_are_those_of_sentence_transformers(cross_encoder):
    import torch
    from sentence_transformers import CrossEncoder as Reference

    reference = Reference(
        str(resolve(OUR_CROSS_ENCODER).path), device="cpu", activation_fn=torch.nn.Identity()
    )
    reference.model.float()  # stored in half precision
    expected = reference.predict(PAIRS)
    np.testing.assert_allclose(cross_encoder.score(PAIRS), expected, atol=2e-4)


def test_a_score_does_not_depend_on_its_batch(cross_encoder):
    together = cross_encoder.score(PAIRS)
    alone = np.concatenate([cross_encoder.score([pair]) for pair in PAIRS])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert together.dtype == np.float32


def test_pairs_are_cut_as_the_tokenizers_library_cuts_them(exports):
    from tokenizers import Tokenizer

    folder = resolve(OUR_CROSS_ENCODER)
    ours = ModelTokenizer(folder, 32)
    reference = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
    reference.no_padding()
    reference.enable_truncation(32, strategy="longest_first")
    pairs = [
        (" ".join(["one"] * first), " ".join(["two"] * second))
        for first in (0, 1, 5, 13, 14, 15, 16, 28, 29, 30, 60)
        for second in (0, 1, 5, 13, 14, 15, 16, 28, 29, 30, 60)
    ]
    for pair, own in zip(pairs, ours.encode_pairs(pairs), strict=True):
        expected = reference.encode(*pair)
        assert (own.ids, own.type_ids) == (expected.ids, expected.type_ids), pair


def test_very_long_texts_are_read_as_far_as_they_would_be(cross_encoder):
    """Trimmed first, or the tokenizer would list 6,000 combinations of what is left out."""
    short = cross_encoder.score([("word " * 300, "other " * 300)])
    long = cross_encoder.score([("word " * 20_000, "other " * 20_000)] * 30)
    np.testing.assert_allclose(long, np.repeat(short, 30), atol=1e-4)


def test_the_better_passage_scores_higher(cross_encoder):
    right, wrong = cross_encoder.score(PAIRS[:2])
    assert right > wrong


def test_a_bi_encoder_is_refused():
    with pytest.raises(ModelError, match="all-MiniLM-L6-v2 is no cross-encoder"):
        CrossEncoder.load("all-MiniLM-L6-v2")


def test_a_head_with_three_labels_is_refused(tmp_path):
    folder = tmp_path / "nli"
    shutil.copytree(resolve(OUR_CROSS_ENCODER).path, folder)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "contradiction", "1": "entailment", "2": "neutral"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="3 output labels, expected one relevance logit"):
        CrossEncoder.load(folder)
