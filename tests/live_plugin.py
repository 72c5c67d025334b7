"""The live plugin for tests: built once, driven through its C interface."""

from __future__ import annotations

import ctypes as c
from pathlib import Path

import numpy as np

import adac_jax
from adac_jax.host import Library
from adac_jax.live.feed import Feed
from adac_jax.live.session import Session
from adac_jax.plugin.checking import Core
from emitters import faust
from emitters.plugin.live_plugin import STATUS

PREFIX = "adac_jax_live"
DRY, FOLLOWS, KEEPS, MISSING, RATE, REFUSED = range(len(STATUS))


class Live(Core):
    """An instance whose thread does not run, unless it is asked to: `follow` is one round of it."""

    def __init__(self, path: Path, rate: float = 48000.0) -> None:
        super().__init__(path, PREFIX)
        self._declare("follow", None, c.c_void_p)
        assert self.init(rate) == 0

    def follow(self) -> None:
        self.call("follow", self.handle)

    @property
    def status(self) -> int:
        return int(self.call("get", self.handle, len(self.knobs)))

    @property
    def knobs(self) -> list[float]:
        return [self.call("get", self.handle, k) for k in range(16)]

    def turn(self, knob: int, value: float) -> None:
        self.call("set", self.handle, knob, value)

    def save(self) -> bytes:
        room = self.call("state_size")
        state = c.create_string_buffer(room)
        size = self.call("state_save", self.handle, state, room)
        return state.raw[:size]

    def load(self, state: bytes) -> int:
        return self.call("state_load", self.handle, state, len(state))

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def begun(model) -> tuple[Session, Feed]:
    """A session whose first form is compiled, and what it tells plugins."""
    found = adac_jax.live(model, page=False, plugin=True)
    assert found.plugin is not None
    assert found.plugin.flush(60)
    assert not found.plugin.problem
    return found, found.plugin


def session(model) -> Session:
    return begun(model)[0]


def closed(training: Session, x: np.ndarray) -> np.ndarray:
    """What the closed form of the newest step makes of one channel."""
    with Library(faust.emit(training.program()), precision="single") as library:
        return library.render(np.asarray(x)[:, None])


def stereo(x: np.ndarray) -> np.ndarray:
    """One channel as two."""
    return np.repeat(np.asarray(x, np.float32)[:, None], 2, 1)
