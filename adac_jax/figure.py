"""A report as a figure: impulse responses, their difference, energy decay, spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from adac_jax.report import Report
from adac_jax.verification import LIMIT_DOUBLE, LIMIT_SINGLE

REFERENCE, SINGLE, DOUBLE = "JAX float64", "FAUST single", "FAUST double"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""One an output, told apart by colour-blind eyes too (Okabe and Ito, 2008)."""
PRECISIONS = ((SINGLE, "#882255", LIMIT_SINGLE), (DOUBLE, "#117733", LIMIT_DOUBLE))
"""Reading, colour and limit in dB: other colours, since they stand for something else."""
INK = "#222222"
FLOOR = -350.0
"""dB re peak that stands for no difference at all: below the last bit of float64."""
STYLE: Any = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}


def figure(report: Report) -> Figure:
    """Draws what the first impulse did.

    At most four outputs are drawn. The difference is the largest within each of 300 stretches of
    time; the decay curve is backward-integrated energy (Schroeder, "New method of measuring
    reverberation time", JASA 37, 1965); the spectrum is the mean power within 1/12 octave.

    Args:
        report: As `verify` returned it, with its traces.

    Returns:
        A figure of 11 × 7 inches, made without pyplot's global state.
    """
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(11, 7), layout="constrained")
        FigureCanvasAgg(drawing)
        verdict = "JAX and FAUST are equal" if report.passed else "JAX and FAUST DIFFER"
        drawing.suptitle(
            f"{report.name}: {verdict}   "
            f"({report.inputs} in, {report.outputs} out, {report.sample_rate:g} Hz)",
            x=0.008,
            ha="left",
            fontsize=12,
            fontweight="bold",
        )
        drawing.get_layout_engine().set(w_pad=0.12, h_pad=0.08)  # type: ignore[union-attr]
        drawing.legend(
            handles=[
                Line2D([], [], color="#888888", lw=3.0, alpha=0.6, label="JAX, float64"),
                Line2D([], [], color=INK, lw=0.8, label="FAUST, single precision"),
            ],
            loc="upper right",
            ncols=2,
            fontsize=9,
            handlelength=1.8,
        )
        grid = drawing.add_gridspec(2, 2)
        shown = min(report.outputs, len(COLOURS))
        _responses(drawing, grid[0, 0], report, shown)
        _difference(drawing.add_subplot(grid[0, 1]), report)
        _decay(drawing.add_subplot(grid[1, 0]), report, shown)
        _spectra(drawing.add_subplot(grid[1, 1]), report, shown)
    return drawing


def save(report: Report, path: Path) -> None:
    """Writes the figure as PNG, 110 dots an inch."""
    with matplotlib.rc_context(STYLE):
        figure(report).savefig(path, dpi=110, format="png", metadata={"Software": None})


def _responses(drawing: Figure, place: Any, report: Report, shown: int) -> None:
    """A strip an output, one scale for all; the stretch that holds the energy's first 12 dB."""
    h, found = report.traces[REFERENCE], report.traces[SINGLE]
    end = _shown_samples(h, report.sample_rate)
    time = np.arange(end) / report.sample_rate * 1e3
    strips = place.subgridspec(shown, 1, hspace=0.08).subplots(sharex=True, squeeze=False)[:, 0]
    reach = 1.08 * max(float(np.max(np.abs(h[:end]), initial=0.0)), 1e-12)
    for k, strip in enumerate(strips):
        strip.plot(time, h[:end, k], color=COLOURS[k], lw=2.4, alpha=0.5)
        strip.plot(time, found[:end, k], color=INK, lw=0.6)
        strip.set_ylim(-reach, reach)
        strip.set_ylabel(f"output {k + 1}")
        strip.margins(x=0)
        strip.label_outer()
    more = report.outputs - shown
    strips[0].set_title("Impulse response" + (f" (and {more} more outputs)" if more else ""))
    strips[-1].set_xlabel("time in ms")


def _difference(axes: Any, report: Report) -> None:
    h = report.traces[REFERENCE]
    peak = max(float(np.max(np.abs(h), initial=0.0)), np.finfo(float).tiny)
    for reading, colour, limit in PRECISIONS:
        error = np.max(np.abs(report.traces[reading] - h), axis=1) / peak
        time, worst = _stretches(error, 300)
        level = np.maximum(20 * np.log10(np.maximum(worst, 1e-30)), FLOOR)
        axes.plot(time / report.sample_rate, level, color=colour, lw=1.2, label=reading)
        axes.axhline(limit, color=colour, ls=(0, (5, 3)), lw=1.0)
        axes.text(
            0.995, limit + 3, f"limit −{-limit:.0f} dB", color=colour, ha="right", va="bottom",
            fontsize=8, transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    axes.set_title("Difference from JAX float64")
    axes.set_ylim(FLOOR - 8, -90)
    axes.set_yticks([*range(-300, -90, 50), FLOOR])
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda y, _: "below" if y <= FLOOR else f"−{-y:.0f}")
    )
    axes.margins(x=0)
    axes.set_xlabel("time in s")
    axes.set_ylabel("largest difference in dB re peak")
    _legend_above(axes, 2)


