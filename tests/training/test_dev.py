"""The dev metric is what a search of the pipeline gives; the fusion is fitted by brute force."""

from __future__ import annotations

import json

import numpy as np
import pytest
from notes import NOTES
from small_collection import QUESTIONS, write_collection

from shortlist import BiEncoder, CrossEncoder, RetrieveRerankPipeline
from shortlist.data.collections import Cutting
from shortlist.errors import DataError, ModelError, UsageError
from shortlist.models.presets import PRESETS, Fusion, Preset
from shortlist.models.registered import (
    fusion_for,
    known_presets,
    preset,
    register,
    registered,
    write_fusion,
)
from shortlist.training.dev import (
    bi_encoder_metric,
    cross_encoder_metric,
    fused,
    logits_of,
    mean_of,
    read_dev,
)
from shortlist.training.fusing import fit_fusion
from shortlist.training.held_out import both_stages, first_stage, read_by

CUTTING = Cutting(lambda texts: [len(text.split()) for text in texts], 64)
RULE = PRESETS["minilm"].fusion


def answer_of(query):
    return f"p{int(query[1:]) % 8}"


@pytest.fixture(scope="module")
def dev(bi_encoder, tmp_path_factory):
    folder = write_collection(tmp_path_factory.mktemp("data") / "notes", dev=range(16))
    work = tmp_path_factory.mktemp("work")
    return read_dev(folder, bi_encoder, work, CUTTING, questions=12, depth=5)


def test_the_order_is_that_of_a_search(dev, bi_encoder, tmp_path):
    scorer = CrossEncoder.load("shortlist-cross-encoder-v2")
    passages = [p for q in dev.questions.values() for p in q.relevant]
    assert len(dev.questions) == len(passages) == 12
    pipeline = RetrieveRerankPipeline.build(
        NOTES, tmp_path / "x.idx", bi_encoder=bi_encoder, cross_encoder="shortlist-cross-encoder-v2"
    )
    rankings = fused(dev, logits_of(dev, scorer.score), RULE)
    texts = [question.text for question in dev.questions.values()]
    answers = pipeline.search_many(texts, top_k=5, depth=5)
    for ranking, hits in zip(rankings.values(), answers, strict=True):
        assert ranking == [f"p{hit.id}" for hit in hits]


def test_the_metric_of_a_cross_encoder_in_training_is_that_order_measured(dev):
    from sentence_transformers import CrossEncoder as Torch

    from shortlist.models.loading import resolve

    scorer = CrossEncoder.load("shortlist-cross-encoder-v2")
    expected = mean_of(dev.measured(fused(dev, logits_of(dev, scorer.score), RULE), "MRR@10"))
    model = Torch(str(resolve("shortlist-cross-encoder-v2").path), max_length=48, device="cpu")
    found = cross_encoder_metric([dev, dev], RULE, read_tokens=256)(model)
    assert found == pytest.approx(expected)
    assert model.max_seq_length == 48  # as it was


def test_the_metric_of_a_bi_encoder_is_its_ndcg_over_the_pool(dev):
    class Random:
        def encode(self, texts, **_options):
            return np.array([self.vector(text) for text in texts], dtype=np.float32)

        def vector(self, text):
            vector = np.random.default_rng(list(text.encode())).normal(size=16)
            return vector / np.linalg.norm(vector)

    model = Random()
    pool = {
        p.id: p.model_text for q in dev.questions.values() for p in [*q.candidates, *q.relevant]
    }
    values = []
    for query, question in dev.questions.items():
        similar = {i: model.vector("?" + question.text) @ model.vector(t) for i, t in pool.items()}
        ranking = sorted(similar, key=similar.get, reverse=True)
        place = ranking.index(answer_of(query))
        values.append(1 / np.log2(place + 2) if place < 10 else 0.0)
    found = bi_encoder_metric([dev], query_prompt="?")(model)
    assert found == pytest.approx(np.mean(values), abs=1e-6)


