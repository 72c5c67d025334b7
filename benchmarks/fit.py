"""Fits every response in a folder, and says how well and how fast.

python benchmarks/fit.py ../shared/data/rir
python benchmarks/fit.py ROOMS --lines 8 16 32 --out DIR

For each response: the error of the reverberation times in octave bands from 125 Hz to 8 kHz, the
mean and the largest difference of the energy decay curves over the first 30 dB, both with noise
removed and judged alike (`metrics.compare`), before and after training, and the seconds of training
with and without compilation. Nothing is exported here.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import adac_jax
from adac_jax.fitting import Progress, summary

TARGETS = "mean T60 error at most 4 %, EDC error at most 1 dB, at most 20 s of training"


def main() -> None:
    parser = argparse.ArgumentParser(description="Fits every response in a folder.")
    parser.add_argument("rooms", type=Path, help="a folder of responses, or one response")
    parser.add_argument("--lines", type=int, nargs="+", default=[16])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--out", type=Path, help="writes fit.json there")
    options = parser.parse_args()
    files = sorted(options.rooms.glob("*.wav")) if options.rooms.is_dir() else [options.rooms]
    table = Table(title=f"Fit (wanted: {TARGETS})")
    for name in (
        "response",
        "lines",
        "T60 before",
        "T60",
        "EDC mean",
        "EDC largest",
        "s",
        "s step",
    ):
        table.add_column(name, justify="left" if name == "response" else "right")
    results = []
    for file in files:
        for lines in options.lines:
            first: list[float] = []

            def progress(found: Progress, first: list[float] = first) -> None:
                if not first:
                    first.append(found.seconds)

            fitted = adac_jax.fit(file, lines=lines, steps=options.steps, progress=progress)
            compared, before = fitted.compared, fitted.compared_before
            stepping = fitted.seconds - first[0]
            table.add_row(
                file.stem,
                str(lines),
                f"{before.mean_t60_error:.2f} %",
                f"{compared.mean_t60_error:.2f} %",
                f"{np.max(compared.edc_error):.2f} dB",
                f"{np.max(compared.largest_edc_error):.2f} dB",
                f"{fitted.seconds:.1f}",
                f"{stepping:.1f}",
            )
            results.append({"lines": lines, "stepping_seconds": stepping, **summary(fitted)})
    Console(width=110).print(table)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        stamp = {"date": time.strftime("%Y-%m-%d"), "results": results}
        (options.out / "fit.json").write_text(json.dumps(stamp, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
