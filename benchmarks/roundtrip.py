"""How long is the way from a Flax module to running FAUST, how fast is the result, how exact?

Feedback delay networks of N lines, with a dense orthogonal matrix (O(N²)), a Householder reflection
(O(N)) or a Hadamard butterfly (O(N log N)) in the loop, are traced, emitted, compiled and rendered,
and compared with JAX in float64.

    python benchmarks/roundtrip.py --sizes 4 16 64 --filters one_pole --out out/roundtrip
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from rich.console import Console
from rich.progress import track
from rich.table import Table

from adac_jax import nn, signals, trace
from adac_jax.figure import STYLE
from adac_jax.host import Library, Processor, versions
from adac_jax.report import compare
from adac_jax.verification import jax_reading, traced_at
from emitters import faust

RATE = 48000
SHORTEST, LONGEST = 960, 3840
"""Delays in samples."""
T60, T60_HIGH = 2.0, 0.8
"""Seconds of decay, and at half the sample rate where there are filters."""
MATRICES = {"dense": "orthogonal", "householder": "householder", "hadamard": "hadamard"}
MARKS: dict[str, dict[str, Any]] = {
    "dense": {"color": "#D55E00", "marker": "o"},
    "householder": {"color": "#0072B2", "marker": "s"},
    "hadamard": {"color": "#009E73", "marker": "^"},
}
"""Colours of Okabe and Ito (2008), which colour-blind eyes tell apart, and shapes."""


def graphic(m: Sequence[int]) -> nn.Module:
    """An octave equaliser a line, whose decay falls from low bands to high ones."""
    bands = len(nn.AccurateGEQ(1, sample_rate=RATE).frequencies)
    times = np.geomspace(T60, T60_HIGH, bands)[:, None]
    return nn.AccurateGEQ.from_t60(times, m, sample_rate=RATE)


FILTERS: dict[str, Callable[[Sequence[int]], nn.Module]] = {
    "gain": lambda m: nn.Gain.from_t60(T60, m, sample_rate=RATE),
    "one_pole": lambda m: nn.OnePole.from_t60(T60, T60_HIGH, m, sample_rate=RATE),
    "geq": graphic,
}


def network(size: int, matrix: str, filters: str) -> nn.FDN:
    """One input, one output, and a direct path."""
    m = nn.mutually_prime_delays(size, SHORTEST, LONGEST)
    absorption, direct = FILTERS[filters](m), np.ones((1, 1))
    return nn.FDN(m, matrix=MATRICES[matrix], absorption=absorption, direct=direct)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds on the wall, and the result."""
    gc.collect()
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def measure(
    model: nn.FDN, seconds: float, double: bool, expected: np.ndarray | None
) -> tuple[dict[str, float], dict[str, Any], np.ndarray]:
    """One round of one network.

    Args:
        model: The network.
        seconds: Audio that is rendered.
        double: Whether to compile in double precision too.
        expected: The impulse response in JAX in float64; it is computed if None.

    Returns:
        Seconds by name, what else was found, and `expected`.
    """
    length = max(1, round(seconds * RATE))
    impulse, noise = signals.impulse(length), signals.noise(length)
    spent: dict[str, float] = {}
    # Cold: nothing that JAX compiled before can be used again, as in a new process.
    jax.clear_caches()
    spent["trace_cold"], _ = timed(lambda: traced_at(model))
    spent["trace"], (traced, program) = timed(lambda: traced_at(model))
    spent["emit"], source = timed(lambda: faust.emit(program))
    if expected is None:
        with jax.enable_x64(True):
            expected = jax_reading(program, traced, np.float64)(impulse)
    # libfaust keeps a program as long as it is in use; one round later it is free, so that each
    # round compiles anew. The constructors time the compiler alone.
    single = Processor(source, sample_rate=RATE)
    spent["compile_single"] = single.compile_seconds
    check = compare("impulse", "FAUST", "JAX", single.render(impulse), expected, None)
    # Noise: after an impulse, filters decay to denormal numbers, which processors are slow with.
    spent["render"], _ = timed(lambda: single.render(noise))
    found: dict[str, Any] = {"operations": len(program.graph.nodes), "characters": len(source)}
    found["error"] = {"single": check.error / check.peak}
    if double:
        with Library(source, precision="double", sample_rate=RATE) as library:
            spent["compile_double"] = library.compile_seconds
            check = compare("impulse", "FAUST", "JAX", library.render(impulse), expected, None)
            found["error"]["double"] = check.error / check.peak
    return spent, found, expected


