"""Echo density, and the time at which a response has become diffuse."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal

from adac_jax.metrics.responses import channels_of, onset

GAUSSIAN = math.erfc(1 / math.sqrt(2))
"""Share of the samples of Gaussian noise that are outside of one standard deviation."""


def echo_density(
    response: Float[np.ndarray, " time *channels"],
    sample_rate: float,
    window: float = 0.02,
    hop: float = 0.001,
) -> tuple[Float[np.ndarray, " frames"], Float[np.ndarray, " frames *channels"]]:
    """The normalised echo density profile.

    In a window w round time t, Σ w = 1, with σ² = Σ_τ w(τ) h²(t + τ),

        η(t) = Σ_τ w(τ) [|h(t + τ)| > σ] / erfc(1/√2):

    1 for Gaussian noise, near 0 for single echoes. The window is that of Hann. Source: Abel and
    Huang, "A simple, robust measure of reverberation echo density" (AES Convention 121, 2006).

    Args:
        response: (time,) or (time, channels).
        sample_rate: fs in Hz.
        window: Length of the window in seconds, above 0.
        hop: Distance of the windows in seconds, above 0.

    Returns:
        Seconds since the onset, and the profile at these times.

    Raises:
        ValueError: `window` or `hop` is shorter than a sample.
    """
    half, step = round(window * sample_rate / 2), round(hop * sample_rate)
    if half < 1 or step < 1:
        raise ValueError(f"`window` (={window}) and `hop` (={hop}) must last a sample at least.")
    x = channels_of(response)
    first = onset(x)
    weights = np.asarray(signal.get_window("hann", 2 * half + 1, fftbins=False), np.float64)
    weights /= np.sum(weights)
    frames = (len(x) - int(np.max(first)) - 1) // step + 1
    profile = np.empty((frames, x.shape[1]))
    for channel, start in enumerate(first):
        padded = np.pad(x[start:, channel], half)
        parts = sliding_window_view(padded, 2 * half + 1)[: frames * step : step]
        deviation = np.sqrt(parts**2 @ weights)
        profile[:, channel] = (np.abs(parts) > deviation[:, None]) @ weights / GAUSSIAN
    times = np.arange(frames) * step / sample_rate
    return times, profile.reshape(frames, *np.shape(response)[1:])


def mixing_time(
    times: Float[np.ndarray, " frames"],
    density: Float[np.ndarray, " frames *channels"],
    threshold: float = 1.0,
) -> Float[np.ndarray, "*channels"]:
    """The first time in seconds at which the echo density reaches that of Gaussian noise.

    Source: Abel and Huang (2006), as for `echo_density`.

    Args:
        times: As `echo_density` gives them.
        density: As `echo_density` gives it.
        threshold: The density that must be reached.

    Returns:
        Of each channel; NaN where it is never reached.
    """
    reached = density >= threshold
    first = times[np.argmax(reached, axis=0)]
    return np.where(np.any(reached, axis=0), first, np.nan)
