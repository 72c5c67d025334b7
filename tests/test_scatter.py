"""Numbers added to chosen channels: the graph computes what JAX computes, and is no larger."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adac_jax
import ir

LENGTH = 40
PICK = np.array([0, 2, 0])
ROWS = np.array([[1, 0], [0, 0], [1, 1]])

CASES = {
    "permutation": lambda x: x.at[:, np.array([2, 0, 1])].add(2 * x),
    "one channel": lambda x: x.at[:, 1].add(jnp.sin(x[:, 0])),
    "a channel twice": lambda x: jnp.zeros_like(x).at[:, PICK].add(x),
    "all to one": lambda x: jnp.zeros((len(x), 2)).at[:, np.array([1, 1, 1])].add(x),
    "to what is known": lambda x: jnp.full_like(x, 0.5).at[:, PICK].add(x),
    "a number": lambda x: x.at[:, PICK].add(0.25),
    "what is known": lambda x: x.at[:, PICK].add(jnp.array([1.0, 2.0, 4.0])),
    "some channels": lambda x: x.at[:, 1:].add(x[:, :2]),
    "two axes": lambda x: (
        jnp.einsum("ti,tj->tij", x, x)
        .at[:, np.array([0, 1, 0]), np.array([1, 1, 1])]
        .add(x)
        .reshape(len(x), 9)
    ),
    "rows": lambda x: (
        jnp.einsum("ti,tj->tij", x, x).at[:, np.array([2, 2])].add(x[:, None, :]).reshape(len(x), 9)
    ),
    "out of range": lambda x: x.at[:, np.array([1, 7, 1])].add(x, mode="drop"),
    "brought into range": lambda x: x.at[:, np.array([1, 7, 1])].add(x, mode="clip"),
    "time on another axis": lambda x: x.T.at[PICK].add(x.T).T,
    "mapped over time": lambda x: jax.vmap(lambda v: v.at[PICK].add(v))(x),
    "indices mapped too": lambda x: jax.vmap(
        lambda v, k: jnp.zeros((len(v), 2)).at[:, k].add(jnp.stack([v, v * v], axis=1)),
        (1, 0),
        1,
    )(x, ROWS).reshape(len(x), 6),
    "whole numbers": lambda x: (
        jnp.zeros(x.shape, jnp.int32).at[:, PICK].add((9 * x).astype(jnp.int32)).astype(x.dtype)
    ),
    "ahead": lambda x: jnp.pad(x[:-2].at[:, PICK].add(x[2:]), ((2, 0), (0, 0))),
}


@pytest.mark.parametrize("name", CASES)
def test_graph_computes_what_jax_computes(name):
    x = np.random.default_rng(7).uniform(-1, 1, (LENGTH, 3))
    with jax.enable_x64(True):
        program = adac_jax.trace(CASES[name], inputs=3).program
        expected = np.asarray(CASES[name](jnp.asarray(x)))
    (found,) = ir.run(program, x)
    # Sums of at most four numbers below 4.
    np.testing.assert_allclose(found, expected, rtol=0, atol=16 * 2**-52)


def test_sums_are_as_long_as_they_must_be():
    """Each channel is the sum of what is added to it: no matrix of zeros and ones."""
    program = adac_jax.trace(CASES["a channel twice"], inputs=3).program
    found = [node for node in program.graph.nodes if node.op in ("einsum", "sum")]
    assert [node.op for node in found] == ["sum"]
    sizes = [node.type.size for node in program.graph.nodes]
    assert max(sizes) == 6  # two numbers for each of three channels


def test_it_is_the_transpose_of_a_choice_of_channels():
    """<w, P x> = <Pᵀ w, x>, P and Pᵀ both as graphs."""
    x, w = np.random.default_rng(8).uniform(-1, 1, (2, LENGTH, 3))

    def back(w):
        like = jax.ShapeDtypeStruct(w.shape, w.dtype)
        return jax.linear_transpose(lambda v: v[:, PICK], like)(w)[0]

    with jax.enable_x64(True):
        forth_program = adac_jax.trace(lambda x: x[:, PICK], inputs=3).program
        back_program = adac_jax.trace(back, inputs=3).program
    (chosen,), (placed,) = ir.run(forth_program, x), ir.run(back_program, w)
    # 120 products below one, summed twice.
    assert abs(np.vdot(w, chosen) - np.vdot(placed, x)) <= 2 * 120 * 2**-52


REFUSED = {
    "a sample": (lambda p, x: x.at[3].add(1.0), "position in time"),
    "the first samples": (lambda p, x: x.at[:5].add(x[:5]), "position in time"),
    "trained indices": (lambda p, x: x.at[:, p].add(x), "depend on a signal or a parameter"),
    "indices from a signal": (
        lambda p, x: jax.vmap(lambda v: v.at[(v[0] > 0).astype(int)].add(1.0))(x),
        "depend on a signal or a parameter",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    function, reason = REFUSED[name]
    with pytest.raises(adac_jax.RefusedError, match=reason):
        adac_jax.trace(function, parameters=jnp.array(PICK), inputs=3)
