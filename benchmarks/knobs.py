"""Knobs turned at random for minutes, at every sample rate: do the certificate and the knob hold?

The hall with its knobs is derived for each rate, certified, emitted as FAUST, and run in double
precision, to see whether its output stays within the bound: full-scale noise, square waves, clicks
and silence, while every knob jumps to random places or to the ends of its range, after a
millisecond or after seconds, all at once or one alone.
Then the decay knob is put to several places, each line is struck and heard by itself, and T30 in
octave bands is compared with that of the trained model at 48 kHz times the knob.

    python benchmarks/knobs.py                          # one minute at each rate
    python benchmarks/knobs.py --minutes 5 --rate 96000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from scipy import signal

import adac_jax
from adac_jax import nn
from adac_jax.bands import octave_centres
from adac_jax.host import Library, path_of
from adac_jax.macros import with_controls
from adac_jax.presets import hall
from emitters import faust

RATES = (22050.0, 44100.0, 48000.0, 88200.0, 96000.0, 176400.0, 192000.0)
KNOBS = ("mix", "level", "pre-delay", "brightness", "decay", "size", "modulation")
FACTORS = (0.5, 0.8, 1.25, 2.0)
BLOCK = 64
HEADER = """| rate | verdict | bound | loudest | of it | turns | ran | T60 off the knob, worst |
| ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |"""


def positions(rng: np.random.Generator, low: float, high: float, length: int) -> np.ndarray:
    """Where a knob stands at each sample."""
    found = np.empty(length)
    at = 0
    while at < length:
        hold = int(np.exp(rng.uniform(np.log(BLOCK), np.log(length))))
        place = rng.choice([low, high]) if rng.random() < 0.5 else rng.uniform(low, high)
        found[at : at + hold] = place
        at += hold
    return found


def sound(rng: np.random.Generator, length: int, channels: int, rate: float) -> np.ndarray:
    """A second of something within ±1."""
    kind = rng.integers(5)
    t = np.arange(length)[:, None] / rate
    if kind == 0:
        return rng.choice([-1.0, 1.0], (length, channels))
    if kind == 1:
        return np.sign(np.sin(2 * np.pi * np.exp(rng.uniform(3, 9, channels)) * t))
    if kind == 2:
        return np.ones((length, channels)) * rng.choice([-1.0, 1.0])
    if kind == 3:
        return (rng.random((length, channels)) < 1e-3) * 1.0
    return np.zeros((length, channels))


def shaken(
    library: Library, ranges: Mapping[str, tuple[float, float]], seconds: int, rate: float
) -> tuple[float, int]:
    """The largest output while all moves, and how many turns there were."""
    rng = np.random.default_rng(int(rate))
    loudest, turns = 0.0, 0
    for _ in range(seconds):
        length = int(rate)
        # All together, or one alone and the others where they are.
        alone = rng.choice(list(ranges)) if rng.random() < 0.3 else None
        moves = {path: positions(rng, *ranges[path], length) for path in ranges
                 if alone in (None, path)}  # fmt: skip
        turns += sum(int(np.count_nonzero(np.diff(v))) for v in moves.values())
        y = library.process(sound(rng, length, library.inputs, rate), BLOCK, moves)
        loudest = max(loudest, float(np.abs(y).max()))
    return loudest, turns


def alone(model: nn.FDN) -> nn.FDN:
    """The same lines, each with an input and an output of its own."""
    count = len(model.delays.samples)  # type: ignore[attr-defined]
    straight = np.eye(count)
    network = nn.FDN(
        model.delays, matrix=model.matrix, absorption=model.absorption,
        input_gain=nn.Matrix(count, count, weight=straight),
        output_gain=nn.Matrix(count, count, weight=straight),
    )  # fmt: skip
    network.sample_rate = model.sample_rate
    return network


def t60(library: Library, rate: float, seconds: float, centres: Any, decay: float) -> np.ndarray:
    """T30 in octave bands of all lines together."""
    library.reset()
    library.set(path_of(library.parameters, "decay"), decay)
    library.process(np.zeros((int(0.2 * rate), library.inputs)))
    x = np.zeros((int(seconds * rate), library.inputs))
    x[0] = np.random.default_rng(2).choice([-1.0, 1.0], library.inputs)
    y = library.process(x)
    found = []
    for centre in centres:
        edges = [centre / 2**0.5, centre * 2**0.5]
        sos = signal.butter(4, edges, "bandpass", fs=rate, output="sos")
        # Backwards, so that the filter's own decay comes before; the sum of all lines' energies.
        energy = (signal.sosfilt(sos, y[::-1], axis=0) ** 2).sum(1)  # type: ignore[operator]
        level = 10 * np.log10(np.cumsum(energy)[::-1])
        level = level - level[0]
        first, last = np.argmax(level < -5), np.argmax(level < -35)
        found.append(-60 / np.polyfit(np.arange(first, last) / rate, level[first:last], 1)[0])
    return np.array(found)


def emitted(model: Any, rate: float) -> tuple[str, Any]:
    """FAUST text and certificate."""
    certificate = adac_jax.certify(model, sample_rate=rate, precision="double")
    return faust.emit(adac_jax.trace(model, sample_rate=rate).program), certificate


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rate", type=float, action="append")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    trained = hall(48000.0)
    model = with_controls(trained, KNOBS)
    lines = with_controls(alone(trained), ["decay"])
    wanted = None
    print(HEADER)
    for rate in [48000.0, *(r for r in given.rate or RATES if r != 48000.0)]:
        text, certificate = emitted(adac_jax.at_rate(model, rate), rate)
        begun = time.perf_counter()
        with Library(text, sample_rate=int(rate)) as library:
            ranges = {p: (v.min, v.max) for p, v in library.parameters.items()}
            loudest, turns = shaken(library, ranges, round(60 * given.minutes), rate)
        ran = time.perf_counter() - begun
        centres = octave_centres(min(rate, 44100.0), 125.0, 8000.0)
        text = emitted(adac_jax.at_rate(lines, rate), rate)[0]
        with Library(text, sample_rate=int(rate)) as library:
            if wanted is None:
                wanted = t60(library, rate, 3.0, centres, 1.0)
            measured = {f: t60(library, rate, 3.0 * max(f, 1), centres, f) for f in FACTORS}
        errors = {f: t / (f * wanted[: len(centres)]) - 1 for f, t in measured.items()}
        factor, error = max(errors.items(), key=lambda item: np.abs(item[1]).max())
        k = int(np.abs(error).argmax())
        bound = max(certificate.peak)
        assert loudest <= bound, f"{loudest} at {rate:g} Hz is above the certified {bound}"
        print(
            f"| {rate:g} Hz | {certificate.verdict} | {20 * np.log10(bound):+.1f} dB "
            f"| {20 * np.log10(loudest):+.1f} dB | {loudest / bound:.2g} | {turns:,} | {ran:.0f} s "
            f"| {100 * error[k]:+.2f} % at {centres[k]:g} Hz, knob at {factor:g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
