"""Models at other sample rates: reverberation times, responses, lengths, refusals, export."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax import nnx
from scipy import signal

import adac_jax
from adac_jax import RateError, Resampled, at_rate, effects, metrics, nn, presets
from adac_jax.bands import octave_centres
from adac_jax.cli import main
from adac_jax.designs import velvet_noise
from adac_jax.rates import RULES, by_parts, derive, unchanged
from adac_jax.rates.change import Change
from adac_jax.rates.lengths import REACH
from adac_jax.rates.levels import evaluated, exact
from adac_jax.rates.matching import AMPLITUDE_DB, EDGE, HEARD_DB
from adac_jax.verification import traced_at

OLD = 48000.0
T60_LIMIT = 0.02
"""Share by which a reverberation time may deviate: what is promised."""
RATES = (22050.0, 44100.0, 88200.0, 96000.0, 192000.0)
# `benchmarks/rates.py` goes through all of them; here the farthest.
ENDS = (192000.0,)
SOME = (96000.0, *(pytest.param(r, marks=pytest.mark.slow) for r in ENDS))
T60 = np.array([2.2, 2.3, 2.2, 2.0, 1.8, 1.6, 1.4, 1.1, 0.8, 0.55, 0.4])
"""Below the bands, from 63 Hz to 16 kHz, above."""
LENGTHS = (1009, 3541)
BANDS = {"frequencies": np.geomspace(60, 12000, 8)}

Absorption = Callable[..., Any]
ABSORPTIONS: dict[str, Absorption] = {
    "gain": lambda m, **k: nn.Gain.from_t60(2.0, m, **k),
    "gain, T60": lambda m, **k: nn.Gain.from_t60(2.0, m, train="t60", **k),
    "gain, groups": lambda m, **k: nn.Gain.from_t60(
        [2.0, 1.0], m, train="rate", groups=(0, 1), **k
    ),
    "one-pole": lambda m, **k: nn.OnePole.from_t60(2.0, 0.8, m, **k),
    "one-pole, T60": lambda m, **k: nn.OnePole.from_t60(2.0, 0.8, m, train="t60", **k),
    "one-pole, rising": lambda m, **k: nn.OnePole.from_t60(1.0, 1.5, m, **k),
    "shelf": lambda m, **k: nn.FirstOrderShelf.from_t60(2.0, 0.5, m, frequency=3000.0, **k),
    "SVF": lambda m, **k: nn.SVF.from_t60(2.0, 0.6, m, frequency=4000.0, **k),
    "low-pass": lambda m, **k: nn.Biquad.from_t60(2.0, m, frequency=9000.0, **k),
    "PEQ": lambda m, **k: nn.PEQ.from_t60(np.geomspace(2.2, 0.6, 8), m, **BANDS, **k),
    "PEQ, SVF": lambda m, **k: nn.PEQ.from_t60(
        np.geomspace(2.2, 0.6, 8), m, design="svf", train="rate", **BANDS, **k
    ),
    "GEQ": lambda m, **k: nn.GEQ.from_t60(T60, m, **k),
    "GEQ, rates": lambda m, **k: nn.GEQ.from_t60(T60, m, train="rate", **k),
    "AccurateGEQ": lambda m, **k: nn.AccurateGEQ.from_t60(T60, m, **k),
    "AccurateGEQ, T60": lambda m, **k: nn.AccurateGEQ.from_t60(T60, m, train="t60", **k),
    "sections": lambda m, **k: nn.SOS(
        len(m), np.asarray(nn.AccurateGEQ.from_t60(T60, m, **k).sos())
    ),
}

SLOW = ("sections", "GEQ", "GEQ, rates", "PEQ", "PEQ, SVF", "AccurateGEQ")
"""Those that take longer to design; the others go the same way."""


def network(absorption: Absorption, m: tuple[int, ...] = LENGTHS, **parts: Any) -> nn.FDN:
    model = nn.FDN(m, absorption=absorption(m, sample_rate=OLD), **parts)
    model.sample_rate = OLD
    return model


def sections(model: Any) -> list[np.ndarray]:
    """The second-order sections of a filter, or of filters in series, (sections, 6, *channels)."""
    if isinstance(model, nn.Serial):
        return [sos for part in model.modules for sos in sections(part)]
    if isinstance(model, nn.Gain):
        gains = evaluated(model, "gains")
        return [np.stack([gains, *np.zeros((2, *gains.shape)), np.ones_like(gains),
                          *np.zeros((2, *gains.shape))])[None]]  # fmt: skip
    return [evaluated(model, "sos")]


def response_db(model: Any, f: np.ndarray, rate: float) -> np.ndarray:
    """20 log10 |H| by SciPy, (frequencies, *channels)."""
    sos = np.concatenate(sections(model))
    flat = np.moveaxis(sos.reshape(*sos.shape[:2], -1), -1, 0)
    h = np.stack([signal.sosfreqz(s, f, fs=rate)[1] for s in flat], axis=-1)
    return 20 * np.log10(np.maximum(np.abs(h), 1e-12)).reshape(len(f), *sos.shape[2:])


def loss(model: nn.FDN, f: np.ndarray, rate: float) -> np.ndarray:
    """What each line loses in dB per second: 60 over its reverberation time."""
    return response_db(model.absorption, f, rate) * rate / np.array(model.delays.samples)


def impulse_response(model: Any, rate: float, seconds: float = 2.5) -> np.ndarray:
    """From every input to every output, (time, inputs · outputs)."""
    with jax.enable_x64(True):
        run = jax.jit(exact(model))
        x = jnp.zeros((round(seconds * rate), model.inputs))
        return np.hstack([np.asarray(run(x.at[0, k].set(1.0))) for k in range(model.inputs)])


def band_t60(h: np.ndarray, rate: float, centres: tuple[float, ...]) -> np.ndarray:
    """T30 in octave bands, the mean over ways from input to output."""
    decay = metrics.energy_decay(h, rate, centres)
    return np.mean(metrics.reverberation_time(decay, -5.0, -35.0), axis=-1)


def assert_same_decay(model: Any, old: float, rate: float, lowest: float = 62.5) -> None:
    centres = octave_centres(min(rate, old), lowest)
    own = band_t60(impulse_response(model, old), old, centres)
    new = band_t60(impulse_response(at_rate(model, rate), rate), rate, centres)
    assert np.all(np.isfinite(own))
    assert np.max(np.abs(new / own - 1)) <= T60_LIMIT, dict(
        zip(centres, new / own - 1, strict=True)
    )


@pytest.mark.parametrize("rate", SOME)
def test_the_hall_decays_alike(rate):
    assert_same_decay(presets.hall(), OLD, rate)


@pytest.mark.parametrize("rate", SOME)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in ABSORPTIONS],
)
def test_each_line_loses_as_much_in_a_second(name, rate):
    model = network(ABSORPTIONS[name])
    found = derive(model, rate)
    f = np.geomspace(20, EDGE * min(rate, OLD) / 2, 200)
    before, after = loss(model, f, OLD), loss(found.model, f, rate)
    lossy = np.abs(before) * np.array(LENGTHS) / OLD <= np.abs(before).min() + HEARD_DB
    error = np.abs(after / before - 1)[lossy]
    assert np.max(error) <= T60_LIMIT  # of every line, at every frequency: more than of a band
    assert np.max(error) <= 2 * found.error + 2e-3  # so is it between the points of the record


@pytest.mark.slow
@pytest.mark.parametrize("rate", ENDS)
@pytest.mark.parametrize("name", ["gain", "one-pole", "shelf", "SVF", "PEQ", "AccurateGEQ"])
def test_each_absorption_decays_alike(name, rate):
    # Enough lines and channels that where the echoes of one pass fall is not what is measured.
    m = nn.mutually_prime_delays(16, 960, 3840)
    assert_same_decay(network(ABSORPTIONS[name], m, outputs=8), OLD, rate)


@pytest.mark.slow
@pytest.mark.parametrize("rate", ENDS)
def test_a_fitted_room_decays_alike(data_folder, rate):
    from adac_jax import fitting

    path = sorted((data_folder / "rir").glob("*.wav"))[0]
    x, own = soundfile.read(path, always_2d=True)
    room = fitting.fit(x[:, :1], sample_rate=float(own), steps=30).room
    assert_same_decay(room, float(own), rate, 125.0)


@pytest.mark.parametrize("rate", RATES)
def test_lengths_keep_their_seconds_and_stay_coprime(rate):
    model = network(ABSORPTIONS["gain"], nn.mutually_prime_delays(16, 960, 3840))
    found = at_rate(model, rate)
    seconds = np.array(model.delays.samples) / OLD
    new = np.array(found.delays.samples)
    assert np.all(np.abs(new - seconds * rate) <= REACH + 0.5)
    plain = np.array([round(s * rate) for s in seconds])
    pairs = ~np.eye(len(new), dtype=bool)
    free, before = (np.mean(np.gcd.outer(m, m)[pairs] == 1) for m in (new, plain))
    assert free > max(before, 6 / np.pi**2)  # the share of numbers drawn at random
    assert np.gcd.reduce(new) == 1


def test_lengths_that_share_factors_are_rounded():
    found = at_rate(network(ABSORPTIONS["gain"], (100, 150, 225, 350)), 96000.0)
    assert found.delays.samples == (200, 300, 450, 700)


def test_the_way_back_through_feedback_delays_counts():
    g = 0.9
    model = nn.FDN((101, 223), absorption=[g, g], feedback_delays=(31, 3))
    model.sample_rate = OLD
    found = at_rate(model, 44100.0)
    lengths = np.array(found.delays.samples) + np.array(found.feedback_delays.samples)
    stretch = lengths / (np.array([132, 226]) * 44100 / OLD)
    np.testing.assert_allclose(found.absorption.gains(), g**stretch, rtol=1e-6)


@pytest.mark.slow
def test_scattering_decays_alike():
    gamma = 10 ** (-3 / (1.5 * OLD))  # 60 dB in 1.5 s, wherever the samples are spent
    m = nn.mutually_prime_delays(8, 700, 2500)
    scatter = nn.VelvetScattering(8, gain_per_sample=gamma)
    model = nn.FDN(m, outputs=8, matrix=scatter, absorption=gamma ** np.array(m))
    model.sample_rate = OLD
    assert_same_decay(model, OLD, 96000.0, 125.0)


FILTERS: dict[str, Callable[[], nn.Filter]] = {
    **{
        f"{kind} {f:.0f}": lambda kind=kind, f=f: nn.Biquad(
            2, kind, frequency=f, gain_db=0.0 if kind == "allpass" else [6.0, -9.0], sample_rate=OLD
        )
        for kind in ("lowpass", "highpass", "bandpass", "peaking", "lowshelf", "highshelf")
        for f in (300.0, 12000.0)
    },
    "free SVF": lambda: nn.SVF(1, frequency=5000.0, mix=(1.0, 0.7, 0.3), sample_rate=OLD),
    "SVF peak": lambda: nn.SVF(1, "peaking", frequency=9000.0, gain_db=6.0, sample_rate=OLD),
    "PEQ": lambda: nn.PEQ(1, 6, gains_db=[3, -4, 5, -6, 4, 2], sample_rate=OLD),
    "GEQ": lambda: nn.GEQ(1, np.linspace(-6, 6, 12)[:, None], sample_rate=OLD),
    "AccurateGEQ": lambda: nn.AccurateGEQ(1, np.linspace(6, -6, 11)[:, None], sample_rate=OLD),
    "one-pole": lambda: nn.OnePole(1, 1.0, 0.2),
    "shelf": lambda: nn.FirstOrderShelf(1, 2.0, 0.5, 2000.0, sample_rate=OLD),
    "section": lambda: nn.SOS(1, [[0.3, 0.2, 0.1, 1.0, -1.2, 0.5], [1, -0.9, 0, 1, 0.3, 0]]),
    "matrix": lambda: nn.PEQ((2, 2), 3, gains_db=[3.0, -4.0, 5.0], sample_rate=OLD),
}


@pytest.mark.parametrize("rate", SOME)
@pytest.mark.parametrize("name", FILTERS)
def test_filters_keep_their_response(name, rate):
    model = FILTERS[name]()
    found = at_rate(model, rate, model_rate=OLD)
    f = np.geomspace(20, EDGE * min(rate, OLD) / 2, 200)
    before, after = response_db(model, f, OLD), response_db(found, f, rate)
    depth = np.max(before, axis=0) - before
    heard = depth <= HEARD_DB
    # Twice what the fit aims at: its points lie elsewhere.
    allowed = 2 * AMPLITUDE_DB * 10 ** (depth / 20)
    assert np.all((np.abs(after - before) <= allowed)[heard])


def test_there_and_back_is_what_it_was():
    model = network(ABSORPTIONS["AccurateGEQ, T60"])
    back = at_rate(at_rate(model, 96000.0), OLD)
    f = np.geomspace(20, EDGE * OLD / 2, 100)
    assert np.max(np.abs(loss(back, f, OLD) / loss(model, f, OLD) - 1)) <= T60_LIMIT
    assert back.sample_rate == OLD


@pytest.mark.slow
def test_training_goes_on_with_what_was_trained():
    model = network(ABSORPTIONS["one-pole, T60"], (67, 101))
    found = at_rate(model, 96000.0)
    kept = found.absorption.modules[0]
    np.testing.assert_array_equal(kept.gain_dc.t60(), model.absorption.gain_dc.t60())
    graph, state = nnx.split(found, nnx.Param)[0], nnx.state(found, nnx.Param)
    x = jnp.zeros((512, 1)).at[0].set(1.0)
    gradient = jax.grad(lambda s: jnp.sum(nnx.merge(graph, s)(x) ** 2))(state)
    leaves = jax.tree.leaves(gradient)
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in leaves)
    assert any(bool(jnp.any(g != 0)) for g in leaves)


def test_the_model_itself_stays_as_it_is():
    model = presets.hall()
    before = jax.tree.map(np.array, nnx.state(model))
    at_rate(model, 96000.0)
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(model))
    assert model.sample_rate == OLD
    assert isinstance(model.absorption, nn.OnePole)


def test_the_same_rate_is_a_copy():
    model = presets.hall()
    found = at_rate(model, OLD)
    assert found is not model
    jax.tree.map(np.testing.assert_array_equal, nnx.state(found), nnx.state(model))
    assert found.delays.samples == model.delays.samples


@pytest.mark.parametrize("rate", [44100.0, 96000.0])
def test_taps_keep_their_response(rate):
    rng = np.random.default_rng(0)
    model = nn.FIR(1, rng.standard_normal(300) * np.exp(-np.arange(300) / 60))
    found = at_rate(model, rate, model_rate=OLD)
    w = np.linspace(0, 0.85 * min(rate, OLD) / 2, 300)
    h, g = (
        np.exp(-2j * np.pi * np.outer(w / r, np.arange(len(t)))) @ t
        for r, t in (
            (OLD, np.asarray(model.taps()[:, 0], np.float64)),
            (rate, np.asarray(found.taps()[:, 0], np.float64)),
        )
    )
    # Of the phase too: -40 dB is where a filter is refused.
    assert np.max(np.abs(g - h)) <= 0.01 * np.max(np.abs(h))


def test_velvet_noise_stays_sparse():
    model = nn.FIR(1, velvet_noise(4800, 1500.0, OLD))
    found = at_rate(model, 96000.0, model_rate=OLD)
    old, new = (np.asarray(m.taps()[:, 0]) for m in (model, found))
    np.testing.assert_array_equal(np.flatnonzero(new), 2 * np.flatnonzero(old))
    np.testing.assert_array_equal(new[new != 0], old[old != 0])


def sines(rate: float, seconds: float = 0.4) -> jax.Array:
    t = np.arange(round(seconds * rate))[:, None] / rate
    fade = np.sin(np.pi * t / seconds) ** 2
    return jnp.asarray(0.2 * fade * sum(np.sin(2 * np.pi * f * t + f) for f in (110, 523, 1319)))


EFFECTS: dict[str, tuple[Callable[[], Any], float]] = {
    "chorus": (lambda: effects.Chorus(sample_rate=OLD), -60.0),
    "flanger": (lambda: effects.Flanger(sample_rate=OLD), -50.0),
    "vibrato": (lambda: effects.Vibrato(sample_rate=OLD), -60.0),
    "tremolo": (lambda: effects.Tremolo(sample_rate=OLD), -80.0),
    # The bilinear transform turns 1.3 kHz by (π f / fs)² / 3 = 0.25 % less or more, in six stages.
    "phaser": (lambda: effects.Phaser(feedback=0.0, sample_rate=OLD), -34.0),
    "compressor": (lambda: effects.Compressor(sample_rate=OLD), -40.0),
    "gate": (lambda: effects.Gate(sample_rate=OLD), -40.0),
    "limiter": (lambda: effects.Limiter(ceiling_db=-12.0, sample_rate=OLD), -40.0),
    "echoes": (lambda: effects.PingPong(1, sample_rate=OLD), -40.0),
    "tone stack": (lambda: effects.ToneStack(sample_rate=OLD), -50.0),
    "curve": (lambda: effects.Waveshaper(antialias=False), -120.0),
    # Without its aliases a curve is late by half a sample, which is half as long at twice the rate.
    "amplifier": (
        lambda: effects.GrayBoxAmplifier(drive_db=12.0, antialias=False, sample_rate=OLD),
        -25.0,
    ),
}
"""Effects, and by how many dB of its peak the output on low sines may change at twice the rate:
what is of the order of half a sample's time, or of the bilinear transform at 1.3 kHz."""


