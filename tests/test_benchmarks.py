"""The benchmarks run, in small."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest

from adac_jax.verification import LIMIT_DOUBLE, LIMIT_SINGLE

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = ["--sizes", "2", "4", "--seconds", "0.1", "--repeats", "1"]


@pytest.fixture(scope="module")
def roundtrip():
    spec = importlib.util.spec_from_file_location("roundtrip", FOLDER / "roundtrip.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decibels(error):
    return 20 * math.log10(error) if error else -math.inf


def test_roundtrip(roundtrip, tmp_path, capsys):
    roundtrip.main([*SMALL, "--out", str(tmp_path / "new")])
    report = json.loads((tmp_path / "new" / "roundtrip.json").read_text("utf-8"))
    rows = report["rows"]
    matrices = ["dense", "householder", "hadamard"]
    assert [(r["size"], r["matrix"]) for r in rows] == [(n, m) for n in (2, 4) for m in matrices]
    for row in rows:
        assert decibels(row["error"]["single"]) <= LIMIT_SINGLE
        assert decibels(row["error"]["double"]) <= LIMIT_DOUBLE
        assert set(row["seconds"]) >= {"trace_cold", "trace", "emit", "compile_single", "render"}
        assert all(len(times) == 1 and times[0] > 0 for times in row["seconds"].values())
        assert row["median"] == row["minimum"]
        assert row["speed"] == row["speed_best"] == 0.1 / row["median"]["render"]
    assert (tmp_path / "new" / "roundtrip.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert all(matrix in shown for matrix in matrices)


@pytest.mark.parametrize("filters", ["one_pole", "geq"])
def test_roundtrip_with_filters_in_single_precision_only(roundtrip, tmp_path, filters):
    options = ["--filters", filters, "--matrices", "householder", "--no-double"]
    roundtrip.main([*SMALL, "--sizes", "3", *options, "--out", str(tmp_path)])
    (row,) = json.loads((tmp_path / "roundtrip.json").read_text("utf-8"))["rows"]
    assert row["size"] == 3
    assert "compile_double" not in row["seconds"]
    assert list(row["error"]) == ["single"]
    assert decibels(row["error"]["single"]) <= LIMIT_SINGLE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "3"], "powers of two"),
        (["--sizes", "0"], "positive"),
        (["--repeats", "0"], "positive"),
        (["--seconds", "-1"], "positive"),
        (["--matrices", "sparse"], "invalid choice"),
    ],
)
def test_roundtrip_refuses(roundtrip, capsys, options, message):
    with pytest.raises(SystemExit, match="2"):
        roundtrip.main(options)
    assert message in capsys.readouterr().err
