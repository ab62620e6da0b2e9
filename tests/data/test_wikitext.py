from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.data.ledger import Ledger
from shortlist.data.paragraphs import Section
from shortlist.data.wikipedia import read_articles
from shortlist.data.wikitext import read_sections

RESIDUE = re.compile(r"\{\{|\}\}|\[\[|\]\]|\|thumb|<ref|\{\|")


def plain(wikitext: str) -> str:
    sections = read_sections(wikitext, Ledger())
    return "\n\n".join(paragraph for section in sections for paragraph in section.paragraphs)


ARTICLE = """{{Short description|British writer}}
{{Infobox person
| name = Ada
| image = [[File:Ada.jpg|thumb|A [[portrait]] of {{nowrap|her}}]]
| spouse = {{marriage|William|1835}}
}}
[[File:Ada 2.png|thumb|left|200px|Ada in [[London]], see [[File:x.png|20px]] {{cn}}]]
'''Ada Lovelace''' ({{IPAc-en|l|ʌ|v}}; born 10&nbsp;December 1815) was a [[mathematician]] and
[[Poetry|poet]]'s daughter.<ref name="a">{{cite book|title=[[X]]}}</ref><ref name="a" /> She
walked {{convert|5|km|mi}} a day.<!-- not checked -->

== Life ==
__TOC__
{| class="wikitable"
|-
! Year !! Event
|-
| 1815 || {| inner |}
|}
=== Early years ===
{{main|Childhood of Ada}}
She had:
* a ''tutor'', [https://example.org Mary Somerville],
** and books[https://example.org];
# [[:Category:Maths|maths]]

Then <math>\\frac{1}{2}</math> or <math>n + 1</math> and <nowiki>[[brackets]]</nowiki> came.
<gallery>
File:A.jpg|caption
</gallery>
== Works ==
H<sub>2</sub>O and 10<sup>6</sup> m<sup>2</sup>.<br />Notes &mdash; all of them.
== References ==
{{reflist}}
A book of hers, printed in London.
=== Cited ===
Another book.
== External links ==
* [http://example.org A site]
[[Category:Poets]] [[de:Ada Lovelace]]
"""


def test_a_page_as_a_person_would_copy_it() -> None:
    ledger = Ledger()
    assert read_sections(ARTICLE, ledger) == [
        Section(
            "",
            (
                "Ada Lovelace (born 10 December 1815) was a mathematician and poet's daughter. "
                "She walked 5 km a day.",
            ),
        ),
        Section(
            "Life / Early years",
            (
                "She had:\na tutor, Mary Somerville,\nand books;\nmaths",
                "Then or n + 1 and [[brackets]] came.",
            ),
        ),
        Section("Works", ("H2O and 10⁶ m². Notes — all of them.",)),
    ]
    assert ledger.dropped == {"sections of references and links": 2, "tables": 1}


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("[[Tartu]] on [[linn|linnas]].", "Tartu on linnas."),
        ("[[Tartu (linn)|]] ja [[Tartu#Ajalugu]]", "Tartu ja Tartu"),
        ("[[wikt:tere|tere]] [[w:Maailm]]", "tere Maailm"),
        ("[[:File:A.jpg]] shown", "File:A.jpg shown"),
        ("A [[Pilt:A.jpg|pisi|nool [[a|b]] [http://x.org y]]] B", "A B"),
        ("A [[kategooria:X|Y]]B[[zh-min-nan:C]]", "A B"),
        ("{{lang|fr|mot}} and {{lang-ru|слово}}", "mot and слово"),
        ("{{lang|fr|2=a=b}}", "a=b"),
        ("{{convert|5|-|10|km2|abbr=on}} {{convert|6|ft|2|in|m}}", "5–10 km² 6 ft 2 in"),
        ("{{Convert|30|C|F|0}}", "30 °C"),
        ("{{nowrap|a {{small|b {{abbr|c|d}}}}}}", "a b c"),
        ("x{{snd}}y {{As of|2012}} {{frac|1|2}} {{nihongo|Tea|茶|cha}}",
         "x – y As of 2012 1/2 Tea (茶, cha)"),
        ("{{val|1.5|e=6|u=m/s}}, {{formatnum: 1234}}", "1.5×10^6 m/s, 1234"),
        ("Said {{quote|Be <br> there.}} he", "Said\n\nBe there.\n\nhe"),
        ("A ({{lang-et|}}; {{IPA|x}}) b ( , ) c (; d ,) e", "A b c (d) e"),
        ("'''''both''''' '''bold''' ''it'' l''''a''' don't", "both bold it l'a don't"),
        ("a<ref>x</ref><ref name=b/> b<REF group=\"n\">{{y}}\n\n</REF>.", "a b."),
        ("<div style='x'>One</div><p>Two</p>", "One\n\nTwo"),
        ("one\n<!-- hidden -->\ntwo", "one two"),
        ("a &lt;ref&gt; &#91;b&#93; &amp;c", "a <ref> [b] &c"),
        ("soft\u00adhyphen zero\u200bwidth no\u00a0break thin\u2009space",
         "softhyphen zerowidth no break thin space"),
        ("; Term : meaning\n: indented", "Term : meaning\nindented"),
        ("text\n----\nmore", "text more"),
        ("<syntaxhighlight lang=c>int a[[3]];</syntaxhighlight>code <pre>{{x}}</pre>", "code"),
        ("{{{1|default}}} {{#if:x|y}} {{PAGENAME}}", "default"),
        ("version 3.5 of .NET, see [sic] this", "version 3.5 of .NET, see [sic] this"),
        ("call main() or (a) or ()", "call main() or (a) or"),
        ("5 < 6 and 7 > 6, x<y", "5 < 6 and 7 > 6, x<y"),
        ("ünïcode 日本語 العربية हिन्दी 🎉", "ünïcode 日本語 العربية हिन्दी 🎉"),
    ],
)  # fmt: skip
def test_markup_becomes_what_the_reader_sees(wikitext: str, expected: str) -> None:
    assert plain(wikitext) == expected


