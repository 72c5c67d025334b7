"""Losses: closed forms, independent references, gradients, and the ends of their ranges."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, signal

from adac_jax import losses
from adac_jax.bands import nominal, octave_centres, octave_filter, octave_weights

FS = 16000.0
TIME = 3000
CENTRES = (500.0, 2000.0, 4000.0)  # the last reaches fs/2, which is another way through the code
EPS32 = float(np.finfo(np.float32).eps)

PAIRS: dict[str, Callable] = {
    "stft": lambda p, t: losses.multi_resolution_stft(p, t, ((512, 50, 240), (256, 64, 256))),
    "mel": lambda p, t: losses.mel(p, t, FS, ((512, 20),)),
    "mel htk": lambda p, t: losses.mel(p, t, FS, ((512, 20),), scale="htk"),
    "esr": losses.error_to_signal_ratio,
    "esr emphasised": lambda p, t: losses.error_to_signal_ratio(p, t, 0.85),
    "edc": losses.energy_decay_curve,
    "edc linear": losses.energy_decay_linear,
    "edr": lambda p, t: losses.energy_decay_relief(p, t, FS, CENTRES, hop=0.005),
    "t60": lambda p, t: losses.reverberation_time(p, t, FS, CENTRES, hop=0.005),
}
SINGLES: dict[str, Callable] = {
    "colourless": losses.colourless,
    "asymmetric": losses.colourless_asymmetric,
    "flatness": losses.spectral_flatness,
}


def decays(seed: int, t60: float = 0.1, dtype: type = np.float64) -> np.ndarray:
    """Two channels of decaying noise."""
    noise = np.random.default_rng(seed).standard_normal((TIME, 2))
    return (noise * 10 ** (-3 * np.arange(TIME) / (FS * t60))[:, None]).astype(dtype)


def responses(seed: int, dtype: type = np.complex128) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((40, 2)) + 1j * rng.standard_normal((40, 2))).astype(dtype)


def assert_gradient(loss: Callable, x: np.ndarray) -> None:
    """The derivative in a random direction, against central differences in float64.

    With steps of 1e-6 of a loss of order 1 the difference is good to 2.2e-16 / 1e-6, times some
    ten for sums, and to 1e-12 times the third derivative; the losses' own kinks, at equality, are
    met by none of the points. 1e-6 relative leaves room for steep losses.
    """
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        direction = np.random.default_rng(9).standard_normal(x.shape) * np.abs(x)
        gradient = jax.jit(jax.grad(loss))(x)
        value = jax.jit(loss)
        ahead, behind = (value(x + s * direction) for s in (1e-6, -1e-6))
    numerical = float(ahead - behind) / 2e-6
    # of a real function of complex z JAX gives the conjugate of the steepest ascent
    projected = float(np.sum(np.asarray(gradient) * direction).real)
    assert abs(numerical) > 1e-3
    assert projected == pytest.approx(numerical, rel=1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_gradient_of_a_pair(name: str):
    target = decays(1)
    assert_gradient(lambda p: PAIRS[name](p, jnp.asarray(target)), decays(2, 0.08))


@pytest.mark.parametrize("name", SINGLES)
@pytest.mark.parametrize("real", [False, True])
def test_gradient_of_a_response(name: str, real: bool):
    x = responses(3)
    assert_gradient(SINGLES[name], np.abs(x) if real else x)


def test_gradient_of_sparsity():
    assert_gradient(losses.matrix_sparsity, np.random.default_rng(4).standard_normal((5, 5)))


@pytest.mark.parametrize("name", PAIRS)
def test_zero_at_equality_and_finite_everywhere(name: str):
    sound, silence = decays(5, dtype=np.float32), np.zeros((TIME, 2), np.float32)
    half = np.concatenate([sound[:, :1], silence[:, :1]], axis=1)
    loss = jax.jit(jax.value_and_grad(PAIRS[name]))
    for prediction in (sound, silence, half):
        for target in (sound, silence, half):
            value, gradient = loss(prediction, target)
            assert np.isfinite(value)
            assert np.all(np.isfinite(gradient))
            # equal numbers by two programs: two roundings of levels of up to 100 dB
            equal = prediction is target
            assert value == pytest.approx(0, abs=200 * EPS32) if equal else value >= 0


@pytest.mark.parametrize("name", SINGLES)
def test_a_response_of_zeros_has_a_finite_gradient(name: str):
    for x in (np.zeros((8, 1), np.complex64), np.ones((8, 1), np.float32)):
        value, gradient = jax.value_and_grad(SINGLES[name])(x)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("name", PAIRS)
def test_dtype_jit_and_batches(name: str):
    """float32 in, float32 out; a batch is the mean over its members.

    Levels in dB and logarithms of float32 sums of 3,000 terms: 1e-5 of a loss is some 100 EPS.
    """
    loss = PAIRS[name]
    with jax.numpy_dtype_promotion("strict"):
        predictions = np.stack([decays(k, 0.08, np.float32) for k in (1, 2, 3)])
        targets = np.stack([decays(k, 0.1, np.float32) for k in (4, 5, 6)])
        mapped = jax.jit(jax.vmap(loss))(predictions, targets)
        batch = jax.jit(loss)(predictions, targets)
        single = jax.jit(loss)
        alone = np.array([single(p, t) for p, t in zip(predictions, targets, strict=True)])
    assert mapped.dtype == batch.dtype == np.float32
    np.testing.assert_allclose(mapped, alone, rtol=1e-5)
    if name not in ("edc", "edr"):  # whose means are over unequal numbers of points
        assert float(batch) == pytest.approx(float(np.mean(alone)), rel=1e-5)
    with jax.enable_x64(True):
        double = jax.jit(loss)(predictions.astype(np.float64), targets.astype(np.float64))
    assert double.dtype == np.float64
    assert float(batch) == pytest.approx(float(double), rel=1e-4)


def test_stft_is_scipys():
    """Frames as `scipy.signal.ShortTimeFFT` gives them, and the distance by its formula."""
    x, y = decays(1), decays(2)
    size, hop, length = 256, 30, 120
    with jax.enable_x64(True):
        value = losses.multi_resolution_stft(x, y, ((size, hop, length),), floor_db=-300.0)
    window = signal.get_window("hann", length)
    terms = []
    for channel in range(2):
        padded = [np.pad(z[:, channel], (length - hop, length)) for z in (x, y)]
        starts = range(0, TIME + length - hop, hop)
        S, T = (
            np.abs(np.fft.rfft([z[k : k + length] * window for k in starts], size)) for z in padded
        )
        convergence = linalg.norm(T - S) / linalg.norm(T)
        terms.append(convergence + np.mean(np.abs(np.log(T) - np.log(S))))
    # the logarithm of a bin 100 dB below the largest carries 1e5 EPS of rounding
    assert float(value) == pytest.approx(np.mean(terms), rel=1e-9)


def test_stft_of_a_gain():
    """Half the amplitude: ‖S - S/2‖ / ‖S‖ = 1/2, and ln 2, where the floor is far away."""
    x = np.random.default_rng(0).standard_normal((TIME, 1)).astype(np.float32)
    stft = jax.jit(lambda p, t: losses.multi_resolution_stft(p, t, floor_db=-200.0))
    assert float(stft(x / 2, x)) == pytest.approx(0.5 + np.log(2), rel=1e-5)
    mel = jax.jit(lambda p, t: losses.mel(p, t, 48000.0, floor_db=-200.0))
    assert float(mel(x / 2, x)) == pytest.approx(np.log(2), rel=1e-5)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_filters(scale: str):
    """Two points of each scale are known: 1 kHz and 6.4 kHz are 15 and 42 mel in Slaney's, 700 Hz
    is 2595 lg 2 in HTK's. The filters' peaks are evenly spaced on it.
    """
    size, bands, rate = 16384, 40, 16000.0
    filters = losses.mel_filters(size, bands, rate, scale)
    np.testing.assert_allclose(filters.sum(1), 1, rtol=1e-12)
    peaks = np.argmax(filters, axis=1) * rate / size
    if scale == "htk":
        mels = 2595 * np.log10(1 + peaks / 700)
    else:
        mels = np.where(peaks < 1000, peaks * 3 / 200, 15 + 27 * np.log(peaks / 1000) / np.log(6.4))
    spacing = np.diff(mels)
    # a peak is off by half a bin, 0.5 Hz, at either end; the first bands are 44 Hz wide at least
    assert np.ptp(spacing) < 0.05 * np.mean(spacing)


def test_error_to_signal_ratio():
    x, y = decays(1), decays(2)
    p = 0.85
    filtered = [signal.lfilter([1, -p], [1], z, axis=0) for z in (x, y)]
    ratio = np.mean(
        np.sum((filtered[1] - filtered[0]) ** 2, axis=0) / np.sum(filtered[1] ** 2, axis=0)
    )
    with jax.enable_x64(True):
        assert float(losses.error_to_signal_ratio(x, y, p)) == pytest.approx(ratio, rel=1e-12)
        assert float(losses.error_to_signal_ratio(0 * y, y)) == pytest.approx(1, rel=1e-12)


def test_energy_decay_curve_of_exponentials():
    """Σ_{m ≥ n} r^m = r^n / (1 - r): straight lines of known slope and distance."""
    n = np.arange(TIME)[:, None]
    fast, slow = 10 ** (-120 * n / TIME / 20), 10 ** (-90 * n / TIME / 20)
    hop, points = 50, np.arange(0, TIME, 50)
    lines = []
    for x in (fast, slow):
        r = float(x[1, 0] ** 2)
        lines.append(10 * np.log10((r**points - r**TIME) / (1 - r)))
    within = lines[0] >= lines[0][0] - 41
    expected = np.mean(np.abs(lines[1] - lines[0])[within])
    with jax.enable_x64(True):
        value = losses.energy_decay_curve(slow, fast, decay_range=41.0, hop=hop)
        louder = losses.energy_decay_curve(2 * fast, fast, decay_range=41.0)
    # the floor, 80 dB below, adds 10 lg(1 + 1e-4) = 4.3e-4 dB at the end of the range
    assert float(value) == pytest.approx(expected, abs=5e-4)
    assert float(louder) == pytest.approx(20 * np.log10(2), abs=5e-4)


def test_linear_energy_decay():
    x, y = decays(1), decays(2)
    curves = [np.cumsum(z[::-1] ** 2, axis=0)[::-1] for z in (x, y)]
    expected = np.mean(
        np.sum((curves[1] - curves[0]) ** 2, axis=0) / np.sum(curves[1] ** 2, axis=0)
    )
    with jax.enable_x64(True):
        value = losses.energy_decay_linear(x, y, hop=1)
    assert float(value) == pytest.approx(expected, rel=1e-12)


def test_octave_energies_are_those_of_the_filter_bank():
    """The same bands from short analytic signals and from filtering at the full rate.

    With silence round the signal the energies of the whole are equal by Parseval's theorem, but
    for what both cut off: the filters' answer has fallen by 98 dB after 16 periods, 64 ms at
    250 Hz. The curves in between differ by the ripple of a real band's power at twice its
    frequency, and by the band's own rate at which energies are summed up, both some period of the
    band: 4 ms at a decay of 600 dB/s, and that rarely.
    """
    around = 1100
    x, hop = np.pad(decays(1), ((around, around), (0, 0))), 0.01
    centres = octave_centres(FS, 250.0)
    with jax.enable_x64(True):
        energies = np.asarray(jax.jit(lambda x: losses.octave_energies(x, FS, centres, hop))(x))
    power = octave_filter(x, FS, centres) ** 2
    frames = -(-len(x) // round(hop * FS))
    power = np.pad(power, ((0, 0), (0, frames * round(hop * FS) - len(x)), (0, 0)))
    reference = power.reshape(len(centres), frames, -1, 2).sum(2).transpose(2, 0, 1)
    assert energies.shape == (2, len(centres), frames)
    ours, theirs = (np.cumsum(e[..., ::-1], -1)[..., ::-1] for e in (energies, reference))
    np.testing.assert_allclose(ours[..., 0], theirs[..., 0], rtol=1e-8)
    level = 10 * np.log10(ours[..., :17] / theirs[..., :17])
    assert np.max(np.abs(level)) < 600 * 0.004
    assert np.mean(np.abs(level)) < 0.1 * 600 * 0.004


def test_energy_decay_relief_of_a_gain():
    x = decays(1, dtype=np.float32)
    loss = jax.jit(lambda p, t: losses.energy_decay_relief(p, t, FS, decay_range=30.0))
    value = loss(2 * x, x)
    # floor 70 dB below the beginning: 10 lg(1 + 1e-4) at the end of the range
    assert float(value) == pytest.approx(20 * np.log10(2), abs=1e-3)


def test_reverberation_time_of_decaying_tones():
    """A decaying tone in the middle of each band: T̂ / T - 1 is known.

    Bands are steady after some periods, and the frames end the signal at −60 and −48 dB, which
    bends the end of the curves by 10 lg(1 - 10^-2.5) = 0.014 dB of 20 dB or less: 1e-3.
    """
    n = np.arange(8000)[:, None] / FS
    centres = (500.0, 1000.0, 2000.0)
    tones = sum(np.sin(2 * np.pi * f * n) for f in centres)
    target, prediction = (tones * 10 ** (-3 * n / t60) for t60 in (0.5, 0.625))
    with jax.enable_x64(True):
        loss = jax.jit(lambda p, t: losses.reverberation_time(p, t, FS, centres, -5.0, -25.0))
        value, reverse = loss(prediction, target), loss(target, prediction)
    assert float(value) == pytest.approx(0.25, abs=1e-3)
    assert float(reverse) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("shape", [(96, 1), (95, 2), (2**15, 1), (3, 40_000, 1), (2**16 + 6, 2)])
def test_spectrum_is_numpys(shape: tuple[int, ...]):
    """Long and short, even and odd, one and several; and its gradient is that of XLA's own."""
    x = np.random.default_rng(0).normal(size=shape)
    with jax.enable_x64(True):
        found = losses.spectrum(jnp.asarray(x))
        wanted = np.fft.rfft(x, axis=-2)
        # Of n roundings of a value up to √n, some √n add up; there are log2 n of them.
        bound = np.finfo(float).eps * np.sqrt(shape[-2]) * np.log2(shape[-2])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)
        weights = np.random.default_rng(1).normal(size=(2, *wanted.shape))

        def summed(transform: Callable) -> Callable:
            def total(x: jax.Array) -> jax.Array:
                H = transform(x)
                return jnp.sum(weights[0] * H.real + weights[1] * H.imag)

            return jax.grad(total)

        own, plain = (
            summed(f)(jnp.asarray(x)) for f in (losses.spectrum, lambda x: jnp.fft.rfft(x, axis=-2))
        )
        np.testing.assert_allclose(own, plain, rtol=0, atol=4 * bound)


