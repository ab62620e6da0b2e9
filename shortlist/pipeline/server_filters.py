"""What of a `where=` a Milvus server can sort out itself.

The answer of `server_filter` lets through every passage that meets the expression, and perhaps some
that do not: what it lets through is looked at again here, so that filters mean the same everywhere.
Comparisons with constants and `in` are handed over, for fields whose values are all of one kind;
negations, `is None` and texts that would have to be escaped are not.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from shortlist.pipeline.conditions import constant, field_named, parsed
from shortlist.pipeline.fields import is_utf8
from shortlist.pipeline.segments import TEXT_COLUMNS
from shortlist.records import Passage

Kinds: TypeAlias = Mapping[str, str]
"""Metadata field -> "number", "text" or "flag", where every value is of that kind."""

FIELDS = "fields"  # of an entity: the metadata that can be compared
_MIXED = "mixed"
_LARGEST_INT = 2**53  # beyond it JSON numbers lose digits
_LONGEST_TEXT = 1_000  # characters
_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_TURNED = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def comparable(passage: Passage, kinds: dict[str, str]) -> dict[str, Any]:
    """The metadata of a passage that the server compares; `kinds` learns what was seen.

    It depends on nothing but the passage: what was pushed once is not written again. A field that
    has values of several kinds, or one that cannot be compared, is "mixed".
    """
    found = {}
    for name, value in passage.metadata.items():
        if value is None or name in TEXT_COLUMNS:
            continue
        kind = _kind(value) or _MIXED
        if kinds.setdefault(name, kind) != kind:
            kinds[name] = _MIXED
        if kind != _MIXED:
            found[name] = value
    return found


def of_one_kind(kinds: Kinds) -> dict[str, str]:
    """The fields that can be handed over."""
    return {name: kind for name, kind in sorted(kinds.items()) if kind != _MIXED}


def server_filter(expression: str | None, kinds: Kinds) -> str:
    """An expression of Milvus that lets through all that meet `expression`; "" for everything."""
    if expression is None:
        return ""
    try:
        return _narrowed(parsed(expression), kinds) or ""
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""  # it is refused where it is looked at


def _narrowed(node: ast.expr, kinds: Kinds) -> str | None:
    """None for everything."""
    if isinstance(node, ast.BoolOp):
        parts = [_narrowed(value, kinds) for value in node.values]
        known = [f"({part})" for part in parts if part]
        if isinstance(node.op, ast.And):
            return " and ".join(known) or None
        return " or ".join(known) if len(known) == len(parts) else None
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        found = [
            _compared(left, kind, right, kinds)
            for left, kind, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return " and ".join(part for part in found if part) or None
    return None


def _compared(left: ast.expr, kind: ast.cmpop, right: ast.expr, kinds: Kinds) -> str | None:
    if isinstance(kind, ast.In):
        field = _field(left, kinds)
        if not field or not isinstance(right, ast.Tuple | ast.List | ast.Set) or not right.elts:
            return None
        values = [_constant(value, field[1]) for value in right.elts]
        return f"{field[0]} in [{', '.join(map(str, values))}]" if None not in values else None
    sign = _SIGNS.get(type(kind))
    if sign is None:
        return None
    field = _field(left, kinds)
    if not field:
        field, left, right, sign = _field(right, kinds), right, left, _TURNED[sign]
    value = _constant(right, field[1]) if field else None
    return f"{field[0]} {sign} {value}" if field and value is not None else None


def _field(node: ast.expr, kinds: Kinds) -> tuple[str, str] | None:
    """How the server calls a field, and its kind."""
    name = field_named(node)
    if name is None:
        return None
    if name == "id":
        return "id", "text"
    if name in kinds and _is_plain(name):
        return f'{FIELDS}["{name}"]', kinds[name]
    return None


def _constant(node: ast.expr, kind: str) -> str | None:
    """A constant of that kind as the server writes it."""
    try:
        value = constant(node)
    except ValueError:
        return None
    if _kind(value) != kind:
        return None
    if kind == "text":
        return f'"{value}"' if _is_plain(str(value)) else None
    return str(value).lower() if kind == "flag" else repr(value)


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return "number" if abs(value) < _LARGEST_INT else None
    if isinstance(value, float):
        return "number" if math.isfinite(value) else None
    if isinstance(value, str):
        kept = len(value) <= _LONGEST_TEXT and "\x00" not in value and is_utf8(value)
        return "text" if kept else None
    return None


def _is_plain(text: str) -> bool:
    """Whether it stands between quotes as it is."""
    return text.isprintable() and not set(text) & set("\"'\\")
