"""`adac_jax.fixed_point` and its command line."""

from __future__ import annotations

import json

import adac_jax
from adac_jax.quantising_cli import main


def delayed(x):
    return 0.7131 * adac_jax.delay(x, 3)


MODEL = """
def gain(x):
    return 0.7131 * x
gain.inputs = 1

def square(x):
    return x * x
square.inputs = 1
"""


def test_the_function():
    found = adac_jax.fixed_point(delayed, 16, inputs=1, seconds=0.1, name="delayed")
    assert found.name == "delayed"
    assert found.predicted_db is not None
    assert abs(found.predicted_db[0] - found.measured_db[0]) < 0.5  # 2,400 independent values
    assert adac_jax.FixedPoint is type(found)


def test_the_command(tmp_path, capsys):
    """Two word lengths: two rows and two files."""
    (tmp_path / "models.py").write_text(MODEL)
    options = ["--bits", "12", "--bits", "20", "--seconds", "0.05", "--out", str(tmp_path / "out")]
    assert main([f"{tmp_path}/models.py:gain", *options]) == 0
    shown = capsys.readouterr().out
    assert "12 / 12" in shown
    assert "20 / 20" in shown
    records = [json.loads((tmp_path / "out" / f"gain.fixed{n}.json").read_text()) for n in (12, 20)]
    assert [r["bits"] for r in records] == [12, 20]
    assert records[0]["overflows"] == 0


def test_what_is_not_linear(tmp_path, capsys):
    (tmp_path / "models.py").write_text(MODEL)
    assert main([f"{tmp_path}/models.py:square", "--seconds", "0.05"]) == 0
    assert "not linear" in capsys.readouterr().out


def test_errors(tmp_path, capsys):
    (tmp_path / "models.py").write_text(MODEL)
    assert main([f"{tmp_path}/models.py:gain", "--bits", "99"]) == 1
    assert "`bits` (=99) must be 4 to 40" in capsys.readouterr().err
