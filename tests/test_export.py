"""The command line: what it writes, what it plays, and that it refuses without leaving anything."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
import soxr
from flax import nnx
from scipy import signal

import adac_jax
import ir
from adac_jax import exporting, trial
from adac_jax.audio import fit_channels, open_source
from adac_jax.checkpoints import load_weights
from adac_jax.cli import main
from adac_jax.export import ComparisonError, export
from adac_jax.figure import energy_decay, reverberation_time
from adac_jax.host import Library
from adac_jax.listening import listen
from adac_jax.presets import T60_HIGH, T60_LOW, hall
from emitters import faust

MODELS = """
import jax.numpy as jnp
from flax import nnx
import adac_jax


class Comb(nnx.Module):
    inputs = 1

    def __init__(self, rngs=None, lines=2):
        self.gain = nnx.Param(jnp.linspace(0.3, 0.6, lines))
        self.mix = nnx.Param(jnp.full((lines, 2), 0.5))

    def __call__(self, x):
        def loop(u):
            return adac_jax.delay(u, (37, 41, 43, 47)[: u.shape[-1]]) * self.gain[...]

        return adac_jax.feedback(loop, x * jnp.ones(self.gain.shape, x.dtype)) @ self.mix[...]


class Room(nnx.Module):
    def __init__(self, size):
        self.size = size


def comb():
    return Comb()


def at(sample_rate=48000.0):
    model = Comb()
    model.sample_rate = sample_rate
    return model


def widen(x):
    return jnp.concatenate([x, adac_jax.delay(x, 5)], axis=1)


def add(x):
    return jnp.sum(x, axis=1, keepdims=True)


def spectrum(x):
    return jnp.fft.irfft(jnp.fft.rfft(x, axis=0), len(x), axis=0)


def instant(x):
    return adac_jax.feedback(lambda u: 0.5 * u, x)


def mistaken(x):
    return x @ jnp.ones((7, 2))


def broken():
    raise RuntimeError("no room today")


def number():
    return 7


seven = 7
instance = Comb()
"""
SHORT = ("--seconds", "0.1")


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A file of models, in a folder that is also the current one."""
    path = tmp_path / "models_of_user.py"
    path.write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    return path


def comb(lines: int = 2) -> nnx.Module:
    space: dict = {}
    exec(MODELS, space)
    return space["Comb"](lines=lines)