@pytest.mark.parametrize("name", EFFECTS)
def test_effects_keep_their_seconds(name):
    make, limit = EFFECTS[name]
    model = make()
    found = at_rate(model, 2 * OLD, model_rate=OLD)
    with jax.enable_x64(True):
        y = np.asarray(exact(model)(sines(OLD)))
        z = np.asarray(exact(found)(sines(2 * OLD)))[::2]
    late = round(getattr(found, "latency", 0) / 2) - getattr(model, "latency", 0)
    assert late == 0
    error = np.max(np.abs(y - z)) / np.max(np.abs(y))
    assert 20 * np.log10(max(error, 1e-15)) <= limit


def test_a_state_space_is_sampled_at_another_step():
    model = effects.S4D(1, 8, rngs=nnx.Rngs(0))
    found = at_rate(model, 2 * OLD, model_rate=OLD)
    np.testing.assert_allclose(found.step(), model.step() / 2, rtol=1e-5)


class Delayed(nnx.Module):
    inputs = 1
    sample_rate = OLD

    def __init__(self) -> None:
        self.samples = 480

    def __call__(self, x):
        return adac_jax.delay(x, self.samples)

    def at_rate(self, change):
        self.samples = change.samples(self.samples)
        return self


class Plain(nnx.Module):
    inputs = 1

    def __init__(self) -> None:
        self.gain = nnx.Param(jnp.ones(1))
        self.tone = nn.SVF(1, "lowpass", frequency=500.0, sample_rate=OLD)

    def __call__(self, x):
        return self.tone(x) * self.gain[...]


