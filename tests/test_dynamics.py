"""Compressors and expanders: against a plain loop, their gradients, and in FAUST."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from readings import in_faust

import adac_jax
from adac_jax.effects import Compressor, Expander

RATE = 48000.0


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def bursts(length: int = 400, channels: int = 2) -> np.ndarray:
    noise = np.random.default_rng(1).uniform(-1, 1, (length, channels))
    envelope = np.where((np.arange(length) // 100) % 2 == 0, 0.9, 0.01)
    return noise * envelope[:, None]


OPTIONS = {
    "threshold_db": -24.0,
    "ratio": 5.0,
    "knee_db": 8.0,
    "attack": 0.0005,
    "release": 0.002,
    "makeup_db": 3.0,
    "sample_rate": RATE,
}


def gain_db(kind: type, level: float) -> float:
    """Equation (4) of the tutorial, and its mirror image, by its three cases."""
    T, R, W = OPTIONS["threshold_db"], OPTIONS["ratio"], OPTIONS["knee_db"]
    if kind is Compressor:
        if 2 * (level - T) < -W:
            out = level
        elif 2 * abs(level - T) <= W:
            out = level + (1 / R - 1) * (level - T + W / 2) ** 2 / (2 * W)
        else:
            out = T + (level - T) / R
        return out - level
    if 2 * (T - level) < -W:
        return 0.0
    if 2 * abs(level - T) <= W:
        return (1 - R) * (T - level + W / 2) ** 2 / (2 * W)
    return (1 - R) * (T - level)


def plain(kind: type, x: np.ndarray, linked: bool, detector: str) -> np.ndarray:
    attack, release = (np.exp(-1 / (OPTIONS[k] * RATE)) for k in ("attack", "release"))
    fall, rise = (attack, release) if kind is Compressor else (release, attack)
    g, last, y = np.zeros(x.shape[1]), np.zeros(x.shape[1]), np.zeros_like(x)
    for t, v in enumerate(x):
        loud = np.abs(v if detector == "forward" else last)
        loud = np.full_like(loud, loud.max()) if linked else loud
        for k, a in enumerate(loud):
            c = gain_db(kind, 20 * np.log10(max(a, 1e-6)))
            weight = fall if c < g[k] else rise
            g[k] = weight * g[k] + (1 - weight) * c
        last = y[t] = v * 10 ** ((g + OPTIONS["makeup_db"]) / 20)
    return y


@pytest.mark.parametrize("kind", [Compressor, Expander])
@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("detector", ["forward", "feedback"])
def test_against_a_plain_loop_and_in_faust(kind, linked, detector):
    module = kind(2, linked=linked, detector=detector, **OPTIONS)
    x = bursts()
    expected = plain(kind, x, linked, detector)
    graph, state = nnx.split(module)
    run = jax.jit(lambda s, x: nnx.merge(graph, s)(x))
    # 400 samples of some twenty operations on decibels of up to 400: contracting, so each error
    # is carried on over at most a few hundred samples: 400 * 20 * 400 * 2^-53 = 4e-10.
    np.testing.assert_allclose(run(state, jnp.asarray(x)), expected, atol=4e-10)
    batched = run(state, jnp.stack([jnp.asarray(x), 0.5 * jnp.asarray(x)]))
    np.testing.assert_allclose(batched[0], expected, atol=4e-10)
    program = adac_jax.trace(module).program
    (found,) = in_faust(program, [x], len(x))
    np.testing.assert_allclose(found, expected, atol=4e-10)


@pytest.mark.parametrize("kind", [Compressor, Expander])
def test_gradients_run_through_the_ballistics(kind):
    module = kind(2, **OPTIONS)
    x = jnp.asarray(bursts())
    graph, state = nnx.split(module)
    target = jnp.asarray(bursts()[::-1].copy())

    @jax.jit
    def loss(state):
        return jnp.mean((nnx.merge(graph, state)(x) - target) ** 2)

    gradient = jax.grad(loss)(state)
    step = 1e-6
    leaves, tree = jax.tree.flatten(state)
    for k, found in enumerate(jax.tree.leaves(gradient)):
        ends = []
        for sign in (1, -1):
            moved = [v + sign * step if j == k else v for j, v in enumerate(leaves)]
            ends.append(loss(jax.tree.unflatten(tree, moved)))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert abs(float(found[0])) > 1e-7  # every parameter is heard
        # Central differences are off by step² times the third derivative and 2^-53 / step.
        np.testing.assert_allclose(found[0], slope, rtol=1e-4, atol=1e-8)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="`ratio`"):
        Compressor(1, ratio=0.5, sample_rate=RATE)
    with pytest.raises(ValueError, match="`detector`"):
        Compressor(1, detector="sideways", sample_rate=RATE)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"takes audio of shape \(\.\.\., time, 2\)"):
        Compressor(2, sample_rate=RATE)(jnp.zeros((10, 3)))
