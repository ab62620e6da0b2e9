"""HTML, PDF and office files, made by hand or by the libraries of the office formats."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pptx
import pytest

from shortlist.data.collections import Collection, Cutting, load
from shortlist.data.documents import KINDS, read_document
from shortlist.errors import DataError

PROSE = [
    "A glacier is a river of ice that flows slowly downhill under its own weight.",
    "It carves valleys, moves boulders and leaves lakes behind when it melts away.",
]
GERMAN = "Größere Gletscher fließen schneller als kleine, weil sie schwerer sind."


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


def opened(source: Path) -> Collection:
    return load(source, Cutting(count_words, 60))


def html(*, charset: str = "utf-8") -> bytes:
    page = f"""<!DOCTYPE html><html lang="en"><head><meta charset="{charset}">
<title>Glaciers | A Site</title><meta property="og:title" content="Glaciers">
<style>p {{ color: red }}</style><script>var hidden = "script text";</script></head><body>
<nav><ul><li><a href="/">Home of the site</a></li><li><a href="/x">Shop</a></li></ul></nav>
<article><h1>Glaciers</h1><p>{PROSE[0]}</p><h2>What they do</h2><p>{PROSE[1]}</p>
<p>{GERMAN}</p><table><tr><th>Name</th><th>Length</th></tr>
<tr><td>Aletsch</td><td>23 km</td></tr></table></article>
<footer><p>Copyright, cookies and imprint</p></footer></body></html>"""
    return page.encode(charset)


def docx() -> bytes:
    namespace = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    heading = '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Glaciers</w:t></w:r></w:p>'
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in [*PROSE, GERMAN])
    office = "http://schemas.openxmlformats.org"
    return zipped({
        "[Content_Types].xml": f"""<Types xmlns="{office}/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/word/document.xml" ContentType=
"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>
<Override PartName="/word/styles.xml" ContentType=
"application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/></Types>""",
        "_rels/.rels": f"""<Relationships xmlns="{office}/package/2006/relationships">
<Relationship Id="r1" Type="{office}/officeDocument/2006/relationships/officeDocument"
Target="word/document.xml"/></Relationships>""",
        "word/_rels/document.xml.rels": f"""<Relationships
xmlns="{office}/package/2006/relationships"><Relationship Id="r1"
Type="{office}/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>""",
        "word/styles.xml": f"""<w:styles {namespace}><w:style w:type="paragraph"
w:styleId="Heading1"><w:name w:val="heading 1"/></w:style></w:styles>""",
        "word/document.xml": f"""<w:document {namespace}><w:body>{heading}{body}</w:body>
</w:document>""",
    })  # fmt: skip


