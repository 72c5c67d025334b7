"""What does training many models at once cost, against one after the other?

Steps of training (forward, loss, backward, Adam) of batches of feedback delay networks of N lines,
each with a target of its own, in float32: on one device, and divided among several. Where there is
no accelerator, devices are parts that JAX makes of the processor, and share its cores.

    python benchmarks/batches.py --lines 16 --members 1 2 4 8 --out out/batches
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from rich.console import Console
from rich.table import Table

from adac_jax import losses, nn
from adac_jax.batches import stack, train_step

RATE = 48000.0
SHORTEST, LONGEST = 960, 3840
"""Delays in samples."""
LOSSES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "error": losses.error_to_signal_ratio,
    "stft": losses.multi_resolution_stft,
}


def stepper(
    options: argparse.Namespace, members: int, devices: int, at_once: int
) -> Callable[[], None]:
    """A function that takes one step of a batch, compiled and warm, and waits for its end."""
    samples = options.samples
    m = nn.mutually_prime_delays(options.lines, SHORTEST, LONGEST)
    gains = nn.Gain.from_t60(2.0, m, sample_rate=RATE).gain[...]
    models = [nn.FDN(m, absorption=gains, rngs=nnx.Rngs(seed)) for seed in range(members)]
    batch = stack(models, jax.devices()[:devices])
    decay = 10 ** (-3 * np.arange(samples)[:, None] / (1.5 * RATE))
    noise = np.random.default_rng(0).standard_normal((members, samples, 1))
    targets = batch.put((0.1 * noise * decay).astype(np.float32))
    impulse = jnp.zeros((samples, 1)).at[0].set(1.0)
    optimiser = optax.adam(1e-3)

    def loss(model: nn.FDN, target: jax.Array) -> jax.Array:
        return LOSSES[options.loss](model(impulse), target)

    step = train_step(loss, optimiser, at_once=at_once)
    state = batch.optimiser_state(optimiser)

    def run() -> None:
        nonlocal batch, state
        batch, state, _ = jax.block_until_ready(step(batch, state, targets))

    run()
    return run


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each batch, number of devices, and one or all of a device's members at once."""
    cases = [
        (members, devices, at_once)
        for members in options.members
        for devices in options.devices
        if devices <= len(jax.devices()) and members % devices == 0
        for at_once in sorted({1, members // devices})
    ]
    steps = {case: stepper(options, *case) for case in cases}
    seconds: dict[tuple[int, int, int], list[float]] = {case: [] for case in cases}
    # In turn, so that a busy minute of the machine does not fall on one case alone.
    for _ in range(options.repeats):
        for case, run in steps.items():
            start = time.perf_counter()
            run()
            seconds[case].append((time.perf_counter() - start) / case[0])
    return [
        {
            "members": members,
            "devices": devices,
            "at_once": at_once,
            "seconds": times,
            "median": statistics.median(times),
            "minimum": min(times),
        }
        for (members, devices, at_once), times in seconds.items()
    ]


def table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Milliseconds a model and step, and how many times faster that is than the first row."""
    view = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    counts = "members", "devices", "at_once"
    heads = "members", "devices", "at once", "ms a model and step", "least", "× as fast", "least"
    for head in heads:
        view.add_column(head, justify="right")
    first = rows[0]
    for row in rows:
        times = [f"{1e3 * row[name]:.2f}" for name in ("median", "minimum")]
        gains = [f"{first[name] / row[name]:.2f}" for name in ("median", "minimum")]
        view.add_row(*(str(row[name]) for name in counts), *times, *gains)
    return view


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the options, measures, prints the table, and writes `batches.json`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--lines", type=int, default=16, help="N")
    add("--samples", type=int, default=48000, help="length of the impulse response")
    add("--loss", choices=list(LOSSES), default="error", help="error re signal, or STFT")
    add("--members", type=int, nargs="+", default=[1, 2, 4, 8], help="sizes of the batch")
    add("--devices", type=int, nargs="+", default=[1, 2], help="how many devices")
    add("--repeats", type=int, default=10, help="steps of each")
    add("--out", type=Path, default=Path("out/batches"), help="folder for JSON")
    options = parser.parse_args(arguments)
    counts = [options.lines, options.samples, options.repeats, *options.members, *options.devices]
    if min(counts) < 1:
        parser.error("all numbers must be positive.")

    # Before JAX looks for devices; it concerns processors only.
    jax.config.update("jax_num_cpu_devices", max(options.devices))
    rows = measure(options)
    if not rows:
        parser.error("no batch can be divided among so many devices.")
    kind = jax.devices()[0].device_kind
    title = f"FDN, {options.lines} lines, {options.samples} samples, loss {options.loss}, {kind}"
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table(rows, title))
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in vars(options).items() if k != "out"} | {"sample_rate": RATE}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, {kind}"
    used = {"jax": jax.__version__, "python": platform.python_version()}
    report = {"settings": settings, "machine": machine, "versions": used, "rows": rows}
    (options.out / "batches.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    console.print(f"JSON is in {options.out}.")


if __name__ == "__main__":
    main()
