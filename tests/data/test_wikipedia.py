from __future__ import annotations

import bz2
import gzip
import io
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.data import pages, streams
from shortlist.data.ledger import Ledger
from shortlist.data.wikipedia import Article, read_articles
from shortlist.errors import DataError

SITE = """<siteinfo><sitename>W</sitename><namespaces>
<namespace key="-2">Meedia</namespace><namespace key="0" /><namespace key="6">Pilt</namespace>
<namespace key="14">Kategooria</namespace></namespaces></siteinfo>"""


def page(number: int, title: str, text: str, ns: str = "<ns>0</ns>", extra: str = "") -> str:
    return (
        f"<page><title>{title}</title>{ns}<id>{number}</id>{extra}<revision><id>9{number}</id>"
        f"<contributor><username>U</username><id>7</id></contributor>"
        f'<text xml:space="preserve">{text}</text></revision></page>'
    )


def export(*pages: str, version: str = "0.10") -> str:
    return (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-{version}/" version="{version}">\n'
        + SITE
        + "\n".join(pages)
        + "\n</mediawiki>\n"
    )


DUMP = export(
    page(1, "Ada", "'''Ada''' wrote &lt;b&gt;programs&lt;/b&gt; &amp; letters."),
    page(2, "Alan", "#REDIRECT [[Ada]]", extra='<redirect title="Ada" />'),
    page(3, "Old", "#suuna [[Ada]]"),
    page(4, "Mercury", "Mercury may be a metal.\n{{Disambig|x}}"),
    page(5, "Venus (disambiguation)", "Venus may be."),
    page(6, "Talk:Ada", "hm", ns="<ns>1</ns>"),
    page(7, "Empty", " "),
    page(8, "Täpsus", "On mitu.\n\n{{täpsustus}}"),
    page(9, "Grace", "She is not {{disambiguation needed|x}} at all."),
)


def read(path: Path) -> tuple[list[Article], Ledger]:
    ledger = Ledger()
    return list(read_articles(path, ledger)), ledger


@pytest.mark.parametrize("version", ["0.3", "0.6", "0.10", "0.11"])
def test_articles_are_kept_and_the_rest_is_counted(tmp_path: Path, version: str) -> None:
    path = tmp_path / "dump.xml"
    path.write_text(DUMP.replace("0.10", version), encoding="utf-8")
    articles, ledger = read(path)
    assert [(a.id, a.title) for a in articles] == [("1", "Ada"), ("9", "Grace")]
    assert articles[0].wikitext == "'''Ada''' wrote <b>programs</b> & letters."
    assert articles[0].namespaces["pilt"] == 6
    assert ledger.dropped == {
        "redirects": 2,
        "disambiguation pages": 3,
        "pages of other namespaces": 1,
        "pages without text": 1,
    }
    assert ledger.documents == 2
    assert ledger.summary() == (
        "0 passages from 2 articles; dropped 1 page of other namespaces, 1 page without text, "
        "2 redirects, 3 disambiguation pages"
    )


@pytest.mark.parametrize("title", ["Pilt:X.jpg", "Category:Y", "User talk:Z", "kategooria:Q"])
def test_exports_without_ns_elements_know_namespaces_by_the_title(
    tmp_path: Path, title: str
) -> None:
    path = tmp_path / "old.xml"
    path.write_text(
        export(page(1, title, "x", ns=""), page(2, "2001: A Space Odyssey", "y", ns=""))
    )
    articles, ledger = read(path)
    assert [a.title for a in articles] == ["2001: A Space Odyssey"]
    assert ledger.dropped == {"pages of other namespaces": 1}


def test_the_last_revision_of_a_full_history_wins(tmp_path: Path) -> None:
    path = tmp_path / "history.xml"
    one = page(1, "A", "first").replace(
        "</page>", "<revision><id>5</id><text>second</text></revision></page>"
    )
    path.write_text(export(one))
    (article,), _ = read(path)
    assert (article.id, article.wikitext) == ("1", "second")


def compressed(data: bytes, suffix: str) -> bytes:
    if suffix == ".xml.gz":
        return gzip.compress(data)
    if suffix == ".xml.bz2":
        half = len(data) // 2  # multistream, as the dumps of Wikipedia are
        return bz2.compress(data[:half]) + bz2.compress(data[half:])
    return data


@pytest.mark.parametrize("suffix", [".xml", ".xml.gz", ".xml.bz2"])
def test_compressed_dumps_read_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"dump{suffix}"
    path.write_bytes(compressed(DUMP.encode(), suffix))
    assert [a.title for a in read(path)[0]] == ["Ada", "Grace"]


def many_pages() -> bytes:
    noise = (f"{i * 7919 % 104729:x}{i}" for i in range(300_000))
    return export(
        *(page(n, f"T{n}", " ".join(next(noise) for _ in range(300))) for n in range(1, 900))
    ).encode()


