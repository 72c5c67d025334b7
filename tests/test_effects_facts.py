"""What is known of effects beforehand: ceilings, pitches, phases, aliases, published responses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from effects_models import space
from effects_plain import CURVES, KINKS, RATE, mean_of, tone_stack_transfer
from flax import nnx
from readings import in_faust

import adac_jax
from adac_jax import effects
from adac_jax.effects import shapes
from adac_jax.effects.tone_stack import BASSMAN

EPS = 2.0**-53


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        yield


def run(module: Any, x: np.ndarray) -> np.ndarray:
    graph, state = nnx.split(module)
    return np.asarray(jax.jit(lambda s, x: nnx.merge(graph, s)(x))(state, jnp.asarray(x)))


def adversaries(length: int = 4000) -> dict[str, np.ndarray]:
    """What limiters fail at, (time, 1) each."""
    draws = np.random.default_rng(3)
    late = np.zeros(length)
    late[[5, 900, 901, 972, 973, 3000]] = [20, 1, -30, 2, -1, 0.9]
    steps = np.repeat(draws.uniform(-3, 3, 40), length // 40)
    growing = np.exp(np.linspace(-6, 3, length)) * np.cos(np.pi * np.arange(length))
    signals = {
        "full-scale noise": np.sign(draws.uniform(-1, 1, length)),
        "impulses": late,
        "steps": steps,
        "growing": growing,
        "at once": np.full(length, 8.0),
    }
    return {name: x[:, None] for name, x in signals.items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lookahead", [1 / RATE, 0.0015])
@pytest.mark.parametrize("name", adversaries())
def test_a_limiter_never_exceeds_its_ceiling(name, lookahead, dtype):
    with jax.enable_x64(dtype is np.float64):
        module = effects.Limiter(lookahead=lookahead, sample_rate=RATE)
        x = adversaries()[name].astype(dtype)
        y = run(module, x)
    assert y.dtype == dtype
    ceiling = 10 ** (-1 / 20)
    # 1 - g, at most 1, is a mean by 2 log2(L + 1) sums, and five more roundings; times x.
    roundings = 5 + 2 * np.log2(module.latency + 1)
    rounding = np.max(np.abs(x)) * roundings * float(np.finfo(dtype).eps)
    assert np.max(np.abs(y)) <= ceiling + rounding
    assert np.max(np.abs(y)) >= 0.5 * ceiling  # and it does not do so by silence


def test_a_limiter_delays_by_its_latency_and_leaves_what_is_quiet_to_the_bit():
    module = effects.Limiter(2, sample_rate=RATE)
    assert module.latency == 72
    x = 0.89 * np.random.default_rng(4).uniform(-1, 1, (500, 2))
    np.testing.assert_array_equal(run(module, x)[72:], x[:-72])


@pytest.mark.parametrize("wave", ["sine", "triangle"])
@pytest.mark.parametrize("kind", [effects.Chorus, effects.Vibrato])
def test_a_delay_is_what_it_says(kind, wave):
    """Cubics interpolate a ramp exactly: x[t] = t gives t - d(t)."""
    length, rate, delay, depth = 6000, 7.3, 0.003, 0.002
    module = kind(2, wave=wave, rate=rate, delay=delay, depth=depth, spread=0.5, sample_rate=RATE)
    ramp = np.arange(float(length))
    y = run(module, np.stack([ramp, ramp], 1))
    if kind is effects.Chorus:
        y = (y - ramp[:, None]) / 0.7
    for i in range(2):
        turns = rate * ramp / RATE + i * 0.25
        folded = turns - np.round(turns)
        beyond = np.sign(folded) * (0.5 - np.abs(folded))
        triangle = 4 * np.where(np.abs(folded) <= 0.25, folded, beyond)
        moving = np.sin(2 * np.pi * turns) if wave == "sine" else triangle
        expected = RATE * (delay + depth * (1 + moving) / 2)
        # The frequency is rounded by 2^-33 of a turn a sample; eight products of t, over the mix.
        phase = length * 2**-33 * 2 * np.pi * RATE * depth / 2
        found = (ramp - y[:, i])[300:]
        assert np.max(np.abs(found - expected[300:])) <= phase + 16 * length * EPS / 0.7


def test_a_vibrato_moves_the_pitch_by_a_factor_of_one_plus_or_minus_pi_rate_depth():
    rate, depth, f = 5.0, 0.001, 440.0
    t = np.arange(24000) / RATE
    x = np.stack([np.cos(2 * np.pi * f * t), np.sin(2 * np.pi * f * t)], 1)
    y = run(effects.Vibrato(2, rate=rate, depth=depth, sample_rate=RATE), x)[4800:]
    heard = np.diff(np.unwrap(np.angle(y[:, 0] + 1j * y[:, 1]))) * RATE / (2 * np.pi) / f
    # A cubic is off by ω^4 9/16 / 24 of the amplitude at most, ω = 0.0576, so by less than twice
    # that in phase from one sample to the next.
    omega = 2 * np.pi * f / RATE
    off = 2 * (9 / 16 / 24) * omega**4 / omega
    assert abs(np.max(heard) - (1 + np.pi * rate * depth)) <= off + 1e-6
    assert abs(np.min(heard) - (1 - np.pi * rate * depth)) <= off + 1e-6


def test_a_phaser_that_stands_still_passes_all_and_its_mix_makes_the_notch():
    options: dict[str, Any] = {"low": 1000.0, "high": 1000.0, "rate": 0.002, "feedback": 0.0}
    impulse = np.zeros((4096, 1))
    impulse[0] = 1.0
    for stages in (1, 2, 6):
        module = effects.Phaser(stages=stages, mix=0.5, **options, sample_rate=RATE)
        heard = np.fft.rfft(2 * (run(module, impulse) - impulse)[:, 0])
        # 4096 samples of poles at 0.877: what is cut off is 0.877^4096. Sixteen roundings a stage
        # and sample, remembered for 1 / (1 - 0.877) samples, over all of the transform.
        tolerance = 16 * stages * 8.2 * 4096 * EPS
        assert np.max(np.abs(np.abs(heard) - 1)) <= tolerance
    t = np.arange(9600) / RATE
    tone = np.sin(2 * np.pi * 1000 * t)[:, None]
    still = effects.Phaser(stages=2, **options, sample_rate=RATE)
    assert np.max(np.abs(run(still, tone)[4800:])) <= 1e-12  # opposite in phase, as loud
    alone = effects.Phaser(stages=2, mix=0.0, **options, sample_rate=RATE)
    np.testing.assert_array_equal(run(alone, tone), tone)


def test_a_phaser_that_hardly_moves_passes_nearly_all():
    options: dict[str, Any] = {"rate": 0.002, "feedback": 0.0, "mix": 1.0}
    impulse = np.zeros((2048, 1))
    impulse[0] = 1.0
    module = effects.Phaser(stages=6, low=600.0, high=1500.0, **options, sample_rate=RATE)
    heard = np.fft.rfft((run(module, impulse) - impulse)[:, 0])
    # Over 2048 samples log2 f moves by 1.32 / 2 * 4 * 0.002 * 2048 / 48000 = 2.3e-4, f by 1.6e-4
    # of itself, a by (1 - a²) / 2 times that; a stage's gain by 2 δa / (1 - |a|) at most.
    a = (np.tan(np.pi * 950 / RATE) - 1) / (np.tan(np.pi * 950 / RATE) + 1)
    moved = (1 - a**2) / 2 * 1.6e-4
    assert np.max(np.abs(np.abs(heard) - 1)) <= 6 * 2 * moved / (1 - abs(a))


def test_a_ping_pong_goes_left_right_left():
    m, g = 480, 0.5
    module = effects.PingPong(time=0.01, feedback=g, damping=6000.0, wet=1.0, sample_rate=RATE)
    x = np.zeros((5 * m, 2))
    x[0, 0] = 1.0
    y = run(module, x)
    pole = np.exp(-2 * np.pi * 6000 / RATE)
    for k in range(1, 5):
        here, other = (k + 1) % 2, k % 2
        echo = y[k * m : (k + 1) * m]
        assert abs(echo[0, here] - g ** (k - 1) * (1 - pole) ** k) <= 20 * EPS
        # What is left of the echo before: 0.456^480 = 1e-164, times powers of 480.
        assert np.max(np.abs(echo[:, other])) <= 1e-150
        assert (
            abs(np.sum(echo[:, here]) - g ** (k - 1)) <= 4 * m * EPS
        )  # what is dulled is not lost


def test_the_default_of_a_tone_stack_is_the_published_circuit():
    """Component values of the '59 Bassman 5F6-A: section 2 of the paper."""
    published = [250e3, 1e6, 25e3, 56e3, 0.25e-9, 20e-9, 20e-9]
    assert list(BASSMAN.values()) == published


