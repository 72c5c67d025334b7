"""Filters: their formulas, what they do to audio, and that they can be trained."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import signal

from adac_jax import designs, trace
from adac_jax.nn.accurate_graphic import AccurateGEQ
from adac_jax.nn.biquad import Biquad
from adac_jax.nn.fir import FIR
from adac_jax.nn.first_order import FirstOrderShelf, OnePole
from adac_jax.nn.gain import Gain
from adac_jax.nn.graphic import GEQ
from adac_jax.nn.levels import ReverberationTime
from adac_jax.nn.parametric import PEQ
from adac_jax.nn.second_order import SOS
from adac_jax.nn.svf import SVF

FS = 48000.0
EPS = np.finfo(np.float64).eps
BUTTER = np.stack([signal.butter(2, 0.2, output="sos")[0], signal.butter(2, 0.4, output="sos")[0]])

MODULES = (
    {
        "gain": lambda c: Gain(c, 0.7),
        "one pole": lambda c: OnePole(c, 0.9, 0.4),
        "shelf": lambda c: FirstOrderShelf(c, 0.9, 0.4, 2000.0, sample_rate=FS),
        "low shelf": lambda c: FirstOrderShelf(c, 0.5, kind="low", sample_rate=FS),
        "high shelf": lambda c: FirstOrderShelf(c, gain_nyquist=0.5, kind="high", sample_rate=FS),
        "sos": lambda c: SOS(c, BUTTER),
        "fir": lambda c: FIR(c, 9, rngs=nnx.Rngs(0)),
        "octave": lambda c: GEQ(c, 1.5, sample_rate=FS),
        "third octave": lambda c: GEQ(c, 0.5, bands_per_octave=3, sample_rate=FS),
        "accurate": lambda c: AccurateGEQ(c, -2.0, sample_rate=FS),
        "parametric": lambda c: PEQ(c, 4, gains_db=3.0, sample_rate=FS),
        "parametric svf": lambda c: PEQ(c, 4, gains_db=3.0, design="svf", sample_rate=FS),
        "svf": lambda c: SVF(c, mix=(0.9, 0.5, 0.3), sections=2, sample_rate=FS),
    }
    | {
        f"biquad {kind}": lambda c, kind=kind: Biquad(
            c, kind, gain_db=0.0 if kind == "allpass" else 4.0, sections=2, sample_rate=FS
        )
        for kind in designs.BIQUADS
    }
    | {
        f"svf {kind}": lambda c, kind=kind: SVF(
            c, kind, gain_db=0.0 if kind == "allpass" else 4.0, sample_rate=FS
        )
        for kind in designs.STATE_VARIABLE_MIXES
    }
)

SIMILAR = {
    f"{family} {kind}"
    for family in ("biquad", "svf")
    for kind in ("highpass", "bandpass", "notch", "highshelf")
}
"""Kinds whose parameters and arithmetic are those of another one in the table."""
LINES = (1123, 1511)
T60 = np.linspace(2.0, 0.8, 11)
ABSORPTION = {
    "gain": lambda **k: Gain.from_t60(2.0, LINES, sample_rate=FS, **k),
    "one pole": lambda **k: OnePole.from_t60(2.0, 0.8, LINES, sample_rate=FS, **k),
    "shelf": lambda **k: FirstOrderShelf.from_t60(2.0, 0.8, LINES, sample_rate=FS, **k),
    "accurate": lambda **k: AccurateGEQ.from_t60(T60, LINES, sample_rate=FS, **k),
    "biquad": lambda **k: Biquad.from_t60(2.0, LINES, sample_rate=FS, **k),
    "octave": lambda **k: GEQ.from_t60(T60, LINES, sample_rate=FS, **k),
    "parametric": lambda **k: PEQ.from_t60(
        [2.0, 1.8, 1.2, 0.8], LINES, frequencies=[100, 700, 3000, 9000], sample_rate=FS, **k
    ),
}


@pytest.fixture(autouse=True)
def _strict():
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def coefficients(module):
    """All that the module's parameters become, as one vector."""
    if isinstance(module, Gain):
        return module.gains().ravel()
    return (module.taps() if isinstance(module, FIR) else module.sos()).ravel()