def failure(capsys, *arguments: object) -> str:
    """Runs a command that must fail, and returns its one message; nothing may be written."""
    before = sorted(Path.cwd().rglob("*"))
    assert main([*map(str, arguments), "--out", "made/deeper"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    message = said.err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    assert message.endswith((".", "?")) or ": " in message[7:]
    left = [p for p in Path.cwd().rglob("*") if "__pycache__" not in p.parts and p not in before]
    assert left == []
    return message


# -- What is written --------------------------------------------------------------------------


def test_export_of_a_file_writes_five_files_that_agree(models, capsys):
    assert main([f"{models}:Comb", "--out", "out", "--name", "comb", *SHORT]) == 0
    names = {p.name for p in Path("out").iterdir()}
    assert names == {"comb.dsp", "comb.ir.json", "comb.cert.json", "report.json", "report.png"}
    assert json.loads(Path("out/comb.cert.json").read_text())["verdict"] == "stable"
    program = ir.loads(Path("out/comb.ir.json").read_text())
    assert Path("out/comb.dsp").read_text() == faust.emit(program)
    report = json.loads(Path("out/report.json").read_text())
    assert report["passed"]
    assert report["timings"]["emit"] > 0
    assert Path("out/report.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "FAUST single" in said
    assert "out/comb.dsp" in said
    # And the IR, exported in turn, is the same program.
    assert main(["out/comb.ir.json", "--out", "again", *SHORT]) == 0
    assert Path("again/comb.dsp").read_text() == Path("out/comb.dsp").read_text()
    assert Path("again/comb.ir.json").read_text() == Path("out/comb.ir.json").read_text()


@pytest.mark.parametrize("what", ["comb", "instance", "Comb", "at"])
def test_module_attributes_of_each_kind(models, what):
    arguments = ["--sample-rate", "44100", "--precision", "double", "--name", "m"]
    assert main([f"models_of_user:{what}", "--out", "out", *arguments, *SHORT]) == 0
    assert ir.loads(Path("out/m.ir.json").read_text()).graph.sample_rate == 44100


def test_a_function_of_audio_needs_to_be_told_its_inputs(models, capsys):
    assert "inputs" in failure(capsys, f"{models}:widen")
    assert main([f"{models}:widen", "--inputs", "1", "--out", "out", *SHORT]) == 0
    assert Path("out/widen.dsp").exists()


def test_files_of_an_earlier_export_are_replaced_and_others_stay(models):
    out = Path("out")
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "report.json").write_text("old")
    assert main([f"{models}:comb", "--out", "out", *SHORT]) == 0
    assert (out / "mine.txt").read_text() == "mine"
    assert json.loads((out / "report.json").read_text())["passed"]
    assert not list(out.glob(".*"))


def test_hostile_names_stay_in_the_folder(models):
    builder = ir.Builder("../../../etc/é passwd\n")
    builder.add("input", index=0, shape=(1,), kind="real")
    Path("x.json").write_text(ir.dumps(ir.Program(builder.build([0]), {})))
    assert main(["x.json", "--out", "out", *SHORT]) == 0
    assert Path("out/etc_passwd.dsp").exists()


def test_weights_reach_the_faust(models):
    import orbax.checkpoint as ocp

    trained = comb()
    trained.gain[...] = jnp.array([0.125, 0.25])
    for saved, name in (
        (nnx.state(trained), "state"),
        (nnx.to_pure_dict(nnx.state(trained)), "pure"),
    ):
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(Path.cwd() / name, saved)
        fresh = comb()
        load_weights(fresh, name)
        np.testing.assert_array_equal(fresh.gain[...], trained.gain[...])
    assert main([f"{models}:comb", "--weights", "state", "--out", "out", *SHORT]) == 0
    text = Path("out/Comb.dsp").read_text()
    assert "0.125*" in text
    assert "0.25*" in text


def test_readme_code_runs(tmp_path, monkeypatch):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    parts = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    found = {"__name__": "readme"}
    for part in parts:
        exec(compile(part, "README.md", "exec"), found)
    assert list(tmp_path.rglob("*.dsp"))
    assert found["first"] > found["last"] > 0


def test_help_teaches(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for word in ("file.py:attribute", "--weights", "--listen", "Examples", "Exit codes"):
        assert word in said


def test_usage_errors_have_code_two(capsys):
    assert main(["--no-such-option"]) == 2
    assert main(["--precision", "half"]) == 2
    assert main(["--seconds", "-1"]) == 2


def test_the_real_command(models):
    run = [sys.executable, "-W", "error::RuntimeWarning", "-m", "adac_jax.export"]
    found = subprocess.run(
        [*run, "models_of_user:comb", "--out", "out", *SHORT], capture_output=True, text=True
    )
    assert (found.returncode, found.stderr.strip()) == (0, "")
    found = subprocess.run([*run, "nowhere:model"], capture_output=True, text=True)
    assert found.returncode == 1
    assert "nowhere" in found.stderr
    assert "Traceback" not in found.stderr


# -- What is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("models_of_user", "must be written as"),
        ("missing_package.models:x", "no module 'missing_package.models'"),
        ("models_of_user.inner:x", "no module 'models_of_user.inner'"),
        ("nowhere.py:x", "does not exist"),
        ("models_of_user:cobm", "did you mean 'comb'?"),
        ("models_of_user:seven", "is a int, not a model"),
        ("models_of_user:number", "is a int, not a model"),
        ("models_of_user:jnp", "is a module, not a model"),
        ("models_of_user:Room", "needs the arguments size"),
        ("models_of_user:broken", "no room today"),
        ("gone.json", "does not exist"),
    ],
)
def test_what_is_not_a_model(models, capsys, model, words):
    assert words in failure(capsys, model)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def f(:\n", "not valid Python at line 1"),
        ("import no_such_thing\n", "needs 'no_such_thing'"),
        ("x = 1 / 0\n", "ZeroDivisionError at"),
        ("raise SystemExit(3)\n", "SystemExit"),
    ],
)
def test_files_that_do_not_load(models, capsys, code, words):
    Path("bad.py").write_text(code)
    assert words in failure(capsys, "bad.py:f")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("spectrum", r"`fft` at .*models_of_user.py:\d+ .* refused"),
        ("instant", "no delay of at least one sample"),
        ("mistaken", r"The model, called on audio, raised \w+ at .*models_of_user.py:\d+"),
    ],
)
def test_models_that_cannot_be_traced(models, capsys, model, words):
    assert re.search(words, failure(capsys, f"{models}:{model}", "--inputs", 2))


