"""Live sessions: what goes in, what is kept, what comes out."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax import nnx
from live_models import Comb, moved, room

import adac_jax
from adac_jax import nn
from adac_jax.host import Library
from adac_jax.live import evaluation
from adac_jax.live.history import History, Moment
from adac_jax.live.session import PASSED, WAITING
from adac_jax.live.wire import Form, Step
from emitters import faust

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (2000, 1))


def closed(model, x: np.ndarray) -> np.ndarray:
    """The closed form of a model as it is exported, in single precision."""
    with jax.enable_x64(True):
        program = adac_jax.trace(model).program
    with Library(faust.emit(program), precision="single") as library:
        return library.render(x)


def assert_like(found: np.ndarray, expected: np.ndarray) -> None:
    """Single precision rounds at 6e-8; 1e-6 is what a listener is promised."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.max(np.abs(expected)))


def test_each_step_sounds_like_the_model_then():
    model = Comb()
    expected = [closed(model, NOISE)]
    with adac_jax.live(model, page=False) as session:
        for k in range(3):
            model.gains[...] = model.gains[...] * 0.9
            expected.append(closed(model, NOISE))
            session.update(model, loss=1.0 / (k + 1))
        assert session.flush(30)
        assert session.newest == 3
        assert session.steps == [0, 1, 2, 3]
        assert [n for n, _ in session.losses] == [0, 1, 2, 3]
        np.testing.assert_allclose([loss for _, loss in session.losses][1:], [1, 1 / 2, 1 / 3])
        for number, y in enumerate(expected):
            assert_like(session.render(NOISE, step=number), y)
        assert_like(session.render(NOISE), expected[-1])
        text = faust.emit(session.program())
    with jax.enable_x64(True):
        assert text == faust.emit(adac_jax.trace(model).program)
    assert session.closed


def test_states_linen_and_functions():
    model = Comb()
    state = nnx.split(model)[1]
    halved = jax.tree.map(lambda p: p / 2, state)
    with adac_jax.live(model, page=False) as session:
        session.update(halved)
        session.flush(30)
        assert_like(session.render(NOISE), closed(nnx.merge(nnx.split(model)[0], halved), NOISE))

    def gain(parameters, x):
        return x * parameters["g"]

    with adac_jax.live(gain, parameters={"g": jnp.array(0.5)}, inputs=1, page=False) as session:
        session.update({"g": jnp.array(0.25)})
        session.flush(30)
        np.testing.assert_allclose(session.render(NOISE), 0.25 * NOISE, atol=1e-7)
        with pytest.raises(adac_jax.AdacError, match="give the model itself"):
            session.update({"other": jnp.array(0.25)})
    with adac_jax.live(lambda x: x * 0.5, inputs=1, page=False) as session:
        np.testing.assert_allclose(session.render(NOISE), 0.5 * NOISE, atol=1e-7)


def test_programs():
    with jax.enable_x64(True):
        program = adac_jax.trace(Comb(knob=True)).program
    with adac_jax.live(program, page=False) as session:
        assert_like(session.render(NOISE), closed(Comb(), NOISE) / 2)
        session.update(program)
        session.flush(30)
        assert session.newest == 1
        assert session.problem == ""


def test_parameters_that_are_given_away():
    """A step may be compiled with `donate_argnums`: what it took is gone when it has begun."""
    model = Comb()
    state = nnx.split(model)[1]
    step = jax.jit(lambda s: jax.tree.map(lambda p: p * 0.9, s), donate_argnums=0)
    with adac_jax.live(model, page=False) as session:
        for _ in range(20):
            state = step(state)
            session.update(state)
        state = step(state)
        session.flush(30)
        assert session.newest == 20
        found = session.program().coefficients["gains"]
    np.testing.assert_allclose(found, np.array([0.7, 0.6]) * 0.9**20, rtol=1e-5)


def test_an_update_traces_nothing(monkeypatch):
    model = Comb()
    with adac_jax.live(model, page=False) as session:
        monkeypatch.setattr(evaluation, "traced_at", None)
        monkeypatch.setattr(evaluation, "open_form", None)
        for _ in range(3):
            model.gains[...] = model.gains[...] * 0.9
            session.update(model)
        session.flush(30)
        assert session.newest == 3
        assert session.problem == ""


def test_a_new_topology_is_a_new_form():
    model = Comb()
    with adac_jax.live(model, page=False) as session:
        model.delays = (307, 503)
        session.update(model)
        session.flush(30)
        assert session.step(0).form == 0
        assert session.step(1).form == 1
        assert_like(session.render(NOISE), closed(model, NOISE))
        assert_like(session.render(NOISE, step=0), closed(Comb(), NOISE))


