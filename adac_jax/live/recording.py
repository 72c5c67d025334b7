"""What a training sounds like, as a file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adac_jax.audio import Sink, fit_channels
from adac_jax.errors import AdacError
from adac_jax.live.player import Player
from adac_jax.live.wire import Form


def sound(x: Any, inputs: int) -> np.ndarray:
    """A sound with as many channels as a model has inputs.

    Raises:
        AdacError: it is none, or its channels do not fit.
    """
    found = np.asarray(x)
    if found.ndim != 2 or not found.size or not np.all(np.isfinite(found)):
        raise AdacError(
            f"The sound (shape {found.shape}) must be (time, channels), of finite numbers."
        )
    return fit_channels(found, inputs)


class Recording:
    """Plays a sound over and over, a piece for each update, and writes what comes out.

    Args:
        path: The file, which takes its place when it is closed.
        form: What is played first.
        values: Its data.
        x: The sound: (time, channels).
        seconds: Length of a piece.

    Raises:
        AdacError: see `Session.record`.
    """

    def __init__(self, path: Path, form: Form, values: np.ndarray, x: Any, seconds: float) -> None:
        if not (math.isfinite(seconds) and seconds > 0):
            raise AdacError(f"`seconds` (={seconds!r}) must be positive.")
        self._x = sound(x, form.inputs)
        self._length = max(1, round(seconds * form.sample_rate))
        self._at = 0
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._sink = Sink(self._part, round(form.sample_rate), form.outputs, 0)
        self._player = Player(form, values)
        self._open = True

    def update(self, form: Form, values: np.ndarray, controls: Mapping[str, float]) -> None:
        """Goes on to new data, and writes a piece."""
        if not self._open:
            return
        known = {knob.name for knob in form.knobs}
        self._player.turn({k: v for k, v in controls.items() if k in known})
        self._player.update(form, values)
        places = (self._at + np.arange(self._length)) % len(self._x)
        self._sink.write(self._player.process(self._x[places]))
        self._at += self._length

    def close(self) -> None:
        """Puts the file in its place."""
        if self._open:
            self._open = False
            self._sink.__exit__(None, None, None)
            self._player.close()
            os.replace(self._part, self._path)


__all__ = ["Recording", "sound"]