@functools.partial(jax.jit, static_argnums=0)
def sos_of(graph, state):
    """Compiled once for all modules that differ in their parameters only."""
    return nnx.merge(graph, state).sos()


def sections(module) -> np.ndarray:
    return np.asarray(sos_of(*nnx.split(module)))


def processed(module, x: np.ndarray) -> np.ndarray:
    """What the module makes of audio; compiled."""
    graph, state = nnx.split(module)
    return np.asarray(jax.jit(lambda s, x: nnx.merge(graph, s)(x))(state, jnp.asarray(x)))


def response(sos, f) -> np.ndarray:
    """H at f, (frequencies, *channels), by NumPy in float64."""
    sos = np.asarray(sos, np.float64)
    z = np.exp(-2j * np.pi * np.asarray(f) / FS).reshape(-1, *(1,) * (sos.ndim - 2))
    H = np.ones(1)
    for b0, b1, b2, a0, a1, a2 in sos:
        H = H * (b0 + b1 * z + b2 * z * z) / (a0 + a1 * z + a2 * z * z)
    return H


def decibels(sos, f) -> np.ndarray:
    return 20 * np.log10(np.abs(response(sos, f)))


def scattered(module, scale: float, seed: int):
    """The module with random raw parameters."""
    graph, state = nnx.split(module)
    rng = np.random.default_rng(seed)
    return nnx.merge(
        graph,
        jax.tree.map(lambda p: p + jnp.asarray(rng.normal(0, scale, p.shape), p.dtype), state),
    )


# -- Formulas ------------------------------------------------------------------------------------


def cookbook(kind: str, f: float, gain: float, Q: float) -> np.ndarray:
    """The cookbook's own formulas, in sines and cosines."""
    A, w = 10 ** (gain / 40), 2 * np.pi * f / FS
    c, alpha = np.cos(w), np.sin(w) / (2 * Q)
    up, down, root = A + 1, A - 1, 2 * np.sqrt(A) * alpha
    plain = [1 + alpha, -2 * c, 1 - alpha]
    table = {
        "lowpass": (A * A * np.array([(1 - c) / 2, 1 - c, (1 - c) / 2]), plain),
        "highpass": (A * A * np.array([(1 + c) / 2, -1 - c, (1 + c) / 2]), plain),
        "bandpass": (A * A * np.array([alpha, 0, -alpha]), plain),
        "notch": (A * A * np.array([1, -2 * c, 1]), plain),
        "allpass": (plain[::-1], plain),
        "peaking": ([1 + alpha * A, -2 * c, 1 - alpha * A], [1 + alpha / A, -2 * c, 1 - alpha / A]),
        "lowshelf": (
            [
                A * (up - down * c + root),
                2 * A * (down - up * c),
                A * (up - down * c - root),
            ],
            [up + down * c + root, -2 * (down + up * c), up + down * c - root],
        ),
        "highshelf": (
            [
                A * (up + down * c + root),
                -2 * A * (down + up * c),
                A * (up + down * c - root),
            ],
            [up - down * c + root, 2 * (down - up * c), up - down * c - root],
        ),
    }
    b, a = map(np.asarray, table[kind])
    return np.concatenate([b, a]) / a[0]


@pytest.mark.parametrize("kind", designs.BIQUADS)
@pytest.mark.parametrize("f", [31.0, 1000.0, 11000.0, 23000.0])
def test_biquads_are_the_cookbooks(double, kind, f):
    gain = 0.0 if kind == "allpass" else -7.0
    module = Biquad(1, kind, frequency=f, gain_db=gain, quality=1.3, sample_rate=FS)
    # The cookbook loses digits in 1 - cos w; each side rounds some ten times at up to 4.
    np.testing.assert_allclose(
        sections(module)[0, :, 0], cookbook(kind, f, gain, 1.3), atol=40 * EPS
    )


def test_biquads_are_scipys(double):
    low = sections(Biquad(1, "lowpass", frequency=900.0, sample_rate=FS))[0, :, 0]
    np.testing.assert_allclose(low, signal.butter(2, 900, fs=FS, output="sos")[0], atol=40 * EPS)
    notch = sections(Biquad(1, "notch", frequency=900.0, quality=0.5, sample_rate=FS))[..., 0]
    assert abs(response(notch, [900.0]))[0] < 1e-10  # 40 eps over w² / 4


