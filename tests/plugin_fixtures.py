"""Plugins of the small model, built once, and hosts for them; skips where a tool is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import plugin_model
import pytest
from plugin_model import KNOBS, RATES

from adac_jax.errors import AdacError
from adac_jax.host import Library, path_of
from adac_jax.plugin import Plugins, find_tools
from emitters import faust
from ir.knobs import settling

HOSTS = Path(__file__).parent / "plugin_hosts"
LENGTH = 24000
TOLERANCE = 1e-7
"""Between the built plugin and the JIT, in single precision: another compiler rounds otherwise.

The impulse response is below 1, so a rounding is 2^-25 at most; a sample is the sum of some ten
products, each of which has been round the loop at most 40 times at 0.8: 10 · 2^-25 / (1 - 0.8).
That is 1.5e-6 at worst, and by the root of the number of roundings 1e-7.
"""
PRESETS = {"Dark": {"tone": 300.0}, "Half": {"mix": 0.5, "pre-gain": -6.0}}


def needs(formats: str) -> Plugins:
    """Settings for formats, or a skip where this machine cannot build them."""
    names = tuple(formats.split(","))
    try:
        find_tools(names)
    except AdacError as error:
        pytest.skip(str(error))
    return Plugins(
        names, RATES, maker="Test & Co", description='Two "combs"', kind="delay", presets=PRESETS
    )


@pytest.fixture(scope="session")
def core(tmp_path_factory):
    """The C library, and the versions that it was made of."""
    folder = tmp_path_factory.mktemp("core") / "plugin"
    return plugin_model.built(folder, needs("c"))


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    """All formats."""
    folder = tmp_path_factory.mktemp("formats") / "plugin"
    return plugin_model.built(folder, needs("c,lv2,vst3,clap"))[0]


def binary(built, name: str) -> Path:
    """The shared library of a format."""
    path = built.paths[name]
    if name == "lv2":
        return path / f"{path.stem}.so"
    return next(path.rglob("*.so")) if name == "vst3" else path


@pytest.fixture(scope="session")
def hosts(tmp_path_factory):
    """Compiles the small hosts; a function of the format's name."""
    folder = tmp_path_factory.mktemp("hosts")

    def host(name: str) -> Path:
        tools = find_tools(("vst3", "lv2", "clap"))
        program = folder / name
        if not program.exists():
            distrho = tools.dpf / "distrho"
            command = [
                tools.cxx, "-std=c++17", "-O1", "-Wall", "-Werror", "-Wno-deprecated", "-rdynamic",
                f"-I{distrho}", f"-I{distrho / 'src'}", "-o", program,
                HOSTS / f"{name}_host.cpp", "-ldl",
            ]  # fmt: skip
            subprocess.run(command, check=True)
        return program

    return host


def run_host(program: Path, plugin: Path, x: np.ndarray, *options: object):
    """Renders through a small host; (audio, what it said)."""
    done = subprocess.run(
        [program, plugin, *map(str, options)], input=x.tobytes(), capture_output=True
    )
    said = done.stderr.decode()
    if "no strict mode" in said:
        pytest.skip("this kernel has no seccomp")
    assert done.returncode == 0, (done.returncode, said)
    return np.frombuffer(done.stdout, np.float32).reshape(-1, 2), said


def impulses(length: int = LENGTH) -> np.ndarray:
    """One into each input, at different times."""
    x = np.zeros((length, 2), np.float32)
    x[0, 0], x[137, 1] = 1.0, -0.5
    return x


def noise(length: int = LENGTH) -> np.ndarray:
    return np.random.default_rng(5).uniform(-0.5, 0.5, (length, 2)).astype(np.float32)


def jit(x: np.ndarray, rate: int, knobs=None, settled: bool = True, precision="single"):
    """What FAUST's JIT makes of it, with knobs that have arrived before, or that set out now."""
    program = plugin_model.twin_comb(rate)
    with Library(faust.emit(program), precision=precision, sample_rate=rate) as library:
        for name, value in (knobs or {}).items():
            library.set(path_of(library.parameters, name), value)
        if knobs and settled:
            library.process(np.zeros((settling(program.graph), 2)))
        return library.process(x)


def tool(name: str) -> str:
    """A command of Debian's that others wrote."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not there: apt install lilv-utils lv2file sordi")
    return found


def with_bundles(built) -> dict[str, str]:
    """The environment in which LV2's tools find the plugin."""
    return os.environ | {"LV2_PATH": f"{built.paths['lv2'].parent}:/usr/lib/lv2"}


__all__ = ["KNOBS", "RATES"]
