"""Where a decay ends and noise begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LATE_DB = 20.0
"""Range of levels, down to the noise, from which the late decay is estimated."""
MARGIN_DB = 10.0
"""The noise is estimated from where the decay has gone this far below it."""
SHARE = 0.1
"""Share of the response, at its end, that is taken for noise at least."""
FIRST_INTERVAL = 0.03
"""Seconds over which powers are averaged before anything is known of the decay."""
INTERVALS = 5
"""Intervals of averaging in 10 dB of decay, once it is known."""
FEWEST = 4
"""Intervals that a late decay is estimated from at least."""
NUMERICAL_FLOOR = 1e-12
"""Noise is taken to be no further below the loudest sample: −120 dB."""
ROUNDS = 10


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """How one channel's decay ends.

    Attributes:
        noise: Mean square of the noise; 0 if the response ends before it meets its noise.
        truncation: Sample at which decay and noise meet, or at which the response ends.
        tail: Energy of the late decay from the truncation on, without end; 0 if nothing decays.
        slope: Of the late decay: its power changes by exp(slope) a sample; 0 if nothing decays.
    """

    noise: float
    truncation: int
    tail: float
    slope: float


def noise_floor(
    power: Float[np.ndarray, " time"], sample_rate: float, shortest: float = 0.01
) -> NoiseFloor:
    """Finds the noise floor of one channel, and where to cut its decay off.

    The squared response is averaged in intervals, five to 10 dB of decay, and three estimates are
    repeated until they agree: the noise, in at least the last tenth, from where the decay is 10 dB
    below it; the late decay, from the last 20 dB before they meet; where they meet. Source:
    Lundeby, Vigran, Bietz and Vorländer, "Uncertainties of measurements in room acoustics"
    (Acustica 81, 1995). As levels near the noise are used too, the late decay is not a line
    through levels in dB but the exponential that is likeliest with noise of known power: the mean
    of an interval is taken to be gamma distributed.

    A computed response may end before any noise, and its end would pass for noise. So where the
    decay meets the noise too late to know the noise from anything but the last tenth, the response
    is taken to be free of noise if a decay alone is likelier.

    Args:
        power: The squared response from its onset on.
        sample_rate: fs in Hz.
        shortest: Shortest interval of averaging in seconds.
    """
    nothing = NoiseFloor(0.0, len(power), 0.0, 0.0)
    least = max(1, round(shortest * sample_rate))
    if len(power) < FEWEST * least or not power.any():
        return nothing
    most = max(least, len(power) // 10)
    interval = int(np.clip(round(FIRST_INTERVAL * sample_rate), least, most))
    last = round((1 - SHARE) * len(power))
    floor = NUMERICAL_FLOOR * float(np.max(power))

    start = last  # of the noise
    noise = max(float(np.mean(power[start:])), floor)
    levels = _average(power, interval)
    line = _early_line(levels, noise)
    if line is None:
        return nothing
    crossing = len(power)
    for _ in range(ROUNDS):
        before, crossing = crossing, int(np.clip(line.reaches(noise), 0, len(power)))
        if abs(crossing - before) < interval / 10:
            break
        start = int(np.clip(line.reaches(noise * 10 ** (-MARGIN_DB / 10)), 0, last))
        noise = max(float(np.mean(power[start:])), floor)
        interval = int(np.clip(line.reaches_further(10.0) / INTERVALS, least, most))
        levels = _average(power, interval)
        line = _late_line(levels, noise, crossing, line)

    if start == last:
        alone = _late_line(levels, 0.0, len(power), line)
        end = levels.between(_last_loud(levels, noise), len(levels.power))
        if end.deviance(alone, 0.0) < end.deviance(line, noise):
            noise, crossing, line = 0.0, len(power), alone
    tail = float(line.power(crossing) / -np.expm1(line.slope))
    return NoiseFloor(noise, crossing, tail, line.slope)


@dataclass(frozen=True, slots=True)
class _Line:
    """A decay whose power at sample n is exp(level + slope n), slope < 0."""

    level: float
    slope: float

    def power(self, n: np.ndarray | float) -> np.ndarray:
        return np.exp(self.level + self.slope * np.asarray(n))

    def reaches(self, power: float) -> float:
        """The sample at which the decay has this power."""
        return (np.log(power) - self.level) / self.slope

    def reaches_further(self, fall_db: float) -> float:
        """Samples in which the decay falls by so many dB."""
        return -fall_db / 10 * np.log(10) / self.slope


@dataclass(frozen=True, slots=True)
class _Levels:
    """The mean power in intervals of so many samples, and the middle of each."""

    interval: int
    middle: np.ndarray
    power: np.ndarray

    def between(self, start: int, stop: int) -> _Levels:
        return _Levels(self.interval, self.middle[start:stop], self.power[start:stop])

    def decay(self, line: _Line) -> np.ndarray:
        """The mean powers of a decay; those in the middle are a little less."""
        half = line.slope / 2
        spread = np.sinh(self.interval * half) / (self.interval * np.sinh(half))
        return spread * line.power(self.middle)

    def deviance(self, line: _Line, noise: float) -> float:
        """How unlikely they are, gamma distributed, with a decay and noise; up to a constant."""
        mean = self.decay(line) + noise
        return float(np.mean(np.log(mean) + self.power / mean))


def _average(power: np.ndarray, interval: int) -> _Levels:
    count = len(power) // interval
    means = power[: count * interval].reshape(count, interval).mean(1)
    return _Levels(interval, np.arange(count) * interval + (interval - 1) / 2, means)


def _last_loud(levels: _Levels, noise: float) -> int:
    """The last interval that is above the range of the late decay."""
    loud = np.flatnonzero(levels.power > noise * 10 ** (LATE_DB / 10))
    return int(loud[-1]) if len(loud) else 0


def _early_line(levels: _Levels, noise: float) -> _Line | None:
    """The line through the levels from the loudest to 10 dB above the noise."""
    start = int(np.argmax(levels.power))
    quiet = np.flatnonzero(levels.power[start:] < 10 * noise)
    part = levels.between(start, start + int(quiet[0]) if len(quiet) else len(levels.power))
    if len(part.power) < 2:
        return None
    slope, level = np.polyfit(part.middle, np.log(part.power), 1)
    return _Line(float(level), float(slope)) if slope < 0 else None


def _late_line(levels: _Levels, noise: float, end: int, line: _Line) -> _Line:
    """The likeliest decay up to the sample `end`, by Fisher scoring from a first guess."""
    stop = int(np.clip(np.searchsorted(levels.middle, end), FEWEST, len(levels.power)))
    lowest = noise or float(np.mean(levels.power[-FEWEST:]))
    start = min(_last_loud(levels.between(0, stop), lowest), stop - FEWEST)
    part = levels.between(start, stop)
    with np.errstate(all="ignore"):  # a step that leads nowhere finite is not taken
        for _ in range(20):
            level, slope = _scoring_step(part, line, noise)
            steps = 0.5 ** np.arange(10)
            trials = [_Line(line.level + s * level, line.slope + s * slope) for s in steps]
            better = (t for t in trials if _is_better(part, t, line, noise))
            line, before = next(better, line), line
            if line is before:
                break
    return line


def _is_better(levels: _Levels, trial: _Line, line: _Line, noise: float) -> bool:
    return trial.slope < 0 and levels.deviance(trial, noise) < levels.deviance(line, noise)


def _scoring_step(levels: _Levels, line: _Line, noise: float) -> tuple[float, float]:
    """The least-squares fit of a change of level and slope to the relative residuals."""
    decay = levels.decay(line)
    weight = decay / (decay + noise)
    residual = weight * ((levels.power - decay - noise) / (decay + noise))
    total = np.sum(weight**2)
    centre = np.sum(weight**2 * levels.middle) / total
    distance = levels.middle - centre
    slope = np.sum(residual * distance) / np.sum((weight * distance) ** 2)
    return float(np.sum(residual) / total - slope * centre), float(slope)