@pytest.mark.parametrize("seed", range(6))
def test_a_tone_stack_has_the_published_response(seed):
    draws = np.random.default_rng(seed)
    treble, middle, bass = draws.uniform(0.01, 0.99, 3)
    parts = {name: value * draws.uniform(0.5, 2) for name, value in BASSMAN.items()}
    knobs = {"treble": treble, "middle": middle, "bass": bass}
    module = effects.ToneStack(**knobs, components=parts, sample_rate=RATE)
    frequencies = np.geomspace(5, 23000, 200)
    found = adac_jax.frequency_response(module)(2 * np.pi * frequencies / RATE)
    b, a = tone_stack_transfer(treble, middle, bass, parts)
    s = 2j * RATE * np.tan(np.pi * frequencies / RATE)
    expected = np.polyval(b[::-1], s) / np.polyval(a[::-1], s)
    # The circuit is solved with conductances from 1e-7 to 1e-3, which loses four digits, and a
    # pole at 1 - 2π 5 / fs is seen through a difference of 6e-4.
    assert np.max(np.abs(np.ravel(found) - expected)) <= 100 * 1e4 / 6e-4 * EPS


def test_knobs_are_where_they_are_set():
    module = effects.ToneStack(treble=0.2, middle=0.9, bass=0.01, sample_rate=RATE)
    module.set(treble=0.7, middle=0.25, bass=0.05)
    other = effects.ToneStack(treble=0.7, middle=0.25, bass=0.05, sample_rate=RATE)
    x = np.random.default_rng(0).uniform(-1, 1, (50, 1))
    np.testing.assert_array_equal(run(module, x), run(other, x))


