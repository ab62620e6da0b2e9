"""Training: the loss falls, an interrupted run ends as an undisturbed one, what it writes runs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from notes import NOTES

from shortlist import CrossEncoder
from shortlist.errors import UsageError
from shortlist.training import cross_encoder as training
from shortlist.training.cross_encoder import CrossEncoderRecipe, train
from shortlist.training.mining import Group

QUESTIONS = [
    "how do plants make food?",
    "a warm drink",
    "ice that moves",
    "an instrument",
    "what stops illness",
    "what helps sailors",
    "insects that dance",
    "a board game",
]
GROUPS = [
    Group(question, NOTES[n], tuple(NOTES[(n + step) % 8] for step in (1, 2, 3, 5)))
    for n, question in enumerate(QUESTIONS)
]
RECIPE = CrossEncoderRecipe(
    learning_rate=3e-4, warmup_steps=2, groups_per_step=4, epochs=6, max_tokens=48
)


class Interrupted(Exception):
    pass


def test_loss_falls_a_resumed_run_equals_the_uninterrupted_one_and_the_model_runs(
    tmp_path, monkeypatch, exports
):
    whole = train(GROUPS, tmp_path / "whole", RECIPE)
    record = json.loads((whole / "training.json").read_text())
    assert record["last_loss"] < record["first_loss"]

    take_step = training._step
    steps = []

    def interrupted(*arguments):
        steps.append(1)
        if len(steps) == 8:
            raise Interrupted
        return take_step(*arguments)

    monkeypatch.setattr(training, "_step", interrupted)
    with pytest.raises(Interrupted):
        train(GROUPS, tmp_path / "resumed", RECIPE, checkpoint_every=3)
    assert not (tmp_path / "resumed").exists()
    steps.append(1)
    resumed = train(GROUPS, tmp_path / "resumed", RECIPE, checkpoint_every=3)
    assert len(steps) == 9 + 6  # went on at step 6 of 12
    assert not (tmp_path / "resumed.partial").exists()

    pairs = [(question, note) for question in QUESTIONS[:3] for note in NOTES]
    undisturbed = CrossEncoder.load(whole, precision="float32").score(pairs)
    again = CrossEncoder.load(resumed, precision="float32").score(pairs)
    np.testing.assert_allclose(again, undisturbed, atol=0.02)
    best = undisturbed.reshape(3, 8).argmax(axis=1)
    assert best.tolist() == [0, 1, 2]


def test_a_checkpoint_of_another_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_finish", lambda *_: None)
    short = replace(RECIPE, epochs=1)
    train(GROUPS, tmp_path / "model", short, checkpoint_every=2)
    for groups, recipe in ((GROUPS, replace(short, learning_rate=1e-4)), (GROUPS[::-1], short)):
        with pytest.raises(UsageError, match="another recipe or other groups; delete it"):
            train(groups, tmp_path / "model", recipe)


def test_what_is_at_the_output_stays(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="was not made by training; it is left as it is"):
        train(GROUPS, tmp_path, RECIPE)


def test_no_groups(tmp_path):
    with pytest.raises(UsageError, match="no training groups"):
        train([], tmp_path / "model", RECIPE)
    with pytest.raises(UsageError, match="a positive and 7 negatives"):
        train(GROUPS, tmp_path / "model", replace(RECIPE, negatives=7))


@pytest.mark.parametrize("name", ["groups_per_step", "negatives", "epochs", "read_tokens"])
def test_a_recipe_that_cannot_work(name):
    with pytest.raises(UsageError, match=f"{name} must be at least 1 .got 0"):
        CrossEncoderRecipe(**{name: 0})
