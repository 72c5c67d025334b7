"""Knobs in the loop of a feedback delay network: its parts, each with knobs of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from adac_jax import nn, oscillators
from adac_jax.errors import AdacError
from adac_jax.macros import knobs
from adac_jax.macros.decay import Scaled, Scaling, scaling
from adac_jax.macros.sections import Sections, first_order_allpass
from adac_jax.nn.module import Module
from adac_jax.nn.naming import call
from adac_jax.primitives import fractional_delay

IN_LOOP = ("decay", "decay bands", "brightness", "freeze", "size", "modulation")
"""Knobs that act in the loop."""
DAMPING = 0.25
"""Of the brightness in dB, what lines of `REFERENCE` seconds lose on each pass, if it is below."""
REFERENCE = 0.05
"""Seconds."""
TINY = 1e-12
"""A gain this near to 1 is 1."""


class Absorption(Module):
    """What lines lose, with knobs: y = cos φ H(cos φ x) + sin² φ x.

    H is the absorption as trained at rest; elsewhere its decibels are scaled by size / decay, for
    each band by its own factor besides (`Scaled`), and a shelf darkens; sin² φ is the freeze, 0 to
    1. Each knob is a gain without memory, or part of one; all filters stand still. And each is on
    both sides of what it turns, so that no motion adds energy: see `decay` and `sections`.

    Args:
        part: F, N channels; None if there is none.
        lengths: m of each line, in samples.
        sample_rate: fs in Hz.
        names: The knobs.
        bands: Centres in Hz of the bands that have knobs of their own.
        longest: Seconds of the longest line that the size moves, here or elsewhere.
    """

    def __init__(
        self,
        part: Module | None,
        lengths: Sequence[int],
        sample_rate: float,
        names: Sequence[str],
        bands: Sequence[float],
        longest: float,
    ) -> None:
        self.inputs = self.outputs = len(lengths)
        self.longest = longest
        self.part, self.names = part, tuple(names)
        self.lengths, self.sample_rate = tuple(lengths), float(sample_rate)
        self.bands = tuple(map(float, bands)) if "decay bands" in names else ()
        self.design: Scaling | None = None
        if part is not None and {"decay", "decay bands", "size"} & set(names):
            self.design = scaling(part, sample_rate, *_powers(names), self.bands)
        elif {"decay", "decay bands"} & set(names):
            raise AdacError("The network has no absorption, so there is no decay to be scaled.")
        self.shelf = Sections(
            (first_order_allpass(min(knobs.BRIGHT, 0.25 * sample_rate), sample_rate),), (-1.0,)
        )

    def __call__(self, x: Array) -> Array:
        """Absorbs."""
        if "freeze" not in self.names:
            return self._lost(x)
        angle = knobs.freeze() * (math.pi / 2)
        through = jnp.cos(angle).astype(x.dtype)
        kept = jnp.sin(angle).astype(x.dtype)
        return through * self._lost(through * x) + kept * kept * x

    def _lost(self, x: Array) -> Array:
        if self.design is None:
            y = self._trained(x)
        else:
            one = jnp.ones(())
            size = knobs.size(self.longest) if "size" in self.names else one
            decay = knobs.decay() if "decay" in self.names else one
            bands = [knobs.band_decay(f) for f in self.bands]
            y = Scaled(self.design, self._trained, size / decay, bands)(x)
        if "brightness" not in self.names:
            return y
        # Downwards only: what a line loses more, no gain can make unstable.
        db = jnp.minimum(knobs.brightness(), 0) * DAMPING
        share = np.array(self.lengths) / (self.sample_rate * REFERENCE)
        lost = -jnp.expm1(db * jnp.asarray(share * math.log(10) / 20)) / 2
        # A root, but for the last part towards 0, where it would have no slope.
        return self.shelf.cut(y, jnp.minimum(lost / jnp.sqrt(lost + TINY), 1)[None])

    def _trained(self, x: Array) -> Array:
        return x if self.part is None else call("part", self.part, x)


def _powers(names: Sequence[str]) -> tuple[float, float]:
    """The least and the largest size / decay."""
    least, most = (1 / knobs.DECAY[1], 1 / knobs.DECAY[0]) if "decay" in names else (1.0, 1.0)
    sizes = knobs.SIZE if "size" in names else (1.0, 1.0)
    return least * sizes[0], most * sizes[1]


class Gate(Module):
    """What enters the lines, cos² φ of it: nothing while they are frozen."""

    def __init__(self, part: Module) -> None:
        self.part, self.inputs, self.outputs = part, part.inputs, part.outputs

    def __call__(self, x: Array) -> Array:
        """Lets it through."""
        # 1 - sin² rather than cos², which rounding leaves above 0 where nothing may enter.
        kept = jnp.sin(knobs.freeze() * (math.pi / 2)).astype(x.dtype)
        return call("part", self.part, x) * (1 - kept * kept)


class MovedDelays(Module):
    """Delays whose lengths follow knobs: m_i size + depth (1 + sin) samples, interpolated linearly.

    The weights are not negative and add up to 1, so no length, and no motion of one, makes a sample
    larger than those it comes from. At rest the lengths are whole, and read to the bit.

    Args:
        samples: m of each line.
        sample_rate: fs in Hz.
        names: "size", "modulation" or both.
        longest: As for `Absorption`.
    """

    def __init__(
        self, samples: Sequence[int], sample_rate: float, names: Sequence[str], longest: float
    ) -> None:
        self.longest = longest
        self.inputs = self.outputs = len(samples)
        self.samples, self.sample_rate = tuple(samples), float(sample_rate)
        self.names = tuple(names)

    def __call__(self, x: Array) -> Array:
        """Delays each channel."""
        m = jnp.asarray(np.array(self.samples, np.float64), x.dtype)
        most, least = float(max(self.samples)), float(min(self.samples))
        if "size" in self.names:
            m = m * knobs.size(self.longest)
            most, least = most * knobs.SIZE[1], least * knobs.SIZE[0]
        if "modulation" in self.names:
            depth = knobs.modulation(self.sample_rate)
            place = np.arange(len(self.samples)) / len(self.samples)
            phase = oscillators.phasor(knobs.RATE, x, sample_rate=self.sample_rate, start=place)
            m = m + depth * (1 + oscillators.sine(phase))
            most += 2 * knobs.DEPTH * self.sample_rate / 1000
        return fractional_delay(
            x, m, order=1, minimum=max(1, math.floor(least) - 1), maximum=math.ceil(most)
        )


def longest_line(networks: Sequence[nn.FDN], sample_rate: float) -> float:
    """Seconds of the longest of all lines of whole samples; one knob moves all."""
    delays = [network.delays for network in networks]
    found = [max(part.samples) for part in delays if isinstance(part, nn.Delay)]
    return max(found, default=0) / sample_rate


def with_knobs(
    network: nn.FDN,
    names: Sequence[str],
    sample_rate: float,
    bands: Sequence[float],
    longest: float,
) -> nn.FDN:
    """A network of the same parts, with knobs in its loop.

    Raises:
        AdacError: a knob needs a part of another kind than the network has.
    """
    wanted = [name for name in names if name in IN_LOOP]
    moved = [name for name in wanted if name in ("size", "modulation")]
    lengths = _lengths(network.delays, wanted)
    parts = {
        name: getattr(network, name)
        for name in (
            "matrix", "input_gain", "output_gain", "absorption", "direct", "feedback_delays",
            "loop", "pre_tone", "tone",
        )
    }  # fmt: skip
    delays = MovedDelays(lengths, sample_rate, moved, longest) if moved else network.delays
    if {"decay", "decay bands", "brightness", "freeze", "size"} & set(wanted):
        old = parts["absorption"]
        parts["absorption"] = Absorption(old, lengths, sample_rate, wanted, bands, longest)
    if "freeze" in wanted:
        parts["input_gain"] = Gate(parts["input_gain"])
    made = nn.FDN(delays, **parts)
    if hasattr(network, "sample_rate"):
        made.sample_rate = network.sample_rate
    return made


def _lengths(delays: Module, wanted: Sequence[str]) -> tuple[int, ...]:
    if isinstance(delays, nn.Delay):
        return delays.samples
    if {"size", "modulation"} & set(wanted):
        raise AdacError(
            f"The knobs size and modulation move whole delays, but the network has "
            f"{type(delays).__name__}."
        )
    found = getattr(delays, "samples", None)
    if found is None:
        raise AdacError(f"How long the lines of {type(delays).__name__} are is not known.")
    return tuple(round(float(m)) for m in np.asarray(found[...]).ravel())
