"""What is minimised: how far decays are from those of the measured response."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from adac_jax import metrics
from adac_jax.bands import octave_centres
from adac_jax.fitting.target import Target
from adac_jax.losses.decay import backward_sum, decay_energies
from adac_jax.losses.relief import octave_energies

HOP = 0.005
"""Seconds between points of the decay curves."""
LOWEST = 62.5
"""Centre in Hz of the lowest band."""
RELIEF_RANGE = 45.0
"""Levels in dB below the beginning over which decay curves in bands count, noise permitting."""
CURVE_RANGE = 30.0
"""The same for the broadband curve."""
ABOVE_NOISE = 5.0
"""Curves count as long as they are so many dB above where they meet the noise."""
BEYOND = 15.0
"""The model runs until its decay is so many dB below the last level that counts."""
LONGEST = 6.0
"""Seconds that the model runs for at most."""
RELIEF, CURVE, SLOPE = 1.0, 2.0, 30.0
"""Weights of the loss: dB in bands, dB of the whole, relative error of the reverberation times."""


@dataclass(frozen=True)
class Objective:
    """The decay curves to be met, and where they count.

    loss = RELIEF · mean |L - L̂| over the octave bands
         + CURVE · (mean (L - L̂)⁴)^(1/4) of the whole response, which minds the largest difference
         + SLOPE · mean |s / ŝ - 1|,

    with L the energy that is still to come, in dB, at steps of HOP, and s the slope of its
    regression line over the range from which the reverberation time is read. The measured curves
    are without noise (`metrics.energy_decay`).

    Attributes:
        sample_rate: In Hz.
        centres: Of the bands in Hz.
        onset: Samples before the onset.
        length: Samples that the model has to run for.
        relief: Measured levels in dB, (channels, bands, points).
        relief_weight: Their weights, which add up to one.
        slope_weight: What gives a band's slope from its levels, of the same shape.
        slope: Measured slopes in dB a point, (channels, bands); 0 where none can be read.
        curve: Measured levels of the whole response, (channels, points).
        curve_weight: Their weights, which add up to one.
    """

    sample_rate: float
    centres: tuple[float, ...]
    onset: int
    length: int
    relief: np.ndarray
    relief_weight: np.ndarray
    slope_weight: np.ndarray
    slope: np.ndarray
    curve: np.ndarray
    curve_weight: np.ndarray

    def levels(
        self, y: Float[Array, "time channels"]
    ) -> tuple[Float[Array, "channels bands points"], Float[Array, "channels points"]]:
        """The decay curves of a response in dB: of its bands, and as it is."""
        y = y[self.onset :]
        bands = backward_sum(octave_energies(y, self.sample_rate, self.centres, HOP))
        whole = decay_energies(y, round(HOP * self.sample_rate))
        return _db(bands), _db(whole)

    def terms(self, y: Float[Array, "time channels"]) -> dict[str, Array]:
        """The parts of the loss, without their weights: dB, dB, and a ratio."""
        bands, whole = self.levels(y)
        relief, weight, slope = (
            jnp.asarray(a, y.dtype) for a in (self.relief, self.relief_weight, self.slope)
        )
        found = jnp.sum(bands * jnp.asarray(self.slope_weight, y.dtype), axis=-1)
        known = self.slope != 0
        ratio = jnp.where(known, found / jnp.where(known, slope, 1.0), 1.0)
        off = whole - jnp.asarray(self.curve, y.dtype)
        return {
            "relief": jnp.sum(weight * _absolute(bands - relief)),
            "curve": jnp.sum(jnp.asarray(self.curve_weight, y.dtype) * off**4 + 1e-8) ** 0.25,
            "slope": jnp.sum(_absolute(ratio - 1, 0.002)) / max(1, np.count_nonzero(known)),
        }

    def loss(self, y: Float[Array, "time channels"]) -> Array:
        """The loss of a response."""
        terms = self.terms(y)
        return RELIEF * terms["relief"] + CURVE * terms["curve"] + SLOPE * terms["slope"]


def objective_of(target: Target) -> Objective:
    """Measures what a target's decays are."""
    rate = target.sample_rate
    centres = octave_centres(rate, LOWEST)
    bands = metrics.energy_decay(target.response, rate, centres)
    whole = metrics.energy_decay(target.response, rate)
    hop = round(HOP * rate)
    usable = np.minimum(RELIEF_RANGE, bands.range_db - ABOVE_NOISE)
    within = bands.level_db >= -usable
    t60 = metrics.extrapolated_time(bands, metrics.evaluation_range(bands))
    last = np.max(np.sum(within, axis=0) / rate + np.nan_to_num(t60) * BEYOND / 60)
    seconds = min(LONGEST, float(last))
    points = max(2, round(seconds / HOP))
    bands_at, mask = (_points(a, hop, points) for a in (_levels(bands), within))
    relief_weight = mask / max(1, mask.sum())
    slope_weight, slope = _slopes(bands, bands_at, hop, points)
    whole_at = _points(_levels(whole), hop, points)
    curve_mask = _points(whole.level_db >= -CURVE_RANGE, hop, points)
    onset = int(np.min(whole.onset))
    return Objective(
        sample_rate=rate,
        centres=centres,
        onset=onset,
        length=onset + points * hop,
        relief=np.where(mask, bands_at, 0.0),
        relief_weight=relief_weight,
        slope_weight=slope_weight,
        slope=slope,
        curve=np.where(curve_mask, whole_at, 0.0),
        curve_weight=curve_mask / max(1, curve_mask.sum()),
    )


def _levels(decay: metrics.EnergyDecay) -> np.ndarray:
    """Levels in dB; 0 dB is the energy of a unit impulse."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(decay.energy)


def _points(curves: np.ndarray, hop: int, points: int) -> np.ndarray:
    """Every `hop`-th sample of curves (time, *bands, channels), as (channels, *bands, points)."""
    kept = curves[::hop][:points]
    ends = [(0, points - len(kept))] + [(0, 0)] * (kept.ndim - 1)
    return np.moveaxis(np.pad(kept, ends), (0, -1), (-1, 0))


def _slopes(
    decay: metrics.EnergyDecay, levels: np.ndarray, hop: int, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights that give the slope of a regression line, and the measured slopes."""
    span = metrics.evaluation_range(decay)
    inside = (decay.level_db <= -5.0) & (decay.level_db >= -5.0 - span)
    inside = _points(inside, hop, points) & (np.moveaxis(span, -1, 0)[..., None] > 0)
    count = inside.sum(axis=-1, keepdims=True)
    time = np.arange(points)
    middle = (inside * time).sum(axis=-1, keepdims=True) / np.maximum(1, count)
    around = inside * (time - middle)
    squares = (around**2).sum(axis=-1, keepdims=True)
    weight = np.where(count >= 3, around / np.maximum(1, squares), 0.0)
    return weight, np.sum(weight * np.where(inside, levels, 0.0), axis=-1)


def _db(energy: Array) -> Array:
    """dB; the smallest number keeps silence finite."""
    return 10 / np.log(10) * jnp.log(energy + jnp.finfo(energy.dtype).tiny * 1e6)


def _absolute(x: Array, soft: float = 0.05) -> Array:
    """|x|, rounded off at zero so that the gradient does not jump there."""
    return jnp.sqrt(x**2 + soft**2) - soft
