"""Runs: of many queries, and foreign ones reranked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from notes import NOTES

from shortlist import CrossEncoder, Passage
from shortlist.data.runs import read_run, write_run
from shortlist.errors import DataError
from shortlist.pipeline.batch import rerank_run, run_scores, search_all
from shortlist.records import Hit

QUERIES = {f"q{i}": text[:40] for i, text in enumerate(NOTES)}


def test_a_run_is_what_single_searches_give(pipeline, tmp_path):
    found = dict(search_all(pipeline, QUERIES, top_k=8, depth=3))
    assert list(found) == list(QUERIES)
    write_run(((q, run_scores(hits)) for q, hits in found.items()), tmp_path / "run.trec")
    run = read_run(tmp_path / "run.trec")
    for query_id, text in QUERIES.items():
        alone = pipeline.search(text, top_k=8, depth=3)
        assert list(run[query_id]) == [hit.id for hit in alone]
        for hit in alone[:3]:  # below the depth scores go on below
            assert run[query_id][hit.id] == pytest.approx(hit.score, rel=1e-5)


numbers = st.floats(-30, 30)


@given(rescored=st.lists(numbers, max_size=5), below=st.lists(st.floats(-1, 1), max_size=5))
def test_scores_of_a_run_fall_as_the_hits_do(rescored, below):
    scores = [*sorted(rescored, reverse=True), *sorted(below, reverse=True)]
    hits = [
        Hit(n, f"p{n}", "", "", score, "fused", n, 0.0, 0.0 if n < len(rescored) else None)
        for n, score in enumerate(scores)
    ]
    run = run_scores(hits)
    assert list(run) == [hit.id for hit in hits]
    assert (np.diff(list(run.values())) <= 0).all()


def test_a_foreign_run_is_ordered_by_the_cross_encoder(exports):
    model = CrossEncoder.load("shortlist-cross-encoder-v2")
    passages = {f"n{i}": Passage(f"n{i}", text) for i, text in enumerate(NOTES)}
    rng = np.random.default_rng(2)
    run = {q: {p: float(rng.normal()) for p in rng.permutation(list(passages))} for q in QUERIES}
    found = dict(rerank_run(run, QUERIES, passages, model, depth=5))
    for query_id, scores in run.items():
        ranked = sorted(scores, key=lambda p: -scores[p])
        logits = model.score([(QUERIES[query_id], passages[p].text) for p in ranked[:5]])
        expected = [ranked[i] for i in np.argsort(-logits, kind="stable")] + ranked[5:]
        assert [hit.id for hit in found[query_id]] == expected
        assert [hit.rerank_score is None for hit in found[query_id]] == [False] * 5 + [True] * 3
        assert {hit.score_kind for hit in found[query_id][:5]} == {"logit"}
    with pytest.raises(DataError, match="the text of 1 queries of the run is missing: 'x'"):
        list(rerank_run({"x": {"n0": 1.0}}, QUERIES, passages, model, depth=5))
    with pytest.raises(DataError, match="the text of 2 passages of the run is missing: 'a', 'b'"):
        list(rerank_run({"q0": {"a": 1.0, "b": 0.5}}, QUERIES, passages, model, depth=5))
