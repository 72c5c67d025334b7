"""What bad samples and silence do to FAUST: nothing that lasts.

Programs stand for what has states: comb, nested allpasses, filters in each form, a network with a
filter a line, an integrator, an envelope follower, a gated recurrent cell, an unstable cubic.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden_models import comb, network

import adac_jax
import ir
from adac_jax import effects
from adac_jax.host import Library, Processor
from adac_jax.nn import GEQ, Householder
from emitters import faust
from emitters.faust.guard import Guards, bus, guards

LENGTH, AT = 3000, 700
BAD = [np.nan, -np.nan, np.inf, -np.inf, 1e38, -1e38, 2.0**20, -(2.0**20)]
LARGEST = float(np.nextafter(np.float32(2.0**20), np.float32(0)))
PRECISIONS = ("single", "double")


def traced(model: Callable, inputs: int = 1) -> ir.Program:
    return adac_jax.trace(model, inputs=inputs).program


def nested(x):
    """An allpass of delay 101 with one of 37 in it."""

    def allpass(x, m, g, within=lambda v: v):
        def loop(v):
            w = adac_jax.delay(within(v), m)
            return g * w, (v, w)

        _, (v, w) = adac_jax.feedback(loop, x, has_aux=True)
        return w - g * v

    return allpass(x, 101, 0.5, lambda v: allpass(v, 37, 0.6))


def equalised() -> ir.Program:
    """A network of two lines with a graphic equaliser each."""
    m = np.array([131, 173])
    bands = GEQ.from_t60(np.linspace(0.08, 0.02, 11), m, sample_rate=48000.0)
    model = adac_jax.nn.FDN(m, matrix=Householder(2), absorption=bands, rngs=nnx.Rngs(0))
    return traced(model)


def second_order(name: str, *row: float) -> ir.Program:
    b = ir.Builder(name)
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    sos = b.add("coefficient", slot="sos", shape=(1, 6), kind="real")
    return ir.Program(b.build([b.add("sos", x, sos)]), {"sos": np.array([row])})


def third_order() -> ir.Program:
    """A recursive filter in direct form."""
    b = ir.Builder("iir")
    x = b.add("input", index=0, shape=(), kind="real", name="x")
    over = b.add("coefficient", slot="b", shape=(4,), kind="real")
    under = b.add("coefficient", slot="a", shape=(4,), kind="real")
    a = np.poly([0.9, 0.5 + 0.6j, 0.5 - 0.6j]).real
    return ir.Program(b.build([b.add("iir", x, over, under)]), {"b": np.eye(4)[1], "a": a})


def cubic() -> ir.Program:
    """u = x + u' / 2 + u'³ / 2, which runs away from where u is above 1."""
    return traced(
        lambda x: adac_jax.feedback(
            lambda u: 0.5 * adac_jax.delay(u, 1) + 0.5 * adac_jax.delay(u, 1) ** 3, x
        )
    )


LINEAR = {
    "comb": comb,
    "network": network,
    "nested allpasses": lambda: traced(nested),
    "equalised network": equalised,
    "section": lambda: second_order("section", 1.0, 0.5, 0.2, 1.0, -1.9, 0.95),
    "integrator": lambda: second_order("integrator", 1.0, 0.0, 0.0, 1.0, -1.0, 0.0),
    "direct form": third_order,
}
OTHERS = {
    "compressor": lambda: traced(effects.Compressor(1, sample_rate=48000), 1),
    "gate": lambda: traced(effects.Gate(1, sample_rate=48000), 1),
    "recurrent": lambda: traced(effects.LSTMAmplifier(3, rngs=nnx.Rngs(0)), 1),
    "delay": lambda: traced(effects.Chorus(1, sample_rate=48000), 1),
    "phaser": lambda: traced(effects.Phaser(1, sample_rate=48000), 1),
}
ALL = LINEAR | OTHERS
_TEXTS: dict[tuple[str, bool], str] = {}


def text(name: str, guard: bool = True) -> str:
    """The program's text, made once."""
    if (name, guard) not in _TEXTS:
        _TEXTS[name, guard] = faust.emit(ALL[name](), guard=guard)
    return _TEXTS[name, guard]


