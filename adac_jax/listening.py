"""Renders a sound file through a compiled model, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adac_jax.audio import BLOCK, Sink, fit_channels, open_source
from adac_jax.errors import AdacError
from adac_jax.host import Library, path_of
from ir import Graph

TAIL_DB = -60.0
"""The tail ends where the output stays below this, re the loudest sample so far."""
TAIL_SECONDS = 30.0
"""The tail is cut off here if it has not ended."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What came out.

    Attributes:
        path: The file written.
        seconds: Its length.
        tail: Seconds of it after the input had ended.
        decayed: Whether the tail ended by itself.
        peak: Largest absolute sample; full scale is 1.
        offset: Largest mean of a channel, absolute: the direct current.
    """

    path: Path
    seconds: float
    tail: float
    decayed: bool
    peak: float
    offset: float

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each thing to be aware of."""
        found = []
        if self.peak > 1:
            found.append(
                f"{self.path.name} peaks {level(self.peak)} above full scale: its 32-bit floats "
                "hold that, but a player clips it."
            )
        if not self.decayed:
            found.append(
                f"{self.path.name} is cut off {self.tail:.0f} s after its input ended, before it "
                f"fell by {-TAIL_DB:.0f} dB."
            )
        return tuple(found)

    def __str__(self) -> str:
        return (
            f"{self.seconds:.2f} s, {self.tail:.2f} s of it tail, peak {level(self.peak)} re full "
            f"scale, DC {level(self.offset)}"
        )


def level(amplitude: float) -> str:
    """`-3.1 dB` re 1."""
    return f"{20 * math.log10(amplitude):.1f} dB" if amplitude > 0 else "-inf dB"


def memory_samples(graph: Graph) -> int:
    """The longest stretch of silence that a model can make before it sounds: its longest delays."""
    longest = 0
    for _, node in graph:
        if node.op == "delay":
            longest += max(node.ints("samples"), default=0)
        elif node.op == "variable_delay":
            longest += node.int("maximum")
        elif node.op == "fir":
            longest += graph.nodes[node.inputs[1]].shape[0]
    return longest


def listen(
    source: str,
    wav: str | Path,
    out: str | Path,
    *,
    sample_rate: int = 48000,
    precision: str = "single",
    memory: int = 0,
    tail_seconds: float = TAIL_SECONDS,
    controls: Mapping[str, float] | None = None,
    settle: int = 0,
) -> Listening:
    """Renders a sound file of any length through FAUST text, with its tail.

    Channels go as `fit_channels` says; a file of another rate is resampled (soxr, very high
    quality). The result is a WAV of 32-bit floats at `sample_rate`.

    Args:
        source: FAUST text.
        wav: The file to be heard.
        out: The file to write.
        sample_rate: Hertz, of the model.
        precision: "single" or "double".
        memory: Samples for which the output must stay quiet before the tail counts as ended.
        tail_seconds: The longest tail.
        controls: Where knobs stand, by their names.
        settle: Samples for which the model hears silence first, while its controls' values go to
            where the knobs stand; not heard.

    Raises:
        AdacError: the file cannot be read or does not fit, or the model's output is not finite.
        HostError: the text does not compile.
    """
    file, out = open_source(wav), Path(out)
    frames = math.ceil(file.frames * sample_rate / file.sample_rate)
    longest = round(tail_seconds * sample_rate)
    with Library(source, precision=precision, sample_rate=sample_rate) as library:  # type: ignore[arg-type]
        if library.inputs == 0:
            raise AdacError("The model has no inputs, so there is nothing to play the file into.")
        if library.outputs == 0:
            raise AdacError("The model has no outputs, so there is nothing to hear.")
        for name, value in (controls or {}).items():
            library.set(path_of(library.parameters, name), value)
        if controls:
            library.process(np.zeros((settle, library.inputs)), BLOCK)
        meter = _Meter(library.outputs, min(memory + sample_rate // 10, longest // 2))
        with Sink(out, sample_rate, library.outputs, frames + longest) as sink:
            for block in file.blocks(sample_rate):
                y = library.process(fit_channels(block, library.inputs), BLOCK)
                meter.read(y, sample_rate)
                sink.write(y)
            heard = meter.samples
            for block in _silence(longest, library.inputs):
                if meter.quiet:
                    break
                y = library.process(block)
                meter.read(y, sample_rate)
                sink.write(y)
    return Listening(
        out,
        meter.samples / sample_rate,
        (meter.samples - heard) / sample_rate,
        meter.quiet,
        meter.peak,
        float(np.max(np.abs(meter.sum), initial=0.0)) / max(1, meter.samples),
    )


class _Meter:
    """Peak, mean, and for how long the output has been quiet."""

    def __init__(self, channels: int, hold: int) -> None:
        self.hold = hold
        self.samples = 0
        self.peak = 0.0
        self.sum = np.zeros(channels)
        self._last_loud = 0

    @property
    def quiet(self) -> bool:
        return self.samples - self._last_loud >= self.hold

    def read(self, y: np.ndarray, sample_rate: int) -> None:
        if not np.isfinite(y).all():
            at = (self.samples + int(np.argmin(np.isfinite(y).all(axis=1)))) / sample_rate
            raise AdacError(
                f"The model's output is not finite after {at:.2f} s of the file: it is unstable."
            )
        size = np.max(np.abs(y), axis=1, initial=0.0)
        self.peak = max(self.peak, float(np.max(size, initial=0.0)))
        loud = np.flatnonzero(size > self.peak * 10 ** (TAIL_DB / 20))
        if len(loud):
            self._last_loud = self.samples + int(loud[-1]) + 1
        self.sum += np.sum(y, axis=0, dtype=np.float64)
        self.samples += len(y)


def _silence(samples: int, channels: int) -> Iterator[np.ndarray]:
    step = 4096
    for start in range(0, samples, step):
        yield np.zeros((min(step, samples - start), channels))
