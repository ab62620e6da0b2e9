"""The systems that are on a machine: made ready once, searched as pipelines of their own would be.

What is encoded is counted by what each encoder is asked for, what is scored by `RememberedScores`.
The hub's cache is one made by hand, in the layout that huggingface_hub itself reads.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from notes import NOTES

from shortlist import BiEncoder, RetrieveRerankPipeline
from shortlist.errors import ModelError, UsageError
from shortlist.evaluation.choose import FirstStage
from shortlist.models.cross_encoder import CrossEncoder
from shortlist.models.loading import BUNDLED, resolve
from shortlist.models.remembered import RememberedScores
from shortlist.pipeline import systems
from shortlist.pipeline.bm25 import BM25Pipeline
from shortlist.pipeline.index import Index
from shortlist.pipeline.systems import first_stages
from shortlist.pipeline.writer import IndexWriter
from shortlist.records import Passage

PASSAGES = [Passage(str(n), text) for n, text in enumerate(NOTES)]
QUESTIONS = ["how do plants make food?", "a warm drink of leaves and water", "sixteen pieces"]
OURS = "shortlist-cross-encoder-v2"
STATIC = "shortlist-static-v1"
pytestmark = pytest.mark.usefixtures("notes_index")  # both stages are exported by then


@pytest.fixture(scope="module")
def work(notes_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every system has been searched once."""
    folder = tmp_path_factory.mktemp("work") / "not" / "there yet"
    for stage in first_stages(PASSAGES, folder, ["bm25", "minilm", "fast"]):
        stage.searcher.search_many(QUESTIONS, top_k=8, depth=4, rerank=True)
    return folder


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passages that any bi-encoder is asked to encode."""
    asked: list[str] = []
    real = BiEncoder.encode_passages

    def encode_passages(self: BiEncoder, texts: list[str], *rest: Any, **named: Any) -> Any:
        asked.extend(texts)
        return real(self, texts, *rest, **named)

    monkeypatch.setattr(BiEncoder, "encode_passages", encode_passages)
    return asked


def indexes(folder: Path) -> dict[str, int]:
    """Each index of the folder, and when its manifest was written."""
    return {path.name: (path / "manifest.json").stat().st_mtime_ns for path in folder.glob("*.idx")}


def answers(stage: FirstStage, *, rerank: bool = True) -> list[list[tuple[str, float]]]:
    found = stage.searcher.search_many(QUESTIONS, top_k=8, depth=4, rerank=rerank)
    return [[(hit.id, hit.score) for hit in hits] for hits in found]


# what they find


def test_each_system_searches_as_a_pipeline_of_its_own(
    work: Path, notes_index: Path, pipeline: RetrieveRerankPipeline, tmp_path: Path
) -> None:
    stages = {
        stage.name: stage for stage in first_stages(PASSAGES, work, ["fast", "bm25", "minilm"])
    }
    assert list(stages) == ["fast", "bm25", "minilm"]  # as they were asked for
    fast = RetrieveRerankPipeline.build(PASSAGES, tmp_path / "fast.idx", preset="fast")
    own = {
        "minilm": RetrieveRerankPipeline.build(PASSAGES, tmp_path / "minilm.idx"),
        "fast": fast,
        "bm25": BM25Pipeline(NOTES, pipeline.cross_encoder),
    }
    for name, stage in stages.items():
        assert (stage.cross_encoder, stage.task) == (OURS, "both")
        assert stage.searcher.has_reranker
        for rerank in (True, False):
            expected = own[name].search_many(QUESTIONS, top_k=8, depth=4, rerank=rerank)
            for ours, theirs in zip(answers(stage, rerank=rerank), expected, strict=True):
                assert [i for i, _ in ours] == [hit.id for hit in theirs]
                assert [score for _, score in ours] == pytest.approx(
                    [hit.score for hit in theirs], abs=1e-4
                )
    assert answers(stages["minilm"]) != answers(stages["minilm"], rerank=False)


def test_what_is_timed_remembers_nothing(work: Path) -> None:
    for stage in first_stages(PASSAGES, work, ["bm25", "minilm"]):
        searcher: Any = stage.searcher
        clock: Any = stage.clock
        assert isinstance(searcher.cross_encoder, RememberedScores)
        assert isinstance(clock.cross_encoder, CrossEncoder)
        found = clock.search_many(QUESTIONS, top_k=8, depth=4, rerank=True)
        expected = answers(stage)
        assert [[hit.id for hit in hits] for hits in found] == [
            [i for i, _ in hits] for hits in expected
        ]
        assert searcher.cross_encoder.scored == 0


def test_a_preset_brings_the_task_that_its_model_was_made_for(work: Path) -> None:
    (stage,) = first_stages(PASSAGES, work, ["minilm-symmetric"])
    assert (stage.task, stage.cross_encoder) == ("symmetric", OURS)  # ours stands in for none


def test_without_a_cross_encoder_there_is_nothing_to_rerank_with(work: Path) -> None:
    stages = list(first_stages(PASSAGES, work, ["bm25", "fast"], cross_encoder="none"))
    assert [(s.searcher.has_reranker, s.cross_encoder) for s in stages] == [(False, None)] * 2
    for stage in stages:
        assert stage.clock is not None
        assert not stage.clock.has_reranker
        found = stage.searcher.search_many(QUESTIONS, top_k=3, depth=1, rerank=False)
        assert {hit.rerank_score for hits in found for hit in hits} == {None}


def test_another_cross_encoder_stands_behind_all(work: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(BUNDLED / OURS, folder)
    stages = list(first_stages(PASSAGES, work, ["bm25", "fast"], cross_encoder=str(folder)))
    assert [stage.cross_encoder for stage in stages] == [str(folder)] * 2
    searcher: Any = stages[0].searcher
    assert searcher.cross_encoder.name == str(folder)


# what is kept


def test_nothing_is_encoded_or_scored_twice(work: Path, encoded: list[str]) -> None:
    before = indexes(work)
    assert len(before) == 2  # BM25 has none
    stages = list(first_stages(PASSAGES, work, ["bm25", "minilm", "fast"]))
    for stage in stages:
        answers(stage)
        searcher: Any = stage.searcher
        assert searcher.cross_encoder.scored == 0
    assert indexes(work) == before
    assert encoded == []
    deeper: Any = stages[1].searcher
    deeper.search_many(QUESTIONS, top_k=8, depth=8, rerank=True)
    assert 0 < deeper.cross_encoder.scored <= 3 * 4  # the new ones


def test_presets_of_one_bi_encoder_share_an_index(work: Path, encoded: list[str]) -> None:
    before = indexes(work)
    assert len(list(first_stages(PASSAGES, work, ["minilm", "minilm-symmetric"]))) == 2
    assert (indexes(work), encoded) == (before, [])


@pytest.mark.parametrize(
    "passages",
    [
        PASSAGES[:-1],
        PASSAGES[::-1],
        [*PASSAGES[:-1], Passage("8", NOTES[-1])],
        [*PASSAGES[:-1], Passage("7", NOTES[-1] + " ")],
        [*PASSAGES[:-1], Passage("7", NOTES[-1], title="Chess")],
        [*PASSAGES[:-1], Passage("7", NOTES[-1].removeprefix("Chess"), title="Chess")],
    ],
    ids=["fewer", "order", "id", "text", "title", "cut elsewhere"],
)
def test_another_corpus_gets_an_index_of_its_own(
    work: Path, encoded: list[str], passages: list[Passage]
) -> None:
    before = indexes(work)
    (stage,) = first_stages(passages, work, ["fast"], cross_encoder="none")
    after = indexes(work)
    assert before.items() < after.items()
    assert len(after) == len(before) + 1
    assert sorted(encoded) == sorted(passage.model_text for passage in passages)
    (hits,) = stage.searcher.search_many(["chess"], top_k=9, depth=1, rerank=False)
    assert {hit.id for hit in hits} == {passage.id for passage in passages}


def test_a_folder_of_ones_own_is_a_system(tmp_path: Path, encoded: list[str]) -> None:
    model, work = tmp_path / "model", tmp_path / "work"
    shutil.copytree(BUNDLED / STATIC, model)
    for number, prompts in enumerate(({}, {"query": "q: ", "passage": "p: "}), 1):
        (model / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
        (stage,) = first_stages(PASSAGES, work, [str(model)], cross_encoder="none")
        assert (stage.name, stage.task) == (str(model), "both")
        assert len(indexes(work)) == number  # it is another model now
        assert len(encoded) == number * len(PASSAGES)


def test_a_damaged_index_is_made_anew(tmp_path: Path, encoded: list[str]) -> None:
    def ids() -> list[str]:
        (stage,) = first_stages(PASSAGES, tmp_path, ["fast"], cross_encoder="none")
        return [i for i, _ in answers(stage, rerank=False)[0]]

    found = ids()
    (index,) = tmp_path.glob("*.idx")
    for file in index.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:-100])
    assert ids() == found
    assert len(encoded) == 2 * len(PASSAGES)
    assert ids() == found
    assert len(encoded) == 2 * len(PASSAGES)


def test_the_same_weights_under_another_name_are_fused_as_their_own(
    tmp_path: Path,
) -> None:
    """An index knows the model's name, and the name the fusion: it must not be another's."""
    copied = tmp_path / "copy"
    shutil.copytree(resolve("all-MiniLM-L6-v2").path, copied)
    alone = {}
    for name in ("minilm", str(copied)):
        (stage,) = first_stages(PASSAGES[:3], tmp_path / f"alone {len(alone)}", [name])
        alone[name] = answers(stage)
    for order in ([str(copied), "minilm"], ["minilm", str(copied)]):
        work = tmp_path / f"first {Path(order[0]).name}"
        for stage in first_stages(PASSAGES[:3], work, order):
            assert answers(stage) == alone[stage.name]


# names


def test_steps_are_told_and_a_name_counts_once(work: Path) -> None:
    told: list[str] = []
    stages = first_stages(
        PASSAGES, work, ["fast", "bm25", "fast"], cross_encoder="none", on_step=told.append
    )
    assert [stage.name for stage in stages] == ["fast", "bm25"]
    assert told == ["fast: preparing 8 passages", "bm25: preparing 8 passages"]


def test_no_name_is_a_mistake_that_lists_what_there_is(work: Path) -> None:
    with pytest.raises(UsageError, match="no system was named; there are bm25, minilm, fast"):
        next(iter(first_stages(PASSAGES, work, [])))


@pytest.mark.parametrize("name", ["minilm2", "no/such-model", "./no-such-folder", "e5-small"])
def test_an_unknown_name_is_named_before_anything_is_encoded(
    tmp_path: Path, encoded: list[str], name: str
) -> None:
    told: list[str] = []
    stages = first_stages(PASSAGES, tmp_path, ["bm25", "fast", name], on_step=told.append)
    with pytest.raises(ModelError, match=r"systems on this machine: bm25, minilm, fast"):
        list(stages)
    with pytest.raises(ModelError, match="e5-small-v2" if name == "e5-small" else name):
        list(first_stages(PASSAGES, tmp_path, [name]))
    assert (told, encoded, list(tmp_path.iterdir())) == ([], [], [])


def test_an_unknown_cross_encoder_is_named(tmp_path: Path, encoded: list[str]) -> None:
    with pytest.raises(ModelError, match="no/such-reranker"):
        list(first_stages(PASSAGES, tmp_path, ["fast"], cross_encoder="no/such-reranker"))
    assert encoded == []


# the hub's cache


def in_cache(cache: Path, name: str, files: Path, *, without: str = "") -> None:
    """Put a model into a cache as the hub's client does: blobs, and a snapshot of links to them."""
    repository = cache / f"models--{name.replace('/', '--')}"
    revision = "0123456789abcdef0123456789abcdef01234567"
    snapshot = repository / "snapshots" / revision
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    for file in files.rglob("*"):
        if file.is_file() and file.name != without:
            target = snapshot / file.relative_to(files)
            target.parent.mkdir(parents=True, exist_ok=True)
            blob = repository / "blobs" / file.name
            shutil.copy(file, blob)
            target.symlink_to(os.path.relpath(blob, target.parent))


