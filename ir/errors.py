"""What goes wrong with a graph."""

from __future__ import annotations


class IRError(ValueError):
    """A graph, a program or a file that is not valid; the message is one sentence that says why."""


class DelayFreeLoopError(IRError):
    """A cycle that passes no delay: its output at a sample would depend on itself.

    Attributes:
        cycle: Positions of the nodes round the cycle.
        labels: How the message names them.
        where: The line that closes the loop, or "" if unknown.
    """

    def __init__(self, cycle: tuple[int, ...], labels: tuple[str, ...], where: str = "") -> None:
        self.cycle = cycle
        self.labels = labels
        self.where = where
        shown = labels if len(labels) <= 12 else (*labels[:6], "…", *labels[-5:])
        path = " → ".join((*shown, *labels[:1]))
        place = f" at {where}" if where else ""
        super().__init__(
            f"The loop {path}{place} has no delay of at least one sample, so its output at a "
            "sample depends on itself; put a delay(…, samples ≥ 1) into the loop."
        )