def test_quality_from_bandwidth():
    Q = designs.quality_from_bandwidth(1.0, 1000.0, FS)
    with jax.enable_x64(True):
        sos = sections(Biquad(1, "bandpass", frequency=1000.0, quality=Q, sample_rate=FS))[..., 0]
    f = np.geomspace(500, 2000, 20001)
    inside = f[decibels(sos, f) > 10 * np.log10(0.5)]
    # The cookbook's formula is itself approximate: exact as f / fs → 0.
    assert np.log2(inside[-1] / inside[0]) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("kind", designs.STATE_VARIABLE_MIXES)
def test_svf_gains(double, kind):
    gain = 0.0 if kind == "allpass" else 6.0
    sos = sections(SVF(1, kind, frequency=3000.0, resonance=0.4, gain_db=gain, sample_rate=FS))[
        ..., 0
    ]
    dc, centre, nyquist = np.abs(response(sos, [0.0, 3000.0, FS / 2]))
    G = 10 ** (gain / 20)
    expected = {
        "lowpass": (G, G / 0.8, 0),
        "highpass": (0, G / 0.8, G),
        "bandpass": (0, G, 0),
        "notch": (G, 0, G),
        "allpass": (1, 1, 1),
        "peaking": (1, G, 1),
        "lowshelf": (G, np.hypot(G - 1, 0.8 * G**0.5) / 0.8, 1),
        "highshelf": (1, np.hypot(G - 1, 0.8 * G**0.5) / 0.8, G),
    }[kind]
    # At DC numerator and denominator are 4 g² = 0.16 of terms that are at most 4.
    np.testing.assert_allclose([dc, centre, nyquist], expected, atol=1000 * EPS)


def test_svf_mix_is_flamos_and_neutral_by_default(double):
    f, R, (lp, bp, hp) = np.tan(np.pi * 500 / FS), 0.3, (0.5, -0.2, 1.5)
    module = SVF(1, frequency=500.0, resonance=R, mix=(lp, bp, hp), sample_rate=FS)
    b = np.array([f * f * lp + f * bp + hp, 2 * f * f * lp - 2 * hp, f * f * lp - f * bp + hp])
    a = np.array([f * f + 2 * R * f + 1, 2 * f * f - 2, f * f - 2 * R * f + 1])
    expected = np.concatenate([b, a]) / a[0]
    np.testing.assert_allclose(sections(module)[0, :, 0], expected, atol=40 * EPS)
    sos = sections(SVF(2, resonance=0.3, sample_rate=FS))
    np.testing.assert_allclose(sos[:, :3], sos[:, 3:], atol=4 * EPS)


@pytest.mark.parametrize("make", [OnePole, lambda *a: FirstOrderShelf(*a, 900.0, sample_rate=FS)])
def test_first_order_ends(double, make):
    module = make(3, [0.9, 1.0, 0.2], [0.3, 1.0, 0.8])
    H = response(sections(module), [0.0, FS / 2])
    # Ends are sums of two terms, the smaller of which is 1 ± p, here above 0.05.
    np.testing.assert_allclose(H.real, [[0.9, 1.0, 0.2], [0.3, 1.0, 0.8]], rtol=200 * EPS)
    b, a = (np.asarray(c) for c in module.coefficients())
    assert (abs(a[1]) < 1).all()
    assert (a[0] == 1).all()
    assert len(a) == 2
    assert len(b) <= 2


def test_shelf_is_half_way_at_its_crossover(double):
    for kind, gains in {"low": (0.25, 1.0), "high": (1.0, 4.0)}.items():
        sos = sections(FirstOrderShelf(1, *gains, 900.0, sample_rate=FS, kind=kind))
        middle = 10 * np.log10(gains[0] * gains[1])
        np.testing.assert_allclose(decibels(sos, [900.0])[0], middle, atol=1e-11)


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith(("biquad", "octave", "svf"))])
def test_single_precision_coefficients_are_rounded_once_or_twice(name):
    """Sections at 31 Hz keep their place: no cancellation beyond the last rounding."""

    def of_type(dtype):
        module = MODULES[name](1)
        if hasattr(module, "frequency"):
            module.frequency.set(31.0)
        graph, state = nnx.split(module)
        return sections(nnx.merge(graph, jax.tree.map(lambda p: p.astype(dtype), state)))

    single = of_type(jnp.float32)
    with jax.enable_x64(True):
        exact = of_type(jnp.float64)
    # One rounding of each coefficient, one of the sum it ends with; the terms before are small
    # (or are relative errors, which the gain parameters bring too).
    bound = 2 * np.finfo(np.float32).eps * np.maximum(np.abs(exact), 1.0)
    assert (np.abs(single - exact) <= bound).all()


