"""Effects: against plain loops, in all readings, their derivatives, batches and refusals."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from effects_models import MODELS
from effects_plain import CURVES, RATE
from flax import nnx
from readings import FAST, in_blocks, in_faust, interpreted

import adac_jax
from adac_jax import effects

READINGS = {"interpreter": interpreted, "blocks": in_blocks, "FAUST": in_faust}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        yield


# Chains of all the others, and networks whose parts are tested alone, take long to compile: their
# derivatives and batches are not for every run.
LARGE = ("gray_box_amplifier", "wiener_hammerstein", "s4d_amplifier", "tcn", "learned curve")


def some(names: Iterable[str]) -> list[Any]:
    """The names, of which the large ones are marked slow."""
    return [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in names]


@functools.cache
def made(name: str) -> tuple[Any, Any, Any]:
    """The module, and what `nnx.split` makes of it."""
    module = MODELS[name].make()
    return module, *nnx.split(module)


@functools.cache
def output(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The example's signal, and what JAX makes of it."""
    _, graph, state = made(name)
    x = MODELS[name].signal()
    if name in LARGE:
        run = jax.jit(lambda s, v: nnx.merge(graph, s)(v), compiler_options=FAST)
        return x, np.asarray(run(state, jnp.asarray(x)))
    (_, y), _ = value_and_gradient(name)((state, jnp.asarray(x)))
    return x, np.asarray(y)


@functools.cache
def value_and_gradient(name: str) -> Any:
    """(parameters and x) to (½ Σ w y², y) and the gradient of the first."""
    _, graph, _ = made(name)

    def loss(at: Any) -> tuple[jax.Array, jax.Array]:
        y = nnx.merge(graph, at[0])(at[1])
        w = np.random.default_rng(6).uniform(0.5, 1.5, y.shape)
        return 0.5 * jnp.sum(w * y * y), y

    return jax.jit(jax.value_and_grad(loss, has_aux=True, allow_int=True), compiler_options=FAST)


@pytest.mark.parametrize("name", MODELS)
def test_jax_computes_the_equations_of_the_docstring(name):
    example = MODELS[name]
    x, y = output(name)
    expected = example.plain(made(name)[0], x)
    assert y.dtype == np.float64
    assert np.ptp(expected) > 0.1
    assert np.max(np.abs(y - expected)) <= example.tolerance


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("name", MODELS)
def test_all_readings_compute_what_jax_computes(name, reading):
    x, expected = output(name)
    (found,) = READINGS[reading](traced(name), [x], len(x))
    assert np.max(np.abs(found - expected)) <= MODELS[name].tolerance


@functools.cache
def traced(name: str):
    return adac_jax.trace(made(name)[0]).program


def rate_of(module: Any) -> float:
    """The frequency of the oscillator, if there is one."""
    return float(module.lfo.rate()[0]) if hasattr(module, "lfo") else 0.0


@pytest.mark.parametrize("name", some(MODELS))
def test_gradients_are_those_of_differences(name):
    """Of every parameter's first number, and of x along a random direction.

    With a step of 1e-5 central differences are off by 1e-10 / 6 times the third derivative, here
    below 1e5 times the first ones, and by the rounding of the loss over the step. An oscillator
    rounds its frequency to 2^-32 of the sample rate.
    """
    example = MODELS[name]
    _, graph, state = made(name)
    run = value_and_gradient(name)
    at = (state, jnp.asarray(example.signal()))
    (loss, _), gradient = run(at)
    leaves, tree = jax.tree.flatten(at)
    slopes = jax.tree.leaves(gradient)
    draws, step = np.random.default_rng(8), 1e-5
    largest = max(float(jnp.max(jnp.abs(s))) for s in slopes if s.dtype == jnp.float64)
    for k, leaf in enumerate(leaves):
        if leaf.dtype != jnp.float64:
            continue
        assert np.isfinite(slopes[k]).all()
        along = np.zeros(leaf.shape)
        if k == len(leaves) - 1:
            along = draws.uniform(-1, 1, leaf.shape)
        else:
            along.flat[0] = 1.0
        ends, rates = [], []
        for sign in (1, -1):
            moved = [v + sign * step * along if j == k else v for j, v in enumerate(leaves)]
            there = jax.tree.unflatten(tree, moved)
            ends.append(float(run(there)[0][0]))
            rates.append(rate_of(nnx.merge(graph, there[0])))
        expected, found = (ends[0] - ends[1]) / (2 * step), float(np.sum(slopes[k] * along))
        rounding = 2 * example.tolerance * float(loss) / step
        if rates[0] != rates[1]:
            rounding += abs(found) * 2.0**-32 * RATE / abs(rates[0] - rates[1])
        assert abs(found - expected) <= 2e-6 * max(1.0, largest) + rounding


# Curves differ in what they do to a number, not to an axis.
BATCHED = [n for n in MODELS if n.removesuffix(" averaged") not in CURVES or n == "hard averaged"]


