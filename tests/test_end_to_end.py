"""From a measured room to a plugin in a host: trained, heard on the way, exported, compared."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import soundfile
from browser import chromium
from flax import nnx
from plugin_fixtures import HOSTS, needs

import adac_jax
from adac_jax import losses, nn
from adac_jax.plugin import Plugins

STEPS, SECONDS = 50, 0.5


@pytest.mark.slow
def test_a_room_is_trained_heard_and_played_by_a_host(data_folder, tmp_path):
    needs("vst3")
    path = sorted((data_folder / "rir").glob("*.wav"))[0]
    x, rate = soundfile.read(path, always_2d=True)
    room = x[np.argmax(np.abs(x[:, 0])) :][: int(SECONDS * rate), 0]
    room = jnp.asarray(room / np.sqrt(np.sum(room**2)), jnp.float32)

    delays = nn.mutually_prime_delays(8, int(0.01 * rate), int(0.04 * rate))
    absorption = nn.OnePole.from_t60(1.0, 0.4, delays, sample_rate=float(rate))
    model = nn.FDN(delays, absorption=absorption, rngs=nnx.Rngs(0))
    model.sample_rate = float(rate)
    graph, state = nnx.split(model)
    impulse = jnp.zeros((len(room), 1)).at[0].set(1.0)
    optimiser = optax.adam(1e-2)
    moments = optimiser.init(state)

    def loss(state):
        response = nnx.merge(graph, state)(impulse)[:, 0]
        return losses.multi_resolution_stft(response[:, None], room[:, None])

    @jax.jit
    def step(state, moments):
        value, gradient = jax.value_and_grad(loss)(state)
        updates, moments = optimiser.update(gradient, moments)
        return optax.apply_updates(state, updates), moments, value

    first = float(loss(state))
    with adac_jax.live(model, name="room") as session:
        if shutil.which("chromium") and shutil.which("chromedriver"):
            with chromium(tmp_path / "profile") as browser:
                browser.get(session.url)
                state = trained(session, step, state, moments)
                shown = "return window.live ? live.player.shown.number : -1"
                end = time.monotonic() + 60
                while browser.execute_script(shown) != STEPS and time.monotonic() < end:
                    time.sleep(0.1)
                assert browser.execute_script(shown) == STEPS
        else:
            state = trained(session, step, state, moments)
        assert session.problem == ""
        assert session.steps[-1] == STEPS
        heard = session.render(np.asarray(impulse))
    assert float(loss(state)) < 0.9 * first

    nnx.update(model, state)
    plugins = Plugins(("vst3",), rates=(int(rate),), kind="reverb")
    exported = adac_jax.export(model, tmp_path / "out", name="room", plugin=plugins, seconds=0.5)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda v: jnp.asarray(np.asarray(v), jnp.float64), state)
        exact = np.asarray(nnx.merge(graph, wide)(jnp.asarray(impulse, jnp.float64)))
    peak = np.abs(exact).max()
    np.testing.assert_allclose(heard, exact, 0, 1e-6 * peak)  # -120 dB, in single precision

    np.save(tmp_path / "in.npy", np.asarray(impulse, np.float32))
    for host in ("dawdreamer", "pedalboard"):
        command = [
            sys.executable, HOSTS / "juce_host.py", host, exported.plugins.paths["vst3"],
            str(int(rate)), "64", tmp_path / "in.npy", tmp_path / "out.npy",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = np.load(tmp_path / "out.npy").reshape(len(exact), -1)
        np.testing.assert_allclose(found[:, :1], exact, 0, 1e-6 * peak)


def trained(session, step, state, moments):
    """Fifty steps, each of which is heard."""
    for _ in range(STEPS):
        state, moments, value = step(state, moments)
        session.update(state, loss=value)
    session.flush(30)
    return state
