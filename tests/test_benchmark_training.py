"""The benchmark of training runs, in small, and both sides train the same network."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = ["--length", "2400", "--delays", "30", "60", "--rounds", "2", "--seconds", "0.01"]
FLAMO = os.environ.get("ADAC_JAX_FLAMO", sys.executable)
"""An interpreter that has FLAMO."""
SAME = 1e-4
"""Relative difference of losses that are the same.

Each is a mean over bins of (|H| - 1)², in single precision, u = 2^-24. Along a path of k rounds H
rounds some 10 times a round, and phases by up to u π m, m ≤ 60 samples, that is 200 u; with an
equaliser, coefficients near |z| = 1 add what the bins at their centre amplify, some 100 u. The
response has decayed by 60 dB after 1,200 samples, 40 rounds: 40 · 300 u = 7e-4 at worst, of which
random signs leave the square root of 40, 1e-4.
"""


@pytest.fixture
def benchmark(monkeypatch):
    """The script, and what it is made of, by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture(scope="module")
def flamo():
    command = [FLAMO, "-c", "import flamo"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"{FLAMO} has no flamo")
    return ["--peer", "flamo", "--python", FLAMO]


def cases(benchmark, *what, filters="gains", side="adac_jax"):
    Case = benchmark("peers.case").Case
    return [Case(side, name, filters, 2400, (31, 59)) for name in what]


def measure(benchmark, cases):
    asking = benchmark("peers.asking")
    setting = asking.Setting({"adac_jax": sys.executable, "flamo": FLAMO}, True, 2, 0.01)
    return asking.measure(cases, setting)


def report_of(benchmark, tmp_path, *options):
    benchmark("training").main([*SMALL, *options, "--out", str(tmp_path / "new")])
    assert (tmp_path / "new" / "training.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((tmp_path / "new" / "training.json").read_text("utf-8"))


def test_one_side_alone(benchmark, tmp_path, capsys):
    options = ["--lines", "2", "--filters", "gains", "--parts", "step", "--peer", "none"]
    report = report_of(benchmark, tmp_path, *options)
    (row,) = report["rows"]
    assert (row["side"], row["what"], row["lines"], row["length"]) == ("adac_jax", "step", 2, 2400)
    assert len(row["seconds"]) >= 2
    assert 0 < row["minimum"] <= row["median"] < row["first"]
    assert row["memory"] > 0
    assert len(row["values"]) == 3
    assert row["values"][0] > row["values"][1] > row["values"][2]
    assert set(report["versions"]) == {"adac_jax", "jax", "flax", "optax", "numpy", "python"}
    assert report["exponents"] == []
    shown = capsys.readouterr().out
    assert "with Adam" in shown
    assert "FLAMO, " not in shown


def test_both_sides_train_the_same_network(benchmark, flamo, tmp_path, capsys):
    options = ["--lines", "2", "--filters", "gains", "--parts", "step"]
    report = report_of(benchmark, tmp_path, *options, *flamo)
    peer, own = report["rows"]
    assert (peer["side"], own["side"]) == ("flamo", "adac_jax")
    assert own["values"] == pytest.approx(peer["values"], rel=SAME)
    assert {"torch", "flamo"} <= set(report["versions"])
    assert "ratio" in capsys.readouterr().out


@pytest.mark.slow
def test_both_sides_train_the_same_equalisers(benchmark, flamo):
    both = [*cases(benchmark, "step", filters="equalisers", side="flamo")]
    both += cases(benchmark, "step", filters="equalisers")
    peer, own = measure(benchmark, both)
    assert own.values == pytest.approx(peer.values, rel=SAME)


@pytest.mark.slow
@pytest.mark.parametrize("filters", ["gains", "equalisers"])
def test_all_readings_have_the_same_loss(benchmark, filters):
    what = ("step", "forward", "gradient", "scan", "frequency")
    found = measure(benchmark, cases(benchmark, *what, filters=filters))
    expected = found[0].values[0]
    assert [row.values[0] for row in found] == pytest.approx([expected] * len(found), rel=SAME)


@pytest.mark.slow
def test_parts_limits_and_exponents(benchmark, tmp_path, capsys):
    options = ["--lines", "2", "3", "--filters", "gains", "--peer", "none"]
    parts = ["--parts", "forward", "gradient", "product", "copy"]
    report = report_of(benchmark, tmp_path, *options, *parts)
    assert len(report["rows"]) == 2 * 4 + 3 * 2
    fits = {(fit["what"], fit["over"]): fit for fit in report["exponents"]}
    assert set(fits) == {(w, o) for w in ("forward", "gradient") for o in ("lines", "length")}
    assert fits["forward", "length"]["points"] == 4
    assert (fits["forward", "length"]["from"], fits["forward", "length"]["to"]) == (600, 4800)
    assert "re limit" in capsys.readouterr().out


def test_exponents_of_known_times(benchmark):
    asking, showing = benchmark("peers.asking"), benchmark("peers.showing")
    (case,) = cases(benchmark, "gradient")

    def row(lines, length):
        # The least time is what counts, whatever the others are.
        least = 1e-6 * lines**2 * length**1.5
        scaled = dataclasses.replace(case, length=length, delays=tuple(range(30, 30 + lines)))
        return asking.Measured(scaled, (3 * least, least), 1.0, (1.0,), 0, 0, {})

    rows = [row(2, 2400), row(4, 2400), row(8, 2400), row(4, 600), row(4, 4800)]
    found = {fit["over"]: fit for fit in showing.exponents(rows, 2400)}
    # Logarithms of exact powers: rounding alone, far below 1e-9.
    assert found["lines"]["exponent"] == pytest.approx(2, abs=1e-9)
    assert found["length"]["exponent"] == pytest.approx(1.5, abs=1e-9)
    assert [found[over]["points"] for over in ("lines", "length")] == [3, 3]


def test_a_case_is_the_same_on_both_sides(benchmark):
    (case,) = cases(benchmark, "step")
    assert benchmark("peers.case").Case.read(case.write()) == case
    again = dataclasses.replace(case, side="flamo").parameters()
    for name, value in case.parameters().items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, again[name])
    # A line of m samples is passed length / m times: 120 dB in all.
    lost = 20 * np.log10(case.parameters()["gains"]) * 2400 / np.array([31, 59])
    np.testing.assert_allclose(lost, -120, rtol=1e-5)  # single precision, of the gains
    assert case.products() == 3 * 2400 * (4 + 4 + 2)
    assert dataclasses.replace(case, filters="equalisers").products() == 3 * 2400 * (8 + 110)
    assert case.moved() == 20 * 2 * 2400


def test_a_process_that_fails_says_why(benchmark):
    with pytest.raises(
        RuntimeError, match=r"(?s)adac_jax failed at nothing with 2 lines.*KeyError"
    ):
        measure(benchmark, cases(benchmark, "nothing"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "0"], "positive"),
        (["--seconds", "-1"], "positive"),
        (["--lines", "0"], "positive"),
        (["--delays", "60", "30"], "ascend"),
        (["--delays", "30", "600"], "quarter"),
        (["--filters", "reverb"], "invalid choice"),
        (["--lines", "32", "--filters", "equalisers"], "nothing to measure"),
        (["--lines", "9"], "`lines` (=9)"),
        (["--lines", "2", "--python", "no-such-interpreter"], "has no flamo"),
    ],
)
def test_refuses(benchmark, capsys, options, message):
    with pytest.raises(SystemExit, match="2"):
        benchmark("training").main([*SMALL, *options])
    assert message in capsys.readouterr().err