# -- Equalisers ----------------------------------------------------------------------------------


def test_bands():
    octave = designs.graphic_bands(FS)
    assert octave.centres == tuple(62.5 * 2.0**k for k in range(9))
    np.testing.assert_allclose(octave.crossovers, [62.5 / 2**0.5, 16000 * 2**0.5])
    third = designs.graphic_bands(FS, 3)
    assert len(third.centres) == 27
    assert third.centres[-1] == 16000.0
    assert designs.graphic_bands(44100.0).centres[-1] == 8000.0  # 22.6 kHz is above 22.05


@pytest.mark.parametrize("bands", [1, 3])
def test_geq_is_flat_at_equal_gains(double, bands):
    flat = sections(GEQ(2, bands_per_octave=bands, sample_rate=FS))
    np.testing.assert_allclose(flat[:, :3], flat[:, 3:], atol=4 * EPS)
    gains = np.zeros((flat.shape[0] + 1, 1))
    gains[0] = -5.0
    sos = sections(GEQ(2, gains, bands_per_octave=bands, sample_rate=FS))
    np.testing.assert_allclose(decibels(sos, [100.0, 5000.0]), -5.0, atol=1e-10)
    for c in (-5.0, 4.0):
        sos = sections(AccurateGEQ(2, c, bands_per_octave=bands, sample_rate=FS))
        np.testing.assert_allclose(decibels(sos, np.geomspace(20, 23000, 50)), c, atol=1e-9)


def test_geq_peaks_have_their_gain_and_width(double):
    bands = designs.graphic_bands(FS)
    gains = np.zeros((len(bands.centres) + 3, 1))
    gains[5] = 8.0
    sos = sections(GEQ(1, gains, sample_rate=FS, bandwidth=2.7))
    np.testing.assert_allclose(decibels(sos, [bands.centres[3]])[0], 8.0, atol=1e-9)
    w = 2 * np.pi * bands.centres[3] / FS
    t = np.tan(w / 2 * (2.7 - 1) / 2.7**0.5)
    g = 10 ** (8 / 20)
    # Välimäki and Reiss (2016), eq. for the second-order peak.
    b = np.array([g**0.5 + g * t, -2 * g**0.5 * np.cos(w), g**0.5 - g * t])
    a = np.array([g**0.5 + t, -2 * g**0.5 * np.cos(w), g**0.5 - t])
    np.testing.assert_allclose(sos[4, :, 0], np.concatenate([b, a]) / a[0], atol=40 * EPS)


@pytest.mark.parametrize(
    ("rate", "bands", "corrections"),
    [(44100.0, 1, 1), (48000.0, 1, 0), (48000.0, 1, 1), (48000.0, 3, 1), (96000.0, 3, 1)],
)
def test_accurate_geq_meets_its_commands(double, rate, bands, corrections):
    solver = designs.graphic_solver(designs.graphic_bands(rate, bands))
    count = len(solver.frequencies)
    rough = 6 * noise(count, 40, seed=1)
    smooth = 20 * np.sin(np.linspace(0, 2, count))[:, None] * noise(1, 40, seed=2)
    commands = np.concatenate([rough, smooth], axis=1)
    module = AccurateGEQ(
        80, commands, bands_per_octave=bands, corrections=corrections, sample_rate=rate
    )
    got = decibels(sections(module), solver.frequencies * FS / rate)
    assert np.abs(got - commands)[1:-1].max() < 1.0


def test_peq_bands(double):
    module = PEQ(1, 3, frequencies=[100, 2000, 9000], gains_db=[6, 0, -4], sample_rate=FS)
    ends = decibels(sections(module), [0.0, FS / 2])[:, 0]
    np.testing.assert_allclose(ends, [6, -4], atol=1e-9)
    np.testing.assert_allclose(module.frequency.hertz()[:, 0], [100, 2000, 9000], rtol=100 * EPS)