class ByParts(Plain):
    at_rate = by_parts


def test_a_class_of_ones_own_says_what_becomes_of_it():
    assert at_rate(Delayed(), 96000.0).samples == 960
    found = at_rate(ByParts(), 96000.0)
    assert found.tone.frequency.sample_rate == 96000.0
    assert found.sample_rate == 96000.0
    np.testing.assert_allclose(found.tone.frequency.hertz(), 500.0, rtol=1e-5)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown": (lambda: nn.Serial(nn.Gain(1), Unknown()), r"`unknown` \(Unknown\).*at_rate"),
    "own": (Plain, "Plain cannot be derived.*by_parts"),
    "recurrent": (
        lambda: effects.LSTMAmplifier(4, rngs=nnx.Rngs(0)), "LSTMAmplifier.*its state was learned"
    ),
    "convolutional": (
        lambda: effects.TCNAmplifier(2, (1, 2), rngs=nnx.Rngs(0)), "TCNAmplifier.*taps were learned"
    ),
    "two taps": (lambda: nn.Serial(nn.FIR(1, [0.5, 0.5])), r"`fir` \(FIR\).*2 taps.*-40 dB"),
    "function": (lambda: lambda x: x, "does not take `sample_rate`"),
    "program": (lambda: adac_jax.trace(nn.Gain(1)).program, "came as IR"),
}  # fmt: skip


