"""IR → FAUST."""

from emitters.faust.cost import Cost, cost
from emitters.faust.program import emit
from emitters.faust.rounding import rounded
from emitters.faust.rules import RULES

__all__ = ["RULES", "Cost", "cost", "emit", "rounded"]
