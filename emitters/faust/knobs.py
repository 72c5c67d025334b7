"""Controls as FAUST's sliders."""

from __future__ import annotations

import math

from emitters.faust.text import number
from ir.graph import Node
from ir.ops.controls import attribute

FINENESS = 4
"""A slider's grid has 10^4 to 10^5 places, on a log curve 10^3 to 10^4 in its lowest octaves."""


def slider(node: Node) -> str:
    """The value of a control: its slider, and what follows it."""
    low, high = attribute(node, "minimum"), attribute(node, "maximum")
    default, step = attribute(node, "default"), attribute(node, "step")
    unit, curve = node.text("unit"), node.text("curve")
    label = node.text("name")
    label += f"[unit:{unit}]" if unit else ""
    label += "[scale:log]" if curve == "log" else ""
    settings = ", ".join(map(number, (default, low, high, grid(low, high, curve))))
    motion = ", ".join(map(number, (default, low, high, step)))
    return f'hslider("{label}", {settings}) : knob({motion})'


def grid(low: float, high: float, curve: str) -> float:
    """How far apart the positions are that a host's slider offers.

    A power of ten, small against the range, and on a log curve against the lowest position too.
    """
    if curve == "log":
        return 10.0 ** (math.floor(math.log10(min(low, high - low))) - FINENESS + 1)
    return 10.0 ** (math.floor(math.log10(high - low)) - FINENESS)
