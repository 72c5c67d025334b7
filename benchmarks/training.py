"""How long is a training step, where does the time go, and how far is it from FLAMO's?

A feedback delay network is trained to be colourless: a step is its response to an impulse, the mean
of (|H| - 1)² over the bins of the Fourier transform, the gradient, and Adam's update, in single
precision on two cores. Both sides begin with the same numbers, so their losses must agree.

    python benchmarks/training.py --quick --python ../with-flamo/bin/python --out out/training
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from peers.asking import Measured, Setting, measure
from peers.case import FILTERS, LENGTH, Case
from peers.showing import FITTED, exponents, figure, tables
from rich.console import Console
from rich.progress import track

from adac_jax.nn import mutually_prime_delays

DELAYS = (500, 2500)
"""Shortest and longest in samples, as in FLAMO's own benchmark of training."""
PARTS = ("step", "forward", "gradient", "scan", "frequency", "product", "copy")
BUSY = 0.5
"""Programs that run besides, on average, from which on figures are not to be compared."""
OTHER_LENGTHS = (0.25, 0.5, 2.0)
"""Lengths besides the given one, as its multiples."""


def groups(options: argparse.Namespace) -> list[list[Case]]:
    """Cases by what is measured in turn, so that a busy minute does not fall on one side alone."""

    def case(what: str, lines: int, length: int = options.length, side: str = "adac_jax") -> Case:
        delays = mutually_prime_delays(lines, *options.delays)
        return Case(side, what, filters, length, delays)

    found = []
    for filters in options.filters:
        most = options.most_equalisers if filters == "equalisers" else max(options.lines)
        sizes = [lines for lines in options.lines if lines <= most]
        for lines in sizes:
            peer = [case("step", lines, side="flamo")] if options.peer == "flamo" else []
            found.append([*peer, *(case(what, lines) for what in options.parts)])
        for lines in sizes[len(sizes) // 2 :][:1]:
            lengths = [round(options.length * factor) for factor in OTHER_LENGTHS]
            fitted = [what for what in FITTED if what in options.parts]
            found.append([case(what, lines, length) for length in lengths for what in fitted])
    return [group for group in found if group]


def check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuses options that cannot be measured."""
    if options.rounds < 1 or options.seconds <= 0 or min(options.lines) < 1:
        parser.error("--rounds, --seconds and --lines must be positive.")
    if not 1 <= options.delays[0] < options.delays[1] < OTHER_LENGTHS[0] * options.length:
        parser.error("--delays must ascend from 1 and stay below a quarter of --length.")
    try:
        if not groups(options):
            parser.error("--most-equalisers, --lines and --parts leave nothing to measure.")
    except ValueError as error:  # too few primes for so many lines
        parser.error(f"--delays: {error}")
    if options.peer == "none":
        return
    command = [options.python, "-c", "import flamo, torch"]
    try:
        works = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    if not works:
        parser.error(
            f"{options.python} has no flamo: install the extra [benchmarks], name an interpreter "
            "that has it with --python, or measure without with --peer none."
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the options, measures, writes `training.json` and `.png`, prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--lines", type=int, nargs="+", help="values of N (4 8 16 32; with --quick 4 8)")
    add("--filters", nargs="+", choices=FILTERS, default=list(FILTERS), help="in the loop")
    add("--most-equalisers", type=int, default=16, metavar="N", help="largest N with equalisers")
    add("--length", type=int, default=LENGTH, help="samples of the response and the transform")
    add("--delays", type=int, nargs=2, default=DELAYS, metavar=("LOW", "HIGH"), help="in samples")
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure of ours")
    add("--peer", choices=("flamo", "none"), default="flamo", help="what to compare with")
    add("--python", default=sys.executable, help="an interpreter that has flamo")
    add("--quick", action="store_true", help="fewer lines, two short rounds")
    add("--rounds", type=int, help="turns of each process (7; with --quick 2)")
    add("--seconds", type=float, help="length of a turn (1; with --quick 0.3)")
    add("--default-malloc", action="store_true", help="let the allocator return memory each step")
    add("--out", type=Path, default=Path("out/training"), help="folder for JSON and figure")
    options = parser.parse_args(arguments)
    usual = {"lines": [4, 8], "rounds": 2, "seconds": 0.3}
    if not options.quick:
        usual = {"lines": [4, 8, 16, 32], "rounds": 7, "seconds": 1.0}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.lines = sorted(set(options.lines))
    check(options, parser)

    console = Console() if sys.stdout.isatty() else Console(width=120)
    pythons = {"adac_jax": sys.executable, "flamo": options.python}
    setting = Setting(pythons, not options.default_malloc, options.rounds, options.seconds)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    rows: list[Measured] = []
    for group in track(groups(options), "measuring", console=console, transient=True):
        rows += measure(group, setting)

    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    machine += f", load {load:.1f} before"
    used = {name: text for row in rows for name, text in row.versions.items()}
    report = {
        "settings": settings,
        "machine": machine,
        "versions": used | {"python": platform.python_version()},
        "exponents": exponents(rows, options.length),
        "rows": [row.report() for row in rows],
    }
    (options.out / "training.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    drawing = figure(rows, options.length)
    drawing.savefig(options.out / "training.png", dpi=110, metadata={"Software": None})
    for table in tables(rows, options.length):
        console.print(table, "")
    if load > BUSY:
        console.print(
            f"Other programs were busy (load {load:.1f}): threads that wait for each other then "
            "take many times as long, FLAMO's above all. Compare on a quiet machine only."
        )
    console.print(f"JSON and figure are in {options.out}.")


if __name__ == "__main__":
    main()
