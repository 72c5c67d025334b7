"""Loops of delays and of operations on one sample: their gradient in one run back through them.

That it is right by differences is in `test_gradients.py`; here, that it is taken, that it equals
that of plain loops, and what JAX makes of it. In float64, with the tolerance of `close`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from differentiated import close, loss_of
from flax import nnx
from gradient_loops import LOOPS
from gradient_models import NETWORKS, Example, example, noise
from plain import double
from readings import FAST

from adac_jax import blocks, delay, feedback, nn, trace

LOOP_MODULE = import_module("adac_jax.primitives.feedback")
GAINS = np.array([0.7, -0.5])
TAKEN = [
    "linear", "saturating", "product of signals", "kinks", "largest channel", "another axis",
    "padded and cut", "a channel picked twice", "compiled", "orthogonal", "one sample",
    "gain that is a signal", "nested", "one after another", "one-poles for a decay", "entrance",
    "entrance, heard", "nothing comes back",
]  # fmt: skip
"""At least by one of the loops."""
LEFT = [
    "shapers", "coupled", "further signals", "changing over time", "all filters",
    "entrance with memory", "heard with what enters",
]  # fmt: skip
"""By plain loops: those best run in loops of blocks, signals from outside that are not just added,
integers, filters."""


@pytest.fixture(autouse=True)
def _double():
    with double():
        yield


def named(name: str) -> Example:
    return example(LOOPS[name], GAINS) if name in LOOPS else example(NETWORKS[name]())


def compiled(function: Any, *at: Any) -> Any:
    return jax.jit(function, compiler_options=FAST)(*at)


def is_taken(function: Any, *at: Any) -> bool:
    return "feedback_adjoint[" in str(jax.make_jaxpr(function)(*at))


@pytest.mark.parametrize("name", [*TAKEN, *LEFT])
def test_gradients_are_those_of_plain_loops(name):
    model = named(name)
    loss, at = loss_of(model), (model.parameters, model.x)
    assert is_taken(jax.grad(loss), at) == (name in TAKEN)
    found = compiled(jax.grad(loss), at)
    with LOOP_MODULE.plainly():
        assert not is_taken(jax.grad(loss_of(model)), at)
        wanted = compiled(jax.grad(loss_of(model)), at)
    close(found, wanted)


@pytest.mark.parametrize("name", ["saturating", "orthogonal", "product of signals"])
def test_transformations(name):
    """vmap of gradients, gradients of vmap, Hessian-vector products both ways, forward mode."""
    model = named(name)
    loss, at = loss_of(model), (model.parameters, model.x)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.9 * leaf, 0.8 * leaf]), at)
    shared = (at[0], batch[1])
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], batch) for k in range(3)]
    one = jax.jit(jax.grad(loss), compiler_options=FAST)
    wanted = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(one, each))

    mapped = jax.vmap(jax.grad(loss))
    assert is_taken(mapped, batch)
    close(compiled(mapped, batch), wanted)
    summed = jax.grad(lambda at: jnp.sum(jax.vmap(loss)(at)))
    assert is_taken(summed, batch)
    close(compiled(summed, batch), wanted)
    # Parameters that all share: one gradient for each, and one for all.
    alone = jax.vmap(jax.grad(lambda p, x: loss((p, x))), (None, 0))
    common = jax.grad(lambda p, xs: jnp.sum(jax.vmap(lambda x: loss((p, x)))(xs)))
    for_each = compiled(alone, *shared)
    close(compiled(common, *shared), jax.tree.map(lambda leaf: jnp.sum(leaf, 0), for_each))
    separate = [one((at[0], x))[0] for x in batch[1]]
    close(for_each, jax.tree.map(lambda *leaves: jnp.stack(leaves), *separate))

    rng = np.random.default_rng(1)
    along = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(-1, 1, leaf.shape)), at)

    def forward_over_reverse(at: Any) -> Any:
        return jax.jvp(jax.grad(loss), (at,), (along,))[1]

    def reverse_over_reverse(at: Any) -> Any:
        def slope(at: Any) -> jax.Array:
            parts = jax.tree.map(lambda g, v: jnp.sum(g * v), jax.grad(loss)(at), along)
            return sum(jax.tree.leaves(parts), jnp.zeros(()))

        return jax.grad(slope)(at)

    with LOOP_MODULE.plainly():
        second = compiled(forward_over_reverse, at)
    close(compiled(lambda at: forward_over_reverse(at), at), second)
    close(compiled(reverse_over_reverse, at), second)
    slope = compiled(lambda at: jax.jvp(loss, (at,), (along,))[1], at)
    parts = jax.tree.map(lambda g, v: jnp.sum(g * v), one(at), along)
    close(slope, sum(jax.tree.leaves(parts)))


def test_gradients_of_some():
    """By the parameters alone, by the audio alone, and of nothing that a loop makes."""
    model = named("orthogonal")
    loss, at = loss_of(model), (model.parameters, model.x)
    of_both = compiled(jax.grad(loss), at)
    close(compiled(jax.grad(lambda p: loss((p, at[1]))), at[0]), of_both[0])
    close(compiled(jax.grad(lambda x: loss((at[0], x))), at[1]), of_both[1])
    assert np.all(compiled(jax.grad(lambda at: 0 * loss(at)), at)[1] == 0)


@pytest.mark.parametrize("lines", [3, 12])
def test_lengths_that_blocks_do_not_fill(lines):
    """Delays read by slices and by gathers; signals shorter than a delay, than a block, a rest."""
    m = nn.mutually_prime_delays(lines, 7, 60)
    model = nn.FDN(m, absorption=np.full(lines, 0.9), input_gain=np.ones((lines, 1)))
    for length in (1, 6, 7, 20, 61, 200):
        x = jnp.asarray(noise(length, 1))

        def energy(x: jax.Array) -> jax.Array:
            return jnp.sum(model(x) ** 2)

        found = compiled(lambda x: jax.grad(energy)(x), x)
        with LOOP_MODULE.plainly():
            wanted = compiled(lambda x: jax.grad(energy)(x), x)
        close(found, wanted)


@pytest.mark.parametrize("shortest", [601, 97, 33])
def test_filters_of_different_orders(shortest):
    """Blocks are of a length that the filters' own blocks fill, or plain loops are taken."""
    m = (shortest, shortest + 10)
    sos = np.tile([[0.5, 0.1, 0.05, 1.0, -0.3, 0.1]], (5, 1))
    absorption = nn.SOS(2, np.repeat(sos[..., None], 2, axis=-1))
    model = nn.FDN(m, matrix=0.6 * np.eye(2)[::-1], absorption=absorption, loop=nn.OnePole(2, 0.5))
    graphdef, state = nnx.split(model)
    x = jnp.asarray(noise(4 * shortest, 1))

    def energy(state: Any) -> jax.Array:
        return jnp.sum(nnx.merge(graphdef, state)(x) ** 2)

    found = compiled(lambda s: jax.grad(energy)(s), state)
    with LOOP_MODULE.plainly():
        wanted = compiled(lambda s: jax.grad(energy)(s), state)
    # Some sixty roundings a sample in five sections, and each number passes all of them.
    close(found, wanted, roundings=60 * len(x))


