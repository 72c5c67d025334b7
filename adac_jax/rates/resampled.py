"""A model at its own sample rate in a host of another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import soxr
from jaxtyping import Float

from adac_jax.errors import AdacError
from adac_jax.rates.derive import stated_rate
from adac_jax.streaming import Stream, stream

SETTLED = 0.5
"""Seconds after which resamplers hand out samples as regularly as they ever will."""
FEED = 16
"""Host samples handed over at once while that is measured."""
LARGEST = 1024
"""Samples of the longest piece that the model runs at once."""

Chunks = Callable[[np.ndarray], np.ndarray]
"""A resampler, block by block."""


class Resampled:
    """A model between two resamplers: host's rate → model's rate → host's rate (soxr).

    For models that cannot be derived for another rate (`at_rate`): a learned recurrence, for
    instance. Nothing above the lower Nyquist frequency passes, the dry part of the model included.
    It processes arrays, outside of any graph: it is not traced, trained or exported.

    Args:
        model: As for `adac_jax.stream`.
        host_rate: Of the audio that comes and goes, in Hz.
        model_rate: That the model was made for, in Hz; what it says itself if None.
        quality: Of soxr: "QQ", "LQ", "MQ", "HQ" or "VHQ"; better ones pass more of the highest
            frequencies and have more latency.

    Attributes:
        inputs: Channels in.
        outputs: Channels out.
        sample_rate: `host_rate`.
        model_rate: Of the model.

    Raises:
        AdacError: the model's rate is not known.
    """

    def __init__(
        self, model: Any, *, host_rate: float, model_rate: float | None = None, quality: str = "HQ"
    ) -> None:
        rate = model_rate or stated_rate(model)
        if rate is None:
            raise AdacError(
                f"The model {type(model).__name__} does not say for which sample rate it was made; "
                "give `model_rate` in hertz."
            )
        for name, value in (("host_rate", host_rate), ("model_rate", rate)):
            if not 1 <= value <= 1e7:
                raise AdacError(f"`{name}` (={value}) must be a number of hertz, such as 48000.")
        self.model, self.quality = model, quality
        self.sample_rate, self.model_rate = float(host_rate), float(rate)
        self._stream: Stream = stream(model, sample_rate=self.model_rate)
        self.inputs, self.outputs = self._stream.inputs, self._stream.outputs

    def __call__(self, x: Float[np.ndarray, "time inputs"]) -> Float[np.ndarray, "time outputs"]:
        """A whole signal, from rest and without latency: as long as x.

        Raises:
            ValueError: x has another number of channels than the model.
        """
        x = self._checked(x)
        inside = self._resample(x, self.sample_rate, self.model_rate)
        y = np.asarray(self._stream.whole(inside))
        found = self._resample(y, self.model_rate, self.sample_rate)
        full = np.zeros((len(x), self.outputs), found.dtype)
        full[: len(found)] = found[: len(x)]
        return full

    @cached_property
    def latency(self) -> int:
        """Host samples by which blocks from `process` are late: what both resamplers hold back.

        They hand out samples in bursts; this is the most that is ever missing, measured by feeding
        them `FEED` samples at a time until they have settled.
        """
        if self.sample_rate == self.model_rate:
            return 0
        into, out = self._resamplers(1, 1)
        silence = np.zeros((FEED, 1), self._dtype)
        entered = left = most = 0
        while entered < SETTLED * self.sample_rate:
            entered += FEED
            left += len(out(into(silence)))
            most = max(most, entered - left)
        # Between two feeds the count of what entered goes on, while nothing may have left.
        return most + FEED - 1

    def process(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks (time, inputs) of any lengths as they come, each for a block as long.

        Yields:
            Blocks (time, outputs): what `__call__` gives, `latency` samples later.

        Raises:
            ValueError: a block has another number of channels than the model.
        """
        into, out = self._resamplers(self.inputs, self.outputs)
        waiting = np.zeros((self.latency, self.outputs), self._dtype)
        state = self._stream.start()
        for block in blocks:
            x = self._checked(block)
            parts = [waiting]
            for piece in _pieces(into(x)):
                state, y = self._stream(state, piece)
                parts.append(out(np.ascontiguousarray(y)))
            waiting = np.concatenate(parts)
            yield waiting[: len(x)]
            waiting = waiting[len(x) :]

    @property
    def _dtype(self) -> Any:
        return np.float64 if jax.config.read("jax_enable_x64") else np.float32

    def _checked(self, x: Any) -> np.ndarray:
        found = np.ascontiguousarray(x, self._dtype)
        if found.ndim != 2 or found.shape[1] != self.inputs:
            raise ValueError(f"x must be (time, {self.inputs}), not {found.shape}.")
        return found

    def _resample(self, x: np.ndarray, old: float, new: float) -> np.ndarray:
        if old == new or not len(x):
            return x
        return np.asarray(soxr.resample(np.ascontiguousarray(x), old, new, quality=self.quality))

    def _resamplers(self, inputs: int, outputs: int) -> tuple[Chunks, Chunks]:
        host, own = self.sample_rate, self.model_rate
        if host == own:
            return (lambda x: x), (lambda x: x)
        kind: dict[str, Any] = {"dtype": np.dtype(self._dtype).name, "quality": self.quality}
        return (
            soxr.ResampleStream(host, own, inputs, **kind).resample_chunk,
            soxr.ResampleStream(own, host, outputs, **kind).resample_chunk,
        )


def _pieces(x: np.ndarray) -> Iterator[jnp.ndarray]:
    """The signal in pieces whose lengths are powers of two, so that few lengths are compiled."""
    at, size = 0, LARGEST
    while at < len(x):
        while size > len(x) - at:
            size //= 2
        yield jnp.asarray(x[at : at + size])
        at += size