def _decay(axes: Any, report: Report, shown: int) -> None:
    h, found = report.traces[REFERENCE], report.traces[SINGLE]
    time = np.arange(len(h)) / report.sample_rate
    every = max(1, len(h) // 2000)
    for k in range(shown):
        curve = energy_decay(h[:, k])
        seconds = reverberation_time(curve, report.sample_rate)
        note = f", T60 {seconds:.2f} s" if seconds is not None else ""
        label = f"output {k + 1}{note}"
        axes.plot(time[::every], curve[::every], color=COLOURS[k], lw=2.4, alpha=0.5, label=label)
        axes.plot(time[::every], energy_decay(found[:, k])[::every], color=INK, lw=0.7)
    axes.set_title("Energy decay")
    axes.set_ylim(-80, 3)
    axes.margins(x=0)
    axes.set_xlabel("time in s")
    axes.set_ylabel("remaining energy in dB")
    _legend_above(axes, shown)


def _spectra(axes: Any, report: Report, shown: int) -> None:
    h, found = report.traces[REFERENCE], report.traces[SINGLE]
    for k in range(shown):
        frequency, level = smoothed_spectrum(h[:, k], report.sample_rate)
        axes.semilogx(
            frequency, level, color=COLOURS[k], lw=2.4, alpha=0.5, label=f"output {k + 1}"
        )
        axes.semilogx(*smoothed_spectrum(found[:, k], report.sample_rate), color=INK, lw=0.7)
    axes.set_title("Magnitude, 1/12 octave")
    axes.margins(x=0)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda f, _: f"{f / 1e3:g}k" if f >= 1e3 else f"{f:g}")
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("frequency in Hz")
    axes.set_ylabel("magnitude in dB")
    low, high = axes.get_ylim()
    if high - low < 12:  # a flat response should look flat
        axes.set_ylim((low + high) / 2 - 6, (low + high) / 2 + 6)
    _legend_above(axes, shown)


def _legend_above(axes: Any, columns: int) -> None:
    """A legend outside the data, at the right of the title."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=columns, borderaxespad=0.2,
        handlelength=1.4, columnspacing=1.2,
    )  # fmt: skip


def energy_decay(h: np.ndarray) -> np.ndarray:
    """Backward-integrated energy of a response (time,) in dB re its whole."""
    energy = np.cumsum(np.asarray(h, np.float64)[::-1] ** 2)[::-1]
    whole = energy[0] if len(energy) and energy[0] > 0 else 1.0
    return 10 * np.log10(np.maximum(energy / whole, 1e-30))


def reverberation_time(
    curve: np.ndarray, sample_rate: float, top: float = -5.0, bottom: float = -35.0
) -> float | None:
    """Seconds for 60 dB, from a straight line through a decay curve between two levels.

    Args:
        curve: dB re the whole, as `energy_decay` returns it.
        sample_rate: Hertz.
        top: dB at which the fit begins.
        bottom: dB at which it ends (ISO 3382-1 calls -5 to -35 dB T30).

    Returns:
        The time; None where the curve does not pass through both levels over ten samples.
    """
    inside = np.flatnonzero((curve <= top) & (curve >= bottom))
    if len(inside) < 10 or curve[-1] > bottom:
        return None
    slope = np.polyfit(inside / sample_rate, curve[inside], 1)[0]
    return float(-60 / slope) if slope < 0 else None


def smoothed_spectrum(
    h: np.ndarray, sample_rate: float, fraction: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies, four a band, and the mean power within 1/`fraction` octave around each in dB."""
    size = max(len(h), 4096)
    power = np.abs(np.fft.rfft(h, size)) ** 2
    total = np.concatenate([[0.0], np.cumsum(power)])
    top = sample_rate / 2
    centres = np.geomspace(
        min(20.0, top / 100), top, max(2, round(4 * fraction * np.log2(top / 20)))
    )
    edge = 2 ** (0.5 / fraction)
    low = np.clip(np.floor(centres / edge / sample_rate * size), 0, len(power) - 1).astype(int)
    high = np.clip(np.ceil(centres * edge / sample_rate * size), 1, len(power)).astype(int)
    high = np.maximum(high, low + 1)
    mean = (total[high] - total[low]) / (high - low)
    return centres, 10 * np.log10(np.maximum(mean, 1e-30))


def _stretches(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle and the largest value of each of up to `count` stretches."""
    edges = np.unique(np.linspace(0, len(values), min(count, len(values)) + 1).astype(int))
    worst = np.maximum.reduceat(values, edges[:-1]) if len(values) else values
    return (edges[:-1] + edges[1:]) / 2, worst


def _shown_samples(h: np.ndarray, sample_rate: float) -> int:
    """Enough of a response to show its shape: 12 dB of decay, 5 ms to 120 ms."""
    energy = np.sum(h**2, axis=1, keepdims=True) ** 0.5
    curve = energy_decay(energy[:, 0])
    samples = int(np.searchsorted(-curve, 12.0)) + 1
    low, high = int(0.005 * sample_rate), int(0.12 * sample_rate)
    return min(len(h), max(low, min(samples, high), 16))