class Unknown(nn.Module):
    inputs = outputs = 1


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_part(name):
    make, text = REFUSED[name]
    with pytest.raises(RateError, match=text) as caught:
        at_rate(make(), 22050.0, model_rate=OLD)
    assert len(str(caught.value).splitlines()) == 1


def test_rates_must_be_known_and_agree():
    with pytest.raises(adac_jax.AdacError, match="give `model_rate`"):
        at_rate(nn.Gain(1), 96000.0)
    two = nn.Serial(nn.SVF(1, sample_rate=44100.0), nn.SVF(1, sample_rate=OLD))
    with pytest.raises(adac_jax.AdacError, match="made for"):
        at_rate(two, 96000.0)
    with pytest.raises(adac_jax.AdacError, match="8000"):
        at_rate(presets.hall(), 10.0)


def test_ir_stays_what_it_is_at_its_own_rate():
    program = adac_jax.trace(nn.Gain(1), sample_rate=OLD).program
    assert at_rate(program, OLD) is program


def test_an_equaliser_without_a_band_is_refused():
    model = nn.GEQ(1, lowest=9000.0, sample_rate=OLD)
    with pytest.raises(RateError, match="none of its bands lies below"):
        at_rate(model, 16000.0)


def test_a_frequency_that_the_rate_lacks_is_moved_and_noted():
    found = derive(nn.SVF(1, "peaking", frequency=15000.0, sample_rate=OLD), 22050.0)
    assert any("15000 Hz is beyond the rate" in note.text for note in found.notes)


