"""Wikitext -> sections of plain paragraphs.

Four passes, each linear: tags and comments, tables, brackets (`markup`), lines. Nothing here
raises on broken markup: a page is what its editors left behind.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping

from shortlist.data import markup
from shortlist.data.ledger import Ledger
from shortlist.data.paragraphs import Section
from shortlist.data.wiki_names import APPENDICES, APPENDICES_AT_THE_TOP

_DROPPED_TAGS = (
    "ref|references|math|chem|ce|gallery|timeline|syntaxhighlight|source|score|imagemap|graph|"
    "mapframe|maplink|templatedata|hiero|pre|inputbox|categorytree|dynamicpagelist|templatestyles|"
    "includeonly|style|script"
)
_RAW_TAG = re.compile(rf"<!--|<(/?)\s*(nowiki|{_DROPPED_TAGS})\b([^<>]*)>", re.IGNORECASE)
_SPECIAL = re.compile(r"[\[\]{}|'*#:;=<>_!-]")
_BLOCK_TAG = re.compile(
    r"(?:<br\b[^<>]*>\s*){2,}|</?(?:p|div|center|blockquote|table|tr|ul|ol|dl|h[1-6]|hr|poem)\b[^<>]*>",
    re.IGNORECASE,
)
_ITEM_TAG = re.compile(r"<(?:li|dt|dd)\b[^<>]*>", re.IGNORECASE)
_POWER = re.compile(r"(?<=[\w)])<sup\b[^<>]*>\s*([-−–+]?\d{1,4})\s*</sup>", re.IGNORECASE)
_POWERS = str.maketrans("0123456789+-−–", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻")
_ANY_TAG = re.compile(
    r"</?(?:a|abbr|b|bdi|bdo|big|br|caption|cite|code|col|data|dd|del|dfn|dl|dt|em|font|i|img|"
    r"indicator|ins|kbd|li|mark|noinclude|onlyinclude|q|rb|rp|rt|ruby|s|samp|section|small|span|"
    r"strike|strong|sub|sup|td|th|time|tt|u|var|wbr|nowiki|languages|translate|tvar|"
    rf"{_DROPPED_TAGS})\b[^<>]*>",
    re.IGNORECASE,
)
_QUOTES = re.compile(r"'{2,}")
_MAGIC_WORD = re.compile(r"__[^\W\d_]+(?:_[^\W\d_]+)*__")
_HEADING = re.compile(r"(={1,6})(.+?)\1\s*$")
_LIST = re.compile(r"[*#:;]+\s*")
_TABLE_LINE = re.compile(r"[\s:*#]*(\{\||\|\}(?!\})|\||!)")
_EMPTY_BRACKETS = re.compile(r"(?<!\w)\((?:[\s,;:/–-]|\band\b|\bor\b)*\)")
_BRACKET_START = re.compile(r"([(])[\s,;:]+(?=[^\s,;:])")
_BRACKET_END = re.compile(r"(?<![\s,;])[\s,;]+([)])")
_SPACE_BEFORE = re.compile(r" +(?=,|\.(?:\s|$))")
_INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u2060\ufeff\x00-\x08\x0e-\x1f]")
_BLANKS = re.compile(r"[ \t\r\f\v\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")


def read_sections(
    wikitext: str, ledger: Ledger, *, namespaces: Mapping[str, int] | None = None
) -> list[Section]:
    """Return the readable sections of a page in their order, the lead first with heading "".

    `namespaces` are the wiki's own names, as `Article` carries them. Appendices (references,
    external links) and tables are dropped and counted in `ledger`.
    """
    text = _without_tables(_without_raw_tags(wikitext.replace("\r\n", "\n")), ledger)
    text = markup.resolve(text, namespaces or {})
    sections: list[Section] = []
    path: list[tuple[int, str]] = []  # (level, heading) from the outermost
    for level, heading, lines in _split_at_headings(_without_tags(text)):
        while path and path[-1][0] >= level:
            path.pop()
        if _is_appendix(path):
            continue  # a section inside an appendix
        if level:
            path.append((level, heading))
        if _is_appendix(path):
            ledger.drop("sections of references and links")
        elif paragraphs := tuple(_paragraphs(lines)):
            sections.append(Section(" / ".join(name for _, name in path), paragraphs))
    return sections


def _is_appendix(path: list[tuple[int, str]]) -> bool:
    names = [name.casefold().rstrip(" :.") for _, name in path]
    return any(name in APPENDICES for name in names) or (
        len(names) == 1 and names[0] in APPENDICES_AT_THE_TOP
    )


def _without_raw_tags(text: str) -> str:
    """Take out comments and the elements whose content is no prose; nowiki becomes entities."""
    last_end = {match[2].casefold(): match.start() for match in _RAW_TAG.finditer(text) if match[1]}
    last_comment = text.rfind("-->")
    kept: list[str] = []
    at = 0
    while match := _RAW_TAG.search(text, at):
        kept.append(text[at : match.start()])
        if match[0] == "<!--":
            at = _end_of_comment(text, match, last_comment)
            continue
        at = match.end()
        name = match[2].casefold()
        if match[1] or match[3].rstrip().endswith("/") or last_end.get(name, -1) < at:
            continue  # an end without a beginning, an empty element, a beginning without an end
        end = _end_of_element(text, name, at)
        if end is not None:
            kept.append(_shown(name, text[at : end.start()]))
            at = end.end()
    kept.append(text[at:])
    return "".join(kept)


def _end_of_comment(text: str, start: re.Match[str], last: int) -> int:
    if last < start.end():  # never closed: one line is lost, not the rest of the page
        line_end = text.find("\n", start.end())
        return line_end if line_end >= 0 else len(text)
    end = text.index("-->", start.end()) + 3
    alone = text[start.start() - 1 : start.start()] in ("", "\n") and text[end : end + 1] == "\n"
    return end + 1 if alone else end  # as MediaWiki: a line of comment is no blank line


def _end_of_element(text: str, name: str, at: int) -> re.Match[str] | None:
    """Find the end tag of the element that began before `at`, None where another begins first."""
    for match in _RAW_TAG.finditer(text, at):
        if match[0] != "<!--" and match[2].casefold() == name:
            if match[1]:
                return match
            if name == "ref" and not match[3].rstrip().endswith("/"):
                return None
    return None


def _shown(name: str, content: str) -> str:
    if name == "nowiki":
        return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", content)
    if name == "math" and re.fullmatch(r"[\w\s+=.,()^*/<>-]{1,40}", content):
        return " ".join(content.split())  # "x^2 + 1" reads well; TeX commands do not
    return ""


def _without_tables(text: str, ledger: Ledger) -> str:
    """Take out tables, nested ones with them; one that never ends costs only its own lines."""
    kept: list[str] = []
    inside: list[str] = []
    depth = 0
    for line in text.split("\n"):
        mark = match[1] if (match := _TABLE_LINE.match(line)) else ""
        if mark == "{|":
            depth += 1
        if not depth:
            kept.append(line)
            continue
        inside.append(line)
        if mark == "|}":
            depth -= 1
        if line.startswith("==") and _HEADING.match(line):
            kept.extend(_outside(inside))
            depth, inside = 0, []
        elif not depth:
            ledger.drop("tables")
            kept.append(line.lstrip().removeprefix("|}"))  # words may follow the end
            inside = []
    kept.extend(_outside(inside))
    return "\n".join(kept)


def _outside(lines: list[str]) -> list[str]:
    return [line for line in lines if not _TABLE_LINE.match(line)]


def _without_tags(text: str) -> str:
    text = _BLOCK_TAG.sub("\n\n", text)
    text = _ITEM_TAG.sub("\n* ", text)
    text = _POWER.sub(lambda match: match[1].translate(_POWERS), text)
    text = re.sub(r"<br\b[^<>]*>", " ", text, flags=re.IGNORECASE)
    text = _ANY_TAG.sub("", text)
    text = _QUOTES.sub(_apostrophes, text)
    return _MAGIC_WORD.sub(lambda match: "" if match[0].isupper() else match[0], text)


def _apostrophes(quotes: re.Match[str]) -> str:
    length = len(quotes[0])  # 2 italic, 3 bold, 5 both; what is more stands for itself
    return "'" * (1 if length == 4 else max(0, length - 5))


def _split_at_headings(text: str) -> Iterator[tuple[int, str, list[str]]]:
    level, heading, lines = 0, "", list[str]()
    for line in text.split("\n"):
        match = _HEADING.match(line) if line.startswith("=") else None
        if match and (name := _clean(match[2]).strip(" =")):
            yield level, heading, lines
            level, heading, lines = len(match[1]), name, []
        else:
            lines.append(line)
    yield level, heading, lines


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Join the lines of each block: prose with blanks, list items on lines of their own."""
    block: list[str] = []
    in_list = False
    for line in [*lines, ""]:
        if not line.strip():
            if text := "".join(block).strip():
                yield text
            block, in_list = [], False
            continue
        if set(line.strip()) == {"-"} or (_TABLE_LINE.match(line) and line[0] != "!"):
            continue  # what broken tables and rulers leave behind
        item = _LIST.match(line)
        if text := _clean(line[item.end() :] if item else line):
            block += ["\n" if item or in_list else " "] if block else []
            block.append(text)
            in_list = bool(item)


def _clean(text: str) -> str:
    text = _INVISIBLE.sub("", html.unescape(text))
    text = _BLANKS.sub(" ", text.replace("\n", " "))
    if "(" in text or ")" in text:
        text = _BRACKET_START.sub(r"\1", _EMPTY_BRACKETS.sub("", text))
        text = _BRACKET_END.sub(r"\1", _EMPTY_BRACKETS.sub("", text))
    return _SPACE_BEFORE.sub("", _BLANKS.sub(" ", text)).strip()