LISTED = """
import json, sys
from shortlist.models.loading import bi_encoders_in_cache
from shortlist.pipeline.systems import local_systems
print(json.dumps([bi_encoders_in_cache(), local_systems()]))
"""
SEARCHED = """
import json, sys
from pathlib import Path
from shortlist.pipeline.systems import first_stages
from shortlist.records import Passage
passages = [Passage(str(n), text) for n, text in enumerate(json.loads(sys.argv[1]))]
stages = first_stages(passages, Path(sys.argv[2]), json.loads(sys.argv[3]), cross_encoder="none")
found = {
    stage.name: [hit.id for hit in stage.searcher.search_many(
        ["plants"], top_k=8, depth=1, rerank=False)[0]]
    for stage in stages
}
print(json.dumps(found))
"""


def with_cache(cache: Path, script: str, *arguments: str) -> Any:
    """What a script prints in a process of its own: the client reads the variable when imported."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "HF_HUB_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    in_cache(folder, "somebody/tiny", BUNDLED / STATIC)
    in_cache(folder, "intfloat/e5-small-v2", BUNDLED / STATIC)  # the preset's name, at least
    in_cache(folder, "sentence-transformers/all-MiniLM-L6-v2", resolve("all-MiniLM-L6-v2").path)
    in_cache(folder, "somebody/half", BUNDLED / STATIC, without="model.safetensors")
    in_cache(folder, "somebody/reranker", BUNDLED / OURS)
    (folder / "datasets--somebody--texts" / "snapshots").mkdir(parents=True)
    (folder / "models--somebody--broken").mkdir()
    return folder


def test_what_is_on_this_machine_without_a_cache(tmp_path: Path) -> None:
    bi_encoders, found = with_cache(tmp_path / "none", LISTED)
    assert (bi_encoders, found) == ([], ["bm25", "minilm", "fast"])


def test_bi_encoders_of_the_hubs_cache_join(cache: Path) -> None:
    bi_encoders, found = with_cache(cache, LISTED)
    assert bi_encoders == [
        "intfloat/e5-small-v2", "sentence-transformers/all-MiniLM-L6-v2", "somebody/tiny",
    ]  # fmt: skip
    # MiniLM is there under either name; it is one system, and so is a model that has a preset
    assert found == ["bm25", "minilm", "fast", "e5-small", "somebody/tiny"]


def test_a_model_of_the_hubs_cache_is_searched_with(cache: Path, tmp_path: Path) -> None:
    names = json.dumps(["fast", "somebody/tiny"])
    found = with_cache(cache, SEARCHED, json.dumps(NOTES), str(tmp_path / "work"), names)
    assert list(found) == ["fast", "somebody/tiny"]
    assert found["somebody/tiny"] == found["fast"]  # the same weights


def test_the_prompts_of_a_preset_make_another_index(cache: Path, tmp_path: Path) -> None:
    names = json.dumps(["e5-small", "intfloat/e5-small-v2"])  # with and without role prompts
    found = with_cache(cache, SEARCHED, json.dumps(NOTES), str(tmp_path), names)
    assert list(found) == json.loads(names)
    models = [
        json.loads((tmp_path / name / "manifest.json").read_text())["model"]
        for name in indexes(tmp_path)
    ]
    assert {model["passage_prompt"] for model in models} == {"passage: ", ""}
    assert len({model["fingerprint"] for model in models}) == 1


def test_of_presets_with_one_bi_encoder_the_first_stands_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(systems, "bi_encoders_in_cache", list)
    assert systems.local_systems() == ["bm25", "minilm", "fast"]
    presets = {row.name: row.bi_encoder for row in systems.known_presets().values()}
    assert presets["minilm-symmetric"] == presets["minilm"]


def test_a_presets_own_second_stage_is_taken_from_the_hubs_cache(
    cache: Path, tmp_path: Path
) -> None:
    script = (
        "import json\n"
        "from shortlist.models.presets import PRESETS\n"
        "from shortlist.pipeline.systems import _second_of\n"
        "print(json.dumps(_second_of(PRESETS['e5-small'])))\n"
    )
    assert with_cache(cache, script) == OURS
    in_cache(tmp_path, "cross-encoder/ms-marco-MiniLM-L6-v2", BUNDLED / OURS)
    assert with_cache(tmp_path, script) == "cross-encoder/ms-marco-MiniLM-L6-v2"


def test_without_the_extra_keyword_search_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shortlist.pipeline.systems.is_installed", lambda: False)
    assert systems.local_systems() == ["minilm", "fast"]


def test_the_rest_of_an_index_is_made_where_a_run_was_killed(tmp_path: Path) -> None:
    (stage,) = first_stages(PASSAGES, tmp_path, ["fast"])
    expected = answers(stage, rerank=False)
    (place,) = tmp_path.glob("*.idx")
    with IndexWriter(place) as writer:  # as a build leaves it that did not come to its end
        writer.delete([6, 7])
        writer.commit(complete=False)
    (stage,) = first_stages(PASSAGES, tmp_path, ["fast"])
    assert answers(stage, rerank=False) == expected
    assert len(Index(place)) == len(PASSAGES) == 8
