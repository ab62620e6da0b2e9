"""A hook of mkdocs: what lies beside the documentation in the repository is named, not linked."""

from __future__ import annotations

import re
from typing import Any

_BESIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, **_given: Any) -> str:
    """``[what was measured](../benchmarks/RESULTS.md#engines)`` -> its text and the file's name."""
    return _BESIDE.sub(r"\1 (`\2`)", markdown)
