"""Training a cross-encoder: what is learnt and written, and that an interruption costs nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from notes import NOTES
from small_collection import GROUPS, QUESTIONS

from shortlist import CrossEncoder
from shortlist.errors import DataError, ModelError, ShortlistError, UsageError
from shortlist.training.cross_encoder import LOSSES, CrossEncoderRecipe, keep_layers, train
from shortlist.training.groups import Group
from shortlist.training.teacher import taught

RECIPE = CrossEncoderRecipe(
    learning_rate=3e-4, warmup_steps=2, batch=4, epochs=5, max_tokens=48, evaluate_every=4,
    patience=0,
)  # fmt: skip
PAIRS = [(question, note) for question in QUESTIONS[:3] for note in NOTES]


class Interrupted(Exception):
    pass


class Looks:
    """A dev metric that always gains, and ends the run at one of its looks."""

    def __init__(self, last: int | None = None, seen: int = 0) -> None:
        self.seen, self.last = seen, last

    def __call__(self, model) -> float:
        self.seen += 1
        if self.seen == self.last:
            raise Interrupted
        return float(self.seen)


def test_the_loss_falls_and_a_resumed_run_equals_the_uninterrupted_one(tmp_path, exports):
    whole = train(GROUPS, tmp_path / "whole", RECIPE, dev_metric=Looks())
    assert (whole.steps, len(whole.losses), whole.best_step) == (10, 10, 10)
    assert np.mean(whole.losses[-2:]) < 0.8 * np.mean(whole.losses[:2])
    assert [step for step, _ in whole.dev] == [0, 4, 8, 10]

    with pytest.raises(Interrupted):
        train(GROUPS, tmp_path / "resumed", RECIPE, dev_metric=Looks(3))  # at step 8
    assert not (tmp_path / "resumed").exists()
    looks = Looks(seen=2)
    resumed = train(GROUPS, tmp_path / "resumed", RECIPE, dev_metric=looks)
    assert looks.seen == 4  # at 8 and 10, from step 4 on
    assert resumed.losses == whole.losses
    assert not (tmp_path / "resumed.partial").exists()
    left = {file.suffix for file in (tmp_path / "resumed").rglob("*")}
    assert left == {".json", ".safetensors"}

    undisturbed, again = (
        CrossEncoder.load(tmp_path / name, precision="float32").score(PAIRS)
        for name in ("whole", "resumed")
    )
    np.testing.assert_array_equal(again, undisturbed)
    assert undisturbed.reshape(3, 8).argmax(axis=1).tolist() == [0, 1, 2]

    # started once more, it has nothing to do
    looks = Looks()
    assert train(GROUPS, tmp_path / "whole", RECIPE, dev_metric=looks) == whole
    assert looks.seen == 0


def test_training_ends_when_the_dev_metric_stops_gaining_and_the_best_weights_are_kept(
    tmp_path, caplog
):
    values = iter([0.95, 0.9, 0.5, 0.4, 0.3])
    weights = {}

    def metric(model):
        value = next(values)
        weights[value] = model.predict(PAIRS, activation_fn=None, show_progress_bar=False)
        return value

    recipe = replace(RECIPE, evaluate_every=2, patience=2)
    done = train(GROUPS, tmp_path / "model", recipe, dev_metric=metric)
    assert (done.steps, done.best_step) == (6, 2)  # of 10
    assert "did not pay: the dev metric was 0.9500 before it, and 0.9000 at best" in caplog.text
    best = CrossEncoder.load(tmp_path / "model", precision="float32").score(PAIRS)
    expected = np.log(weights[0.9] / (1 - weights[0.9]))  # predict gives probabilities
    np.testing.assert_allclose(best, expected, atol=0.02)  # weights are kept in float16


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "listwise"])
def test_every_loss_falls(tmp_path, loss):
    groups = GROUPS if loss == "lambda" else [replace_scores(group) for group in GROUPS]
    done = train(groups, tmp_path / loss, replace(RECIPE, loss=loss, epochs=4))
    assert np.mean(done.losses[-2:]) < 0.9 * np.mean(done.losses[:2])


def replace_scores(group: Group) -> Group:
    return Group(group.query, group.positive, group.negatives, (4.0, -1.0, -3.0, 0.0, -2.0))


def test_a_student_has_some_of_the_layers_and_learns_its_teachers_order(tmp_path, exports):
    teacher = CrossEncoder.load("shortlist-cross-encoder-v2")
    groups = taught(GROUPS, [teacher, teacher])
    np.testing.assert_allclose(
        groups[3].scores, teacher.score([(QUESTIONS[3], t) for t in GROUPS[3].passages]), atol=1e-4
    )
    recipe = replace(RECIPE, init="shortlist-cross-encoder-v2", layers=5, learning_rate=1e-4)
    done = train(groups, tmp_path / "student", recipe)
    assert np.mean(done.losses[-3:]) < 0.7 * done.losses[0]  # of the teacher, not of truth
    config = json.loads((tmp_path / "student/config.json").read_text())
    assert config["num_hidden_layers"] == 5


def test_a_head_of_several_labels_gives_way_to_a_new_one(tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from shortlist.models.loading import resolve

    source = str(resolve("all-MiniLM-L6-v2").path)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=3)
    model.save_pretrained(tmp_path / "nli")
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "nli")
    recipe = replace(RECIPE, init=str(tmp_path / "nli"), epochs=1)
    train(GROUPS, tmp_path / "model", recipe)
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert len(config.get("id2label", [0])) == 1


@pytest.mark.gpu
def test_training_on_a_gpu(tmp_path):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    done = train(GROUPS, tmp_path / "model", RECIPE, device="cuda")
    assert np.mean(done.losses[-2:]) < 0.8 * np.mean(done.losses[:2])


def test_layers_that_cannot_be_kept(tmp_path):
    with pytest.raises(UsageError, match="layers must be 1 to 6 .got 7"):
        train(GROUPS, tmp_path / "model", replace(RECIPE, layers=7))

    class Other:
        base_model = None

    with pytest.raises(ModelError, match="Other has no layers that can be taken out"):
        keep_layers(Other(), 2)


def test_the_lowest_layers_are_kept():
    from transformers import BertConfig, BertModel

    small = BertConfig(hidden_size=8, num_hidden_layers=4, num_attention_heads=2,
                       intermediate_size=8, vocab_size=32)  # fmt: skip
    model = BertModel(small)
    lowest = list(model.encoder.layer)[:3]
    keep_layers(model, 3)
    assert list(model.encoder.layer) == lowest
    assert model.config.num_hidden_layers == 3


def test_a_loss_that_is_no_number_is_told(tmp_path):
    def metric(model):
        next(model.parameters()).data.fill_(float("nan"))
        return 0.0

    with pytest.raises(ShortlistError, match="the loss became nan at step 1; use a lower learning"):
        train(GROUPS, tmp_path / "model", RECIPE, dev_metric=metric)


def test_memory_that_is_too_small_is_told(tmp_path):
    def metric(model):
        model.get_submodule("0").register_forward_hook(out_of_memory)
        return 0.0

    def out_of_memory(*_given):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: "
                           "can't allocate memory: you tried to allocate 9 bytes")  # fmt: skip

    with pytest.raises(ShortlistError, match="memory was too small for a step of 4 queries"):
        train(GROUPS, tmp_path / "model", RECIPE, dev_metric=metric)


def test_progress_of_another_run_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        train(GROUPS, tmp_path / "model", RECIPE, dev_metric=Looks(2))
    others = ((GROUPS, replace(RECIPE, seed=1), ""), (GROUPS[::-1], RECIPE, ""),
              (GROUPS, RECIPE, "other dev questions"))  # fmt: skip
    for groups, recipe, key in others:
        with pytest.raises(UsageError, match="another recipe or other groups; delete it"):
            train(groups, tmp_path / "model", recipe, dev_key=key)


def test_a_checkpoint_that_was_being_written_is_passed_over_and_patience_is_remembered(tmp_path):
    recipe = replace(RECIPE, evaluate_every=2, patience=3)
    falling = [0.9, 0.5, 0.4, 0.3, 0.2, 0.1]

    def metric(model):
        seen.append(falling[len(seen)])
        if len(seen) == stop:
            raise Interrupted
        return seen[-1]

    seen, stop = [], 4  # before, at step 2 and 4; at step 6 it ends
    with pytest.raises(Interrupted):
        train(GROUPS, tmp_path / "model", recipe, dev_metric=metric)
    half = tmp_path / "model.partial/checkpoints/checkpoint-6"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"a part of it")
    seen, stop = [0.9, 0.5, 0.4], None
    done = train(GROUPS, tmp_path / "model", recipe, dev_metric=metric)
    # the look at step 2 is the best; those at 4, 6 and 8 are the three without a gain
    assert (done.steps, done.best_step) == (8, 2)
    assert done.dev == [(0, 0.9), (2, 0.5), (4, 0.4), (6, 0.3), (8, 0.2)]


def test_what_is_at_the_output_stays(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="was not made by training; it is left as it is"):
        train(GROUPS, tmp_path, RECIPE)


def test_groups_that_cannot_be_learnt_from(tmp_path):
    with pytest.raises(DataError, match="no training groups"):
        train([], tmp_path / "model", RECIPE)
    with pytest.raises(DataError, match="a positive and 7 negatives"):
        train(GROUPS, tmp_path / "model", replace(RECIPE, negatives=7))
    with pytest.raises(UsageError, match="margin-mse learns a teacher's margins; name one"):
        train(GROUPS, tmp_path / "model", replace(RECIPE, loss="margin-mse"))
    with pytest.raises(UsageError, match="lambda learns no teacher's scores; use listwise"):
        train([replace_scores(GROUPS[0])], tmp_path / "model", replace(RECIPE, loss="lambda"))
    with pytest.raises(UsageError, match="read_tokens is 1024; all-MiniLM-L6-v2 reads 512"):
        train(GROUPS, tmp_path / "model", replace(RECIPE, read_tokens=1024))
    with pytest.raises(UsageError, match="the same logit; it is none"):
        taught(
            GROUPS,
            [
                type(
                    "Flat", (), {"fingerprint": "", "score": lambda _, pairs: np.ones(len(pairs))}
                )()
            ],
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({name: 0}, f"{name} must be at least 1 .got 0")
          for name in ("batch", "negatives", "epochs", "read_tokens", "evaluate_every")),
        ({"loss": "hinge"}, "loss must be one of listwise, pairwise"),
        ({"learning_rate": 20.0}, "learning_rate must lie between 0 and 1"),
        ({"patience": -1}, "must not be negative"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_work(options, message):
    with pytest.raises(UsageError, match=message):
        CrossEncoderRecipe(**options)
