"""What do effects and networks cost as FAUST, and how exact are they in single precision?

Each is traced, emitted, compiled and rendered at 48 kHz in a process of its own, which is ended
after `--limit` seconds, and compared with JAX in float64 over seconds of noise, of a sweep, and of
silence after noise. What comes in has 24 bits, so that the input is the same in all precisions.

    python benchmarks/effects.py --only Chorus Limiter --json out/effects.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from rich.console import Console
from rich.table import Table

from adac_jax import effects, interop, signals
from adac_jax.effects.shapes import CURVES
from adac_jax.host import Library, Processor
from adac_jax.verification import Reading, jax_reading, traced_at
from emitters import faust

RATE = 48000
LINEAR, RECURSIVE = -100.0, -80.0
"""Targets in dB re peak: without recursion, or with a linear one; with a long nonlinear one."""
DILATIONS = tuple(2**k for k in range(10)) * 2


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        make: The model.
        target: Error in dB re peak that single precision should stay below.
    """

    make: Callable[[], Any]
    target: float


def stereo(kind: type, target: float, **options: Any) -> Case:
    """An effect of two channels, with what it is given besides its defaults."""
    return Case(lambda: kind(2, **options, sample_rate=RATE), target)


def shaper(curve: str, antialias: bool) -> Case:
    return Case(lambda: effects.Waveshaper(2, curve, antialias=antialias), LINEAR)


def lstm(hidden: int) -> Case:
    return Case(lambda: effects.LSTMAmplifier(hidden, rngs=nnx.Rngs(0)), RECURSIVE)


def tcn(channels: int) -> Case:
    return Case(lambda: effects.TCNAmplifier(channels, DILATIONS, rngs=nnx.Rngs(0)), LINEAR)


def nam(channels: tuple[int, int], dilations: tuple[Sequence[int], Sequence[int]]) -> Case:
    """A WaveNet of Neural Amp Modeler's trainer, of random weights."""

    def make() -> Any:
        draws, entries, weights = np.random.default_rng(0), [], []
        inputs, heads = (1, channels[0]), (channels[1], 1)
        for k, (n, dilation) in enumerate(zip(channels, dilations, strict=True)):
            count = n * inputs[k] + n * heads[k] + k * heads[k]
            count += len(dilation) * (3 * n * n + n + n + n * n + n)
            weights.append(draws.uniform(-1, 1, count) / np.sqrt(3 * n))
            entries.append(
                {
                    "input_size": inputs[k], "condition_size": 1, "head_size": heads[k],
                    "channels": n, "kernel_size": 3, "dilations": list(dilation),
                    "activation": "Tanh", "gated": False, "head_bias": bool(k),
                }
            )  # fmt: skip
        config = {"layers": entries, "head": None, "head_scale": 0.02}
        flat = [*np.concatenate(weights).tolist(), 0.02]
        return interop.nam(
            {"version": "0.5.4", "architecture": "WaveNet", "config": config, "weights": flat}
        )

    return Case(make, LINEAR)


SHORT = DILATIONS[:7], (*DILATIONS[7:10], *DILATIONS[:10])
CASES: dict[str, Case] = {
    "Compressor": stereo(effects.Compressor, RECURSIVE),
    "Compressor, looking back": stereo(effects.Compressor, RECURSIVE, detector="feedback"),
    "Expander": stereo(effects.Expander, RECURSIVE),
    "Gate": stereo(effects.Gate, RECURSIVE),
    "Limiter": stereo(effects.Limiter, RECURSIVE),
    "Chorus": stereo(effects.Chorus, LINEAR),
    "Flanger": stereo(effects.Flanger, LINEAR),
    "Vibrato": stereo(effects.Vibrato, LINEAR),
    "Tremolo": stereo(effects.Tremolo, LINEAR),
    "Phaser": stereo(effects.Phaser, LINEAR),
    "PingPong": stereo(effects.PingPong, LINEAR),
    "Waveshaper, plain": shaper("tanh", False),
    **{f"Waveshaper, {c}": shaper(c, True) for c in CURVES},
    "LearnedWaveshaper": Case(lambda: effects.LearnedWaveshaper(2, rngs=nnx.Rngs(0)), LINEAR),
    "LearnedWaveshaper, averaged": Case(
        lambda: effects.LearnedWaveshaper(2, antialias=True, rngs=nnx.Rngs(0)), LINEAR
    ),
    "ToneStack": stereo(effects.ToneStack, LINEAR),
    "WienerHammerstein": stereo(effects.WienerHammerstein, LINEAR),
    "GrayBoxAmplifier": Case(lambda: effects.GrayBoxAmplifier(sample_rate=RATE), LINEAR),
    **{f"LSTM {n}": lstm(n) for n in (16, 24, 32, 40)},
    **{f"TCN {n}": tcn(n) for n in (8, 16)},
    "NAM nano": nam((4, 2), SHORT),
    "NAM feather": nam((8, 4), SHORT),
    "NAM standard": nam((16, 8), (DILATIONS[:10], DILATIONS[:10])),
    "S4D": Case(lambda: effects.S4D(8, 8, rngs=nnx.Rngs(0)), LINEAR),
    "S4DAmplifier": Case(lambda: effects.S4DAmplifier(rngs=nnx.Rngs(0)), RECURSIVE),
}


