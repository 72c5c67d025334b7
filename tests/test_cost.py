"""Estimates of what FAUST will have to do: counted exactly, and warned of in time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import adac_jax
from adac_jax import effects, exporting
from emitters import faust

MATRIX = np.arange(12.0).reshape(3, 4)  # one of its numbers is zero
CASES = {
    "matrix": (lambda x: x @ jnp.asarray(MATRIX.T), 4, (11, 0, 0, 0)),
    "taps": (lambda x: adac_jax.fir(x, np.array([1.0, 0.0, 0.5])), 2, (4, 0, 0, 0)),
    "tanh": (lambda x: jnp.tanh(x) * x, 3, (3, 3, 0, 0)),
    "delays": (lambda x: adac_jax.delay(x, (5, 7)), 2, (0, 0, 2, 12)),
    "known": (lambda x: x + jnp.tanh(jnp.asarray(MATRIX)).sum(), 1, (0, 0, 1, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_counts(name):
    function, inputs, expected = CASES[name]
    with jax.enable_x64(True):
        program = adac_jax.trace(function, inputs=inputs).program
    found = faust.cost(program)
    assert (found.products, found.calls, found.others, found.memory) == expected


def test_products_of_a_network_are_its_weights():
    model = effects.LSTMAmplifier(16, rngs=nnx.Rngs(0))
    weights = 16 * 64 + 64 + 16  # recurrent, from the input, to the output
    with jax.enable_x64(True):
        found = faust.cost(adac_jax.trace(model).program)
    # Besides, three products of gates and states for each unit.
    assert found.products == weights + 3 * 16
    assert found.calls == 5 * 16


def test_more_costs_more():
    costs = []
    for hidden in (8, 16, 32):
        model = effects.LSTMAmplifier(hidden, rngs=nnx.Rngs(0))
        with jax.enable_x64(True):
            costs.append(faust.cost(adac_jax.trace(model).program))
    assert costs[0].compile_seconds < costs[1].compile_seconds < costs[2].compile_seconds
    assert costs[0].real_time > costs[1].real_time > costs[2].real_time


def test_the_exporter_warns_before_it_compiles(monkeypatch, tmp_path):
    said, compiled = [], []

    def stop(*arguments, **named):
        compiled.append(list(said))
        raise adac_jax.AdacError("not in this test")

    monkeypatch.setattr(exporting, "try_compile", stop)
    monkeypatch.setattr(exporting, "verify_program", stop)

    def model(x):
        return x @ jnp.full((130, 130), 0.01)

    def small(x):
        return x @ jnp.full((8, 8), 0.01)

    with pytest.raises(adac_jax.AdacError, match="not in this test"):
        adac_jax.export(model, tmp_path, inputs=130, name="m", warn=said.append)
    assert len(said) == 1
    assert compiled == [said]
    assert "16,900 products" in said[0]
    assert "to compile" in said[0]
    said.clear()
    with pytest.raises(adac_jax.AdacError, match="not in this test"):
        adac_jax.export(small, tmp_path, inputs=8, name="m", warn=said.append)
    assert not said


def test_loops_are_counted_once_for_all_delays_of_a_signal():
    def model(x):
        return adac_jax.feedback(
            lambda u: 0.3 * adac_jax.delay(u, 1) - 0.2 * adac_jax.delay(u, 2), x
        )

    with jax.enable_x64(True):
        program = adac_jax.trace(model, inputs=3).program
    assert faust.cost(program).ports == 3
    report = adac_jax.verify(model, inputs=3, seconds=0.1)
    assert report.passed