def run(options: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    """Measures all networks in turn, as often as asked, and sums up a row for each."""
    trace(lambda x: 0.5 * x, inputs=1)  # what is loaded at the first use is nobody's time
    which = [(size, matrix) for size in options.sizes for matrix in options.matrices]
    rounds: dict[tuple[int, str], list[dict[str, float]]] = {key: [] for key in which}
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    expected: dict[tuple[int, str], np.ndarray] = {}
    # In turn, so that a busy minute of the machine does not fall on one network alone.
    for key in track(which * options.repeats, "measuring", console=console, transient=True):
        model, known = network(key[0], key[1], options.filters), expected.get(key)
        spent, found, expected[key] = measure(model, options.seconds, options.double, known)
        rounds[key].append(spent)
        rows[key] = {"size": key[0], "matrix": key[1], **found}
    return [rows[key] | summary(rounds[key], options.seconds) for key in which]


def summary(rounds: Sequence[dict[str, float]], seconds: float) -> dict[str, Any]:
    """All times of a network, their medians and minima, and its speed in × real time."""
    times = {name: [spent[name] for spent in rounds] for name in rounds[0]}
    median = {name: statistics.median(values) for name, values in times.items()}
    least = {name: min(values) for name, values in times.items()}
    speed = {"speed": seconds / median["render"], "speed_best": seconds / least["render"]}
    return {"seconds": times, "median": median, "minimum": least, **speed}


def table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """One row a network."""
    note = "times in ms, speed in × real time, errors re peak; medians (and the best)"
    view = Table(title=f"{title}\n{note}", title_justify="left", show_edge=False, pad_edge=False)
    heads = "N", "matrix", "trace,\ncold", "trace", "emit", "compile\nsingle", "compile\ndouble"
    for head in (*heads, "speed", "error,\nsingle", "error,\ndouble"):
        view.add_column(head, justify="left" if head == "matrix" else "right")
    for row in rows:
        cells = [milliseconds(row["median"][name]) for name in ("trace_cold", "trace", "emit")]
        for name in ("compile_single", "compile_double"):
            both = [row[kind].get(name) for kind in ("median", "minimum")]
            cells.append("" if None in both else "{} ({})".format(*map(milliseconds, both)))
        cells.append(f"{row['speed']:,.0f} ({row['speed_best']:,.0f})")
        cells += [decibels(row["error"].get(precision)) for precision in ("single", "double")]
        view.add_row(str(row["size"]), row["matrix"], *cells)
    return view


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds, about three digits."""
    return f"{1e3 * seconds:,.{0 if seconds >= 0.1 else 1}f}"


def decibels(error: float | None) -> str:
    """An error re peak in dB, if it was measured."""
    if error is None:
        return ""
    return f"{20 * math.log10(error):.1f} dB" if error else "exact"


def draw(rows: Sequence[dict[str, Any]], title: str, audio: float) -> Figure:
    """Compile time and speed against N: medians, and bars from the least to the most."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        panels = figure.subplots(1, 2)
        for matrix in dict.fromkeys(row["matrix"] for row in rows):
            found = [row for row in rows if row["matrix"] == matrix]
            compiling = np.array([row["seconds"]["compile_single"] for row in found])
            running = audio / np.array([row["seconds"]["render"] for row in found])
            for axes, values in zip(panels, (compiling, running), strict=True):
                middle = np.median(values, axis=1)
                bars = [middle - values.min(axis=1), values.max(axis=1) - middle]
                n, style = [row["size"] for row in found], MARKS[matrix]
                axes.errorbar(n, middle, bars, **style, ms=5, lw=1.5, label=matrix)
        sizes = sorted({row["size"] for row in rows})
        names = (("Compile time, single precision", "seconds"), ("Speed", "× real time"))
        for axes, (name, unit) in zip(panels, names, strict=True):
            axes.set(xscale="log", yscale="log", title=name, xlabel="delay lines N", ylabel=unit)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        panels[0].legend()
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the options, measures, prints the table, writes `roundtrip.json` and `.png`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64], help="values of N")
    add("--matrices", nargs="+", choices=list(MATRICES), default=list(MATRICES))
    add("--filters", choices=list(FILTERS), default="gain", help="absorption in the loop")
    add("--seconds", type=float, default=2.0, help="audio that is rendered")
    add("--repeats", type=int, default=3, help="rounds through all networks")
    add("--double", action=argparse.BooleanOptionalAction, default=True, help="double precision")
    add("--out", type=Path, default=Path("out/roundtrip"), help="folder for JSON and figure")
    options = parser.parse_args(arguments)
    if options.repeats < 1 or options.seconds <= 0 or min(options.sizes) < 1:
        parser.error("--repeats, --seconds and --sizes must be positive.")
    if "hadamard" in options.matrices and any(size & (size - 1) for size in options.sizes):
        parser.error("--sizes must be powers of two for a Hadamard matrix; see --matrices.")

    console = Console() if sys.stdout.isatty() else Console(width=120)
    rows = run(options, console)
    what = {"gain": "gains", "one_pole": "one-pole filters", "geq": "octave equalisers"}
    title = f"Feedback delay networks with {what[options.filters]}, Flax module to running FAUST"
    console.print(table(rows, title))
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in vars(options).items() if k != "out"} | {"sample_rate": RATE}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    used = versions() | {"jax": jax.__version__, "python": platform.python_version()}
    report = {"settings": settings, "machine": machine, "versions": used, "rows": rows}
    (options.out / "roundtrip.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    figure = draw(rows, title, options.seconds)
    figure.savefig(options.out / "roundtrip.png", dpi=110, metadata={"Software": None})
    console.print(f"JSON and figure are in {options.out}.")


if __name__ == "__main__":
    main()
