"""Hostile files: a reader hands out what is well-formed, or refuses with an error of ours.

Valid files are mutilated at a few places, which reaches further than noise. The same strategies
run for longer in `benchmarks/fuzz_readers.py`.
"""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shortlist.data.collections import Cutting, load
from shortlist.data.qrels import read_qrels
from shortlist.data.queries import read_queries
from shortlist.data.runs import read_candidates, read_run
from shortlist.errors import ShortlistError

MAX_TOKENS = 24


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


# what is read, and what must hold of it


def draw_passages(path: Path) -> None:
    seen = set[str]()
    for passage in load(path, Cutting(count_words, MAX_TOKENS, overlap=4)).passages:
        assert passage.id not in seen
        seen.add(passage.id)
        assert passage.id.strip()
        assert passage.text or passage.title
        for text in (passage.id, passage.text, passage.title, passage.section):
            text.encode()
        kept = json.dumps(dict(passage.metadata), allow_nan=False, ensure_ascii=False)
        kept.encode()
        if passage.document_id:
            assert count_words([passage.model_text])[0] <= MAX_TOKENS


def draw_queries(path: Path) -> None:
    queries = read_queries(path)
    assert queries or "question1" in path.read_text() or "text1" in path.read_text()
    assert all(name.strip() and text.strip() for name, text in queries.items())


def draw_qrels(path: Path) -> None:
    for query_id, grades in read_qrels(path).items():
        assert query_id and grades
        assert all(name and type(grade) is int for name, grade in grades.items())


def draw_run(path: Path) -> None:
    candidates = read_candidates(path)
    for query_id, scores in read_run(path).items():
        ranked = list(scores.values())
        assert query_id and ranked
        singles = [pa.scalar(score, pa.float32()).as_py() for score in ranked]
        assert singles == sorted(singles, reverse=True)
        assert candidates is None or (
            query_id in candidates[0] and scores.keys() <= candidates[1].keys()
        )


# valid files


PAGES = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10">
<siteinfo><namespaces><namespace key="0" /><namespace key="6">File</namespace></namespaces>
</siteinfo><page><title>Ada</title><ns>0</ns><id>3</id><revision><id>1</id><text
xml:space="preserve">'''Ada''' {{lang|en|wrote}} &lt;ref&gt;x&lt;/ref&gt; [[London|the city]] &amp;
letters of more than forty characters, surely.

== Life ==
{| class="wikitable"
| cell || other
|}
* an item that is long enough to be kept as a paragraph of its own
[[File:x.jpg|thumb|A caption]]&lt;math&gt;x&lt;/math&gt; &lt;!-- hidden --&gt; and some more text.
</text></revision></page><page><title>B</title><ns>0</ns><id>4</id><redirect title="Ada"/>
<revision><text>#REDIRECT [[Ada]]</text></revision></page></mediawiki>"""

JSONL = """{"_id": "a", "title": "T", "text": "one two", "metadata": {"year": 1999, "x": [1, 2.5]}}

{"id": 7, "text": "zwei \\ud83c\\udf89 \\u00e9", "tags": ["a", null], "ok": true}
{"id": "c", "text": "three", "title": null}
"""

CSV = 'id,text,note\na,"one, ""two""\nthree",x\nb,plain,\n'
SEMICOLONS = "id;title;text\r\n1;A;eins, zwei\r\n2;;drei\r\n"
TSV = '1\tone "two" three\n2\t"four" five\n3\tsix\n'
SHEET = 'id\ttext\tnote\n1\t"one\ttwo"\tx\n2\tthree\t"y"\n'

NOTE = """---
tags: x
---
Before.

# Garden *plan*

Buy seeds, water and a spade before the first of May, please, or it will be too late for it all.

## Beds ##
- tomatoes

```sh
# not a heading
```

Summer
------
Water.
"""

