"""What was measured, as tables and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from rich.table import Table

from adac_jax.figure import STYLE
from peers.asking import Measured
from peers.case import FILTERS, LENGTH

TARGETS = {
    ("gains", 8): 10,
    ("gains", 16): 30,
    ("gains", 32): 30,
    ("equalisers", 8): 30,
    ("equalisers", 16): 30,
}
"""How many times as fast as FLAMO a step shall be, at `LENGTH`."""
MARKS: dict[str, dict[str, Any]] = {
    "gains": {"color": "#0072B2", "marker": "o"},
    "equalisers": {"color": "#D55E00", "marker": "s"},
}
"""Colours of Okabe and Ito (2008), which colour-blind eyes tell apart, and shapes."""
FITTED = ("forward", "gradient")
HEADS = {"forward": "forward", "gradient": "value and gradient"}


class Rows:
    """What was measured at one length, by filters and lines."""

    def __init__(self, rows: Sequence[Measured], length: int) -> None:
        self.found = {
            (r.case.filters, r.case.lines, r.case.side, r.case.what): r
            for r in rows
            if r.case.length == length
        }
        named = {key[:2] for key in self.found}
        self.networks = sorted(named, key=lambda key: (FILTERS.index(key[0]), key[1]))

    def own(self, network: tuple[str, int], what: str) -> Measured | None:
        """What was measured of adac_jax."""
        return self.found.get((*network, "adac_jax", what))

    def peer(self, network: tuple[str, int]) -> Measured | None:
        """The step of FLAMO."""
        return self.found.get((*network, "flamo", "step"))


def exponents(rows: Sequence[Measured], length: int) -> list[dict[str, Any]]:
    """Fits seconds ∝ Nᵖ at one length, and ∝ lengthᵖ at one N, by least squares of logarithms.

    The least time of each case is taken, which other programs have disturbed least.
    """
    found = []
    for filters in FILTERS:
        for what in FITTED:
            chosen = [r for r in rows if (r.case.filters, r.case.what) == (filters, what)]
            scaled = {r.case.lines for r in chosen if r.case.length != length}
            for over, points in (
                ("lines", [r for r in chosen if r.case.length == length]),
                ("length", [r for r in chosen if r.case.lines in scaled]),
            ):
                x = [getattr(r.case, over) for r in points]
                if len(set(x)) < 2:
                    continue
                p = np.polyfit(np.log(x), np.log([r.minimum for r in points]), 1)[0]
                fit = {"filters": filters, "what": what, "over": over, "exponent": float(p)}
                found.append(fit | {"points": len(x), "from": min(x), "to": max(x)})
    return found


def tables(rows: Sequence[Measured], length: int) -> list[Table]:
    """Parts and limits, ways to the gradient, exponents, and last the comparison."""
    at = Rows(rows, length)
    found = [_parts(at), _ways(at), _exponents(exponents(rows, length))]
    if any(at.peer(network) for network in at.networks):
        found.append(_comparison(at, length))
    return found


def _table(title: str, note: str, heads: Sequence[str]) -> Table:
    title = f"{title}\n{note}"
    view = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for head in ("N", "in the loop", *heads):
        view.add_column(head, justify="left" if head == "in the loop" else "right")
    return view


def _parts(at: Rows) -> Table:
    heads = ["forward", "value and\ngradient", "with Adam", "trace,\ncompile"]
    heads += ["product", "copy", "gradient\nre limit"]
    view = _table(
        "One step by parts, and the machine's limits",
        "ms, medians (and the best); product, copy: as many multiply-adds, as many bytes",
        heads,
    )
    for network in at.networks:
        names = ("forward", "gradient", "step", "product", "copy")
        parts = {name: at.own(network, name) for name in names}
        cells = [_times(parts[name]) for name in ("forward", "gradient", "step")]
        step, gradient = parts["step"], parts["gradient"]
        cells.append("" if step is None else f"{step.first:.1f} s")
        cells += [_times(parts[name]) for name in ("product", "copy")]
        limits = [part.minimum for name in ("product", "copy") if (part := parts[name])]
        if gradient and limits:
            cells.append(f"× {gradient.minimum / max(limits):.1f}")
        view.add_row(str(network[1]), network[0], *cells)
    return view


def _ways(at: Rows) -> Table:
    heads = ["reversed\nloop", "MB", "through\nthe scan", "MB", "frequency\nresponse", "MB"]
    view = _table(
        "Value and gradient in three ways",
        "ms, medians (and the best); peak MB while running",
        heads,
    )
    for network in at.networks:
        ways = [at.own(network, name) for name in ("gradient", "scan", "frequency")]
        cells = [cell for way in ways for cell in (_times(way), _megabytes(way, "memory"))]
        view.add_row(str(network[1]), network[0], *cells)
    return view


def _exponents(fits: Sequence[dict[str, Any]]) -> Table:
    note = "p of time ∝ Nᵖ and ∝ lengthᵖ, least squares of logarithms"
    view = Table(
        title=f"How the cost grows\n{note}", title_justify="left", show_edge=False, pad_edge=False
    )
    for head in ("in the loop", "part", "over", "from", "to", "p"):
        view.add_column(head, justify="right" if head in ("from", "to", "p") else "left")
    for fit in fits:
        over = "lines N" if fit["over"] == "lines" else "length"
        ends = [f"{fit[name]:,}" for name in ("from", "to")]
        view.add_row(fit["filters"], HEADS[fit["what"]], over, *ends, f"{fit['exponent']:.2f}")
    return view


def _comparison(at: Rows, length: int) -> Table:
    heads = ["adac_jax", "FLAMO", "ratio", "best\nratio", "target", "adac_jax\nMB", "FLAMO\nMB"]
    heads += ["adac_jax MB,\ncompiling", "loss\ndiffers"]
    view = _table(
        f"One training step, {length:,} samples, adac_jax and FLAMO",
        "ms, medians (and the best); peak MB while running, and while tracing and compiling",
        heads,
    )
    for network in at.networks:
        own, peer = at.own(network, "step"), at.peer(network)
        if own is None or peer is None:
            continue
        ratios = [peer.median / own.median, peer.minimum / own.minimum]
        target = TARGETS.get(network) if length == LENGTH else None
        pairs = zip(own.values, peer.values, strict=True)
        differs = max(abs(a - b) / abs(b) for a, b in pairs)
        view.add_row(
            str(network[1]),
            network[0],
            _times(own),
            _times(peer),
            *(f"× {ratio:.1f}" for ratio in ratios),
            "" if target is None else f"× {target}",
            _megabytes(own, "memory"),
            _megabytes(peer, "memory"),
            _megabytes(own, "memory_first"),
            f"{differs:.0e}",
        )
    return view


def _times(row: Measured | None) -> str:
    if row is None:
        return ""
    return "{} ({})".format(*(f"{1e3 * x:,.{_digits(x)}f}" for x in (row.median, row.minimum)))


def _digits(seconds: float) -> int:
    return 0 if seconds >= 0.1 else 1 if seconds >= 0.01 else 2


def _megabytes(row: Measured | None, name: str) -> str:
    return "" if row is None else f"{getattr(row, name) / 2**20:,.0f}"


def figure(rows: Sequence[Measured], length: int) -> Figure:
    """Time of a step against N, on both sides, and of the gradient against the length."""
    at = Rows(rows, length)
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(9, 3.8), layout="constrained")
        FigureCanvasAgg(drawing)
        left, right = drawing.subplots(1, 2)
        for filters in dict.fromkeys(row.case.filters for row in rows):
            style: dict[str, Any] = MARKS[filters] | {"ms": 5, "lw": 1.5}
            networks = [network for network in at.networks if network[0] == filters]
            own = [row for network in networks if (row := at.own(network, "step"))]
            peer = [row for network in networks if (row := at.peer(network))]
            _curve(left, "lines", own, style | {"label": f"adac_jax, {filters}"})
            dashed = {"ls": "--", "mfc": "none", "label": f"FLAMO, {filters}"}
            _curve(left, "lines", peer, style | dashed)
            chosen = [r for r in rows if r.case.filters == filters and r.case.what in FITTED]
            scaled = {r.case.lines for r in chosen if r.case.length != length}
            for what, dash in zip(FITTED, (":", "-"), strict=True):
                found = [r for r in chosen if r.case.what == what and r.case.lines in scaled]
                label = f"{HEADS[what]}, {filters}, N = {max(scaled, default=0)}"
                _curve(right, "length", found, style | {"ls": dash, "label": label})
        left.set(title=f"One training step, {length:,} samples", xlabel="delay lines N")
        right.set(title="adac_jax: cost against length", xlabel="samples")
        for axes in (left, right):
            axes.set(xscale="log", yscale="log", ylabel="milliseconds")
            ticks = sorted({x for line in axes.get_lines() for x in np.ravel(line.get_xdata())})
            axes.set_xticks(ticks, [f"{int(x):,}" for x in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}"))
            axes.yaxis.set_minor_locator(NullLocator())
            if ticks:
                # Above all curves: four of them rise into any corner.
                low, high = axes.get_ylim()
                axes.set_ylim(low, high * (high / low) ** 0.45)
                axes.legend(loc="upper left")
    return drawing


def _curve(axes: Any, over: str, rows: Sequence[Measured], style: dict[str, Any]) -> None:
    """Medians, and bars from the least to what nine of ten steps stay below."""
    if not rows:
        return
    rows = sorted(rows, key=lambda row: getattr(row.case, over))
    times = [1e3 * np.quantile(row.seconds, (0.0, 0.5, 0.9)) for row in rows]
    least, middle, most = np.array(times).T
    x = [getattr(row.case, over) for row in rows]
    axes.errorbar(x, middle, [middle - least, most - middle], **style)
