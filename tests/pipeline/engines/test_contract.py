"""One contract for every engine: what it finds is what a brute force finds, but for its recall."""

from __future__ import annotations

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from surface import (
    DIM,
    QUESTIONS,
    ROWS,
    encode_long_and_short,
    opened,
    passages,
    search_of,
    vector,
)

from shortlist import RetrieveRerankPipeline
from shortlist.models.encoders import FunctionEncoder
from shortlist.pipeline.engines.derived import saved_records
from shortlist.records import Passage

TARGET = 0.99


def _anything(passage):
    return True


class BruteForce:
    """Every passage's score in float64, rounded to float32; the order by score, then by place."""

    def __init__(self, kept, encoder):
        self.kept = kept
        self.place = {passage.id: n for n, passage in enumerate(kept)}
        matrix = encoder.encode_passages([p.model_text for p in kept]).astype(np.float64)
        queries = encoder.encode_queries(QUESTIONS).astype(np.float64)
        self.scores = np.stack([(matrix * query).sum(axis=1) for query in queries])
        self.scores = self.scores.astype(np.float32)


def check(pipeline, brute, top_k, *, where=None, allowed=_anything, least=0.985):
    """Hits have true scores in the right order, none is missing, and the recall is as promised."""
    answers = pipeline.search_many(QUESTIONS, top_k=top_k, where=where)
    met = np.array([allowed(passage) for passage in brute.kept])
    found = wanted = 0
    for hits, scores in zip(answers, brute.scores, strict=True):
        places = np.array([brute.place[hit.id] for hit in hits], dtype=int)
        assert len(hits) == len(set(places)) == min(top_k, met.sum())
        assert met[places].all()
        assert [hit.score for hit in hits] == pytest.approx(scores[places].tolist(), 3e-7, 3e-7)
        order = [(-scores[place], place) for place in places]
        assert order == sorted(order)
        if len(hits):
            found += int((scores[places] >= np.sort(scores[met])[-len(hits)]).sum())
            wanted += len(hits)
    assert found >= least * wanted, f"recall {found / wanted:.4f}"
    return answers


@pytest.fixture(scope="session")
def brute(encoder):
    return BruteForce(passages(0, ROWS), encoder)


@pytest.mark.parametrize("top_k", [1, 10, 30, 100])
def test_it_finds_what_a_brute_force_finds(engine, built, encoder, brute, top_k):
    pipeline = opened(built, encoder, engine)
    check(pipeline, brute, top_k)
    assert pipeline.measured(top_k).recall >= TARGET


def test_what_it_reaches_is_recorded(engine, built, encoder):
    (record,) = saved_records(built)
    assert [found["top_k"] for found in record.measured] == [10, 30, 100]
    assert all(found["recall"] >= TARGET == found["target"] for found in record.measured)
    measured = opened(built, encoder, engine).measured(10)
    assert dict(measured.effort) == record.measured[0]["effort"]


def test_an_answer_is_the_same_alone_in_a_batch_and_after_reopening(engine, built, encoder):
    one, other = opened(built, encoder, engine), opened(built, encoder, engine)
    together = one.search_many(QUESTIONS[:20], top_k=10)
    assert other.search_many(QUESTIONS[:20], top_k=10) == together
    assert [one.search(question, top_k=10) for question in QUESTIONS[:20]] == together
    with ThreadPoolExecutor(4) as threads:  # and from several threads and readers at once
        answers = threads.map(
            lambda n: (one, other)[n % 2].search(QUESTIONS[n], top_k=10), range(20)
        )
        assert list(answers) == together


@pytest.mark.parametrize(
    ("where", "allowed"),
    [
        ("year < 60", lambda year: year < 60),  # most
        ("year == 7", lambda year: year == 7),  # 25
        ("year == 7 and id == 'p7'", None),  # one
        ("year == 1000", lambda year: year == 1000),
    ],
)
def test_filters_mean_the_same(engine, built, encoder, brute, where, allowed):
    meets = (lambda p: p.id == "p7") if allowed is None else (lambda p: allowed(p.metadata["year"]))
    check(opened(built, encoder, engine), brute, 40, where=where, allowed=meets)


def test_filters_that_few_rows_near_the_question_meet(engine, encoder, tmp_path):
    """Half of the rows may be found, and none of them is near: more is fetched until enough is."""
    if engine.startswith("http"):
        pytest.skip("what is tested is the same code as for the embedded Milvus, and 20 s slower")
    near = [
        Passage(f"n{i}", f"near{i:04} words{i:04} others{i} few", metadata={"kind": "near"})
        for i in range(1300)
    ]
    far = [
        Passage(f"f{i}", f"far{i:04} words{i:04} others{i} few", metadata={"kind": "far"})
        for i in range(1300)
    ]
    centre = vector("centre")

    def two_clouds(texts):
        noise = np.stack([vector(text) for text in texts])
        side = [-1.0 if text.startswith("far") else 1.0 for text in texts]
        return noise * 0.3 + centre * np.array(side)[:, None]

    clouds = FunctionEncoder(two_clouds, name="clouds")
    path = tmp_path / "clouds.idx"
    RetrieveRerankPipeline.build([*near, *far], path, bi_encoder=clouds, cross_encoder="none")
    pipeline = opened(path, clouds, engine)
    brute = BruteForce([*near, *far], clouds)
    hits = check(
        pipeline, brute, 10, where="kind == 'far'", allowed=lambda p: p.metadata["kind"] == "far"
    )
    assert all(hit.id.startswith("f") for found in hits for hit in found)


