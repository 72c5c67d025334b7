"""Every module in a network of N lines: two seconds of impulse response, FAUST against JAX."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import adac_jax
from adac_jax import nn
from adac_jax.host import Library, Processor
from adac_jax.report import compare
from emitters import faust

RATE = 48000
SINGLE, DOUBLE = -120.0, -240.0  # dB re peak: what the project promises, not what passes


def lines(n: int) -> np.ndarray:
    return nn.mutually_prime_delays(n, 900, 3000)


def network(n: int, **parts):
    m = parts.pop("delays", lines(n))
    return nn.FDN(m, **{"absorption": t60_gains(n), **parts})


def t60_gains(n: int) -> np.ndarray:
    return 10.0 ** (-3 * np.asarray(lines(n)) / (RATE * 1.5))


def decay(bands_per_octave: int) -> np.ndarray:
    """T60 in seconds, falling from 2.5 to 0.6, a value a band of the equaliser."""
    count = len(nn.GEQ(1, bands_per_octave=bands_per_octave, sample_rate=RATE).sos())
    return np.linspace(2.5, 0.6, count)


def absorbing(make):
    return lambda n: network(n, absorption=make(n, lines(n)))


def random_matrix(n: int) -> np.ndarray:
    A = np.random.default_rng(n).normal(size=(n, n))
    return 0.95 * A / np.linalg.norm(A, 2)


def sections(n: int, m: np.ndarray) -> nn.SOS:
    """A first-order and a second-order section a line, each contracting."""
    low = np.array([0.4, 0.3, 0.0, 1.0, -0.25, 0.0])
    peak = np.array([0.95, -1.7, 0.78, 1.0, -1.75, 0.8])
    return nn.SOS(n, np.repeat(np.stack([low, peak])[:, :, None], n, axis=2))


MODULES = {
    # mixing matrices
    "free matrix": lambda n: network(n, matrix=random_matrix(n)),
    "orthogonal": lambda n: network(n, matrix="orthogonal"),
    "householder": lambda n: network(n, matrix="householder"),
    "hadamard": lambda n: network(n, matrix="hadamard"),
    "rotation": lambda n: network(n, matrix="rotation"),
    "circulant": lambda n: network(n, matrix=nn.Circulant(n, orthogonal=True, rngs=nnx.Rngs(1))),
    "scattering": lambda n: network(
        n, matrix=nn.Scattering(np.arange(2 * n).reshape(2, n) % 37, rngs=nnx.Rngs(1))
    ),
    "velvet scattering": lambda n: network(n, matrix=nn.VelvetScattering(n)),
    # absorption
    "gain": lambda n: network(n),
    "one-pole": absorbing(lambda n, m: nn.OnePole.from_t60(2.0, 0.7, m, sample_rate=RATE)),
    "shelf": absorbing(
        lambda n, m: nn.FirstOrderShelf.from_t60(2.0, 0.7, m, sample_rate=RATE, frequency=2000.0)
    ),
    "biquad": absorbing(
        lambda n, m: nn.Biquad.from_t60(
            1.5, m, sample_rate=RATE, kind="lowpass", frequency=9000.0, quality=0.6
        )
    ),
    "svf": absorbing(
        lambda n, m: nn.SVF.from_t60(
            2.0, 0.8, m, sample_rate=RATE, frequency=3000.0, resonance=0.9
        )
    ),
    "sos": absorbing(sections),
    "octave equaliser": absorbing(
        lambda n, m: nn.GEQ.from_t60(decay(1), m, sample_rate=RATE)
    ),
    "third-octave equaliser": absorbing(
        lambda n, m: nn.GEQ.from_t60(
            decay(3), m, sample_rate=RATE, bands_per_octave=3
        )
    ),
    "accurate equaliser": absorbing(
        lambda n, m: nn.AccurateGEQ.from_t60(decay(1), m, sample_rate=RATE)
    ),
    "parametric equaliser": absorbing(
        lambda n, m: nn.PEQ.from_t60(
            np.array([2.5, 1.8, 1.2, 0.7]),
            m,
            sample_rate=RATE,
            frequencies=np.array([100.0, 800.0, 3000.0, 9000.0]),
        )
    ),
    "fir": absorbing(lambda n, m: nn.FIR(n, np.outer([0.5, 0.3, 0.1], np.ones(n)))),
    # delays
    "lagrange": lambda n: network(
        n, delays=nn.FractionalDelay(np.add(lines(n), 0.37), order=3, method="lagrange")
    ),
    "thiran": lambda n: network(
        n, delays=nn.FractionalDelay(np.add(lines(n), 0.37), order=2, method="thiran")
    ),
    "feedback delays": lambda n: network(n, feedback_delays=np.arange(n) * 3 % 11),
    # composition
    "tone correction": lambda n: network(
        n, inputs=2, outputs=3, tone=nn.GEQ(3, np.linspace(-6, 6, 12)[:, None], sample_rate=RATE)
    ),
    "direct path": lambda n: network(n, inputs=2, outputs=3, direct=np.full((3, 2), 0.5)),
    "serial and parallel": lambda n: nn.Serial(
        nn.Parallel(network(n), nn.Gain(1, 0.25)), nn.Biquad(1, "highpass", sample_rate=RATE)
    ),
}  # fmt: skip

# 1,856 sections in one loop: FAUST takes minutes and gigabytes for them.
TOO_HEAVY = {("third-octave equaliser", 64)}
SIZES = (1, 2, 4, 8, 16, 32, 64)
FAST = (1, 4)
LARGE = {
    16: tuple(m for m in MODULES if m != "third-octave equaliser"),
    64: ("householder", "hadamard", "one-pole", "lagrange"),
}
"""Slow tests. ADAC_JAX_ALL=1 runs the whole grid of modules and sizes, an hour."""

PAIRS = [
    pytest.param(name, n, marks=() if n in FAST else pytest.mark.slow)
    for name in MODULES
    for n in SIZES
    if (name, n) not in TOO_HEAVY
    and (os.environ.get("ADAC_JAX_ALL") or n in FAST or name in LARGE.get(n, ()))
]


@pytest.mark.parametrize(("name", "n"), PAIRS)
def test_faust_is_jax(name, n):
    model = MODULES[name](n)
    with jax.enable_x64(True):
        traced = adac_jax.trace(model, sample_rate=RATE)
        x = np.zeros((2 * RATE, model.inputs))
        x[0] = 1.0
        expected = np.asarray(jax.jit(traced.function)(traced.parameters, jnp.asarray(x)))
    source = faust.emit(traced.program)
    with Library(source, precision="double", sample_rate=RATE) as library:
        double = compare("impulse", "FAUST double", "JAX", library.render(x), expected, DOUBLE)
    rendered = Processor(source, sample_rate=RATE).render(x)
    single = compare("impulse", "FAUST single", "JAX", rendered, expected, SINGLE)
    assert np.max(np.abs(expected)) > 1e-3, "nothing to compare"
    assert single.lag == double.lag == 0
    assert double.error_db <= DOUBLE
    assert single.error_db <= SINGLE
