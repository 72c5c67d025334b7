"""How flat can a small feedback delay network be?

Feedback delay networks with the delays of Dal Santo, Prawda, Schlecht and Välimäki ("Optimizing
tiny colorless feedback delay networks", EURASIP Journal on Audio, Speech, and Music Processing
2025:13) are trained from random starting points, all of them at once by `vmap`: the orthogonal
matrix and the gains at input and output, 1 in and 1 out. Line i has the gain γ^m_i behind its delay
of m_i samples, with γ = 0.9999 a sample as in the programs that accompany the paper: a decay by
60 dB in 1.44 s at 48 kHz. The figure of merit is

    the standard deviation of 20 log10 |H(e^jω_k)|, ω_k = 2π k / n for k = 0 … n/2, n = 262,144,

so over all bins from 0 to half the sample rate. It is computed in float64 twice: from the frequency
response, and from the first n samples of the impulse response, by whose end it has fallen by 228 dB
(at another γ by less, and the two then differ).

Figures at different γ cannot be compared: as γ → 1 the modes' peaks grow without bound. For one
line alone, which is as even as modes can be, the figure tends to 20/ln 10 · π/√12 = 7.9 dB.

    python benchmarks/colourless.py --lines 4 --sparsity 0.3 --out out/colourless
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
from flatness import (
    BINS,
    DELAYS,
    LOSSES,
    RATE,
    Training,
    impulse_response,
    levels,
    matrices,
    network,
    train,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from adac_jax import losses, metrics
from adac_jax.figure import STYLE

PUBLISHED = {4: 4.2, 6: 5.6, 8: 5.9}
"""Standard deviation in dB of the published networks."""
NEARER = 0.99999
"""A gain a sample at which the trained networks are judged too: 14.4 s."""
COLOURS = {"before": "#E69F00", "after": "#0072B2"}


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one training.

    Attributes:
        lines: N.
        weight: Of the matrix's sparsity in the loss.
        published: Standard deviation in dB of the published network.
        starts: Standard deviations of all starting points, before and after training.
        before: Standard deviation of the best one before training.
        after: After it, from the frequency response.
        from_impulse: The same from the impulse response.
        nearer: After it, with the gain `NEARER` in the place of that of training.
        sparsity: Of the matrix: 0 if all its entries are ±1/√N, 1 for a permutation.
        mixing_time: Seconds until the echoes are as dense as noise; NaN if that is not reached.
        seconds: Of training all starting points, compilation included.
        parameters: Matrix and gains: A, b, c.
    """

    lines: int
    weight: float
    published: float
    starts: list[tuple[float, float]]
    before: float
    after: float
    from_impulse: float
    nearer: float
    sparsity: float
    mixing_time: float
    seconds: float
    parameters: dict[str, list[Any]]


def measure(lines: int, weight: float, options: argparse.Namespace) -> Row:
    """Trains the networks of one size, and judges them."""
    models = [network(lines, options.gain, options.seed + k) for k in range(options.starts)]
    before = [matrices(model) for model in models]
    begun = time.perf_counter()
    training = Training(
        options.loss, weight, options.steps, options.rate, options.bins, options.seed
    )
    after = [matrices(model) for model in train(models, training)]
    seconds = time.perf_counter() - begun
    spread = [
        (float(np.std(levels(a, options.gain))), float(np.std(levels(b, options.gain))))
        for a, b in zip(before, after, strict=True)
    ]
    best = min(range(len(spread)), key=lambda k: spread[k][1])
    h = impulse_response(after[best], options.gain)
    return Row(
        lines=lines,
        weight=weight,
        published=PUBLISHED[lines],
        starts=spread,
        before=spread[best][0],
        after=spread[best][1],
        from_impulse=float(np.std(20 * np.log10(np.abs(np.fft.rfft(h))))),
        nearer=float(np.std(levels(after[best], NEARER))),
        sparsity=float(losses.matrix_sparsity(jnp.asarray(after[best]["A"]))),
        mixing_time=float(metrics.mixing_time(*metrics.echo_density(h[: 2 * RATE], RATE))),
        seconds=seconds,
        parameters={
            f"{name} {when}": value.tolist()
            for when, found in (("before", before[best]), ("after", after[best]))
            for name, value in found.items()
        },
    )


def shown(row: Row, when: str) -> dict[str, np.ndarray]:
    """A, b and c of a row, "before" or "after"."""
    return {name: np.array(row.parameters[f"{name} {when}"]) for name in ("A", "b", "c")}


