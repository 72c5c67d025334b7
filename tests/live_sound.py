"""What tests of live sound share: scenarios for the worklet in Node, and measures."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import signal

from adac_jax.live.events import form_json
from adac_jax.live.wasm import to_wasm
from adac_jax.live.wire import Form

STATIC = Path(str(resources.files("adac_jax.live"))) / "static"
RATE = 48000


@dataclass
class Scenario:
    """Forms, and messages at their times, for the page's worklet."""

    folder: Path
    forms: list[Form] = field(default_factory=list)
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    _infos: list[dict[str, Any]] = field(default_factory=list)
    _values: list[np.ndarray] = field(default_factory=list)
    _size: int = 0

    def form(self, at: int, form: Form, values: np.ndarray, step: int = 0) -> None:
        """A form takes over."""
        if form not in self.forms:
            wasm = to_wasm(form.source, form.count)
            (self.folder / f"{len(self.forms)}.wasm").write_bytes(wasm.module)
            self._infos.append(form_json(form, wasm))
            self.forms.append(form)
        self._event(at, "form", form.number, values, step)

    def values(self, at: int, form: Form, values: np.ndarray, step: int = 0) -> None:
        """New data for it."""
        self._event(at, "values", form.number, values, step)

    def turn(self, at: int, name: str, value: float) -> None:
        """A knob is turned."""
        self.events.append((at, {"type": "turn", "name": name, "value": value}))

    def _event(self, at: int, kind: str, number: int, values: np.ndarray, step: int) -> None:
        place = {"start": self._size, "count": len(values)}
        self._values.append(np.asarray(values, np.float64))
        self._size += len(values)
        self.events.append((at, {"type": kind, "form": number, "step": step, **place}))

    def play(self, dry: np.ndarray, block: int = 128, quiet: bool = False) -> Played:
        """Runs it: `dry` (time,) to (time, 2)."""
        node = shutil.which("node")
        if node is None:
            pytest.skip("there is no node to run the worklet in")
        scenario = {
            "rate": RATE, "frames": len(dry), "block": block, "forms": self._infos,
            "events": sorted(self.events, key=lambda e: e[0]), "quiet": quiet,
        }  # fmt: skip
        (self.folder / "scenario.json").write_text(json.dumps(scenario))
        np.concatenate([np.zeros(0), *self._values]).astype("<f8").tofile(
            self.folder / "values.f64"
        )
        np.asarray(dry, "<f4").tofile(self.folder / "dry.f32")
        script = Path(__file__).with_name("live_node.mjs")
        command = [node, "--expose-gc", str(script), str(self.folder), str(STATIC / "worklet.js")]
        child = subprocess.run(command, capture_output=True, text=True, check=False)
        assert child.returncode == 0, child.stderr
        y = np.fromfile(self.folder / "out.f32", "<f4").reshape(2, -1).T
        report = json.loads((self.folder / "report.json").read_text())
        return Played(y.astype(np.float64), report)


@dataclass
class Played:
    """What came out, and the worklet's own report."""

    y: np.ndarray
    report: dict[str, Any]


def sine(seconds: float, frequency: float = 220.0) -> np.ndarray:
    """Half of full scale, faded in over a second, so that its beginning is not heard above."""
    t = np.arange(round(seconds * RATE)) / RATE
    fade = np.minimum(1, t)
    return 0.5 * np.sin(2 * np.pi * frequency * t) * fade**2 * (3 - 2 * fade)


def above(y: np.ndarray, frequency: float = 6000.0, first: int = 0) -> float:
    """Energy above a frequency, from a sample on, in dB re full scale."""
    sos = signal.butter(8, frequency, "high", fs=RATE, output="sos")
    z = signal.sosfilt(sos, y, axis=0)[first:]
    return float(10 * np.log10(np.mean(z**2) + 1e-40))
