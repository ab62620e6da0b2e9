"""The bracketed part of wikitext: templates, links and external links, resolved in one pass.

A stack instead of a recursive parser: linear in the text, no depth to run out of, and every bracket
that is opened and never closed (or closed and never opened) is dissolved instead of raised about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shortlist.data import templates
from shortlist.data.wiki_names import HIDDEN_NAMESPACES, PROJECTS

_TOKEN = re.compile(
    r"\{\{+|\}\}+|\[\[|\]+|\[(?=(?:https?:|ftps?:)?//|mailto:|news:|irc:)|\||"
    r"^(?===[^\n]*==[ \t]*$)",  # a heading begins
    re.MULTILINE,
)
_DEEPEST = 100  # open brackets; what is deeper is damage, and would be copied at each level
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z]{2,10}){0,3}|simple|tokipona")


@dataclass(slots=True)
class _Frame:
    """An open bracket; `parts` are what stands between its bars so far."""

    opening: str
    parts: list[list[str]] = field(default_factory=lambda: [[]])

    def texts(self) -> list[str]:
        return ["".join(pieces) for pieces in self.parts]


def resolve(text: str, namespaces: Mapping[str, int]) -> str:
    """Return `text` with what a reader would see of its templates and links.

    `namespaces` are the wiki's own names (folded) by number, on top of those known here; files
    (6) and categories (14) show nothing. Comments and tables must have been taken out.
    """
    resolver = _Resolver(namespaces)
    at = 0
    for match in _TOKEN.finditer(text):
        resolver.write(text[at : match.start()])
        resolver.take(match[0])
        at = match.end()
    resolver.write(text[at:])
    return resolver.finish()


class _Resolver:
    def __init__(self, namespaces: Mapping[str, int]) -> None:
        self.namespaces = namespaces
        self.stack = [_Frame("")]
        self.templates = 0  # open ones, so that a stray }} costs nothing

    def write(self, text: str) -> None:
        self.stack[-1].parts[-1].append(text)

    def take(self, found: str) -> None:
        if not found:
            self.dissolve_down_to(1)  # no bracket reaches across a heading
        elif found == "|":
            self.bar()
        elif found.startswith("{"):
            self.open_braces(len(found))
        elif found.startswith("}"):
            self.close_braces(len(found))
        elif found.startswith("]"):
            self.close_brackets(len(found))
        elif len(self.stack) < _DEEPEST:
            self.stack.append(_Frame(found))

    def finish(self) -> str:
        self.dissolve_down_to(1)
        return "".join(self.stack[0].parts[0])

    def bar(self) -> None:
        if self.stack[-1].opening in ("", "["):
            self.write("|")
        else:
            self.stack[-1].parts.append([])

    def open_braces(self, count: int) -> None:
        while count >= 2 and len(self.stack) < _DEEPEST:
            width = 3 if count == 3 else 2
            self.stack.append(_Frame("{" * width))
            self.templates += 1
            count -= width

    def close_braces(self, count: int) -> None:
        while count >= 2 and self.templates:
            while not self.stack[-1].opening.startswith("{"):
                self.dissolve()
            frame = self.stack.pop()
            self.templates -= 1
            count -= min(len(frame.opening), count)
            name, *parts = frame.texts()
            if frame.opening == "{{{":  # a parameter outside a template shows its default
                self.write(parts[0] if parts else "")
            else:
                self.write(templates.render(name, parts))

    def close_brackets(self, count: int) -> None:
        while count:
            opening = self.stack[-1].opening
            if opening == "[":
                frame = self.stack.pop()
                self.write(_external(frame.texts()[0]))
                count -= 1
            elif opening == "[[" and count >= 2:
                frame = self.stack.pop()
                self.write(self.link(frame.texts()))
                count -= 2
            else:  # "[sic]" and the like; a pair is the rest of something broken
                self.write("]" if count == 1 else "")
                return

    def link(self, parts: list[str]) -> str:
        target = parts[0].strip()
        if "\n" in target:  # never a link: the end of one belongs to another's beginning
            return " ".join(parts)
        label = "|".join(parts[1:]).strip()
        prefix, colon, page = target.partition(":")
        if colon and (prefix := " ".join(prefix.replace("_", " ").split())):
            if self.is_hidden(prefix):
                return ""
            if prefix.casefold() in PROJECTS:
                target = page
        target = target.lstrip(":#")
        if len(parts) > 1 and not label:  # the pipe trick
            return re.sub(r"\s*\([^()]*\)$|,.*$", "", target.rpartition(":")[2])
        return label or target.partition("#")[0].strip() or target

    def is_hidden(self, prefix: str) -> bool:
        folded = prefix.casefold()
        if self.namespaces.get(folded) in (-2, 6, 14) or folded in HIDDEN_NAMESPACES:
            return True
        return bool(_LANGUAGE.fullmatch(prefix)) and folded not in PROJECTS

    def dissolve_down_to(self, depth: int) -> None:
        while len(self.stack) > depth:
            self.dissolve()

    def dissolve(self) -> None:
        """Give up the innermost open bracket: keep its words, leave its machinery out."""
        frame = self.stack.pop()
        first, *others = frame.texts()
        if frame.opening == "[":
            self.write(_external(first))
        elif frame.opening == "[[":
            hidden = self.is_hidden(first.partition(":")[0].strip()) if ":" in first else False
            whole = "|".join([first, *others])
            self.write(_after_line(whole) if hidden else " ".join(others) or first)
        else:
            self.templates -= 1
            whole = "|".join([first, *others])
            lines = _after_line(whole).split("\n")
            self.write("\n".join(line for line in lines if not line.lstrip().startswith("|")))


def _external(content: str) -> str:
    """[http://site label] -> label; a bare [http://site] is a footnote mark and shows nothing."""
    head, newline, rest = content.partition("\n")
    _, _, label = head.strip().partition(" ")
    return label.strip() + newline + rest


def _after_line(text: str) -> str:
    return "".join(text.partition("\n")[1:])