def zipped(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def pdf() -> bytes:
    """One page with three lines of Helvetica, and the table of offsets that a reader wants."""
    lines = [*PROSE, GERMAN]
    shown = " ".join(f"({line}) Tj 0 -40 Td" for line in lines)
    stream = f"BT /F1 11 Tf 40 700 Td {shown} ET".encode("cp1252")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    content, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(content)
    return content + b"xref\n0 6\n0000000000 65535 f \n" + table + trailer


def xlsx() -> bytes:
    book, content = openpyxl.Workbook(), io.BytesIO()
    for line in [*PROSE, GERMAN]:
        book.active.append([line, 23])
    book.save(content)
    return content.getvalue()


def slides() -> bytes:
    show, content = pptx.Presentation(), io.BytesIO()
    for line in [*PROSE, GERMAN]:
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = "Glaciers"
        slide.placeholders[1].text = line
    show.save(content)
    return content.getvalue()


def notebook() -> bytes:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Glaciers\n", "\n", *PROSE[:1]]},
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": [f"# {PROSE[1]}\n", "x"]},
        {"cell_type": "markdown", "metadata": {}, "source": [GERMAN]},
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def epub() -> bytes:
    body = "".join(f"<p>{line}</p>" for line in [*PROSE, GERMAN])
    return zipped({
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": """<container version="1.0"
xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile
full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>""",
        "book.opf": """<package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Glaciers</dc:title></metadata>
<manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="a"/></spine></package>""",
        "a.xhtml": f"<html><head><title>Glaciers</title></head><body>{body}</body></html>",
    })  # fmt: skip


MAKERS: dict[str, Callable[[], bytes]] = {
    ".html": html, ".htm": html, ".xhtml": html, ".docx": docx, ".pdf": pdf, ".xlsx": xlsx,
    ".pptx": slides, ".ipynb": notebook, ".epub": epub,
}  # fmt: skip


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_every_kind_is_made_here() -> None:
    assert MAKERS.keys() == KINDS


@pytest.mark.parametrize("suffix", MAKERS)
def test_the_text_of_a_document_is_found(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path, f"Ice{suffix.upper()}", MAKERS[suffix]())
    collection = opened(path)
    assert collection.kind == "document"
    passages = list(collection.passages)
    text = " ".join(" ".join(p.text for p in passages).split())
    for line in [*PROSE, GERMAN]:
        assert line in text
    assert [p.id for p in passages] == [f"{path.name}#{n}" for n in range(len(passages))]
    assert {p.title for p in passages} == ({"Ice"} if suffix in (".pdf",) else {passages[0].title})


@pytest.mark.parametrize("suffix", [".html", ".docx", ".ipynb"])
def test_a_document_has_a_title(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path, f"x{suffix}", MAKERS[suffix]())
    assert {p.title for p in opened(path).passages} == {"Glaciers"}


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "cp1252"])
def test_a_page_is_its_main_text(tmp_path: Path, charset: str) -> None:
    passages = list(opened(put(tmp_path, "ice.html", html(charset=charset))).passages)
    text = "\n".join(p.text for p in passages)
    assert GERMAN in text
    assert "Aletsch" in text
    for noise in ("script text", "color: red", "Shop", "cookies"):
        assert noise not in text
    (second,) = (p for p in passages if PROSE[1] in p.text)
    assert second.section == "What they do"


def test_a_page_without_main_text_gives_what_there_is(tmp_path: Path) -> None:
    path = put(tmp_path, "x.html", b"<html><body><p>Tiny.</p></body></html>")
    assert [p.text for p in opened(path).passages] == ["Tiny."]


@pytest.mark.parametrize("suffix", sorted(KINDS - {".html", ".htm", ".xhtml"}))
@pytest.mark.parametrize("break_it", ["half", "noise", "text"])
def test_a_broken_document_is_refused_or_counted(
    tmp_path: Path, suffix: str, break_it: str
) -> None:
    whole = MAKERS[suffix]()
    content = {
        "half": whole[: len(whole) // 2],
        "noise": bytes(range(256)) * 4,
        "text": b"plain words, no document",
    }[break_it]
    path = put(tmp_path, f"bad{suffix}", content)
    if break_it == "half" and suffix == ".pdf":
        return  # a reader may find whole objects in half a PDF
    with pytest.raises(DataError, match=rf"bad\{suffix}: this \{suffix} file cannot be read"):
        list(opened(path).passages)
    put(tmp_path, "good.txt", b"Good.")
    folder = opened(tmp_path)
    assert [p.text for p in folder.passages] == ["Good."]
    assert folder.ledger.dropped == {f"{suffix} files that could not be read": 1}
    assert folder.ledger.warnings[0].startswith(f"{path}: this {suffix} file cannot be read")


def test_empty_and_missing_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"e\.pdf: the file is empty"):
        read_document(put(tmp_path, "e.pdf", b""))
    with pytest.raises(DataError, match=r"no\.html: cannot be read \(No such file"):
        read_document(tmp_path / "no.html")
    with pytest.raises(DataError, match=r"no\.html: no such file"):
        opened(tmp_path / "no.html")


def test_a_folder_of_all_kinds(tmp_path: Path) -> None:
    for suffix, make in MAKERS.items():
        put(tmp_path, f"ice{suffix}", make())
    collection = opened(tmp_path)
    found = {p.document_id for p in collection.passages if PROSE[0] in " ".join(p.text.split())}
    assert found == {f"ice{suffix}" for suffix in MAKERS}
    assert collection.ledger.documents == len(MAKERS)


WORDS = "A fragment without html and body, with words enough."


@pytest.mark.parametrize(
    "page",
    [
        f"<p>{WORDS}</p>".encode(),
        b'<?xml version="1.0" encoding="iso-8859-1"?>' + f"<html><body>{WORDS}</body>".encode(),
        f"<html><body><p>{WORDS}</p></body></html>".encode("utf-16"),
        WORDS.encode(),
    ],
)
def test_pages_that_are_hardly_html_keep_their_text(tmp_path: Path, page: bytes) -> None:
    (tmp_path / "f.html").write_bytes(page)
    _, text = read_document(tmp_path / "f.html")
    assert text.strip() == WORDS


def test_an_office_file_that_is_a_bomb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * (64 << 20))
    with pytest.raises(DataError, match=r"become 67,108,864; .*refused as a decompression bomb"):
        read_document(path)
    (tmp_path / "p.html").write_bytes(b'PK\x05\x06""" <html><body>Text of a page.</body></html>')
    assert "Text of a page." in read_document(tmp_path / "p.html")[1]
