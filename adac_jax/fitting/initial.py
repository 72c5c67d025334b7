"""A room model before training: what can be read off the measured response."""

from __future__ import annotations

from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from adac_jax import metrics, nn
from adac_jax.errors import AdacError
from adac_jax.fitting.model import Room, Structure
from adac_jax.fitting.objective import HOP, Objective
from adac_jax.fitting.target import Target
from adac_jax.losses.decay import backward_sum
from adac_jax.losses.relief import octave_energies
from adac_jax.nn.levels import Decibels, ReverberationTime

FADE = 0.01
"""Seconds over which the early reflections give way to the networks."""
SHORTEST, LONGEST = 0.012, 0.055
"""Seconds of the shortest and the longest delay line."""
T60_LIMITS = (0.03, 60.0)
"""Seconds: what a measured reverberation time is clipped to."""
SECOND = 3.0
"""With two networks, the second decays so many times as fast as the first, to begin with."""


def structure_of(target: Target, lines: int, early: float, slopes: int) -> Structure:
    """Lengths of the parts.

    Args:
        target: What is to be met.
        lines: Delay lines in all.
        early: Seconds of the measured response that are kept as early reflections.
        slopes: Networks, over which the lines are dealt out.

    Raises:
        AdacError: a value is out of its range.
    """
    if slopes not in (1, 2):
        raise AdacError(f"`slopes` (={slopes}) must be 1 or 2.")
    if not 2 * slopes <= lines <= 128:
        raise AdacError(f"`lines` (={lines}) must be a number from {2 * slopes} to 128.")
    if not 2 * FADE <= early <= 0.5:
        raise AdacError(f"`early` (={early:g}) must be {2 * FADE:g} to 0.5 seconds.")
    rate = target.sample_rate
    taps = min(round(early * rate), len(target.response))
    try:
        m = nn.mutually_prime_delays(lines, round(SHORTEST * rate), round(LONGEST * rate))
    except ValueError as error:
        raise AdacError(f"At the sample rate {rate:g} Hz, {error}") from None
    groups = tuple(tuple(m[k::slopes]) for k in range(slopes))
    begin = taps - round(FADE * rate)
    waits = tuple(max(0, begin - min(group)) for group in groups)
    return Structure(rate, target.outputs, taps, waits, groups)


def initial_room(target: Target, objective: Objective, structure: Structure, seed: int) -> Room:
    """A model whose early reflections, reverberation times and levels are those measured.

    Levels follow from the energies of the networks as they are: in each band, the measured energy
    that comes after the early reflections over that of the networks.
    """
    room = Room(structure, seed)
    taps = target.response[: structure.early].copy()
    fade = min(round(FADE * target.sample_rate), len(taps))
    taps[len(taps) - fade :] *= np.cos(np.linspace(0, np.pi / 2, fade))[:, None] ** 2
    response = room.early.response
    response[...] = jnp.asarray(taps, response[...].dtype)
    measured = metrics.energy_decay(target.response, target.sample_rate, objective.centres)
    times = metrics.extrapolated_time(measured, metrics.evaluation_range(measured))
    t60 = _filled(np.log(np.clip(_mean_known(times), *T60_LIMITS)))
    for k, network in enumerate(room.late):
        absorption = cast(nn.AccurateGEQ, network.absorption)
        at = np.interp(np.log(absorption.frequencies), np.log(objective.centres), t60)
        value = np.exp(at) / SECOND**k
        cast(ReverberationTime, absorption.commands).t60.set(value[:, None])
    _level(room, target, objective, structure, measured)
    return room


def _level(
    room: Room,
    target: Target,
    objective: Objective,
    structure: Structure,
    measured: metrics.EnergyDecay,
) -> None:
    # From the early reflections' end on, at which the networks have begun already.
    begin = min(max(0, structure.early - objective.onset), len(measured.energy) - 1)
    x = jnp.zeros((objective.length, 1)).at[0].set(1.0)

    @jax.jit
    def energies(x):
        parts = zip(room.wait, room.late, strict=True)
        y = jnp.sum(jnp.stack([network(wait(x)) for wait, network in parts]), axis=0)
        bands = octave_energies(y[objective.onset :], target.sample_rate, objective.centres, HOP)
        frame = min(round(begin / (HOP * target.sample_rate)), bands.shape[-1] - 1)
        return backward_sum(bands)[..., frame]

    found = np.asarray(energies(x), np.float64)  # (channels, bands)
    wanted = np.moveaxis(measured.energy[begin], -1, 0)
    floor = np.max(wanted, axis=1, keepdims=True) * 1e-9
    difference = 10 * np.log10(np.maximum(wanted, floor) / np.maximum(found, 1e-30))
    middle = np.median(difference, axis=1)
    for network in room.late:
        weight = cast(nn.Matrix, network.output_gain).weight
        scale = 10 ** (middle / 20)
        weight[...] = weight[...] * jnp.asarray(scale[:, None], weight[...].dtype)
        tone = cast(nn.AccurateGEQ, network.tone)
        level = cast(Decibels, tone.commands).db
        rows = [
            np.interp(np.log(tone.frequencies), np.log(objective.centres), row)
            for row in np.clip(difference - middle[:, None], -30, 30)
        ]
        level[...] = jnp.asarray(np.stack(rows, axis=1), level[...].dtype)


def _mean_known(times: np.ndarray) -> np.ndarray:
    """Over channels, without those that have none."""
    known = np.isfinite(times)
    count = known.sum(axis=1)
    total = np.where(known, times, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(1, count), np.nan)


def _filled(values: np.ndarray) -> np.ndarray:
    """Bands without a value get that of their neighbours.

    Raises:
        AdacError: no band has one.
    """
    known = np.isfinite(values)
    if not known.any():
        raise AdacError("No reverberation time can be read from the response in any octave band.")
    places = np.arange(len(values))
    return np.interp(places, places[known], values[known])
