"""Training a bi-encoder: every loss, an interruption, and that what is written runs everywhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from notes import NOTES
from small_collection import GROUPS, QUESTIONS

from shortlist import BiEncoder
from shortlist.errors import DataError, UsageError
from shortlist.training.bi_encoder import RECIPES, BiEncoderRecipe, train, with_prompts

RECIPE = BiEncoderRecipe(
    learning_rate=2e-4, warmup_steps=2, batch=4, epochs=4, max_tokens=48, scale=5.0,
    evaluate_every=4, patience=0,
)  # fmt: skip


def ours(model_folder):
    model = BiEncoder.load(model_folder, precision="float32")
    return model, model.encode_queries(QUESTIONS), model.encode_passages(NOTES)


def test_the_loss_falls_a_resumed_run_equals_it_and_sentence_transformers_reads_the_model(tmp_path):
    from sentence_transformers import SentenceTransformer

    whole = train(GROUPS, tmp_path / "whole", RECIPE)
    assert len(whole.losses) == 8
    assert np.mean(whole.losses[-2:]) < 0.8 * np.mean(whole.losses[:2])

    class Interrupted(Exception):
        pass

    def metric(model):
        seen.append(1)
        if len(seen) == 3:
            raise Interrupted
        return float(len(seen))

    seen: list[int] = []
    with pytest.raises(Interrupted):
        train(GROUPS, tmp_path / "resumed", RECIPE, dev_metric=metric)  # at step 8, after step 4
    resumed = train(GROUPS, tmp_path / "resumed", RECIPE, dev_metric=lambda _: 9.0)
    assert resumed.losses == whole.losses

    _, queries, passages = ours(tmp_path / "whole")
    _, again, _ = ours(tmp_path / "resumed")
    np.testing.assert_array_equal(again, queries)
    theirs = SentenceTransformer(str(tmp_path / "whole"), local_files_only=True, device="cpu")
    np.testing.assert_allclose(theirs.encode(QUESTIONS), queries, atol=1e-5)
    assert (queries @ passages.T).argmax(axis=1).tolist() == list(range(8))
    start, trained = (
        json.loads((folder / "config.json").read_text())
        for folder in (_start_folder(), tmp_path / "whole")
    )
    assert trained["hidden_dropout_prob"] == start["hidden_dropout_prob"]


def _start_folder():
    from shortlist.models.loading import resolve

    return resolve("all-MiniLM-L6-v2").path


def test_a_large_batch_in_parts_has_the_same_gradient(tmp_path):
    exact = replace(RECIPE, bfloat16=False, batch=8, epochs=2)
    whole = train(GROUPS, tmp_path / "whole", exact)
    parts = train(GROUPS, tmp_path / "parts", replace(exact, mini_batch=3))
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-3)


def test_the_first_dimensions_alone_are_trained_too(tmp_path):
    plain = train(GROUPS, tmp_path / "plain", RECIPE)
    nested = train(GROUPS, tmp_path / "nested", replace(RECIPE, matryoshka=(32,)))
    assert nested.losses[0] > plain.losses[0]  # of both sizes

    def right(folder):
        _, queries, passages = ours(folder)
        return _margin(queries[:, :32] @ passages[:, :32].T)

    assert right(tmp_path / "nested") > right(tmp_path / "plain")


def _margin(similar):
    """How far the right passage is above the next one, in the mean."""
    others = similar + np.diag(np.full(len(similar), -np.inf))
    return float(np.mean(np.diag(similar) - others.max(axis=1)))


def test_prompts_are_trained_with_and_kept(tmp_path):
    recipe = replace(RECIPE, query_prompt="query: ", passage_prompt="passage: ", epochs=1)
    train(GROUPS, tmp_path / "model", recipe)
    model, queries, _ = ours(tmp_path / "model")
    assert (model.query_prompt, model.passage_prompt) == ("query: ", "passage: ")
    # and are the start's own in a second round
    again = with_prompts(replace(RECIPE, init=str(tmp_path / "model"), passage_prompt=""))
    assert (again.query_prompt, again.passage_prompt) == ("query: ", "")
    plain = BiEncoder.load(tmp_path / "model", query_prompt="", precision="float32")
    np.testing.assert_allclose(
        plain.encode_queries([f"query: {question}" for question in QUESTIONS]), queries, atol=1e-5
    )


@pytest.mark.parametrize("mini_batch", [None, 4])
def test_both_ways_is_the_mean_of_both_directions(tmp_path, mini_batch):
    recipe = replace(
        RECIPES["quora"], batch=8, mini_batch=mini_batch, negatives=0, bfloat16=False,
        warmup_steps=1,
    )  # fmt: skip
    done = train(GROUPS, tmp_path / "model", recipe)
    start = BiEncoder.load("all-MiniLM-L6-v2", precision="float32")
    queries = start.encode_queries(QUESTIONS).astype(float)
    similar = 20 * queries @ start.encode_passages(NOTES).astype(float).T
    expected = [
        np.mean(np.log(np.exp(s - np.diag(s)[:, None]).sum(axis=1))) for s in (similar, similar.T)
    ]
    np.testing.assert_allclose(done.losses[0], np.mean(expected), rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 1}, "batch must be at least 2"),
        ({"negatives": -1}, "negatives must not be negative"),
        ({"mini_batch": 0}, "mini_batch must be at least 1"),
    ],
)
def test_a_recipe_that_cannot_work(options, message):
    with pytest.raises(UsageError, match=message):
        BiEncoderRecipe(**options)


def test_a_model_that_goes_by_the_dot_product_is_trained_by_it(tmp_path):
    from shortlist.models.loading import resolve

    shutil.copytree(resolve("all-MiniLM-L6-v2").path, tmp_path / "dot")
    modules = json.loads((tmp_path / "dot/modules.json").read_text())
    (tmp_path / "dot/modules.json").write_text(json.dumps(modules[:2]))  # without normalisation
    settings = tmp_path / "dot/config_sentence_transformers.json"
    config = json.loads(settings.read_text()) | {"similarity_fn_name": "dot"}
    settings.write_text(json.dumps(config))
    recipe = replace(RECIPE, init=str(tmp_path / "dot"), scale=None, negatives=0, batch=8, epochs=1,
                     bfloat16=False)  # fmt: skip
    done = train(GROUPS, tmp_path / "model", recipe)
    start = BiEncoder.load(tmp_path / "dot", precision="float32")
    similar = start.encode_queries(QUESTIONS).astype(float) @ start.encode_passages(NOTES).T
    assert start.metric == "dot"
    expected = np.log(np.exp(similar - np.diag(similar)[:, None]).sum(axis=1)).mean()
    np.testing.assert_allclose(done.losses[0], expected, rtol=1e-2)


def test_models_and_dimensions_that_cannot_be_trained(tmp_path):
    with pytest.raises(UsageError, match="expected dimensions from 1 to 384"):
        train(GROUPS, tmp_path / "a", replace(RECIPE, matryoshka=(512,)))
    with pytest.raises(DataError, match="1 pairs that all answer one another are no training data"):
        train(GROUPS[:1], tmp_path / "a", RECIPE)
    with pytest.raises(UsageError, match="a table of token vectors; only networks are trained"):
        train(GROUPS, tmp_path / "b", replace(RECIPE, init="shortlist-static-v1"))
