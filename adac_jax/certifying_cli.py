"""The command line: `python -m adac_jax.certify`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from adac_jax.certifying import Precision, certify
from adac_jax.checkpoints import load_weights
from adac_jax.command_line import ShowTraceback, fail, list_files, run
from adac_jax.exporting import KNOWN, file_stem
from adac_jax.loading import load
from adac_jax.presets import hall
from adac_jax.staging import staged
from ir import Certificate

HELP = """Proves that a model cannot blow up, or says why that could not be proved.

Every loop is bounded at every frequency, from the coefficients as they ship, for every input \
within ±1 and every position and motion of the controls."""
EPILOG = """
[bold]Examples[/bold]

  Certify the built-in reverb:

    python -m adac_jax.certify

  Certify a module with trained weights, and write room.cert.json:

    python -m adac_jax.certify reverb.py:room --weights checkpoints/best --out out/room

  Certify what was exported:

    python -m adac_jax.certify out/room/room.ir.json

[bold]Exit codes[/bold]  0: stable, or lossless. 1: unstable, unproven, or there was an error. 2: \
the command line is wrong.
"""
PROGRAM = "python -m adac_jax.certify"
COLOURS = {"stable": "green", "lossless": "yellow", "unproven": "red", "unstable": "bold red"}
app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(help=HELP, epilog=EPILOG)
def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="What to certify, as for adac_jax.export. Without MODEL: the built-in reverb.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write NAME.cert.json to; none if not given.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="An orbax checkpoint (folder) of the module's state.")
    ] = None,
    sample_rate: Annotated[
        float | None,
        typer.Option(min=1, help="Hertz; the model's own, or 48000, if not given."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model and its file.")] = None,
    inputs: Annotated[
        int | None,
        typer.Option(min=0, help="Input channels, where the model has no attribute `inputs`."),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="What the coefficients are rounded to.")
    ] = "single",
    show_traceback: ShowTraceback = False,
) -> None:
    """Certifies a model: see `HELP`."""
    console, errors = Console(), Console(stderr=True)
    try:
        with errors.status("loading") as status:
            if model is None:
                found = hall(sample_rate or 48000.0)
            else:
                found = load(model, sample_rate=sample_rate)
            if weights is not None:
                load_weights(found, weights)
            status.update("proving")
            certificate = certify(
                found, inputs=inputs, sample_rate=sample_rate, name=name, precision=precision
            )
            files = () if out is None else _written(certificate, out)
    except KNOWN as error:
        fail(errors, error, show_traceback)
    show(console, certificate)
    list_files(console, files)
    if not certificate.passed:
        raise typer.Exit(1)


def _written(certificate: Certificate, out: Path) -> tuple[Path, ...]:
    with staged(out) as (folder, deliver):
        file = f"{file_stem(certificate.name)}.cert.json"
        (folder / file).write_text(certificate.to_json(), "utf-8")
        return tuple(deliver([file]))


def show(console: Console, certificate: Certificate) -> None:
    """Prints the verdict, and a row for each loop."""
    colour = COLOURS[certificate.verdict]
    console.print(f"{certificate.name}: [{colour}]{certificate.verdict}[/{colour}]")
    if certificate.loops:
        grid = Table(show_edge=False, pad_edge=False)
        for title in ("loop", "verdict", "by", "margin", "fades within"):
            grid.add_column(
                title, justify="right" if title in ("margin", "fades within") else "left"
            )
        for proof in certificate.loops:
            margin = "" if proof.margin_db is None else f"{proof.margin_db:.3g} dB"
            fades = "" if proof.decay_seconds is None else f"{proof.decay_seconds:.3g} s"
            grid.add_row(proof.name, proof.verdict, proof.method, margin, fades)
        console.print(grid)
    for proof in certificate.problems():
        console.print(proof.sentence(), highlight=False, markup=False)
    if certificate.peak_db < float("inf"):
        console.print(
            f"inputs within ±1 give outputs within {certificate.peak_db:+.1f} dB", highlight=False
        )
    for control, low, high in certificate.controls:
        console.print(
            f"control {control}: anywhere in {low:g} to {high:g}, moving", highlight=False
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    return run(app, PROGRAM, arguments)
