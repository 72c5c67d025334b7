"""The live plugin in hosts: each format, under the guard, while a training goes on."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from flax import nnx
from live_models import Comb, moved
from live_plugin import FOLLOWS, KEEPS, Live, begun, closed, session, stereo
from live_sound import RATE as HERTZ
from live_sound import above, sine
from plugin_fixtures import hosts, run_host, tool

from adac_jax.errors import AdacError
from adac_jax.live.installing import install
from adac_jax.plugin import find_tools
from emitters.plugin.live_plugin import live_metadata

__all__ = ["hosts"]
FORMATS = ("clap", "lv2", "vst3")
SCHEMAS = Path("/usr/lib/lv2")


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    try:
        find_tools(("c", *FORMATS))
    except AdacError as error:
        pytest.skip(str(error))
    return install(tmp_path_factory.mktemp("live formats"), ("c", *FORMATS))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ADAC_JAX_LIVE", str(tmp_path / "live"))
    return tmp_path / "live"


def binary(built, name: str) -> Path:
    path = built[name]
    if name == "lv2":
        return path / f"{path.stem}.so"
    return next(path.rglob("*.so")) if name == "vst3" else path


def knobs(name: str) -> list[str]:
    """LV2's ports have to be connected: all in the middle."""
    if name != "lv2":
        return []
    return [word for k in range(1, 17) for word in ("--set", f"knob {k}=0.5")]


@pytest.mark.parametrize("name", FORMATS)
def test_it_renders_the_model(hosts, built, name):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 12000)
    with session(Comb()) as training:
        wanted = closed(training, noise)
        for blocks in ("1,37,4096,2", "64"):
            options = ["--blocks", blocks, "--in-place", *knobs(name)]
            y, _ = run_host(hosts(name), binary(built, name), stereo(noise), *options)
            np.testing.assert_allclose(y[:, :1], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_the_audio_thread_is_left_alone(hosts, built, name):
    """No allocation, no lock, no system call, while numbers and forms change."""
    models = [Comb(knob=True), Comb((331, 421), knob=True)]
    states = [nnx.split(model) for model in models]
    ends = threading.Event()
    x = stereo(sine(1.7))
    training, feed = begun(models[0])
    with training:
        training.update(models[1])
        assert training.flush(30)
        assert feed.flush(60)
        training.update(models[0])

        def train():
            rng, k = np.random.default_rng(1), 0
            while not ends.is_set():
                graph, state = states[k // 15 % 2]
                training.update(nnx.merge(graph, moved(state, rng)))
                k += 1
                time.sleep(0.02)

        thread = threading.Thread(target=train)
        thread.start()
        try:
            options = ["--blocks", "64,37,256", "--strict", "--pace", *knobs(name)]
            y, _ = run_host(hosts(name), binary(built, name), x, *options)
            turned, _ = run_host(hosts(name), binary(built, name), x, *options, "--turn")
        finally:
            ends.set()
            thread.join()
    assert np.all(np.isfinite(turned))
    assert np.max(np.abs(y - x)) > 0.01
    assert above(y, first=HERTZ) < -115


@pytest.mark.parametrize("name", ["clap", "lv2"])
def test_the_session_keeps_the_last_model(hosts, built, tmp_path, name):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 12000)
    state = tmp_path / "state"
    with session(Comb()) as training:
        with Live(built["c"]) as core:
            state.write_bytes(core.save())
        if name == "lv2":  # by its own
            run_host(hosts(name), binary(built, name), stereo(noise), "--save", state, *knobs(name))
        wanted = closed(training, noise)
    options = ["--load", state, *knobs(name)]
    y, said = run_host(hosts(name), binary(built, name), stereo(noise), *options)
    np.testing.assert_allclose(y[:, :1], wanted, rtol=0, atol=1e-6)
    shutil.rmtree(tmp_path / "live" / "forms")
    y, said = run_host(hosts(name), binary(built, name), stereo(noise), *options)
    np.testing.assert_array_equal(y, stereo(noise))
    assert "the model's form is not on this machine: dry" in said


SCRIPT = """
import sys, numpy as np, pedalboard
plugin = pedalboard.load_plugin(sys.argv[1])
x = np.load(sys.argv[2]).T
if sys.argv[4] == "load":
    plugin.raw_state = open(sys.argv[3], "rb").read()
y = plugin(x, 48000, buffer_size=512)
if sys.argv[4] == "save":
    open(sys.argv[3], "wb").write(plugin.raw_state)
np.save(sys.argv[2], y.T)
"""


def test_pedalboard_keeps_the_last_model(built, tmp_path):
    if importlib.util.find_spec("pedalboard") is None:
        pytest.skip("the package pedalboard is not there")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 12000)

    def render(what: str):
        np.save(tmp_path / "x.npy", stereo(noise))
        command = [
            sys.executable, "-c", SCRIPT, built["vst3"], tmp_path / "x.npy", tmp_path / "s", what,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return np.load(tmp_path / "x.npy")

    with session(Comb()) as training:
        wanted = closed(training, noise)
        y = render("save")
        np.testing.assert_allclose(y[:, :1], wanted, rtol=0, atol=1e-6)
    y = render("load")
    np.testing.assert_allclose(y[:, :1], wanted, rtol=0, atol=1e-6)


def test_lv2apply_renders_the_model(built, tmp_path):
    x = sine(0.5)
    soundfile.write(tmp_path / "in.wav", stereo(x), HERTZ, subtype="FLOAT")
    command = [tool("lv2apply"), "-i", tmp_path / "in.wav", "-o", tmp_path / "out.wav"]
    with session(Comb()) as training, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LV2_PATH", f"{built['lv2'].parent}:/usr/lib/lv2")
        subprocess.run([*command, live_metadata().uri], check=True, capture_output=True)
        wanted = closed(training, x)
    y, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    np.testing.assert_allclose(y[:, :1], wanted[: len(y)], rtol=0, atol=1e-6)


def test_the_lv2_passes_its_validator(built):
    schemas = [p for p in SCHEMAS.glob("*.lv2/*.ttl") if not p.parent.name.startswith("Zyn")]
    if not schemas:
        pytest.skip("LV2's schemas are not there: apt install lv2-dev")
    files = sorted(built["lv2"].glob("*.ttl"))
    done = subprocess.run([tool("sord_validate"), *schemas, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search("Found 0 errors", done.stdout + done.stderr)


def test_its_own_thread_follows(built, monkeypatch):
    monkeypatch.delenv("ADAC_JAX_LIVE_STILL", raising=False)

    def until(core, status):
        end = time.monotonic() + 30
        while core.status != status and time.monotonic() < end:
            time.sleep(0.01)
        assert core.status == status

    model = Comb()
    with Live(built["c"]) as core:
        with session(model) as training:
            until(core, FOLLOWS)
            model.gains[...] = jax.numpy.array([0.3, 0.2])
            before = core.save()
            training.update(model)
            assert training.flush(30)
            end = time.monotonic() + 30
            while core.save() == before and time.monotonic() < end:
                time.sleep(0.01)
            assert core.save() != before
        until(core, KEEPS)