def table(rows: Sequence[Row], gain: float) -> Table:
    """The rows as a table."""
    title = f"Standard deviation of |H| in dB, loop gain {gain:g} a sample"
    found = Table(title=title, title_justify="left")
    names = "lines", "weight", "random", "trained", "from impulse", "published"
    for name in (*names, f"at {NEARER:g}", "sparsity", "mixing time", "training"):
        found.add_column(name, justify="right")
    for row in rows:
        found.add_row(
            str(row.lines),
            f"{row.weight:g}",
            f"{np.median([start for start, _ in row.starts]):.2f}",
            f"{row.after:.3f}",
            f"{row.from_impulse:.3f}",
            f"{row.published:.1f}",
            f"{row.nearer:.2f}",
            f"{row.sparsity:.2f}",
            "—" if math.isnan(row.mixing_time) else f"{1000 * row.mixing_time:.0f} ms",
            f"{row.seconds:.0f} s",
        )
    return found


def figure(rows: Sequence[Row], gain: float) -> Figure:
    """For each row 300 Hz of the spectrum, and the distribution of all levels."""
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(12, 2.4 * len(rows) + 0.6), layout="constrained")
        FigureCanvasAgg(drawing)
        places = drawing.subplots(len(rows), 2, squeeze=False, width_ratios=(3, 1))
        frequencies = np.arange(BINS // 2 + 1) * RATE / BINS
        near = (frequencies >= 10000) & (frequencies <= 10300)
        for row, (spectrum, histogram) in zip(rows, places, strict=True):
            for when, colour in COLOURS.items():
                level = levels(shown(row, when), gain)
                level -= np.mean(level)
                label = f"{when} training, {np.std(level):.2f} dB"
                spectrum.plot(frequencies[near], level[near], color=colour, lw=1.2, label=label)
                histogram.hist(level, np.arange(-25.0, 25.5, 0.5), color=colour, alpha=0.6)
            spectrum.set_title(f"N = {row.lines}, weight of sparsity {row.weight:g}")
            spectrum.set_ylim(-25, 25)
            spectrum.set_ylabel("|H| re its mean in dB")
            spectrum.legend(loc="lower right", ncols=2)
            histogram.set_title(f"All bins; published {row.published:.1f} dB")
            histogram.set_yticks([])
        places[-1, 0].set_xlabel("frequency in Hz")
        places[-1, 1].set_xlabel("|H| re its mean in dB")
    return drawing


def check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuses options out of their ranges."""
    for name in ("starts", "steps", "bins"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} (={getattr(options, name)}) must be at least 1.")
    if not 0 < options.gain < 1:
        parser.error(f"--gain (={options.gain}) must lie between 0 and 1.")
    if not options.rate > 0:
        parser.error(f"--rate (={options.rate}) must be positive.")
    if min(options.sparsity) < 0:
        parser.error(f"--sparsity (={min(options.sparsity)}) must not be negative.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the options, trains, writes `colourless.json` and `.png`, prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--lines", type=int, nargs="+", choices=list(DELAYS), default=list(DELAYS), help="N")
    add("--sparsity", type=float, nargs="+", default=[0.3], help="weights of the matrix's sparsity")
    add("--loss", choices=list(LOSSES), default="symmetric", help="of |H|")
    add("--gain", type=float, default=0.9999, help="of the loop, a sample")
    add("--starts", type=int, default=8, help="random starting points")
    add("--steps", type=int, default=400, help="of Adam")
    add("--rate", type=float, default=0.03, help="of Adam at first; it falls to 0 along a cosine")
    add("--bins", type=int, default=2048, help="frequencies that a step sees")
    add("--seed", type=int, default=0, help="of the first starting point")
    add("--out", type=Path, default=Path("out/colourless"), help="folder for JSON and figure")
    options = parser.parse_args(arguments)
    check(options, parser)
    rows = [measure(n, weight, options) for n in options.lines for weight in options.sparsity]
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    report = {
        "settings": settings | {"sample_rate": RATE, "transform": BINS},
        "delays": {n: DELAYS[n] for n in options.lines},
        "rows": [asdict(row) for row in rows],
    }
    text = json.dumps(report, indent=1).replace("NaN", "null")
    (options.out / "colourless.json").write_text(text + "\n", "utf-8")
    drawing = figure(rows, options.gain)
    drawing.savefig(options.out / "colourless.png", dpi=110, metadata={"Software": None})
    console = Console(width=130)
    console.print(table(rows, options.gain))
    console.print(f"JSON and figure are in {options.out}.")


if __name__ == "__main__":
    main()
