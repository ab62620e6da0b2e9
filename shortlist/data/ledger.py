"""What a reader kept, and what it dropped and why, so that nothing disappears in silence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

EVERYTHING = "/"  # in `unreadable`: the rest of a source that was cut off
_MOST_WARNINGS = 100  # a hopeless file must not fill the memory with complaints
_PLURAL = re.compile(r"(?<![\w.])([A-Za-z]{2,})s\b")  # "pages" in "pages of ...", not ".js"


@dataclass(slots=True)
class Ledger:
    """Counts of one reading; filled while the passages are drawn, complete when they are out.

    The keys of `dropped` and `noted` are plural phrases, "redirects" or "pages of other
    namespaces"; `summary` writes a single one of them in the singular.
    """

    kept: int = 0  # passages handed out
    documents: int = 0  # what they were cut from: articles, notes; 0 where each is its own
    documents_are: str = "documents"
    dropped: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)  # kept, but not as it stood in the file
    warnings: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # documents, and folders ending in "/"

    def drop(self, what: str, count: int = 1) -> None:
        """Count something that was left out; a count of 0 leaves no trace."""
        if count:
            self.dropped[what] += count

    def note(self, what: str, count: int = 1) -> None:
        """Count something that was changed on the way in."""
        self.noted[what] += count

    def warn(self, message: str) -> None:
        """Record something that the user should hear of; the first hundred are kept."""
        if len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(message)

    def summary(self) -> str:
        """One line for people, the frequent last.

        >>> ledger = Ledger(kept=208, documents=48, documents_are="articles")
        >>> ledger.drop("redirects", 3)
        >>> ledger.drop("disambiguation pages")
        >>> ledger.summary()
        '208 passages from 48 articles; dropped 1 disambiguation page, 3 redirects'
        """
        parts = [counted(self.kept, "passages")]
        if self.documents:
            parts[0] += f" from {counted(self.documents, self.documents_are)}"
        if self.dropped:
            parts.append("dropped " + _listed(self.dropped.items()))
        if self.noted:
            parts.append(_listed(self.noted.items()))
        if self.warnings:
            parts.append(counted(len(self.warnings), "warnings"))
        return "; ".join(parts)


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    ordered = sorted(counts, key=lambda item: (item[1], item[0]))
    return ", ".join(counted(count, what) for what, count in ordered)


def counted(count: int, plural: str) -> str:
    """Write a count and what is counted, a single one in the singular.

    >>> counted(1, "documents"), counted(1200, "documents")
    ('1 document', '1,200 documents')
    """
    what = _PLURAL.sub(r"\1", plural, count=1) if count == 1 else plural
    return f"{count:,} {what}"