# -- Absorption ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ABSORPTION)
@pytest.mark.parametrize("train", ["gain", "t60", "rate"])
def test_absorption_gives_the_decay(double, name, train):
    if train == "t60" and name in ("octave", "parametric"):
        with pytest.raises(ValueError, match="gain or rate"):
            ABSORPTION[name](train=train)
        return
    module = ABSORPTION[name](train=train)
    per_pass = -60 * np.array(LINES) / FS
    if name == "gain":
        got, wanted, tolerance = 20 * np.log10(module.gains()), per_pass / 2, 1e-12
    elif name in ("accurate", "octave"):
        f = designs.graphic_solver(module.bands).frequencies[1:-1]
        got, wanted = decibels(sections(module), f), per_pass / T60[1:-1, None]
        tolerance = 0.05  # dB; the commands here span 2 dB
    elif name == "biquad":
        got, wanted, tolerance = decibels(sections(module), [0.0]), [per_pass / 2], 1e-9
    elif name == "parametric":
        got = decibels(sections(module), [100, 700, 3000, 9000])
        wanted, tolerance = per_pass / np.array([[2.0], [1.8], [1.2], [0.8]]), 0.05
    else:
        got = decibels(sections(module), [0.0, FS / 2])
        wanted, tolerance = per_pass / np.array([[2.0], [0.8]]), 1e-9
    np.testing.assert_allclose(got, wanted, atol=tolerance)


def test_svf_absorption(double):
    module = SVF.from_t60(2.0, 0.8, LINES, sample_rate=FS)
    got = decibels(sections(module), [0.0, FS / 2])
    wanted = -60 * np.array(LINES) / FS / np.array([[2.0], [0.8]])
    np.testing.assert_allclose(got, wanted, atol=1e-9)


def test_lines_share_a_reverberation_time(double):
    module = OnePole.from_t60(
        [2.0, 1.0], [0.5, 0.4], (100, 200, 300), sample_rate=FS, train="t60", groups=(0, 1, 1)
    )
    assert isinstance(module.gain_dc, ReverberationTime)
    assert module.gain_dc.t60.raw.shape == (2,)
    wanted = -60 * np.array([100, 200, 300]) / FS / np.array([2.0, 1.0, 1.0])
    np.testing.assert_allclose(module.gain_dc(), wanted, rtol=100 * EPS)
    wild = scattered(module, 30.0, 0)
    assert (np.asarray(wild.gain_dc()) < 0).all()  # whatever the parameters, energy is lost


# -- Audio ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["one pole", "shelf", "sos", "octave", "accurate", "parametric", "svf", "biquad bandpass"],
)
def test_modules_are_scipys_filters(double, name):
    module, x = scattered(MODULES[name](2), 0.1, 3), noise(200, 2)
    if name == "sos":
        module = MODULES[name](2)
    sos, y = sections(module), processed(module, x)
    for channel in range(2):
        peak, stage = 0.0, x[:, channel]
        for section in sos[..., channel]:
            stage = signal.sosfilt(np.ascontiguousarray(section[None]), stage)
            peak = max(peak, np.abs(stage).max(), np.abs(x).max() * np.abs(section).max())
        # A section rounds 64 products in each of 7 blocks of 32 samples, of values up to the
        # peak; its state is bounded by four times that.
        bound = 4 * len(sos) * 64 * 7 * EPS * peak
        np.testing.assert_allclose(y[:, channel], stage, atol=bound)


def test_fir_and_gain(double):
    x = noise(40, 2)
    fir = FIR(2, noise(5, 2, seed=1))
    expected = [signal.lfilter(fir.taps()[:, k], [1.0], x[:, k]) for k in range(2)]
    np.testing.assert_allclose(fir(jnp.asarray(x)).T, expected, atol=20 * EPS)
    np.testing.assert_allclose(Gain(2, [2.0, -1.0])(jnp.asarray(x)), x * [2.0, -1.0])


