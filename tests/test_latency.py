"""Look-ahead that becomes latency: added, reported, and compared where it is."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import adac_jax
import ir
from adac_jax import effects
from adac_jax.cli import main

AHEAD = 7


def looks_ahead(x):
    """What comes seven samples later turns the present down."""
    later = jnp.pad(x[AHEAD:], ((0, AHEAD), (0, 0)))
    return x / (1 + jnp.abs(later))


@pytest.mark.parametrize(("latency", "late"), [("auto", AHEAD), (AHEAD, AHEAD), (AHEAD + 4, 11)])
def test_outputs_come_later_by_what_was_added(latency, late):
    x = np.random.default_rng(3).uniform(-1, 1, (50, 1))
    with jax.enable_x64(True):
        traced = adac_jax.trace(looks_ahead, inputs=1, latency=latency)
        expected = np.asarray(looks_ahead(jnp.asarray(x)))
    assert traced.added == traced.graph.latency == late
    (found,) = ir.run(traced.program, x)
    # Two roundings on numbers below one.
    assert np.max(np.abs(found[late:] - expected[: 50 - late])) <= 2 * 2**-52
    assert not found[:AHEAD].any()


def test_less_than_it_takes_is_refused_with_the_number():
    with pytest.raises(adac_jax.RefusedError, match=r"7 samples ahead.*latency=7") as caught:
        adac_jax.trace(looks_ahead, inputs=1, latency=6)
    assert "test_latency.py" in str(caught.value)
    for wrong in (-1, 1.5, "most"):
        with pytest.raises(adac_jax.AdacError, match="latency"):
            adac_jax.trace(looks_ahead, inputs=1, latency=wrong)


def test_a_causal_model_gets_none():
    traced = adac_jax.trace(lambda x: x, inputs=1, latency="auto")
    assert traced.added == traced.graph.latency == 0


class Late(nnx.Module):
    """Says that its output is late, and looks ahead besides."""

    inputs, latency = 1, 3

    def __call__(self, x):
        return adac_jax.delay(x, self.latency) + jnp.pad(x[2:], ((0, 2), (0, 0)))


def test_what_the_model_says_adds_up():
    traced = adac_jax.trace(Late(), latency="auto")
    assert (traced.added, traced.graph.latency) == (2, 5)


def test_comparison_and_files_know_of_it(tmp_path):
    report = adac_jax.verify(looks_ahead, inputs=1, latency="auto", seconds=0.1)
    assert report.passed
    assert report.latency == AHEAD
    exported = adac_jax.export(
        looks_ahead, tmp_path, inputs=1, latency="auto", seconds=0.1, name="ahead"
    )
    assert 'declare latency_samples "7";' in (tmp_path / "ahead.dsp").read_text()
    text = (tmp_path / "ahead.ir.json").read_text()
    assert json.loads(text)["latency"] == AHEAD == ir.loads(text).graph.latency
    assert json.loads((tmp_path / "report.json").read_text())["latency"] == AHEAD
    assert exported.report.latency == AHEAD
    again = adac_jax.verify(ir.loads(text), seconds=0.1)
    assert again.passed
    assert again.latency == AHEAD


@pytest.mark.parametrize("latency", [-1, 1.5, True, "7", 2**40])
def test_wrong_latencies_in_files_are_refused(latency):
    builder = ir.Builder("m")
    data = json.loads(ir.dumps(ir.Program(builder.build([builder.constant(1.0)]), {})))
    with pytest.raises(ir.IRError, match="latency"):
        ir.loads(json.dumps(data | {"latency": latency}))


def test_command_line(tmp_path, capsys):
    source = tmp_path / "ahead.py"
    source.write_text(
        "import jax.numpy as jnp\ndef ahead(x):\n    return x + jnp.pad(x[5:], ((0, 5), (0, 0)))\n"
    )
    model = [f"{source}:ahead", "--inputs", "1", "--out", str(tmp_path / "out")]
    assert main(model) == 1
    assert "latency=5" in capsys.readouterr().err
    assert main([*model, "--latency", "auto", "--seconds", "0.1"]) == 0
    assert "latency: 5 samples" in capsys.readouterr().out
    assert main([*model, "--latency", "5.5"]) == 1
    assert "--latency" in capsys.readouterr().err


def test_limiter_reports_its_look_ahead():
    model = effects.Limiter(1, lookahead=0.001, sample_rate=48000.0)
    assert adac_jax.trace(model).graph.latency == model.latency == 48
