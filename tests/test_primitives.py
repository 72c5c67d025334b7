"""The primitives against scipy and plain loops, and under every transformation of JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import signal

from adac_jax import delay, feedback, fir, lfilter, sosfilt, variable_delay

LENGTHS = (1, 2, 31, 32, 33, 200)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def delayed(x: np.ndarray, samples) -> np.ndarray:
    y = np.zeros_like(x)
    for channel, m in enumerate(np.broadcast_to(samples, x.shape[1:])):
        y[m:, channel] = x[: max(0, len(x) - m), channel]
    return y


@pytest.mark.parametrize(
    ("order", "length"),
    [(2, length) for length in LENGTHS] + [(k, n) for k in (0, 1, 3, 6) for n in (1, 33, 200)],
)
def test_lfilter_is_scipys(order, length):
    b, a = signal.butter(order, 0.3) if order else (np.array([0.7]), np.array([2.0]))
    a = a * 1.7  # a0 need not be one
    x, zi = noise(length, 2), noise(order, 2, seed=1)
    y, zf = lfilter(b, a, jnp.asarray(x), zi)
    expected, final = signal.lfilter(b, a, x, axis=0, zi=zi)
    # 32-sample products below ten and a stable recursion: a thousand roundings of 2^-53.
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(zf, final, rtol=0, atol=1e-12)
    plain = signal.lfilter(b, a, x, axis=0)
    np.testing.assert_allclose(lfilter(b, a, jnp.asarray(x)), plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", LENGTHS)
def test_sosfilt_is_scipys(length):
    sos = signal.cheby1(6, 1.0, [0.1, 0.4], "bandpass", output="sos")
    x, zi = noise(length, 2), noise(len(sos), 2, 2, seed=1)
    y, zf = sosfilt(sos, jnp.asarray(x), zi)
    expected, final = signal.sosfilt(sos, x, axis=0, zi=zi)
    # Six sections with poles at radius 0.96: gains of a few hundred on top of 2^-53.
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(zf, final, rtol=0, atol=1e-12 * scale)


def test_state_carries_over_from_block_to_block():
    sos = signal.butter(4, 0.2, output="sos")
    x = noise(300, 3)
    whole = sosfilt(sos, jnp.asarray(x))
    state, parts = np.zeros((len(sos), 2, 3)), []
    for block in np.split(x, [1, 40, 41, 172]):
        y, state = sosfilt(sos, jnp.asarray(block), state)
        parts.append(y)
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize("count", [1, 3, 48, 49, 300])
@pytest.mark.parametrize("length", [1, 60, 500])
def test_fir_is_convolution(count, length):
    x, h = noise(length, 2), noise(count, 2, seed=1)
    expected = np.stack([np.convolve(x[:, k], h[:, k])[:length] for k in range(2)], axis=1)
    # Sums of `count` products below one.
    tolerance = 2**-52 * (count + 20)
    np.testing.assert_allclose(fir(jnp.asarray(x), h), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("samples", [0, 5, [0, 1, 7], [3, 3, 400]])
def test_delay(samples):
    x = noise(50, 3)
    np.testing.assert_array_equal(delay(jnp.asarray(x), samples), delayed(x, samples))


def test_delay_of_many_channels():
    x, samples = noise(40, 300), np.arange(300) % 37
    np.testing.assert_array_equal(delay(jnp.asarray(x), samples), delayed(x, samples))


def test_delay_with_a_start():
    x, start = noise(10, 2), noise(3, 2, seed=1)
    y = np.asarray(delay(jnp.asarray(x), [1, 3], initial=start))
    expected = delayed(x, [1, 3])
    expected[:1, 0], expected[:3, 1] = start[:1, 0], start[:3, 1]
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("samples", [[1, 4, 2], [9, -3, 0]])
def test_variable_delay_clips(samples):
    x = noise(30, 3)
    y = variable_delay(jnp.asarray(x), jnp.array(samples), minimum=1, maximum=6)
    np.testing.assert_array_equal(y, delayed(x, np.clip(samples, 1, 6)))


def loop_by_hand(x, A, m, filters=lambda v, state: (v, state)):
    """u = x + A u delayed, sample by sample."""
    u = np.zeros_like(x)
    for t in range(len(x)):
        past = np.array([u[t - d, k] if t >= d else 0.0 for k, d in enumerate(m)])
        u[t] = x[t] + A @ past
    return u


@pytest.mark.parametrize("m", [(1, 1, 1), (1, 5, 40), (7, 11, 13), (30, 31, 64), (100, 90, 80)])
@pytest.mark.parametrize("length", [1, 20, 64, 150])
def test_feedback_is_the_recursion(m, length):
    A = 0.9 * np.linalg.qr(noise(3, 3))[0]
    x = noise(length, 3, seed=2)
    u = feedback(lambda u: delay(u, m) @ A.T, jnp.asarray(x))
    # At most 150 passes of three products each, contracting: below a thousand roundings.
    np.testing.assert_allclose(u, loop_by_hand(x, A, m), rtol=0, atol=1e-13)


def test_feedback_of_a_one_pole_is_lfilter():
    x = noise(100, 2)
    u = feedback(lambda u: 0.8 * delay(u, 1), jnp.asarray(x))
    expected = signal.lfilter([1.0], [1, -0.8], x, axis=0)
    np.testing.assert_allclose(u, expected, rtol=0, atol=1e-13)


def test_nested_feedback():
    """An allpass comb inside a comb, against the product of polynomials."""
    x = noise(120, 1)
    inner = lambda v: feedback(lambda u: -0.5 * delay(u, 3), v)  # noqa: E731
    u = feedback(lambda u: 0.6 * inner(delay(u, 7)), jnp.asarray(x))
    b = np.zeros(4)
    b[[0, 3]] = 1, 0.5
    a = np.zeros(8)
    a[[0, 3, 7]] = 1, 0.5, -0.6
    np.testing.assert_allclose(u, signal.lfilter(b, a, x, axis=0), rtol=0, atol=1e-13)


X = noise(40, 2, seed=5)
SOS = signal.butter(3, 0.4, output="sos")
TRANSFORMED = {
    "delay": (lambda x: delay(x, [1, 6]), (X,)),
    "delay with a start": (lambda x, s: delay(x, [1, 3], initial=s), (X, noise(3, 2))),
    "variable delay": (lambda x: variable_delay(x, jnp.array([2, 5]), maximum=6), (X,)),
    "fir": (lambda x, h: fir(x, h), (X, noise(5, 2))),
    "fir, long": (lambda x, h: fir(x, h), (noise(90, 2), noise(60, 2))),
    "lfilter": (
        lambda x, b, a, zi: lfilter(b, a, x, zi),
        (X, np.array([0.3, 0.2, 0.1]), np.array([1.0, -0.5, 0.2]), noise(2, 2)),
    ),
    "sosfilt": (lambda x, s, zi: sosfilt(s, x, zi), (X, SOS, noise(len(SOS), 2, 2))),
    "feedback": (lambda x, A: feedback(lambda u: delay(u, [3, 5]) @ A, x), (X, 0.5 * np.eye(2))),
    "feedback, filtered": (
        lambda x, A, s: feedback(lambda u: sosfilt(s, delay(u, [3, 5])) @ A, x),
        (X, 0.3 * np.eye(2), SOS),
    ),
    "feedback, nonlinear": (
        lambda x, A: feedback(lambda u: jnp.tanh(delay(u, [2, 3]) @ A), x),
        (X, 0.8 * np.eye(2)),
    ),
    "feedback, modulated": (
        lambda x, g: feedback(lambda u: g * delay(u, 2), x),
        (X, 0.5 * noise(40, 2, seed=3)),
    ),
    "feedback, further signals": (
        lambda x, A: feedback(lambda u: (delay(u, 2) @ A, u * u), x, has_aux=True),
        (X, 0.5 * np.eye(2)),
    ),
    "feedback, nested": (
        lambda x, g: feedback(lambda u: g * feedback(lambda v: g * delay(v, 3), delay(u, 4)), x),
        (X, np.array([0.4, -0.3])),
    ),
}


LATER = ("sosfilt", "feedback, filtered")
"""Second derivatives of these take long to compile; lfilter has the same kernel."""


@pytest.mark.parametrize(
    ("name", "order"),
    [
        pytest.param(name, 2, marks=[pytest.mark.slow] if name in LATER else [])
        for name in TRANSFORMED
    ]
    + [(name, 1) for name in LATER],
)
def test_derivatives_of_first_and_second_order(name, order):
    function, operands = TRANSFORMED[name]
    # Central differences with a step of 1e-4: truncation is 1e-8 times a third derivative, which
    # for poles at a radius of 0.8 is some hundreds.
    arrays = tuple(map(jnp.asarray, operands))
    check_grads(jax.jit(function), arrays, order, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TRANSFORMED)
def test_jit_changes_nothing(name):
    function, operands = TRANSFORMED[name]
    arrays = tuple(map(jnp.asarray, operands))
    for a, b in zip(
        jax.tree.leaves(function(*arrays)), jax.tree.leaves(jax.jit(function)(*arrays)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", TRANSFORMED)
def test_vmap_is_a_loop(name):
    function, operands = TRANSFORMED[name]
    stacked = [jnp.stack([jnp.asarray(o), 0.5 * jnp.asarray(o)]) for o in operands]
    for axes in ((0,) * len(operands), (0,) + (None,) * (len(operands) - 1)):
        chosen = [s if a == 0 else s[0] for s, a in zip(stacked, axes, strict=True)]
        found = jax.tree.leaves(jax.vmap(function, axes)(*chosen))
        for k in range(2):
            single = [c[k] if a == 0 else c for c, a in zip(chosen, axes, strict=True)]
            for y, expected in zip(found, jax.tree.leaves(function(*single)), strict=True):
                np.testing.assert_allclose(y[k], expected, rtol=0, atol=1e-13)


LINEAR = [name for name in TRANSFORMED if "nonlinear" not in name and "further" not in name]


@pytest.mark.parametrize("name", LINEAR)
def test_transpose_is_the_adjoint(name):
    """⟨y, F x⟩ = ⟨Fᵀ y, x⟩ for the map from the signal, everything else fixed."""
    function, operands = TRANSFORMED[name]
    rest = [0 * jnp.asarray(o) if "start" in name else jnp.asarray(o) for o in operands[1:]]
    zero = jnp.zeros(operands[0].shape)

    def linear(x):
        # Initial states make the map affine: take the constant part away.
        y, start = (jax.tree.leaves(function(v, *rest))[0] for v in (x, zero))
        return y - jax.lax.stop_gradient(start)

    x, y = jnp.asarray(operands[0]), jnp.asarray(noise(*operands[0].shape, seed=9))
    (back,) = jax.vjp(linear, x)[1](y)
    # Forty sums of forty products.
    assert abs(jnp.vdot(y, linear(x)) - jnp.vdot(back, x)) <= 1e-12


@pytest.mark.parametrize("name", ["delay", "fir", "feedback"])
def test_linear_transpose_directly(name):
    function, operands = TRANSFORMED[name]
    rest = [jnp.asarray(o) for o in operands[1:]]
    x, y = jnp.asarray(operands[0]), jnp.asarray(noise(*operands[0].shape, seed=9))
    (back,) = jax.linear_transpose(lambda v: function(v, *rest), x)(y)
    assert abs(jnp.vdot(y, function(x, *rest)) - jnp.vdot(back, x)) <= 1e-12


def test_the_jaxpr_reads_as_the_block_diagram():
    def model(x):
        return jax.vmap(lambda v: feedback(lambda u: 0.5 * delay(u, 2), v))(x[None])[0]

    text = str(jax.make_jaxpr(model)(X))
    assert "feedback[" in text
    assert "delay[" in text
    assert "scan" not in text


BAD = {
    "negative delay": (lambda x: delay(x, -1), r"-1.*0 to"),
    "fraction": (lambda x: delay(x, 1.5), "whole numbers"),
    "channels": (lambda x: delay(x, [1, 2, 3]), r"\(3,\).*channels \(2,\)"),
    "no channels": (lambda x: delay(x[:, 0], 1), "time axis"),
    "start": (lambda x: delay(x, 2, initial=np.zeros((3, 2))), r"\(3, 2\).*\(2, 2\)"),
    "taps": (lambda x: fir(x, np.zeros((4, 3))), "taps"),
    "sections": (lambda x: sosfilt(np.zeros((2, 5)), x), r"\(2, 5\)"),
    "state": (lambda x: lfilter([1], [1, 0.5], x, np.zeros((2, 2))), "zi"),
    "loop shape": (lambda x: feedback(lambda u: delay(u, 1)[:, :1], x), "must be equal"),
    "nothing": (lambda x: feedback(lambda u: u, ()), "at least one signal"),
    "lengths": (lambda x: feedback(lambda u: delay(u[0], 1), (x, x[:5])), "different lengths"),
    "range": (lambda x: variable_delay(x, 3, minimum=5, maximum=4), "range"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_arguments_are_named(name):
    function, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        function(jnp.asarray(X))