def test_a_part_that_is_used_twice_stays_one():
    gain = nn.FractionalDelay([10.5])
    found = at_rate(nn.Serial(gain, gain), 96000.0, model_rate=OLD)
    assert found.modules[0] is found.modules[1]
    assert found.modules[0].samples == (21.0,)


def test_a_function_that_takes_the_rate_is_called_with_it():
    def echo(x, sample_rate=OLD):
        return adac_jax.delay(x, round(0.01 * sample_rate))

    found = at_rate(echo, 96000.0)
    assert int(jnp.argmax(found(jnp.zeros((2000, 1)).at[0].set(1.0)))) == 960
    assert traced_at(found, inputs=1)[1].graph.sample_rate == 96000.0


def test_every_module_has_a_rule():
    public = [getattr(m, name) for m in (nn, effects) for name in m.__all__]
    bases = (nn.Module, nn.Filter, effects.Effect)
    classes = [c for c in public if inspect.isclass(c) and issubclass(c, nnx.Module)]
    assert [c for c in classes if c not in bases and c not in RULES] == []


def test_a_rule_is_registered_once():
    with pytest.raises(ValueError, match="has a rule already"):
        adac_jax.rates.rule(nn.Gain)(unchanged)


def test_samples_are_rounded_but_none_is_lost():
    change = Change(48000.0, 22050.0)
    assert [change.samples(m) for m in (0, 1, 2, 100)] == [0, 1, 1, 46]


