"""The compiled core against FAUST's JIT: what hosts will load is what was compared with JAX."""

from __future__ import annotations

import _ctypes
import ctypes as c
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from adac_jax.errors import AdacError
from adac_jax.host import Library, path_of
from adac_jax.plugin.forms import Version
from adac_jax.report import Report
from adac_jax.verification import LIMIT_SINGLE
from emitters.plugin import Metadata

SECONDS = 1.0
BLOCKS = (1, 64, 4096, 37, 512, 2, 1000)
"""Samples of blocks, in turn."""


class Core:
    """A shared library with the C interface, loaded: for checks and tests.

    Attributes:
        inputs: Channels.
        outputs: Channels.
    """

    def __init__(self, path: Path, prefix: str) -> None:
        self._library = c.CDLL(str(path))
        self._prefix = prefix
        handle, index = c.c_void_p, c.c_uint32
        self._declare("create", handle)
        self._declare("destroy", None, handle)
        self._declare("init", c.c_int, handle, c.c_double)
        self._declare("reset", None, handle)
        self._declare("process", None, handle, handle, handle, index)
        self._declare("set", None, handle, index, c.c_double)
        self._declare("get", c.c_double, handle, index)
        self._declare("preset_load", None, handle, index)
        self._declare("preset_name", c.c_char_p, index)
        self._declare("state_size", c.c_size_t)
        self._declare("state_save", c.c_size_t, handle, handle, c.c_size_t)
        self._declare("state_load", c.c_int, handle, handle, c.c_size_t)
        self._declare("latency", c.c_uint32, handle)
        self._declare("tail", c.c_double, handle)
        self._declare("rate", c.c_double, index)
        for name in ("inputs", "outputs", "rate_count", "parameter_count", "preset_count"):
            self._declare(name, c.c_uint32)
        self.inputs: int = self.call("inputs")
        self.outputs: int = self.call("outputs")
        self.handle = self.call("create")

    def call(self, name: str, *arguments: object):
        """Calls a function of the interface by its name without the prefix."""
        return getattr(self._library, f"{self._prefix}_{name}")(*arguments)

    def init(self, rate: float) -> int:
        """Prepares for a rate; 0, or the interface's error."""
        return self.call("init", self.handle, rate)

    def process(self, x: np.ndarray, blocks: tuple[int, ...] = BLOCKS) -> np.ndarray:
        """Audio (time, inputs) → (time, outputs), float32, in blocks of these sizes in turn."""
        channels = np.ascontiguousarray(x.T, np.float32)
        made = np.zeros((self.outputs, len(x)), np.float32)
        start = turn = 0
        while start < len(x):
            count = min(blocks[turn % len(blocks)], len(x) - start)
            ins, outs = (_addresses(rows, start) for rows in (channels, made))
            self.call("process", self.handle, ins, outs, count)
            start, turn = start + count, turn + 1
        return np.ascontiguousarray(made.T)

    def close(self) -> None:
        """Frees the instance and unloads the library."""
        self.call("destroy", self.handle)
        _ctypes.dlclose(self._library._handle)

    def _declare(self, name: str, result: object, *arguments: object) -> None:
        function = getattr(self._library, f"{self._prefix}_{name}")
        function.restype, function.argtypes = result, arguments


@contextmanager
def loaded(path: Path, prefix: str) -> Iterator[Core]:
    """A library that is unloaded at the end."""
    core = Core(path, prefix)
    try:
        yield core
    finally:
        core.close()


def check(path: Path, metadata: Metadata, found: tuple[Version, ...]) -> dict[int, float]:
    """Compares the library at each rate with FAUST's JIT in double precision.

    An impulse into each input, then noise with all knobs on their way to their highest positions.

    Args:
        path: The library.
        metadata: Of the plugin.
        found: The versions that it was made of.

    Returns:
        For each rate the largest difference of the impulse responses from those of the JIT in the
        plugin's own precision, absolute.

    Raises:
        AdacError: the library differs by more than FAUST in single precision was allowed to differ
            from JAX.
    """
    with loaded(path, metadata.prefix) as core:
        return {version.rate: _difference(core, metadata, version) for version in found}


def _difference(core: Core, metadata: Metadata, version: Version) -> float:
    length = round(SECONDS * version.rate)
    impulses = [np.zeros((length, core.inputs), np.float32) for _ in range(max(1, core.inputs))]
    for k in range(core.inputs):
        impulses[k][0, k] = 1.0
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (length, core.inputs))
    signals = [(x, False) for x in impulses] + [(noise.astype(np.float32), True)]
    limit = _limit(version.report)
    worst = 0.0
    settings = {"sample_rate": version.rate, "name": "plugin"}
    with (
        Library(version.source, precision="double", **settings) as judge,
        Library(version.source, precision=metadata.precision, **settings) as jit,
    ):
        for x, turned in signals:
            for k, knob in enumerate(metadata.parameters):
                core.call("set", core.handle, k, knob.default)
            if core.init(version.rate):
                raise AdacError(f"The built plugin does not start at {version.rate} Hz.")
            for k, knob in enumerate(metadata.parameters if turned else ()):
                core.call("set", core.handle, k, knob.maximum)
                judge.set(path_of(judge.parameters, knob.name), knob.maximum)
            y, wanted = core.process(x), judge.render(x)
            error, peak = float(np.max(np.abs(y - wanted))), float(np.max(np.abs(wanted)))
            if not error <= peak * 10 ** (limit / 20):
                raise AdacError(
                    f"The built plugin differs from FAUST's JIT at {version.rate} Hz by "
                    f"{error:.3g} of a peak of {peak:.3g} (limit {limit:.0f} dB): the C compiler "
                    "computes something else."
                )
            if not turned:
                worst = max(worst, float(np.max(np.abs(y - jit.render(x)))))
    return worst


def _limit(report: Report) -> float:
    """What FAUST in single precision was allowed, in dB re peak, in the worst of its checks."""
    limits = [
        check.limit_db
        for check in report.checks
        if check.reading.startswith("FAUST single") and check.limit_db is not None
    ]
    return max(limits, default=LIMIT_SINGLE)


def _addresses(channels: np.ndarray, start: int) -> c.Array:
    rows = len(channels)
    first = channels.ctypes.data + start * channels.itemsize
    return (c.c_void_p * max(1, rows))(*(first + k * channels.strides[0] for k in range(rows)))
