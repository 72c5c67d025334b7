"""Each format, loaded by hosts that others wrote, and by small ones under a guard."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from plugin_fixtures import (
    HOSTS,
    KNOBS,
    LENGTH,
    PRESETS,
    RATES,
    TOLERANCE,
    binary,
    hosts,
    impulses,
    jit,
    noise,
    plugins,
    run_host,
    tool,
    with_bundles,
)  # fmt: skip
from plugin_model import LATENCY, twin_comb

from adac_jax.host import Library, path_of
from emitters import faust

__all__ = ["hosts", "plugins"]
BLOCKS = (1, 37, 64, 1000, 4096)
SCHEMAS = Path("/usr/lib/lv2")
TURNED = {"pre-gain": -9.5, "tone": 200.0, "mix": 0.25}


def juce(host: str, built, rate: int, blocks: str, x, folder, *knobs: str):
    """Audio for each size of blocks, and what the host was told."""
    if importlib.util.find_spec(host) is None:
        pytest.skip(f"the package {host} is not there")
    np.save(folder / "in.npy", x)
    command = [
        sys.executable, HOSTS / "juce_host.py", host, built.paths["vst3"], str(rate), blocks,
        folder / "in.npy", folder / "out.npy", *knobs,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "out.npy"), json.loads(done.stdout.splitlines()[-1])


def small(hosts, built, name: str, rate: int, x, *options: object, knobs=KNOBS):
    """The same through a small host."""
    extra = [w for k, v in knobs.items() for w in ("--set", f"{k}={v}")]
    if name != "lv2" and knobs is KNOBS:
        extra = []
    return run_host(hosts(name), binary(built, name), x, "--rate", rate, *extra, *options)


def check(y, wanted):
    np.testing.assert_allclose(y, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("rate", RATES)
def test_dawdreamer_renders_the_vst3(plugins, tmp_path, rate):
    x = impulses()
    found, about = juce("dawdreamer", plugins, rate, ",".join(map(str, BLOCKS)), x, tmp_path)
    assert about["latency"] == LATENCY
    for y in found:
        check(y, jit(x, rate))


@pytest.mark.parametrize("rate", RATES)
def test_pedalboard_renders_the_vst3(plugins, tmp_path, rate):
    x = impulses()
    blocks = ",".join(map(str, BLOCKS))
    found, about = juce("pedalboard", plugins, rate, blocks, x, tmp_path)
    assert about["latency"] == LATENCY
    for y in found:  # pedalboard makes up for the latency
        check(y[:-LATENCY], jit(x, rate)[LATENCY:])


def test_what_vst3_hosts_are_told(plugins, tmp_path):
    # A quarter, three quarters and a half of each knob's way, in the order of its curve.
    at = {"pre-gain": 0.25, "tone": 0.75, "mix": 0.5}
    x = noise()
    knobs = [f"{k}={v}" for k, v in at.items()]
    (y,), about = juce("pedalboard", plugins, 48000, "512", x, tmp_path, *knobs)
    assert about["name"] == "Twin Comb"
    assert about["maker"] == "Test & Co"
    assert about["category"] == "Fx|Delay|Stereo"
    assert about["version"] == "1.0.0"
    shown = {name: float(text[0]) for name, text in about["parameters"].items()}
    wanted = {"pre-gain": -16.5, "tone": 100 * 100**0.75, "mix": 0.5}
    for name, value in wanted.items():
        assert shown[name] == pytest.approx(value, rel=1e-6)
    assert [about["parameters"][k][1] for k in KNOBS] == ["dB", "Hz", None]
    # Positions of JUCE and of DPF are in single precision.
    np.testing.assert_allclose(y[:-LATENCY], jit(x, 48000, wanted)[LATENCY:], rtol=0, atol=1e-6)
    restored = {name: float(about["restored"][name]) for name in wanted}
    assert restored == pytest.approx({name: shown[name] for name in wanted}, rel=1e-6)


def test_vst3_presets_are_read_by_hosts(plugins):
    pedalboard = pytest.importorskip("pedalboard")
    script = (
        "import sys, json, pedalboard; p = pedalboard.load_plugin(sys.argv[1]);"
        "p.load_preset(sys.argv[2]);"
        "print(json.dumps({q.name: float(q.string_value) for q in p.parameters.values()}))"
    )
    folder = plugins.paths["vst3"].parent / "presets"
    assert pedalboard is not None
    for name, values in PRESETS.items():
        command = [
            sys.executable,
            "-c",
            script,
            plugins.paths["vst3"],
            folder / f"{name}.vstpreset",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        assert {k: found[k] for k in KNOBS} == pytest.approx(KNOBS | values)


@pytest.mark.parametrize("rate", RATES)
def test_lv2apply_renders_the_lv2(plugins, tmp_path, rate):
    x = impulses()
    soundfile.write(tmp_path / "in.wav", x, rate, subtype="FLOAT")
    command = [tool("lv2apply"), "-i", tmp_path / "in.wav", "-o", tmp_path / "out.wav"]
    uri = plugins.metadata.uri
    subprocess.run([*command, uri], env=with_bundles(plugins), check=True, capture_output=True)
    y, found = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert found == rate
    check(y, jit(x, rate)[: len(y)])


@pytest.mark.parametrize("block", BLOCKS)
def test_lv2file_renders_the_lv2_in_blocks(plugins, tmp_path, block):
    x = impulses(6000)
    soundfile.write(tmp_path / "in.wav", x, 48000, subtype="FLOAT")
    command = [tool("lv2file"), "-i", tmp_path / "in.wav", "-o", tmp_path / "out.wav"]
    options = ["-b", str(block), "-c", "1:in_1", "-c", "2:in_2", "-p", "mix:0.5"]
    command += [*options, "--ignore-clipping", plugins.metadata.uri]
    subprocess.run(command, env=with_bundles(plugins), check=True, capture_output=True)
    y, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    # LV2 knows of its knobs when it runs: they glide.
    wanted = jit(x, 48000, {"mix": 0.5}, settled=False)[: len(y)]
    check(y, wanted)


@pytest.mark.parametrize("name", PRESETS)
def test_lv2file_loads_presets(plugins, tmp_path, name):
    x = impulses(12000)
    soundfile.write(tmp_path / "in.wav", x, 48000, subtype="FLOAT")
    command = [tool("lv2file"), "-i", tmp_path / "in.wav", "-o", tmp_path / "out.wav", "-P", name]
    command += ["-c", "1:in_1", "-c", "2:in_2", "--ignore-clipping", plugins.metadata.uri]
    subprocess.run(command, env=with_bundles(plugins), check=True, capture_output=True)
    y, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    wanted = jit(x, 48000, PRESETS[name], settled=False)[: len(y)]
    check(y, wanted)


def test_lilv_knows_the_lv2(plugins):
    environment, uri = with_bundles(plugins), plugins.metadata.uri
    listed = subprocess.run([tool("lv2ls")], env=environment, capture_output=True, text=True)
    assert uri in listed.stdout.split()
    told = subprocess.run([tool("lv2info"), uri], env=environment, capture_output=True, text=True)
    for line in (
        r"Name:\s+Twin Comb", r"Class:\s+Delay Plugin", r"Author:\s+Test & Co",
        r"Has latency:\s+yes", r"Symbol:\s+pre_gain", r"Maximum:\s+10000\.0", r"logarithmic",
    ):  # fmt: skip
        assert re.search(line, told.stdout), (line, told.stdout)
    for name in PRESETS:
        assert name in told.stdout
    assert "Required Features" not in told.stdout
    assert not told.stderr


def test_the_lv2_passes_its_validator(plugins, tmp_path):
    sord = tool("sord_validate")
    schemas = [p for p in SCHEMAS.glob("*.lv2/*.ttl") if not p.parent.name.startswith("Zyn")]
    if not schemas:
        pytest.skip("LV2's schemas are not there: apt install lv2-dev")
    files = sorted(plugins.paths["lv2"].glob("*.ttl"))
    assert len(files) == 3
    done = subprocess.run([sord, *schemas, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Found 0 errors" in done.stdout + done.stderr
    described = files[-1].read_text()
    assert "lv2:index 2 ;" in described
    broken = tmp_path / "broken.ttl"
    broken.write_text(described.replace("lv2:index 2 ;", 'lv2:index "two" ;'))
    caught = subprocess.run([sord, *schemas, *files[:-1], broken], capture_output=True)
    assert caught.returncode != 0


@pytest.mark.parametrize("name", ["clap", "lv2", "vst3"])
@pytest.mark.parametrize("rate", RATES)
def test_small_hosts_render_in_any_blocks(hosts, plugins, name, rate):
    x = impulses(12000)
    wanted = jit(x, rate)
    for options in (
        ["--blocks", "1"], ["--blocks", "4096"], ["--blocks", "1,37,4096,2,999"],
        ["--blocks", "64", "--in-place"],
    ):  # fmt: skip
        y, said = small(hosts, plugins, name, rate, x, *options)
        check(y, wanted)
        assert f"latency {LATENCY}" in said
        if name != "lv2":
            tail = int(re.search(r"tail (\d+)", said)[1])  # type: ignore[index]
            assert tail == np.ceil(plugins.tail[rate] * rate)


@pytest.mark.parametrize("name", ["clap", "lv2", "vst3"])
def test_the_audio_thread_is_left_alone(hosts, plugins, name):
    """No allocation, no lock, no system call, while all knobs move and blocks change."""
    y, _ = small(
        hosts, plugins, name, 48000, noise(), "--blocks", "1,37,4096,2,64", "--turn", "--strict"
    )
    assert y.any()
    assert np.all(np.isfinite(y))


@pytest.mark.parametrize(("name", "late"), [("clap", 0), ("clap", 23), ("vst3", 0)])
def test_knobs_move_as_the_jits_do(hosts, plugins, name, late):
    """At each block all knobs go somewhere; CLAP also in the middle of one."""
    x, block = noise(4800), 64
    y, _ = small(
        hosts, plugins, name, 48000, x, "--blocks", block, "--turn", "--late", late, "--strict"
    )
    program, seed, parts = twin_comb(48000), 1, []
    with Library(faust.emit(program), precision="single") as library:
        paths = [path_of(library.parameters, knob) for knob in KNOBS]
        for start in range(0, len(x), block):
            parts.append(library.process(x[start : start + late]))
            for path, way in zip(
                paths, (lambda p: 30 * p - 24, lambda p: 100 ** (1 + p), float), strict=True
            ):
                seed = (seed * 1664525 + 1013904223) % 2**32
                library.set(path, way((seed >> 8) / 2**24))
            parts.append(library.process(x[start + late : start + block]))
    # Positions go through float32 twice, and the output has up to four of them as factors.
    np.testing.assert_allclose(y, np.concatenate(parts), rtol=0, atol=1e-6)


def test_the_guard_itself_works(hosts, plugins):
    """A host that is told to allocate in its audio thread is caught."""
    name = hosts("clap").parent / "caught"
    source = (
        f'#include "{HOSTS}/host.hpp"\n'
        "struct Greedy : Plugin {\n"
        "std::vector<std::string> knobs() const override { return {}; }\n"
        "void turn(size_t, double) override {}\n"
        "bool process(float **, float **out, uint32_t) override\n"
        "{ if (given == 1) free(malloc(9)); if (given == 2) getppid(); return true; }\n"
        "int given = 0; };\n"
        "int main(int n, char **w) { Options o = options(n, w); Greedy g;\n"
        "g.given = int(o.rate); return render(o, g); }\n"
    )
    (name.with_suffix(".cpp")).write_text("#include <algorithm>\n" + source)
    subprocess.run(["c++", "-std=c++17", "-rdynamic", "-o", name, f"{name}.cpp"], check=True)
    x = impulses(200).tobytes()
    results = [
        subprocess.run([name, "--rate", str(k), "--strict"], input=x, capture_output=True)
        for k in (0, 1, 2)
    ]
    if b"no strict mode" in results[0].stderr:
        pytest.skip("this kernel has no seccomp")
    assert [r.returncode for r in results] == [0, 9, -9]
    assert b"malloc in the audio thread" in results[1].stderr


def test_qtractor_loads_the_clap(plugins):
    """The only CLAP host in Debian; its scanner makes an instance and asks it for all there is."""
    scanner = next(Path("/usr/lib").glob("*/qtractor/qtractor_plugin_scan"), None)
    if scanner is None:
        pytest.skip("qtractor is not there: apt install qtractor")
    path = plugins.paths["clap"]
    done = subprocess.run(
        [scanner], input=f"CLAP:{path}\n", capture_output=True, text=True,
        env={"QT_QPA_PLATFORM": "offscreen"},
    )  # fmt: skip
    # Name, audio channels, MIDI ports, knobs.
    assert done.stdout.startswith("CLAP|Twin Comb|2:2|0:0|3:0|"), (done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["clap", "vst3"])
def test_knobs_that_are_set_before_it_starts_have_arrived(hosts, plugins, name):
    x = impulses()
    y, _ = small(hosts, plugins, name, 48000, x, knobs=TURNED)
    check(y, jit(x, 48000, TURNED))


@pytest.mark.parametrize("name", ["clap", "vst3"])
def test_state_comes_back(hosts, plugins, tmp_path, name):
    x = impulses(4000)
    state = tmp_path / "state"
    y, _ = small(hosts, plugins, name, 48000, x, "--save", state, knobs=TURNED)
    again, said = run_host(hosts(name), binary(plugins, name), x, "--load", state)
    np.testing.assert_array_equal(again, y)
    if name == "vst3":
        return
    found = {name: float(value) for name, value in re.findall(r"loaded (\S+) (\S+)", said)}
    assert found.pop("tone") == pytest.approx(np.log10(TURNED["tone"] / 100) / 2)
    assert found == {name: TURNED[name] for name in found}


@pytest.mark.parametrize("name", ["clap", "vst3"])
def test_state_comes_back_where_numbers_have_a_comma(hosts, plugins, tmp_path, monkeypatch, name):
    german = ["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"]
    if shutil.which("localedef") is None or subprocess.run(german, capture_output=True).returncode:
        pytest.skip("there is no such locale")
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    x = impulses(4000)
    y, said = small(hosts, plugins, name, 48000, x, "--save", tmp_path / "state", knobs=TURNED)
    if name == "vst3":  # its parameters are printed halfway, at 0.5 and -9
        assert "parameter mix 3 0 0,5 1 1" in said
    again, _ = run_host(hosts(name), binary(plugins, name), x, "--load", tmp_path / "state")
    np.testing.assert_array_equal(again, y)


@pytest.mark.parametrize("name", ["clap", "lv2"])
def test_a_rate_without_a_form_is_refused(hosts, plugins, name):
    command = [hosts(name), binary(plugins, name), "--rate", "32000"]
    done = subprocess.run(command, input="", capture_output=True, text=True)
    assert done.returncode == 1
    assert "Twin Comb does not run at 32000 Hz; it runs at 48000 44100 96000 Hz." in done.stderr


def test_a_vst3_at_a_rate_without_a_form_is_dry(hosts, plugins):
    x = noise(1000)
    y, said = small(hosts, plugins, "vst3", 32000, x, "--blocks", "64")
    np.testing.assert_array_equal(y, x)
    assert "does not run at 32000 Hz" in said
    assert "latency 0" in said


def test_identifiers_in_the_binaries(hosts, plugins):
    x = impulses(200)
    _, clap = small(hosts, plugins, "clap", 48000, x)
    _, lv2 = small(hosts, plugins, "lv2", 48000, x)
    _, vst3 = small(hosts, plugins, "vst3", 48000, x)
    about = plugins.metadata
    assert f"id {about.clap_id}\n" in clap
    assert f"uri {about.uri}\n" in lv2
    assert f"id {about.vst3_id}\n" in vst3
    for knob in about.parameters:
        assert f"parameter {knob.name} {knob.id} " in clap
    assert re.search(r"parameter tone \d+ 100 1000 10000 1000 Hz", vst3)


def test_length():
    assert max(BLOCKS) < LENGTH
