"""The command line: `python -m adac_jax.fit`."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from adac_jax.bands import nominal
from adac_jax.command_line import ShowTraceback, fail, list_files, run
from adac_jax.exporting import KNOWN
from adac_jax.fitting import training
from adac_jax.fitting.fit import CHECKPOINTS, EARLY, LINES, SLOPES, STEPS, Fit, fit

HELP = """Fits a reverb to a measured room response, and exports it as FAUST.

The response is measured, a feedback delay network is made from what was found and trained on the \
decay in octave bands, and the result is exported with the proof that FAUST and JAX are equal."""
EPILOG = """
[bold]Examples[/bold]

  Fit a room and hear drums in it, measured, before and after training:

    python -m adac_jax.fit room.wav --out out/room --listen drums.wav

  A larger network for a stereo response, at 96 kHz:

    python -m adac_jax.fit hall.flac --out out/hall --lines 32 --sample-rate 96000

A run that was interrupted goes on where it was when the same command is given again.

[bold]Exit codes[/bold]  0: fitted and exported. 1: it could not be: the message says why. 2: the \
command line is wrong. 130: interrupted.
"""
PROGRAM = "python -m adac_jax.fit"
app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(help=HELP, epilog=EPILOG)
def command(
    response: Annotated[
        Path,
        typer.Argument(
            metavar="ROOM.wav",
            help="A room's impulse response, mono or stereo: WAV, FLAC, AIFF, …",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("out"),
    name: Annotated[
        str | None, typer.Option(help="Name of the model and its files; the file's if not given.")
    ] = None,
    lines: Annotated[int, typer.Option(min=2, max=128, help="Delay lines.")] = LINES,
    early: Annotated[
        float,
        typer.Option(
            min=0.02, max=0.5, help="Seconds of the response kept as they are: early reflections."
        ),
    ] = EARLY,
    slopes: Annotated[
        int, typer.Option(min=1, max=2, help="2 for rooms that decay with two slopes.")
    ] = SLOPES,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Steps of training.")] = STEPS,
    sample_rate: Annotated[
        float | None,
        typer.Option(min=8000, max=384_000, help="Hertz; the file's if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random matrices and gains.")] = 0,
    listen: Annotated[
        Path | None,
        typer.Option(
            metavar="WAV",
            help="A dry recording, to be heard in the measured room, and in the model before and "
            "after training.",
        ),
    ] = None,
    show_traceback: ShowTraceback = False,
) -> None:
    """Fits a room: see `HELP`."""
    console, errors = Console(), Console(stderr=True)
    _keep_memory()
    try:
        with _shown(errors) as bar:
            task = bar.add_task("reading", total=steps, loss="", left="")

            def progressed(found: training.Progress) -> None:
                bar.update(
                    task,
                    completed=found.step,
                    description="training",
                    loss=f"loss {found.loss:.3f}, T60 off by {100 * found.terms['slope']:.2f} %, "
                    f"decay by {found.terms['curve']:.2f} dB",
                    left=f"{found.left:.0f} s left",
                )

            result = fit(
                response,
                out,
                sample_rate=sample_rate,
                name=name,
                lines=lines,
                early=early,
                slopes=slopes,
                steps=steps,
                seed=seed,
                listen_to=listen,
                progress=progressed,
                stage=lambda text: bar.update(task, description=text, left=""),
            )
    except KNOWN as error:
        fail(errors, error, show_traceback)
    except KeyboardInterrupt:
        begun = out / CHECKPOINTS
        where = f": the same command goes on from {begun}" if begun.exists() else ""
        errors.print(f"interrupted{where}.", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    _show(console, result)


@contextlib.contextmanager
def _shown(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield bar


def _show(console: Console, result: Fit) -> None:
    before, after = result.compared_before, result.compared
    table = Table(title=f"{result.target.name}: reverberation time in octave bands, in seconds")
    table.add_column("Hz", justify="right")
    for label in ("measured", "before", "trained", "error"):
        table.add_column(label, justify="right")
    for band, centre in enumerate(after.centres):
        row = [_mean(c[band]) for c in (after.target_t60, before.t60, after.t60, after.t60_error)]
        shown = [*(f"{value:.3f}" for value in row[:3]), f"{row[3]:.1f} %"]
        table.add_row(f"{nominal(centre):g}", *("–" if "nan" in text else text for text in shown))
    console.print(table)
    console.print(
        f"T60 off by {after.mean_t60_error:.2f} % on average ({before.mean_t60_error:.2f} % before "
        f"training), energy decay by {np.max(after.edc_error):.2f} dB "
        f"({np.max(before.edc_error):.2f} dB), at most {np.max(after.largest_edc_error):.2f} dB "
        f"({np.max(before.largest_edc_error):.2f} dB), over the first {after.edc_range:.0f} dB; "
        f"trained in {result.seconds:.1f} s.",
        highlight=False,
        soft_wrap=True,
    )
    if result.exported is not None:
        worst = max(
            (c.error_db for c in result.exported.report.checks if c.reading == "FAUST single"),
            default=float("nan"),
        )
        console.print(
            f"FAUST equals JAX: at most {worst:.1f} dB re peak apart in single precision.",
            highlight=False,
            soft_wrap=True,
        )
    list_files(console, result.files)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.mean(known)) if len(known) else float("nan")


def _keep_memory() -> None:
    """Tells the C library to keep large blocks it has been given back.

    Each training step asks for the same tens of megabytes. glibc returns such blocks to the system
    and gets them again page by page, which takes a third of the step. The threshold above which it
    does so cannot be set higher than 32 MiB, so such blocks are forbidden altogether.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(-4, 0)  # M_MMAP_MAX
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    return run(app, PROGRAM, arguments)
