from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from shortlist.data.collections import Collection, Cutting, load
from shortlist.errors import DataError
from shortlist.records import Passage


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def opened(source: Path | str, max_tokens: int = 50) -> Collection:
    return load(source, Cutting(count_words, max_tokens))


def drawn(source: Path | str, max_tokens: int = 50) -> tuple[list[Passage], str]:
    collection = opened(source, max_tokens)
    return list(collection.passages), collection.ledger.summary()


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


DUMP = """<mediawiki><page><title>Ada</title><ns>0</ns><id>3</id><revision><id>1</id><text>'''Ada'''
was a mathematician who lived in [[London]].

== Life ==
Short.

%s
</text></revision></page><page><title>X</title><ns>0</ns><id>4</id><redirect title="Ada"/>
<revision><text>#REDIRECT [[Ada]]</text></revision></page></mediawiki>""" % (
    "She wrote a sentence of eight words here. " * 10
)


@pytest.mark.parametrize(("suffix", "pack"), [
    (".xml", bytes), (".xml.bz2", bz2.compress), (".xml.gz", gzip.compress),
])  # fmt: skip
def test_a_dump_becomes_passages(tmp_path: Path, suffix: str, pack) -> None:
    path = tmp_path / f"wiki{suffix}"
    path.write_bytes(pack(DUMP.encode()))
    passages, summary = drawn(path)
    assert opened(path).kind == "MediaWiki dump"
    assert [(p.id, p.section, p.title, p.document_id) for p in passages] == [
        ("3-0", "", "Ada", "3"),
        ("3-1", "Life", "Ada", "3"),
        ("3-2", "Life", "Ada", "3"),
    ]
    assert passages[0].text == "Ada was a mathematician who lived in London."
    assert max(count_words([p.model_text for p in passages])) <= 50
    assert summary == (
        "3 passages from 1 article; dropped 1 paragraph under 40 characters, 1 redirect"
    )


def test_jsonl_keeps_its_ids_and_is_not_cut(tmp_path: Path) -> None:
    long = "word " * 500
    path = jsonl(
        tmp_path / "corpus.jsonl",
        {"_id": "a", "title": "T", "text": "one", "metadata": {"x": 1}},
        {"id": 7, "text": long},
        {"_id": "b", "title": "Only a title", "text": ""},
        {"_id": "c", "title": "", "text": " "},
        {"_id": "d", "title": None, "text": "No title"},
        {"_id": "e", "text": None},
    )
    path.write_text("\ufeff" + path.read_text().replace("\n", "\r\n\r\n"), encoding="utf-8")
    passages, summary = drawn(path)
    assert passages == [
        Passage("a", "one", "T", metadata={"metadata": {"x": 1}}),
        Passage("7", long),
        Passage("b", "", "Only a title"),
        Passage("d", "No title"),
    ]
    assert opened(path).kind == "JSONL"
    assert summary == "4 passages; dropped 2 passages without text and title"


def test_jsonl_may_be_compressed(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress('{"id": "ä", "text": "öö"}'.encode()))
    assert drawn(path)[0] == [Passage("ä", "öö")]
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"c\.jsonl\.gz: the compressed file ends in the middle"):
        drawn(path)


def test_ids_are_made_from_the_content_where_there_are_none(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", {"text": "a"}, {"text": "b"}, {"text": "a"}, {"text": "c"})
    passages, summary = drawn(path)
    assert [p.text for p in passages] == ["a", "b", "c"]
    assert len({p.id for p in passages}) == 3
    assert all(len(p.id) == 16 for p in passages)
    assert drawn(path)[0] == passages
    assert summary == (
        "3 passages; dropped 1 repetition of passages without an id; 3 ids made from the content"
    )


def test_half_characters_do_not_get_into_the_index(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "a", "text": "cut \\ud83d here, whole \\ud83c\\udf89 there"}')
    (passage,), summary = drawn(path)
    assert passage.text == "cut \ufffd here, whole 🎉 there"
    assert "1 text with half a character replaced" in summary


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b'{"id": "b", "text": ', r"c\.jsonl:3: expected .*_id.*not JSON"),
        (b"[1, 2]", r"c\.jsonl:3: expected \{.*got '\[1, 2\]'"),
        (b'"text"', r"c\.jsonl:3: expected"),
        (b'{"id": "b", "title": "t"}', r"c\.jsonl:3: no 'text'.*there are: 'id', 'title'"),
        (b'{"id": "b", "text": 5}', r"c\.jsonl:3: expected 'text' to be a string, got 5"),
        (b'{"id": "b", "text": "x", "title": ["t"]}', r"c\.jsonl:3: expected 'title' to be a str"),
        (b'{"id": ["b"], "text": "x"}', r"c\.jsonl:3: expected an id that is a string"),
        (b'{"id": true, "text": "x"}', r"c\.jsonl:3: expected an id that is a string"),
        (b'{"id": "a\\tb", "text": "x"}', r"c\.jsonl:3: expected an id of printable"),
        (b'{"id": "a", "text": "x"}', r"c\.jsonl:3: the id 'a' stands already at .*c\.jsonl:1;"),
        (b'{"id": "b", "text": "\xe4"}', r"c\.jsonl:3: not UTF-8 \(byte 0xe4 at column 22\)"),
        (b"PK\0\0\0", r"c\.jsonl:3: expected text, got a binary file"),
        (b"[" * 100_000, r"c\.jsonl:3: .*not JSON"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: bytes, match: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"id": "a", "text": "good"}\n\n' + line + b"\n")
    collection = opened(path)
    assert next(collection.passages).id == "a"
    with pytest.raises(DataError, match=match):
        list(collection.passages)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortlist.data.streams.LONGEST_LINE", 1 << 20)
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"id": "a", "text": "x"}\n' + b"x" * (3 << 20))
    with pytest.raises(DataError, match=r"c\.jsonl:2: a line of more than 1 MiB"):
        drawn(path)


