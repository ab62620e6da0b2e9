"""`shortlist calibrate`: fitted on one half, measured on the other, used by what searches."""

from __future__ import annotations

import json

import pytest
from test_cli import run

from shortlist.pipeline.calibrated import FILE


@pytest.fixture(scope="module")
def sample(tmp_path_factory, exports):
    """The sample encyclopedia, searched by a first stage that is quick and alone."""
    folder = tmp_path_factory.mktemp("calibrate")
    run("sample", folder / "s")
    run(
        "index", folder / "s" / "encyclopedia.xml", "-o", folder / "x.idx",
        "--preset", "fast", "--cross-encoder", "none",
    )  # fmt: skip
    return folder


def judged(sample):
    folder = sample / "s"
    return "--queries", folder / "queries.jsonl", "--qrels", folder / "qrels" / "dev.tsv"


def test_what_is_fitted_is_kept_and_used(sample):
    index = sample / "x.idx"
    dry = json.loads(run("calibrate", index, *judged(sample), "--json", "--dry-run").stdout)
    assert not (index / FILE).exists()
    shown = run("calibrate", index, *judged(sample))
    record = json.loads((index / FILE).read_text())
    for name in ("slope", "intercept", "answered_from"):
        assert record[name] == dry[name]
    assert f"expected calibration error {dry['error']:.3f}" in " ".join(shown.stdout.split())
    assert dry["error"] < 0.1
    assert record["measured"]["held_out"]["error"] == dry["error"]
    assert "no good answer" in shown.stderr
    assert dry["at_threshold"]["coverage"] > 0.85

    (hit, *_) = json.loads(run("search", index, "how do plants make food?", "--json").stdout)
    assert 0 < hit["relevance"] < 1
    assert (
        f"relevance {hit['relevance']:.0%}"
        in run("search", index, "how do plants make food?").stdout
    )
    run("calibrate", index, *judged(sample), "--coverage", "0.1")
    nonsense = run("search", index, "zxqv 7781 brrgl")
    assert (
        "no good answer found; the first passage answers with a probability of" in nonsense.stderr
    )


def test_too_few_questions(sample):
    done = run("calibrate", sample / "x.idx", *judged(sample), "--limit-queries", "60", code=2)
    assert "60 judged questions are too few" in done.stderr
    done = run("calibrate", sample / "x.idx", *judged(sample), "--coverage", "95", code=2)
    assert "coverage must lie between 0 and 1, got 95" in done.stderr
