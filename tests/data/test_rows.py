"""Tables against pandas, pyarrow and the csv module, which write them or read them as well."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.collections import Cutting, load, read_table
from shortlist.data.columns import Columns
from shortlist.data.ledger import Ledger
from shortlist.data.rows import Row, read_rows
from shortlist.errors import DataError
from shortlist.records import Passage

HEADER = ["id", "text", "note"]
CELL = st.text(st.sampled_from("ab ,;\t|\"'\né日🎉\u2028"), max_size=8)
TABLE = st.lists(
    st.tuples(st.integers(0, 999).map(str), CELL, CELL).map(list), min_size=1, max_size=6
)


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def drawn(path: Path, columns: Columns | None = None) -> list[Passage]:
    return list(read_table(path, Ledger(), columns))


def written(table: list[list[str]], **dialect) -> str:
    content = io.StringIO()
    csv.writer(content, **dialect).writerows([HEADER, *table])
    return content.getvalue()


def parquet(path: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


# CSV and TSV


@given(
    table=TABLE,
    delimiter=st.sampled_from(",;|\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@settings(deadline=None)
def test_csv_reads_as_with_pandas_and_rows_know_their_lines(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[list[str]],
    delimiter: str,
    end: str,
    quoting: int,
) -> None:
    content = written(table, delimiter=delimiter, lineterminator=end, quoting=quoting)
    path = put(tmp_path_factory.mktemp("csv"), "t.csv", content)
    rows = list(read_rows(path))
    frame = pd.read_csv(path, sep=delimiter, dtype=str, keep_default_na=False)
    assert [dict(row.values) for row in rows] == frame.to_dict("records")
    assert [list(row.values.values()) for row in rows] == table
    begins = [2 + sum("".join(row).count("\n") + 1 for row in table[:n]) for n in range(len(table))]
    assert [row.place for row in rows] == [f"{path}:{line}" for line in begins]


@given(table=TABLE, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
@settings(deadline=None)
def test_tsv_of_a_spreadsheet(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], quoting: int
) -> None:
    content = written(table, delimiter="\t", lineterminator="\n", quoting=quoting)
    path = put(tmp_path_factory.mktemp("tsv"), "t.tsv", content)
    assert [list(row.values.values()) for row in read_rows(path)] == table


@given(
    texts=st.lists(
        st.text(st.sampled_from("ab ,\"'é"), min_size=1, max_size=9).map(lambda text: f"x{text}"),
        min_size=1,
    )
)
@settings(deadline=None)
def test_quotes_inside_the_cells_of_a_tsv_file_are_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    lines = "".join(f"{n}\t{text}\n" for n, text in enumerate(texts))
    path = put(tmp_path_factory.mktemp("tsv"), "t.tsv", lines)
    assert [(p.id, p.text) for p in drawn(path)] == [(str(n), t) for n, t in enumerate(texts)]


MS_MARCO = [
    '"Star Wars" was filmed in Tunisia.',
    '"A quote that nobody closes',
    'He said "yes", and went.',
    '"',
    'inches are written 5" or so',
    "back\\slash, and comma",
]


@pytest.mark.parametrize("first", range(len(MS_MARCO)))
def test_tsv_without_quoting_keeps_stray_quotes(tmp_path: Path, first: int) -> None:
    texts = MS_MARCO[first:] + MS_MARCO[:first]
    path = put(tmp_path, "t.tsv", "".join(f"{n}\t{text}\n" for n, text in enumerate(texts)))
    assert [p.text for p in drawn(path)] == texts


def test_a_quote_far_below_the_head_of_a_tsv_file_is_text(tmp_path: Path) -> None:
    lines = [f"{n}\tplain {n}" for n in range(400)]
    lines[300] = '300\t"nobody closes this'
    path = put(tmp_path, "t.tsv", "\n".join(lines))
    assert [p.text for p in drawn(path)] == [line.split("\t")[1] for line in lines]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("7\tone\n8\ttwo\n", [("7", "one"), ("8", "two")]),
        ("text\tid\none\t7\n", [("7", "one")]),
        ("id\tbody\n7\tone\n", [("7", "one")]),
        ("docno\ttitle\ttext\n7\t\tone\n", [("7", "one")]),
        ("\ufeffid\ttext\r\n7\tone\r\n\r\n", [("7", "one")]),
    ],
)
def test_tsv_with_and_without_a_header(
    tmp_path: Path, lines: str, expected: list[tuple[str, str]]
) -> None:
    assert [(p.id, p.text) for p in drawn(put(tmp_path, "t.tsv", lines))] == expected


def test_a_header_of_own_names_is_one_when_they_are_given(tmp_path: Path) -> None:
    path = put(tmp_path, "t.tsv", "key\tprose\n7\tone\n")
    assert drawn(path, Columns(id="key", text="prose")) == [Passage("7", "one")]
    assert [p.id for p in drawn(path)] == ["key", "7"]


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("where", ["header", "row"])
def test_a_cell_of_a_megabyte(tmp_path: Path, kind: str, where: str) -> None:
    csv.field_size_limit(131_072)  # as it is in a fresh process
    mark, big = {"csv": ",", "tsv": "\t"}[kind], "a word, \n" * (1 << 17)
    name = big if where == "header" else "other"
    header = [f"x{name}".strip(), "id", "text"]
    content = io.StringIO()
    csv.writer(content, delimiter=mark).writerows([header, ["1", "2", big]])
    (passage,) = drawn(put(tmp_path, f"t.{kind}", content.getvalue()))
    assert passage == Passage("2", big, metadata={header[0]: "1"})


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("t.csv", "id,text\n1,a\n2\n", r"t\.csv:3: 1 cells under 2 columns \(id, text\)"),
        ("t.csv", "id,text\n1,a,b\n", r"t\.csv:2: 3 cells under 2 columns"),
        ("t.csv", 'id,text\n1,"a\nb",c\n', r"t\.csv:2: 3 cells under 2 columns"),
        ("t.tsv", "1\ta\n2\tb\tc\n", r"t\.tsv:2: 3 cells under 2 columns"),
        ("t.csv", 'id,text\n1,a\n2,"b\n3,c\n', r"t\.csv:3: not CSV .*every quote that opens"),
        ("t.csv", 'id,text\n1,"a"b\n', r"t\.csv:2: not CSV .*a quote inside a quoted"),
        ("t.csv", "id,text,id\n1,a,2\n", r"t\.csv:1: the column 'id' comes twice in the header"),
        ("t.csv", "id,text\r1,a\r", r"t\.csv:1: not CSV"),
        ("t.csv", "id,prose\n1,a\n", r"t\.csv:2: no 'text'; .*--text-field; .*'id', 'prose'"),
        ("t.csv", "id,text\n1,b\xe4d\n".encode("latin-1"), r"t\.csv:2: not UTF-8"),
        ("t.csv", "id,text\n1,a\n".encode("utf-16"), r"t\.csv:1: not UTF-8 .*save the file as"),
    ],
)  # fmt: skip
def test_broken_tables_are_refused_with_the_line(
    tmp_path: Path, name: str, content: str | bytes, match: str
) -> None:
    with pytest.raises(DataError, match=match):
        drawn(put(tmp_path, name, content))


# Parquet


def test_parquet_values_become_what_json_can_hold(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "t.parquet",
        id=pa.array([1, 2]),
        text=pa.array(["one", "two"]).dictionary_encode(),
        date=pa.array([datetime.date(2024, 2, 29), None]),
        time=pa.array([datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC), None]),
        took=pa.array([datetime.timedelta(minutes=2), None]),
        price=pa.array([Decimal("1.10"), None]),
        tags=pa.array([["a", None], []]),
        blob=pa.array([b"\xff", None]),
        deep=pa.array([{"a": {"b": [1, 2]}, "when": datetime.date(1969, 1, 1)}, None]),
        number=pa.array([float("nan"), 0.5]),
        yes=pa.array([False, None]),
    )
    ledger = Ledger()
    one, two = read_table(path, ledger)
    assert one == Passage(
        "1",
        "one",
        metadata={
            "date": "2024-02-29",
            "time": "2024-02-29T12:30:00+00:00",
            "took": 120.0,
            "price": "1.10",
            "tags": ["a", None],
            "deep": {"a": {"b": [1, 2]}, "when": "1969-01-01"},
            "yes": False,
        },
    )
    assert two == Passage("2", "two", metadata={"tags": [], "number": 0.5})
    assert ledger.dropped == {
        "metadata values of type bytes": 1,
        "metadata values that are NaN or infinite": 1,
    }
    for passage in (one, two):
        assert json.loads(json.dumps(passage.metadata, allow_nan=False)) == passage.metadata


def test_parquet_reads_as_with_pandas_over_several_batches(tmp_path: Path) -> None:
    rows = [{"id": f"d{n}", "title": f"T{n % 7}", "text": f"text {n}", "n": n} for n in range(5000)]
    path = tmp_path / "t.parquet"
    pd.DataFrame(rows).to_parquet(path, row_group_size=1500)
    expected = pd.read_parquet(path).to_dict("records")
    found = [
        {"id": p.id, "title": p.title, "text": p.text, **p.metadata}
        for p in read_table(path, Ledger())
    ]
    assert found == expected == rows


def test_places_in_parquet_are_row_numbers(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", id=["a", "b", "a"], text=["x", "y", "z"])
    with pytest.raises(DataError, match=r"t\.parquet:row 3: the id 'a' stands already at .*row 1;"):
        drawn(path)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1 << 40], pa.timestamp("s")),  # the year 36812
        pa.array([1 << 30], pa.date32()),
        pa.array([1 << 60], pa.duration("s")),
    ],
    ids=["timestamp", "date", "duration"],
)
def test_dates_that_python_cannot_hold_are_refused(tmp_path: Path, column: pa.Array) -> None:
    path = parquet(tmp_path / "t.parquet", id=["a"], text=["x"], when=column)
    with pytest.raises(DataError, match=r"t\.parquet: not a Parquet file that can be read"):
        drawn(path)


def test_broken_parquet_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", id=["a"], text=["x" * 999])
    whole = path.read_bytes()
    for broken in (whole[:-9], whole[: len(whole) // 2], b"PAR1", b"text, not Parquet at all"):
        with pytest.raises(DataError, match=r"t\.parquet: not a Parquet file"):
            drawn(put(tmp_path, "t.parquet", broken))
    twice = pa.table([["a"], ["x"], ["y"]], names=["id", "text", "text"])
    pq.write_table(twice, path)
    with pytest.raises(DataError, match=r"t\.parquet: the column 'text' comes twice"):
        drawn(path)


# ids, columns, metadata


ROWS = [
    {"nr": "a", "head": "A", "prose": "one", "year": "1900"},
    {"nr": "b", "head": "", "prose": "two", "year": ""},
]
KINDS = ["jsonl", "csv", "tsv", "parquet"]


def table_of(path: Path, rows: list[dict]) -> Path:
    frame = pd.DataFrame(rows)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_named_columns(tmp_path: Path, kind: str) -> None:
    path = table_of(tmp_path / f"t.{kind}", ROWS)
    columns = Columns(id="nr", title="head", text="prose")
    expected = [Passage("a", "one", "A", metadata={"year": "1900"}), Passage("b", "two")]
    assert drawn(path, columns) == expected
    assert list(load(path, Cutting(count_words, 50), columns).passages) == expected
    assert drawn(path, Columns(text="prose"))[0].metadata == {
        "nr": "a", "head": "A", "year": "1900",
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["id", "title", "text"])
def test_a_column_that_is_not_there_is_named(tmp_path: Path, kind: str, option: str) -> None:
    path = table_of(tmp_path / f"t.{kind}", ROWS)
    columns = Columns(**{"text": "prose", option: "Prose"})
    match = rf"no column 'Prose' for --{option}-field; there are: 'nr', 'head', 'prose', 'year'"
    with pytest.raises(DataError, match=match):
        drawn(path, columns)


def test_columns_are_refused_where_there_are_none(tmp_path: Path) -> None:
    path = put(tmp_path, "n.txt", "One.")
    with pytest.raises(DataError, match=r"n\.txt: a text file has no columns; leave out --"):
        load(path, Cutting(count_words, 50), Columns(text="x"))


@pytest.mark.parametrize("kind", KINDS)
def test_made_ids_depend_on_the_content_alone(tmp_path: Path, kind: str) -> None:
    rows = [{"title": "T", "text": "one"}, {"title": "T", "text": "two"}]
    there = drawn(table_of(tmp_path / f"t.{kind}", rows))
    back = drawn(table_of(tmp_path / f"u.{kind}", rows[::-1]))
    assert {p.text: p.id for p in there} == {p.text: p.id for p in back}
    assert len({p.id for p in there}) == 2
    jsonl = drawn(table_of(tmp_path / "v.jsonl", rows))
    assert [p.id for p in there] == [p.id for p in jsonl]


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_twice_is_refused_with_both_places(tmp_path: Path, kind: str) -> None:
    rows = [{"id": name, "text": f"text of {name}"} for name in ("a", "b", "c", "b")]
    line = {"jsonl": "4|2", "parquet": "row 4|row 2"}.get(kind, "5|3").split("|")
    path = table_of(tmp_path / f"t.{kind}", rows)
    match = rf"t\.{kind}:{line[0]}: the id 'b' stands already at .*t\.{kind}:{line[1]};"
    with pytest.raises(DataError, match=match):
        drawn(path)


def test_an_id_twice_is_refused_across_the_shards_of_a_folder(tmp_path: Path) -> None:
    table_of(tmp_path / "part-0.jsonl", [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}])
    (tmp_path / "sub").mkdir()
    table_of(tmp_path / "sub" / "part-1.parquet", [{"id": "c", "text": "z"}])
    shards = load(tmp_path, Cutting(count_words, 50))
    assert shards.kind == "folder of tables"
    assert [p.id for p in shards.passages] == ["a", "b", "c"]
    table_of(tmp_path / "sub" / "part-2.csv", [{"id": "d", "text": "z"}, {"id": "b", "text": "!"}])
    match = r"part-2\.csv:3: the id 'b' stands already at .*part-0\.jsonl:2;"
    with pytest.raises(DataError, match=match):
        list(load(tmp_path, Cutting(count_words, 50)).passages)


def test_an_empty_row_does_not_take_an_id(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": ""}, {"id": "a", "text": "x"}]
    assert [p.text for p in drawn(table_of(tmp_path / "t.jsonl", rows))] == ["x"]


def test_names_of_metadata_are_whole_characters(tmp_path: Path) -> None:
    path = put(tmp_path, "t.jsonl", '{"id": "a", "text": "x", "\\ud83d": 1, "m": {"\\ud83d": [2]}}')
    (passage,) = drawn(path)
    assert passage.metadata == {"\ufffd": 1, "m": {"\ufffd": [2]}}


@pytest.mark.parametrize("field", ["id", "title", "text", "other"])
def test_json_at_every_depth_is_read_or_refused(tmp_path: Path, field: str) -> None:
    """Where the parser still follows, what prints or copies the value may not."""
    for depth in (*range(20, 900, 110), *range(900, 1010, 3), 5000):
        value = "[" * depth + "]" * depth
        path = put(tmp_path, "t.jsonl", f'{{"id": "a", "text": "x", "{field}": {value}}}')
        try:
            (passage,) = drawn(path)
        except DataError as error:
            assert "t.jsonl:1: " in str(error)
        else:
            assert field == "other"
            json.dumps(passage.metadata)


# compression


def pack(data: bytes, end: str) -> bytes:
    if end == ".zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()
    return {".gz": gzip.compress, ".bz2": bz2.compress, "": bytes}[end](data)


CONTENT = {
    "jsonl": '{"id": "ä", "text": "öö"}\n{"id": "b", "text": "two"}\n',
    "ndjson": '{"id": "ä", "text": "öö"}\n{"id": "b", "text": "two"}',
    "csv": 'id,text\nä,"öö"\nb,two\n',
    "tsv": "ä\töö\nb\ttwo\n",
}


@pytest.mark.parametrize("end", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("kind", CONTENT)
def test_every_text_format_may_be_compressed(tmp_path: Path, kind: str, end: str) -> None:
    data = CONTENT[kind].encode()
    expected = [Passage("ä", "öö"), Passage("b", "two")]
    path = put(tmp_path, f"T.{kind.upper()}{end}", pack(data, end))
    assert drawn(path) == expected
    in_two = pack(data[:20], end) + pack(data[20:], end)  # as `cat a.gz b.gz` makes them
    assert drawn(put(tmp_path, f"u.{kind}{end}", in_two)) == expected
    misnamed = put(tmp_path, f"v.{kind}", pack(data, end))
    assert drawn(misnamed) == expected


@pytest.mark.parametrize("end", [".gz", ".bz2", ".zst"])
def test_a_compressed_table_that_is_cut_off_is_refused(tmp_path: Path, end: str) -> None:
    lines = "".join(json.dumps({"id": f"{n}", "text": f"{n**9} {n**7}"}) + "\n" for n in range(999))
    whole = pack(lines.encode(), end)
    for length in (len(whole) // 2, len(whole) - 3, 9):
        path = put(tmp_path, f"t.jsonl{end}", whole[:length])
        with pytest.raises(DataError, match=r"t\.jsonl\S*: the compressed file ends in the middle"):
            drawn(path)
    damaged = whole[:40] + bytes(byte ^ 255 for byte in whole[40:60]) + whole[60:]
    with pytest.raises(DataError, match=r"t\.jsonl\S*: damaged after .*download it again"):
        drawn(put(tmp_path, f"t.jsonl{end}", damaged))


def test_files_of_the_parallel_zstd_begin_with_a_skippable_frame(tmp_path: Path) -> None:
    frame = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"size"
    path = put(tmp_path, "t.jsonl.zst", frame + pack(b'{"id": "a", "text": "x"}\n', ".zst"))
    assert drawn(path) == [Passage("a", "x")]


def test_what_the_zstd_tool_writes_is_read(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    for sizes in (True, False):
        packer = zstandard.ZstdCompressor(write_content_size=sizes, write_checksum=True)
        path = put(tmp_path, "t.tsv.zst", packer.compress(CONTENT["tsv"].encode()))
        assert [p.id for p in drawn(path)] == ["ä", "b"]


def test_a_row_says_where_it_stands(tmp_path: Path) -> None:
    path = put(tmp_path, "t.jsonl", '\n{"a": 1}\n\n{"b": 2}\n')
    assert list(read_rows(path)) == [Row(f"{path}:2", {"a": 1}), Row(f"{path}:4", {"b": 2})]
