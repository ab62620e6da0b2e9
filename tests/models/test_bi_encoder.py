"""Encoding against sentence-transformers, and what must not change an embedding."""

from __future__ import annotations

import numpy as np
import pytest

from shortlist import BiEncoder
from shortlist.models.loading import resolve

TEXTS = [
    "How do plants make food?",
    "tea",
    "",
    "Naïve café owners — 42 % of them — said: “¿qué?” 你好 🍵",
    "A long one. " * 200,
    *(f"Sentence number {n} of a batch, " + "with more words " * (n % 7) for n in range(40)),
]


@pytest.fixture(scope="module")
def reference():
    from sentence_transformers import SentenceTransformer

    path = resolve("all-MiniLM-L6-v2").path
    return SentenceTransformer(str(path), device="cpu").encode(TEXTS, normalize_embeddings=True)


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_embeddings_are_those_of_sentence_transformers(device, reference):
    embeddings = BiEncoder.load("all-MiniLM-L6-v2", device=device).encode_passages(TEXTS)
    assert embeddings.shape == (len(TEXTS), 384)
    assert embeddings.dtype == np.float32
    assert (embeddings * reference).sum(axis=1).min() > 0.99999
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_an_embedding_does_not_depend_on_its_batch(bi_encoder):
    together = bi_encoder.encode_passages(TEXTS)
    backwards = bi_encoder.encode_passages(TEXTS[::-1])[::-1]
    alone = np.concatenate([bi_encoder.encode_passages([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, backwards, atol=1e-5)


def test_two_runs_are_equal_byte_for_byte(bi_encoder):
    first, second = bi_encoder.encode_passages(TEXTS), bi_encoder.encode_passages(TEXTS)
    assert first.tobytes() == second.tobytes()


def test_no_texts_give_no_embeddings(bi_encoder):
    assert bi_encoder.encode_queries([]).shape == (0, 384)


def test_cut_tokens_are_counted(bi_encoder):
    cuts = []
    bi_encoder.encode_passages(["short", "word " * 300], on_cut=lambda *cut: cuts.append(cut))
    whole = bi_encoder.count_tokens(["word " * 300])[0]
    assert cuts == [(1, whole - bi_encoder.max_tokens)]


def test_prompts_are_part_of_the_text(bi_encoder):
    prompted = BiEncoder.load(
        "all-MiniLM-L6-v2", query_prompt="query: ", passage_prompt="passage: "
    )
    np.testing.assert_allclose(
        prompted.encode_queries(["tea"]), bi_encoder.encode_queries(["query: tea"]), atol=1e-6
    )
    np.testing.assert_allclose(
        prompted.encode_passages(["tea"]), bi_encoder.encode_queries(["passage: tea"]), atol=1e-6
    )


def test_lone_surrogates_and_nuls_are_encoded(bi_encoder):
    embeddings = bi_encoder.encode_queries(["\ud800 tea", "tea\0tea"])
    assert np.isfinite(embeddings).all()