def test_the_wrong_sample_rate(models, capsys):
    builder = ir.Builder("x", 44100.0)
    builder.add("input", index=0, shape=(1,), kind="real")
    Path("x.json").write_text(ir.dumps(ir.Program(builder.build([0]), {})))
    assert "made for 44100 Hz" in failure(capsys, "x.json", "--sample-rate", 48000)
    Path("fixed.py").write_text(MODELS + "\nfixed = at()\n")
    assert "made for 48000 Hz" in failure(capsys, "fixed.py:fixed", "--sample-rate", 44100)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[1, 2]", "must be an object"),
        ('{"format": "adac_jax.ir", "version": 99}', "version 99 is not supported"),
        ("[" * 100_000, "nested too deeply"),
        ("\xff", "cannot be read"),
    ],
)
def test_invalid_ir(models, capsys, text, words):
    Path("x.json").write_bytes(text.encode("latin-1"))
    assert words in failure(capsys, "x.json")


def _program(*nodes: tuple, sizes: dict[str, np.ndarray] | None = None) -> str:
    builder = ir.Builder("big")
    k = builder.add("input", index=0, shape=(1,), kind="real")
    for op, attributes in nodes:
        k = builder.add(op, k, **attributes)
    return ir.dumps(ir.Program(builder.build([k]), sizes or {}))


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("broadcast", {"shape": (2**22, 1), "axes": (1,)})], "numbers a sample; the bound"),
        ([("delay", {"samples": (2**26,)})] * 3, "samples in its delays; the bound"),
    ],
)
def test_ir_too_large_to_be_tried(models, capsys, nodes, words):
    Path("x.json").write_text(_program(*nodes))
    assert words in failure(capsys, "x.json")


def test_ir_is_compiled_in_a_child_first(models, capsys, monkeypatch):
    Path("x.json").write_text(_program(("sin", {})))
    tried = []
    monkeypatch.setattr(exporting, "try_compile", lambda *a: tried.append(a))
    assert main(["x.json", "--out", "out", *SHORT]) == 0
    assert len(tried) == 1
    assert main([f"{models}:comb", "--out", "out", *SHORT]) == 0
    assert len(tried) == 1


def test_the_child_tells_crash_hang_and_refusal_apart():
    trial.try_compile("process = _;", 48000)
    with pytest.raises(adac_jax.AdacError, match=r"did not finish .* within 0\.05 s"):
        trial.try_compile("process = _;", 48000, limit_seconds=0.05)
    with pytest.raises(adac_jax.AdacError, match="does not compile"):
        trial.try_compile("process = nonsense;", 48000)


@pytest.mark.slow
def test_the_child_survives_for_the_parent_when_libfaust_does_not():
    stages = " : ".join(["sin"] * 20_000)
    with pytest.raises(adac_jax.AdacError, match=r"crashed|does not compile|did not finish"):
        trial.try_compile(f"process = _ : {stages};", 48000)


def test_weights_that_do_not_fit(models, capsys):
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path.cwd() / "four", nnx.state(comb(4)))
        checkpointer.save(Path.cwd() / "other", {"gain": jnp.zeros(2)})
        checkpointer.save(
            Path.cwd() / "nan", {"gain": jnp.full(2, jnp.nan), "mix": jnp.zeros((2, 2))}
        )
    Path("empty").mkdir()
    for weights, words in (
        ("four", "'gain' has the shape (4,) there and (2,) in the model"),
        ("other", "'mix': the checkpoint lacks it"),
        ("nan", "not finite in 'gain'"),
        ("empty", "not an orbax checkpoint"),
        ("nowhere", "must be a folder"),
    ):
        assert words in failure(capsys, f"{models}:comb", "--weights", weights)
    assert "not into a function" in failure(
        capsys, f"{models}:widen", "--inputs", 1, "--weights", "four"
    )


@pytest.mark.parametrize("name", ["", "a/b", "../x", "-x", "x" * 101, "é"])
def test_names_that_are_no_file_names(models, capsys, name):
    assert "`name`" in failure(capsys, f"{models}:comb", f"--name={name}")


