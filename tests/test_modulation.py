"""Delays, filters and tables that signals move, oscillators and noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads
from readings import compared_with_jax, in_blocks, in_faust

import adac_jax

LENGTH = 60
RATE = 48000.0
# Float64: up to 60 samples of recursions with gains below 1, at most 200 operations each on numbers
# below 8, and delays of up to 30 samples whose rounding, 30 * 2^-53, meets slopes below 8:
# 60 * 200 * 8 * 2^-53 = 1.1e-11.
TOLERANCE = 1.1e-11
WAVE = np.sin(2 * np.pi * np.arange(8) / 8) + 0.25


def noise(channels: int = 2, length: int = LENGTH) -> np.ndarray:
    return np.random.default_rng(11).uniform(-1, 1, (length, channels))


def lfo(x, rate=900.0, start=0.0):
    phase = adac_jax.phasor(rate, x, sample_rate=RATE, start=start)
    return adac_jax.sine(phase)


def chorus(x):
    return x + adac_jax.fractional_delay(x, 12 + 6 * lfo(x), minimum=4, maximum=20)


def vibrato_of_each_channel(x):
    d = 8 + 5 * lfo(x, jnp.array([700.0, 1100.0]), jnp.array([0.0, 0.25]))
    return adac_jax.fractional_delay(x, d, order=1, minimum=0, maximum=16)


def flanger_in_a_loop(x):
    d = 9 + 4 * lfo(x[:, :1])

    def loop(u):
        moved = jnp.broadcast_to(d, u.shape)
        return -0.7 * adac_jax.fractional_delay(u, moved, minimum=2, maximum=16)

    return adac_jax.feedback(loop, x)


def moved_by_whole_samples(x):
    d = jnp.floor(6 + 6 * x[:, ::-1]).astype(jnp.int32)
    return adac_jax.variable_delay(x, d, minimum=1, maximum=10)


def moving_lfilter(x):
    s = lfo(x)
    b = jnp.stack([1 + s, 0.5 * s, jnp.ones_like(s)])
    a = jnp.stack([1 + 0.1 * s, 0.3 * s - 0.9, 0.4 + 0.2 * s])
    return adac_jax.lfilter(b, a, x)


def only_the_numerator_moves(x):
    b = jnp.stack([x[:, ::-1], 0.5 * x])
    return adac_jax.lfilter(b, jnp.array([2.0, -1.0, 0.25]), x)


def moving_taps(x):
    s = lfo(x)
    return adac_jax.fir(x, jnp.stack([s, 1 - s, 0.5 * x[:, ::-1], 0.25 * s * s]))


def moving_sosfilt(x):
    s = lfo(x)
    one = jnp.ones_like(s)
    rows = [[one, s, 0 * s, one, 0.5 * s, 0.25 * one], [0.5 * one, s, s, one, -0.6 * s, 0 * s]]
    return adac_jax.sosfilt(jnp.stack([jnp.stack(row) for row in rows]), x)


def wah(x):
    f = 1500 * jnp.exp2(lfo(x))
    low, band, high = adac_jax.state_variable(x, f, 0.2, sample_rate=RATE)
    return low - 2 * band + 0.5 * high


def table_at_a_phase(x):
    return adac_jax.wavetable(WAVE, adac_jax.phasor(3000.0, x, sample_rate=RATE) + 0.1 * x)


def row_of_a_table(x):
    rows = jnp.asarray(np.arange(12.0).reshape(4, 3))
    k = jnp.floor(2 + 2 * x[:, 0]).astype(jnp.int32)
    return rows[k]


def entries_for_each_channel(x):
    k = jnp.floor(2 + 3 * x).astype(jnp.int32)
    return jax.vmap(lambda row, at: row[at], in_axes=(0, 1), out_axes=1)(
        jnp.asarray([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]), jnp.clip(k, 0, 2)
    )


def channel_by_a_signal(x):
    h = jnp.concatenate([x, jnp.tanh(x), 2 * x], axis=1)
    return jnp.take_along_axis(h, jnp.argmax(jnp.abs(h), axis=1)[:, None], axis=1)


def channel_by_vmap(x):
    k = jnp.where(x[:, 0] > 0, 1, 0)
    return jax.vmap(lambda row, at: row[at])(x, k)[:, None]


def frequency_modulation(x):
    return adac_jax.triangle(adac_jax.phasor(2000 + 900 * x, x, sample_rate=RATE, start=0.4))


def with_noise(x):
    return x * adac_jax.noise(x, seed=5)


def hash_of_bits(x):
    k = (x * 1000).astype(jnp.int32) * 40503
    k = k ^ lax.shift_right_logical(k, jnp.int32(15))
    return ((k << 3) >> 8).astype(x.dtype)


CASES = {f.__name__: f for f in (
    chorus, vibrato_of_each_channel, flanger_in_a_loop, moved_by_whole_samples, moving_lfilter,
    only_the_numerator_moves, moving_taps, moving_sosfilt, wah, table_at_a_phase, row_of_a_table,
    entries_for_each_channel, channel_by_a_signal, channel_by_vmap, frequency_modulation,
    with_noise, hash_of_bits,
)}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_all_readings_compute_what_jax_computes(name):
    expected = compared_with_jax(CASES[name], noise(), TOLERANCE, (in_blocks, in_faust))
    assert np.ptp(expected) > 0.1


def lagrange(x, d, order):
    """Σ_k h_k x[t - D - k], one sample and one channel at a time."""
    y = np.zeros_like(x)
    for t, c in np.ndindex(*x.shape):
        whole = int(np.floor(d[t, c] - (order - 1) / 2))
        mu = d[t, c] - whole
        for k in range(order + 1):
            others = [j for j in range(order + 1) if j != k]
            h = np.prod([(mu - j) / (k - j) for j in others])
            y[t, c] += h * x[t - whole - k, c] if t >= whole + k else 0.0
    return y


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_a_moving_delay_reads_where_it_says(order):
    x = noise()
    d = 6 + 3 * np.sin(np.arange(LENGTH)[:, None] * np.array([0.31, 0.17]))
    with jax.enable_x64(True):
        y = adac_jax.fractional_delay(
            jnp.asarray(x), jnp.asarray(d), order=order, minimum=0, maximum=12
        )
        y = np.asarray(y)
    # 6 products of 6 factors below 4^5 / 5!, on numbers below 1.
    assert np.max(np.abs(y - lagrange(x, d, order))) <= 36 * 9 * 2**-53


def test_a_moving_filter_is_its_difference_equation():
    rng = np.random.default_rng(2)
    x, b = noise(), rng.uniform(-1, 1, (3, LENGTH, 2))
    a = rng.uniform(-0.4, 0.4, (3, LENGTH, 2)) + np.array([1.0, 0, 0])[:, None, None]
    y = np.zeros_like(x)
    for t in range(LENGTH):
        v = sum(b[k, t] * x[t - k] for k in range(3) if t >= k)
        y[t] = (v - sum(a[k, t] * y[t - k] for k in (1, 2) if t >= k)) / a[0, t]
    with jax.enable_x64(True):
        plain = np.asarray(adac_jax.fir(jnp.asarray(x), jnp.asarray(b)))
        found = np.asarray(adac_jax.lfilter(jnp.asarray(b), jnp.asarray(a), jnp.asarray(x)))
        sections = jnp.concatenate([jnp.asarray(b), jnp.asarray(a)])[None]
        cascade = np.asarray(adac_jax.sosfilt(sections, jnp.asarray(x)))
    assert np.max(np.abs(found - y)) <= TOLERANCE * np.max(np.abs(y))
    heard = [np.concatenate([np.zeros((k, 2)), x[: LENGTH - k]]) for k in range(3)]
    taps = sum(h * v for h, v in zip(b, heard, strict=True))
    assert np.max(np.abs(plain - taps)) <= TOLERANCE
    assert np.max(np.abs(cascade - y)) <= TOLERANCE * np.max(np.abs(y))


def test_coefficients_that_stand_still_are_the_plain_filter():
    x = noise()
    b, a = np.array([0.5, 0.2, -0.1]), np.array([1.5, -0.6, 0.3])
    still = [np.broadcast_to(c[:, None, None], (3, LENGTH, 2)) for c in (b, a)]
    with jax.enable_x64(True):
        found = np.asarray(adac_jax.lfilter(*map(jnp.asarray, still), jnp.asarray(x)))
        wanted = np.asarray(adac_jax.lfilter(b, a, jnp.asarray(x)))
    assert np.max(np.abs(found - wanted)) <= TOLERANCE


@pytest.mark.parametrize("name", ["chorus", "moving_lfilter", "moving_sosfilt", "wah"])
def test_gradients_of_what_moves(name):
    with jax.enable_x64(True):
        x = jnp.asarray(noise())[:20]
        check_grads(jax.jit(CASES[name]), (x,), 2, atol=1e-5, rtol=1e-5)


def test_gradients_of_lengths_and_rates():
    with jax.enable_x64(True):
        x = jnp.asarray(noise())[:30]

        @jax.jit
        def of_length(d, gain):
            moved = d + 3 * lfo(x)
            delayed = adac_jax.feedback(
                lambda u: gain * adac_jax.fractional_delay(u, moved, minimum=1, maximum=16), x
            )
            return jnp.sum(delayed**2)

        check_grads(of_length, (jnp.array(7.3), jnp.array(0.6)), 1, atol=1e-5, rtol=1e-5)

        # Frequencies are rounded to fs / 2^32, so differences over 1 Hz are wrong by 1e-5.
        @jax.jit
        def of_rate(f):
            return jnp.sum(adac_jax.sine(adac_jax.phasor(f, x, sample_rate=RATE)) * x)

        slope = (of_rate(701.0) - of_rate(699.0)) / 2
        assert abs(jax.grad(of_rate)(700.0) - slope) <= 1e-4 * abs(slope)
        moving = jax.grad(lambda f: of_rate(f + 50 * x))(700.0)
        slope = (of_rate(701.0 + 50 * x) - of_rate(699.0 + 50 * x)) / 2
        assert abs(moving - slope) <= 1e-4 * abs(slope)


def test_batches_of_what_moves():
    with jax.enable_x64(True):
        x = jnp.stack([jnp.asarray(noise()), 2 * jnp.asarray(noise())[::-1]])
        for name in ("chorus", "moved_by_whole_samples", "moving_lfilter", "wah", "with_noise"):
            run = jax.jit(CASES[name])
            together = jax.jit(jax.vmap(run))(x)
            alone = jnp.stack([run(one) for one in x])
            np.testing.assert_allclose(together, alone, rtol=0, atol=TOLERANCE)
        f = jax.vmap(lambda v, d: adac_jax.fractional_delay(v, d, minimum=0, maximum=9), (None, 0))
        d = 4 + jnp.stack([x[0], x[1] / 2])
        one = adac_jax.fractional_delay(x[0], d[1], minimum=0, maximum=9)
        np.testing.assert_array_equal(f(x[0], d)[1], one)


def test_a_phase_does_not_drift():
    """After 2^20 samples it is what integers say, in single precision as in double."""
    count, rate = 2**20, 440.0
    step = round(rate / RATE * 2**32)
    wanted = (np.arange(count, dtype=np.int64) * step + 2**31) % 2**32 - 2**31
    with jax.enable_x64(True):
        x = jnp.zeros((count, 1))
        found = adac_jax.phasor(rate, x, sample_rate=RATE)
        np.testing.assert_array_equal(np.asarray(found)[:, 0] * 2**32, wanted)
        moving = adac_jax.phasor(rate + x, x, sample_rate=RATE)
        np.testing.assert_array_equal(np.asarray(moving), np.asarray(found))


def test_noise_is_the_same_in_both_precisions_and_white():
    with jax.enable_x64(True):
        double = np.asarray(adac_jax.noise(jnp.zeros((4096, 2)), seed=1))
    single = np.asarray(adac_jax.noise(jnp.zeros((4096, 2), jnp.float32), seed=1))
    np.testing.assert_array_equal(single, double.astype(np.float32))
    # 4096 independent numbers: five standard deviations of mean, variance and correlations.
    assert np.all(np.abs(double.mean(0)) < 5 * np.sqrt(1 / 3 / 4096))
    assert np.all(np.abs(double.var(0) - 1 / 3) < 5 * np.sqrt(4 / 45 / 4096))
    for lag in range(4):
        assert abs(np.mean(double[lag:, 0] * double[: 4096 - lag, 1])) < 5 / 3 / np.sqrt(4096)
    state, expected = 1, []
    for _ in range(4):
        state = (1103515245 * state + 12345) % 2**32
        expected.append((state - 2**32 * (state >= 2**31)) // 256 / 2**23)
    np.testing.assert_array_equal(double[:4, 0], expected)


REFUSED = {
    "samples by position": (lambda x: x[(x[:, 0] * 3).astype(jnp.int32)], "position in time"),
    "several in a row": (
        lambda x: jax.vmap(lambda k: lax.dynamic_slice(jnp.arange(9.0), (k,), (2,)))(
            (x[:, 0] * 3).astype(jnp.int32)
        ),
        "several numbers in a row",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_is_refused(name):
    function, reason = REFUSED[name]
    with pytest.raises(adac_jax.RefusedError, match=reason):
        adac_jax.trace(function, inputs=2)


def test_wrong_arguments_are_named():
    x = jnp.zeros((8, 2))
    moving = jnp.zeros((3, 8, 2))
    with pytest.raises(ValueError, match="zi"):
        adac_jax.lfilter(moving, jnp.ones(3), x, jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"`b` of shape \(3, 7, 2\)"):
        adac_jax.lfilter(jnp.zeros((3, 7, 2)), jnp.ones(3), x)
    with pytest.raises(ValueError, match="lagrange"):
        adac_jax.fractional_delay(x, x + 5, method="thiran", minimum=0, maximum=9)
    with pytest.raises(ValueError, match=r"\(7, 2\)"):
        adac_jax.fractional_delay(x, jnp.zeros((7, 2)), minimum=0, maximum=9)
    with pytest.raises(ValueError, match="table"):
        adac_jax.wavetable(jnp.zeros((2, 2)), x)
