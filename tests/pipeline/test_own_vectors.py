"""The user's own vectors and encoders."""

from __future__ import annotations

import numpy as np
import pytest
from notes import NOTES
from test_distinct import words

from shortlist import Passage, RetrieveRerankPipeline
from shortlist.errors import DataError, IndexFolderError, UsageError
from shortlist.models.encoders import FunctionEncoder
from shortlist.pipeline.index import Index
from shortlist.pipeline.vectors import NpyWriter, OwnVectors, read_ids, read_vectors

IDS = [f"n{i}" for i in range(len(NOTES))]


def build(tmp_path, bi_encoder, embeddings, ids=None):
    passages = [Passage(name, text) for name, text in zip(IDS, NOTES, strict=True)]
    return RetrieveRerankPipeline.build(
        passages, tmp_path / "own.idx", bi_encoder=bi_encoder, embeddings=embeddings, ids=ids,
        cross_encoder="none",
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_own_vectors_answer_as_encoded_ones(tmp_path, bi_encoder, pipeline, dtype):
    embeddings = bi_encoder.encode_passages(NOTES)
    shuffled = np.random.default_rng(1).permutation(len(NOTES))
    own = build(
        tmp_path, bi_encoder, (7 * embeddings[shuffled]).astype(dtype), [IDS[i] for i in shuffled]
    )  # of any length: the index makes them unit vectors
    for query in ("how do plants make food?", "a boat at night"):
        expected = pipeline.search(query, top_k=8, rerank=False)
        found = own.search(query, top_k=8)
        assert [hit.id for hit in found] == [f"n{hit.id}" for hit in expected]
        tolerance = 2e-3 if dtype == np.float16 else 1e-6
        scores = [hit.score for hit in expected]
        assert [hit.score for hit in found] == pytest.approx(scores, abs=tolerance)


def test_vectors_that_do_not_fit_are_refused(tmp_path, bi_encoder):
    good = bi_encoder.encode_passages(NOTES)
    rng = np.random.default_rng(0)
    for embeddings, ids, match in [
        (rng.normal(size=good.shape), None, r"not those of all-MiniLM-L6-v2: of 8 passages"),
        (good[:, :100], None, "have 100 dimensions, those of all-MiniLM-L6-v2 384"),
        (good[:7], None, "no embedding for the passages 'n7'"),
        (np.vstack([good, good[:1]]), None, "9 rows of embeddings for 8 passages"),
        (good, [*IDS[:-1], "other"], "no embedding for the passages 'n7'"),
        (good, IDS[:-1], "7 ids for 8 rows"),
        (good, [*IDS[:-1], "n0"], "the id 'n0' stands for two rows"),
        (good[0], None, r"expected floats \[n, dim\]"),
        (np.ones(good.shape, dtype=int), None, r"expected floats \[n, dim\]"),
        (np.where(np.arange(384) == 3, np.nan, good), None, "row 0 has NaN"),
    ]:
        with pytest.raises(DataError, match=match):
            build(tmp_path, bi_encoder, embeddings, ids)
        assert list(tmp_path.iterdir()) == []


def test_files_of_vectors(tmp_path):
    rows = np.random.default_rng(3).normal(size=(700, 5)).astype(np.float32)
    with NpyWriter(tmp_path / "x.npy", 5) as writer:
        for start in range(0, 700, 256):
            writer.write(rows[start : start + 256])
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy", allow_pickle=False), rows)
    (tmp_path / "ids.txt").write_text("".join(f"id {i}\textra\n" for i in range(700)))
    vectors = read_vectors(tmp_path / "x.npy", tmp_path / "ids.txt")
    assert vectors.rows is not None
    assert vectors.rows["id 699"] == 699
    with NpyWriter(tmp_path / "none.npy", 5):
        pass
    assert np.load(tmp_path / "none.npy").shape == (0, 5)
    with pytest.raises(RuntimeError), NpyWriter(tmp_path / "cut.npy", 5) as writer:
        raise RuntimeError
    assert not (tmp_path / "cut.npy").exists()


def test_broken_files_of_vectors_are_named(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "many.npz", a=np.ones(2))
    (tmp_path / "text.npy").write_text("no")
    for name in ("objects.npy", "many.npz", "text.npy", "absent.npy"):
        with pytest.raises(DataError, match=name):
            read_vectors(tmp_path / name, None)
    (tmp_path / "ids").write_text("a\n\nb\n")
    with pytest.raises(DataError, match="ids:2: an empty line"):
        read_ids(tmp_path / "ids")
    with pytest.raises(DataError, match="expected floats"):
        OwnVectors([[1]])


def test_a_function_is_an_encoder_and_is_recognised_by_what_it_does(tmp_path):
    path = tmp_path / "f.idx"
    RetrieveRerankPipeline.build(NOTES, path, bi_encoder=words, cross_encoder="none")
    assert Index(path).manifest.model.name == "function:words"
    opened = RetrieveRerankPipeline.open(path, bi_encoder=lambda texts: words(texts))
    assert opened.search("chess squares pieces", top_k=1)[0].text == NOTES[7]
    with pytest.raises(IndexFolderError, match="was made with the function words; open it in Py"):
        RetrieveRerankPipeline.open(path)
    with pytest.raises(IndexFolderError, match=r"are not those of function:.*in the mean"):
        RetrieveRerankPipeline.open(path, bi_encoder=lambda texts: words([t[::-1] for t in texts]))
    with pytest.raises(IndexFolderError, match=r"made with function:words .*not with all-MiniLM"):
        RetrieveRerankPipeline.open(path, bi_encoder="all-MiniLM-L6-v2")


def test_a_function_may_encode_queries_differently_and_keep_lengths(tmp_path):
    encoder = FunctionEncoder(
        words, encode_queries=lambda texts: 2 * words(texts), name="mine", metric="dot"
    )
    pipeline = RetrieveRerankPipeline.build(
        NOTES, tmp_path / "i", bi_encoder=encoder, cross_encoder="none"
    )
    hit = pipeline.search("chess", top_k=1)[0]
    assert hit.score_kind == "dot"
    assert hit.score == pytest.approx(float((2 * words(["chess"]) @ words([hit.text]).T)[0, 0]))


def test_functions_that_return_nonsense_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"returned embeddings of shape \(1,\)"):
        FunctionEncoder(lambda texts: [1.0] * len(texts), name="flat")
    widths = iter((3, 3, 4))
    encoder = FunctionEncoder(lambda texts: np.ones((len(texts), next(widths))))
    encoder.encode_queries(["a"])
    with pytest.raises(UsageError, match=r"shape \(1, 4\) for 1 texts; expected \(1, 3\)"):
        encoder.encode_queries(["a"])
    with pytest.raises(UsageError, match="bi_encoder is a int"):
        RetrieveRerankPipeline.build(NOTES, tmp_path / "i", bi_encoder=7)
    with pytest.raises(UsageError, match="metric must be cosine or dot"):
        FunctionEncoder(words, metric="euclid")
