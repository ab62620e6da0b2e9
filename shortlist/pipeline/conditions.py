"""What a `where=` is made of, taken out of Python's syntax tree: field names and constants."""

from __future__ import annotations

import ast
from typing import TypeAlias

Constant: TypeAlias = str | int | float | bool | None


def parsed(expression: str) -> ast.expr:
    """The tree of an expression.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`, it is none.
    """
    return ast.parse(expression.strip(), mode="eval").body


def field_named(node: ast.expr) -> str | None:
    """The field that ``year`` or ``field("first author")`` names; None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "field"
        and len(node.args) == 1
        and not node.keywords
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ):
        return node.args[0].value
    return None


def constant(node: ast.expr) -> Constant:
    """The text, number, flag or None that is written there.

    Raises:
        ValueError: it is none of them.
    """
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    if isinstance(node, ast.Constant):
        value = node.value
        if sign == 1 and isinstance(value, str | int | float | None):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    raise ValueError(f"{ast.unparse(node)} is no constant")