def test_the_question_itself_is_no_candidate(bi_encoder, tmp_path):
    folder = write_collection(tmp_path / "c", dev=range(10))
    corpus = (folder / "corpus.jsonl").read_text()
    (folder / "corpus.jsonl").write_text(f'{corpus}\n{{"_id": "self", "text": "{QUESTIONS[0]}"}}')
    found = read_dev(folder, bi_encoder, tmp_path / "work", CUTTING, questions=None)
    assert len(found.questions["q0"].candidates) == 8
    assert "self" not in {p.id for p in found.questions["q0"].candidates}
    assert "self" in {p.id for p in found.questions["q8"].candidates}


def test_collections_of_one_name_are_searched_each_on_its_own(bi_encoder, tmp_path):
    folders = [write_collection(tmp_path / name / "faq", dev=range(10)) for name in ("en", "de")]
    corpus = [json.dumps({"_id": f"p{i}", "text": f"Text {i}"}) for i in range(8)]
    (folders[1] / "corpus.jsonl").write_text("\n".join(corpus))
    first, second = (
        read_dev(folder, bi_encoder, tmp_path / "work", CUTTING, questions=None)
        for folder in folders
    )
    assert first.key != second.key
    assert {p.text for p in second.questions["q0"].candidates} <= {f"Text {i}" for i in range(8)}


def test_a_sample_of_the_passages_has_those_that_are_judged(bi_encoder, tmp_path):
    folder = write_collection(tmp_path / "c", dev=[i for i in range(32) if i % 8 < 3])
    dev = read_dev(folder, bi_encoder, tmp_path / "work", CUTTING, questions=None, max_passages=5)
    for query, question in dev.questions.items():
        ids = {p.id for p in question.candidates}
        assert len(ids) == 5
        assert ids >= {"p0", "p1", "p2"}
        assert [p.id for p in question.relevant] == [answer_of(query)]
    whole = read_dev(folder, bi_encoder, tmp_path / "work", CUTTING, questions=None, max_passages=8)
    assert {len(question.candidates) for question in whole.questions.values()} == {8}


def test_few_questions_decide_nothing(bi_encoder, tmp_path):
    folder = write_collection(tmp_path / "c", dev=range(16))
    with pytest.raises(DataError, match="9 judged questions decide nothing; expected at least 10"):
        read_dev(folder, bi_encoder, tmp_path / "work", CUTTING, questions=9)


def test_long_passages_are_read_in_windows_as_in_a_search(bi_encoder, tmp_path):
    folder = write_collection(tmp_path / "c", dev=range(10))
    long = "Nothing of interest is said here at all. " * 80 + f"{NOTES[0]} " * 9
    rows = [json.dumps({"_id": "p0", "text": long}),
            *(json.dumps({"_id": f"p{i}", "text": NOTES[i]}) for i in range(1, 8))]  # fmt: skip
    (folder / "corpus.jsonl").write_text("\n".join(rows))
    dev = read_dev(folder, bi_encoder, tmp_path / "work", CUTTING, questions=None)
    scorer = CrossEncoder.load("shortlist-cross-encoder-v2")
    place = [p.id for p in dev.questions["q0"].candidates].index("p0")
    assert read_by(dev, scorer)["q0"][place] > logits_of(dev, scorer.score)["q0"][place] + 2


def test_the_fusion_is_the_best_rule_or_one_nearly_as_good_that_trusts_retrieval_more(dev):
    truth = {
        query: np.array([4.0 if p.id == answer_of(query) else -9.0 for p in q.candidates])
        for query, q in dev.questions.items()
    }
    rule, means = fit_fusion([dev], [truth])
    assert means[rule] >= 0.995 * max(means.values())
    assert means[Fusion()] == max(means.values())
    lies = {query: -logits for query, logits in truth.items()}
    rule, means = fit_fusion([dev], [lies])
    assert rule.retrieval == 30.0
    assert means[rule] > means[Fusion()]


def test_the_table_compares_with_what_was_before(dev, bi_encoder, tmp_path):
    scorer = CrossEncoder.load("shortlist-cross-encoder-v2")
    _, (row,) = both_stages([dev], scorer, before=(scorer, RULE))
    assert list(row.values) == ["retrieval", "before", "logit alone", "both stages"]
    assert (row.questions, row.judged) == (6, 16)  # the other six were fitted on
    folder = write_collection(tmp_path / "c", dev=range(16))
    (row,) = first_stage([(folder, None)], bi_encoder, bi_encoder, tmp_path / "work", CUTTING)
    assert row.values["before"] == row.values["after"] > 0.8
    assert row.change.mean_difference == 0.0


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("SHORTLIST_CONFIG", str(tmp_path / "settings"))
    return tmp_path / "settings"