def test_no_array_is_as_long_as_the_signal_but_the_lines():
    """What reverse mode keeps and makes: memory of N lines, their cotangents, audio in and out."""
    n, length = 16, 20_000
    model = nn.FDN(nn.mutually_prime_delays(n, 400, 1600), absorption=np.full(n, 0.9))
    x = jnp.asarray(noise(length, 1))

    def energy(b: jax.Array) -> jax.Array:
        def loop(u: jax.Array) -> tuple[jax.Array, jax.Array]:
            s = 0.9 * delay(u, model.delays.samples)
            return s @ jnp.eye(n), s @ jnp.ones((n, 1))

        return jnp.sum(feedback(loop, x * b, has_aux=True)[1] ** 2)

    program = jax.jit(jax.grad(energy)).lower(jnp.ones(n)).compile()
    memory = program.memory_analysis()
    if memory is None:
        pytest.skip("this XLA does not say what memory a program takes")
    line = 8 * n * (length + 2 * 1600)
    # The lines, their cotangents, and that of what enters, with room for one more.
    assert memory.temp_size_in_bytes <= 4 * line


def test_derivatives_inside_of_a_model_are_traced():
    """Forward mode within a model becomes a graph, whichever way its loops are differentiated."""

    def model(x: jax.Array) -> jax.Array:
        def network(g: jax.Array) -> jax.Array:
            return feedback(lambda u: g * delay(u, (3, 5)), x)

        y, moved = jax.jvp(network, (jnp.asarray(0.5),), (jnp.asarray(1.0),))
        return y + moved

    x = jnp.asarray(noise(40, 2))
    traced = trace(model, inputs=2)
    coefficients = traced.coefficients(traced.parameters)
    (y,) = blocks.run_whole(traced.graph, coefficients, [x.T], len(x))
    close(y.T, compiled(model, x))
