"""Test signals."""

from __future__ import annotations

import numpy as np
import pytest

from adac_jax import signals


@pytest.mark.parametrize("rate", [8000, 48000])
def test_plucked_strings(rate):
    x = signals.plucked(2 * rate, rate)
    assert x.shape == (2 * rate, 1)
    assert np.max(np.abs(x)) == 1.0
    # The first string alone: its partials are where they should be, and decay as they should.
    first = x[: rate // 4, 0]
    t = np.arange(len(first)) / rate
    k = np.arange(1, 12)[:, None]
    partials = np.sin(2 * np.pi * k * 82.4 * t) * np.exp(-(3 + k) * t) / k
    scale = first @ partials.sum(0) / (partials.sum(0) @ partials.sum(0))
    # The sum of 11 numbers below one, in another order.
    assert np.max(np.abs(first - scale * partials.sum(0))) <= 11 * 2**-52 * 11
    # A quarter of a second on, another string joins in.
    assert np.max(np.abs(x[rate // 4 : rate // 2, 0])) > 0.3


def test_partials_beyond_half_the_rate_are_left_out():
    x = signals.plucked(1000, 200)
    assert np.isfinite(x).all()
    # Only the fundamental of the lowest string is below 90 Hz.
    t = np.arange(50) / 200
    wave = np.sin(2 * np.pi * 82.4 * t) * np.exp(-4 * t)
    scale = x[:50, 0] @ wave / (wave @ wave)
    assert np.max(np.abs(x[:50, 0] - scale * wave)) <= 11 * 2**-52 * 11


def test_no_samples():
    assert signals.plucked(0, 48000).shape == (0, 1)
