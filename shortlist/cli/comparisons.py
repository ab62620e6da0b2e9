"""How a comparison of two systems is written in the cells of a table."""

from __future__ import annotations

from shortlist.evaluation.compare import Comparison

DETECTABLE = (
    "detectable: the smallest true change that so many queries would show (p < 0.05) four times "
    "out of five"
)


def change_cell(comparison: Comparison) -> str:
    """The change of the mean and its 95 % interval: +0.0421 (+0.0103 to +0.0744)."""
    interval = comparison.interval
    return f"{interval.mean_difference:+.4f} ({ends(interval.low, interval.high, '+')})"


def relative_cell(comparison: Comparison) -> str:
    """The change in percent of where it began: +6.4 %."""
    relative = comparison.interval.relative
    return "-" if relative is None else f"{100 * relative:+.1f} %"


def outcomes_cell(comparison: Comparison) -> str:
    """Queries won, tied and lost: 212/1,507/83."""
    won = comparison.outcomes
    return f"{won.wins:,}/{won.ties:,}/{won.losses:,}"


def detectable_cell(comparison: Comparison) -> str:
    """The smallest difference that so many queries can show, or "-"."""
    return "-" if comparison.detectable is None else f"{comparison.detectable:.4f}"


def p_cell(value: float) -> str:
    """A p-value."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def ends(low: float, high: float, sign: str = "") -> str:
    """Both ends of an interval: 0.6121 to 0.6533."""
    return f"{low:{sign}.4f} to {high:{sign}.4f}"