@pytest.mark.parametrize("name", ["gain", "one pole", "sos", "fir", "svf"])
def test_matrix_of_filters_is_the_sum(double, name):
    """y_o = Σ_i h_oi * x_i, each pair filtered on its own."""
    module, x = MODULES[name]((3, 2)), noise(50, 2)
    module = scattered(module, 0.05, 1)
    assert (module.inputs, module.outputs) == (2, 3)
    y = processed(module, x)
    if name == "gain":
        np.testing.assert_allclose(y, x @ np.asarray(module.gains()).T, atol=10 * EPS)
        return
    sos = None if name == "fir" else sections(module)
    for o in range(3):
        total = np.zeros(50)
        for i in range(2):
            if name == "fir":
                total += signal.lfilter(module.taps()[:, o, i], [1.0], x[:, i])
            else:
                total += signal.sosfilt(np.ascontiguousarray(sos[:, :, o, i]), x[:, i])
        # As in the comparison with scipy, with 2 inputs, 2 sections, 2 blocks and a peak below 4.
        np.testing.assert_allclose(y[:, o], total, atol=4 * 2 * 2 * 64 * 2 * 4 * EPS)


@pytest.mark.parametrize("name", ["gain", "one pole", "fir"])
def test_batches(name):
    module, x = MODULES[name](2), jnp.asarray(noise(3, 20, 2), jnp.float32)
    each = np.stack([module(part) for part in x])
    # float32, blocks of 20 samples: 20 products of values below 3.
    bound = 2 * 20 * 3 * np.finfo(np.float32).eps
    np.testing.assert_allclose(module(x), each, atol=bound)
    np.testing.assert_allclose(jax.vmap(module)(x), each, atol=bound)


# -- Training ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "table"),
    [(n, "modules") for n in MODULES if n not in SIMILAR]
    + [(n, "t60") for n in ABSORPTION if n not in ("octave", "parametric")]
    + [("octave", "rate"), ("parametric", "rate"), ("one pole", "rate")],
)
def test_gradients(double, name, table):
    """Every parameter of every class, against central differences."""
    if table == "modules":
        module = MODULES[name](2)
    else:
        module = ABSORPTION[name](train=table)
    graph, state = nnx.split(module)
    count = jax.eval_shape(lambda s: coefficients(nnx.merge(graph, s)), state).size
    weights = noise(count, seed=5)

    @jax.jit
    @jax.value_and_grad
    def loss(state):
        return jnp.dot(coefficients(nnx.merge(graph, state)), weights)

    gradient = loss(state)[1]
    leaves, tree = jax.tree.flatten(state)
    found = jax.tree.leaves(gradient)
    assert leaves
    step = 1e-4
    for k, leaf in enumerate(leaves):
        direction = jnp.asarray(noise(*leaf.shape, seed=k))
        values = []
        for side in (-2, -1, 1, 2):
            moved = [*leaves[:k], leaf + side * step * direction, *leaves[k + 1 :]]
            values.append(float(loss(jax.tree.unflatten(tree, moved))[0]))
        # Fourth order: step^4 of truncation, and eps / step of the loss's size in rounding.
        difference = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        size = sum(np.abs(weights))
        scale = float(jnp.sum(jnp.abs(found[k]) * jnp.abs(direction)))
        assert np.isfinite(np.asarray(found[k])).all()
        assert scale > 0
        analytic = float(jnp.vdot(found[k], direction))
        assert analytic == pytest.approx(difference, abs=100 * EPS * size / step + 1e-10 * scale)


@pytest.mark.parametrize("name", ["one pole", "fir"])
def test_gradients_reach_the_audio(name):
    module, x = MODULES[name](2), jnp.asarray(noise(30, 2), jnp.float32)
    graph, state = nnx.split(module)
    gradient = jax.jit(jax.grad(lambda s: jnp.sum(nnx.merge(graph, s)(x) ** 2)))(state)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(np.asarray(leaf)).all()
        assert np.abs(np.asarray(leaf)).max() > 0


@pytest.mark.parametrize("name", [n for n in MODULES if n not in {"gain", "fir", "sos"} | SIMILAR])
def test_stable_for_any_parameters(name):
    """|a_2| < 1 and |a_1| < 1 + a_2: the poles are inside, even as float32 has them."""
    module = MODULES[name](40)
    for scale in (1.0, 30.0, 1000.0):
        for seed in range(3):
            sos = sections(scattered(module, scale, seed)).astype(np.float64)
            assert np.isfinite(sos).all()
            a1, a2 = sos[:, 4] / sos[:, 3], sos[:, 5] / sos[:, 3]
            assert (np.abs(a2) < 1).all()
            assert (np.abs(a1) < 1 + a2).all()


