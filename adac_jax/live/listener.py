"""One who listens to a session, at a pace of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adac_jax.live.wire import Step

if TYPE_CHECKING:
    from adac_jax.live.session import Session


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """What has changed since the last time.

    Attributes:
        losses: Steps and losses since then.
        step: The newest step, if there is a newer one.
        controls: Where knobs stand, if any was turned (or there is a problem, or none any more).
        closed: Whether nothing more will come.
    """

    losses: list[tuple[int, float]]
    step: Step | None
    controls: dict[str, float] | None
    closed: bool


class Listener:
    """Waits for news. Steps that come while it is busy are passed over, but not their losses."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._count = 0
        self._signals = 0

    def wait(self, timeout: float | None = None) -> News | None:
        """The news, at once if there are any; None if none came in time.

        Args:
            timeout: Seconds; None for ever.
        """
        session = self._session
        before = self._count, self._signals
        _, self._signals = session.wait(*before, timeout)
        losses, self._count = session.news(before[0])
        fresh, told = self._count > before[0], self._signals > before[1]
        if not (fresh or told or session.closed):
            return None
        return News(
            losses,
            session.step() if fresh else None,
            session.controls if told else None,
            session.closed,
        )


__all__ = ["Listener", "News"]