def test_folders_that_cannot_be_written(models, capsys):
    Path("file").write_text("")
    for out, words in (("file", "is a file"), ("file/x", "cannot be written")):
        assert main([f"{models}:comb", "--out", out, *SHORT]) == 1
        assert words in capsys.readouterr().err
    Path("out/Comb.dsp").mkdir(parents=True)
    assert main([f"{models}:comb", "--out", "out", *SHORT]) == 1
    assert "is a folder" in capsys.readouterr().err
    assert [p.name for p in Path("out").iterdir()] == ["Comb.dsp"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(models, capsys):
    Path("locked").mkdir(mode=0o500)
    assert main([f"{models}:comb", "--out", "locked/x", *SHORT]) == 1
    assert "Permission denied" in capsys.readouterr().err


@pytest.fixture
def wrong_faust(monkeypatch):
    """FAUST that is a little off: by 1e-5, that is -100 dB."""
    right = faust.emit
    process = re.compile(r"^process = (.*);$", re.MULTILINE)

    def emit(program):
        return process.sub(r"process = (\1) : par(i, 2, *(1.00001));", right(program))

    monkeypatch.setattr(exporting.faust, "emit", emit)


def test_a_failed_comparison_writes_nothing(models, capsys, wrong_faust):
    message = failure(capsys, f"{models}:comb", *SHORT)
    assert re.search(r"FAUST \w+ differs from JAX float64 by -(99\.9|100\.0) dB re peak", message)


def test_a_failed_comparison_keeps_the_report_only(models, capsys, wrong_faust):
    assert main([f"{models}:comb", "--out", "out", "--keep-failed", *SHORT]) == 1
    assert {p.name for p in Path("out").iterdir()} == {"report.json", "report.png"}
    assert not json.loads(Path("out/report.json").read_text())["passed"]
    with pytest.raises(ComparisonError) as caught:
        export(comb(), "out2", seconds=0.1)
    assert not caught.value.report.passed


def test_double_precision_asks_less_of_single(models, monkeypatch):
    both = exporting.verify_program

    def only_single_is_off(program, traced, **rest):
        report = both(program, traced, **rest)
        worse = tuple(
            exporting.dataclasses.replace(c, error=1.0) if c.reading == "FAUST single" else c
            for c in report.checks
        )
        return exporting.dataclasses.replace(report, checks=worse)

    monkeypatch.setattr(exporting, "verify_program", only_single_is_off)
    with pytest.raises(ComparisonError, match="FAUST single"):
        export(comb(), "out", seconds=0.1)
    assert export(comb(), "out", seconds=0.1, precision="double").report.passed


# -- What is played ---------------------------------------------------------------------------


def sound(path: Path | str, channels: int, rate: int, seconds: float = 1.0, **how) -> np.ndarray:
    x = 0.5 * np.random.default_rng(1).uniform(-1, 1, (round(seconds * rate), channels))
    x = x.astype(np.float32)
    soundfile.write(path, x, rate, **{"subtype": "FLOAT", **how})
    return x.astype(np.float64)


def test_listening_is_what_the_model_does_to_the_file(models, capsys):
    x = sound("dry.wav", 1, 48000)
    assert main([f"{models}:comb", "--out", "out", "--listen", "dry.wav", *SHORT]) == 0
    y, rate = soundfile.read("out/dry.wet.wav", dtype="float32", always_2d=True)
    assert rate == 48000
    with Library(Path("out/Comb.dsp").read_text(), precision="single") as library:
        whole = library.render(np.vstack([x, np.zeros((len(y) - len(x), 1))]))
    np.testing.assert_array_equal(y, whole)  # blocks change nothing, to the bit
    assert len(y) > len(x)
    assert np.max(np.abs(y[-4000:])) < 1e-3 * np.max(np.abs(y))
    assert "peak" in capsys.readouterr().out


def test_another_rate_is_resampled_and_the_stream_is_the_whole(tmp_path):
    x = sound(tmp_path / "x.flac", 2, 44100, subtype="PCM_24", format="FLAC")
    source = open_source(tmp_path / "x.flac")
    y = np.concatenate(list(source.blocks(48000)))
    assert abs(len(y) - 48000) <= 1
    expected = soxr.resample(x, 44100, 48000, quality="VHQ")
    n = min(len(y), len(expected))
    # PCM_24 rounds to 2^-24 and VHQ keeps more than 20 bits: 1e-6 is both.
    np.testing.assert_allclose(y[:n], expected[:n], rtol=0, atol=1e-6)


def test_channels_fit_or_are_refused():
    x = np.arange(6.0).reshape(3, 2)
    assert fit_channels(x, 2) is x
    np.testing.assert_array_equal(fit_channels(x, 1), [[0.5], [2.5], [4.5]])
    np.testing.assert_array_equal(fit_channels(x[:, :1], 3), x[:, :1].repeat(3, 1))
    with pytest.raises(adac_jax.AdacError, match="2 channels and the model 3 inputs"):
        fit_channels(x, 3)


def test_a_tail_that_does_not_end_is_cut_and_said(tmp_path):
    sound(tmp_path / "x.wav", 1, 48000, seconds=0.1)
    text = "process = + ~ *(0.99999);"
    found = listen(text, tmp_path / "x.wav", tmp_path / "y.wav", tail_seconds=0.5)
    assert not found.decayed
    assert found.tail == pytest.approx(0.5)
    assert "cut off" in found.notes[-1]


def test_what_would_clip_is_said(tmp_path):
    sound(tmp_path / "x.wav", 1, 48000, seconds=0.1)
    found = listen("process = *(4);", tmp_path / "x.wav", tmp_path / "y.wav")
    assert 6 < 20 * np.log10(found.peak) <= 6.03
    assert "above full scale" in found.notes[0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: p.write_bytes(b"RIFF, or not"), "cannot be read"),
        (lambda p: soundfile.write(p, np.zeros((0, 1)), 48000), "has no samples"),
        (lambda p: sound(p, 3, 48000), "3 channels and the model 2 inputs"),
        (
            lambda p: soundfile.write(
                p, np.array([[0.0, 0.0], [0.0, np.nan]]), 48000, subtype="FLOAT"
            ),
            "holds nan at sample 1, channel 2",
        ),
    ],
)
def test_sounds_that_cannot_be_played(models, capsys, make, words):
    make(Path("x.wav"))
    arguments = (f"{models}:add", "--inputs", 2, "--listen", "x.wav", *SHORT)
    assert words in failure(capsys, *arguments)


