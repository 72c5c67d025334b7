"""IR → FAUST."""

from emitters.faust.program import emit
from emitters.faust.rules import RULES

__all__ = ["RULES", "emit"]
