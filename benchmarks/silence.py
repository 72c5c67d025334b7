"""What do guards against bad samples cost, and what do denormal numbers?

Each program is compiled in several forms, which then render the same blocks in turn, in an order
that is drawn anew each time. A form's cost is the median of its ratios to the plain one, in time of
the processor, so that what else runs on it counts as little as can be.

    python benchmarks/silence.py --only hall "LSTM 16" --json out/silence.json
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from flax import nnx
from rich.console import Console
from rich.table import Table

import adac_jax
from adac_jax import effects, presets
from adac_jax.host import Library
from adac_jax.host.capi import libraries_folder
from adac_jax.nn import FDN, GEQ
from adac_jax.nn.delays import mutually_prime_delays
from adac_jax.verification import traced_at
from emitters import faust

RATE, BLOCK = 48000, 512
BANDS = np.linspace(2.0, 0.8, 11)
"""Seconds of decay of a graphic equaliser's bands."""
FLUSH = "flush(x) = select2(abs(x) > 1e-30, 0.0, x);\n"
Precision = Literal["single", "double"]


class WithFlag(Library):
    """A program that libfaust compiles with another `-ftz`: 1 compares, 2 looks at the exponent."""

    flag = "0"

    def _compiled(self, text: str) -> int:
        options = [f"-{self.precision}", "-ftz", self.flag, "-I", str(libraries_folder())]
        array = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        message = ctypes.create_string_buffer(4096)
        factory = self._api.createCDSPFactoryFromString(
            b"model", text.encode(), len(options), array, b"", message, -1
        )
        if not factory:
            raise RuntimeError(message.value.decode())
        return factory


class WithComparison(WithFlag):
    """`-ftz 1`."""

    flag = "1"


class WithMask(WithFlag):
    """`-ftz 2`."""

    flag = "2"


def graphic(lines: int) -> FDN:
    """A network with an equaliser of ten bands a line."""
    m = mutually_prime_delays(lines, 960, 3840)
    bands = GEQ.from_t60(BANDS, m, sample_rate=RATE)
    return FDN(m, inputs=2, outputs=2, absorption=bands, rngs=nnx.Rngs(0))


def nested(x: Any) -> Any:
    """Three allpasses in a row, then three in each other."""

    def allpass(x: Any, m: int, g: float, within: Callable[[Any], Any] = lambda v: v) -> Any:
        def loop(v: Any) -> Any:
            w = adac_jax.delay(within(v), m)
            return g * w, (v, w)

        _, (v, w) = adac_jax.feedback(loop, x, has_aux=True)
        return w - g * v

    for m in (347, 113, 37):
        x = allpass(x, m, 0.7)
    return allpass(x, 1013, 0.5, lambda u: allpass(u, 331, 0.5, lambda v: allpass(v, 101, 0.5)))


CASES: dict[str, Callable[[], tuple[Any, int]]] = {
    "hall": lambda: (presets.hall(), 2),
    "graphic FDN 8": lambda: (graphic(8), 2),
    "graphic FDN 32": lambda: (graphic(32), 2),
    "Hadamard FDN 16": lambda: (FDN.reverb(16), 2),
    "dense FDN 64": lambda: (FDN.reverb(64, matrix="orthogonal"), 2),
    "nested allpasses": lambda: (nested, 1),
    "compressor": lambda: (effects.Compressor(2, sample_rate=RATE), 2),
    "tone stack": lambda: (effects.ToneStack(2, sample_rate=RATE), 2),
    "phaser": lambda: (effects.Phaser(2, sample_rate=RATE), 2),
    "LSTM 16": lambda: (effects.LSTMAmplifier(16, rngs=nnx.Rngs(0)), 1),
}


def forms(program: Any, precision: Precision) -> dict[str, Library]:
    """The program in each form, by name."""
    plain, guarded = faust.emit(program, guard=False), faust.emit(program)

    def made(text: str, kind: type[Library] = Library, flush: bool = False) -> Library:
        return kind(text, precision=precision, sample_rate=RATE, flush_denormals=flush)

    found = {
        "plain": made(plain),
        "plain again": made(f"{plain}// the same\n"),
        "guard": made(guarded),
        "processor's flag": made(plain, flush=True),
        "-ftz 1": made(plain, WithComparison),
        "-ftz 2": made(plain, WithMask),
    }
    if " ~ par" in plain:
        head, _, process = plain.rpartition("process = ")
        process = process.replace(", _) : (par(i,", ", flush) : (par(i,", 1)
        found["flush in loops"] = made(f"{head}{FLUSH}process = {process}")
    return found