def test_changes_of_structure_are_seen():
    """Whatever is another object than before, in any part, leads to a new look at the model."""
    model = nn.Serial(nn.Gain(1, 0.5), nn.Delay((3,)), nn.Gain(1, 0.5))
    x = np.zeros((10, 1))
    x[0] = 1
    with adac_jax.live(model, inputs=1, page=False) as session:

        def heard():
            session.update(model)
            session.flush(30)
            return session.render(x)[:, 0]

        def is_at(sample, gain):
            expected = np.zeros(10)
            expected[sample] = gain
            np.testing.assert_allclose(heard(), expected, atol=1e-7)

        is_at(3, 0.25)
        gains = [part for _, part in nnx.iter_graph(model) if isinstance(part, nn.Gain)]
        (delay,) = [part for _, part in nnx.iter_graph(model) if isinstance(part, nn.Delay)]
        for variable in [v for _, v in nnx.iter_graph(gains[0]) if isinstance(v, nnx.Param)]:
            variable[...] = variable[...] * 0.5
        is_at(3, 0.125)
        delay.samples = (5,)
        is_at(5, 0.125)
        assert session.problem == ""


def test_a_zero_that_becomes_a_number():
    model = Comb()
    model.A[...] = jnp.array([[0.6, 0.0], [0.0, 0.6]])
    with adac_jax.live(model, page=False) as session:
        assert session.form(0).count == 4
        for _ in range(2):
            model.A[...] = model.A[...] + 0.1
            session.update(model)
        session.flush(30)
        assert [session.step(k).form for k in range(3)] == [0, 1, 1]
        assert session.form(1).count == 6
        assert_like(session.render(NOISE), closed(model, NOISE))


def test_what_cannot_be_heard_is_said_and_passed_over():
    model = Comb()
    session = adac_jax.live(model, page=False)
    listener = session.listen()
    listener.wait(10)
    good = model.gains[...]
    model.gains[...] = good * jnp.nan
    session.update(model)
    session.flush(30)
    assert listener.wait(10).step is None  # told, though there is no step
    assert "step 1 cannot be heard" in session.problem
    assert "finite" in session.problem
    model.gains[...] = good * 0.5
    session.update(model)
    session.flush(30)
    assert session.problem == ""
    assert session.newest == 2
    model.gains[...] = good * jnp.nan
    session.update(model)
    with pytest.warns(UserWarning, match="step 3 cannot be heard"):
        session.close()
    with pytest.raises(adac_jax.AdacError, match="closed"):
        session.update(model)


def test_updates_never_wait():
    """With a listener that never comes back, and a thread that is stuck, updates go on."""
    model = Comb()
    began, stuck = threading.Event(), threading.Event()
    with adac_jax.live(model, page=False) as session:
        session.listen().wait(30)
        coefficients = session._evaluator.coefficients

        def wait(snapshot):
            began.set()
            stuck.wait(30)
            return coefficients(snapshot)

        session._evaluator.coefficients = wait
        state = nnx.split(model)[1]
        for k in range(WAITING + 40):
            session.update(state, loss=float(k))
            assert began.wait(30)  # the first is what the thread is stuck with
        assert len(session._waiting) == WAITING
        assert len(session._passed) <= PASSED
        stuck.set()
        assert session.flush(60)
        # All losses are there, in order; of the steps the first and the last ones.
        assert [loss for _, loss in session.losses[1:]] == list(range(WAITING + 40))
        assert [n for n, _ in session.losses] == list(range(WAITING + 41))
        assert session.newest == WAITING + 40
        assert len(session.steps) == WAITING + 2


def test_listeners():
    model = Comb()
    with adac_jax.live(model, page=False) as session:
        early = session.listen()
        news = early.wait(10)
        assert news is not None
        assert news.step.number == 0
        assert early.wait(0.01) is None
        state = nnx.split(model)[1]
        for k in range(5):
            session.update(state, loss=float(k))
        session.flush(30)
        news = early.wait(10)
        assert [n for n, _ in news.losses] == [1, 2, 3, 4, 5]
        assert news.step.number == 5
        assert news.controls is None
        late = session.listen().wait(10)
        assert [n for n, _ in late.losses] == [0, 1, 2, 3, 4, 5]
    assert early.wait(10).closed


def test_knobs():
    model = Comb(knob=True)
    with adac_jax.live(model, page=False) as session:
        (knob,) = session.form(0).knobs
        assert (knob.name, knob.default, knob.minimum, knob.maximum) == ("gain", 0.5, 0.0, 1.0)
        listener = session.listen()
        listener.wait(10)
        session.turn({"gain": 1.0})
        assert listener.wait(10).controls == {"gain": 1.0}
        assert session.controls == {"gain": 1.0}
        model_at = lambda x: jnp.asarray(model(x))  # noqa: E731
        with adac_jax.set_controls({"gain": 1.0}):
            expected = np.asarray(model_at(jnp.asarray(NOISE, jnp.float32)))
        long = np.concatenate([np.zeros((4000, 1)), NOISE])
        assert_like(session.render(long)[4000:], expected)
        with pytest.raises(adac_jax.AdacError, match="no control 'volume'"):
            session.turn({"volume": 1.0})
        with pytest.raises(adac_jax.AdacError, match="must lie in 0 to 1"):
            session.turn({"gain": 2.0})


