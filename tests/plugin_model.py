"""A small model with knobs, for the tests of plugins: no JAX is needed to make it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

import ir
from adac_jax.certifying import certify_rounded
from adac_jax.plugin import Plugins, Version, find_tools, make, metadata_of
from adac_jax.plugin.forms import Origin
from adac_jax.plugin.making import Built
from adac_jax.report import Report
from emitters import faust

RATES = (48000, 44100, 96000)
NAME = "Twin Comb"
KNOBS = {"pre-gain": 0.0, "tone": 1000.0, "mix": 1.0}
"""Names and defaults."""
LATENCY = 7


def twin_comb(rate: int) -> ir.Program:
    """Two combs that hear each other, behind a gain in dB and a one-pole filter: stereo, late.

    Args:
        rate: Hertz; delays and the filter are the same in seconds and hertz.
    """
    b = ir.Builder(NAME, float(rate))
    x = b.add("input", index=0, shape=(2,), kind="real", name="x")

    def knob(name, default, low, high, **others):
        step = (high - low) / (0.05 * rate)
        return b.control(name, default, low, high, step=step, **others)

    decibels = knob("pre-gain", KNOBS["pre-gain"], -24.0, 6.0, unit="dB")
    gain = b.add("exp", b.add("mul", decibels, b.constant(np.log(10) / 20)))
    hertz = knob("tone", KNOBS["tone"], 100.0, 10000.0, unit="Hz", curve="log")
    p = b.add("exp", b.add("mul", hertz, b.constant(-2 * np.pi / rate)))
    mix = knob("mix", KNOBS["mix"], 0.0, 1.0)
    fed = b.add("mul", x, gain)
    u = b.reserve((2,))
    samples = (round(0.0113 * rate), round(0.0171 * rate))
    late = b.add("delay", u, samples=samples, name="comb.delay")
    A = b.add("coefficient", slot="A", shape=(2, 2), kind="real")
    back = b.add("einsum", late, A, subscripts="i,ij->j", name="comb.mix")
    b.define(u, "add", fed, back, name="comb.in")
    # y = (1 - p) late + p y[t-1]
    y = b.reserve((2,))
    held = b.add("mul", b.add("delay", y, samples=(1, 1)), p)
    b.define(y, "add", b.add("mul", late, b.add("sub", b.constant(1.0), p)), held, name="tone")
    wet = b.add("mul", y, mix)
    dry = b.add("mul", x, b.add("sub", b.constant(1.0), mix))
    out = b.add("delay", b.add("add", wet, dry), samples=(LATENCY, LATENCY), name="late")
    graph = dataclasses.replace(b.build([out]), latency=LATENCY)
    return ir.Program(graph, {"A": 0.8 * np.array([[0.6, 0.8], [-0.8, 0.6]])})


def version(program: ir.Program, precision: str = "single") -> Version:
    """The program with what `export` would know of it."""
    source = faust.emit(program)
    certificate = certify_rounded(program, precision)
    assert certificate.passed, certificate.sentences()
    # Nothing compared: the limit for the compiled core is then that of a plain model, -120 dB.
    report = Report(program.graph.name, program.graph.sample_rate, 2, 2, 0, 0.0, (), {}, {})
    return Version(program, source, certificate, report)


def built(folder: Path, settings: Plugins, precision: str = "single") -> tuple[Built, dict]:
    """Plugins of the model at `RATES`, in a folder; and the versions by rate."""
    found = {rate: version(twin_comb(rate), precision) for rate in settings.rates or RATES}
    own = next(iter(found.values()))
    origin = Origin(None, remake=lambda rate: found[round(rate)].program)
    result = make(
        own,
        origin,
        metadata_of(own.program, settings, precision),
        settings,
        find_tools(settings.formats),
        folder,
        compare=lambda program, traced, source: own.report,
    )
    return result.inside(folder), found