@pytest.mark.parametrize("name", some(BATCHED))
def test_batches_are_their_parts(name):
    """Leading axes, and `vmap`."""
    example = MODELS[name]
    _, graph, state = made(name)
    parts = [example.signal(seed) for seed in (5, 6)]
    batch = jnp.stack([jnp.asarray(x) for x in parts])

    def both(state, x):
        module = nnx.merge(graph, state)
        return module(x[None]), jax.vmap(module)(x)

    leading, mapped = jax.jit(both, compiler_options=FAST)(state, batch)
    expected = output(name)[1]
    assert np.max(np.abs(leading[0, 0] - expected)) <= example.tolerance
    assert np.max(np.abs(mapped[0] - expected)) <= example.tolerance
    other = example.plain(made(name)[0], parts[1])
    assert np.max(np.abs(leading[0, 1] - other)) <= example.tolerance
    assert np.max(np.abs(mapped[1] - other)) <= example.tolerance


def test_the_table_has_every_effect():
    elsewhere = {"LFO", "Dynamics", "Effect", "ModulatedDelay", "Compressor", "Expander"}
    kinds = {type(made(name)[0]).__name__ for name in MODELS}
    assert kinds == set(effects.__all__) - elsewhere


def test_half_a_turn_on_is_exactly_half_a_turn_back():
    x = jnp.zeros((100, 2), jnp.float32)
    found = effects.LFO(2, 3.0, "sine", 1.0, RATE)(x)
    np.testing.assert_array_equal(found[:, 0], -found[:, 1])


REFUSED: dict[str, tuple[Any, str]] = {
    "channels": (lambda: effects.Chorus(0, sample_rate=RATE), "`channels` (=0)"),
    "wave": (
        lambda: effects.Tremolo(wave="square", sample_rate=RATE)(jnp.zeros((4, 1))),  # type: ignore[arg-type]
        "`wave` (='square')",
    ),
    "rate": (lambda: effects.Tremolo(rate=0.0, sample_rate=RATE), "`rate`"),
    "feedback": (lambda: effects.Flanger(feedback=1.0, sample_rate=RATE), "`feedback` (=1.0)"),
    "maximum": (lambda: effects.Chorus(maximum=3.0, sample_rate=RATE), "`maximum` (=3.0)"),
    "delay": (lambda: effects.Vibrato(delay=-1.0, sample_rate=RATE), "`delay`"),
    "sample rate": (lambda: effects.Phaser(sample_rate=0.0), "`sample_rate` (=0.0)"),
    "stages": (lambda: effects.Phaser(stages=0, sample_rate=RATE), "`stages` (=0)"),
    "low": (lambda: effects.Phaser(low=1.0, sample_rate=RATE), "`low`"),
    "time": (lambda: effects.PingPong(time=0.0, sample_rate=RATE), "`time` (=0.0)"),
    "damping": (lambda: effects.PingPong(damping=3e4, sample_rate=RATE), "`damping`"),
    "range": (lambda: effects.Gate(range_db=6.0, sample_rate=RATE), "`range_db` (=6.0)"),
    "ratio": (lambda: effects.Gate(ratio=0.5, sample_rate=RATE), "`ratio`"),
    "lookahead": (lambda: effects.Limiter(lookahead=0.0, sample_rate=RATE), "`lookahead` (=0.0)"),
    "curve": (lambda: effects.Waveshaper(curve="wavy"), "`curve` (='wavy')"),
    "bias": (lambda: effects.Waveshaper(bias=np.nan), "`bias` (=nan)"),
    "hidden": (lambda: effects.LearnedWaveshaper(hidden=(), rngs=nnx.Rngs(0)), "`hidden` (=())"),
    "knob": (lambda: effects.ToneStack(bass=1.5, sample_rate=RATE), "`bass` (=1.5)"),
    "component": (
        lambda: effects.ToneStack(components={"R9": 1.0}, sample_rate=RATE),
        "`components`: 'R9' is none of R1",
    ),
    "units": (lambda: effects.LSTMAmplifier(0, rngs=nnx.Rngs(0)), "`hidden` (=0)"),
    "conditions": (
        lambda: effects.LSTMAmplifier(conditions=-1, rngs=nnx.Rngs(0)),
        "`conditions` (=-1)",
    ),
    "dilations": (
        lambda: effects.TCNAmplifier(4, (1, 0), rngs=nnx.Rngs(0)),
        "`dilations[1]` (=0)",
    ),
    "no dilations": (lambda: effects.TCNAmplifier(4, (), rngs=nnx.Rngs(0)), "`dilations` (=())"),
    "states": (lambda: effects.S4D(1, 3, rngs=nnx.Rngs(0)), "`states` (=3)"),
    "steps": (lambda: effects.S4D(1, steps=(1.0, 0.1), rngs=nnx.Rngs(0)), "`steps`"),
    "layers": (lambda: effects.S4DAmplifier(layers=0, rngs=nnx.Rngs(0)), "`layers` (=0)"),
    "bands": (lambda: effects.WienerHammerstein(bands=1, sample_rate=RATE), "`bands` (=1)"),
    "drive": (lambda: effects.GrayBoxAmplifier(drive_db=np.inf, sample_rate=RATE), "`drive_db`"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_wrong_is_named(what):
    call, message = REFUSED[what]
    with pytest.raises(ValueError) as raised:
        call()
    assert message in str(raised.value)


@pytest.mark.parametrize("name", MODELS)
def test_audio_of_another_number_of_channels_is_refused(name):
    module = made(name)[0]
    with pytest.raises(ValueError, match=type(module).__name__):
        module(jnp.zeros((8, module.inputs + 1)))
    with pytest.raises(ValueError, match=type(module).__name__):
        module(jnp.zeros(8))