def test_recording(tmp_path):
    model = Comb()
    path = tmp_path / "training.wav"
    state = nnx.split(model)[1]
    rng = np.random.default_rng(0)
    with adac_jax.live(model, page=False) as session:
        session.record(path, NOISE, seconds=0.05)
        for _ in range(4):
            state = moved(state, rng)
            session.update(state)
        session.flush(60)
        assert not path.exists()
    y, rate = soundfile.read(path, always_2d=True)
    assert rate == 48000
    assert y.shape == (4 * 2400, 1)
    assert np.all(np.isfinite(y))
    assert np.max(np.abs(y)) > 0.1
    with pytest.raises(adac_jax.AdacError, match="must be positive"):
        adac_jax.live(model, page=False).record(path, NOISE, seconds=0)
    with pytest.raises(adac_jax.AdacError, match="finite"):
        adac_jax.live(model, page=False).record(path, NOISE * np.nan)


def moment(number: int, size: int = 100) -> Moment:
    return Moment(number, 0, float(number), 0.0, np.zeros(size))


def test_history_is_bounded_and_even():
    history = History(most_bytes=800 * 64, most_losses=1000)
    for number in range(5000):
        history.add(moment(number))
        assert len(history.numbers) <= 65
    numbers = history.numbers
    assert numbers[0] == 0
    assert numbers[-1] == 4999
    assert np.unique(np.diff(numbers[:-1])).tolist() == [128]
    assert history.at(130).number == 128
    assert history.at(4999).number == 4999
    assert history.count == 5000
    losses = history.losses()
    assert len(losses) <= 1000
    assert losses[-1] == (4999, 4999.0)
    assert history.losses(4998) == [(4998, 4998.0), (4999, 4999.0)][-2:]
    assert history.losses(5000) == []


def test_history_keeps_losses_of_what_it_does_not_keep():
    history = History()
    history.add(moment(0))
    history.pass_over([(1, 0.5), (2, 0.25)])
    history.add(moment(3))
    assert history.numbers == [0, 3]
    assert [n for n, _ in history.losses()] == [0, 1, 2, 3]
    assert history.at(2).number == 0


def test_steps_and_forms_as_bytes():
    step = Step(2**40, 3, float("nan"), 1.5e9, np.array([0.1, -1e300, 5e-324]))
    back = Step.unpack(step.pack())
    assert back.values.tobytes() == step.values.tobytes()
    assert (back.number, back.form, back.time) == (step.number, step.form, step.time)
    assert np.isnan(back.loss)
    data = step.pack()
    for bad in (b"", data[:-1], data + b"\0", b"X" + data[1:], data[:4] + b"\2" + data[5:]):
        with pytest.raises(adac_jax.AdacError):
            Step.unpack(bad)
    with adac_jax.live(Comb(knob=True), page=False) as session:
        form = session.form(0)
    assert Form.from_json(form.to_json()) == form
    for bad in ("", "[]", "{}", form.to_json().replace('"number"', '"x"')):
        with pytest.raises(adac_jax.AdacError, match="no form"):
            Form.from_json(bad)


def test_what_is_refused():
    with pytest.raises(adac_jax.AdacError, match="history_megabytes"):
        adac_jax.live(Comb(), page=False, history_megabytes=0)
    with pytest.raises(adac_jax.AdacError, match="port"):
        adac_jax.live(Comb(), port=70000)
    with adac_jax.live(Comb(), page=False) as session:
        with pytest.raises(adac_jax.AdacError, match="no form 7"):
            session.form(7)
        with pytest.raises(adac_jax.AdacError, match="no step -1"):
            session.step(-1)
        with pytest.raises(adac_jax.AdacError, match=r"shape \(10, 0\)"):
            session.render(np.zeros((10, 0)))


@pytest.mark.slow
def test_a_room_of_sixteen_lines():
    """Through equalisers whose sections lie at 31 Hz, where single precision is hardest."""
    model = room()
    state = nnx.split(model)[1]
    rng = np.random.default_rng(1)
    with adac_jax.live(model, page=False) as session:
        for _ in range(5):
            state = moved(state, rng)
            session.update(state)
        session.flush(60)
        assert len(session._forms) == 1
        found = session.render(NOISE)
    assert_like(found, closed(nnx.merge(nnx.split(model)[0], state), NOISE))
