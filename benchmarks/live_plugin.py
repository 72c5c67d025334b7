"""The live plugin's audio thread: its worst block while a training goes on.

For each network: numbers of its form; seconds to compile it; microseconds to hand an update over;
then the worst block and the mean, in percent of the block's own time: at rest, with an update
before each ramp has ended, and while a new form takes over (two forms run, both on ramps).
The time is the thread's own: what the machine's other work takes does not count.

    python benchmarks/live_plugin.py           # 8, 16 and 32 lines, blocks of 64 and 256
    python benchmarks/live_plugin.py 16
"""

from __future__ import annotations

import ctypes as c
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from flax import nnx

import adac_jax
from adac_jax import nn
from adac_jax.live.compiled import compiled
from adac_jax.live.installing import install
from adac_jax.plugin.checking import Core

RATE, SECONDS = 48000, 2.0


def network(lines: int, first: int = 960) -> nn.FDN:
    """A dense network with one-pole absorption."""
    m = nn.mutually_prime_delays(lines, first, 4 * first)
    absorption = nn.OnePole.from_t60(2.0, 0.8, m, sample_rate=float(RATE))
    return nn.FDN(m, absorption=absorption, outputs=2, rngs=nnx.Rngs(0))


class Audio:
    """Runs blocks of noise, and keeps how long each took."""

    def __init__(self, core: Core, block: int) -> None:
        self.core, self.block = core, block
        rng = np.random.default_rng(0)
        self.x = rng.uniform(-0.1, 0.1, (2, block)).astype(np.float32)
        self.y = np.zeros_like(self.x)
        self.pointers = [
            (c.c_void_p * 2)(*(a.ctypes.data + k * a.strides[0] for k in range(2)))
            for a in (self.x, self.y)
        ]

    def percent(self, update) -> tuple[float, float]:
        """Worst and mean, of the block's time; `update(k)` comes between blocks."""
        spent = []
        for k in range(round(SECONDS * RATE / self.block)):
            update(k)
            begun = time.thread_time_ns()
            self.core.call("process", self.core.handle, *self.pointers, self.block)
            spent.append(time.thread_time_ns() - begun)
        budget = 1e9 * self.block / RATE
        return 100 * max(spent) / budget, 100 * float(np.mean(spent)) / budget


def row(lines: int, block: int, library: Path) -> str:
    """One line of the table."""
    one, other = network(lines), network(lines, 1000)
    with adac_jax.live(one, page=False, plugin=True) as session:
        feed = session.plugin
        assert feed is not None
        begun = time.perf_counter()
        feed.flush()
        took = time.perf_counter() - begun
        session.update(other)
        session.flush()
        feed.flush()
        steps = [session.step(k) for k in range(2)]
        names = [compiled(session.form(k)) for k in range(2)]
        core = Core(library, "adac_jax_live")
        core._declare("follow", None, c.c_void_p)
        core.init(RATE)
        audio = Audio(core, block)
        rng = np.random.default_rng(1)
        sent = []

        def send(which: int) -> None:
            values = steps[which].values * rng.uniform(0.99, 1.0)
            begun = time.perf_counter()
            feed._channel.write(names[which], float(RATE), 0, values)
            sent.append(time.perf_counter() - begun)
            core.call("follow", core.handle)

        send(0)
        audio.percent(lambda k: None)
        rest = audio.percent(lambda k: None)
        ramps = audio.percent(lambda k: send(0))
        every = round(0.2 * RATE / block)
        forms = audio.percent(lambda k: send(k // every % 2))
        core.close()
    figures = "   ".join(f"{worst:5.1f} {mean:5.1f}" for worst, mean in (rest, ramps, forms))
    micro = 1e6 * float(np.median(sent))
    return f"{lines:5} {block:5} {len(steps[0].values):7} {took:8.1f} {micro:7.0f}   {figures}"


def main() -> None:
    print("lines block numbers  compile  update      at rest       updates     other forms")
    print("                           s      us    worst  mean   worst  mean   worst  mean   %")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ADAC_JAX_LIVE"] = str(Path(folder) / "live")
        os.environ["ADAC_JAX_LIVE_STILL"] = "1"
        library = install(Path(folder) / "plugin", ("c",))["c"]
        for lines in [int(word) for word in sys.argv[1:]] or (8, 16, 32):
            for block in (64, 256):
                print(row(lines, block, library), flush=True)


if __name__ == "__main__":
    main()
