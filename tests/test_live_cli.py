"""The command line, the demonstration, and the code in docs/live.md."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from adac_jax.live.cli import main
from adac_jax.live.demo import Training, target

ROOT = Path(__file__).parents[1]


def test_a_model(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text("def half(x):\n    return x * 0.5\n")
    assert main(["models.py:half", "--inputs", "1", "--seconds", "0"]) == 0
    said = capsys.readouterr().out
    assert re.match(r"http://127\.0\.0\.1:\d+/[\w-]{32}/\n", said)


def test_what_is_wrong_is_said_in_a_sentence(capsys):
    assert main(["nothing.py:x", "--seconds", "0"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said
    assert main(["--port", "70000"]) == 2


def test_help_teaches(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for word in ("Examples", "Exit codes", "--weights", ":room", "--seconds"):
        assert word in said


def test_the_target_decays_like_a_hall():
    x = target(48000.0)
    np.testing.assert_allclose(np.sum(x**2, axis=0), 1)
    energy = np.sum(x.reshape(-1, 4800, 2) ** 2, axis=(1, 2))
    assert np.all(np.diff(energy) < 0)


@pytest.mark.slow
def test_the_demonstration_learns():
    training = Training(24000.0)
    before = [np.array(p) for p in jax.tree.leaves(nnx.split(training.model)[1])]
    losses = [float(loss) for loss in training.steps(60)]
    assert losses[-1] < losses[0] / 5
    # What is heard has the weights that were trained.
    after = jax.tree.leaves(nnx.split(training.model)[1])
    assert all(np.any(a != b) for a, b in zip(after, before, strict=True))


def test_the_code_in_the_page_about_it_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / "live.md").read_text()
    (part,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile(part, "live.md", "exec"), found)
    assert "http://127.0.0.1" in capsys.readouterr().out
    assert found["session"].newest == 30
    assert found["session"].problem == ""
