"""What each operation is in FAUST: one rule a row of the op table."""

from emitters.faust.rules import arrays, elementwise, time
from emitters.faust.rules.elementwise import FOREIGN
from emitters.faust.rules.registry import ADDITIVE, LINEAR, RULES, Atoms, array

__all__ = [
    "ADDITIVE",
    "FOREIGN",
    "LINEAR",
    "RULES",
    "Atoms",
    "array",
    "arrays",
    "elementwise",
    "time",
]
