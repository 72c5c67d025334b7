"""The programs whose FAUST text is kept in `golden`; for these no JAX is needed."""

from __future__ import annotations

import numpy as np

import ir


def gain() -> ir.Program:
    """Stereo balance: coefficients fold, channels are only named."""
    b = ir.Builder("balance")
    x = b.add("input", index=0, shape=(2,), kind="real", name="x")
    g = b.add("coefficient", slot="gain", shape=(2,), kind="real")
    doubled = b.add("mul", g, b.constant(2.0))
    y = b.add("mul", x, doubled, name="balance.gain")
    swapped = b.add("take", y, indices=(1, 0), shape=(2,), name="balance.swap")
    return ir.Program(b.build([swapped]), {"gain": np.array([0.1, -0.5])})


def comb() -> ir.Program:
    """A comb with a filter in its loop, and initial values."""
    b = ir.Builder("comb", 44100.0)
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    u = b.reserve(())
    start = b.add("coefficient", slot="start", shape=(4,), kind="real")
    late = b.add("delay", u, start, samples=(4,), name="comb.delay")
    sos = b.add("coefficient", slot="sos", shape=(1, 6), kind="real")
    damped = b.add("sos", late, sos, name="comb.damping")
    b.define(u, "add", x, b.add("mul", damped, b.constant(0.9), name="comb.gain"), name="comb.mix")
    sections = np.array([[0.25, 0.5, 0.25, 1.0, -0.1, 0.05]])
    return ir.Program(b.build([u]), {"start": np.array([1.0, 0, 0, -0.5]), "sos": sections})


def network() -> ir.Program:
    """Four lines, mixed by a Hadamard butterfly: sums used twice get barriers."""
    b = ir.Builder("hadamard")
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    u = b.reserve((4,))
    late = b.add("delay", u, samples=(13, 17, 19, 23), name="fdn.delay")
    mixed = late
    for stage, (left, right) in enumerate((((0, 2), (1, 3)), ((0, 1), (2, 3)))):
        name = f"fdn.mix.{stage}"
        a = b.add("take", mixed, indices=left, shape=(2,))
        c = b.add("take", mixed, indices=right, shape=(2,))
        up, down = b.add("add", a, c, name=name), b.add("sub", a, c, name=name)
        mixed = b.add("concatenate", up, down, axis=0)
    scaled = b.add("mul", mixed, b.constant(0.49), name="fdn.gain")
    b.define(u, "add", x, scaled, name="fdn.in")
    out = b.add("sum", u, axes=(0,), name="fdn.out")
    return ir.Program(b.build([out]))


def householder() -> ir.Program:
    """x - 2 v (v · x) on 70 channels: long sums are grouped."""
    b = ir.Builder("householder")
    x = b.add("input", index=0, shape=(70,), kind="real", name="x")
    v = b.add("coefficient", slot="v", shape=(70,), kind="real")
    dot = b.add("einsum", x, v, subscripts="i,i->", name="mirror.dot")
    y = b.add("sub", x, b.add("mul", v, dot, name="mirror.along"), name="mirror")
    first = b.add("slice", y, start=(0,), limit=(2,), stride=(1,))
    return ir.Program(b.build([first]), {"v": np.full(70, 0.25)})


def chorus() -> ir.Program:
    """A variable delay, decisions, functions of the C library."""
    b = ir.Builder("chorus")
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    d = b.add("input", index=1, shape=(), kind="int", name="depth")
    wet = b.add("variable_delay", x, d, minimum=1, maximum=30, name="chorus.line")
    shaped = b.add("tanh", wet, name="tanh")
    loud = b.add("gt", b.add("abs", x), b.constant(0.5), name="gate")
    y = b.add("select", loud, shaped, b.constant(0.0), name="gate")
    return ir.Program(b.build([y, d, loud]))


MODELS = [gain, comb, network, householder, chorus]