# Of a sine of 5 kHz and 20 dB: aliases against those of the plain curve in dB, as measured; all of
# them, and those below 5 kHz, which nothing masks.
ALIASES = {
    "tanh": (-6.64, -28.80), "hard": (-7.28, -28.45), "cubic": (-6.87, -28.26),
    "rational": (-6.51, -29.14), "algebraic": (-6.60, -28.86), "arctan": (-6.29, -29.63),
    "arcsinh": (-5.96, -30.93),
}  # fmt: skip


def alias_energies(module: Any) -> np.ndarray:
    """Energy at multiples of 1 kHz that are no harmonics of 5 kHz; and of those below 5 kHz.

    Harmonics above fs / 2 appear at multiples of 5 kHz less multiples of 48 kHz, so of 1 kHz.
    """
    length = 4800
    t = np.arange(2 * length) / RATE
    y = run(module, np.sin(2 * np.pi * 5000 * t + 0.1)[:, None])[length:, 0]
    lines = np.abs(np.fft.rfft(y)[::100]) ** 2
    lines[::5] = 0
    return np.array([np.sum(lines), np.sum(lines[:5])])


@pytest.mark.parametrize("curve", CURVES)
def test_a_mean_over_each_step_lowers_aliases(curve):
    averaging, plainly = (
        alias_energies(effects.Waveshaper(curve=curve, drive_db=20.0, antialias=anti))
        for anti in (True, False)
    )
    change = 10 * np.log10(averaging / plainly)
    np.testing.assert_allclose(change, ALIASES[curve], atol=0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("curve", CURVES)
def test_means_are_means_however_close_the_ends_and_across_kinks(curve, dtype):
    """Distances from nothing to 4, about kinks, zero, and far out."""
    eps = float(np.finfo(dtype).eps)
    draws = np.random.default_rng(9)
    middles = np.concatenate([[*KINKS.get(curve, ()), 0.0, 1.0, -2.5, 30.0]] * 40)
    sizes = np.concatenate(
        [[0.0, shapes.NEAR, shapes.NEAR * 1.01], 10 ** draws.uniform(-9, 0.6, 37)]
    )
    widths = np.repeat(sizes, len(middles) // 40)
    starts = (middles - draws.uniform(0, 1, len(middles)) * widths).astype(dtype)
    ends = (starts + widths.astype(dtype)).astype(dtype)
    with jax.enable_x64(dtype is np.float64):
        shape = shapes.CURVES[curve]
        found = np.asarray(shapes.mean(shape, jnp.asarray(starts), jnp.asarray(ends)))
    assert found.dtype == dtype
    expected = [mean_of(curve, float(a), float(b)) for a, b in zip(starts, ends, strict=True)]
    # Twelve roundings of the slowly growing rest of the integral, which is below 6 but for arcsinh
    # (x arcsinh x), over a distance of an eighth or more.
    rest = 150.0 if curve == "arcsinh" else 6.0
    assert np.max(np.abs(found - expected)) <= 12 * rest * eps / shapes.NEAR


@pytest.mark.parametrize("curve", ["tanh", "hard", "cubic", "algebraic"])
def test_means_far_out_keep_single_precision_in_faust(curve):
    """FAUST's compiler may round u once in u[t] - u[t-1] and twice in |u[t]|: none of it shows.

    At 36 dB u is up to 63, whose rounding, 2^-24 63, over an eighth would be 3e-5.
    """
    module = effects.Waveshaper(curve=curve, drive_db=36.0)
    program = adac_jax.trace(module).program
    x = np.random.default_rng(2).uniform(-1, 1, (20000, 1)).astype(np.float32)
    expected = run(module, x.astype(np.float64))
    (found,) = in_faust(program, [x.astype(np.float64)], len(x), "single")
    # Four roundings of the rest of the integral, below 1, over an eighth; four of the result; and
    # those of u, by which the mean moves at most twice as far at either end, relatively.
    assert np.max(np.abs(found - expected)) <= (4 / shapes.NEAR + 4 + 4) * 2.0**-24


@pytest.mark.parametrize("channels", [1, 3])
def test_a_diagonal_state_space_is_a_convolution(channels):
    module = effects.S4D(channels, 6, rngs=nnx.Rngs(7))
    x = np.random.default_rng(1).uniform(-1, 1, (500, channels))
    step, A, C, D = space(module)
    t = np.arange(len(x))
    weight = (C * (np.exp(step * A) - 1) / A)[..., None]
    kernel = 2 * np.real(np.sum(weight * np.exp(step[..., None] * A[..., None] * t), 1))
    kernel[:, 0] += D
    y = run(module, x)
    for i in range(channels):
        expected = np.convolve(x[:, i], kernel[i])[: len(x)]
        # Twenty roundings a step of states below 20, none of which is forgotten in 500 samples.
        assert np.max(np.abs(y[:, i] - expected)) <= 20 * 500 * 20 * EPS


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "docs" / "effects.md").read_text("utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 10
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        for example in examples:
            exec(compile(example, "effects.md", "exec"), names)
    assert (tmp_path / "out" / "amplifier" / "GrayBoxAmplifier.dsp").is_file()
