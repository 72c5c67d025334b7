"""Plugins of delay networks: how long they take to build, their size, speed and difference.

For each model: seconds for FAUST → C and for the C compiler, all formats; bytes of each; times real
time of the C core, and of FAUST's JIT beside it; by how much impulse responses differ from the
JIT's, in the core and in hosts that are there.

    python benchmarks/plugins.py            # 16 lines, 64 lines, the hall with knobs
    python benchmarks/plugins.py 16 32      # so many lines
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from adac_jax import nn, presets
from adac_jax.certifying import certify_rounded
from adac_jax.host import Library
from adac_jax.macros import with_controls
from adac_jax.plugin import Plugins, Version, find_tools, metadata_of
from adac_jax.plugin.building import build
from adac_jax.plugin.checking import loaded
from adac_jax.plugin.forms import forms_of
from adac_jax.report import Report
from adac_jax.verification import traced_at
from emitters import faust

RATE, BLOCK, SECONDS = 48000, 256, 2.0


def network(lines: int) -> Any:
    """A dense network with one-pole absorption."""
    m = nn.mutually_prime_delays(lines, 960, 3840)
    absorption = nn.OnePole.from_t60(2.0, 0.8, m, sample_rate=float(RATE))
    model = nn.FDN(m, matrix="orthogonal", absorption=absorption, rngs=nnx.Rngs(0))
    model.sample_rate = float(RATE)  # type: ignore[attr-defined]
    return model


def hall_with_knobs() -> Any:
    return with_controls(
        presets.hall(float(RATE)), ["mix", "level", "pre-delay", "brightness", "decay"]
    )


def row(name: str, model: Any) -> str:
    """One line of the table."""
    formats = ("c", "lv2", "vst3", "clap")
    _, program = traced_at(model)
    source = faust.emit(program)
    report = Report(name, float(RATE), 0, 0, 0, 0.0, (), {}, {})
    version = Version(program, source, certify_rounded(program), report)
    metadata = metadata_of(program, Plugins(formats, name=name), "single")
    begun = time.perf_counter()
    forms = forms_of(metadata, [version])
    translated = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        paths = build(metadata, forms, formats, Path(folder), find_tools(formats))
        compiled = time.perf_counter()
        sizes = [size_of(paths[f]) / 1024 for f in formats]
        x = np.zeros((round(SECONDS * RATE), metadata.inputs), np.float32)
        x[0] = 1.0
        with (
            loaded(paths["c"], metadata.prefix) as core,
            Library(source, precision="single", sample_rate=RATE) as jit,
        ):
            core.init(RATE)
            y = core.process(x, (BLOCK,))
            error = np.max(np.abs(y - jit.render(x)))
            speed = [fastest(lambda: core.process(x, (BLOCK,)))]
            speed.append(fastest(lambda: jit.process(x, BLOCK)))
    times = f"{translated - begun:5.1f} {compiled - translated:7.1f}"
    kilobytes = " ".join(f"{s:5.0f}" for s in sizes)
    return f"{name:16} {times}   {kilobytes}   {speed[0]:5.0f} {speed[1]:5.0f}   {error:.1e}"


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*.so")
    return sum(file.stat().st_size for file in files)


def fastest(run: Any) -> float:
    """Times real time of the processor, the best of three."""
    spent = []
    for _ in range(3):
        begun = time.thread_time()
        run()
        spent.append(time.thread_time() - begun)
    return SECONDS / min(spent)


def main() -> None:
    lines = [int(word) for word in sys.argv[1:]]
    models = {f"{n} lines": network(n) for n in lines or (16, 64)}
    if not lines:
        models["hall with knobs"] = hall_with_knobs()
    print("model             to C compile      c   lv2  vst3  clap    core   JIT   difference")
    print("                     s       s     kB    kB    kB    kB    × real time")
    for name, model in models.items():
        print(row(name, model))


if __name__ == "__main__":
    main()