@pytest.mark.parametrize(
    "host",
    [44100.0, *(pytest.param(r, marks=pytest.mark.slow) for r in (48000.0, 96000.0, 192000.0))],
)
def test_a_model_between_resamplers(host):
    model = effects.LSTMAmplifier(4, rngs=nnx.Rngs(0))
    found = Resampled(model, host_rate=host, model_rate=OLD)
    t = np.arange(20000)[:, None] / host
    x = (0.3 * np.sin(2 * np.pi * 440 * t) * np.hanning(20000)[:, None]).astype(np.float32)
    whole = found(x)
    assert whole.shape == x.shape
    inside = np.arange(round(20000 * OLD / host))[:, None] / OLD
    # The same sine at the model's own rate: what comes out is that, at the host's times.
    own = 0.3 * np.sin(2 * np.pi * 440 * inside) * np.hanning(len(inside))[:, None]
    y = np.asarray(model(jnp.asarray(own, jnp.float32)))[:, 0]
    at = np.interp(t[:, 0], inside[:, 0], y)
    # Between two samples of 440 Hz a line is off by (2π 440 / 48000)² / 8 = 4e-4 of the peak, and
    # the windows' lengths differ by less than a sample.
    assert np.max(np.abs(whole[:, 0] - at)[500:-500]) <= 2e-3 * np.max(np.abs(y))
    blocks = np.split(x, [1, 513, 1000, 6000, 6001, 12345])
    parts = list(found.process(blocks))
    assert [len(p) for p in parts] == [len(b) for b in blocks]
    late = np.concatenate(parts)
    n = found.latency
    assert (n == 0) == (host == OLD)
    # One rounding step of single precision in each of some hundred sums.
    np.testing.assert_allclose(late[n:], whole[: len(x) - n], atol=1e-5)


