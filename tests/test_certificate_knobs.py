"""Knobs and moving delays in loops: proved, and no proof that a motion could break."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from plain import EPS

import adac_jax
from adac_jax import effects, feedback, nn
from adac_jax.macros import with_controls
from adac_jax.presets import hall
from adac_jax.primitives import control, delay, fractional_delay, sosfilt
from ir.certificate.reads import kernel_gains

RATE = 48000.0


def small(absorption=None, lines: int = 4) -> nn.FDN:
    m = nn.mutually_prime_delays(lines, 150, 700)
    if absorption is None:
        absorption = nn.OnePole.from_t60(0.5, 0.2, m, sample_rate=RATE)
    network = nn.FDN(m, absorption=absorption, inputs=2, outputs=2)
    network.sample_rate = RATE
    return network


def loop(certificate) -> list:
    return [proof for proof in certificate.loops if "model" in proof.name and proof.decay_seconds]


@pytest.mark.parametrize(
    ("names", "verdict"),
    [
        (["decay"], "stable"),
        (["brightness", "level", "mix", "pre-delay"], "stable"),
        (["modulation"], "stable"),
        (["decay", "size", "modulation", "brightness"], "stable"),
        (["freeze"], "lossless"),
        (["decay", "freeze", "brightness"], "lossless"),
        # What is read again while a line shrinks is energy that a frozen loop does not lose.
        (["freeze", "size"], "unproven"),
        (["decay bands"], "unproven"),
    ],
    ids=lambda v: v if isinstance(v, str) else "+".join(v),
)  # fmt: skip
def test_ready_knobs(names, verdict):
    assert adac_jax.certify(with_controls(small(), names)).verdict == verdict


def test_twice_the_decay_time_is_half_the_margin():
    """The bound is that of the longest decay, to the rounding of coefficients to single."""
    before = adac_jax.certify(small())
    after = adac_jax.certify(with_controls(small(), ["decay"]))
    assert after.margin_db == pytest.approx(before.margin_db / 2, rel=2e-3)  # type: ignore[operator]
    assert loop(after)[0].decay_seconds == pytest.approx(2 * 0.5, rel=0.03)


@pytest.mark.slow
def test_the_hall_and_an_equaliser_in_each_line():
    assert adac_jax.certify(with_controls(hall())).verdict == "lossless"
    names = ["decay", "size", "modulation", "brightness"]
    assert adac_jax.certify(with_controls(hall(), names)).verdict == "stable"
    m = nn.mutually_prime_delays(4, 960, 3840)
    equaliser = nn.AccurateGEQ.from_t60(
        np.linspace(2.0, 0.7, 11), m, sample_rate=RATE, train="gain"
    )
    network = nn.FDN(m, absorption=equaliser)
    network.sample_rate = RATE
    assert adac_jax.certify(with_controls(network, ["decay", "brightness"])).verdict == "stable"


def test_effects_that_move():
    assert adac_jax.certify(effects.Flanger(sample_rate=RATE)).verdict == "stable"
    assert adac_jax.certify(effects.Flanger(2, wave="sine", sample_rate=RATE)).verdict == "stable"


@pytest.mark.parametrize("channels", [1, 2])
def test_a_phaser_keeps_its_energy_while_it_moves(channels):
    """Its stages are rotations: what the feedback leaves is all there is, whatever moves."""
    found = adac_jax.certify(effects.Phaser(channels, sample_rate=RATE))
    assert found.verdict == "stable"
    (decay,) = [proof.decay_seconds for proof in found.loops if proof.decay_seconds]
    assert decay < 0.2


# -- What must not be proved -----------------------------------------------------------------------

ALLPASS = np.array([[0.98, -1.979, 1.0, 1.0, -1.979, 0.98]])


def blended(both: bool, own: float = 1.0):
    """A loop of gain 0.999 with a filter that a fast knob turns on, on one side or on both."""

    def model(x):
        w = control("turn", 0.0, 0.0, 1.0, ramp=1e-4)
        angle = w * (np.pi / 2)

        def back(u):
            v = delay(u, 30)
            if both:
                turned = jnp.sin(angle) * sosfilt(ALLPASS, jnp.sin(angle) * v)
                mixed = turned + own * jnp.cos(angle) * (jnp.cos(angle) * v)  # type: ignore[operator]
            else:
                mixed = (1 - w) * v + w * sosfilt(ALLPASS, v)  # type: ignore[operator]
            return 0.999 * mixed

        return feedback(back, x)

    return model


def test_weights_on_both_sides_are_proved_and_on_one_side_are_not():
    assert adac_jax.certify(blended(True), inputs=1, sample_rate=RATE).verdict == "stable"
    # More than all of it: sin² + 1.01 cos² is above one where the knob is at rest.
    assert adac_jax.certify(blended(True, 1.01), inputs=1, sample_rate=RATE).verdict != "stable"
    assert adac_jax.certify(blended(False), inputs=1, sample_rate=RATE).verdict != "stable"


def moving(step: float, gain: float, order: int = 1):
    """A delay between 40 and 60 samples that a knob moves by `step` samples a sample."""

    def model(x):
        ramp = 20 / step / RATE
        d = control("length", 50.0, 40.0, 60.0, ramp=ramp)

        def back(u):
            lengths = jnp.broadcast_to(d, u.shape[-1:]).astype(u.dtype)
            return gain * fractional_delay(u, lengths, order=order, minimum=38, maximum=62)

        return feedback(back, x) if order else x

    return model


@pytest.mark.parametrize("order", [1, 3])
def test_a_moving_read_is_proved_by_how_fast_it_moves(order):
    peak = 1.0 if order == 1 else 1.26
    verdicts = [
        adac_jax.certify(moving(step, gain / peak, order), inputs=1, sample_rate=RATE)
        for step, gain in ((0.001, 0.99), (0.2, 0.99), (0.2, 0.7))
    ]
    # By absolute sums any motion is proved below one; by energy only what is slow is.
    assert all(c.verdict == "stable" for c in verdicts)
    mixed = adac_jax.certify(hadamard(0.2), inputs=2, sample_rate=RATE)
    slow = adac_jax.certify(hadamard(0.002), inputs=2, sample_rate=RATE)
    assert (mixed.verdict, slow.verdict) == ("unproven", "stable")


def hadamard(step: float):
    """Two such lines through a rotation, whose absolute sums are above one."""

    def model(x):
        d = control("length", 50.0, 40.0, 60.0, ramp=20 / step / RATE)
        H = jnp.array([[0.6, 0.8], [-0.8, 0.6]]) * 0.97

        def back(u):
            lengths = jnp.broadcast_to(d, u.shape[-1:]).astype(u.dtype)
            return fractional_delay(u, lengths, order=1, minimum=38, maximum=62) @ H

        return feedback(back, x)

    return model


# -- The bounds themselves -------------------------------------------------------------------------


def lagrange(order: int) -> np.ndarray:
    """P_j, (taps, powers of μ)."""
    rows = []
    for j in range(order + 1):
        others = [m for m in range(order + 1) if m != j]
        scale = np.prod([j - m for m in others])
        rows.append(np.polynomial.polynomial.polyfromroots(others) / scale)
    return np.array(rows)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("rho", [0.0, 0.01, 0.1, 0.24])
def test_reads_have_no_more_gain_than_their_bound(order, rho):
    """The largest singular value of reads that move at random, at the limit, and in waves."""
    start = (order - 1) / 2
    pieces = lagrange(order)
    if order % 2 == 0:
        assert kernel_gains(pieces, start, rho) is None  # it jumps from one piece to the next
        return
    bound, sums = kernel_gains(pieces, start, rho)  # type: ignore[misc]
    rng = np.random.default_rng(order)
    length = 200
    motions = [
        rng.uniform(-rho, rho, length),
        np.full(length, rho),
        np.full(length, -rho),
        rho * np.sign(np.sin(np.arange(length) / 9)),
        rho * rng.choice([-1, 1], length),
    ]
    worst = 0.0
    for motion, offset in itertools.product(motions, (0.0, 0.37)):
        d = 30 + offset + np.cumsum(motion)
        whole = np.floor(d - start).astype(int)
        weights = np.polynomial.polynomial.polyval(d - whole, pieces.T)  # (taps, time)
        W = np.zeros((length, length + 220))
        for j in range(order + 1):
            W[np.arange(length), np.arange(length) - whole - j + 160] += weights[j]
        assert np.abs(W).sum(1).max() <= sums * (1 + EPS * 100)
        worst = max(worst, float(np.linalg.norm(W, 2)))
    assert worst <= bound * (1 + EPS * 100)
    if rho <= 0.01 and order == 1:
        assert bound <= np.sqrt(1 + 2 * rho) * (1 + 1e-6)
        assert worst >= 0.99