def noise(channels: int, low: float = -0.5, high: float = 0.5) -> np.ndarray:
    draws = np.random.default_rng(3).uniform(low, high, (LENGTH, channels))
    return draws.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ALL)
def test_no_bit_changes(name, precision):
    """With and without guards: noise, silence of both signs, tiny and very large samples.

    A layer of a network is a sum that the LLVM inside DawDreamer, told that it may, adds up in
    another order when its input is a choice and no longer a load: there, what differs is rounding.
    """
    with (
        Library(text(name), precision=precision) as guarded,
        Library(text(name, guard=False), precision=precision) as plain,
    ):
        x = noise(plain.inputs)
        x[100:110], x[110:120], x[120:130] = 0.0, -0.0, 1e-30
        if name == "recurrent":
            # Sums of eight terms below one, through tanh to a state that forgets: 16 roundings.
            error = np.abs(guarded.render(x) - plain.render(x)).max()
            assert error <= 16 * np.finfo(guarded.dtype).eps
            return
        if name in LINEAR:
            x[500:504:2], x[501:505:2] = LARGEST, -LARGEST
        assert guarded.render(x).tobytes() == plain.render(x).tobytes()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ALL)
def test_bad_samples_are_zeros(name, precision):
    """What comes out is, to the bit, what comes out if the bad samples are zero."""
    with Library(text(name), precision=precision) as library:
        x = noise(library.inputs)
        x[AT : AT + len(BAD)] = 0.0
        wanted = library.render(x)
        assert np.all(np.isfinite(wanted))
        for k, bad in enumerate(BAD):
            x[AT + k] = bad
            np.testing.assert_array_equal(library.render(x), wanted)
            x[AT + k] = 0.0
        x[AT : AT + len(BAD), 0] = BAD
        np.testing.assert_array_equal(library.render(x), wanted)


@pytest.mark.parametrize(
    "name", ["comb", "nested allpasses", "section", "direct form", "integrator"]
)
def test_without_guards_they_stay(name):
    """What the guards are for: without them one NaN, or 1e38, is there for ever."""
    with Library(text(name, guard=False), precision="single") as library:
        x = noise(library.inputs)
        x[AT] = np.nan
        with np.errstate(all="ignore"):
            assert not np.all(np.isfinite(library.render(x)[-1]))


@pytest.mark.parametrize("name", ["nested allpasses", "equalised network", "section"])
def test_the_undisturbed_tail_comes_back(name):
    """A burst decays as any sound does; what remains in the end is rounding, 1e-12 of the peak."""
    with Library(text(name)) as library:
        x = np.tile(noise(1), (20, 1))
        wanted = library.render(x)
        x[AT : AT + len(BAD), 0] = BAD
        y = library.render(x)
        tail = slice(19 * LENGTH, None)
        assert np.max(np.abs(y - wanted)[AT : AT + 400]) > 1e-3
        assert np.max(np.abs(y - wanted)[tail]) <= 1e-12 * np.max(np.abs(wanted))


# Bad numbers that a program makes itself.


def made(kind: str) -> ir.Program:
    """log(x), 1 / x or exp(1000 x) into a filter, or into a loop."""

    def model(x):
        bad = {"log": jnp.log, "ratio": lambda v: 1 / v, "exp": lambda v: jnp.exp(1000 * v)}[kind]
        filtered = adac_jax.lfilter(np.array([1.0, 0.0]), np.array([1.0, -0.9]), bad(x))
        looped = adac_jax.feedback(lambda u: 0.8 * adac_jax.delay(u, 5), bad(x))
        return jnp.concatenate([filtered, looped], axis=-1)

    return traced(model)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("kind", "bad"), [("log", -0.25), ("ratio", 0.0), ("exp", 1.0)])