def test_a_resampler_refuses_what_does_not_fit():
    found = Resampled(nn.Gain(2), host_rate=44100.0, model_rate=OLD)
    with pytest.raises(ValueError, match=r"\(time, 2\)"):
        found(np.zeros((10, 1)))
    with pytest.raises(adac_jax.AdacError, match="give `model_rate`"):
        Resampled(nn.Gain(2), host_rate=44100.0)


MODELS = """
from flax import nnx
from adac_jax import effects, nn

def fixed():
    m = (101, 137)
    model = nn.FDN(m, absorption=nn.OnePole.from_t60(0.3, 0.1, m, sample_rate=48000))
    model.sample_rate = 48000.0
    return model

def made(sample_rate=48000.0):
    return nn.SVF(1, "lowpass", frequency=0.1 * sample_rate, sample_rate=sample_rate)

def learned():
    return effects.LSTMAmplifier(2, rngs=nnx.Rngs(0))
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def graph(path: Path) -> Any:
    return json.loads(path.read_text())


def test_export_for_a_host(models, capsys):
    arguments = ["models.py:fixed", "--seconds", "0.1", "--out", "out"]
    assert main([*arguments, "--host-rate", "96000"]) == 0
    report = graph(models / "out" / "report.json")
    assert report["sample_rate"] == 96000
    assert report["passed"]
    single = [c for c in report["checks"] if c["reading"] == "FAUST single"]
    assert all(c["error_db"] is None or c["error_db"] <= -120 for c in single)
    assert "derived for 96000 Hz from 48000 Hz" in capsys.readouterr().out


@pytest.mark.slow
def test_export_for_several_hosts(models, capsys):
    arguments = ["models.py:made", "--seconds", "0.05", "--out", "out"]
    assert main([*arguments, "--host-rate", "44100", "--host-rate", "96000"]) == 0
    assert sorted(p.name for p in (models / "out").iterdir()) == ["44100", "96000"]
    # The factory takes the rate, so it is asked: its frequency is a tenth of the rate.
    assert "derived" not in capsys.readouterr().out
    for rate in ("44100", "96000"):
        report = graph(models / "out" / rate / "report.json")
        assert report["passed"]
        assert report["sample_rate"] == float(rate)


def test_export_refuses_before_anything_is_written(models, capsys):
    arguments = ["models.py:learned", "--out", "out", "--host-rate", "48000"]
    assert main([*arguments, "--host-rate", "96000"]) == 1
    assert not (models / "out").exists()
    error = " ".join(capsys.readouterr().err.split())
    assert "LSTMAmplifier cannot be derived for 96000 Hz" in error
    assert "--listen" in error


@pytest.mark.slow
def test_the_hall_is_exported_at_96_khz(models):
    assert main(["--host-rate", "96000", "--seconds", "0.5", "--out", "out"]) == 0
    report = graph(models / "out" / "report.json")
    single = [c for c in report["checks"] if c["reading"] == "FAUST single"]
    assert single
    assert all(c["error_db"] is None or c["error_db"] <= -120 for c in single)
