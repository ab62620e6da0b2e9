"""Where sentences end: a few careful rules, for cutting paragraphs that a model cannot read whole.

Errs on the side of not cutting; a sentence too many in a passage harms less than half a one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_END = re.compile(
    r"[。！？｡]+[」』”’）)】\"']*\s*"  # these scripts put no blank after the stop
    r"|[.!?…।॥؟۔።՞։]+[\"'”’»)\]]*(?:\s+|$)"
    r"|\s*\n\s*"  # items of a list
)
# Without their last stop, folded; "etc", "jne" and "usw" end sentences too often to be here
_ABBREVIATIONS = """
    mr mrs ms dr prof st sr jr rev hon gen col capt lt sgt maj cmdr adm gov sen rep pres supt
    vs v cf c ca al ed eds trans approx est dept univ assn bros inc ltd co corp
    e.g i.e viz resp incl excl mt ft op cit u.s u.k
    nt s.o n-ö näit vt jt u nn sh ingl sks pr hr snd sünd surn
    bzw z.b d.h hrsg geb gest m mme mlle av d.c ud sra sig np ul
"""
# Words of their own, too, and abbreviations only where a figure follows: "No. 5"
_BEFORE_FIGURES = """
    no nos p pp fig figs vol vols ch sec art max min nr bd lk
    jan feb mar apr jun jul aug sep sept oct nov dec
"""
_KNOWN = frozenset(_ABBREVIATIONS.split())
_KNOWN_BEFORE_FIGURES = frozenset(_BEFORE_FIGURES.split())
_LAST_WORD = re.compile(r"[^\s(\[\"'“„«]+$")


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each sentence, without the blanks between them.

    >>> [text[a:b] for text in ["Dr. Who left. He ran."] for a, b in sentence_spans(text)]
    ['Dr. Who left.', 'He ran.']
    """
    start = len(text) - len(text.lstrip())
    for match in _END.finditer(text):
        end = match.start() + len(match[0].rstrip())
        if end > start and (end == len(text) or _is_end(text, start, match)):
            yield start, end
            start = match.end()
    if start < (end_of_rest := len(text.rstrip())):
        yield start, end_of_rest


def _is_end(text: str, start: int, match: re.Match[str]) -> bool:
    stop = match[0].strip()
    if not stop or stop[0] != ".":
        return not stop or not text[match.end() : match.end() + 1].islower()
    if "\n" in match[0]:
        return True
    following = text[match.end() : match.end() + 2].lstrip("\"'“„«([¿¡")
    if following[:1].islower():
        return False
    if stop.startswith(".."):
        return True
    before = _LAST_WORD.search(text, max(start, match.start() - 24), match.start())
    word = before[0] if before else ""
    if len(word) == 1 and word.isalpha():
        return not word.isupper()  # an initial: "J. S. Bach"
    if word.isdecimal() and len(word) <= 2:
        return False  # an ordinal: "am 3. Oktober", "24. Veebruar"
    known = _KNOWN | _KNOWN_BEFORE_FIGURES if following[:1].isdecimal() else _KNOWN
    return word.casefold() not in known
