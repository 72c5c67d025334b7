"""What live sessions cost, and what is heard of updates.

    python benchmarks/live.py                  # all but the browser
    python benchmarks/live.py --browser        # with the page in a headless Chromium
    python benchmarks/live.py --only update    # one table: update, blocks, sound, browser

See benchmarks/README.md for what the columns mean.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from scipy import signal

import adac_jax
from adac_jax import nn
from adac_jax.live import player
from adac_jax.live.events import form_json
from adac_jax.live.session import Session
from adac_jax.live.wasm import to_wasm

RATE = 48000
BUDGET = 128 / RATE * 1e6
"""Microseconds that a block of 128 samples lasts."""


def network(lines: int, filters: str = "one-pole") -> nn.FDN:
    """A dense network with a filter a line."""
    m = nn.mutually_prime_delays(lines, 960, 3840)
    if filters == "geq":
        absorption: Any = nn.AccurateGEQ.from_t60(
            np.linspace(2.0, 0.8, 11), m, sample_rate=RATE, train="t60"
        )
    else:
        absorption = nn.OnePole.from_t60(2.0, 0.8, m, sample_rate=RATE)
    return nn.FDN(m, absorption=absorption, outputs=2, rngs=nnx.Rngs(1))


MODELS: dict[str, Callable[[], nn.FDN]] = {
    "8 lines, one-poles": lambda: network(8),
    "16 lines, one-poles": lambda: network(16),
    "16 lines, octave equalisers": lambda: network(16, "geq"),
    "32 lines, one-poles": lambda: network(32),
}


def moved(state: Any, rng: np.random.Generator) -> Any:
    """A state after a step of a training: a tenth of a percent from where it was."""
    return jax.tree.map(
        lambda p: p * (1 + 1e-3 * rng.standard_normal(p.shape)) if p.dtype.kind == "f" else p,
        state,
    )


def percent(values: Any, share: float) -> float:
    return float(np.quantile(np.asarray(values), share))


def update_costs(count: int) -> Iterator[dict[str, Any]]:
    """Time that `update` takes from a training, and that it takes until listeners are told."""
    for name, make in MODELS.items():
        model = make()
        begun = time.perf_counter()
        with adac_jax.live(model, page=False) as session:
            opened = time.perf_counter() - begun
            listener = session.listen()
            listener.wait()
            rng, state = np.random.default_rng(0), nnx.split(model)[1]
            taken, told, busy = [], [], []
            for _ in range(count):
                state = moved(state, rng)
                nnx.update(model, state)
                jax.block_until_ready(state)
                time.sleep(0.01)
                cpu, begun = time.process_time(), time.perf_counter()
                session.update(model)
                taken.append(time.perf_counter() - begun)
                listener.wait()
                told.append(time.perf_counter() - begun)
                busy.append(time.process_time() - cpu)
            form = session.form(0)
        few = taken[count // 10 :]
        yield {
            "model": name,
            "numbers": form.count,
            "update, median (ms)": 1e3 * percent(few, 0.5),
            "update, 99 % (ms)": 1e3 * percent(few, 0.99),
            "until told, median (ms)": 1e3 * percent(told, 0.5),
            "processor time (ms)": 1e3 * percent(busy, 0.5),
            "begin (s)": opened,
        }


def session_steps(model: Any, count: int) -> tuple[Session, list[np.ndarray]]:
    """A closed session, and the data of each of its steps."""
    rng, state = np.random.default_rng(0), nnx.split(model)[1]
    with adac_jax.live(model, page=False, history_megabytes=512) as session:
        for _ in range(count):
            state = moved(state, rng)
            session.update(state)
            session.flush()
        return session, [session.step(k).values for k in range(count + 1)]


def block_costs() -> Iterator[dict[str, Any]]:
    """Blocks of 128 samples in the page's engine, in Node."""
    node = shutil.which("node")
    if node is None:
        print("blocks: there is no node.")
        return
    static = Path(str(resources.files("adac_jax.live"))) / "static"
    for name, make in MODELS.items():
        session, values = session_steps(make(), 20)
        form = session.form(0)
        begun = time.perf_counter()
        wasm = to_wasm(form.source, form.count)
        compiled = time.perf_counter() - begun
        with tempfile.TemporaryDirectory() as folder:
            about = {"info": form_json(form, wasm), "steps": [v.tolist() for v in values]}
            Path(folder, "form.json").write_text(json.dumps(about))
            Path(folder, "form.wasm").write_bytes(wasm.module)
            script = Path(__file__).with_name("live_blocks.mjs")
            command = [node, str(script), folder, str(static / "engine.js")]
            rounds = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        row = {"model": name, "module (kB)": len(wasm.module) / 1e3, "compile (s)": compiled}
        for kind in ("rest", "moving"):
            # The least disturbed round: other programs take the processor now and then.
            best = min((r[kind] for r in rounds), key=lambda t: percent(t, 0.999))
            row[f"{kind}, median (%)"] = 100 * percent(best, 0.5) / BUDGET
            row[f"{kind}, 99.9 % (%)"] = 100 * percent(best, 0.999) / BUDGET
        yield row


