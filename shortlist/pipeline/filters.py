"""`where=`: which passages may be found, as a small expression over their metadata.

::

    year >= 2018 and venue in ("ACL", "EMNLP")
    1990 <= year < 2000 and not (kind == "draft")
    "python" in tags or "python" in title
    editor is None
    field("first author") == "Ada Lovelace"

Comparisons with constants, `in`, `is None`, joined by `and`, `or`, `not` and brackets. It is parsed
with Python's own grammar and never run: anything else is refused. A passage without a field meets
no comparison with it, and neither its negation: `year != 2018` and `not year == 2018` are about
passages that have a year.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shortlist.errors import UsageError
from shortlist.pipeline.conditions import Constant, constant, field_named, parsed

Columns = Callable[[str], Any]
"""The name of a field -> an Arrow array with a value for every passage, null where it has none."""

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_TURNED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_LONGEST = 10_000  # characters
_EXAMPLE = 'such as: year >= 2018 and venue in ("ACL", "EMNLP")'


def rows_where(expression: str, columns: Columns) -> NDArray[np.bool_]:
    """Which passages meet an expression, bool `[n]`.

    Raises:
        UsageError: the expression is none that is allowed, or compares what cannot be compared.
    """
    if len(expression) > _LONGEST:
        raise UsageError(f"where is {len(expression):,} characters long, at most {_LONGEST:,}")
    try:
        tree = parsed(expression)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"where={expression!r} is no expression ({error}); {_EXAMPLE}") from error
    try:
        met = _Evaluation(expression, columns).condition(tree)
    except RecursionError as error:
        raise UsageError("where has too many brackets in one another") from error
    return np.asarray(pc.fill_null(met, False).to_numpy(zero_copy_only=False), dtype=np.bool_)


class _Evaluation:
    def __init__(self, expression: str, columns: Columns) -> None:
        self._expression = expression
        self._columns = columns

    def condition(self, node: ast.expr) -> Any:
        """An Arrow array of bool, null where a field is missing."""
        if isinstance(node, ast.BoolOp):
            join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
            first, *others = (self.condition(value) for value in node.values)
            for other in others:
                first = join(first, other)
            return first
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return pc.invert(self.condition(node.operand))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            found = None
            for left, kind, right in zip(sides, node.ops, sides[1:], strict=False):
                part = self._compared(left, kind, right)
                found = part if found is None else pc.and_kleene(found, part)
            return found
        if field_named(node) is not None:
            column = self._field(node)
            if pa.types.is_boolean(column.type):
                return column
        raise self._refused(node)

    def _compared(self, left: ast.expr, kind: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(kind, ast.In | ast.NotIn):
            met = self._contained(left, right)
            return pc.invert(met) if isinstance(kind, ast.NotIn) else met
        if field_named(right) is not None and field_named(left) is None:
            left, right = right, left
            kind = _TURNED.get(type(kind), type(kind))()
        if field_named(left) is None:
            raise self._refused(left)
        column, value = self._field(left), self._constant(right)
        if value is None or isinstance(kind, ast.Is | ast.IsNot):
            if value is not None or not isinstance(kind, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
                raise self._refused(right)
            missing = pc.is_null(column)
            return missing if isinstance(kind, ast.Is | ast.Eq) else pc.invert(missing)
        return self._with_types(_COMPARISONS[type(kind)], column, value, left)

    def _contained(self, left: ast.expr, right: ast.expr) -> Any:
        """A field in a list of constants, or a constant in a field that is a text or a list."""
        if field_named(left) is not None and isinstance(right, ast.Tuple | ast.List | ast.Set):
            column = self._field(left)
            values = [self._constant(value) for value in right.elts]
            met = pa.nulls(len(column), pa.bool_()).fill_null(False)
            for value in values:
                met = pc.or_kleene(met, self._with_types(pc.equal, column, value, left))
            return met
        if field_named(right) is None or field_named(left) is not None:
            raise self._refused(right)
        column, value = self._field(right), self._constant(left)
        if pa.types.is_list(column.type):
            inside = self._with_types(pc.equal, pc.list_flatten(column), value, right)
            places = pc.list_parent_indices(column).to_numpy()
            holds = np.zeros(len(column), dtype=np.bool_)
            holds[places[np.asarray(inside.fill_null(False), dtype=np.bool_)]] = True
            return pc.if_else(pc.is_null(column), None, pa.array(holds))
        if isinstance(value, str) and _is_text(column.type):
            return pc.match_substring(column, value)
        raise self._refused(right)

    def _with_types(
        self, function: Callable[[Any, Any], Any], column: Any, value: Any, node: ast.expr
    ) -> Any:
        kinds = {str: _is_text, bool: pa.types.is_boolean, int: _is_number, float: _is_number}
        if value is None or not (kinds[type(value)](column.type) or pa.types.is_null(column.type)):
            raise UsageError(
                f"where compares {ast.unparse(node)}, whose values are of type {column.type}, with "
                f"{value!r}; {_EXAMPLE}"
            )
        if pa.types.is_null(column.type):
            return pa.nulls(len(column), pa.bool_())
        if isinstance(value, float) and pa.types.is_integer(column.type):
            column = pc.cast(column, pa.float64(), safe=False)
        try:
            return function(column, pa.scalar(value))
        except (pa.ArrowException, OverflowError) as error:  # a number that no column holds
            raise UsageError(f"where cannot compare with {value!r}: {error}") from error

    def _field(self, node: ast.expr) -> Any:
        name = field_named(node)
        if name is None:
            raise self._refused(node)
        return self._columns(name)

    def _constant(self, node: ast.expr) -> Constant:
        try:
            return constant(node)
        except ValueError:
            raise self._refused(node) from None

    def _refused(self, node: ast.expr) -> UsageError:
        return UsageError(
            f"where={self._expression!r}: {ast.unparse(node)!r} is not allowed there; fields are "
            f"compared with constants, {_EXAMPLE}"
        )


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
