"""What `check` reports: findings with a code, a level, a sentence, a count and ten examples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shortlist.data import streams
from shortlist.data.checks.codes import LEVELS, SENTENCES, Level
from shortlist.errors import DataError

MOST_EXAMPLES = 10
_SHOWN = 80  # characters of a text in an example


@dataclass(frozen=True, slots=True)
class Example:
    """One case: where it stands ("file:line"), whose ids, the texts shortened, what is said."""

    places: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or worth knowing, in one file or between two splits."""

    subject: str  # corpus, queries, qrels, splits, held-out, run
    code: str
    level: Level
    where: str  # a file, or the splits
    message: str
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What was read, name -> count, and what was found: errors first, then warnings, notes."""

    read: Mapping[str, int]
    findings: tuple[Finding, ...]

    def of(self, level: Level) -> list[Finding]:
        """Return the findings of one level."""
        return [finding for finding in self.findings if finding.level == level]

    def as_json(self) -> dict[str, Any]:
        """What `shortlist check --json` prints."""
        return {
            "read": dict(self.read),
            **{f"{level}s": len(self.of(level)) for level in LEVELS},
            "findings": [asdict(finding) for finding in self.findings],
        }


@dataclass(slots=True)
class _Open:
    level: Level
    message: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)


class Findings:
    """Findings while they are made: all are counted, ten examples of each are kept."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str], _Open] = {}

    def add(
        self,
        subject: str,
        code: str,
        where: str | Path,
        example: Example | None = None,
        *,
        count: int = 1,
        level: Level | None = None,
        message: str = "",
    ) -> None:
        """Count `count` cases, of which one may be shown; the first call sets level and message."""
        usual_level, usual_message = SENTENCES[subject, code]
        key = (subject, code, str(where))
        if key not in self._open:
            self._open[key] = _Open(level or usual_level, message or usual_message)
        found = self._open[key]
        found.count += count
        if example is not None and len(found.examples) < MOST_EXAMPLES:
            found.examples.append(example)

    def has(self, subject: str, code: str, where: str | Path) -> bool:
        """Whether a finding was entered."""
        return (subject, code, str(where)) in self._open

    def stopped(self, subject: str) -> bool:
        """Whether some of the subject's files could not be read, or not to their end."""
        return any(
            own == subject and code in ("unreadable-file", "empty-file")
            for own, code, _ in self._open
        )

    def unreadable_line(self, subject: str, path: Path, error: DataError) -> None:
        """Enter a line that a reader refused."""
        self.add(subject, "unreadable-line", path, of_error(path, error))

    def unreadable_file(self, subject: str, path: Path, error: DataError) -> None:
        """Enter a file at which a reader gave up."""
        code = "empty-file" if _is_blank(path) else "unreadable-file"
        self.add(subject, code, path, of_error(path, error))

    def report(self, read: Mapping[str, int]) -> Report:
        """Close the list: sorted by level, else in the order of their coming."""
        findings = [
            Finding(subject, code, f.level, where, f.message, f.count, tuple(f.examples))
            for (subject, code, where), f in self._open.items()
        ]
        findings.sort(key=lambda finding: LEVELS.index(finding.level))
        return Report(read, tuple(findings))


def of_error(path: Path, error: DataError) -> Example:
    """Take a reader's message apart: the place, and what is said of it."""
    found = re.match(re.escape(str(path)) + r"((?::(?:row )?\d+)?): (.*)", str(error), re.DOTALL)
    if not found:
        return Example((str(path),), remark=str(error))
    return Example((f"{path}{found[1]}",), remark=found[2])


def shown(text: str) -> str:
    """The beginning of a text, on one line, as any terminal can print it."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\ufffd" for c in line[: _SHOWN + 1])
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def folded(text: str) -> str:
    """A text without its case and with single blanks: texts that fold alike count as equal."""
    return " ".join(text.casefold().split())


def _is_blank(path: Path) -> bool:
    try:
        return all(not chunk.strip() for chunk in streams.chunks(path))
    except (DataError, OSError):
        return False
