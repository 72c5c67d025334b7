"""The report as data, table and figure."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from adac_jax import Check, Report
from adac_jax.figure import (
    energy_decay,
    figure,
    reverberation_time,
    save,
    smoothed_spectrum,
)
from adac_jax.report import compare
from adac_jax.table import decibels, table

RATE = 8000.0


def report(outputs: int = 2, length: int = 8000, error: float = 1e-7) -> Report:
    rng = np.random.default_rng(0)
    h = rng.standard_normal((length, outputs)) * np.exp(-np.arange(length) / 800)[:, None]
    traces = {"JAX float64": h, "FAUST single": h * (1 + error), "FAUST double": h.copy()}
    limits = {"FAUST single": -120.0, "FAUST double": -240.0}
    checks = tuple(
        compare("impulse into 0", name, "JAX float64", traces[name], h, limit)
        for name, limit in limits.items()
    )
    timings = {"trace": 0.25, "compile single": 0.1, "× real time": 1234.0}
    return Report("demo", RATE, 1, outputs, 12, length / RATE, checks, timings, {}, traces)


def text(found: Report) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(found))
    return console.export_text()


def test_table_has_a_row_a_reading():
    said = text(report())
    assert "-140.0 dB" in said
    assert "exact" in said
    assert said.count("equal") == 2
    assert "1,234 × real time" in said
    assert max(map(len, said.splitlines())) <= 80


def test_table_says_what_differs():
    said = text(report(error=1e-5))
    assert "DIFFERS" in said
    assert "-100.0 dB" in said


def test_a_shift_by_a_sample_fails_whatever_the_error():
    h = np.zeros((100, 1))
    h[20] = 1
    found = compare("impulse", "FAUST single", "JAX float64", np.roll(h, 1), h, 10.0)
    assert found.lag == 1
    assert not found.passed


def test_json_of_errors_without_a_number():
    checks = (
        Check("x", "a", "b", 0.0, 1.0, 0, -120.0),
        Check("x", "a", "b", math.inf, 1.0, 0, -120.0),
    )
    data = json.loads(Report("m", RATE, 1, 1, 1, 1.0, checks, {}, {}).to_json())
    assert [c["error_db"] for c in data["checks"]] == [None, None]
    assert [c["passed"] for c in data["checks"]] == [True, False]
    assert decibels(-math.inf) == "exact"


@pytest.mark.parametrize(("outputs", "length"), [(1, 8000), (2, 8000), (7, 300), (2, 1), (1, 40)])
def test_figure_of_any_size(tmp_path, outputs, length):
    save(report(outputs, length), tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 10_000


def test_figure_of_silence(tmp_path):
    silent = report()
    silent.traces.update({name: h * 0 for name, h in silent.traces.items()})
    save(silent, tmp_path / "f.png")


def test_figure_has_units_and_no_global_state():
    import matplotlib

    before = dict(matplotlib.rcParams)
    labels = [axes.get_xlabel() for axes in figure(report()).axes]
    assert [x for x in labels if x] == ["time in ms", "time in s", "time in s", "frequency in Hz"]
    assert dict(matplotlib.rcParams) == before


def test_decay_time_of_an_exponential():
    # 60 dB in 0.5 s, exactly.
    h = 10 ** (-3 * np.arange(8000) / RATE / 0.5)
    assert reverberation_time(energy_decay(h), RATE) == pytest.approx(0.5, rel=1e-6)
    assert reverberation_time(energy_decay(np.ones(100)), RATE) is None


def test_spectrum_of_an_impulse_is_flat():
    frequency, level = smoothed_spectrum(np.eye(1, 8000)[0], RATE)
    assert frequency[0] == pytest.approx(20)
    np.testing.assert_allclose(level, 0, atol=1e-9)
