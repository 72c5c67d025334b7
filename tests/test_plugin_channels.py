"""Plugins without inputs, with many channels, and with fewer out than in, in all formats."""

from __future__ import annotations

import dataclasses
import subprocess

import numpy as np
import pytest
from plugin_fixtures import TOLERANCE, binary, hosts, needs
from plugin_model import version

import ir
from adac_jax.host import Library
from adac_jax.plugin import Plugins, find_tools, make, metadata_of
from adac_jax.plugin.forms import Origin

__all__ = ["hosts"]
RATE, LENGTH = 48000, 2000
TAILS = {"clap": b"tail 2147483647\n", "vst3": b"tail 4294967295\n", "lv2": b""}


def oscillator() -> ir.Program:
    """No input: y = 1 + y[t-1] / 2, and a knob."""
    b = ir.Builder("osc", float(RATE))
    y = b.reserve(())
    held = b.add("mul", b.add("delay", y, samples=(1,)), b.constant(0.5))
    b.define(y, "add", held, b.constant(1.0))
    gain = b.control("gain", 0.5, 0.0, 1.0, step=0.001)
    return ir.Program(b.build([b.add("mul", y, gain)]))


def wide() -> ir.Program:
    b = ir.Builder("wide", float(RATE))
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    c = b.add("coefficient", slot="c", shape=(6,), kind="real")
    return ir.Program(b.build([b.add("mul", x, c)]), {"c": np.arange(1.0, 7.0)})


def narrow() -> ir.Program:
    b = ir.Builder("narrow", float(RATE))
    x = b.add("input", index=0, shape=(3,), kind="real", name="x")
    c = b.add("coefficient", slot="c", shape=(3,), kind="real")
    y = b.add("sum", b.add("mul", x, c), axes=(0,))
    return ir.Program(b.build([y]), {"c": np.array([0.5, 1.0, 2.0])})


@pytest.mark.slow
@pytest.mark.parametrize("program", [oscillator(), wide(), narrow()], ids=lambda p: p.graph.name)
def test_any_channels(hosts, tmp_path, program):
    formats = needs("c,lv2,vst3,clap").formats
    own = version(program)
    # As if nothing bounded its decay: formats have words for that, or none.
    endless = dataclasses.replace(own.certificate, decay_seconds=None)
    own = dataclasses.replace(own, certificate=endless)
    settings = Plugins(formats, rates=(RATE,))
    metadata = metadata_of(program, settings, "single")
    folder = tmp_path / "plugin"
    built = make(
        own, Origin(None), metadata, settings, find_tools(formats), folder,
        compare=lambda program, traced, source: own.report,
    ).inside(folder)  # fmt: skip
    x = np.random.default_rng(0).uniform(-0.1, 0.1, (LENGTH, metadata.inputs)).astype(np.float32)
    with Library(own.source, precision="single", sample_rate=RATE) as library:
        wanted = library.render(x)
    sent = x.tobytes() if metadata.inputs else bytes(4 * LENGTH)
    knobs = [f"{knob.name}={knob.default}" for knob in metadata.parameters]
    for name in ("clap", "lv2", "vst3"):
        command = [
            hosts(name), binary(built, name), "--inputs", str(metadata.inputs), "--outputs",
            str(metadata.outputs), "--blocks", "1,37,64",
            *(word for knob in knobs for word in ("--set", knob)),
        ]  # fmt: skip
        done = subprocess.run(command, input=sent, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert TAILS[name] in done.stderr
        y = np.frombuffer(done.stdout, np.float32).reshape(-1, metadata.outputs)
        np.testing.assert_allclose(y, wanted, rtol=0, atol=TOLERANCE)