def test_a_model_that_grows_without_bound_is_said(tmp_path):
    sound(tmp_path / "x.wav", 1, 48000)
    with pytest.raises(adac_jax.AdacError, match=r"not finite after 0\.\d\d s .* unstable"):
        listen("process = + ~ *(1.01);", tmp_path / "x.wav", tmp_path / "y.wav")


# -- The built-in reverb ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def hall_response() -> np.ndarray:
    x = np.zeros((4 * 48000, 2))
    x[0, 0] = 1
    with Library(faust.emit(exporting.traced_at(hall())[1]), precision="double") as library:
        return library.render(x)


@pytest.mark.parametrize("octave", [250, 500, 1000, 2000, 4000, 8000])
def test_the_hall_decays_as_designed(hall_response, octave):
    delays = np.array(hall().delays.samples)
    low, high = (10 ** (-3 * delays / (48000 * t)) for t in (T60_LOW, T60_HIGH))
    pole = (low - high) / (low + high)
    edges = octave * 2 ** np.linspace(-0.5, 0.5, 9)
    z = np.exp(-2j * np.pi * edges / 48000)
    gain = np.abs(low * (1 - pole) / (1 - pole * z[:, None]))
    designed = -60 * np.sum(delays) / 48000 / np.sum(20 * np.log10(gain), axis=1)
    band = signal.butter(4, [edges[0], edges[-1]], "band", fs=48000, output="sos")
    for k in range(2):
        found = reverberation_time(energy_decay(signal.sosfilt(band, hall_response[:, k])), 48000)
        # Between the decays at the band's edges, and 5 %, which is just audible (ISO 3382-1).
        assert 0.95 * designed.min() <= found <= 1.05 * designed.max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["drums", "synth_dry", "Kleiderschrank_Taylor_DI"])
def test_the_hall_on_recordings(data_folder, tmp_path, name):
    source = faust.emit(exporting.traced_at(hall())[1])
    found = listen(source, data_folder / "dry" / f"{name}.wav", tmp_path / "y.wav", memory=4000)
    assert found.peak < 1
    assert found.offset < 1e-4  # -80 dB
    assert found.decayed
    assert 0.5 < found.tail < 3
    assert found.notes == ()


def test_the_module_is_called_like_the_function(tmp_path):
    """`import adac_jax.export` puts the module where the function was."""
    importlib.import_module("adac_jax.export")
    importlib.import_module("adac_jax.fit")
    with pytest.raises(adac_jax.AdacError, match="seconds"):
        adac_jax.export(lambda x: x, tmp_path, inputs=1, seconds=-1)
    with pytest.raises(adac_jax.AdacError, match="does not exist"):
        adac_jax.fit(tmp_path / "no.wav", tmp_path)
