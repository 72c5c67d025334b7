"""How much work a function does, counted: the same on every machine and under any load."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def instructions(function: Callable[[], object]) -> int:
    """How many of Python's instructions a call takes.

    What is one instruction to Python counts once however long it takes in C, so this tells how
    often each thing is looked at and not how long one look is. Tracing makes a call some twenty
    times slower: give it a small input.
    """
    count = 0

    def each(frame: FrameType, event: str, _: object) -> Callable:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return each

    before = sys.gettrace()
    sys.settrace(each)
    try:
        function()
    finally:
        sys.settrace(before)
    return count
