"""The measured response that a model is to be fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float

from adac_jax import metrics
from adac_jax.audio import open_source
from adac_jax.errors import AdacError

LONGEST = 60.0
"""Seconds of the longest file that is read: no room's response is longer."""
SHORTEST = 0.1
"""Seconds after the onset that there must be at least."""
CHANNELS = 2
"""Mono and stereo responses."""
LEAST_DECAY = 25.0
"""The decay must be seen for so many dB: reverberation times are read from -5 dB down by 15 dB, and
5 dB above the noise."""
RATES = (8000.0, 384_000.0)
"""Sample rates in Hz: below, most octave bands are missing."""
PEAKS = (1e-9, 1e9)
"""Largest values: the energies of what lies beyond are lost in single precision."""
CLIPPED = 4
"""So many samples in a row at the largest value are clipping: a wave's crest has one or two."""
RAIL = 0.99
"""The largest positive and negative values are both looked at where they are as close as this: the
limits of a converter differ by a step."""
LATE = 0.6
"""A response has this part of its energy in the first half of its length at least, and more: sound
that goes on has half."""
PREROLL = 0.001
"""Seconds that are kept before the onset: the beginning of the direct sound."""


@dataclass(frozen=True)
class Target:
    """A room's impulse response, from just before its onset.

    Attributes:
        name: What to call it.
        response: (time, channels), float64.
        sample_rate: In Hz.
        delay: Seconds of the recording that were left out before it.
    """

    name: str
    response: Float[np.ndarray, "time channels"]
    sample_rate: float
    delay: float

    @property
    def outputs(self) -> int:
        """Channels."""
        return self.response.shape[1]


def read_target(path: str | Path, sample_rate: float | None = None) -> Target:
    """Reads a response from a sound file (WAV, FLAC, AIFF, …).

    Args:
        path: The file.
        sample_rate: In Hz, to which it is resampled (soxr, very high quality); its own if None.

    Raises:
        AdacError: it cannot be read, or is no room's impulse response, or a rate is out of range.
    """
    if sample_rate is not None:
        _check_rate("`sample_rate`", sample_rate)
    file = open_source(path)
    _check_rate(f"The sample rate of {path}", file.sample_rate)
    if file.frames > LONGEST * file.sample_rate:
        raise AdacError(
            f"The sound file {path} lasts {file.frames / file.sample_rate:.0f} s; a room's impulse "
            f"response of at most {LONGEST:.0f} s is wanted."
        )
    blocks = list(file.blocks(file.sample_rate))
    found = np.concatenate(blocks) if blocks else np.zeros((0, file.channels))
    rate = float(file.sample_rate)
    check_response(found, rate, f"The sound file {path}")
    if sample_rate is not None and sample_rate != rate:
        found = soxr.resample(found, rate, sample_rate, quality="VHQ")
        rate = float(sample_rate)
        check_response(found, rate, f"The sound file {path}, at {rate:g} Hz,")
    return _cut(found, rate, Path(path).stem)


def target_of(response: np.ndarray, sample_rate: float, name: str = "room") -> Target:
    """A response as a target: float64 (time, channels), cut to where it begins.

    Raises:
        AdacError: it is no room's impulse response, or the rate is out of range.
    """
    _check_rate("`sample_rate`", sample_rate)
    found = np.asarray(response, np.float64)
    found = found[:, None] if found.ndim == 1 else found
    check_response(found, sample_rate, f"The response {name!r}")
    return _cut(found, sample_rate, name)


def check_response(x: np.ndarray, sample_rate: float, what: str) -> None:
    """Refuses what is no impulse response of a room, saying what it seems to be.

    Raises:
        AdacError: it is not finite, silent, of too many channels, too short, clipped, too noisy, or
            sound that goes on, such as music.
    """
    if x.ndim != 2 or not 1 <= x.shape[1] <= CHANNELS:
        raise AdacError(
            f"{what} has the shape {x.shape}; a response of one or two channels is wanted."
        )
    if not np.isfinite(x).all():
        raise AdacError(f"{what} holds numbers that are not finite.")
    for channel in range(x.shape[1]):
        where = f"{what}, channel {channel + 1}," if x.shape[1] > 1 else what
        _check_channel(x[:, channel], sample_rate, where)


def _cut(x: np.ndarray, sample_rate: float, name: str) -> Target:
    """What comes from just before the onset on."""
    begin = max(0, int(np.min(metrics.onset(x))) - round(PREROLL * sample_rate))
    return Target(name, x[begin:], float(sample_rate), begin / sample_rate)


def _check_rate(what: str, rate: float) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise AdacError(f"{what} (={rate:g}) must be {RATES[0]:g} to {RATES[1]:g} Hz.")


def _check_channel(x: np.ndarray, sample_rate: float, what: str) -> None:
    peak = float(np.max(np.abs(x), initial=0.0))
    if peak == 0:
        raise AdacError(f"{what} is silent.")
    if not PEAKS[0] <= peak <= PEAKS[1]:
        raise AdacError(
            f"{what} has the largest value {peak:.3g}; it must be {PEAKS[0]:g} to {PEAKS[1]:g}."
        )
    begin = int(metrics.onset(x[:, None])[0])
    seconds = (len(x) - begin) / sample_rate
    if seconds < SHORTEST:
        raise AdacError(
            f"{what} lasts {1000 * seconds:.0f} ms from its onset; at least "
            f"{1000 * SHORTEST:.0f} ms are needed."
        )
    rails = [side for side in (x, -x) if np.max(side) >= RAIL * peak]
    run = max(_longest_run(side >= np.max(side) * (1 - 1e-6)) for side in rails)
    if run >= CLIPPED:
        raise AdacError(
            f"{what} is clipped: {run} samples in a row are at its largest value, {peak:.3g}."
        )
    power = np.cumsum(x[begin:] ** 2)
    early = power[len(power) // 2] / power[-1]
    decay = metrics.energy_decay(x, sample_rate)
    fall = float(decay.range_db)
    if early < LATE:
        raise AdacError(
            f"{what} is no impulse response: {100 * (1 - early):.0f} % of its energy come in the "
            "second half, as in music or noise; record the room's response to an impulse or sweep."
        )
    if fall < LEAST_DECAY:
        raise AdacError(
            f"{what} falls by {fall:.0f} dB before it ends or meets its noise; "
            f"{LEAST_DECAY:.0f} dB are needed to read a reverberation time."
        )


def _longest_run(mask: np.ndarray) -> int:
    """The most neighbours that are all true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return int(np.max(edges[1::2] - edges[::2], initial=0))
