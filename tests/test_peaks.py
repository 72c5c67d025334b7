"""Absorptions made from T60 are below 0 dB at every frequency, whatever their parameters."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from adac_jax import designs, nn
from adac_jax.designs.prototypes import BIQUADS

FS = 48000.0
LINES = (1123, 1511, 7)
FINE = np.tan(np.pi * np.geomspace(0.01, FS / 2 * (1 - 1e-6), 20_000) / FS)
CASCADES = 10
peak_db = jax.jit(designs.peak_db)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def highest_db(placed) -> np.ndarray:
    """The largest gain on a fine grid, (*channels), by the formula for |H(jΩ)| alone."""
    total = 0.0
    for prototype, g in placed:
        shape = np.broadcast_shapes(np.shape(g), *(np.shape(c) for p in prototype for c in p))
        (b0, b1, b2), (a0, a1, a2) = (
            tuple(np.broadcast_to(np.asarray(c), shape)[..., None] for c in p) for p in prototype
        )
        s = 1j * FINE / np.broadcast_to(np.asarray(g), shape)[..., None]
        H = (b0 + b1 * s + b2 * s * s) / (a0 + a1 * s + a2 * s * s)
        total = total + np.sum(20 * np.log10(np.abs(H) + 1e-200), axis=0)
    return np.max(total, axis=-1)


@pytest.mark.parametrize("kind", sorted(BIQUADS))
def test_the_peak_of_one_section_is_exact(kind):
    draw = np.random.default_rng(1)
    gain = 10 ** (draw.uniform(-20, 20, CASCADES) / 40)
    quality = 10 ** draw.uniform(-0.7, 0.7, CASCADES)
    g = np.tan(np.pi * 10 ** draw.uniform(1.5, 4.2, CASCADES) / FS)
    A, Q, g = (jnp.asarray(v)[None] for v in (gain, quality, g))
    placed = [(BIQUADS[kind](A, Q), g)]
    got, fine = peak_db(placed), highest_db(placed)
    # The fine grid is off a peak by at most δ = 4e-4, half its step, and so misses 20 lg of
    # 1 + 2 (Q A δ)², which is 2e-4 dB at Q = 5 and A = 3.2.
    assert np.all(got > fine - 1e-9)
    np.testing.assert_allclose(got, fine, atol=2e-4)


def test_the_bound_of_a_cascade_holds_and_is_close():
    draw = np.random.default_rng(2)
    bands = designs.graphic_bands(FS)
    gains = draw.uniform(-12, 12, (bands.filters, CASCADES))
    placed = designs.graphic_sections(bands, jnp.asarray(gains))
    got, fine = np.asarray(peak_db(placed)), highest_db(placed)
    assert np.all(got > fine - 1e-9)
    assert np.max(got - fine) < 2.0  # of sections that alternate by up to 24 dB
    small = designs.graphic_sections(bands, jnp.asarray(gains / 40))
    assert np.max(peak_db(small) - highest_db(small)) < 2.0 / 40


def wild(module: nnx.Module, size: float, seed: int) -> None:
    """Moves all raw parameters far from where they are."""
    draw = np.random.default_rng(seed)
    state = nnx.state(module, nnx.Param)
    moved = jax.tree.map(lambda v: v + size * jnp.asarray(draw.normal(size=v.shape)), state)
    nnx.update(module, moved)


@functools.partial(jax.jit, static_argnums=0)
def sos_of(graph, state):
    """Compiled once for all modules that differ in their parameters only."""
    return nnx.merge(graph, state).sos()


def sections(module) -> np.ndarray:
    return np.asarray(sos_of(*nnx.split(module)))


BANDS = len(nn.AccurateGEQ(1, sample_rate=FS).frequencies)
ABSORPTIONS = {
    "accurate": lambda t: nn.AccurateGEQ.from_t60(t, LINES, sample_rate=FS, train="t60"),
    "accurate, uncorrected": lambda t: nn.AccurateGEQ.from_t60(
        t, LINES, corrections=0, sample_rate=FS
    ),
    "graphic": lambda t: nn.GEQ.from_t60(t, LINES, sample_rate=FS),
    "parametric": lambda t: nn.PEQ.from_t60(
        t[[0, 3, 5, 8]], LINES, frequencies=[100, 700, 3000, 9000], sample_rate=FS
    ),
    "parametric svf": lambda t: nn.PEQ.from_t60(
        t[[0, 3, 5, 8]], LINES, frequencies=[100, 700, 3000, 9000], design="svf", sample_rate=FS
    ),
    "biquad": lambda t: nn.Biquad.from_t60(t[0], LINES, quality=8.0, sample_rate=FS),
    "svf": lambda t: nn.SVF.from_t60(t[0], t[5], LINES, resonance=0.1, sample_rate=FS),
}


@pytest.mark.parametrize("name", ABSORPTIONS)
@pytest.mark.parametrize("size", [0.0, 1.0, 10.0])
def test_an_absorption_stays_below_0_db(name, size):
    draw = np.random.default_rng(3)
    for seed in range(3):
        module = ABSORPTIONS[name](10 ** draw.uniform(-1.3, 1.3, BANDS))
        wild(module, size, seed)
        sos = sections(module)
        # 20,000 points that begin at 5 Hz: further down, polynomials in z cancel to 1e-9 dB.
        z = np.exp(-1j * np.linspace(2 * np.pi * 5 / FS, np.pi, 20_000))[:, None, None]
        b, a = (
            sos[None, :, k] + sos[None, :, k + 1] * z + sos[None, :, k + 2] * z * z for k in (0, 3)
        )
        gain = np.max(np.prod(np.abs(b / a), axis=1), axis=0)
        assert np.all(20 * np.log10(gain) < -60 * np.array(LINES) / (FS * 1000) + 1e-6)
        dull = np.prod(np.abs(sos[:, :3].sum(1) / sos[:, 3:].sum(1)), axis=0)
        assert np.all(dull < 1)


def test_what_is_below_anyway_is_not_changed():
    times = np.linspace(2.0, 0.8, BANDS)
    module = nn.AccurateGEQ.from_t60(times, LINES, sample_rate=FS)
    free = nn.AccurateGEQ.from_t60(times, LINES, sample_rate=FS)
    free.lines = None
    np.testing.assert_array_equal(sections(module), sections(free))


def test_the_gradient_lowers_what_is_too_high():
    """Derivative of the lowered response at its peak: none, in whatever direction."""
    bands = designs.graphic_bands(FS)
    gains = jnp.asarray(np.random.default_rng(4).uniform(-6, 6, (bands.filters, 1)))

    @jax.jit
    def peak(gains):
        return peak_db(designs.graphic_sections(bands, gains))[0]

    found = jax.grad(peak)(gains)
    step = 1e-6
    for k in range(0, bands.filters, 3):
        up, down = (peak(gains.at[k].add(sign * step)) for sign in (1, -1))
        # Central differences: curvature of below 1 dB per dB² times the step, and its rounding.
        assert abs((up - down) / (2 * step) - found[k, 0]) < 1e-6


def test_in_single_precision():
    with jax.enable_x64(False):
        module = nn.AccurateGEQ.from_t60(
            np.tile([0.05, 20.0], BANDS)[:BANDS], LINES, sample_rate=FS
        )
        placed, broadband = module.prototypes()
        assert broadband is not None
        assert np.all(np.isfinite(sections(module)))
        single = peak_db(placed)
        assert single.dtype == jnp.float32
        # Twelve logarithms of numbers of up to 10^8: 12 · 80 dB · 2^-23 each way.
        np.testing.assert_allclose(single, highest_db(placed), atol=2.0)
        assert np.all(np.asarray(single) > highest_db(placed) - 2 * 12 * 80 * 2.0**-23)
