"""The command line: `python -m adac_jax.export`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from adac_jax import interop
from adac_jax.checkpoints import load_weights
from adac_jax.command_line import ShowTraceback, fail, list_files, run
from adac_jax.errors import AdacError
from adac_jax.exporting import KNOWN, Exported, Precision, export, file_stem
from adac_jax.loading import load, remade
from adac_jax.plugin.arguments import from_arguments
from adac_jax.presets import hall
from adac_jax.rates.hosts import hosted
from adac_jax.table import table
from adac_jax.tracing import Latency
from ir import Program

HELP = """Exports a JAX model as FAUST, and proves that the two are equal.

The model is traced, emitted, compiled in this process and compared with JAX on impulses, noise, \
a sweep and silence. Only a model that passes is written."""
EPILOG = """
[bold]Examples[/bold]

  Export the built-in reverb (a feedback delay network of 16 lines, stereo) and hear it:

    python -m adac_jax.export --out out/demo --listen drums.wav

  Export the Flax module that is made by `room()` in reverb.py, with trained weights:

    python -m adac_jax.export reverb.py:room --weights checkpoints/best --out out/room

  Export a function of mono audio from an installed package:

    python -m adac_jax.export mypackage.effects:widen --inputs 1 --out out/widen

  Export a reverb that was made for 48 kHz for hosts at two other rates:

    python -m adac_jax.export --host-rate 44100 --host-rate 96000 --out out/hall

  Export it as plugins for workstations too, with forms for 44.1, 48, 88.2 and 96 kHz:

    python -m adac_jax.export --name hall --plugin lv2,vst3,clap --kind reverb --out out/hall

  Verify and emit again what somebody sent as IR:

    python -m adac_jax.export hall.ir.json --out out/hall

  Export an amplifier that was captured with Neural Amp Modeler:

    python -m adac_jax.export amplifier.nam --out out/amplifier