@pytest.mark.parametrize(
    ("wikitext", "kept"),
    [
        ("{{Infobox\n| a = b\n| c = [[d]]\nThe text goes on.", "The text goes on."),
        ("Berlin is [[capital of Germany.\n\nSecond.", "Berlin is capital of Germany.\n\nSecond."),
        ("[[File:A.jpg|thumb|caption\nThe text goes on.", "The text goes on."),
        ("{| class=x\n| cell\n|-\nThe text goes on.", "The text goes on."),
        ("{{a\n== Heading ==\nThe text }} goes [[on]].", "The text goes on."),
        ("One]] two}} three|} [http://x.org four", "One two three|} four"),
        ("|}\n|-\n| cell\nThe text.", "The text."),
        (
            "Here <ref>a note without its end\n\nThe text.",
            "Here a note without its end\n\nThe text.",
        ),
        ("Here <!-- a comment without its end\nThe text.", "Here The text."),
        ("{{a|[[b}} c]] d", "c d"),
        ("[[a {{b]] c}} d", "a d"),
    ],
)
def test_broken_markup_costs_little_and_leaves_nothing(wikitext: str, kept: str) -> None:
    assert plain(wikitext) == kept


_FRAGMENTS = (
    "{{ }} [[ ]] {| |} | |- ! [http://a.b ] <ref> </ref> <ref/> <!-- --> '' ''' == = === \n \n\n "
    "* # : ; File: Category: {{{ }}} <math> </math> <gallery> </gallery> &lt; &nbsp; __NOTOC__ "
    "( ) , <br> <nowiki/> convert|5|km lang|fr| word Word. 日本 thumb|"
)
FRAGMENTS = st.sampled_from(_FRAGMENTS.split(" "))


@given(st.lists(FRAGMENTS | st.text(max_size=3), max_size=60))
def test_no_markup_is_too_broken(fragments: list[str]) -> None:
    for section in read_sections(" ".join(fragments), Ledger()):
        assert section.paragraphs
        for paragraph in section.paragraphs:
            assert paragraph == paragraph.strip() != ""
            assert not re.search(r"\{\{|\[\[|<ref>|\n\n", paragraph)


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    read_sections(text, Ledger())


@pytest.mark.parametrize(
    "unit",
    ["{{", "}}", "[[", "]]", "{{small|a", "[[a|", "{|\n", "|}\n", "<ref>", "<!--", "<math>", "=",
     "''", "( ", ", ", "[http://a ", "{{{", "<br>", "\n==a", "__a", "<ref name=", "<nowiki>", "&"],
)  # fmt: skip
def test_time_is_linear_on_hostile_pages(unit: str) -> None:
    start = time.perf_counter()
    read_sections(unit * (1_000_000 // len(unit)), Ledger())
    read_sections("x" + unit * (500_000 // len(unit)) + " x", Ledger())
    assert time.perf_counter() - start < 8


def test_headings_give_the_path_and_appendices_take_their_subsections_along() -> None:
    text = (
        "Lead.\n== {{anchor|a}}A ==\nIn A.\n==== Deep ====\nIn deep.\n=== Kirjandus ===\nPoems.\n"
        "== Viited ==\nr\n=== B ===\nb\n== ''C'' [[d|D]] ==\nIn C.\n== Kirjandus ==\nBooks."
    )
    ledger = Ledger()
    assert [(s.heading, s.paragraphs) for s in read_sections(text, ledger)] == [
        ("", ("Lead.",)),
        ("A", ("In A.",)),
        ("A / Deep", ("In deep.",)),
        ("A / Kirjandus", ("Poems.",)),
        ("C D", ("In C.",)),
    ]
    assert ledger.dropped == {"sections of references and links": 2}


def test_the_namespaces_of_the_wiki_are_known_by_its_own_names() -> None:
    ltg = {"fails": 6, "kategoreja": 14}
    (section,) = read_sections(
        "A [[Fails:x.jpg|thumb|y]]B[[Kategoreja:Z]]", Ledger(), namespaces=ltg
    )
    assert section.paragraphs == ("A B",)


@pytest.mark.collections
def test_the_real_exports_read_as_prose(shared_data: Path) -> None:
    paragraphs: list[str] = []
    for path in sorted((shared_data / "wikipedia" / "raw_xml").iterdir()):
        for article in read_articles(path, Ledger()):
            for section in read_sections(article.wikitext, Ledger(), namespaces=article.namespaces):
                assert not RESIDUE.search(section.heading)
                paragraphs += section.paragraphs
    assert len(paragraphs) > 12_000
    assert sum(bool(RESIDUE.search(text)) for text in paragraphs) <= len(paragraphs) / 1000
    assert not any(re.search(r"\s\(\s*[,;]?\s*\)", text) for text in paragraphs)
    assert sum(text[-1] in ".!?:;\"'”)»…" for text in paragraphs) > 0.75 * len(paragraphs)


@pytest.mark.collections
def test_known_sentences_of_the_real_exports(shared_data: Path) -> None:
    known = {
        "Abraham Lincoln": "70 mi south of Washington. After refusing to surrender to Union troops",
        "Anarchism": "Anarchism is a political philosophy that advocates stateless societies often",
        "Autism": "Siblings of children with ASD report greater admiration of",
    }
    path = shared_data / "wikipedia" / "raw_xml" / "enwiki_first_85pages.xml"
    texts = {article.title: article.wikitext for article in read_articles(path, Ledger())}
    for title, sentence in known.items():
        assert sentence in plain(texts[title])
