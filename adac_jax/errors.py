"""The errors a user meets; each message is one sentence or two."""

from __future__ import annotations

from ir.errors import DelayFreeLoopError, IRError


class AdacError(ValueError):
    """Something the user can mend; base of this package's errors."""


class RefusedError(AdacError):
    """A program that has no causal per-sample meaning, or none that is known here.

    Attributes:
        primitive: The JAX primitive that was refused.
        where: The user's own line, `file:line (function)`, or "" if unknown.
    """

    def __init__(self, primitive: str, reason: str, instead: str = "", where: str = "") -> None:
        self.primitive = primitive
        self.where = where
        place = f" at {where}" if where else ""
        advice = f" {instead}" if instead else ""
        super().__init__(f"`{primitive}`{place} is refused: {reason}{advice}")


__all__ = ["AdacError", "DelayFreeLoopError", "IRError", "RefusedError"]