def test_bad_numbers_from_inside(kind, bad, precision):
    """They may be heard, but not longer than the state decays."""
    x = np.full((LENGTH, 1), 0.25 if kind != "exp" else 0.002)
    program = made(kind)
    ends = {}
    for guard in (True, False):
        with Library(faust.emit(program, guard=guard), precision=precision) as library:
            wanted = library.render(x)
            disturbed = x.copy()
            disturbed[AT : AT + 3] = bad
            ends[guard] = library.render(disturbed)
            if guard:
                # 2,000 samples of 0.9 a sample, or 0.8 in five: more than single precision holds.
                limit = np.finfo(library.dtype).eps * 16 * np.abs(wanted).max()
                assert np.max(np.abs(ends[True][AT + 2200 :] - wanted[AT + 2200 :])) <= limit
    if kind != "exp" or precision == "single":
        assert not np.all(np.isfinite(ends[False][-1]))


def test_a_loop_that_runs_away_comes_back():
    """No input is so large that a cubic loop does not forget it."""
    x = noise(1, -0.01, 0.01)
    x[AT] = 50.0
    for guard in (True, False):
        with Library(faust.emit(cubic(), guard=guard), precision="single") as library:
            finite = np.all(np.isfinite(library.render(x)[AT + 100 :]))
            assert finite == guard


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e38])
def test_a_knob_comes_back(bad):
    """Where a host sends what is no number, the knob goes to an end, and on from there."""
    program = traced(lambda x: x * adac_jax.control("level", 1.0, 0.25, 2.0))
    with Library(faust.emit(program), precision="single") as library:
        (path,) = library.parameters
        x = np.ones((48000, 1))
        library.set(path, bad)
        assert library.process(x)[-1, 0] in (0.25, 2.0)
        library.set(path, 0.5)
        assert library.process(x)[-1, 0] == 0.5


# Where guards stand.


def ends(program: ir.Program) -> str:
    return faust.emit(program).splitlines()[-1]


@pytest.mark.parametrize("name", ALL)
def test_loops_that_need_no_guard_inside(name):
    """They are linear, or their gates keep them from running away."""
    assert guards(ALL[name]()) == Guards()
    assert "finite(" not in text(name)


def test_loops_that_need_one():
    assert "par(i, 1, finite)" in ends(cubic())
    steep = traced(lambda x: adac_jax.feedback(lambda u: 1.1 * jnp.abs(adac_jax.delay(u, 3)), x))
    assert "finite" in ends(steep)
    assert "finite" in ends(made("log"))


def test_guards_of_inputs_only():
    """Integers pass as they are, and a program without inputs has nothing to guard."""
    b = ir.Builder()
    x = b.add("input", index=0, shape=(2,), kind="real")
    n = b.add("input", index=1, shape=(), kind="int")
    z = b.add("input", index=2, shape=(), kind="real")
    assert ends(ir.Program(b.build([x, n, z]))) == (
        "process = (par(i, 2, guard), par(i, 1, _), par(i, 1, guard)) : model;"
    )
    b = ir.Builder()
    assert "guard" not in faust.emit(ir.Program(b.build([b.constant(0.5)])))
    assert bus(["a", "a"]) == "par(i, 2, a)"


# Silence.


def denormals(y: np.ndarray) -> int:
    return int(np.sum((y != 0) & (np.abs(y) < np.finfo(y.dtype).smallest_normal)))


@pytest.mark.parametrize("name", ["nested allpasses", "section", "comb"])
@pytest.mark.parametrize("host", ["Processor", "single", "double"])
def test_silence_ends(name, host):
    """After a sound, no denormal number comes out.

    A filter's increments end before its state does, which stays, as a number of full precision, at
    the smallest one divided by its smallest coefficient, here at least 2^-20: -640 dB or less.
    """
    seconds = 8 if host == "double" else 1
    x = np.zeros((48000 * seconds, 1))
    x[:50] = 0.5
    counts = {}
    for flush in (True, False):
        if host == "Processor":
            y = Processor(text(name), flush_denormals=flush).render(x)
        else:
            with Library(text(name), precision=host, flush_denormals=flush) as library:
                y = library.render(x)
        counts[flush] = denormals(y)
        assert np.any(y != 0)
        if flush:
            assert np.max(np.abs(y[-1000:])) <= 2.0**20 * np.finfo(y.dtype).smallest_normal
    assert counts[True] == 0
    assert counts[False] > 0