HTML = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>Ice</title></head><body>
<nav><a href="/">Home</a></nav><article><h1>Ice</h1><p>A glacier is a river of ice that flows.</p>
<ul><li>one</li><li>two</li></ul><table><tr><td>x</td></tr></table><pre>code</pre></article>
<!-- no --><script>x</script></body></html>"""

QUERIES = '{"_id": "1", "text": "first"}\n{"_id": 2, "text": "second \\u00e9"}\n'
BEIR = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td 2\t0\nq2\td1\t-1\n"
TREC = "q1 0 d1 1\nq1\t0\td2\t0\nq2 Q0 d1 2\n"
RUN = "q1 Q0 d1 1 9.5 tag\nq1 Q0 d2 2 9.5 tag\nq2 Q0 d1 1 -1e-3 tag\n"
RANKED = "1\t10\t1\n1\t11\t2\n2\t10\t1\n"
CANDIDATES = "1\t10\twhat is it\tA passage of words.\n1\t11\twhat is it\tAnother passage.\n"
QUORA = """id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate
0\t1\t2\tWhy?\t"Why, then?"\t1
1\t3\t1\tHow?\tWhy?\t0
2\t2\t4\tWhy, then?\tWhat for?\t1
"""
QUORA_COMMAS = """id,qid1,qid2,question1,question2,is_duplicate
"0","1","2","Why?","Why, then?","1"
"1","3","1","How?
Exactly","Why?","0"
"""
PAIRS = "split\tscore\ttext1\ttext2\ndev\t1\tWhy?\tWhat for?\ndev\t0.0\tHow?\tWhy?\n"
COLLECTION = '0\tone "two\n1\t"three" four\tfive\n2\tsix\n'


def parquet(**columns: object) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content, compression="none")
    return content.getvalue()


PARQUETS = (
    parquet(id=["a", "b"], text=["one", "two"], title=["T", None], n=[1, 2]),
    parquet(
        id=[1, 2],
        text=pa.array(["x", "y"]).dictionary_encode(),
        when=pa.array([datetime.date(2024, 2, 29), None]),
        time=pa.array([1, 2], pa.timestamp("us", tz="Europe/Tallinn")),
        price=[Decimal("1.10"), None],
        blob=[b"\xff", None],
        deep=[{"a": [1, None]}, None],
        pairs=pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
    ),
)

# hostile pieces

TOKENS = tuple(
    token if isinstance(token, bytes) else token.encode()
    for token in (
        '"', '""', "'", ",", ";", "\t", "\n", "\r", "\r\n", "|", " ", "\\", "/", "#", "=", "-",
        ":", "{", "}", "[", "]", "<", ">", "&", "null", "true", "NaN", "-Infinity", "1e999", "-0",
        "0", "1_0", "1" * 5000, "[" * 2000, '{"a":' * 2000, "\\ud83d", "\\u0000", "\\n", '"text"',
        '"id"', "<p>", "</p>", "<text>", "</page>", "<page>", "<ns>6</ns>", "<id>3</id>", "]]>",
        "<![CDATA[", "<!DOCTYPE x>", "<?xml version='1.1' encoding='utf-16'?>", "&lt;", "&x;",
        "&#0;", "<" * 300, "<div>" * 300, "{{" * 60, "[[" * 60, "{|", "|}", "<ref", "''" * 30,
        "== ", "\n# ", "\n---\n", "```", "\u2028", "\u00a0", "\u202e", "\ufeff", "🎉", "\u0301",
        "x" * 3000, "word " * 300, "# a" + " " * 300 + "b", "query-id\tcorpus-id\tscore\n", "Q0",
        "question1", "text1", "score", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80", b"\x80" * 8, b"\x1f\x8b\x08", b"BZh91AY&SY", b"\x28\xb5\x2f\xfd",
        b"PK\x03\x04", b"PAR1", b"\xff\xfe", b"\x00\x00\x00\x7f",
        b"\xff" * 9,
    )
)  # fmt: skip

Mutation = tuple[str, int, int, bytes]
MUTATIONS = st.tuples(
    st.sampled_from(["insert", "overwrite", "delete", "repeat", "move", "flip", "cut", "swap"]),
    st.integers(0, 1 << 14),
    st.integers(0, 80),
    st.sampled_from(TOKENS) | st.binary(max_size=6),
)


def mutilated(data: bytes, mutations: list[Mutation]) -> bytes:
    for what, place, length, token in mutations:
        at = place % (len(data) + 1)
        head, piece, tail = data[:at], data[at : at + length], data[at + length :]
        data = {
            "insert": head + token + piece + tail,
            "overwrite": head + token + data[at + len(token) :],
            "delete": head + tail,
            "repeat": head + piece * 3 + tail,
            "move": piece + head + tail,
            "flip": head + bytes(byte ^ (1 << length % 8) for byte in piece[:1]) + data[at + 1 :],
            "cut": head,
            "swap": tail + piece + head,
        }[what]
    return data


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd,
}  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """What reads files, the names they may have, and valid ones to begin with."""

    read: Callable[[Path], None]
    names: tuple[str, ...]
    seeds: tuple[str | bytes, ...]

    def files(self) -> st.SearchStrategy[tuple[str, bytes]]:
        """Names and hostile contents."""
        seeds = [seed.encode() if isinstance(seed, str) else seed for seed in self.seeds]
        changes = st.lists(MUTATIONS, min_size=1, max_size=6)
        content = st.builds(mutilated, st.sampled_from(seeds), changes)
        return st.tuples(st.sampled_from(self.names), content)

    def packed(self, end: str) -> st.SearchStrategy[tuple[str, bytes]]:
        """Compressed ones, mutilated before or after; or wrongly named."""
        few = st.lists(MUTATIONS, max_size=2)
        return st.builds(
            lambda file, changes: (file[0] + end, mutilated(PACKERS[end](file[1]), changes)),
            self.files(),
            few,
        )


READERS = {
    "dump": Reader(draw_passages, ("x.xml",), (PAGES,)),
    "jsonl": Reader(draw_passages, ("x.jsonl", "x.ndjson"), (JSONL,)),
    "csv": Reader(draw_passages, ("x.csv",), (CSV, SEMICOLONS)),
    "tsv": Reader(draw_passages, ("x.tsv",), (TSV, SHEET)),
    "parquet": Reader(draw_passages, ("x.parquet",), PARQUETS),
    "html": Reader(draw_passages, ("x.html", "x.xhtml"), (HTML,)),
    "notes": Reader(draw_passages, ("x.md", "x.txt"), (NOTE,)),
    "queries": Reader(draw_queries, ("q.jsonl", "q.tsv", "q"), (QUERIES, TSV)),
    "qrels": Reader(draw_qrels, ("q.tsv", "qrels.txt"), (BEIR, TREC)),
    "runs": Reader(draw_run, ("run.txt", "run.tsv"), (RUN, RANKED, CANDIDATES)),
    "quora": Reader(draw_passages, ("x.tsv", "x.csv"), (QUORA, PAIRS, QUORA_COMMAS)),
    "quora-queries": Reader(draw_queries, ("x.tsv",), (QUORA, PAIRS)),
    "quora-qrels": Reader(draw_qrels, ("x.tsv", "x.csv"), (QUORA, PAIRS)),
    "msmarco": Reader(draw_passages, ("collection.tsv",), (COLLECTION,)),
}
STRATEGIES = {
    **{name: (reader.read, reader.files()) for name, reader in READERS.items()},
    **{
        name + end: (READERS[name].read, READERS[name].packed(end))
        for name, end in [
            ("dump", ".bz2"), ("dump", ".gz"), ("jsonl", ".gz"), ("jsonl", ".zst"), ("csv", ".bz2"),
            ("tsv", ".zst"), ("qrels", ".gz"), ("runs", ".gz"), ("msmarco", ".gz"),
        ]
    },
}  # fmt: skip


def is_accepted(read: Callable[[Path], None], folder: Path, name: str, content: bytes) -> bool:
    """Read a file; False where it is refused as it should be."""
    path = folder / name
    path.write_bytes(content)
    try:
        read(path)
    except ShortlistError as error:
        assert str(path) in str(error)
        return False
    finally:
        path.unlink()
    return True


@pytest.mark.parametrize("reader", STRATEGIES)
def test_hostile_files_are_read_or_refused(
    reader: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    read, files = STRATEGIES[reader]
    folder = tmp_path_factory.mktemp("fuzz")
    verdicts = set[bool]()

    @given(files)
    @settings(deadline=5000, max_examples=200, suppress_health_check=list(HealthCheck))
    def run(file: tuple[str, bytes]) -> None:
        verdicts.add(is_accepted(read, folder, *file))

    run()
    assert verdicts == {True, False}  # else the files are too broken, or not broken enough


@pytest.mark.parametrize("reader", READERS)
def test_the_files_to_begin_with_are_valid(tmp_path: Path, reader: str) -> None:
    for seed in READERS[reader].seeds:
        content = seed.encode() if isinstance(seed, str) else seed
        verdicts = [
            is_accepted(READERS[reader].read, tmp_path, name, content)
            for name in READERS[reader].names
        ]
        assert any(verdicts)
