"""The sizes of activations on real text, against what torch's layer norms give."""

from __future__ import annotations

import numpy as np
import pytest

from shortlist.models.batches import pad
from shortlist.models.loading import resolve
from shortlist.models.onnx import EXPORT_FORMAT
from shortlist.models.ranges import column_maxima
from shortlist.models.tokens import ModelTokenizer
from shortlist.models.verification import QUESTIONS_AND_ANSWERS, TEXTS_OF_MANY_KINDS

MINILM = "all-MiniLM-L6-v2"


def test_the_texts_that_are_seen_are_not_those_that_are_checked():
    checked = {text for pair in QUESTIONS_AND_ANSWERS for text in pair}
    assert not checked & set(TEXTS_OF_MANY_KINDS)


@pytest.mark.filterwarnings("ignore")
def test_maxima_are_those_of_torchs_layer_norms(bi_encoder, exports, tmp_path):
    import torch
    from transformers import AutoModel

    folder = resolve(MINILM)
    tokenizer = ModelTokenizer(folder)
    batches = [pad([e], 0) for e in tokenizer.encode(TEXTS_OF_MANY_KINDS[:6])]
    network = AutoModel.from_pretrained(folder.path, dtype=torch.float32).eval()
    norms = [m for m in network.modules() if isinstance(m, torch.nn.LayerNorm)]
    expected = [np.zeros(384)] * len(norms)

    def see(number):
        def hook(_module, _inputs, output):
            sizes = output.abs().reshape(-1, 384).max(0).values.numpy()
            expected[number] = np.maximum(expected[number], sizes)

        return hook

    for number, norm in enumerate(norms):
        norm.register_forward_hook(see(number))
    with torch.inference_mode():
        for batch in batches:
            network(**{key: torch.from_numpy(array) for key, array in batch.items()})
    path = exports / "onnx" / f"{folder.fingerprint}-float32-v{EXPORT_FORMAT}" / "model.onnx"
    maxima = column_maxima(path, tmp_path, batches)
    assert len(maxima) == len(norms) - 1 == 12  # the last one's output is pooled, not multiplied
    for got, wanted in zip(maxima.values(), expected, strict=False):
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