[bold]Exit codes[/bold]  0: exported. 1: it could not be, FAUST and JAX differ, or it \
could not be proved stable; nothing is written. 2: the command line is wrong.
"""
app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(help=HELP, epilog=EPILOG)
def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="What to export: `package.module:attribute`, `file.py:attribute`, an IR file "
            "`x.json`, or a trained network `x.json`, `x.aidax`, `x.nam`. The attribute is a Flax "
            "NNX module, a function of audio (time, channels), or a class or function without "
            "arguments that makes one. Without MODEL: the built-in reverb.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for NAME.dsp, NAME.ir.json, NAME.cert.json, report.json, report.png."
        ),
    ] = Path("out"),
    weights: Annotated[
        Path | None,
        typer.Option(help="An orbax checkpoint (folder) of the module's state: trained weights."),
    ] = None,
    sample_rate: Annotated[
        float | None,
        typer.Option(min=1, help="Hertz; the model's own, or 48000, if not given."),
    ] = None,
    host_rate: Annotated[
        list[float] | None,
        typer.Option(
            min=8000,
            max=768_000,
            metavar="HERTZ",
            help="Rate of the host that will run the FAUST: the model, made for another one, is "
            "derived for it. May be given more than once: then each rate gets a folder OUT/HERTZ.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model and its files; its class, or file, if not given."),
    ] = None,
    inputs: Annotated[
        int | None,
        typer.Option(min=0, help="Input channels, where the model has no attribute `inputs`."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, max=600, help="Length of each test signal.")
    ] = 2.0,
    precision: Annotated[
        Precision,
        typer.Option(
            help="What must pass, and what --listen runs in. single: FAUST in single precision "
            "within -120 dB of JAX (or of what single precision can do), and in double within "
            "1e-12; double: the latter only.",
        ),
    ] = "single",
    latency: Annotated[
        str,
        typer.Option(
            metavar="SAMPLES",
            help="Samples that may be added to a model that looks ahead, or auto: as many as it "
            "takes. The FAUST declares them, so that a host can make up for them.",
        ),
    ] = "0",
    listen: Annotated[
        Path | None,
        typer.Option(
            metavar="WAV",
            help="Sound file to play through the compiled FAUST into WAV's name + .wet.wav, tail "
            "included. A mono file goes to all inputs, a stereo file as its mean to a single one.",
        ),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=POSITION",
            help="Where a knob stands for --listen; may be given more than once.",
        ),
    ] = None,
    plugin: Annotated[
        str | None,
        typer.Option(
            metavar="FORMATS",
            help="Also builds plugins, in OUT/plugin: lv2, vst3, clap, c (a shared library), with "
            "commas between them; see docs/plugins.md.",
        ),
    ] = None,
    plugin_rates: Annotated[
        str | None,
        typer.Option(
            metavar="HERTZ,…",
            help="Rates that the plugins run at; 44100,48000,88200,96000 and the model's own, as "
            "far as it can be derived, if not given.",
        ),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:KNOB=POSITION,…",
            help="A preset of the plugins; may be given more than once.",
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="What hosts call the plugins; the model's name if not given.")
    ] = None,
    maker: Annotated[
        str | None,
        typer.Option(help="Who made the plugins; identifiers come from this and the title."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="What hosts list the plugins under: effect, reverb, delay, dynamics, modulation, "
            "distortion, equaliser, generator."
        ),
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="Of the plugins, for hosts to show: one line.")
    ] = None,
    keep_failed: Annotated[
        bool, typer.Option(help="Where the comparison fails, still write the report.")
    ] = False,
    uncertified: Annotated[
        bool, typer.Option(help="Export a model that could not be proved stable all the same.")
    ] = False,
    show_traceback: ShowTraceback = False,
) -> None:
    """Exports a model: see `HELP`."""
    console, errors = Console(), Console(stderr=True)
    try:
        with errors.status("loading") as status:
            texts = {"title": title, "maker": maker, "kind": kind, "description": description}
            plugins = from_arguments(plugin, plugin_rates, preset or [], **texts)
            if plugins is not None and host_rate:
                raise AdacError("--plugin makes one plugin for several rates: --plugin-rates.")
            found = _model(model, weights, sample_rate)
            rates_vary = bool(host_rate) or plugins is not None
            remake = remade(model) if model and rates_vary and not weights else None
            rates = {"sample_rate": sample_rate, "remake": remake}
            exported = [
                (
                    one,
                    export(
                        one.model,
                        one.folder,
                        name=_name(model, found) if name is None else name,
                        inputs=inputs,
                        sample_rate=None if host_rate else sample_rate,
                        seconds=seconds,
                        precision=precision,
                        latency=_latency(latency),
                        listen_to=listen,
                        controls=_positions(control or [], listen),
                        keep_failed=keep_failed,
                        uncertified=uncertified,
                        trusted=not isinstance(found, Program),
                        plugin=plugins,
                        remake=remake,
                        stage=status.update,
                        warn=lambda text: _warn(errors, text),
                    ),
                )
                for one in hosted(found, host_rate or [], out, **rates)
            ]
    except KNOWN as error:
        fail(errors, error, show_traceback)
    for one, result in exported:
        _show(console, result)
        if one.derived is not None:
            console.print(one.derived.summary(), highlight=False, soft_wrap=True)


def _model(text: str | None, weights: Path | None, sample_rate: float | None) -> Any:
    found = hall(sample_rate or 48000.0) if text is None else load(text, sample_rate=sample_rate)
    if weights is not None:
        load_weights(found, weights)
    return found


def _name(text: str | None, found: Any) -> str | None:
    """What a network that came as a file is called after."""
    if text is None or isinstance(found, Program) or not text.endswith(interop.SUFFIXES):
        return None
    return file_stem(Path(text).stem)


def _latency(text: str) -> Latency:
    if text == "auto":
        return "auto"
    if not re.fullmatch(r"\d{1,9}", text):
        raise AdacError(f"`--latency` (={text}) must be auto or a number of samples.")
    return int(text)


def _positions(texts: list[str], listen: Path | None) -> dict[str, float]:
    """Where knobs stand, from `name=number` each."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            position = float(number)
        except ValueError:
            position = math.nan
        if not equals or not name or not math.isfinite(position):
            raise AdacError(f"`--control` (={text}) must be NAME=POSITION, such as decay=1.5.")
        if listen is None:
            raise AdacError(f"`--control` (={text}) turns a knob for --listen, which is not given.")
        found[name] = position
    return found


def _warn(console: Console, text: str) -> None:
    console.print("[yellow]warning:[/yellow]", end=" ")
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _show(console: Console, exported: Exported) -> None:
    console.print(table(exported.report))
    if exported.certificate is not None:
        console.print(
            f"certificate: {exported.certificate.summary()}", highlight=False, soft_wrap=True
        )
    if exported.report.latency:
        console.print(f"latency: {exported.report.latency} samples", highlight=False)
    if exported.plugins is not None:
        console.print(f"plugin: {exported.plugins.summary()}", highlight=False, soft_wrap=True)
    console.print()
    built = exported.plugins.paths.values() if exported.plugins is not None else ()
    list_files(console, (*exported.files, *built))
    if exported.listening is not None:
        console.print(f"listening: {exported.listening}", highlight=False, soft_wrap=True)
        for note in exported.listening.notes:
            _warn(console, note)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    return run(app, PROGRAM, arguments)


PROGRAM = "python -m adac_jax.export"
