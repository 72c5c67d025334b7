"""Fitting: what is refused, what is minimised, training that goes on exactly, files, commands."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import soxr
from flax import nnx
from scipy import signal

from adac_jax import AdacError, fitting, metrics
from adac_jax.fitting import cli, figure
from adac_jax.fitting.fit import CHECKPOINTS
from adac_jax.fitting.initial import FADE, initial_room, structure_of
from adac_jax.fitting.training import EVERY

RATE = 8000
T60 = 0.15
RIRS = (
    "arni_35_3541_4_2",
    "meetingroom_to_hallway_290cm",
    "mic1_speaker1",
    "mic3_speaker7",
)


def decay(
    seconds: float = 0.3,
    channels: int = 1,
    *,
    rate: int = RATE,
    t60: float = T60,
    delay: int = 100,
    noise: float = 0.0,
) -> np.ndarray:
    """A direct sound, then noise that decays by 60 dB in `t60`, over steady noise."""
    rng = np.random.default_rng(0)
    length = round(rate * seconds)
    h = rng.standard_normal((length, channels))
    h *= 0.2 * 10 ** (-3 * np.arange(length) / (rate * t60))[:, None]
    h[0] = 0.8
    h = np.concatenate([np.zeros((delay, channels)), h])
    return h + noise * rng.standard_normal(h.shape)


def steady(seconds: float = 1.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(1).standard_normal((round(RATE * seconds), 1))


def impulse(length: int) -> jax.Array:
    return jnp.zeros((length, 1)).at[0].set(1.0)


# Reading a target


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (np.zeros((4000, 1)), "is silent"),
        (decay(channels=2) * [1, 0], "channel 2, is silent"),
        (decay() * 1e-15, "has the largest value 8e-16; it must be 1e-09 to 1e"),
        (np.clip(30 * decay(), -0.5, 0.5), "is clipped: .* samples in a row .* 0.5"),
        # a converter's limits: the positive one is a step nearer to zero
        (np.clip(30 * decay(), -1, 1 - 2**-15), "is clipped"),
        (np.clip(30 * np.abs(decay()), None, 0.5) - 0.51 * (decay() == 0.8), "is clipped"),
        (decay(0.05), "lasts 50 ms from its onset; at least 100 ms are needed"),
        (decay()[::-1], "lasts 50 ms from its onset"),
        (np.where(np.arange(2500) == 1200, np.nan, decay()[:, 0]), "not finite"),
        (steady(), "no impulse response: .* energy come in the second half, as in music or noise"),
        (np.sin(0.3 * np.arange(8000)), "no impulse response"),
        (decay(noise=0.02), "falls by .* dB before it ends or meets its noise; 25 dB are needed"),
        (np.eye(1, 4000)[0], "falls by 0 dB"),
        (decay(channels=3), r"has the shape \(2500, 3\); a response of one or two channels"),
        (decay(channels=2).T, r"has the shape \(2, 2500\)"),
        (np.zeros((9, 1, 1)), r"has the shape \(9, 1, 1\)"),
        (np.zeros((0, 1)), "is silent"),
    ],
)
def test_what_is_no_response_is_refused(response: np.ndarray, message: str):
    with pytest.raises(AdacError, match=f"^The response 'hall'.*{message}"):
        fitting.target_of(response, RATE, "hall")


@pytest.mark.parametrize("rate", [0, -8000, 7999, 400_000, float("nan"), float("inf")])
def test_sample_rates_that_are_none(rate: float):
    with pytest.raises(AdacError, match=r"`sample_rate` \(=.*\) must be 8000 to 384000 Hz"):
        fitting.target_of(decay(), rate)


def _nan() -> np.ndarray:
    x = decay()
    x[1234] = np.nan
    return x


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (np.zeros((4000, 1)), RATE, "is silent"),
        (np.clip(30 * decay(), -0.5, 0.5), RATE, "is clipped"),
        (decay(0.05), RATE, "lasts 50 ms"),
        (_nan(), RATE, "holds nan at sample 1234, channel 1; every sample must be a finite"),
        (steady(), RATE, "as in music or noise"),
        (decay(noise=0.02), RATE, "meets its noise"),
        (decay(channels=4), RATE, r"has the shape \(2500, 4\)"),
        (np.zeros((0, 1)), RATE, "has no samples"),
        (np.zeros((61 * RATE, 1)), RATE, "lasts 61 s; .* at most 60 s"),
        (decay(), 4000, r"\(=4000\) must be 8000 to 384000 Hz"),
    ],
)
def test_a_file_is_refused_by_its_name(tmp_path: Path, sound: np.ndarray, rate: int, message: str):
    path = tmp_path / "hall.wav"
    soundfile.write(path, sound, rate, subtype="FLOAT")
    with pytest.raises(AdacError, match=message) as caught:
        fitting.read_target(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_sound_file_is_refused(tmp_path: Path):
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    for name, message in (
        ("", "is a folder"),
        ("none.wav", "does not exist"),
        ("text.wav", "cannot be read"),
        ("empty.wav", "cannot be read"),
    ):
        with pytest.raises(AdacError, match=f"^The sound file {tmp_path / name} {message}"):
            fitting.read_target(tmp_path / name)


@pytest.mark.parametrize("name", ["drums", "synth_dry", "Kleiderschrank_Taylor_DI"])
def test_a_recording_is_no_response(data_folder: Path, name: str):
    path = data_folder / "dry" / f"{name}.wav"
    if not path.exists():
        pytest.skip(f"the optional recording {path} is not there")
    with pytest.raises(AdacError, match=rf"{name}\.wav.* is no impulse response: .* as in music"):
        fitting.read_target(path)


@pytest.mark.parametrize(("kind", "subtype"), [("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", None)])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_files_of_every_kind(
    tmp_path: Path, kind: str, subtype: str | None, channels: int, rate: int
):
    path = tmp_path / f"Großer Saal.{kind}"
    soundfile.write(path, decay(channels=channels, rate=rate), rate, subtype=subtype)
    found = fitting.read_target(path)
    wanted, _ = soundfile.read(path, always_2d=True)
    # what comes more than a millisecond before the onset is left out, and nothing else
    assert found.delay == (100 - round(0.001 * rate)) / rate
    assert np.array_equal(found.response, wanted[round(found.delay * rate) :])
    assert (found.name, found.sample_rate, found.outputs) == ("Großer Saal", rate, channels)


def test_delay_is_that_of_the_first_channel():
    x = np.hstack([decay(delay=300), np.roll(decay(delay=300), 200, axis=0)])
    found = fitting.target_of(x, RATE)
    assert found.delay == (300 - 8) / RATE
    assert np.array_equal(found.response, x[292:])


def test_resampling(tmp_path: Path):
    path = tmp_path / "room.wav"
    soundfile.write(path, decay(rate=44100, delay=441), 44100, subtype="DOUBLE")
    found = fitting.read_target(path, 16000)
    wanted = soxr.resample(decay(rate=44100, delay=441), 44100, 16000, quality="VHQ")
    begin = round(found.delay * 16000)
    assert found.sample_rate == 16000
    assert np.array_equal(found.response, wanted[begin:])
    # 10 ms before the direct sound, less the millisecond that is kept, and what a steep filter
    # rings before it: its samples more than -20 dB high lie within two
    assert 0.009 - 2 / 16000 <= found.delay <= 0.009 + 0.5 / 16000
    with pytest.raises(AdacError, match=r"`sample_rate` \(=1000\)"):
        fitting.read_target(path, 1000)


# The objective


@pytest.mark.parametrize("t60", [T60, 0.4])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_response_meets_itself(t60: float, channels: int):
    with jax.enable_x64(True):
        target = fitting.target_of(decay(3 * t60, channels, t60=t60), RATE)
        objective = fitting.objective_of(target)
        y = target.response[: objective.length]
        y = jnp.pad(y, ((0, objective.length - len(y)), (0, 0)))
        terms = {name: float(term) for name, term in objective.terms(y).items()}
        off = {name: float(term) for name, term in objective.terms(1.122 * y).items()}
    # What is cut off at the end lies at least 15 dB below the last level that counts, so no point
    # is off by more than 10 lg(1 + 10^-1.5) dB, nor is any mean of them; 0.01 dB round it off.
    cut = 10 * np.log10(1 + 10**-1.5)
    assert terms["curve"] <= cut + 0.01
    # In bands the objective takes the envelope's energy, and the measured curve the square, which
    # sways about it at twice the centre f. With energy falling as exp(-r t) the integral of what
    # sways is at most r / (4π f) of what is to come for a steady tone, and the level of noise is
    # up to three times its mean.
    rate = 6 * np.log(10) / t60
    sway = [10 / np.log(10) * rate / (4 * np.pi * f) for f in objective.centres]
    assert terms["relief"] <= 3 * np.mean(sway)
    assert terms["slope"] <= 0.02
    # one dB too much is seen as just that
    assert off["curve"] == pytest.approx(1.0, abs=cut + 0.01)
    assert off["slope"] == pytest.approx(terms["slope"], abs=1e-9)


def test_objective_sees_another_reverberation_time():
    with jax.enable_x64(True):
        objective = fitting.objective_of(fitting.target_of(decay(1.2, t60=0.4), RATE))
        other = fitting.target_of(decay(1.2, t60=0.44), RATE).response[: objective.length]
        terms = objective.terms(jnp.pad(other, ((0, objective.length - len(other)), (0, 0))))
    # s / ŝ - 1 = 1 / 1.1 - 1 = -0.091, as well as a line through noise in a band tells it
    assert float(terms["slope"]) == pytest.approx(0.091, abs=0.02)


@pytest.mark.parametrize("what", ["response", "silence", "impulse", "loud"])
def test_gradient_of_the_objective_is_finite(what: str):
    objective = fitting.objective_of(fitting.target_of(decay(channels=2), RATE))
    rng = np.random.default_rng(3)
    y = {
        "response": rng.standard_normal((objective.length, 2)),
        "silence": np.zeros((objective.length, 2)),
        "impulse": np.eye(objective.length, 2, -objective.onset),
        "loud": 1e6 * rng.standard_normal((objective.length, 2)),
    }[what]
    value, gradient = jax.value_and_grad(objective.loss)(jnp.asarray(y, jnp.float32))
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))
    assert (np.max(np.abs(gradient)) > 0) == (what != "silence")


def test_gradient_of_the_objective_against_differences():
    with jax.enable_x64(True):
        objective = fitting.objective_of(fitting.target_of(decay(), RATE))
        y = jnp.asarray(np.pad(decay(t60=0.2), ((0, 2000), (0, 0)))[: objective.length])
        direction = jnp.asarray(np.random.default_rng(4).standard_normal(y.shape)) * jnp.abs(y)
        loss = jax.jit(objective.loss)
        numerical = float(loss(y + 1e-6 * direction) - loss(y - 1e-6 * direction)) / 2e-6
        found = float(jnp.sum(jax.grad(objective.loss)(y) * direction))
    # central differences with this step are good to 1e-16 / 1e-6 of a loss of order 100, and to
    # 1e-12 of the third derivative, which the rounding-off of |x| makes 1 / 0.002² at most
    assert abs(numerical) > 0.1
    assert found == pytest.approx(numerical, abs=2e-6, rel=1e-6)


# The model


@pytest.mark.parametrize(
    ("lines", "early", "slopes", "message"),
    [
        (1, 0.06, 1, r"`lines` \(=1\) must be a number from 2 to 128"),
        (129, 0.06, 1, r"`lines` \(=129\)"),
        (3, 0.06, 2, r"`lines` \(=3\) must be a number from 4 to 128"),
        (16, 0.06, 0, r"`slopes` \(=0\) must be 1 or 2"),
        (16, 0.06, 200, r"`slopes` \(=200\) must be 1 or 2"),
        (16, 0.019, 1, r"`early` \(=0.019\) must be 0.02 to 0.5 seconds"),
        (16, 0.6, 1, r"`early` \(=0.6\)"),
        (16, float("nan"), 1, r"`early` \(=nan\)"),
        (100, 0.06, 1, r"At the sample rate 8000 Hz, `lines` \(=100\) must be .* at most 61"),
    ],
)
def test_structures_that_are_none(lines: int, early: float, slopes: int, message: str):
    with pytest.raises(AdacError, match=message):
        structure_of(fitting.target_of(decay(), RATE), lines, early, slopes)


@pytest.mark.parametrize("slopes", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44100, 384_000])
def test_structure(slopes: int, rate: int, tmp_path: Path):
    target = fitting.target_of(decay(rate=rate), rate)
    found = structure_of(target, 16, 0.06, slopes)
    assert found.early == round(0.06 * rate)
    assert sorted(sum(found.delays, ())) == sorted(set(sum(found.delays, ())))
    assert len(sum(found.delays, ())) == 16
    for wait, group in zip(found.wait, found.delays, strict=True):
        # networks begin where the early reflections fade out
        assert wait + min(group) == found.early - round(FADE * rate)
    found.save(tmp_path / "room.json")
    assert fitting.Structure.load(tmp_path / "room.json") == found


GOOD = {"sample_rate": 8000.0, "outputs": 1, "early": 9, "wait": [3], "delays": [[5, 7]]}


@pytest.mark.parametrize(
    "change",
    [
        {"sample_rate": None}, {"sample_rate": "fast"}, {"sample_rate": 0}, {"outputs": 0},
        {"early": 0}, {"wait": []}, {"wait": [-1]}, {"delays": []}, {"delays": [[]]},
        {"delays": [[0, 3]]}, {"delays": 5},
    ],
)  # fmt: skip
def test_damaged_structures_are_refused(tmp_path: Path, change: dict):
    path = tmp_path / "room.json"
    path.write_text(json.dumps(GOOD))
    assert fitting.Structure.load(path).delays == ((5, 7),)
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(AdacError, match=r"room\.json does not describe a fitted room"):
        fitting.load(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{}", "null", "\xff"])
def test_files_that_are_no_structure(tmp_path: Path, text: str):
    (tmp_path / "room.json").write_text(text, "latin-1")
    with pytest.raises(AdacError, match="does not describe a fitted room"):
        fitting.load(tmp_path)
    with pytest.raises(AdacError, match="cannot be read: No such file"):
        fitting.load(tmp_path / "none")


def _largest_gain_db(sos: np.ndarray) -> float:
    """Of cascades (sections, 6, channels), at 2000 frequencies."""
    omega = np.concatenate([[0], np.geomspace(1e-3, np.pi, 2000)])
    gains = [
        np.prod([np.abs(signal.freqz(s[:3], s[3:], omega)[1]) for s in cascade], axis=0)
        for cascade in np.moveaxis(sos.astype(np.float64), -1, 0)
    ]
    return float(20 * np.log10(np.max(gains)))


@pytest.mark.parametrize("size", [1.0, 100.0, 1e30])
def test_reverberation_times_are_positive_whatever_the_parameters(size: float):
    room = fitting.Room(fitting.Structure(RATE, 1, 80, (10,), ((97, 131),)))
    rng = np.random.default_rng(6)
    graphdef, state = nnx.split(room)
    state = jax.tree.map(
        lambda a: jnp.asarray(np.float32(size) * rng.standard_normal(a.shape), a.dtype), state
    )
    room = nnx.merge(graphdef, state)
    t60 = np.asarray(room.late[0].absorption.commands.t60())
    # exp(ln 1000) is rounded by a few units of the last place of its exponent
    assert np.all((t60 >= 1e-3 * (1 - 1e-5)) & (t60 <= 1e3 * (1 + 1e-5)))
    # the matrix, an exponential, is orthogonal to rounding, which grows with the exponent
    if size <= 100:
        A = np.asarray(room.late[0].matrix.matrix(), np.float64)
        assert np.max(np.abs(A @ A.T - np.eye(2))) <= 4 * (4 + size) * np.finfo(np.float32).eps


def test_loop_gain_is_below_one_where_times_differ_by_a_factor_of_three():
    """From band to band, at random: more than rooms do, and the equaliser overshoots by less."""
    room = fitting.Room(fitting.Structure(48000.0, 1, 480, (100,), ((577, 2503),)))
    absorption = room.late[0].absorption
    rng = np.random.default_rng(7)
    for _ in range(4):
        shape = absorption.commands.t60().shape
        absorption.commands.t60.set(np.exp(rng.uniform(np.log(0.5), np.log(1.5), shape)))
        assert _largest_gain_db(np.asarray(absorption.sos())) < 0


def test_initial_room_is_near_the_target():
    target = fitting.target_of(decay(0.6, 2, t60=0.3), RATE)
    objective = fitting.objective_of(target)
    structure = structure_of(target, 8, 0.03, 1)
    room = initial_room(target, objective, structure, 0)
    y = np.asarray(jax.jit(room)(impulse(objective.length)), np.float64)
    # the early reflections are the measured ones, but for the rounding of an FFT in single
    # precision: a few epsilon for each of its 12 stages, of the norm of what is in it
    begin = structure.early - round(FADE * RATE)
    bound = 5 * 12 * np.finfo(np.float32).eps * np.linalg.norm(target.response)
    assert np.max(np.abs(y[:begin] - target.response[:begin])) <= bound
    # the parameters are the measured times; their mean over two channels of noise is known to a
    # few per cent in a band at 1 kHz
    network = room.late[0]
    place = int(np.argmin(np.abs(np.array(network.absorption.frequencies) - 1000)))
    assert float(network.absorption.commands.t60()[place, 0]) == pytest.approx(0.3, rel=0.1)
    # levels: the energy after the early reflections is the measured one in each band, in which
    # eight echoing lines and noise differ by dB, not by tens of them
    late = [10 * np.log10(np.sum(x[structure.early :] ** 2, axis=0)) for x in (y, target.response)]
    assert np.max(np.abs(late[0] - late[1])) < 6
    compared = metrics.compare(y, target.response, RATE)
    assert compared.mean_t60_error < 30
    assert np.max(compared.edc_error) < 6


def test_no_reverberation_time_in_any_band():
    target = fitting.target_of(decay(), RATE)
    objective = fitting.objective_of(target)
    short = dataclasses.replace(target, response=np.eye(4000, 1))
    with pytest.raises(AdacError, match="No reverberation time can be read"):
        initial_room(short, objective, structure_of(short, 4, 0.03, 1), 0)


# Training, of a model that is compiled sooner than a room


class Tiny(nnx.Module):
    """Early reflections and a decaying noise: the parts that a room has, in closed form."""

    def __init__(self, target: fitting.Target) -> None:
        rng = np.random.default_rng(8)
        self.noise = jnp.asarray(rng.standard_normal((4 * len(target.response), 1)), jnp.float32)
        self.early = nnx.Param(jnp.asarray(target.response[:200], jnp.float32))
        self.t60 = nnx.Param(jnp.log(jnp.array(0.3)))
        self.gain = nnx.Param(jnp.array(0.15))

    def __call__(self, x):
        time = jnp.arange(len(x)) / RATE
        late = jnp.exp(-3 * np.log(10) * time / jnp.exp(self.t60[...]))[:, None]
        y = self.gain[...] * late * self.noise[: len(x)]
        return y.at[:200].set(self.early[...])


@pytest.fixture(scope="module")
def tiny():
    """A target, and its objective."""
    target = fitting.target_of(decay(), RATE)
    return target, fitting.objective_of(target)


class Interrupted:
    """Raises KeyboardInterrupt after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, progress: fitting.Progress) -> None:
        if progress.step == self.step:
            raise KeyboardInterrupt