def sine(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    fade = np.minimum(1.0, t)
    smooth = fade * fade * (3 - 2 * fade)
    return (0.5 * np.sin(2 * np.pi * 220 * t) * smooth)[:, None]


def above(y: np.ndarray, first: int) -> float:
    """Energy above 6 kHz in dB re full scale, from a sample on."""
    sos = signal.butter(8, 6000, "high", fs=RATE, output="sos")
    z = np.asarray(signal.sosfilt(sos, y.astype(float), axis=0))[first:]
    return float(10 * np.log10(np.mean(z**2)))


def voices(form: Any, values: list[np.ndarray], way: str, precision: str) -> Iterator[np.ndarray]:
    """A sine through a form, with the data changed in some way."""
    voice = player.Voice(form, values[0], precision)
    x = sine(5.0)
    yield voice.process(x[: 2 * RATE])
    for k, part in enumerate(np.array_split(x[2 * RATE :], len(values) - 1), 1):
        if way == "at once":
            voice.jump(values[k])
            yield voice.process(part)
        elif way.startswith("line"):
            size = int(way.split()[-2])
            ramp = round(player.RAMP * RATE)
            for start in range(0, len(part), size):
                w = min(1.0, (start + size) / ramp)
                voice.jump(values[k - 1] + w * (values[k] - values[k - 1]))
                yield voice.process(part[start : start + size])
        else:
            if way == "curve":
                voice.update(values[k])
            yield voice.process(part)
    voice.close()


def heard(counts: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Energy above 6 kHz while a 220 Hz sine plays and numbers change."""
    session, values = session_steps(network(16), max(counts))
    form = session.form(0)
    ways = ["none", "at once", "line, in steps of 64 samples", "line, in steps of 16 samples",
            "line, in steps of 1 sample", "curve"]  # fmt: skip
    for way in ways:
        row: dict[str, Any] = {"change": way}
        for count in counts:
            for precision in ("single", "double"):
                y = np.concatenate(list(voices(form, values[: count + 1], way, precision)))
                row[f"{count} updates, {precision} (dB)"] = above(y, 2 * RATE)
        yield row


def in_browser(count: int) -> Iterator[dict[str, Any]]:
    """The page in Chromium: delays from `update` to the loudspeaker, and dropouts."""
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from browser import chromium  # type: ignore[import-not-found]

    for name in ("16 lines, one-poles", "16 lines, octave equalisers", "32 lines, one-poles"):
        model = MODELS[name]()
        with (
            adac_jax.live(model) as session,
            tempfile.TemporaryDirectory() as folder,
            chromium(Path(folder)) as browser,
        ):
            begun = time.perf_counter()
            browser.get(f"{session.url}?latency=0.01")
            while not browser.execute_script("return live.player.form !== null"):
                time.sleep(0.02)
            ready = time.perf_counter() - begun
            browser.execute_script("live.player.play()")
            time.sleep(3)
            rng, state = np.random.default_rng(0), nnx.split(model)[1]
            dropped = "return live.player.context.playbackStats?.underrunEvents ?? 0"
            before = browser.execute_script(dropped)
            for _ in range(count):
                state = moved(state, rng)
                session.update(state)
                time.sleep(0.05)
            session.flush()
            time.sleep(0.5)
            found = browser.execute_async_script(
                "const done = arguments[0], c = live.player.context;"
                "live.player.report().then((r) => { const s = c.getOutputTimestamp(); done(["
                "Date.now() - performance.now() + s.performanceTime - 1000 * s.contextTime,"
                "r.ramps, c.sampleRate, c.outputLatency]); })"
            )
            zero, ramps, rate, output = found
            delays = [
                zero + 1000 * frame / rate - 1000 * session.step(int(step)).time
                for step, frame in ramps
                if step > 0
            ]
            yield {
                "model": name,
                "page ready (s)": ready,
                "to the loudspeaker, median (ms)": percent(delays, 0.5),
                "95 % (ms)": percent(delays, 0.95),
                "of it output (ms)": 1000 * output,
                "dropouts": browser.execute_script(dropped) - before,
            }


def show(title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    names = list(rows[0])
    print(f"\n{title}\n| {' | '.join(names)} |\n|{' --- |' * len(names)}")
    for row in rows:
        cells = (f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values())
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", choices=["update", "blocks", "sound", "browser"])
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    tables: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "update": lambda: update_costs(options.updates),
        "blocks": block_costs,
        "sound": lambda: heard((50, min(1000, 5 * options.updates))),
        "browser": lambda: in_browser(options.updates),
    }
    found = {}
    for name, make in tables.items():
        wanted = name == options.only or (
            options.only is None and (name != "browser" or options.browser)
        )
        if wanted:
            found[name] = list(make())
            show(name, found[name])
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "live.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
