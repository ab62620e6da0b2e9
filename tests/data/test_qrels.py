"""Queries, qrels and runs: every accepted form is read, a broken one is refused with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shortlist.data.qrels import read_qrels, write_qrels
from shortlist.data.queries import read_queries, write_queries
from shortlist.data.runs import read_candidates, read_run, write_run
from shortlist.errors import DataError, UsageError


def put(folder: Path, name: str, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


# queries


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("queries.jsonl", '{"_id": "1", "text": "first"}\n\n{"_id": "b c", "text": "zweite é"}\n'),
        ("queries.jsonl.gz", '{"_id": "1", "text": "first"}\n{"id": "b c", "text": "zweite é"}'),
        (
            "ints.jsonl",
            '{"_id": 1, "text": "first", "m": {}}\r\n{"_id":"b c","text":"zweite é"}\r\n',
        ),
        ("no_suffix", '\ufeff{"_id": "1", "text": "first"}\n{"_id": "b c", "text": "zweite é"}\n'),
        ("queries.tsv", "1\tfirst\nb c\tzweite é\n"),
        ("queries.tsv.gz", "\ufeff1\tfirst\n\nb c\tzweite é"),
        ("queries.dev.small", "1\tfirst\r\nb c\tzweite é\r\n"),
    ],
)
def test_queries_are_read(tmp_path: Path, name: str, content: str) -> None:
    queries = read_queries(put(tmp_path, name, content))
    assert list(queries.items()) == [("1", "first"), ("b c", "zweite é")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.jsonl", "", r"q\.jsonl: the file is empty"),
        ("q.tsv", "\n \n", r"q\.tsv:1: the file is empty"),
        (
            "q.jsonl",
            '{"_id": "1", "text": "a"}\n{"_id": 2}\n',
            r"q\.jsonl:2: expected .*text.* got",
        ),
        ("q.jsonl", '\n["1"]\n', r"q\.jsonl:2: expected"),
        ("q.jsonl", '{"_id": "1", "text": "a"\n', r"q\.jsonl:1: expected"),
        ("q.jsonl", '{"_id": true, "text": "a"}\n', r"q\.jsonl:1: expected"),
        ("q.jsonl", '{"_id": "1", "text": 5}\n', r"q\.jsonl:1: expected"),
        ("q.jsonl", '{"_id": "1", "text": " "}\n', r"q\.jsonl:1: the query's id or text is empty"),
        ("q.tsv", "\ttext\n", r"q\.tsv:1: the query's id or text is empty"),
        ("q.tsv", "1\ta\n2 b\n", r"q\.tsv:2: expected id<TAB>text, got 1 columns"),
        ("q.tsv", "1\ta\tb\n", r"q\.tsv:1: .* got 3 columns"),
        ("q.tsv", "1\ta\n2\tb\n1\tc\n", r"q\.tsv:3: query id '1' stands already in line 1"),
        ("q.tsv", b"1\ta\n2\t\xff\n", r"q\.tsv:2: not UTF-8 \(byte 0xff at column 3\)"),
        ("q.tsv", b"1\ta\n\x00\x01\n", r"q\.tsv:2: expected text, got a binary file"),
    ],
)
def test_broken_queries_are_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_queries(put(tmp_path, name, content))


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.tsv: no such file"):
        read_queries(tmp_path / "absent.tsv")
    with pytest.raises(DataError, match="expected a file, got a folder"):
        read_qrels(tmp_path)


def test_a_gzip_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    lines = "".join(f"q{i} 0 d{i * i} 1\n" for i in range(5000))
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(lines.encode())[:-2000])
    with pytest.raises(DataError, match=r"cut\.gz: the compressed file ends in the middle"):
        read_qrels(path)


# qrels


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("beir.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t-1\n"),
        ("beir.tsv.gz", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n\nq2\td1\t-1"),
        ("beir_blanks", "query-id corpus-id score\nq1 d1 2\nq1  d2 0\nq2 d1 -1\n"),
        ("trec.txt", "q1 0 d1 2\nq1\t0  d2\t0\n q2 Q0 d1 -1 \n"),
        ("msmarco.tsv", "q1\t0\td1\t2\nq1\t0\td2\t0\nq2\t0\td1\t-1\n"),
        ("plain_named.gz.txt", "q1 0 d1 +2\r\nq1 0 d2 0\r\nq2 0 d1 -1\r\n"),
        ("repeated", "q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 -1\nq1 0 d1 2\n"),
    ],
)
def test_qrels_are_read(tmp_path: Path, name: str, content: str) -> None:
    assert read_qrels(put(tmp_path, name, content)) == {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": -1}}


def test_ids_stay_strings_and_keep_their_blanks_between_tabs(tmp_path: Path) -> None:
    path = put(tmp_path, "q.tsv", "query-id\tcorpus-id\tscore\n007\ta b\u00a0c\t1\n")
    assert read_qrels(path) == {"007": {"a b\u00a0c": 1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r": the file is empty"),
        ("query-id\tcorpus-id\tscore\n", r":1: a header and no judgement"),
        ("q d 1\n", r":1: expected 4 columns .*query-id corpus-id score"),
        ("q Q0 d 1 2.5 tag\n", r":1: expected 4 columns .*a run \(6 columns\)"),
        ("query-id\tcorpus-id\tscore\nq\td\n", r":2: expected the header's 3 columns"),
        ("query-id\tcorpus-id\tscore\nq\t\t1\n", r":2: expected the header's 3 columns"),
        ("q 0 d 1\nq 0 e 1.0\n", r":2: the grade is not an integer: '1\.0'"),
        ("q 0 d yes\n", r":1: the grade is not an integer: 'yes'"),
        ("q 0 d 1_0\n", r":1: the grade is not an integer: '1_0'"),
        ("q 0 d 1\n\nq 0 d 2\n", r":3: passage 'd' of query 'q' has grade 2 here and 1 in line 1"),
        (b"q 0 \xc3( 1\n", r":1: not UTF-8 \(byte 0xc3 at column 5\)"),
        (b"PK\x03\x04\x00\x00\n", r": this is a zip archive"),
        (b"q 0 d 1\n\x00\x01\n", r":2: expected text, got a binary file"),
    ],
)
def test_broken_qrels_are_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=r"qrels\.x" + message):
        read_qrels(put(tmp_path, "qrels.x", content))


names = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=5)
grades = st.dictionaries(names, st.integers(-2, 3), min_size=1, max_size=5)


@given(
    qrels=st.dictionaries(names, grades, min_size=1, max_size=4),
    name=st.sampled_from(["q.tsv", "q.tsv.gz", "q.txt", "q.gz", "q"]),
)
@settings(deadline=None)
def test_written_qrels_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, qrels: dict[str, dict[str, int]], name: str
) -> None:
    path = tmp_path_factory.mktemp("qrels") / name
    write_qrels(qrels, path)
    back = read_qrels(path)
    assert back == qrels
    assert [list(grades) for grades in back.values()] == [list(g) for g in qrels.values()]
    data = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    lines = data.decode().split("\n")
    assert (lines[0] == "query-id\tcorpus-id\tscore") == (".tsv" in name)
    assert len(lines) == sum(map(len, qrels.values())) + 1 + (".tsv" in name)


def test_written_qrels_are_read_by_another_library(tmp_path: Path) -> None:
    qrels = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": -1}}
    write_qrels(qrels, tmp_path / "q.txt")
    found = list(ir_measures.read_trec_qrels(str(tmp_path / "q.txt")))
    assert {(q.query_id, q.doc_id, q.relevance) for q in found} == {
        (query, passage, grade) for query, row in qrels.items() for passage, grade in row.items()
    }


@pytest.mark.parametrize(
    ("name", "qrels"),
    [
        ("q.tsv", {"a\tb": {"d": 1}}),
        ("q.tsv", {"a": {"d\n": 1}}),
        ("q.tsv", {"": {"d": 1}}),
        ("q.txt", {"a b": {"d": 1}}),
        ("q.txt", {"a": {"": 1}}),
        ("q.txt", {"a": {"d\u00a0": 1}}),
    ],
)
def test_qrels_that_could_not_be_read_back_leave_the_old_file(
    tmp_path: Path, name: str, qrels: dict[str, dict[str, int]]
) -> None:
    path = put(tmp_path, name, "old")
    with pytest.raises(UsageError, match=rf"the id '.*' cannot be written to {name}"):
        write_qrels({"first": {"x": 1}, **qrels}, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_beir_file_keeps_blanks_in_ids(tmp_path: Path) -> None:
    qrels = {"a b": {"c\u00a0d": 1}}
    write_qrels(qrels, tmp_path / "q.tsv")
    assert read_qrels(tmp_path / "q.tsv") == qrels


def test_the_same_qrels_give_the_same_gzip_bytes(tmp_path: Path) -> None:
    for name in ("a.tsv.gz", "b.tsv.gz"):
        write_qrels({"q": {"a": 1}}, tmp_path / name)
        write_queries({"q": "text"}, tmp_path / f"queries.{name}")
    for a, b in (("a.tsv.gz", "b.tsv.gz"), ("queries.a.tsv.gz", "queries.b.tsv.gz")):
        assert (tmp_path / a).read_bytes() == (tmp_path / b).read_bytes()


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=9)


@given(
    queries=st.dictionaries(names, texts.filter(str.strip), min_size=1, max_size=5),
    name=st.sampled_from(["q.jsonl", "q.jsonl.gz", "q.tsv", "q.tsv.gz"]),
)
@settings(deadline=None)
def test_written_queries_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, queries: dict[str, str], name: str
) -> None:
    assume(".jsonl" in name or not next(iter(queries)).startswith("{"))  # which tells JSON lines
    path = tmp_path_factory.mktemp("queries") / name
    write_queries(queries, path)
    if ".tsv" in name:  # a tab or a line end in a text would be a column or a line
        queries = {query_id: " ".join(text.split()) for query_id, text in queries.items()}
    assert list(read_queries(path).items()) == list(queries.items())


def test_written_queries_keep_line_ends_in_json_and_lose_them_between_tabs(tmp_path: Path) -> None:
    queries = {"1": "two\nlines\tand a tab", "2": "half a character \ud83d"}
    write_queries(queries, tmp_path / "q.jsonl")
    assert read_queries(tmp_path / "q.jsonl")["1"] == queries["1"]
    write_queries(queries, tmp_path / "q.tsv")
    back = read_queries(tmp_path / "q.tsv")
    assert back["1"] == "two lines and a tab"
    assert back["2"].encode().startswith(b"half a character ")


@pytest.mark.collections
@pytest.mark.parametrize("name", ["scifact", "cranfield", "msmarco"])
def test_the_public_collections_are_read(shared_data: Path, name: str) -> None:
    queries = read_queries(shared_data / name / "queries.jsonl")
    qrels = read_qrels(shared_data / name / "qrels" / "test.tsv")
    assert qrels.keys() <= queries.keys()


# runs


def test_the_score_orders_a_run_and_ties_fall_as_in_trec_eval(tmp_path: Path) -> None:
    lines = (
        "q Q0 a 1 0.50000000001 t\nq\tQ0\tc\t2\t0.5\tt\nq Q0 b 3 9 t\nq Q0 d 4 0.5 t\n"
        "r Q0 a 1 -1e400 t\n"
    )
    with pytest.raises(DataError, match=r":5: the score is not a finite number: -inf"):
        read_run(put(tmp_path, "run.txt", lines))
    run = read_run(put(tmp_path, "run.txt.gz", lines.replace("-1e400", "1e300")))
    assert list(run["q"]) == ["b", "d", "c", "a"]  # a, c and d are one float32
    assert run["q"]["a"] == 0.50000000001
    assert run["r"] == {"a": 1e300}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r": the file is empty"),
        ("q d 1 0\n", r":1: expected 6 columns, .* got 4: 'q d 1 0'"),
        ("q d 0\n", r":1: expected a rank from 1, got '0'"),
        ("query-id corpus-id score\nq d 1\n", r":1: expected a rank from 1, got 'score'"),
        ("q d 1\nq Q0 d 1 0.5 t\n", r":2: expected 3 columns as in the first line, got 6"),
        ("q Q0 d 1 0.5 t\nq Q0 e 1 x t\n", r":2: the score is not a finite number: 'x'"),
        ("q Q0 d 1 nan t\n", r":1: the score is not a finite number: nan"),
        ("q Q0 d 1 2 t\nq Q0 d 2 1 t\n", r":2: passage 'd' comes twice for query 'q'"),
    ],
)
def test_broken_runs_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=r"run\.x" + message):
        read_run(put(tmp_path, "run.x", content))


ids = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=5)
scores = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-12, 0.3, -2.0]),
    st.floats(-1e38, 1e38),
    st.floats(-1, 1, width=32),
)
runs = st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1, max_size=12), max_size=4)


@given(run=runs.filter(bool), name=st.sampled_from(["run.txt", "run.txt.gz"]))
@settings(deadline=None, max_examples=100)
def test_a_written_run_is_read_back_in_the_order_it_had(
    tmp_path_factory: pytest.TempPathFactory, run: dict[str, dict[str, float]], name: str
) -> None:
    path = tmp_path_factory.mktemp("run") / name
    write_run(run, path)
    back = read_run(path)
    assert list(back) == list(run)
    for query_id, expected in run.items():
        order = sorted(expected, key=lambda passage_id: -expected[passage_id])  # stable, as stated
        assert list(back[query_id]) == order
        singles = np.array(list(back[query_id].values())).astype(np.float32)
        assert (np.diff(singles.astype(np.float64)) < 0).all()
        wanted = [expected[passage_id] for passage_id in order]
        np.testing.assert_allclose(singles, wanted, rtol=1e-5, atol=1e-7)


def test_a_run_of_ms_marco_is_ordered_by_its_ranks(tmp_path: Path) -> None:
    lines = "1048585\t7187158\t2\n1048585\t7187157\t1\n2\t7617404\t1\n"
    for name in ("run.tsv", "run.tsv.gz"):
        path = put(tmp_path, name, lines)
        run = read_run(path)
        assert run == {"1048585": {"7187157": 1.0, "7187158": 0.5}, "2": {"7617404": 1.0}}
        assert list(run["1048585"]) == ["7187157", "7187158"]
        assert read_candidates(path) is None


TOP1000 = [
    ("188714", "1000052", "foods that help your lungs", "Lungs need air, and vegetables."),
    ("188714", "1000084", "foods that help your lungs", 'He said "lungs".'),
    ("1082792", "1000084", "what does the movie drive mean", 'He said "lungs".'),
]


@pytest.mark.parametrize("name", ["top1000.dev", "top1000.dev.tsv.gz"])
def test_the_candidates_of_ms_marco_bring_their_texts(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name, "".join("\t".join(row) + "\n" for row in TOP1000))
    assert read_candidates(path) == (
        {query_id: query for query_id, _, query, _ in TOP1000},
        {passage_id: passage for _, passage_id, _, passage in TOP1000},
    )
    assert read_run(path) == {
        "188714": {"1000052": 1.0, "1000084": 0.5},
        "1082792": {"1000084": 1.0},
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\t3\tanother text\tA passage.\n", r":2: the id '1' had another text in an earlier"),
        ("2\t2\twhat is it\tOther words.\n", r":2: the id '2' had another text in an earlier"),
        ("2\t3\tno passage\n", r":2: expected 4 columns as in the first line, got 3"),
        ("\t3\tno\tid\n", r":2: expected 4 columns as in the first line"),
    ],
)
def test_broken_candidates_are_refused(tmp_path: Path, row: str, message: str) -> None:
    path = put(tmp_path, "top1000.dev", "1\t2\twhat is it\tA passage.\n" + row)
    with pytest.raises(DataError, match=r"top1000\.dev" + message):
        read_candidates(path)


def test_a_trec_run_brings_no_texts(tmp_path: Path) -> None:
    assert read_candidates(put(tmp_path, "run.txt", "q Q0 a 1 0.5 t\n")) is None


def test_scores_that_fall_already_are_written_as_they_are(tmp_path: Path) -> None:
    write_run({"q": {"b": 0.1, "a": 0.5}}, tmp_path / "run", tag="mine")
    assert (tmp_path / "run").read_text() == "q Q0 a 1 0.5 mine\nq Q0 b 2 0.1 mine\n"


def test_ties_are_lowered_by_steps_that_every_reader_of_numbers_can_see(tmp_path: Path) -> None:
    write_run({"q": {"b": 0.0, "a": 0.0, "c": 0.0}}, tmp_path / "run")
    lines = (tmp_path / "run").read_text().splitlines()
    assert [line.split()[2:5] for line in lines] == [
        ["b", "1", "0.0"],
        ["a", "2", "-1e-09"],
        ["c", "3", "-2e-09"],
    ]


def test_the_same_run_gives_the_same_gzip_bytes(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_run({"q": {"a": 1.0}}, tmp_path / name)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4)  # the time of writing, not kept


@pytest.mark.parametrize(
    ("run", "tag", "message"),
    [
        ({"q": {"a b": 1.0}}, "t", r"a passage id of query 'q' is 'a b'"),
        ({"q": {"": 1.0}}, "t", r"a passage id of query 'q' is ''"),
        ({"q\t1": {"a": 1.0}}, "t", r"the query id is 'q\\t1'"),
        ({"q": {"a": 1.0}}, "my run", r"the tag is 'my run'"),
        ({"q": {"b": 1.0, "a": float("nan")}}, "t", r"passage 'a' of query 'q' is nan"),
        ({"q": {"a": 1e39}}, "t", r"passage 'a' of query 'q' is 1e\+39; expected a number"),
        ({"q": {1: 1.0}}, "t", r"a passage id of query 'q' is 1; a TREC run needs a string"),
    ],
)
def test_a_run_that_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, run: dict[str, dict[str, float]], tag: str, message: str
) -> None:
    path = put(tmp_path, "run.txt", "old")
    with pytest.raises(UsageError, match=message):
        write_run({"first": {"x": 1.0}, **run}, path, tag)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run.txt"]
