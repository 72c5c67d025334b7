"""A report as a table on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adac_jax.report import Check, Report


def table(report: Report) -> RenderableType:
    """One row a reading, with the test signal it did worst on, and a line of timings.

    Args:
        report: What `verify` returned.

    Returns:
        What `rich.print` shows; below it, the controls.
    """
    rate = f"{report.sample_rate:g} Hz"
    grid = Table(
        title=f"{report.name}: {report.inputs} in, {report.outputs} out, {rate}, "
        f"{report.nodes} operations; re peak of JAX in float64",
        title_justify="left",
        title_style="bold",
        show_edge=False,
        pad_edge=False,
    )
    grid.add_column("reading", no_wrap=True)
    grid.add_column("worst on", style="dim")
    grid.add_column("error", justify="right", no_wrap=True)
    grid.add_column("limit", justify="right", style="dim", no_wrap=True)
    grid.add_column("lag", justify="right")
    grid.add_column("verdict", no_wrap=True)
    for reading in report.readings():
        grid.add_row(*_row(report, reading))
    knobs = [Text(f"control {described(knob)}") for knob in report.controls]
    return Group(grid, *knobs, Text(timings(report), style="dim"))


def described(knob: Mapping[str, Any]) -> str:
    """A control as text: `decay: 0.25 to 4 s, at 1 s`."""
    unit = f" {knob['unit']}" if knob["unit"] else ""
    low, high, default = (f"{knob[key]:g}" for key in ("minimum", "maximum", "default"))
    return f"{knob['name']}: {low} to {high}{unit}, at {default}{unit}"


def timings(report: Report) -> str:
    """What took how long, as one line: `trace 0.22 s, …, runs 870 × real time`."""
    spent = [
        f"{what} {value:.2g} s" for what, value in report.timings.items() if what != "× real time"
    ]
    speed = report.timings.get("× real time")
    if speed is not None:
        spent.append(f"FAUST runs {speed:,.0f} × real time")
    return ", ".join(spent)


def decibels(value: float) -> str:
    """`-141.3 dB`; `exact` for no error at all."""
    if value == -math.inf:
        return "exact"
    return f"{value:.1f} dB" if math.isfinite(value) else "not finite"


def _row(report: Report, reading: str) -> tuple[str | Text, ...]:
    worst = report.worst(reading)
    checks = [c for c in report.checks if c.reading == reading]
    lags = sorted({c.lag for c in checks})
    return (
        reading,
        worst.signal,
        decibels(worst.error_db),
        "" if worst.limit_db is None else f"{worst.limit_db:.0f} dB",
        ", ".join(map(str, lags)),
        _verdict(checks),
    )


def _verdict(checks: list[Check]) -> Text:
    if all(c.limit_db is None for c in checks):
        return Text("reported", style="dim")
    if all(c.passed for c in checks):
        return Text("equal", style="green")
    return Text("DIFFERS", style="bold red")
