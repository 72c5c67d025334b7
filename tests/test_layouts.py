"""Layouts that exporters get wrong: each is verified through FAUST in both precisions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import adac_jax
import ir
from adac_jax import delay, feedback, fractional_delay, nn, sosfilt

RATE = 48000
M = (149, 211, 263, 293)
FILTERS = {
    "svf": lambda n: nn.SVF(n, "lowpass", frequency=4000.0, sample_rate=RATE),
    "octave equaliser": lambda n: nn.GEQ(n, -3.0, sample_rate=RATE),
    "parametric equaliser": lambda n: nn.PEQ(n, 4, gains_db=-2.0, sample_rate=RATE),
    "shelf": lambda n: nn.FirstOrderShelf(n, 0.9, 0.5, 2000.0, sample_rate=RATE),
    "biquad": lambda n: nn.Biquad(n, "peaking", gain_db=-4.0, sample_rate=RATE),
}


def proved(model, **options) -> adac_jax.Report:
    # 1500 samples: the longest loop of all is passed, most of them five times and more.
    report = adac_jax.verify(model, seconds=1500 / RATE, **options)
    bad = [f"{c.reading}, {c.signal}: {c.error_db:.1f} dB" for c in report.checks if not c.passed]
    assert report.passed, bad
    assert max(c.peak for c in report.checks) > 1e-4, "nothing to compare"
    return report


def test_two_branches_of_equal_name():
    class Branch(nnx.Module):
        def __init__(self, gain: float) -> None:
            self.gain = nnx.Param(jnp.array(gain))

        def __call__(self, x):
            with jax.named_scope("branch"):
                return self.gain[...] * delay(x, 7)

    model = nn.Parallel(nn.Gain(1, 0.5), nn.Gain(1, -0.25), names=("twin", "twin"))
    proved(model)
    one, two = Branch(0.5), Branch(0.125)
    program = adac_jax.trace(lambda x: one(x) + two(delay(x, 2)), inputs=1).program
    (y,) = ir.run(program, np.eye(12, 1))
    assert y[7, 0] == 0.5
    assert y[9, 0] == 0.125
    proved(lambda x: one(x) + two(delay(x, 2)), inputs=1)


def test_delays_in_the_feedback_path():
    proved(nn.FDN(M, matrix="orthogonal", absorption=[0.9] * 4, feedback_delays=[0, 3, 1, 17]))


@pytest.mark.parametrize("method", ["lagrange", "thiran"])
def test_fractional_delays(method):
    lines = nn.FractionalDelay([149.3, 211.5, 263.9, 293.0], order=3, method=method)
    proved(nn.FDN(lines, absorption=[0.9] * 4))
    trained = nn.FractionalDelay([149.3, 211.5], order=3, method=method, minimum=100, maximum=400)
    proved(nn.FDN(trained, absorption=[0.9] * 2))
    proved(lambda x: fractional_delay(x, 10.25, method=method), inputs=2)


@pytest.mark.parametrize("kind", FILTERS)
def test_filters_inside_the_loop(kind):
    proved(nn.FDN(M, absorption=nn.Serial(nn.Gain(4, 0.8), FILTERS[kind](4))))


@pytest.mark.parametrize("kind", FILTERS)
def test_filters_outside_the_loop(kind):
    model = nn.FDN(M, absorption=[0.9] * 4, inputs=2, outputs=2, tone=FILTERS[kind](2))
    proved(nn.Serial(FILTERS[kind](2), model))


@pytest.mark.parametrize("kind", FILTERS)
def test_filters_as_matrices(kind):
    proved(FILTERS[kind]((3, 2)))


def test_filters_in_the_feedback_matrix():
    taps = np.random.default_rng(0).normal(size=(5, 4, 4)) / 16
    proved(nn.FDN(M, matrix=nn.FIR((4, 4), taps)))


@pytest.mark.parametrize("make", [nn.Scattering, nn.VelvetScattering])
def test_scattering_matrices(make):
    matrix = make(np.array([[0, 3, 5, 9], [2, 0, 7, 1]])) if make is nn.Scattering else make(4)
    proved(nn.FDN(M, matrix=matrix, absorption=[0.9] * 4))


def test_nested_loops():
    inner = nn.FDN((11, 17), inputs=4, outputs=4, absorption=[0.5] * 2)
    proved(nn.FDN(M, absorption=[0.7] * 4, loop=nn.Serial(nn.Gain(4, 0.5), inner)))


def test_a_loop_with_a_delay_of_one_inside_a_long_one():
    def model(x):
        low = lambda v: feedback(lambda u: 0.4 * delay(u, 1), 0.6 * v)  # noqa: E731
        return feedback(lambda u: 0.7 * low(delay(u, 101)), x)

    proved(model, inputs=1)


def test_a_direct_path_without_delay_round_the_loop():
    model = nn.FDN(M, absorption=[0.9] * 4, direct=[[0.75]])
    report = proved(model)
    with jax.enable_x64(True):
        impulse = np.eye(8, 1)
        np.testing.assert_array_equal(
            np.asarray(model(jnp.asarray(impulse)))[:, 0], 0.75 * impulse[:, 0]
        )
    assert all(check.lag == 0 for check in report.checks)
    for reading in ("FAUST single", "FAUST double"):
        assert report.traces[reading][0, 0] == 0.75


@pytest.mark.parametrize("m", [(1,), (1, 1), (1, 2), (1, 500), (1, 37, 1000)])
def test_loops_of_one_sample(m):
    proved(nn.FDN(m, absorption=[0.8] * len(m)))


def test_a_filter_in_a_loop_of_one_sample():
    sos = [[0.3, 0.1, 0.0, 1.0, -0.2, 0.0]]
    proved(lambda x: feedback(lambda u: 0.5 * sosfilt(sos, delay(u, 1)), x), inputs=1)


def test_no_inputs():
    def model(x):
        dc = jnp.sum(x, axis=1, keepdims=True) + 0.25
        return feedback(lambda u: -0.9 * delay(u, 10), dc)

    proved(model, inputs=0)


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 2), (3, 1), (2, 5), (5, 3)])
def test_other_numbers_of_inputs_and_outputs(inputs, outputs):
    D = np.linspace(-1, 1, inputs * outputs).reshape(outputs, inputs)
    proved(nn.FDN(M, absorption=[0.9] * 4, inputs=inputs, outputs=outputs, direct=D))


def test_an_output_that_hears_nothing_and_one_that_is_the_input():
    proved(lambda x: jnp.concatenate([x, jnp.zeros_like(x), 0.5 + 0 * x], axis=1), inputs=1)


def test_the_same_module_used_twice():
    class Twice(nnx.Module):
        def __init__(self) -> None:
            self.filter = nn.Biquad(1, "peaking", gain_db=6.0, sample_rate=RATE)

        def __call__(self, x):
            return self.filter(self.filter(x)) - self.filter(delay(x, 3))

    proved(Twice(), inputs=1)


def test_loops_that_share_a_signal():
    def model(x):
        a = feedback(lambda u: 0.5 * delay(u, 20), x)
        b = feedback(lambda u: 0.4 * delay(u + a, 30), x)
        return jnp.concatenate([a, b], axis=1)

    proved(model, inputs=1)


def test_two_coupled_loops():
    def model(x):
        def loop(u):
            left, right = u
            return 0.5 * delay(right, 31), -0.6 * delay(left, 17) + 0.2 * delay(right, 5)

        left, right = feedback(loop, (x, 0.5 * x))
        return left + right

    proved(model, inputs=2)


def test_nonlinear_loop():
    # Two readings of tanh differ in the last place; the loop contracts, so it stays there.
    proved(lambda x: feedback(lambda u: 0.8 * jnp.tanh(delay(u, 50)), x), inputs=1)


def test_a_dense_matrix_stays_dense_and_a_reflection_short():
    from emitters import faust

    def products(matrix: str) -> int:
        model = nn.FDN(tuple(range(101, 133)), matrix=matrix)
        return faust.emit(adac_jax.trace(model).program).count("*")

    assert products("orthogonal") > 32 * 32
    assert products("householder") < 6 * 32
    assert products("hadamard") < 4 * 32