def test_signals(channels: int, length: int) -> dict[str, np.ndarray]:
    """Noise, a sweep, and silence after noise, (length, channels), of 24 bits."""
    found = {
        "noise": np.hstack([signals.noise(length, c) for c in range(channels)]),
        "sweep": np.hstack([signals.sweep(length, RATE)] * channels),
        "silence": np.hstack([signals.burst(length, c) for c in range(channels)]),
    }
    return {name: x.astype(np.float32).astype(np.float64) for name, x in found.items()}


def errors(
    read: Reading, xs: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """By signal: the largest error and that of the first and the last second, re the peak."""
    found: dict[str, dict[str, float]] = {}
    for name, x in xs.items():
        error = np.max(np.abs(read(x) - expected[name]), axis=1) / np.max(np.abs(expected[name]))
        second = min(RATE, len(x) // 2)
        parts = {"all": error, "first": error[:second], "last": error[-second:]}
        found[name] = {part: float(np.max(values)) for part, values in parts.items()}
    return found


def measure(name: str, seconds: float, repeats: int) -> dict[str, Any]:
    """All that is to be known of one case."""
    model, length = CASES[name].make(), round(seconds * RATE)
    begun = time.perf_counter()
    traced, program = traced_at(model, sample_rate=RATE)
    spent = time.perf_counter() - begun
    source = faust.emit(program)
    single = Processor(source, sample_rate=RATE)
    row: dict[str, Any] = {
        "name": name,
        "weights": sum(np.size(v) for v in jax.tree.leaves(traced.parameters)) if traced else 0,
        "trace": spent,
        "characters": len(source),
        "compile": single.compile_seconds,
        "target": CASES[name].target,
    }
    xs = test_signals(program.graph.input_channels, length)
    speeds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        single.render(xs["noise"])
        speeds.append(seconds / (time.perf_counter() - begun))
    row |= {"speed": statistics.median(speeds), "speed_best": max(speeds)}
    with jax.enable_x64(True):
        exact = jax_reading(program, traced, np.float64)
        expected = {signal: exact(x) for signal, x in xs.items()}
    with Library(source, precision="double", sample_rate=RATE) as double:
        row["double"] = errors(double.render, xs, expected)
    row["single"] = errors(single.render, xs, expected)
    with jax.enable_x64(False):
        row["float32"] = errors(jax_reading(program, traced, np.float32), xs, expected)
    return row


def in_a_child(name: str, seconds: float, repeats: int, limit: float) -> dict[str, Any]:
    """The same in a process of its own, which may crash or be ended."""
    options = ["--child", name, "--seconds", str(seconds), "--repeats", str(repeats)]
    command = [sys.executable, str(Path(__file__)), *options]
    try:
        child = subprocess.run(command, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"name": name, "failed": f"not within {limit:g} s"}
    if child.returncode:
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        return {"name": name, "failed": lines[-1] if lines else "crashed"}
    return json.loads(child.stdout.splitlines()[-1])


def worst(found: dict[str, dict[str, float]]) -> float:
    """The largest error over all signals, in dB re peak."""
    return decibels(max(parts["all"] for parts in found.values()))


def growth(parts: dict[str, float]) -> str:
    """By how many dB the last second is worse than the first."""
    if not (parts["first"] and parts["last"]):
        return "exact"
    return f"{decibels(parts['last']) - decibels(parts['first']):+.0f}"


def decibels(value: float) -> float:
    return float(20 * np.log10(value)) if value else -np.inf


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A row a case."""
    note = "errors in dB re the peak of JAX in float64; speed in × real time, median and best"
    view = Table(title=note, title_justify="left", show_edge=False, pad_edge=False)
    heads = ("weights", "trace\ns", "text\nkB", "compile\ns", "speed", "target", "FAUST\nsingle")
    view.add_column("model")
    for head in (*heads, "FAUST\ndouble", "JAX\nfloat32", "growth,\nnoise", "growth,\nsweep"):
        view.add_column(head, justify="right")
    for row in rows:
        if "failed" in row:
            view.add_row(row["name"], row["failed"])
            continue
        missed = "" if worst(row["single"]) <= row["target"] else " !"
        view.add_row(
            row["name"],
            f"{row['weights']:,}",
            f"{row['trace']:.1f}",
            f"{row['characters'] / 1000:,.0f}",
            f"{row['compile']:.2f}",
            f"{row['speed']:.3g} ({row['speed_best']:.3g})",
            f"{row['target']:.0f}",
            f"{worst(row['single']):.0f}{missed}",
            f"{worst(row['double']):.0f}",
            f"{worst(row['float32']):.0f}",
            *(growth(row["single"][signal]) for signal in ("noise", "sweep")),
        )
    return view


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the options, measures, prints the table, writes JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=list(CASES), default=list(CASES), help="which", metavar="NAME")
    add("--json", type=Path, help="file for all figures")
    add("--seconds", type=float, default=5.0, help="audio of each kind")
    add("--repeats", type=int, default=5, help="renders that are timed")
    add("--limit", type=float, default=300.0, help="seconds that a model has")
    add("--child", choices=list(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.repeats < 1 or options.seconds <= 0:
        parser.error("--repeats and --seconds must be positive.")
    if options.child:
        print(json.dumps(measure(options.child, options.seconds, options.repeats)))
        return
    console = Console() if sys.stdout.isatty() else Console(width=140)
    rows: list[dict[str, Any]] = []
    for name in options.only:
        rows.append(in_a_child(name, options.seconds, options.repeats, options.limit))
        console.print(f"{name}: {rows[-1].get('failed', 'done')}", style="dim")
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            report = {"seconds": options.seconds, "cores": os.cpu_count(), "rows": rows}
            options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    console.print(table(rows))


if __name__ == "__main__":
    main()
