"""From a session to the live plugin: forms are compiled beside it, numbers go at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from adac_jax.errors import AdacError
from adac_jax.host import HostError
from adac_jax.live.channel import Channel
from adac_jax.live.compiled import compiled
from adac_jax.live.wire import Form


class Feed:
    """Tells plugins of each step.

    Until a new form is compiled, plugins go on with the last step of the one before.

    Args:
        settle: How many samples the knobs of a form need, by its number.

    Attributes:
        problem: Why the newest form cannot be heard in plugins, or "".

    Raises:
        AdacError: the channel cannot be made; see `Channel`.
    """

    def __init__(self, settle: Callable[[int], int] = lambda number: 0) -> None:
        self.problem = ""
        self._settle = settle
        self._channel = Channel()
        self._known: dict[int, bytes] = {}
        self._failed: set[int] = set()
        self._newest: tuple[Form, int, np.ndarray] | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="adac_jax.live.feed", daemon=True)
        self._thread.start()

    def update(self, form: Form, step: int, values: np.ndarray) -> None:
        """The model as it is now. Knobs are each plugin's own."""
        with self._changed:
            self._newest = form, step, values
            identity = self._known.get(form.number)
            if identity is not None:
                self._channel.write(identity, form.sample_rate, step, values)
            else:
                self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until the newest form is compiled, or cannot be; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting() is None, timeout)

    def close(self) -> None:
        """Says to plugins that nothing more will come; they keep the last model."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(1.0)  # a compiler that still runs is left alone
        with self._changed:
            self._channel.close()

    def _waiting(self) -> Form | None:
        if self._newest is None:
            return None
        form = self._newest[0]
        return None if form.number in self._known or form.number in self._failed else form

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting() is not None)
                form = self._waiting()
                if self._closed or form is None:
                    return
            problem, identity = "", None
            try:
                identity = compiled(form, self._settle(form.number))
            except (AdacError, HostError, OSError) as error:
                problem = f"The live plugin cannot play the model: {error}"
            with self._changed:
                self.problem = problem
                if identity is None:
                    self._failed.add(form.number)
                else:
                    self._known[form.number] = identity
                    assert self._newest is not None
                    newest, step, values = self._newest
                    if newest.number == form.number and not self._closed:
                        self._channel.write(identity, form.sample_rate, step, values)
                self._changed.notify_all()


__all__ = ["Feed"]
