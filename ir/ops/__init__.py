"""The closed set of operations."""

from ir.ops import arrays, controls, elementwise, time
from ir.ops.arrays import parse_subscripts
from ir.ops.table import MAX_DELAY, MAX_SIZE, OPS, Op

__all__ = [
    "MAX_DELAY",
    "MAX_SIZE",
    "OPS",
    "Op",
    "arrays",
    "controls",
    "elementwise",
    "parse_subscripts",
    "time",
]