def costs(every: dict[str, Library], x: np.ndarray, repeats: int) -> dict[str, Any]:
    """Milliseconds a second of audio in the plain form, and in % what each other form adds."""
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in every}
    outputs: dict[str, np.ndarray] = {}
    for _ in range(repeats):
        for name in rng.permutation(list(every)):
            every[name].reset()
            begun = time.thread_time()
            outputs[name] = every[name].process(x, BLOCK)
            times[name].append(time.thread_time() - begun)
    plain = np.array(times["plain"])
    added = {name: 100 * float(np.median(np.array(t) / plain) - 1) for name, t in times.items()}
    same = {name: y.tobytes() == outputs["plain"].tobytes() for name, y in outputs.items()}
    return {"milliseconds": 1000 * float(np.median(plain)), "added": added, "same": same}


def in_silence(every: dict[str, Library], seconds: int) -> dict[str, Any]:
    """How much slower the slowest second after a sound is than one of noise, and the denormals."""
    found = {}
    rng = np.random.default_rng(1)
    for name in ("plain", "processor's flag"):
        library = every[name]
        x = rng.uniform(-0.5, 0.5, (RATE, library.inputs))
        library.reset()
        busy = statistics.median(_timed(library, x)[0] for _ in range(5))
        worst, denormals = 0.0, 0
        for _ in range(seconds):
            spent, y = _timed(library, np.zeros_like(x))
            worst = max(worst, spent)
            small = np.finfo(y.dtype).smallest_normal
            denormals += int(np.sum((y != 0) & (np.abs(y) < small)))
        found[name] = {"slower": worst / busy, "denormals": denormals}
    return found


def _timed(library: Library, x: np.ndarray) -> tuple[float, np.ndarray]:
    begun = time.thread_time()
    y = library.process(x, BLOCK)
    return time.thread_time() - begun, y


def measure(name: str, precision: Precision, repeats: int, seconds: int) -> dict[str, Any]:
    model, inputs = CASES[name]()
    _, program = traced_at(model, inputs=inputs, sample_rate=RATE)
    every = forms(program, precision)
    x = np.random.default_rng(2).uniform(-0.5, 0.5, (RATE, inputs))
    row = {"name": name, "precision": precision, **costs(every, x, repeats)}
    row["silence"] = in_silence(every, seconds)
    for library in every.values():
        library.close()
    return row


COLUMNS = ("plain again", "guard", "processor's flag", "flush in loops", "-ftz 1", "-ftz 2")


def table(rows: Sequence[dict[str, Any]]) -> Table:
    note = (
        "% of time that each form adds to the plain one, * where some bit of the output differs; "
        "slowest second of silence, in seconds of noise, without and with the processor's flag"
    )
    view = Table(title=note, title_justify="left", show_edge=False, pad_edge=False)
    view.add_column("program")
    for head in ("precision", "ms/s", *COLUMNS, "silence", "flagged"):
        view.add_column(head, justify="right")
    for row in rows:
        added, same = row["added"], row["same"]
        cells = [f"{added[c]:+.1f}{'' if same[c] else '*'}" if c in added else "" for c in COLUMNS]
        slower = [f"{row['silence'][k]['slower']:.2f}" for k in ("plain", "processor's flag")]
        view.add_row(row["name"], row["precision"], f"{row['milliseconds']:.2f}", *cells, *slower)
    return view


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the options, measures, prints the table, writes JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=list(CASES), default=list(CASES), help="which", metavar="NAME")
    add("--json", type=Path, help="file for all figures")
    add("--repeats", type=int, default=25, help="renders of a second of each form")
    add("--silence", type=int, default=20, help="seconds of silence")
    options = parser.parse_args(arguments)
    if options.repeats < 1 or options.silence < 1:
        parser.error("--repeats and --silence must be at least 1.")
    console = Console() if sys.stdout.isatty() else Console(width=150)
    rows: list[dict[str, Any]] = []
    for name in options.only:
        for precision in ("single", "double"):
            rows.append(measure(name, precision, options.repeats, options.silence))
        console.print(f"{name}: done", style="dim")
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n", "utf-8")
    console.print(table(rows))


if __name__ == "__main__":
    main()
