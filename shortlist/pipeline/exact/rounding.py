"""What float32 takes away."""

from __future__ import annotations

UNIT_ROUNDOFF = 2.0**-24
# Of |q| |x|: the score's own rounding, four roundings of an integer product, those of the bound.
ROUNDING = 32 * UNIT_ROUNDOFF
LEAST = 2.0**-126  # smaller numbers have fewer digits, or are taken for 0
SMALLEST = 1.1e-19  # the squares of smaller numbers are