def mine(name="mine", **changes):
    options = {"name": name, "task": "asymmetric", "bi_encoder": "all-MiniLM-L6-v2",
               "cross_encoder": None, "note": "mine", "licence": "mine", **changes}  # fmt: skip
    return Preset(**options)


def test_a_registered_preset_is_one_among_the_others(settings, tmp_path):
    assert registered() == {}
    register(mine())
    register(mine("other", query_prompt="q: "))
    register(mine(note="again"))
    assert preset("mine").note == "again"
    assert preset("other").query_prompt == "q: "
    assert list(known_presets()) == [*PRESETS, "mine", "other"]
    pipeline = RetrieveRerankPipeline.build(NOTES, tmp_path / "x.idx", preset="other")
    assert pipeline.bi_encoder.query_prompt == "q: "
    assert not pipeline.has_reranker


def test_presets_that_cannot_be_registered(settings):
    with pytest.raises(UsageError, match="minilm is a preset of the package"):
        register(mine("minilm"))
    with pytest.raises(UsageError, match="made of letters"):
        register(mine("../mine"))
    settings.mkdir()
    (settings / "presets.json").write_text('[{"name": 1}]')
    with pytest.raises(ModelError, match="does not hold presets"):
        preset("minilm")


def test_a_fusion_goes_with_its_cross_encoder(tmp_path):
    rule = Fusion(logit=1.0, retrieval=7.0, floor=-2.0)
    write_fusion(tmp_path, "all-MiniLM-L6-v2", rule)
    assert fusion_for("all-MiniLM-L6-v2", str(tmp_path)) == rule
    assert fusion_for("another", str(tmp_path)) == Fusion()
    (tmp_path / "fusion.json").write_text("{}")
    with pytest.raises(ModelError, match="does not hold a fusion rule"):
        fusion_for("all-MiniLM-L6-v2", str(tmp_path))


def test_the_commands_train_measure_and_register(settings, tmp_path, exports):
    """Both verbs, whole: from folders to a preset that searches."""
    from typer.testing import CliRunner

    from shortlist.cli.train import app

    judged = [i for i in range(32) if i % 8 > 4]
    data = write_collection(tmp_path / "notes", train=range(5), dev=judged)
    small = ["--batch", "4", "--relative-margin", "0", "--max-tokens", "48", "--epochs", "2",
             "--dev", str(data), "--learning-rate", "1e-4"]  # fmt: skip
    first, second = tmp_path / "first", tmp_path / "second"
    done = CliRunner().invoke(
        app, ["bi-encoder", f"{data}:5", "-o", str(first), *small, "--matryoshka", "64"],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0
    assert "notes" in done.stdout
    assert (first / "README.md").read_text().count("| notes |") == 2  # data, and held out

    done = CliRunner().invoke(
        app,
        ["cross-encoder", str(data), "-o", str(second), *small, "--bi-encoder", str(first),
         "--init", "shortlist-cross-encoder-v2", "--layers", "3", "--teacher",
         "shortlist-cross-encoder-v2", "--preset", "notes"],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0
    assert [p.name for p in tmp_path.glob("*.partial")] == []
    card = (second / "README.md").read_text()
    assert "| retrieval | before | logit alone | both stages |" in card
    assert "| teachers | shortlist-cross-encoder-v2 |" in card
    assert str(tmp_path) not in card
    pipeline = RetrieveRerankPipeline.build(NOTES, tmp_path / "x.idx", preset="notes")
    assert pipeline.cross_encoder.name == str(second)
    assert pipeline.fusion == fusion_for(str(first), str(second)) != Fusion()
    assert pipeline.search("ice that moves")[0].score_kind == "fused"
    assert isinstance(pipeline.bi_encoder, BiEncoder)