@pytest.mark.parametrize("suffix", [".xml", ".xml.gz", ".xml.bz2"])
def test_a_dump_that_is_cut_off_keeps_what_is_readable(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    whole = compressed(many_pages(), suffix)
    path.write_bytes(whole[: int(len(whole) * 0.8)])
    articles, ledger = read(path)
    assert 300 < len(articles) < 899
    assert [a.id for a in articles] == [str(n) for n in range(1, len(articles) + 1)]
    assert len(ledger.warnings) == 1
    assert "cut" in ledger.warnings[0]
    assert path.name in ledger.warnings[0]


@given(st.integers(min_value=0, max_value=len(DUMP.encode()) - 1))
def test_every_cut_gives_a_prefix_or_says_why_not(
    tmp_path_factory: pytest.TempPathFactory, at: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "dump.xml"
    path.write_bytes(DUMP.encode()[:at])
    try:
        articles, ledger = read(path)
    except DataError as error:
        assert at < DUMP.index("<siteinfo>"), error  # nothing of an export was there yet
    else:
        assert [a.title for a in articles] == ["Ada", "Grace"][: len(articles)]
        assert ledger.warnings or at >= len(DUMP.encode().rstrip())


def test_duplicate_page_ids_are_refused_with_both_places(tmp_path: Path) -> None:
    path = tmp_path / "twice.xml"
    path.write_text(export(page(4, "A", "a"), page(5, "B", "b"), page(4, "C", "c")))
    with pytest.raises(DataError, match=r"page id 4 stands twice, at line \d+ \('A'\) and .*'C'"):
        read(path)


def bad(name: str, content: bytes, match: str) -> object:
    return pytest.param(content, match, id=name)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        bad("empty", b"", "dump.xml: the file is empty"),
        bad("binary", b"\x7fELF\x00\x01\x02" * 99, "expected XML.*got a binary file"),
        bad("text", b"Dear reader", "dump.xml:1: expected XML.*'Dear reader'"),
        bad("other xml", b"<rss><channel/></rss>", "MediaWiki export.*root <rss> and no <page>"),
        bad("latin-1", DUMP.encode("latin-1"), r"dump.xml:\d+: bytes that are not UTF-8"),
        bad("malformed", DUMP.replace("</title>", "</titel>").encode(), r"xml:\d+: .*mismatched"),
        bad("html", b"<!DOCTYPE html><html></html>", "dump.xml:1: a document type"),
        bad("zip", b"PK\x03\x04abc", "this is a zip archive; unpack it"),
        bad("gzip of nothing", gzip.compress(b"")[:8], "ends in the middle"),
        bad("damaged gzip", gzip.compress(DUMP.encode())[:-8] + b"12345678", "damaged after"),
        bad("deep", b"<mediawiki>" + b"<a>" * 100, "more than 64 elements inside each other"),
    ],
)
def test_what_is_no_dump_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "dump.xml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=match):
        read(path)


def test_a_missing_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.xml: no such file"):
        read(tmp_path / "none.xml")


def test_an_entity_bomb_is_refused_quickly(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xml"
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    path.write_text(
        f'<!DOCTYPE mediawiki [<!ENTITY l0 "ha">{levels}]>'
        + export(page(1, "A", "&l11;")).replace("<mediawiki", "<mediawiki", 1)
    )
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"bomb\.xml:1: a document type"):
        read(path)
    assert time.perf_counter() - start < 1


def gzip_of_repetition(head: bytes, unit: bytes, size: int) -> bytes:
    out = io.BytesIO()
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    out.write(packer.compress(head))
    block = unit * ((1 << 20) // len(unit))
    for _ in range(size >> 20):
        out.write(packer.compress(block))
    out.write(packer.flush())
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "match"),
    [
        ("<mediawiki>", "refused as a decompression bomb"),
        ("<mediawiki><page><title>A</title><revision><text>", "a page of more than 64 Mi"),
        ("<mediawiki><page a='", "a tag of more than 16 MiB"),
    ],
)
def test_gzip_bombs_are_refused_quickly_and_in_little_memory(
    tmp_path: Path, head: str, match: str
) -> None:
    path = tmp_path / "bomb.xml.gz"
    path.write_bytes(gzip_of_repetition(head.encode(), b" ", 256 << 20))
    start = time.perf_counter()
    with pytest.raises(DataError, match=match):
        read(path)
    assert time.perf_counter() - start < 10


def test_memory_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "long.xml.gz"
    path.write_bytes(
        gzip.compress(export(*(page(n, f"T{n}", "word " * 2000) for n in range(1, 3000))).encode())
    )
    tracemalloc.start()
    count = sum(1 for _ in read_articles(path, Ledger()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 2999
    assert peak < 8 << 20  # of 30 MB of XML


def test_the_limits_leave_room_for_real_dumps() -> None:
    assert streams.MOST_EXPANSION >= 50  # bzip2 of a full history: about 30
    assert pages.LARGEST_PAGE >= 8 << 20  # MediaWiki allows 2 MiB


PAGES = {
    "enwiki_first_85pages.xml": 85,
    "enwiki_apache_132pages.xml": 132,
    "enwiki_paintings_99pages.xml": 99,
    "enwiki_sample_16pages.xml": 16,
    "etwiki_92pages.xml": 92,
    "ltgwiki_2004pages_complete.xml": 2004,
    "enwiki-gensim-106articles-shortened.xml.bz2": 206,
}


@pytest.mark.collections
@pytest.mark.parametrize(("name", "count"), PAGES.items())
def test_every_page_of_the_real_exports_is_accounted_for(
    shared_data: Path, name: str, count: int
) -> None:
    articles, ledger = read(shared_data / "wikipedia" / "raw_xml" / name)
    assert ledger.documents == len(articles)
    assert len(articles) + ledger.dropped.total() == count
    assert not ledger.warnings
