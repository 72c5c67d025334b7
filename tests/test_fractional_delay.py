"""Fractional delays against direct evaluation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from plain import EPS, RNG, agree, double, impulse, noise

from adac_jax import DelayFreeLoopError, RefusedError, nn, trace
from adac_jax.primitives import delay, feedback, fractional_delay
from adac_jax.primitives.fractional_delay import lagrange_taps

METHODS = [("lagrange", 1), ("lagrange", 2), ("lagrange", 3), ("lagrange", 5)]
METHODS += [("thiran", 1), ("thiran", 3)]


@pytest.fixture(autouse=True)
def _double():
    with double():
        yield


def polynomial_delay(x: np.ndarray, d: float, order: int) -> np.ndarray:
    """The value at t - d of the polynomial through the order + 1 samples nearest to it."""
    D = int(max(0, np.floor(d - (order - 1) / 2)))
    padded = np.concatenate([np.zeros(D + order), x])
    y = np.zeros(len(x))
    for t in range(len(x)):
        points = padded[t : t + order + 1]  # x[t - D - order] … x[t - D]
        V = np.vander(np.arange(order + 1.0), increasing=True)
        c = np.linalg.solve(V, points)
        y[t] = np.polyval(c[::-1], D + order - d)
    return y


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_lagrange_is_the_interpolating_polynomial(order):
    x = noise(40, 4)
    d = np.array([0.3, 4.0, 6.71, 12.5])
    wanted = np.stack([polynomial_delay(x[:, k], d[k], order) for k in range(4)], axis=1)
    # Solving the Vandermonde system amplifies rounding by its condition, below 1e4 at order 5.
    np.testing.assert_allclose(fractional_delay(x, d, order=order), wanted, atol=1e4 * EPS)


@pytest.mark.parametrize(("method", "order"), METHODS)
def test_whole_delays_are_exact(method, order):
    x = jnp.asarray(noise(60, 3))
    d = np.array([order, order + 4, 20])
    wanted = delay(x, d)
    np.testing.assert_array_equal(fractional_delay(x, d, order=order, method=method), wanted)
    trained = fractional_delay(
        x, jnp.asarray(d, float), order=order, method=method, minimum=0, maximum=25
    )
    np.testing.assert_array_equal(trained, wanted)


@pytest.mark.parametrize(("method", "order"), METHODS)
def test_low_frequencies_are_delayed_by_d(method, order):
    d = order + 3.37
    h = np.asarray(fractional_delay(impulse(4096), d, order=order, method=method))
    w = 1e-3
    H = np.sum(h[:, 0] * np.exp(-1j * w * np.arange(len(h))))
    # Maximally flat at 0: magnitude and phase delay depart by O(w^2) at the least, here 1e-6.
    assert abs(abs(H) - 1) < (4096 * EPS if method == "thiran" else w**2)
    assert abs(-np.angle(H * np.exp(1j * w * d)) / w) < w**2 * d


@pytest.mark.parametrize("order", [1, 2, 3])
def test_thiran_is_an_allpass(order):
    h = np.asarray(
        fractional_delay(
            jnp.zeros((4096, 1)).at[0].set(1), order + 0.4, order=order, method="thiran"
        )
    )
    # The response has died away long before its end; a bin sums 4096 terms.
    assert np.abs(np.abs(np.fft.rfft(h[:, 0])) - 1).max() < 4096 * EPS


@pytest.mark.parametrize(("method", "order"), [("lagrange", 2), ("lagrange", 3), ("thiran", 2)])
def test_gradient_in_samples(method, order):
    x, weights = jnp.asarray(noise(50, 3)), jnp.asarray(noise(50, 3))
    d = jnp.asarray([order + 0.13, order + 4.21, 20.37])

    @jax.jit
    def loss(d):
        y = fractional_delay(x, d, order=order, method=method, minimum=0, maximum=30)
        return jnp.sum(weights * y**2)

    found, h = jax.jit(jax.grad(loss))(d), 1e-6
    for k in range(3):
        step = h * jnp.eye(3)[k]
        # Central differences: h² for the truncation, EPS / h for the rounding, times 50 terms.
        numeric = (loss(d + step) - loss(d - step)) / (2 * h)
        assert abs(found[k] - numeric) < 50 * 10 * EPS / h


@pytest.mark.parametrize("method", ["lagrange", "thiran"])
def test_second_derivative_in_samples(method):
    x, h = jnp.asarray(noise(20, 1)), 1e-6

    @jax.jit
    def slope(d):
        def loss(d):
            y = fractional_delay(x, d, order=1, method=method, minimum=0, maximum=9)
            return jnp.sum(y**2)

        return jax.grad(loss)(d)

    d = jnp.asarray([3.2])
    curve = jax.jit(jax.grad(lambda d: slope(d)[0]))(d)
    numeric = (slope(d + h) - slope(d - h)) / (2 * h)
    assert abs(curve - numeric)[0] < 20 * 10 * EPS / h


def test_fixed_and_trained_delays_are_one_thing():
    x, d = jnp.asarray(noise(60, 2)), np.array([3.4, 9.9])
    fixed = fractional_delay(x, d)
    trained = fractional_delay(x, jnp.asarray(d), minimum=1, maximum=20)
    # The same taps: four products and their sum, which may be fused in different ways.
    size = np.abs(x).max() * np.abs(lagrange_taps(d - np.floor(d - 1), 3)).sum(0).max()
    np.testing.assert_allclose(fixed, trained, rtol=0, atol=2 * 4 * EPS * size)


def test_delays_beyond_the_range_are_taken_to_its_end():
    x = jnp.asarray(noise(60, 2))
    d = jnp.asarray([0.2, 90.0])
    y = fractional_delay(x, d, minimum=2, maximum=20)
    np.testing.assert_array_equal(y, delay(x, (2, 23)))


def test_vmap_of_fractional_delay():
    x, d = jnp.asarray(RNG.normal(size=(3, 40, 2))), jnp.asarray(RNG.uniform(3, 9, (3, 2)))

    def f(x, d):
        return fractional_delay(x, d, minimum=0, maximum=12)

    for axes in ((0, 0), (0, None), (None, 0)):
        a, b = (v if axis == 0 else v[0] for v, axis in zip((x, d), axes, strict=True))
        found = jax.vmap(f, axes)(a, b)
        wanted = [
            f(a if axes[0] is None else a[k], b if axes[1] is None else b[k]) for k in range(3)
        ]
        np.testing.assert_allclose(found, jnp.stack(wanted), atol=16 * EPS)


def test_fractional_delay_in_a_loop():
    x, d = jnp.asarray(noise(80, 1)), 4.6
    taps = np.asarray(fractional_delay(jnp.zeros((10, 1)).at[0].set(1), d))[:, 0]
    u = np.zeros(80)
    for t in range(80):
        u[t] = x[t, 0] + 0.7 * sum(taps[k] * u[t - k] for k in range(1, min(10, t + 1)))
    for samples in (d, jnp.asarray([d])):
        bounds = {} if samples is d else {"minimum": 1, "maximum": 9}
        got = feedback(lambda u: 0.7 * fractional_delay(u, samples, **bounds), x)  # noqa: B023
        np.testing.assert_allclose(got[:, 0], u, atol=80 * 10 * EPS)
    with pytest.raises(DelayFreeLoopError, match="variable_delay"):
        feedback(lambda u: fractional_delay(u, jnp.asarray([d]), minimum=0, maximum=9), x)


@pytest.mark.parametrize("maximum", [None, 30])
@pytest.mark.parametrize("method", ["lagrange", "thiran"])
def test_fractional_delay_module(method, maximum):
    model = nn.FractionalDelay([3.3, 12.9], order=3, method=method, minimum=0, maximum=maximum)
    x = noise(60, 2)
    wanted = fractional_delay(jnp.asarray(x), np.array([3.3, 12.9]), order=3, method=method)
    agree(model, np.asarray(wanted), x, 60)
    assert len(jax.tree.leaves(nnx.state(model, nnx.Param))) == (0 if maximum is None else 1)
    traced = trace(model)
    ops = {node.op for node in traced.graph.nodes}
    assert ("delay" if maximum is None else "variable_delay") in ops
    # What ships has its numbers, so its delays are plain ones.
    assert "variable_delay" not in {node.op for node in traced.program.graph.nodes}


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"samples": 3.5, "order": 0}, r"`order` \(=0\)"),
        ({"samples": 3.5, "order": 40}, r"`order` \(=40\)"),
        ({"samples": 3.5, "method": "sinc"}, r"`method` \(='sinc'\)"),
        ({"samples": -0.1}, r"`samples` \(=-0.1\) must lie in 0"),
        ({"samples": 2.4, "method": "thiran"}, r"must lie in 2.5"),
        ({"samples": float("nan")}, "must lie in"),
        ({"samples": np.ones(3)}, "does not fit the channels"),
        ({"samples": 9.0, "minimum": 0, "maximum": 5}, "must lie in 0 to 8"),
        ({"samples": 9.0, "minimum": 5, "maximum": 2}, "must be a range"),
        ({"samples": "array"}, "JAX array"),
    ],
)
def test_fractional_delay_refuses(arguments, match):
    if arguments["samples"] == "array" if isinstance(arguments["samples"], str) else False:
        arguments = {"samples": jnp.ones(2)}
    with pytest.raises(ValueError, match=match):
        fractional_delay(jnp.zeros((8, 2)), **arguments)
    with pytest.raises(TypeError, match="floating-point"):
        fractional_delay(jnp.zeros((8, 2), jnp.int32), 1.5)


def test_refusal_inside_fractional_delay_names_the_users_line():
    def ahead(x):
        return fractional_delay(jnp.concatenate([x[1:], jnp.zeros((1, 1))]), 0.5, order=1)

    with pytest.raises(RefusedError, match=r"test_fractional_delay\.py"):
        trace(ahead, inputs=1)