def _same(a: Tiny, b: Tiny) -> bool:
    leaves = (jax.tree.leaves(nnx.state(m)) for m in (a, b))
    return all(np.array_equal(x, y) for x, y in zip(*leaves, strict=True))


def test_training_reduces_the_loss(tiny):
    target, objective = tiny
    room, seen = Tiny(target), []
    losses = fitting.train(room, objective, 100, progress=seen.append).losses
    assert losses.shape == (100,)
    assert losses[-1] < 0.5 * losses[0]
    assert [p.step for p in seen] == list(range(1, 101))
    assert [p.loss for p in seen] == losses.tolist()
    assert seen[-1].left == 0
    # from twice the time; what fits best differs from the true time, as noise from noise, but a
    # quarter of the way at most, on a logarithmic scale
    assert float(jnp.exp(room.t60[...])) == pytest.approx(T60, rel=2**0.25 - 1)
    assert np.array_equal(room.early[...], target.response[:200].astype(np.float32))
    # the loss is that of `terms`, and is said of the model before each step
    first = objective.loss(Tiny(target)(impulse(objective.length)))
    assert losses[0] == pytest.approx(float(first), rel=1e-5)


@pytest.mark.parametrize("stops", [(EVERY + 3,), (3, EVERY, 2 * EVERY + 1)])
def test_interrupted_training_ends_with_the_same_numbers(tiny, tmp_path: Path, stops):
    target, objective = tiny
    steps = 2 * EVERY + 5
    whole = Tiny(target)
    losses = fitting.train(whole, objective, steps).losses
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            fitting.train(
                Tiny(target), objective, steps, folder=tmp_path, progress=Interrupted(stop)
            )
    room, seen = Tiny(target), []
    found = fitting.train(room, objective, steps, folder=tmp_path, progress=seen.append)
    assert seen[0].step == max((s // EVERY) * EVERY for s in stops) + 1  # it did not begin again
    assert np.array_equal(found.losses, losses)
    assert _same(room, whole)
    # time of all runs, and what is left by the pace of this one
    kept = seen[0].seconds - (seen[-1].seconds - seen[0].seconds)
    assert found.seconds >= seen[-1].seconds > kept > 0
    assert seen[-1].left == 0
    assert all(p.left > 0 for p in seen[:-1])
    # what is complete is not trained again
    again, seen = Tiny(target), []
    found = fitting.train(again, objective, steps, folder=tmp_path, progress=seen.append)
    assert np.array_equal(found.losses, losses)
    assert seen == []
    assert _same(again, whole)


def test_checkpoints_of_another_run_are_refused(tiny, tmp_path: Path):
    target, objective = tiny
    fitting.train(Tiny(target), objective, 2, folder=tmp_path / "a", settings={"seed": 1})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AdacError, match=r"holds checkpoints of a run with other settings"):
        fitting.train(Tiny(target), objective, 2, folder=tmp_path / "a", settings={"seed": 2})
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_checkpoints_are_named(tiny, tmp_path: Path):
    target, objective = tiny
    fitting.train(Tiny(target), objective, 2, folder=tmp_path)
    for file in (tmp_path / "steps").rglob("*"):
        if file.is_file():
            file.write_bytes(b"not this")
    with pytest.raises(AdacError, match=r"The checkpoint of step 2 in .* is damaged"):
        fitting.train(Tiny(target), objective, 2, folder=tmp_path)


def test_a_loss_that_is_not_finite_ends_training(tiny, tmp_path: Path):
    target, objective = tiny
    room = Tiny(target)
    room.gain[...] = jnp.array(np.nan, jnp.float32)
    with pytest.raises(AdacError, match="The loss is nan at step 0"):
        fitting.train(room, objective, 5, folder=tmp_path)
    assert not list((tmp_path / "steps").glob("[0-9]*"))


# A whole run, by the command line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What `main` returned and printed, the fit that it made, and the folder."""
    folder = tmp_path_factory.mktemp("fit")
    rng = np.random.default_rng(9)
    soundfile.write(folder / "Kleiner Saal (2).wav", decay(delay=400), RATE, subtype="FLOAT")
    soundfile.write(folder / "dry.wav", 0.1 * rng.standard_normal((44100 // 2, 2)), 44100)
    made: list[fitting.Fit] = []

    def kept(*arguments, **options):
        made.append(fitting.fit(*arguments, **options))
        return made[-1]

    arguments = [
        folder / "Kleiner Saal (2).wav", "--out", folder / "out", "--lines", 2, "--steps", 3,
        "--early", 0.03, "--listen", folder / "dry.wav",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(cli, "fit", kept)
        code = cli.main([str(a) for a in arguments])
    return code, made[0], folder, arguments


def test_run_writes_what_it_says(run):
    code, made, folder, _ = run
    assert code == 0
    out = folder / "out"
    name = "Kleiner_Saal__2"
    assert made.target.name == name
    assert sorted(p.name for p in made.files) == sorted(
        [f"{name}.dsp", f"{name}.ir.json", f"{name}.cert.json", "report.json", "report.png"]
        + ["room.json", "weights", "fit.json", "fit.png", "target.wav", "before.wav", "after.wav"]
        + [f"dry.{label}.wav" for label in ("target", "before", "after")]
    )
    # and nothing else
    assert sorted(out.iterdir()) == sorted([*made.files, out / CHECKPOINTS])
    assert sorted(p.name for p in folder.iterdir()) == ["Kleiner Saal (2).wav", "dry.wav", "out"]
    assert made.exported is not None
    assert made.exported.report.passed
    responses = {"target": made.target.response, "before": made.before, "after": made.after}
    for label, response in responses.items():
        y, rate = soundfile.read(out / f"{label}.wav", dtype="float32", always_2d=True)
        assert rate == RATE
        assert np.array_equal(y, response.astype(np.float32))
        wet, rate = soundfile.read(out / f"dry.{label}.wav", always_2d=True)
        assert rate == RATE
        assert len(wet) == RATE // 2 + len(response) - 1
        assert np.max(np.abs(wet)) <= 0.9 * (1 + 1e-6)


def test_loaded_room_is_the_trained_one(run):
    _, made, folder, _ = run
    room = fitting.load(folder / "out")
    x = impulse(1000)
    split = nnx.split(made.room)
    play = jax.jit(lambda state: nnx.merge(split[0], state)(x))
    assert np.array_equal(play(nnx.state(room)), play(split[1]))
    assert room.sample_rate == RATE


def test_summary_is_json_without_nan(run):
    _, made, folder, _ = run

    def refuse(text: str) -> None:
        raise AssertionError(text)

    text = (folder / "out" / "fit.json").read_text("utf-8")
    found = json.loads(text, parse_constant=refuse)
    assert found == json.loads(json.dumps(fitting.summary(made)))
    assert found["left_out_seconds"] == pytest.approx(392 / RATE, abs=1e-6)
    assert len(found["losses"]) == 3
    assert found["sample_rate"] == RATE
    # what cannot be said is null
    unknown = dataclasses.replace(made.compared, t60=np.full((4, 1), np.nan), mean_t60_error=np.nan)
    found = fitting.summary(dataclasses.replace(made, compared=unknown))
    assert found["after"]["t60"] == [[None]] * 4
    assert found["after"]["mean_t60_error"] is None


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("known", [True, False])
def test_figure(run, tmp_path: Path, channels: int, known: bool):
    """Stereo, and where no reverberation time could be read."""
    made = run[1]
    responses = [np.repeat(x, channels, axis=1) for x in (made.before, made.after)]
    target = np.repeat(made.target.response, channels, axis=1)
    compared = [metrics.compare(x, target, RATE) for x in responses]
    if not known:
        nothing = np.full(compared[0].t60.shape, np.nan)
        compared = [dataclasses.replace(c, t60=nothing, target_t60=nothing) for c in compared]
    changed = dataclasses.replace(
        made,
        target=dataclasses.replace(made.target, response=target),
        before=responses[0],
        after=responses[1],
        compared_before=compared[0],
        compared=compared[1],
    )
    figure.save(changed, tmp_path / "fit.png")
    size = (tmp_path / "fit.png").read_bytes()[16:24]
    assert [int.from_bytes(size[k : k + 4], "big") for k in (0, 4)] == [1320, 825]
    drawn = figure.figure(changed)
    titles = [place.get_title(loc="left") for place in drawn.axes]
    assert [t for t in titles if t.startswith("Spectrogram")] == [
        f"Spectrogram, {name}" for name in ("measured", "before training", "trained")
    ]
    shown = drawn.axes[0].lines[0].get_ydata()
    assert np.array_equal(shown, changed.compared.target_t60[:, 0], equal_nan=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", "1"], "other settings or another response"),
        (["--early", "0.04"], "other settings or another response"),
        (["--listen", "none.wav"], r"none\.wav does not exist"),
    ],
)
def test_other_settings_in_the_same_folder(run, capsys, change, message):
    _, _, folder, arguments = run
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert cli.main([str(a) for a in arguments] + change) == 1
    _assert_one_sentence(capsys.readouterr(), message)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def _assert_one_sentence(captured, message: str) -> None:
    text = captured.err.strip()
    assert captured.out == ""
    assert text.startswith("error: ")
    assert "\n" not in text
    assert "Traceback" not in text
    assert text.endswith(".")
    assert re.search(message, text)


# The command line


def test_bad_input_is_one_sentence_and_writes_nothing(tmp_path: Path, capsys):
    sounds = {
        "silent": np.zeros((4000, 1)),
        "song": steady(),
        "room": decay(),
        "clipped": np.clip(30 * decay(), -0.5, 0.5),
    }
    for name, sound in sounds.items():
        soundfile.write(tmp_path / f"{name}.wav", sound, RATE, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no sound")
    before = sorted(tmp_path.rglob("*"))
    room, out = str(tmp_path / "room.wav"), ["--out", str(tmp_path / "out")]
    for arguments, message in (
        ([str(tmp_path / "silent.wav"), *out], r"silent\.wav is silent"),
        ([str(tmp_path / "song.wav"), *out], r"song\.wav is no impulse response"),
        ([str(tmp_path / "clipped.wav"), *out], r"clipped\.wav is clipped"),
        ([str(tmp_path / "none.wav"), *out], r"none\.wav does not exist"),
        ([str(tmp_path / "text.wav"), *out], r"text\.wav cannot be read"),
        ([str(tmp_path), *out], "is a folder"),
        ([room, "--out", room], "is a file; it must be a folder"),
        ([room, "--out", f"{room}/deeper"], "cannot be made: Not a directory"),
        ([room, *out, "--listen", str(tmp_path / "text.wav")], r"text\.wav cannot be read"),
        ([room, *out, "--lines", "3", "--slopes", "2"], r"`lines` \(=3\) must be"),
        ([room, *out, "--lines", "128"], "At the sample rate 8000 Hz"),
    ):
        assert cli.main(arguments) == 1
        _assert_one_sentence(capsys.readouterr(), message)
        assert sorted(tmp_path.rglob("*")) == before
    assert cli.main([str(tmp_path / "silent.wav"), *out, "--traceback"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["a.wav", "b.wav"], ["a.wav", "--lines", "1"], ["a.wav", "--lines", "many"],
        ["a.wav", "--steps", "0"], ["a.wav", "--early", "0.6"], ["a.wav", "--slopes", "3"],
        ["a.wav", "--sample-rate", "7000"], ["a.wav", "--nothing"], ["a.wav", "--seed", "-1"],
    ],
)  # fmt: skip
def test_wrong_command_lines(arguments: list[str], capsys):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert "Usage: python -m adac_jax.fit" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("begun", [True, False])
def test_interrupted_command(tmp_path: Path, capsys, monkeypatch, begun: bool):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    if begun:
        (tmp_path / CHECKPOINTS).mkdir()
    monkeypatch.setattr(cli, "fit", interrupted)
    assert cli.main(["room.wav", "--out", str(tmp_path)]) == 130
    text = capsys.readouterr().err
    assert "interrupted" in text
    assert (CHECKPOINTS in text) == begun
    assert "Traceback" not in text


def test_help_without_warnings():
    """As a user runs it."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-m", "adac_jax.fit", "--help"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    for word in ("ROOM.wav", "--out", "--lines", "--early", "--listen", "Exit codes", "130"):
        assert word in found.stdout


# Arguments of `fit`


def test_arguments_of_fit(tmp_path: Path):
    target = fitting.target_of(decay(), RATE)
    for options, message in (
        ({"target": target, "steps": 0}, r"`steps` \(=0\) must lie in 1 to 100000"),
        ({"target": target, "sample_rate": 48000}, r"`sample_rate` \(=48000\) must be that of the"),
        ({"target": decay()}, "`sample_rate` must be given where the response is an array"),
        ({"target": np.zeros((9, 9)), "sample_rate": RATE}, r"has the shape \(9, 9\)"),
        ({"target": target, "lines": 1}, r"`lines` \(=1\)"),
        ({"target": target, "listen_to": tmp_path}, "is a folder"),
    ):
        with pytest.raises(AdacError, match=message):
            fitting.fit(out=tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


# Whole fits


@pytest.mark.slow
@pytest.mark.parametrize("name", RIRS)
def test_fit_of_measured_rooms(data_folder: Path, tmp_path: Path, name: str):
    """The defaults; the first is exported too."""
    path = data_folder / "rir" / f"{name}.wav"
    if not path.exists():
        pytest.skip(f"the optional response {path} is not there")
    out = tmp_path / name if name == RIRS[2] else None
    found = fitting.fit(path, out)
    assert found.compared.centres == (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
    assert np.isfinite(found.compared.t60_error).sum() >= 5  # the mean is of most bands
    assert found.compared.mean_t60_error <= 4.0
    assert np.max(found.compared.edc_error) <= 1.0
    assert found.compared.edc_range == 30.0
    assert np.all(np.isfinite(found.losses))
    if out is not None:
        assert found.exported is not None
        errors = [
            check.error_db
            for check in found.exported.report.checks
            if check.reading == "FAUST single"
        ]
        assert max(errors) <= -120.0


@pytest.mark.slow
def test_interrupted_fit_of_a_stereo_room(tmp_path: Path):
    """As Ctrl-C leaves it: the same room, bit for bit, as without."""
    options = {"sample_rate": RATE, "lines": 4, "slopes": 2, "early": 0.03, "steps": EVERY + 3}
    response = decay(channels=2)
    whole = fitting.fit(response, None, **options)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(response, tmp_path, progress=Interrupted(EVERY + 1), **options)
    assert [p.name for p in tmp_path.iterdir()] == [CHECKPOINTS]
    found = fitting.fit(response, tmp_path, **options)
    assert np.array_equal(found.losses, whole.losses)
    assert np.array_equal(found.after, whole.after)
    assert found.exported is not None
    assert found.exported.report.passed
    assert whole.losses[-1] < whole.losses[0]