# -- Tracing -------------------------------------------------------------------------------------

TRACED = {
    "gain": "mul",
    "shelf": "iir",
    "fir": "fir",
    "octave": "sos",
    "accurate": "sos",
    "parametric": "sos",
    "svf": "sos",
    "biquad peaking": "sos",
}


@pytest.mark.parametrize("name", TRACED)
def test_modules_trace_to_one_operation(name):
    ops = [node.op for node in trace(MODULES[name](2), sample_rate=FS).graph.nodes]
    assert ops.count(TRACED[name]) == 1
    assert set(ops) == {"input", "coefficient", TRACED[name]}


def test_matrix_traces():
    ops = [node.op for node in trace(OnePole((3, 2), 0.9, 0.3)).graph.nodes]
    assert "iir" in ops
    assert "sum" in ops


# -- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gain(0), "`channels` \\(=0\\) must be a positive number"),
        (lambda: Gain((1, 2, 3)), "`channels`"),
        (lambda: Gain(2, [1, 2, 3]), "`gain` of shape \\(3,\\) does not fit"),
        (lambda: Gain(2, np.nan), "`gain` .* must be finite"),
        (lambda: OnePole(2, gain_dc=0.0), "`gain_dc` .* positive factor"),
        (lambda: FirstOrderShelf(1, kind="odd", sample_rate=FS), "low, high or both"),
        (lambda: FirstOrderShelf(1, 1, 0.5, kind="low", sample_rate=FS), "must be 1 for a low"),
        (lambda: Biquad(1, "bandstop", sample_rate=FS), "`kind` .* must be one of lowpass"),
        (lambda: Biquad(1, "lowpass", frequency=24000.0, sample_rate=FS), "`frequency` .* between"),
        (lambda: Biquad(1, "lowpass", quality=0.0, sample_rate=FS), "`quality` .* between"),
        (lambda: Biquad(1, "allpass", gain_db=1.0, sample_rate=FS), "0 for an all-pass"),
        (lambda: Biquad(1, "lowpass", sections=0, sample_rate=FS), "`sections` \\(=0\\)"),
        (lambda: Biquad(1, "lowpass", sample_rate=0.0), "`sample_rate`"),
        (lambda: SVF(1, "lowpass", mix=(1, 1, 1), sample_rate=FS), "give one of the two"),
        (lambda: SVF(1, mix=(1, 1), sample_rate=FS), "must have 3"),
        (lambda: SOS(1, np.zeros((2, 5))), "`sections` of shape"),
        (lambda: SOS(1, np.zeros((2, 6))), "a_0 of 0"),
        (lambda: FIR(1, 0), "`taps` \\(=0\\)"),
        (lambda: FIR(1, np.ones(3), rngs=nnx.Rngs(0)), "`rngs`"),
        (lambda: GEQ(1, lowest=9000, highest=100, sample_rate=FS), "`lowest`"),
        (lambda: GEQ(1, highest=40, sample_rate=FS), "No band lies between"),
        (lambda: GEQ(1, np.zeros(5), sample_rate=FS), "`gains_db` of shape"),
        (lambda: PEQ(1, 1, sample_rate=FS), "`bands` \\(=1\\)"),
        (lambda: PEQ(1, design="fir", sample_rate=FS), "biquad or svf"),
        (lambda: Gain.from_t60(0.0, [10], sample_rate=FS), "`t60` .* seconds"),
        (lambda: Gain.from_t60([1, 2, 3], [10, 20], sample_rate=FS), "1 or 2 entries"),
        (lambda: Gain.from_t60(1.0, [], sample_rate=FS), "`delays`"),
        (lambda: Gain.from_t60(1.0, [10], sample_rate=FS, groups=[0, 1]), "`groups`"),
        (lambda: Gain.from_t60(1.0, [10], sample_rate=FS, train="all"), "`train`"),
        (lambda: Gain(2)(jnp.zeros((5, 3))), "Gain takes audio of shape"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