def test_more_than_there_are(engine, built, encoder):
    hits = opened(built, encoder, engine).search(QUESTIONS[0], top_k=ROWS + 10)
    assert len({hit.id for hit in hits}) == len(hits) == ROWS


def test_nothing_deleted_is_ever_found(engine, copied, encoder):
    pipeline = opened(copied, encoder, engine)
    gone = {hit.id for hits in pipeline.search_many(QUESTIONS, top_k=3) for hit in hits}
    pipeline.delete(gone)
    left = BruteForce([p for p in passages(0, ROWS) if p.id not in gone], encoder)
    check(pipeline, left, 10)
    check(opened(copied, encoder, engine), left, 10)
    pipeline.compact()  # the segments are others now
    check(pipeline, left, 10)
    check(opened(copied, encoder, engine), left, 10, where="year < 50", allowed=_before(50))


def _before(year):
    return lambda passage: passage.metadata["year"] < year


def test_what_is_added_is_found_at_once_and_later_by_the_engine(engine, copied, encoder):
    pipeline = opened(copied, encoder, engine)
    first = search_of(pipeline)
    pipeline.add(passages(ROWS, ROWS + 50))
    assert search_of(pipeline).new_rows == 50
    grown = BruteForce(passages(0, ROWS + 50), encoder)
    check(pipeline, grown, 10)
    assert pipeline.search(passages(ROWS + 9, ROWS + 10)[0].text, top_k=1)[0].id == f"p{ROWS + 9}"
    assert len(first.engine) == ROWS  # nothing was built for so few
    pipeline.upsert([Passage("p3", "another text altogether")])
    pipeline.add(passages(ROWS + 50, ROWS + 1200))
    later = search_of(pipeline)
    assert later.new_rows == 0  # now it was extended, or built anew
    kept = [p for p in passages(0, ROWS + 1200) if p.id != "p3"]
    kept.insert(ROWS + 50, Passage("p3", "another text altogether", metadata={"year": 0}))
    check(pipeline, BruteForce(kept, encoder), 10)
    check(opened(copied, encoder, engine), BruteForce(kept, encoder), 10)


def test_equal_passages_come_in_their_order(engine, encoder, tmp_path):
    texts = [f"same{n % 700} number{n}" for n in range(2_100)]  # three of each, far apart
    path = tmp_path / "same.idx"
    RetrieveRerankPipeline.build(texts, path, bi_encoder=encoder, cross_encoder="none")
    pipeline = opened(path, encoder, engine)
    kept = [Passage(str(n), text) for n, text in enumerate(texts)]
    check(pipeline, BruteForce(kept, encoder), 6, least=0.95)  # misses come in threes


def test_one_passage_and_none(engine, encoder, tmp_path):
    path = tmp_path / "small.idx"
    small = passages(0, 1)
    RetrieveRerankPipeline.build(small, path, bi_encoder=encoder, cross_encoder="none")
    pipeline = opened(path, encoder, engine)
    check(pipeline, BruteForce(small, encoder), 10, least=1.0)
    pipeline.delete(p.id for p in small)
    assert pipeline.search(QUESTIONS[0]) == []
    pipeline.add(passages(100, 102))
    assert {hit.id for hit in pipeline.search(QUESTIONS[0])} == {"p100", "p101"}
    pipeline.delete(["p100", "p101"])
    pipeline.compact()
    empty = opened(path, encoder, engine)
    assert empty.search_many(QUESTIONS[:3]) == [[], [], []]


def test_dot_products_of_long_and_short_vectors(engine, tmp_path):
    if engine.startswith("http"):
        pytest.skip("what is tested is the same code as for the embedded Milvus, and 20 s slower")
    lengths = FunctionEncoder(encode_long_and_short, name="lengths", metric="dot")
    path = tmp_path / "dot.idx"
    kept = passages(0, 2_000)
    RetrieveRerankPipeline.build(kept, path, bi_encoder=lengths, cross_encoder="none")
    pipeline = opened(path, lengths, engine)
    assert search_of(pipeline).space.dim == DIM + 1
    check(pipeline, BruteForce(kept, lengths), 10)


def test_a_damaged_file_is_never_opened(engine, copied, encoder, caplog):
    if engine.startswith("http"):
        pytest.skip("its files are the server's")
    files = [path for path in (copied / "engines").glob("*/**/*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    raw = bytearray(largest.read_bytes())
    raw[len(raw) // 2] ^= 1
    largest.unlink()
    largest.write_bytes(raw)
    with caplog.at_level(logging.WARNING):
        pipeline = opened(copied, encoder, engine)
    assert "is not what was written" in caplog.text
    assert "is built again" in caplog.text
    check(pipeline, BruteForce(passages(0, ROWS), encoder), 10)
    caplog.clear()
    opened(copied, encoder, engine)
    assert not caplog.text


def test_an_index_that_nobody_may_write_to(engine, built, encoder, brute, tmp_path, monkeypatch):
    from shortlist.errors import IndexWriteError
    from shortlist.pipeline.engines import opening

    if engine.startswith("http"):
        pytest.skip("it keeps next to nothing beside the index")
    path = tmp_path / "bare.idx"
    shutil.copytree(built, path, ignore=shutil.ignore_patterns("engines"))

    def refuse(folder):
        raise IndexWriteError(f"cannot write the index at {folder}: Read-only file system")

    # root may write anywhere, so that a folder without the right is no test
    monkeypatch.setattr(opening, "engine_lock", refuse)
    check(opened(path, encoder, engine), brute, 10)
    assert saved_records(path) == []