def test_colourless():
    x = np.array([[0.5], [1.0], [1.5j], [-2.0]], np.complex64)
    assert float(losses.colourless(x)) == pytest.approx((0.25 + 0 + 0.25 + 1) / 4, rel=4 * EPS32)
    expected = (0.25 + 0 + 0.5**4 + 1) / 4
    assert float(losses.colourless_asymmetric(x)) == pytest.approx(expected, rel=4 * EPS32)


def test_spectral_flatness():
    """Of powers 1 and 4 in equal numbers: 1 - √4 / 2.5; no gain changes it."""
    x = np.array([[1.0], [2.0]] * 8, np.float32)
    assert float(losses.spectral_flatness(np.ones((9, 2), np.float32))) < 4 * EPS32
    assert float(losses.spectral_flatness(x)) == pytest.approx(0.2, rel=8 * EPS32)
    assert float(losses.spectral_flatness(1e-3 * x)) == pytest.approx(0.2, rel=8 * EPS32)


@pytest.mark.parametrize("N", [2, 4, 8])
def test_matrix_sparsity(N: int):
    permutation = np.eye(N, dtype=np.float32)[::-1]
    dense = (linalg.hadamard(N) / np.sqrt(N)).astype(np.float32)
    # N² terms of 1/√N, over N (√N - 1)
    assert float(losses.matrix_sparsity(permutation)) == pytest.approx(1, abs=16 * EPS32)
    assert float(losses.matrix_sparsity(dense)) == pytest.approx(0, abs=16 * EPS32)
    both = np.stack([permutation, dense])
    assert float(losses.matrix_sparsity(both)) == pytest.approx(0.5, abs=16 * EPS32)


