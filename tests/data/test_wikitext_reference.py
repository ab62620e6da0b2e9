"""Our wikitext reader against mwparserfromhell, which was written by others for the same job."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import mwparserfromhell
import pytest

from shortlist.data.ledger import Ledger
from shortlist.data.wikipedia import read_articles
from shortlist.data.wikitext import read_sections

SAMPLE = Path(__file__).parents[2] / "shortlist" / "data" / "sample" / "encyclopedia.xml"


def words(text):
    return Counter(re.findall(r"[^\W\d_]{2,}", text.lower()))


def reference_words(wikitext):
    """Words that strip_code shows, without tables, files and what stands in appendix sections."""
    code = mwparserfromhell.parse(wikitext, skip_style_tags=True)
    for tag in code.filter_tags(matches=lambda node: str(node.tag) in ("ref", "table", "gallery")):
        try:
            code.remove(tag)
        except ValueError:
            continue  # it stood inside one that was removed
    for link in code.filter_wikilinks(
        matches=lambda node: re.match(r"\s*(file|image|category|\w{2,3}):", str(node.title), re.I)
    ):
        try:
            code.remove(link)
        except ValueError:
            continue
    text = code.strip_code()
    appendix = r"(?m)^\s*(see also|references|external links|further reading|notes|sources)\s*$"
    return words(re.split(appendix, text, maxsplit=1, flags=re.I)[0])


def our_words(article):
    sections = read_sections(article.wikitext, Ledger(), namespaces=article.namespaces)
    return words(" ".join(" ".join(section.paragraphs) for section in sections))


def kept_share(articles):
    """The share of the reference's words that are in our text too."""
    wanted, found = Counter(), Counter()
    for article in articles:
        reference, own = reference_words(article.wikitext), our_words(article)
        wanted.update(reference)
        found.update(reference & own)
    return found.total() / wanted.total()


def test_every_word_of_the_sample_is_kept():
    # headings are sections with us, words of the text with strip_code
    assert kept_share(list(read_articles(SAMPLE, Ledger()))) > 0.98


@pytest.mark.collections
def test_nearly_every_word_of_real_articles_is_kept(shared_data):
    path = shared_data / "wikipedia" / "raw_xml" / "enwiki_apache_132pages.xml"
    articles = list(read_articles(path, Ledger()))[:40]
    assert kept_share(articles) > 0.9
