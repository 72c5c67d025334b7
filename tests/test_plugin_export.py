"""From a Flax module to plugins by the command line, and by CMake from what the command ships."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import plugin_model
import pytest
import soundfile
from plugin_fixtures import TOLERANCE, impulses, jit, needs, tool
from plugin_model import LATENCY

import adac_jax
from adac_jax.cli import main
from adac_jax.host import Library
from adac_jax.plugin.checking import loaded
from adac_jax.verification import traced_at
from emitters import faust

MODEL = """
import numpy as np
from flax import nnx
from adac_jax import nn

def room(sample_rate=None):
    m = nn.mutually_prime_delays(4, 1009, 2003)
    model = nn.FDN(m, outputs=2, rngs=nnx.Rngs(3),
                   absorption=nn.OnePole.from_t60(0.4, 0.2, m, sample_rate=48000.0))
    model.sample_rate = 48000.0
    return model

plain = room()
"""


@pytest.mark.slow
def test_a_module_becomes_plugins_at_two_rates(tmp_path, capsys):
    needs("c,lv2")
    file = tmp_path / "rooms.py"
    file.write_text(MODEL)
    out = tmp_path / "out"
    arguments = [
        f"{file}:plain", "--name", "room", "--seconds", "0.2", "--out", str(out),
        "--plugin", "c,lv2", "--plugin-rates", "48000,44100", "--maker", "Test", "--kind", "reverb",
        "--title", "Small Room",
    ]  # fmt: skip
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "urn:adac-jax:test:small-room, 0 knobs, 44.1, 48 kHz, tail " in said
    assert not list(tmp_path.glob(".adac_jax-*"))
    about = json.loads((out / "plugin" / "plugin.json").read_text())
    assert [form["rate"] for form in about["rates"]] == [48000, 44100]
    assert max(form["difference"] for form in about["rates"]) < TOLERANCE
    namespace: dict = {}
    exec(MODEL, namespace)
    x = np.zeros((24000, 1), np.float32)
    x[0] = 1.0
    for rate in (48000, 44100):
        model = adac_jax.at_rate(namespace["plain"], rate)
        _, program = traced_at(model)
        with Library(faust.emit(program), precision="single", sample_rate=rate) as library:
            wanted = library.render(x)
        with loaded(out / "plugin" / "c" / "libsmall_room.so", "small_room") as core:
            assert core.init(rate) == 0
            np.testing.assert_allclose(core.process(x), wanted, rtol=0, atol=TOLERANCE)
        soundfile.write(tmp_path / "in.wav", x, rate, subtype="FLOAT")
        command = [tool("lv2apply"), "-i", tmp_path / "in.wav", "-o", tmp_path / "out.wav"]
        environment = {"LV2_PATH": f"{out / 'plugin' / 'lv2'}:/usr/lib/lv2"}
        command.append(about["identifiers"]["lv2"])
        subprocess.run(command, check=True, env=environment, capture_output=True)
        y, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
        np.testing.assert_allclose(y, wanted[: len(y)], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_a_module_with_knobs_becomes_a_plugin_in_double_precision(tmp_path):
    needs("c")

    def shelf(x):
        low = adac_jax.control("low", 0.25, 0.0, 1.0)
        return adac_jax.feedback(lambda u: 0.5 * low * adac_jax.delay(u, 100), x) + jnp.tanh(x)

    said: list[str] = []
    result = adac_jax.export(
        shelf, tmp_path, inputs=1, seconds=0.1, plugin="c", precision="double", warn=said.append
    )
    assert result.plugins is not None
    assert result.plugins.rates == (48000,)
    assert said == [line for line in said if line.startswith("The plugin runs at 48000 Hz only.")]
    x = np.random.default_rng(0).uniform(-1, 1, (4000, 1))
    y = np.asarray(shelf(jnp.asarray(x)))
    with loaded(tmp_path / "plugin" / "c" / "libshelf.so", "shelf") as core:
        core.init(48000)
        # In and out are single precision, JAX here too: a few roundings of numbers up to 2.
        np.testing.assert_allclose(core.process(x), y, rtol=0, atol=8 * 2.0**-24)


@pytest.mark.slow
def test_cmake_builds_the_same(tmp_path):
    settings = needs("c")
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not there")
    built, _ = plugin_model.built(tmp_path / "plugin", settings)
    source, work = tmp_path / "plugin" / "source", tmp_path / "build"
    for command in (["-S", source, "-B", work], ["--build", work]):
        done = subprocess.run(["cmake", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    plugins = work / "plugins"
    with loaded(plugins / "libtwin_comb.so", built.metadata.prefix) as core:
        assert core.init(48000) == 0
        assert core.call("latency", core.handle) == LATENCY
        x = impulses(8000)
        np.testing.assert_allclose(core.process(x), jit(x, 48000), rtol=0, atol=TOLERANCE)
    if Path("/usr/include/lv2").is_dir():
        assert "twin_comb.so" in (plugins / "twin_comb.lv2" / "manifest.ttl").read_text()
    if Path("/usr/share/dpf/distrho").is_dir():
        assert (plugins / "twin_comb.clap").is_file()
        assert list((plugins / "twin_comb.vst3").glob("Contents/*-linux/twin_comb.so"))