def test_octave_weights_are_filters_of_class_1():
    """Limits of IEC 61260-1 for octave filters of class 1: octaves from the centre, least and most
    attenuation in dB; between them a straight line over the logarithm of the frequency.
    """
    most = [(0, 0.3), (1 / 8, 0.4), (1 / 4, 0.6), (3 / 8, 1.3), (0.499, 5.0)]
    least = [(0.501, 2.0), (1, 17.5), (2, 42.0), (3, 61.0), (4, 70.0)]
    length, rate = 1 << 18, 64000.0
    centres = octave_centres(rate)
    f = np.arange(1, length // 2 + 1) * rate / length
    with np.errstate(divide="ignore"):
        attenuation = -20 * np.log10(octave_weights(length, rate, centres)[:, 1:])
    for centre, a in zip(centres, attenuation, strict=True):
        octaves = np.abs(np.log2(f / centre))
        inside, outside = octaves < 0.499, octaves > 0.501
        assert np.all(a[inside] <= np.interp(octaves[inside], *np.transpose(most)))
        assert np.all(a[outside] >= np.interp(octaves[outside], *np.transpose(least)))
        assert np.min(a) >= 0
    squares = np.sum(octave_weights(length, rate, centres)[:, 1:] ** 2, axis=0)
    between = (f >= centres[0]) & (f <= centres[-1])
    np.testing.assert_allclose(squares[between], 1, rtol=1e-14)


def test_octave_centres():
    assert octave_centres(48000.0) == (
        *(31.25, 62.5, 125.0, 250.0, 500.0),
        *(1000.0, 2000.0, 4000.0, 8000.0, 16000.0),
    )
    assert [nominal(f) for f in octave_centres(44100.0)[:3]] == [31.5, 63.0, 125.0]
    assert octave_centres(44100.0)[-1] == 8000.0
    assert octave_centres(48000.0, 125.0, 8000.0) == tuple(125 * 2.0**k for k in range(7))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: losses.energy_decay_curve(x, x[1:]), "same shape"),
        (
            lambda x: losses.energy_decay_curve(x[:, 0], x[:, 0]),
            r"`prediction` \(shape \(3000,\)\)",
        ),
        (lambda x: losses.energy_decay_curve(x, x, hop=0), r"`hop` \(=0\)"),
        (lambda x: losses.energy_decay_curve(x, x, -3.0), r"`decay_range` \(=-3.0\)"),
        (lambda x: losses.energy_decay_relief(x, x, FS, hop=0.0), r"`hop` \(=0.0\)"),
        (lambda x: losses.reverberation_time(x, x, FS, upper=-35.0), r"`upper` \(=-35.0\)"),
        (lambda x: losses.error_to_signal_ratio(x, x, 1.0), r"`pre_emphasis` \(=1.0\)"),
        (lambda x: losses.multi_resolution_stft(x, x, ((256, 64, 512),)), "window 512"),
        (lambda x: losses.mel(x, x, FS, ((256, 100),)), "100 bands"),
        (lambda x: losses.mel(x, x, FS, scale="bark"), "'bark'"),
        (lambda x: losses.matrix_sparsity(jnp.ones((1, 1))), "N ≥ 2"),
        (lambda x: octave_centres(0.0), r"`sample_rate` \(=0.0\)"),
        (lambda x: octave_centres(FS, 9000.0, 8000.0), r"`lowest` \(=9000.0\)"),
        (lambda x: octave_centres(FS, 8000.0), "No octave band"),
    ],
)
def test_errors_say_what_is_wrong(call: Callable, message: str):
    with pytest.raises(ValueError, match=message):
        call(jnp.asarray(decays(1, dtype=np.float32)))
