"""What is heard of updates: in the page's worklet, run by Node, and in the player of this process.

A 220 Hz sine has no energy above 6 kHz; clicks have, and so has a number that moves in steps. In
single precision its rounding has some too (about -150 dB re full scale), which is what updates are
compared with.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx
from live_models import Comb, moved, room
from live_sound import RATE, STATIC, Scenario, above, sine

import adac_jax
from adac_jax import nn
from adac_jax.host import Library
from adac_jax.live.player import FADE, RAMP, Player, curve
from emitters import faust

BEGIN = 2 * RATE
"""The sine has been there for so long when the first update comes."""


def steps(model, count, amount=1e-3):
    """The form of a model, and its data after each of some steps of a training."""
    _graph, state = nnx.split(model)
    rng = np.random.default_rng(2)
    with adac_jax.live(model, page=False, history_megabytes=512) as session:
        for _ in range(count):
            state = moved(state, rng, amount)
            session.update(state)
            session.flush(30)
        found = [session.step(k) for k in range(count + 1)]
        assert {step.form for step in found} == {0}
        text = faust.emit(session.program())
        return session.form(0), [step.values for step in found], text


@pytest.fixture(scope="module")
def trained():
    """Sixteen lines, and a thousand steps of a training."""
    return steps(hall(), 1000)


def hall():
    m = nn.mutually_prime_delays(16, 960, 3840)
    absorption = nn.OnePole.from_t60(2.0, 0.8, m, sample_rate=RATE)
    return nn.FDN(m, absorption=absorption, outputs=2, rngs=nnx.Rngs(1))


@pytest.mark.parametrize("count", [50, 1000])
def test_updates_are_not_heard_above_the_sine(trained, tmp_path, count):
    form, values, _text = trained
    values = values[: count + 1]
    x = sine(5.0)
    still = Scenario(tmp_path)
    still.form(0, form, values[0])
    alone = above(still.play(x).y, first=BEGIN)
    scenario = Scenario(tmp_path)
    scenario.form(0, form, values[0])
    for k, at in enumerate(np.linspace(BEGIN, 4.8 * RATE, count).astype(int), 1):
        scenario.values(int(at), form, values[k], k)
    played = scenario.play(x)
    assert alone < -120
    assert above(played.y, first=BEGIN) < alone + 3
    assert played.report["resets"] == 0
    assert played.report["ramps"][0][0] == count


def test_after_the_last_update_it_is_the_closed_form(trained, tmp_path):
    """What is left of the sine from before has died away when the impulse comes."""
    form, values, text = trained
    x = np.zeros(6 * RATE)
    x[: RATE // 2] = sine(0.5)
    impulse = 5 * RATE
    x[impulse] = 1
    scenario = Scenario(tmp_path)
    scenario.form(0, form, values[0])
    for k in range(1, 51):
        scenario.values(k * 500, form, values[-51 + k], k)
    found = scenario.play(x).y[impulse:]
    with Library(text, precision="single") as library:
        expected = library.render(x[impulse:, None])
    # The tail of what was before: 4 s of a reverberation of 2 s, 120 dB below the sine.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.max(np.abs(expected)))


@pytest.mark.parametrize("block", [1, 97, 128, 1024])
def test_blocks_of_any_length(tmp_path, block):
    form, values, _ = steps(Comb(), 3)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, 6000)
    results = []
    for size in (128, block):
        scenario = Scenario(tmp_path)
        scenario.form(0, form, values[0])
        y = scenario.play(x, size).y
        results.append(y)
    np.testing.assert_array_equal(*results)


def other_topology():
    """Two forms of one model: its delays have changed."""
    model = Comb()
    with adac_jax.live(model, page=False) as session:
        model.delays = (331, 421)
        session.update(model)
        session.flush(30)
        return [(session.form(k), session.step(k).values) for k in range(2)]


def test_spill_over(tmp_path):
    """A new form takes over the input; the old one rings out, and then is no more."""
    (before, first), (after, second) = other_topology()
    x = sine(6.0)
    scenario = Scenario(tmp_path)
    scenario.form(0, before, first)
    for k in range(10):
        pair = [(after, second), (before, first)][k % 2]
        scenario.form(BEGIN + k * RATE // 5, *pair, step=k)
    played = scenario.play(x)
    assert above(played.y, first=BEGIN) < -120
    assert played.report["voices"] <= 3
    with Library(faust.emit(program_of(before)), precision="single") as library:
        expected = library.render(x[:, None])
    tail = slice(-RATE // 2, None)
    np.testing.assert_allclose(played.y[tail, :1], expected[tail], atol=2e-5)


def program_of(form):
    model = Comb((331, 421) if form.number else (307, 401))
    with jax.enable_x64(True):
        return adac_jax.trace(model).program


def test_the_tail_of_an_old_form_is_kept(tmp_path):
    """What sounded in the old form before the change sounds on as if nothing had been."""
    (before, first), (after, second) = other_topology()
    x = np.zeros(RATE)
    x[100] = 1
    at = 12800
    scenario = Scenario(tmp_path)
    scenario.form(0, before, first)
    scenario.form(at, after, second, step=1)
    found = scenario.play(x).y[:, :1]
    with Library(faust.emit(program_of(before)), precision="single") as library:
        expected = library.render(x[:, None])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_knobs_dry_sound_and_recording(tmp_path):
    form, values, _ = steps(Comb(knob=True), 1)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    scenario = Scenario(tmp_path)
    scenario.form(0, form, values[0])
    scenario.turn(0, "gain", 1.0)
    scenario.events.append((RATE // 2, {"type": "wet", "value": 0}))
    scenario.events.append((0, {"type": "record", "frames": RATE}))
    played = scenario.play(x)
    np.testing.assert_allclose(played.y[-RATE // 4 :, 0], x[-RATE // 4 :], atol=1e-6)
    silent = Scenario(tmp_path)
    silent.form(0, form, values[0])
    half = silent.play(x).y
    quarter = slice(RATE // 4, RATE // 2)
    np.testing.assert_allclose(played.y[quarter], 2 * half[quarter], atol=1e-6)


def test_a_model_without_inputs(tmp_path):
    def tone(parameters, x):
        like = jax.numpy.zeros((len(x), 1), x.dtype)
        return parameters["level"] * adac_jax.oscillator(480.0, like, sample_rate=RATE)

    parameters = {"level": jax.numpy.array(0.5)}
    with adac_jax.live(tone, parameters=parameters, inputs=0, page=False) as session:
        form, values = session.form(0), session.step().values
    scenario = Scenario(tmp_path)
    scenario.form(0, form, values)
    y = scenario.play(np.zeros(RATE // 10)).y
    t = np.arange(len(y)) / RATE
    np.testing.assert_allclose(y[:, 1], y[:, 0])
    assert np.abs(np.mean(y[:, 0] * np.exp(-2j * np.pi * 480 * t))) == pytest.approx(0.25, rel=1e-3)


def test_numbers_that_run_away_are_stopped(tmp_path):
    form, values, _ = steps(Comb(), 1)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE)
    bad = values[0] * 3
    scenario = Scenario(tmp_path)
    scenario.form(0, form, values[0])
    scenario.values(RATE // 2, form, bad, 1)
    scenario.values(RATE, form, values[0], 2)
    played = scenario.play(x)
    assert played.report["resets"] > 0
    assert np.all(np.isfinite(played.y))
    assert np.max(np.abs(played.y)) < 16
    np.testing.assert_allclose(
        played.y[-RATE // 4 :, 0],
        alone_in(tmp_path, form, values[0], x)[-RATE // 4 :, 0],
        atol=1e-6,
    )


def alone_in(folder, form, values, x):
    scenario = Scenario(folder)
    scenario.form(0, form, values)
    return scenario.play(x).y


def test_the_audio_thread_allocates_nothing(trained, tmp_path):
    """Three thousand blocks leave the heap where it was: a double a block would be 36 kB.

    In some of the rounds the compiler of JavaScript allocates for itself.
    """
    form, values, _ = trained
    scenario = Scenario(tmp_path)
    scenario.form(0, form, values[0])
    scenario.values(100, form, values[1], 1)
    played = scenario.play(sine(0.5), quiet=True)
    assert min(played.report["memory"]) < 24_000


@pytest.mark.parametrize("precision", ["single", "double"])
def test_the_player_of_this_process(trained, precision):
    form, values, _text = trained
    x = sine(4.0)[:, None]
    player = Player(form, values[0], precision)
    alone = above(player.process(x), first=BEGIN)
    player.close()
    player = Player(form, values[0], precision)
    parts = [player.process(x[:BEGIN])]
    rest = np.array_split(x[BEGIN:], 25)
    for k, part in enumerate(rest, 1):
        player.update(form, values[k])
        parts.append(player.process(part))
    player.close()
    # In double precision what is left is the ramps' own: 3u² - 2u³ over 20 ms.
    limit = alone + 3 if precision == "single" else -170
    assert above(np.concatenate(parts), first=BEGIN) < limit


def test_spill_over_in_this_process():
    (before, first), (after, second) = other_topology()
    x = sine(6.0)[:, None]
    player = Player(before, first)
    parts = [player.process(x[:BEGIN])]
    for k, part in enumerate(np.array_split(x[BEGIN:], 20)):
        player.update(*[(after, second), (before, first)][k % 2])
        for piece in np.array_split(part, 7):
            parts.append(player.process(piece))
    player.close()
    assert above(np.concatenate(parts), first=BEGIN) < -120


def test_both_players_go_the_same_way():
    """The ramp of the page is that of this process."""
    u = np.linspace(0, 1, 11)
    np.testing.assert_allclose(curve(u), u * u * (3 - 2 * u))
    text = (STATIC / "engine.js").read_text()
    assert f"RAMP = {RAMP};" in text
    assert f"FADE = {FADE};" in text
    assert "u * u * (3 - 2 * u)" in text


@pytest.mark.slow
def test_equalisers_in_the_worklet(tmp_path):
    form, values, _text = steps(room(), 20)
    x = sine(4.0)
    alone = above(alone_in(tmp_path, form, values[0], x), first=BEGIN)
    scenario = Scenario(tmp_path)
    scenario.form(0, form, values[0])
    for k in range(1, 21):
        scenario.values(BEGIN + 4000 * k, form, values[k], k)
    assert above(scenario.play(x).y, first=BEGIN) < alone + 3
