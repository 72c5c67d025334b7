"""The command line: `python -m adac_jax.fixed_point`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from adac_jax.checkpoints import load_weights
from adac_jax.command_line import ShowTraceback, fail, list_files, run
from adac_jax.exporting import KNOWN, file_stem
from adac_jax.loading import load
from adac_jax.presets import hall
from adac_jax.quantising import FixedPoint, fixed_point
from adac_jax.staging import staged
from adac_jax.verification import traced_at

HELP = """Runs a model in fixed point, and predicts its noise floor.

Every signal gets the fewest bits before the point that hold its peak for inputs within ±1. The \
noise of rounding is predicted by the linear model, and measured against float64."""
EPILOG = """
[bold]Examples[/bold]

  The built-in reverb in words of 24 bits:

    python -m adac_jax.fixed_point

  A module in 16, 24 and 32 bits, with its signals' formats in out/room.fixed16.json and so on:

    python -m adac_jax.fixed_point reverb.py:room --bits 16 --bits 24 --bits 32 --out out

[bold]Exit codes[/bold]  0: nothing overflowed. 1: something did, or there was an error. 2: the \
command line is wrong.
"""
PROGRAM = "python -m adac_jax.fixed_point"
BOUNDS = {
    "responses": "peaks for inputs within ±1 from the responses to all inputs",
    "certificate": "peaks for inputs within ±1 as the certificate proves them",
    "partly measured": "peaks partly measured, and doubled: no proof that nothing overflows",
    "measured": "peaks measured, and doubled: no proof that nothing overflows",
    "given": "peaks as given",
}
app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(help=HELP, epilog=EPILOG)
def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="What to run, as for adac_jax.export. Without MODEL: the built-in reverb.",
        ),
    ] = None,
    bits: Annotated[
        list[int] | None, typer.Option(help="Of each signal; may be given several times.")
    ] = None,
    coefficient_bits: Annotated[
        int | None, typer.Option(help="Of each multiplier; as the signals if not given.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, max=60, help="Length of the noise that goes through.")
    ] = 1.0,
    measured_peaks: Annotated[
        bool, typer.Option(help="Bits for twice the peaks that come up, not for those proved.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write NAME.fixedBITS.json to; none if not given.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="An orbax checkpoint (folder) of the module's state.")
    ] = None,
    sample_rate: Annotated[
        float | None,
        typer.Option(min=1, help="Hertz; the model's own, or 48000, if not given."),
    ] = None,
    inputs: Annotated[
        int | None,
        typer.Option(min=0, help="Input channels, where the model has no attribute `inputs`."),
    ] = None,
    show_traceback: ShowTraceback = False,
) -> None:
    """Runs a model in fixed point: see `HELP`."""
    console, errors = Console(), Console(stderr=True)
    found: list[FixedPoint] = []
    try:
        with errors.status("loading") as status:
            if model is None:
                loaded = hall(sample_rate or 48000.0)
            else:
                loaded = load(model, sample_rate=sample_rate)
            if weights is not None:
                load_weights(loaded, weights)
            _, program = traced_at(loaded, inputs=inputs, sample_rate=sample_rate)
            for each in bits or [24]:
                status.update(f"running in {each} bits")
                one = fixed_point(
                    program,
                    each,
                    coefficient_bits=coefficient_bits,
                    seconds=seconds,
                    measured_peaks=measured_peaks,
                )
                found.append(one)
            files = () if out is None else _written(found, out)
    except KNOWN as error:
        fail(errors, error, show_traceback)
    show(console, found)
    list_files(console, files)
    if any(one.overflows for one in found):
        raise typer.Exit(1)


def _written(found: Sequence[FixedPoint], out: Path) -> tuple[Path, ...]:
    with staged(out) as (folder, deliver):
        names = [f"{file_stem(one.name)}.fixed{one.bits}.json" for one in found]
        for name, one in zip(names, found, strict=True):
            (folder / name).write_text(one.to_json(), "utf-8")
        return tuple(deliver(list(dict.fromkeys(names))))


def show(console: Console, found: Sequence[FixedPoint]) -> None:
    """Prints a row for each word length, and the formats of the signals in the last one."""
    last = found[-1]
    grid = Table(
        title=f"{last.name} in fixed point: noise of the loudest output in dB re 1 RMS; "
        "multipliers' rounding as the response's error re the response",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for title in ("bits", "noise, predicted", "noise, measured", "multipliers", "overflows"):
        grid.add_column(title, justify="right")
    for one in found:
        predicted = "not linear" if one.not_linear else "without end"
        if one.predicted_db is not None:
            predicted = _level(max(one.predicted_db))
        grid.add_row(
            f"{one.bits} / {one.coefficient_bits}",
            predicted,
            _level(max(one.measured_db)),
            _level(max(one.coefficient_error_db)),
            str(one.overflows),
        )
    console.print(grid)
    if last.not_linear:
        console.print(f"not linear, so measured only: {last.not_linear}", markup=False)
    console.print(f"{BOUNDS[last.bounds]}\n", highlight=False)
    rows = Table(title=f"{last.bits} bits", title_justify="left", show_edge=False, pad_edge=False)
    rows.add_column("signal")
    for title in ("before the point", "after it", "peak at most", "came up", "adds noise"):
        rows.add_column(title, justify="right")
    for row in last.signals:
        rows.add_row(
            row.name,
            _span(row.integer_bits),
            _span(row.fraction_bits),
            f"{row.bound:.3g}",
            f"{row.peak:.3g}",
            "" if row.noise_db is None else _level(row.noise_db),
        )
    console.print(rows)


def _level(value: float) -> str:
    return f"{value:.1f} dB" if math.isfinite(value) else "none"


def _span(bits: tuple[int, int]) -> str:
    return str(bits[0]) if bits[0] == bits[1] else f"{bits[0]} to {bits[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    return run(app, PROGRAM, arguments)
