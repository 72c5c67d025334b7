"""IR → FAUST."""

from emitters.faust.cost import Cost, cost
from emitters.faust.live import Entry, OpenForm, TopologyError
from emitters.faust.portable import portable
from emitters.faust.program import emit, open_form, open_values
from emitters.faust.rounding import rounded
from emitters.faust.rules import RULES

__all__ = [
    "RULES",
    "Cost",
    "Entry",
    "OpenForm",
    "TopologyError",
    "cost",
    "emit",
    "open_form",
    "open_values",
    "portable",
    "rounded",
]
