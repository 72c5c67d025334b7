"""A fit as a figure: reverberation times, energy decay, spectrograms, loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from scipy import signal

from adac_jax import metrics
from adac_jax.bands import nominal
from adac_jax.figure import STYLE

if TYPE_CHECKING:
    from adac_jax.fitting.fit import Fit

COLOURS = {"measured": "#222222", "before training": "#E69F00", "trained": "#0072B2"}
"""Told apart by colour-blind eyes too (Okabe and Ito, 2008)."""
RANGE = 70.0
"""dB that spectrograms and decay curves show."""


def figure(fit: Fit) -> Figure:
    """Draws a fit, its first channel where there are two.

    Args:
        fit: What `fit` returned.

    Returns:
        A figure of 12 × 7.5 inches, made without pyplot's global state.
    """
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(12, 7.5), layout="constrained")
        FigureCanvasAgg(drawing)
        drawing.get_layout_engine().set(w_pad=0.12, h_pad=0.08)  # type: ignore[union-attr]
        compared = fit.compared
        drawing.suptitle(
            f"{fit.target.name}: T60 within {compared.mean_t60_error:.1f} % on average, energy "
            f"decay within {np.max(compared.edc_error):.2f} dB (largest "
            f"{np.max(compared.largest_edc_error):.2f} dB) over {compared.edc_range:.0f} dB",
            x=0.008,
            ha="left",
            fontsize=12,
            fontweight="bold",
        )
        axes = drawing.subplots(2, 3)
        _times(axes[0, 0], fit)
        _decays(axes[0, 1], fit)
        _losses(axes[0, 2], fit)
        responses = (fit.target.response, fit.before, fit.after)
        seconds = _shown_seconds(fit)
        spectra = [_spectrogram(x[:, 0], fit.target.sample_rate, seconds) for x in responses]
        top = float(np.max(spectra[0][2]))
        for place, name, spectrum in zip(axes[1], COLOURS, spectra, strict=True):
            mesh = _show_spectrogram(place, name, spectrum, fit.target.sample_rate, top)
        drawing.colorbar(mesh, ax=axes[1, 2], label="dB", fraction=0.04, pad=0.02)
    return drawing


def save(fit: Fit, path: Path) -> None:
    """Writes the figure as PNG, 110 dots an inch."""
    with matplotlib.rc_context(STYLE):
        figure(fit).savefig(path, dpi=110, format="png", metadata={"Software": None})


def _times(place: Any, fit: Fit) -> None:
    centres = np.array(fit.compared.centres)
    target = fit.compared.target_t60[:, 0]
    place.fill_between(centres, 0.96 * target, 1.04 * target, color="#dddddd", label="± 4 %")
    series = (target, fit.compared_before.t60[:, 0], fit.compared.t60[:, 0])
    for (name, colour), values, mark in zip(COLOURS.items(), series, "so^", strict=True):
        place.plot(centres, values, mark + "-", color=colour, label=name, ms=4, lw=1.2)
    place.set_xscale("log")
    place.set_ylim(0, 1.25 * np.max(np.nan_to_num(np.array(series)), initial=0.1))
    place.xaxis.set_major_locator(FixedLocator(centres.tolist()))
    place.xaxis.set_minor_locator(NullLocator())
    place.xaxis.set_major_formatter(FixedFormatter([_hertz(nominal(f)) for f in centres]))
    place.set_title("Reverberation time in octave bands")
    place.set_xlabel("centre in Hz")
    place.set_ylabel("T60 in s")
    place.legend(loc="lower left")


def _decays(place: Any, fit: Fit) -> None:
    rate = fit.target.sample_rate
    reference = None
    longest = 0.0
    for (name, colour), response in zip(
        COLOURS.items(), (fit.target.response, fit.before, fit.after), strict=True
    ):
        decay = metrics.energy_decay(response[:, 0], rate)
        reference = decay.total if reference is None else reference
        with np.errstate(divide="ignore"):
            level = 10 * np.log10(decay.energy / reference)
        shown = level > -RANGE
        place.plot(decay.times[shown], level[shown], color=colour, lw=1.4, label=name)
        if name == "measured":
            longest = decay.times[shown][-1]
            place.axvline(decay.truncation, color="#888888", lw=0.8, ls=":")
            place.annotate(
                "noise", (decay.truncation, -RANGE), xytext=(-3, 4), textcoords="offset points",
                color="#666666", fontsize=8, ha="right",
            )  # fmt: skip
    place.axhspan(-fit.compared.edc_range, 0, color="#f3f3f3", zorder=0)
    place.set_xlim(0, longest)
    place.set_ylim(-RANGE, 3)
    place.set_title("Energy decay, noise removed")
    place.set_xlabel("time in s")
    place.set_ylabel("dB")
    place.legend(loc="upper right")


def _losses(place: Any, fit: Fit) -> None:
    place.semilogy(np.arange(len(fit.losses)), fit.losses, color=COLOURS["trained"], lw=1.2)
    place.set_title("Training")
    place.set_xlabel("step")
    place.set_ylabel("loss")
    place.margins(x=0)


def _shown_seconds(fit: Fit) -> float:
    """Until the measured decay meets its noise in the slowest band, at least 0.1 s."""
    rate = fit.target.sample_rate
    decay = metrics.energy_decay(fit.target.response[:, 0], rate, fit.compared.centres)
    return max(0.1, float(np.max(decay.truncation)))


def _spectrogram(
    x: np.ndarray, rate: float, seconds: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, frequencies, and levels in dB, (frequencies, times)."""
    x = x[: round(seconds * rate)]
    size = 512
    f, t, power = signal.spectrogram(
        np.pad(x, (size, size)), rate, nperseg=size, noverlap=size - 64, mode="psd"
    )
    t = t - size / rate
    keep = (t >= 0) & (t <= seconds)
    return t[keep], f[1:], 10 * np.log10(power[1:][:, keep] + 1e-30)


def _show_spectrogram(
    place: Any,
    name: str,
    spectrum: tuple[np.ndarray, np.ndarray, np.ndarray],
    rate: float,
    top: float,
) -> Any:
    """Draws one; 0 dB is `top`, the same for all."""
    t, f, level = spectrum
    mesh = place.pcolormesh(
        t, f, level - top, vmin=-RANGE, vmax=0, cmap="magma", shading="nearest", rasterized=True
    )
    place.set_yscale("log")
    place.set_ylim(100, rate / 2)
    place.grid(visible=False)
    places = [f for f in (125, 500, 2000, 8000) if f < rate / 2]
    place.yaxis.set_major_locator(FixedLocator(places))
    place.yaxis.set_minor_locator(NullLocator())
    place.yaxis.set_major_formatter(FixedFormatter([_hertz(f) for f in places]))
    place.set_title(f"Spectrogram, {name}")
    place.set_xlabel("time in s")
    place.set_ylabel("Hz")
    return mesh


def _hertz(f: float) -> str:
    return f"{f / 1000:g}k" if f >= 1000 else f"{f:g}"
