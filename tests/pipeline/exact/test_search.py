"""Exact search against a brute force in float64, whatever the data, chunks and first pass.

`SHORTLIST_EXAMPLES=5000 pytest tests/pipeline/exact` tries many more of them.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.errors import DataError, UsageError
from shortlist.pipeline.exact import bounds, queries, search, survivors
from shortlist.pipeline.exact.on_device import DeviceSearch, HostRows
from shortlist.pipeline.exact.rows import Rows
from shortlist.pipeline.exact.search import ExactSearch
from shortlist.pipeline.exact.unit_rows import UnitRows

EXAMPLES = int(os.environ.get("SHORTLIST_EXAMPLES", "120"))
KINDS = [
    "normal", "few values", "duplicates", "near ties", "scales", "outlier", "spectrum", "extremes",
    "tiny", "half",
]  # fmt: skip


def brute_force(asked, corpus, top_k, mask=None):
    """Every dot product summed in float64 and rounded; equal scores by row."""
    wide = corpus.astype(np.float64)
    products = np.stack([(wide * query).sum(-1) for query in asked.astype(np.float64)])
    scores = products.astype(np.float32)
    rows = np.arange(len(corpus)) if mask is None else np.flatnonzero(mask)
    order = np.argsort(-scores[:, rows], axis=1, kind="stable")[:, :top_k]
    found = rows[order]
    missing = top_k - found.shape[1]
    best = np.take_along_axis(scores, found, axis=1)
    return (
        np.pad(best, ((0, 0), (0, missing)), constant_values=-np.inf),
        np.pad(found, ((0, 0), (0, missing)), constant_values=-1),
    )


def exact_scores(asked, corpus):
    """The least and the largest score that a sum in float64 may round to, `[q, n]` each.

    A sum in float64 is defined up to the order of its terms: where they cancel, what is left of the
    rounding may be the whole score. Everywhere else the two are one number.
    """
    dim = corpus.shape[1]
    wide = corpus.astype(np.float64)
    least, largest = np.empty((2, len(asked), len(corpus)), np.float32)
    for number, query in enumerate(asked.astype(np.float64)):
        products = wide * query  # exact
        sums = products.sum(-1)
        error = dim * 2.0**-52 * np.abs(products, out=products).sum(-1)  # of two sums
        least[number], largest[number] = sums - error, sums + error
    return least, largest


def check_answer(found, asked, corpus, top_k, mask=None):
    """Nothing better was left out, nothing is told with another score, equal ones come by row."""
    scores, rows = found
    least, largest = exact_scores(asked, corpus)
    allowed = np.ones(len(corpus), bool) if mask is None else mask
    count = min(top_k, int(allowed.sum()))
    assert scores.shape == rows.shape == (len(asked), top_k)
    assert (rows[:, count:] == -1).all()
    assert (scores[:, count:] == -np.inf).all()
    for number, (told, best) in enumerate(zip(scores[:, :count], rows[:, :count], strict=True)):
        assert allowed[best].all()
        assert len(set(best)) == count
        assert (least[number, best] <= told).all()
        assert (told <= largest[number, best]).all()
        np.testing.assert_array_equal(np.lexsort((best, -told)), np.arange(count))
        if count:
            left = np.setdiff1d(np.flatnonzero(allowed), best)
            surely = least[number, left]
            assert not ((surely > told[-1]) | ((surely == told[-1]) & (left < best[-1]))).any()


def made_corpus(kind, rows, dim, rng):
    corpus = rng.normal(size=(rows, dim))
    if kind == "few values":
        corpus = rng.integers(-1, 2, (rows, dim)).astype(float)
    elif kind == "duplicates":
        corpus = corpus[rng.integers(0, max(1, rows // 3), rows)]
    elif kind == "near ties":
        corpus = corpus[:1] + rng.normal(size=(rows, dim)) * 1e-7
    elif kind == "scales":
        corpus *= 10.0 ** rng.integers(-12, 12, (rows, 1))
    elif kind == "outlier":
        corpus[rng.integers(rows)] *= 1e4
        corpus[rng.integers(rows), rng.integers(dim)] = 300
    elif kind == "spectrum":
        corpus *= 1 / np.arange(1, dim + 1) ** 1.5
    elif kind == "extremes":
        corpus = np.sign(corpus) * (1 - 1e-3 * rng.random((rows, dim)))
    elif kind == "tiny":
        corpus *= 1e-22
    elif kind == "half":
        return corpus.astype(np.float16)
    return corpus.astype(np.float32)


@st.composite
def searches(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim = draw(st.one_of(st.integers(1, 40), st.sampled_from([64, 384, 1100])))
    rows = draw(st.integers(1, 40_000 // dim if dim > 40 else 400))
    corpus = made_corpus(draw(st.sampled_from(KINDS)), rows, dim, rng)
    count = draw(st.integers(1, 6))
    if draw(st.booleans()):
        asked = rng.normal(size=(count, dim)) * draw(st.sampled_from([1e-6, 1, 1e6]))
    else:
        asked = np.abs(corpus[rng.integers(0, rows, count)].astype(float)) + 1e-9
    asked = asked.astype(np.float32)
    mask = None
    masked = draw(st.sampled_from(["none", "some", "most", "a stretch", "the best", "all"]))
    if masked == "some":
        mask = rng.random(rows) < 0.7
    elif masked == "most":
        mask = rng.random(rows) < 0.1
    elif masked == "a stretch":
        mask = np.ones(rows, bool)
        start = rng.integers(rows)
        mask[start : start + rng.integers(1, 200)] = False
    elif masked == "the best":
        mask = np.ones(rows, bool)
        mask[brute_force(asked, corpus, max(1, rows // 3))[1].ravel()] = False
    elif masked == "all":
        mask = np.zeros(rows, bool)
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=3)))
    options = {
        "chunk_rows": draw(st.integers(1, rows + 40)),
        "query_block": draw(st.integers(1, 7)),
    }
    return corpus, np.split(corpus, cuts), asked, draw(st.integers(1, rows + 3)), mask, options


def check(search, corpus, asked, top_k, mask):
    check_answer(search.search(asked, top_k, mask=mask), asked, corpus, top_k, mask)


@pytest.fixture(params=["float32", "int8", "int8 of 7 bits"])
def first_pass(request, monkeypatch):
    """Whether to search in integers, of the range that this CPU would need or another."""
    if request.param != "float32":
        saturates = request.param.endswith("7 bits")
        monkeypatch.setattr(queries, "products_saturate", lambda: saturates)
        # small collections leave much: it must not be given up
        monkeypatch.setattr(search, "LOOSE_RESULTS", 10**6)
    return request.param != "float32"


def is_right_here(first_pass):
    from shortlist.models.saturation import products_saturate

    return not first_pass or not products_saturate() or queries.products_saturate()


@settings(max_examples=EXAMPLES, deadline=None)
@given(case=searches())
def _property(first_pass, case):
    corpus, segments, asked, top_k, mask, options = case
    engine = ExactSearch(segments, integers=first_pass, zeros=True, **options)
    check(engine, corpus, asked, top_k, mask)
    allowed = len(corpus) if mask is None else int(mask.sum())
    if first_pass and allowed >= search.COPIED_SHARE_INTEGER * len(corpus) and allowed:
        assert engine.is_rounded


def test_equals_brute_force(first_pass):
    if not is_right_here(first_pass):
        pytest.skip("this CPU's product of bytes saturates: 8 bits would be wrong on it")
    _property(first_pass)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(case=searches(), kept=st.integers(0, 400_000))
def test_on_a_device_of_torch(half, case, kept):
    """The tensors of this test are on the CPU: all but the kernels is the same on a GPU."""
    corpus, segments, asked, top_k, mask, options = case
    engine = DeviceSearch(HostRows(Rows(segments)), "cpu", memory_budget=kept, half=half, **options)
    allowed = len(corpus) if mask is None else int(mask.sum())
    for _ in range(2):  # the second time some of it is kept
        check_answer(engine.search(asked, top_k, mask, allowed), asked, corpus, top_k, mask)


def near_ties(rng, scale):
    base = rng.normal(size=(1, 384))
    return (base + rng.normal(size=(3_000, 384)) * scale).astype(np.float32)


@pytest.mark.parametrize(("integers", "scale"), [(True, 1e-3), (False, 1e-7)])
def test_without_the_bound_hits_would_be_lost(monkeypatch, integers, scale):
    """The properties above must be able to fail: with a bound of nothing they do."""
    rng = np.random.default_rng(0)
    of, of_rows = bounds.Bounds.of, bounds.Bounds.of_rows
    monkeypatch.setattr(bounds.Bounds, "of", lambda *given: 0 * of(*given))
    monkeypatch.setattr(bounds.Bounds, "of_rows", lambda *given: 0 * of_rows(*given))
    wrong = 0
    for _ in range(10):
        corpus = near_ties(rng, scale)
        asked = rng.normal(size=(3, 384)).astype(np.float32)
        _, rows = ExactSearch(corpus, integers=integers, chunk_rows=512).search(asked, 5)
        wrong += not np.array_equal(rows, brute_force(asked, corpus, 5)[1])
    assert wrong > 0


@pytest.mark.parametrize("integers", [True, False])
def test_a_query_has_the_same_answer_alone_in_a_batch_and_as_the_head_of_a_larger_k(integers):
    rng = np.random.default_rng(3)
    corpus = rng.normal(size=(20_000, 64)).astype(np.float32)
    asked = rng.normal(size=(300, 64)).astype(np.float32)
    engine = ExactSearch(corpus, integers=integers)
    scores, rows = engine.search(asked, 100)
    for number in range(0, 300, 37):
        alone_scores, alone_rows = engine.search(asked[number : number + 1], 10)
        np.testing.assert_array_equal(alone_rows[0], rows[number, :10])
        np.testing.assert_array_equal(alone_scores[0], scores[number, :10])


def collection(rows=20_000, dim=64, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def test_the_int8_copy_is_made_when_it_pays(monkeypatch):
    monkeypatch.setattr(search, "WORTH_ROUNDING", 32)
    monkeypatch.setattr(search, "QUERY_ALONE", 8)
    corpus, asked = collection(), collection(40, seed=2)
    engine = ExactSearch(corpus)
    for _ in range(search.WORTH_ROUNDING // search.QUERY_ALONE - 1):
        check(engine, corpus, asked[:1], 3, None)
        assert not engine.is_rounded
    check(engine, corpus, asked[:1], 3, None)
    assert engine.is_rounded
    at_once = ExactSearch(corpus)
    check(at_once, corpus, asked, 3, None)
    assert at_once.is_rounded


@pytest.mark.parametrize(("rows", "dim"), [(1_000, 64), (100_000, 16)])
def test_a_small_collection_has_none(rows, dim):
    engine = ExactSearch(collection(rows, dim))
    engine.search(collection(1_000, dim, seed=2), 3)
    assert not engine.is_rounded


@pytest.mark.parametrize("rows", [0, 7, 10])
def test_a_budget_for_a_part_of_the_int8_copy(rows):
    corpus, asked = collection(10_000), collection(20, seed=2)
    engine = ExactSearch(corpus, integers=True, chunk_rows=1_000, memory_budget=rows * 64_000)
    check(engine, corpus, asked, 10, None)
    assert len(engine._collection.rounded(None)) == rows


def test_where_int8_leaves_too_much_float32_is_gone_back_to(monkeypatch):
    monkeypatch.setattr(search, "WORTH_ROUNDING", 8)
    rng = np.random.default_rng(4)
    corpus = np.repeat(near_ties(rng, 1e-4), 2, axis=0)
    asked = rng.normal(size=(20, 384)).astype(np.float32)
    engine = ExactSearch(corpus)
    check(engine, corpus, asked[:12], 5, None)
    assert engine.is_rounded
    check(engine, corpus, asked[12:], 5, None)
    assert not engine.is_rounded  # nor will it be again
    check(engine, corpus, asked, 5, None)
    assert not engine.is_rounded


def test_a_thousand_equal_rows_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(search, "MOST_LEFT", 1_000)
    corpus = np.ones((5_000, 8), np.float32)
    corpus[4_321] = 2
    check(ExactSearch(corpus, chunk_rows=320), corpus, collection(7, 8) ** 2, 40, None)


def test_many_rows_that_reach_the_floor_are_looked_at_in_parts(monkeypatch):
    monkeypatch.setattr(survivors, "AT_ONCE", 10)
    corpus = made_corpus("near ties", 300, 16, np.random.default_rng(5))
    for integers in (False, True):
        check(ExactSearch(corpus, integers=integers), corpus, corpus[:3], 40, None)


def test_what_a_later_state_has_in_common_is_not_rounded_again():
    corpus, more, asked = collection(), collection(3_000, seed=5), collection(20, seed=2)
    first = ExactSearch([corpus], integers=True)
    check(first, corpus, asked, 10, None)
    later = ExactSearch([corpus, more], integers=True, like=first)
    known = set(map(id, (chunk for chunk, _ in first._collection.rounded(None).values())))
    taken_over = [c for c, _ in later._collection.rounded(None).values() if id(c) in known]
    assert len(taken_over) >= len(corpus) // later._collection.chunk_rows - 1
    check(later, np.concatenate([corpus, more]), asked, 10, None)
    other = ExactSearch([more, corpus], integers=True, like=later)
    check(other, np.concatenate([more, corpus]), asked, 10, None)


def test_nothing_is_taken_over_from_rows_that_are_read_otherwise():
    corpus = collection(5_000) * np.geomspace(0.1, 10, 5_000, dtype=np.float32)[:, None]
    corpus[7] = 0
    asked = collection(4, seed=2)
    before = ExactSearch(corpus, integers=True, zeros=True)
    before.search(asked, 3)
    unit = ExactSearch(UnitRows([corpus]), integers=True, like=before)
    fresh = ExactSearch(UnitRows([corpus]), integers=True)
    np.testing.assert_array_equal(unit.search(asked, 3)[1], fresh.search(asked, 3)[1])
    with pytest.raises(DataError, match="row 7 is all zeros"):
        ExactSearch(corpus, integers=True, like=before).search(asked, 3)


def test_a_mapped_file_is_known_again(tmp_path):
    np.save(tmp_path / "corpus.npy", collection())
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    before = ExactSearch(mapped, integers=True)
    before.search(collection(1, seed=2), 3)
    assert ExactSearch(mapped, like=before).is_rounded


def test_a_unit_row_does_not_depend_on_the_rows_beside_it():
    row = (np.random.default_rng(2).normal(size=(1, 384)) * 3).astype(np.float32)
    corpus = np.repeat(row, 400, axis=0)
    corpus[250] = 0
    for integers in (True, False):
        _, rows = ExactSearch(UnitRows([corpus]), integers=integers).search(-row, 3)
        np.testing.assert_array_equal(rows, [[250, 0, 1]])


def test_lost_calls_do_not_give_the_int8_copy_up_for_good(monkeypatch):
    monkeypatch.setattr(search, "WORTH_ROUNDING", 8)
    corpus, asked = collection(), collection(80, seed=2)
    engine = ExactSearch(corpus, zeros=True)
    for _ in range(3):
        check(engine, corpus, np.zeros((80, 64), np.float32), 3, None)
        engine.search(asked, 3)
    assert engine.is_rounded


def test_in_a_child_process():
    """Threads do not live on in a fork; servers load first and fork then."""
    code = (
        "import os, signal\n"
        "import numpy as np\n"
        "from shortlist import ExactSearch\n"
        "rows = np.random.default_rng(0).normal(size=(50_000, 64)).astype('f4')\n"
        "search = ExactSearch(rows, integers=True)\n"
        "search.search(rows[:200], 3)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(30)\n"
        "    os._exit(int(search.search(rows[:200], 3)[1][7, 0] != 7))\n"
        "assert os.waitpid(child, 0)[1] == 0"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=100)


def test_from_several_threads():
    from concurrent.futures import ThreadPoolExecutor

    corpus = collection()
    engine = ExactSearch(corpus, integers=True)
    asked = [collection(1 + seed * 5, seed=seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda some: engine.search(some, 5), asked))
    for some, answer in zip(asked, found, strict=True):
        check_answer(answer, some, corpus, 5)


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["queries", "corpus"])
def test_values_that_are_no_numbers_are_refused_with_the_row(integers, value, where):
    arrays = {"queries": collection(3), "corpus": collection(500)}
    arrays[where][2, 1] = value
    with pytest.raises(DataError, match=f"{where}: row 2 has NaN or infinite values"):
        ExactSearch(arrays["corpus"], integers=integers).search(arrays["queries"], 2)


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("where", ["queries", "corpus"])
def test_zeros_are_refused_with_the_row(integers, where):
    arrays = {"queries": collection(3), "corpus": collection(500)}
    arrays[where][2] = 0
    with pytest.raises(DataError, match=f"{where}: row 2 is all zeros"):
        ExactSearch(arrays["corpus"], integers=integers).search(arrays["queries"], 2)


def test_scores_beyond_float32_are_refused():
    with pytest.raises(DataError, match="too large for float32"):
        ExactSearch(collection() * np.float32(1e25)).search(collection(1) * np.float32(1e15), 1)


@pytest.mark.parametrize("half", [True, False])
def test_so_they_are_on_a_device(half):
    rows = HostRows(Rows([collection() * np.float32(1e17)]))
    with pytest.raises(DataError, match="too large for float32"):
        DeviceSearch(rows, "cpu", half=half).search(collection(1) * np.float32(1e20), 1, None, 9)


@pytest.mark.parametrize("option", ["chunk_rows", "query_block"])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(UsageError, match="must be at least 1"):
        ExactSearch(collection(5, 3), **{option: 0})


def test_more_queries_in_a_block_than_16_bits_number():
    corpus, asked = collection(300, 4), collection(70_000, 4, seed=2)
    _, rows = ExactSearch(corpus, query_block=10**6).search(asked, 1)
    np.testing.assert_array_equal(rows[::700], brute_force(asked[::700], corpus, 1)[1])


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (np.zeros(3, np.float32), r"expected numbers \[n, dim\], got float32 \(3,\)"),
        (np.array([["a"]]), "expected numbers"),
        (np.ones((2, 2), complex), "expected numbers"),
        (np.ones((2, 0), np.float32), "expected numbers"),
        ([collection(2, 3), collection(2, 4)], "embeddings of 3 and 4 dimensions"),
    ],
)
def test_what_is_no_collection_is_refused(corpus, message):
    with pytest.raises(DataError, match=message):
        ExactSearch(corpus)


def test_masks_of_another_kind_are_refused():
    engine = ExactSearch(collection(5, 3))
    for mask in (np.ones(4, bool), np.ones(5, int)):
        with pytest.raises(DataError, match=r"expected bool \(5,\)"):
            engine.search(collection(1, 3), 1, mask=mask)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="unknown device 'tpu'"):
        ExactSearch(collection(5, 3), device="tpu")


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_cpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    corpus = collection(300_000, 384)
    corpus[1000:1100] = corpus[0]
    asked = collection(70, 384, seed=2)
    mask = np.random.default_rng(7).random(len(corpus)) < 0.8
    on_cpu = ExactSearch(corpus)
    for budget in (None, 100_000_000):  # of 230 million bytes: some come anew in every search
        on_gpu = ExactSearch(corpus, device="cuda", memory_budget=budget)
        for top_k, shown in ((50, None), (1, mask), (2_000, None)):
            found, expected = (e.search(asked, top_k, mask=shown) for e in (on_gpu, on_cpu))
            np.testing.assert_array_equal(found[1], expected[1])
            np.testing.assert_array_equal(found[0], expected[0])