def test_a_beir_folder_is_its_corpus(tmp_path: Path) -> None:
    jsonl(tmp_path / "corpus.jsonl", {"_id": "a", "text": "one"})
    jsonl(tmp_path / "queries.jsonl", {"_id": "q", "text": "?"})
    (tmp_path / "readme.md").write_text("# Not a note")
    assert opened(str(tmp_path)).kind == "BEIR folder"
    assert drawn(tmp_path)[0] == [Passage("a", "one")]


NOTE = """---
tags: x
---
Before the title.

# Garden *plan*

Buy seeds.

## Beds ##
- tomatoes
- beans

```sh
# not a heading
```

Summer
------
Water.

### Deep

Dig.
"""


def test_a_folder_of_notes(tmp_path: Path) -> None:
    (tmp_path / "b" / ".hidden").mkdir(parents=True)
    (tmp_path / "b" / ".hidden" / "no.md").write_text("no")
    (tmp_path / ".no.txt").write_text("no")
    (tmp_path / "b" / "garden.MD").write_text(NOTE)
    (tmp_path / "a.txt").write_bytes("\ufeffÜks.\r\n\r\n".encode() + b"Two words here. " * 40)
    (tmp_path / "empty.md").write_text("")
    (tmp_path / "scan.pdf").write_bytes(b"%PDF")
    (tmp_path / "Makefile").write_text("all:")
    passages, summary = drawn(tmp_path)
    assert opened(tmp_path).kind == "folder of texts"
    first, *rest = passages
    assert (first.id, first.title, first.text) == ("a.txt#0", "a", "Üks.")
    notes = [p for p in rest if p.document_id == "b/garden.MD"]
    assert [(p.id, p.section, p.text) for p in notes] == [
        ("b/garden.MD#0", "", "Before the title."),
        ("b/garden.MD#1", "", "Buy seeds."),
        ("b/garden.MD#2", "Beds", "- tomatoes\n- beans"),
        ("b/garden.MD#3", "Beds", "```sh\n# not a heading\n```"),
        ("b/garden.MD#4", "Summer", "Water."),
        ("b/garden.MD#5", "Summer / Deep", "Dig."),
    ]
    assert {p.title for p in notes} == {"Garden *plan*"}
    assert max(count_words([p.model_text for p in passages])) <= 50
    assert len([p for p in rest if p.document_id == "a.txt"]) == 3
    assert summary == (
        "10 passages from 2 files; dropped 1 .pdf file that could not be read, 1 empty file, "
        "1 file without a suffix; 1 warning"
    )


def test_a_single_text_file(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("One.\n\nTwo.")
    assert opened(path).kind == "text file"
    assert [(p.id, p.text) for p in drawn(path)[0]] == [
        ("note.txt#0", "One."),
        ("note.txt#1", "Two."),
    ]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"fine\nb\xe4d", r"n\.txt:2: not UTF-8 .*save the file as UTF-8"),
        (b"fine\nb\0d", r"n\.txt:2: expected text, got a binary file"),
    ],
)
def test_a_note_that_is_no_text_is_named(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "n.txt").write_bytes(content)
    (tmp_path / "o.md").write_text("Fine.")
    with pytest.raises(DataError, match=match):
        drawn(tmp_path / "n.txt")
    collection = opened(tmp_path)  # one bad file does not keep the others out
    assert [p.id for p in collection.passages] == ["o.md#0"]
    assert collection.ledger.dropped == {".txt files that could not be read": 1}
    assert re.search(match, collection.ledger.warnings[0])
    assert collection.ledger.unreadable == ["n.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Fine.")
    (tmp_path / "locked").mkdir(mode=0)
    collection = opened(tmp_path)
    assert [p.id for p in collection.passages] == ["a.md#0"]
    assert collection.ledger.unreadable == ["locked/"]


