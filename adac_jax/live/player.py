"""Plays a model in training through libfaust, without a browser.

New data are reached along a ramp w = 3 u² - 2 u³, u from 0 to 1, computed anew at each sample: a
number that jumps clicks, one that moves in steps of some samples hums, and one whose slope jumps
does a little of both. Data that come while a ramp is under way wait for its end; of several the
last counts. A new form gets the sound along the same curve while the old one gets what is left of
it, and is heard until it has rung out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adac_jax.host import Library, path_of
from adac_jax.host.data import Data
from adac_jax.live.wire import Form
from emitters.faust.live import GROUP

RAMP = 0.02
"""Seconds in which data change."""
FADE = 0.05
"""Seconds in which a new form takes over the input."""
PIECE = 256
"""Samples of a ramp whose data are computed at once."""
QUIET, HOLD, LONGEST = 1e-6, 1.0, 20.0
"""An old form has rung out when it has stayed below QUIET for HOLD seconds; or after LONGEST."""


def curve(u: np.ndarray) -> np.ndarray:
    """3 u² - 2 u³: from 0 to 1 with slopes of zero at both ends."""
    return u * u * (3 - 2 * u)


class Voice:
    """One running form.

    Args:
        form: What to compile.
        values: Its first data.
        precision: "single" or "double".

    Raises:
        HostError: it does not compile.
    """

    def __init__(self, form: Form, values: np.ndarray, precision: str = "single") -> None:
        self.form = form
        rate = round(form.sample_rate)
        self.library = Library(form.source, precision=precision, sample_rate=rate)  # type: ignore[arg-type]
        self._data = Data(self.library, GROUP, form.count)
        self._length = max(1, round(RAMP * rate))
        self._steps = curve(np.arange(1, self._length + 1) / self._length)
        self._from = self._to = np.asarray(values, np.float64)
        self._next: np.ndarray | None = None
        self._left = 0
        self._data.write(self._to)

    def update(self, values: np.ndarray) -> None:
        """Begins a ramp to new data, or keeps them for the end of the one under way."""
        self._next = np.asarray(values, np.float64)

    def jump(self, values: np.ndarray) -> None:
        """New data at once."""
        self._from = self._to = np.asarray(values, np.float64)
        self._next, self._left = None, 0
        self._data.write(self._to)

    def turn(self, positions: Mapping[str, float]) -> None:
        """Turns knobs."""
        for name, value in positions.items():
            self.library.set(path_of(self.library.parameters, name), value)

    def process(self, x: np.ndarray) -> np.ndarray:
        """The next block: (time, inputs) to (time, outputs)."""
        parts, start = [], 0
        while start < len(x):
            if not self._left and self._next is not None:
                self._from, self._to, self._next = self._to, self._next, None
                self._left = self._length
            if self._left:
                part = x[start : start + min(self._left, PIECE)]
                each = self._data.writer(self._ramp(len(part)))
                parts.append(self.library.process(part, 1, each=each))
            else:
                part = x[start:]
                parts.append(self.library.process(part, 4096))
            start += len(part)
        return np.concatenate(parts) if parts else self.library.process(x)

    def _ramp(self, count: int) -> np.ndarray:
        """The data of the next samples of a ramp: (count, numbers)."""
        first = self._length - self._left
        w = self._steps[first : first + count, None]
        self._left -= count
        return np.where(w < 1, self._from + w * (self._to - self._from), self._to)

    def close(self) -> None:
        """Frees the compiled form."""
        self.library.close()


class Player:
    """The form that is played, and those that ring out."""

    def __init__(self, form: Form, values: np.ndarray, precision: str = "single") -> None:
        self.precision = precision
        self._voice = Voice(form, values, precision)
        self._old: list[tuple[Voice, list[int]]] = []
        self._turned: dict[str, float] = {}
        self._next: tuple[Form, np.ndarray, Voice | None] | None = None
        self._fade = 0

    @property
    def form(self) -> Form:
        """The form that is played, or the one that is to be played next."""
        return self._next[0] if self._next else self._voice.form

    def update(self, form: Form, values: np.ndarray, voice: Voice | None = None) -> None:
        """Goes on to new data, and to a new form if it is one.

        Args:
            form: Whose data these are.
            values: The data.
            voice: The new form, if it is compiled already; the player's from then on.
        """
        waiting = None
        if self._next is not None:
            waiting = self._next[2]
            if voice is None and self._next[0].number == form.number:
                voice, waiting = waiting, None
        self._next = None
        if waiting is not None:
            waiting.close()
        if form.number == self._voice.form.number:
            self._voice.update(values)
            if voice is not None:
                voice.close()
        else:
            self._next = form, values, voice

    def clear(self) -> None:
        """Silence, from which all goes on."""
        for voice in (self._voice, *(v for v, _ in self._old)):
            voice.library.reset()

    def turn(self, positions: Mapping[str, float]) -> None:
        """Turns knobs, which later forms find turned, if they have them."""
        self._turned.update(positions)
        self._voice.turn(positions)

    def process(self, x: np.ndarray) -> np.ndarray:
        """The next block: (time, inputs) to (time, outputs)."""
        if self._next is not None and not self._fade:
            self._begin()
        if not self._fade and not self._old:
            return self._voice.process(x)
        rate = self._voice.form.sample_rate
        length = max(1, round(FADE * rate))
        u = np.clip((length - self._fade + np.arange(1, len(x) + 1)) / length, 0, 1)
        into = curve(u)[:, None] if self._fade else np.ones((len(x), 1))
        y = self._voice.process(x * into)
        for position, (voice, heard) in enumerate(self._old):
            fading = self._fade and position == len(self._old) - 1
            z = voice.process(x * (1 - into) if fading else np.zeros_like(x))
            y = y + z
            heard[0] += len(x)
            heard[1] = 0 if fading or np.max(np.abs(z), initial=0) > QUIET else heard[1] + len(x)
        self._fade = max(0, self._fade - len(x))
        for voice, _ in (over := [v for v in self._old if self._over(v[1], rate)]):
            voice.close()
        self._old = [v for v in self._old if v not in over]
        return y

    def _over(self, heard: list[int], rate: float) -> bool:
        return heard[1] > HOLD * rate or heard[0] > LONGEST * rate

    def _begin(self) -> None:
        assert self._next is not None
        (form, values, voice), self._next = self._next, None
        new = voice or Voice(form, values, self.precision)
        new.jump(values)
        new.turn({k: v for k, v in self._turned.items() if k in {n.name for n in form.knobs}})
        if (new.library.inputs, new.library.outputs) == (
            self._voice.library.inputs, self._voice.library.outputs,
        ):  # fmt: skip
            self._old.append((self._voice, [0, 0]))
            self._fade = max(1, round(FADE * form.sample_rate))
        else:
            self._voice.close()
        self._voice = new

    def close(self) -> None:
        """Frees all compiled forms."""
        waiting = [self._next[2]] if self._next is not None else []
        for voice in (self._voice, *(v for v, _ in self._old), *waiting):
            if voice is not None:
                voice.close()
        self._next = None


__all__ = ["FADE", "RAMP", "Player", "Voice", "curve"]
