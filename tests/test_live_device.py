"""Sound from an audio device, with a stream that is none, and with PortAudio where it is there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from live_models import Comb, moved

import adac_jax
from adac_jax.errors import AdacError
from adac_jax.live import cli
from adac_jax.live.player import RAMP, Player

BLOCK = 256
NOISE = np.random.default_rng(2).uniform(-0.3, 0.3, (5000, 1))


class PortAudioError(Exception):
    """As the library calls it."""


class Stream:
    """A stream whose blocks the test asks for."""

    def __init__(self, **settings):
        if settings["device"] == "deaf":
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        self.settings, self.state = settings, "made"

    def start(self):
        self.state = "runs"

    def close(self):
        self.state = "closed"

    def blocks(self, count, underflow=False):
        status = types.SimpleNamespace(output_underflow=underflow)
        parts = []
        for _ in range(count):
            out = np.full((BLOCK, self.settings["channels"]), np.nan, np.float32)
            self.settings["callback"](out, BLOCK, None, status)
            parts.append(out)
        return np.concatenate(parts)


def query_devices(device, kind):
    assert kind == "output"
    if device == "none":
        raise ValueError("No output device matching 'none'")
    return {"max_output_channels": 1 if device == 7 else 8}


@pytest.fixture
def library(monkeypatch):
    fake = types.ModuleType("sounddevice")
    names = {"PortAudioError": PortAudioError, "OutputStream": Stream}
    for name, value in (names | {"query_devices": query_devices}).items():
        setattr(fake, name, value)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)


def told(device, step):
    """Waits until a step is on its way to the audio thread."""
    end = time.monotonic() + 30
    while device.step < step:
        assert time.monotonic() < end
        time.sleep(0.005)


def heard(player, frames, start=0):
    x = NOISE[(start + np.arange(frames)) % len(NOISE)]
    return np.concatenate([player.process(x[k : k + BLOCK]) for k in range(0, frames, BLOCK)])


def test_updates_are_heard_as_a_player_plays_them(library):
    model = Comb()
    with adac_jax.live(model, page=False) as session:
        device = session.play(NOISE)
        wanted = Player(session.form(0), session.step().values)
        first = device._stream.blocks(10)
        assert first.shape == (10 * BLOCK, 2)
        np.testing.assert_array_equal(first[:, 0], first[:, 1])
        np.testing.assert_array_equal(first[:, 0], heard(wanted, 10 * BLOCK)[:, 0])
        session.update(moved(nnx.split(model)[1], np.random.default_rng(0), 0.1))
        told(device, 1)
        y = device._stream.blocks(30)
        wanted.update(session.form(0), session.step(1).values)
        np.testing.assert_array_equal(y[:, 0], heard(wanted, 30 * BLOCK, 10 * BLOCK)[:, 0])
        assert 30 * BLOCK > 2 * RAMP * 48000
        settings = device._stream.settings
        assert (settings["samplerate"], settings["dtype"]) == (48000.0, "float32")
        assert device.problem == ""
        wanted.close()
    assert device._stream.state == "closed"
    with pytest.raises(AdacError, match="session is closed"):
        session.play(NOISE)


def test_new_forms_are_compiled_beside_the_audio_thread(library):
    with adac_jax.live(Comb(), page=False) as session:
        device = session.play(NOISE)
        device._stream.blocks(10)
        session.update(Comb((331, 421)))
        told(device, 1)
        form, _, voice = device._news[0]
        assert voice is not None
        assert form is voice.form is session.form(1)
        device._stream.blocks(400)  # 2 s: the old one has rung out
        alone = Player(form, session.step().values)
        np.testing.assert_allclose(
            device._stream.blocks(200)[-BLOCK:, 0],
            heard(alone, 610 * BLOCK)[-BLOCK:, 0],
            atol=1e-5,  # what the two began with has faded by 100 dB
        )
        alone.close()


def test_knobs_turn(library):
    with adac_jax.live(Comb(knob=True), page=False) as session:
        device = session.play(NOISE)
        device._stream.blocks(20)
        session.turn({"gain": 0.0})
        end = time.monotonic() + 30
        while not device._news:
            assert time.monotonic() < end
            time.sleep(0.005)
        device._stream.blocks(200)
        assert np.max(np.abs(device._stream.blocks(1))) == 0


def test_a_device_of_one_channel(library):
    with adac_jax.live(Comb(), page=False) as session:
        device = session.play(NOISE, 7)
        assert device._stream.blocks(1).shape == (BLOCK, 1)
        device.close()
        device.close()


def test_what_runs_away_begins_anew(library):
    model = Comb()
    with adac_jax.live(model, page=False) as session:
        device = session.play(NOISE)
        device._stream.blocks(20)
        model.gains[...] = jnp.array([3.0, 3.0])
        session.update(model)
        told(device, 1)
        y = device._stream.blocks(400)
        assert np.all(np.isfinite(y))
        assert np.max(np.abs(y)) < 16
        assert any(np.all(y[k : k + BLOCK] == 0) for k in range(0, len(y), BLOCK))


def test_blocks_that_come_too_late_are_counted(library):
    with adac_jax.live(Comb(), page=False) as session:
        device = session.play(NOISE)
        device._stream.blocks(3, underflow=True)
        device._player.close()
        assert np.all(device._stream.blocks(1) == 0)
        assert "closed" in device.problem
        assert device.underruns == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "at 48000 Hz: No output device matching 'none'. `python -m sounddevice` lists"),
        ("deaf", "at 48000 Hz: Invalid sample rate"),
    ],
)
def test_devices_that_are_none(library, name, words):
    with (
        adac_jax.live(Comb(), page=False) as session,
        pytest.raises(AdacError, match=words.replace(".", r"\.")),
    ):
        session.play(NOISE, name)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with (
        adac_jax.live(Comb(), page=False) as session,
        pytest.raises(AdacError, match=r"pip install 'adac_jax\[device\]'"),
    ):
        session.play(NOISE)


def test_the_command_line(library, monkeypatch, capsys):
    played = []
    monkeypatch.setattr(
        cli.Session,
        "play",
        lambda self, x, device: played.append((x, device)),
    )
    assert cli.main(["--seconds", "0", "--steps", "0", "--device", "3"]) == 0
    (x, device) = played[0]
    assert device == 3
    assert x.shape == (48000, 1)
    assert cli.main(["--seconds", "0", "--steps", "0", "--device", "default"]) == 0
    assert played[1][1] is None


NULL = """
pcm.!default { type null }
ctl.!default { type null }
pcm.quiet { type null }
"""
SCRIPT = """
import time, numpy as np, sounddevice
from live_models import Comb
import adac_jax
print([d["name"] for d in sounddevice.query_devices()])
with adac_jax.live(Comb(), page=False) as session:
    device = session.play(np.random.default_rng(0).uniform(-0.3, 0.3, (4800, 1)), "default")
    end = time.monotonic() + 20
    while device._at < 4800 and time.monotonic() < end:
        time.sleep(0.01)
    assert device._at >= 4800, device._at
    assert device.problem == "" and 0 < device.peak < 16, (device.problem, device.peak)
print("played")
"""


def test_portaudio_with_a_device_that_is_silent(tmp_path):
    """The library itself, with ALSA's null device."""
    found = subprocess.run([sys.executable, "-c", "import sounddevice"], capture_output=True)
    if found.returncode:
        pytest.skip("needs sounddevice and PortAudio")
    (tmp_path / "asound.conf").write_text(NULL)
    here = os.path.dirname(__file__)
    paths = os.pathsep.join([here, os.path.dirname(here), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ALSA_CONFIG_PATH": str(tmp_path / "asound.conf")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**environment, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "'default'" not in done.stdout:
        pytest.skip("PortAudio has no ALSA here")
    assert done.stdout.endswith("played\n"), done.stderr
