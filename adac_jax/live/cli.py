"""The command line: `python -m adac_jax.live`."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from adac_jax.audio import open_source
from adac_jax.checkpoints import load_weights
from adac_jax.command_line import ShowTraceback, fail, run
from adac_jax.exporting import KNOWN
from adac_jax.live.demo import Training
from adac_jax.live.session import Session
from adac_jax.live.starting import live
from adac_jax.loading import load

HELP = """Plays a model in the browser.

Without MODEL, a small reverberator is trained while it plays: each step is heard. The page is \
served to this machine alone, at an address that nobody can guess."""
EPILOG = """
[bold]Examples[/bold]

  Hear a network of sixteen combs become a hall:

    python -m adac_jax.live

  Hear a model, with its knobs:

    python -m adac_jax.live reverb.py:room --weights checkpoints/best

  Build the live plugin, once, and hear a training in a workstation:

    python -m adac_jax.live --install-plugin ~/plugins --plugin lv2,vst3,clap
    python -m adac_jax.live --to-plugin

  Hear it without a browser, from the machine's own loudspeakers:

    python -m adac_jax.live --device default --sound drums.wav

In a training of your own, docs/live.md says how: two lines.

[bold]Exit codes[/bold]  0: ended by Ctrl-C, or by --seconds. 1: there was an error. 2: the \
command line is wrong.
"""
PROGRAM = "python -m adac_jax.live"
app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(help=HELP, epilog=EPILOG)
def command(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="What to play, as for adac_jax.export."),
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
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Of the training, without MODEL.")] = 400,
    pause: Annotated[
        float,
        typer.Option(min=0, help="Seconds between two steps, which leave the browser its time."),
    ] = 0.05,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Ends after so long; by Ctrl-C if not given.")
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the usual browser.")
    ] = False,
    to_plugin: Annotated[
        bool, typer.Option("--to-plugin", help="The live plugin follows in workstations.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="Play through an audio device too: `default`, or its name or number.",
        ),
    ] = None,
    sound: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --device: what is played, over and over."),
    ] = None,
    install_plugin: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Build the live plugin into DIR, and end."),
    ] = None,
    plugin: Annotated[
        str, typer.Option(metavar="FORMATS", help="With --install-plugin: of lv2, vst3, clap, c.")
    ] = "lv2,vst3,clap",
    show_traceback: ShowTraceback = False,
) -> None:
    """Plays a model: see `HELP`."""
    console, errors = Console(), Console(stderr=True)
    if install_plugin is not None:
        try:
            _install(install_plugin, plugin, console)
        except KNOWN as error:
            fail(errors, error, show_traceback)
        return
    end = None if seconds is None else time.monotonic() + seconds
    try:
        training = Training(sample_rate or 48000.0) if model is None else None
        if training is None:
            played: Any = load(str(model), sample_rate=sample_rate)
            if weights is not None:
                played = load_weights(played, weights)
        else:
            played, name = training.model, name or "hall in training"
        settings = {"sample_rate": sample_rate, "inputs": inputs, "name": name}
        with live(played, **settings, port=port, plugin=to_plugin) as session:
            console.print(session.url, markup=False, highlight=False, soft_wrap=True)
            if device is not None:
                heard = _sound(sound, session.form(0).sample_rate)
                session.play(heard, _device(device))
            console.print("Ctrl-C ends it.")
            if open_page:
                webbrowser.open(session.url)
            try:
                if training is not None:
                    _train(training, session, steps, pause, end, console)
                while end is None or time.monotonic() < end:
                    time.sleep(0.2)
            except KeyboardInterrupt:
                console.print()
    except KNOWN as error:
        fail(errors, error, show_traceback)


def _install(out: Path, formats: str, console: Console) -> None:
    from adac_jax.live.installing import install

    names = dict.fromkeys(name.strip().lower() for name in formats.split(","))
    for name, path in install(out, tuple(names), console.print).items():
        console.print(f"{name:5} {path}", markup=False, highlight=False, soft_wrap=True)


def _device(name: str) -> str | int | None:
    """As the audio library calls it."""
    return None if name == "default" else int(name) if name.isdecimal() else name


def _sound(path: Path | None, rate: float) -> np.ndarray:
    """What is played through a device: a file, or a click each second, of a tone that dies away."""
    if path is not None:
        source = open_source(path)
        return np.concatenate(list(source.blocks(round(rate))))
    t = np.arange(round(rate)) / rate
    return (0.5 * np.exp(-t / 0.03) * np.sin(2 * np.pi * 440 * t))[:, None]


def _train(
    training: Training, session: Session, steps: int, pause: float, end: float | None,
    console: Console,
) -> None:  # fmt: skip
    for number, loss in enumerate(training.steps(steps), 1):
        session.update(training.model, loss=loss)
        if number % 50 == 0 or number == steps:
            console.print(f"step {number} of {steps}, loss {float(loss):.3f}")
        if end is not None and time.monotonic() > end:
            return
        time.sleep(pause)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: What follows the program's name; those of this process if None.

    Returns:
        The exit code.
    """
    return run(app, PROGRAM, arguments)


__all__ = ["main"]