def test_what_is_beside_the_texts_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Fine.")
    (tmp_path / "questions.csv").write_text("id,text\n1,x\n")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked").symlink_to(tmp_path)
    collection = opened(tmp_path)
    assert collection.kind == "folder of texts"  # not of Quora's pairs, whatever its name
    assert [p.id for p in collection.passages] == ["a.md#0"]
    assert collection.ledger.dropped == {
        ".csv files": 1,
        "links to nothing": 1,
        "links to folders": 1,
    }
    assert "1 table beside the texts" in collection.ledger.warnings[0]


def test_a_compressed_page_is_not_read_as_markdown(tmp_path: Path) -> None:
    (tmp_path / "page.html.gz").write_bytes(gzip.compress(b"<p>x</p>"))
    with pytest.raises(DataError, match=r"unknown kind of file '\.html\.gz'"):
        opened(tmp_path / "page.html.gz")


def test_sources_that_cannot_be_collections(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file.*check the spelling"):
        opened(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no file in this folder can be read; expected a Media"):
        opened(tmp_path)
    (tmp_path / "x.doc").write_text("?")
    with pytest.raises(DataError, match=r"x\.doc: unknown kind of file '\.doc'; expected a Med"):
        opened(tmp_path / "x.doc")
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(DataError, match=r"x\.jsonl: the file is empty"):
        opened(tmp_path / "x.jsonl")


@pytest.mark.parametrize("name", ["d.zip", "d.tar", "d.tar.gz", "d.xml.bz2", "d.7z"])
def test_archives_are_refused_by_name(tmp_path: Path, name: str) -> None:
    inside = io.BytesIO()
    if ".tar" in name or name.endswith("bz2"):
        mode = {"gz": "w:gz", "z2": "w:bz2"}.get(name[-2:], "w")
        with tarfile.open(fileobj=inside, mode=mode) as archive:
            archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    elif name.endswith("7z"):
        inside.write(b"7z\xbc\xaf\x27\x1c rest")
    else:
        with zipfile.ZipFile(inside, "w") as archive:
            archive.writestr("a", "b")
    path = tmp_path / name
    path.write_bytes(inside.getvalue())
    with pytest.raises(DataError, match=r"archive; unpack it and give what is inside"):
        drawn(path)


def test_drawing_is_lazy(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "a", "text": "x"}\n' * 2)
    collection = opened(path)
    assert collection.ledger.kept == 0
    next(collection.passages)
    assert collection.ledger.kept == 1


@pytest.mark.collections
def test_a_real_beir_folder(shared_data: Path) -> None:
    passages, summary = drawn(shared_data / "scifact")
    assert len(passages) == 5183
    assert summary == "5,183 passages"


@pytest.mark.collections
def test_a_real_dump(shared_data: Path) -> None:
    path = shared_data / "wikipedia" / "raw_xml" / "etwiki_92pages.xml"
    passages, summary = drawn(path, max_tokens=128)
    assert summary.startswith(f"{len(passages):,} passages from 86 articles; dropped 2 redirects, ")
    assert max(count_words([p.model_text for p in passages])) <= 128
    assert len({p.id for p in passages}) == len(passages)


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("# A", "A"),
        ("   ###### A b \t", "A b"),
        ("## A ##", "A"),
        ("## A#", "A#"),
        ("##\tA \t## ", "A"),
        ("# #5 in the list", "#5 in the list"),
        ("#A", None),
        ("####### A", None),
        ("    # A", None),
        ("#", None),
        ("## ##", None),
        ("# a" + " " * 200_000 + "b", "a" + " " * 200_000 + "b"),
        ("# " + " " * 200_000, None),
    ],
)
def test_markdown_headings(tmp_path: Path, line: str, heading: str | None) -> None:
    """As CommonMark 0.31 has them, section 4.2; long lines cost no more than their length."""
    (tmp_path / "n.md").write_text(f"# Title\n\nBefore.\n\n{line}\n\nAfter.\n")
    passages = list(load(tmp_path / "n.md", Cutting(lambda texts: [9] * len(texts), 99)).passages)
    sections = [p.section for p in passages]
    if heading is None:
        assert set(sections) == {""}
    else:
        assert sections == ["", heading]
