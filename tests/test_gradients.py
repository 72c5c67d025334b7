"""First derivatives of all that trains: by differences, each other, and plain reverse mode.

Everything in float64, on short signals.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from differentiated import Differentiated, close, run_backwards, weights
from gradient_loops import BROKEN, FALLBACK, LOOPS
from gradient_models import LARGE, NETWORKS, Example, example, noise
from plain import double
from readings import FAST

from adac_jax import blocks, delay, feedback, trace
from adac_jax.lowering import RULES

LOOP_MODULE = import_module("adac_jax.primitives.feedback")
GAINS = np.array([0.7, -0.5])


def marked(names: Iterable[str], quick: Container[str]) -> list[Any]:
    """Cases of a test: slow but for some, and those that are broken."""
    cases = []
    for name in names:
        marks = [] if name in quick else [pytest.mark.slow]
        if name in BROKEN:
            marks.append(pytest.mark.xfail(reason=BROKEN[name], strict=True))
        cases.append(pytest.param(name, marks=marks))
    return cases


@pytest.fixture(autouse=True)
def _double():
    with double():
        yield


@pytest.fixture
def plainly(monkeypatch) -> list[Any]:
    """Gets an entry each time that a loop is transposed as the blocks it runs in."""
    taken = []
    transposed = LOOP_MODULE.transposed

    def counted(*arguments: Any) -> Any:
        taken.append(arguments)
        return transposed(*arguments)

    monkeypatch.setattr(LOOP_MODULE, "transposed", counted)
    return taken


def named(name: str) -> Example:
    if name in LOOPS:
        return example(LOOPS[name], GAINS)
    return example((NETWORKS | LARGE)[name]())


@pytest.mark.parametrize("name", marked([*NETWORKS, *LOOPS, *LARGE], [*NETWORKS, *LOOPS]))
def test_first_derivatives(name, plainly):
    """By plain loops where `feedback_adjoint` would have another way; see its own tests."""
    with LOOP_MODULE.plainly() if name in FALLBACK else nullcontext():
        found = Differentiated(named(name))
        backwards = list(run_backwards(found.jaxpr.jaxpr))
        if name in FALLBACK:
            assert plainly
        else:
            # Each loop is transposed into one that runs backwards.
            assert not plainly
            assert any(backwards) == bool(backwards)
        found.check()


def gradient(function: Any, at: Any, w: np.ndarray) -> Any:
    """Of ½ Σ w y² by parameters and audio."""

    def loss(at: Any) -> jax.Array:
        y = function(*at)
        return 0.5 * jnp.sum(jnp.asarray(w) * y * y)

    return jax.jit(jax.grad(loss), compiler_options=FAST)(at)


QUICK = [
    "orthogonal",
    "matrix of responses",
    "gains for a decay",
    "one-poles for a decay",
    "fractions",
    "network in a network",
    "saturating",
    "largest channel",
    "nested",
    "coupled",
    "chosen delays",
    "padded and cut",
    "a channel picked twice",
]
"""Compared with plain reverse mode every time; the others in slow tests."""
UNTRACED = {"changing over time", "padded before it is cut", "permuted"}
"""What is written for signals of one length."""


@pytest.mark.parametrize(
    "name", marked([n for n in (*NETWORKS, *LOOPS, *LARGE) if n not in UNTRACED], QUICK)
)
def test_plain_reverse_mode_gives_the_same(name):
    """JAX's own derivative of the scan over blocks knows none of the rules of the primitives."""
    model = named(name)
    at, w = (model.parameters, model.x), weights(model)
    traced = trace(model.function, parameters=model.parameters, inputs=model.x.shape[1])

    def in_blocks(parameters: Any, x: jax.Array) -> jax.Array:
        coefficients = traced.coefficients(parameters)
        (y,) = blocks.run_whole(traced.graph, coefficients, [x.T], len(x), in_place=False)
        return y.T

    close(gradient(model.function, at, w), gradient(in_blocks, at, w))


def test_a_loop_that_cannot_run_backwards_is_transposed_as_it_runs(monkeypatch, plainly):
    """Without the rule that its transpose needs, a loop has the same derivative."""
    model = named("a channel picked twice")
    at, w = (model.parameters, model.x), weights(model)
    with LOOP_MODULE.plainly():
        wanted = gradient(model.function, at, w)
        assert not plainly
        monkeypatch.delitem(RULES, "scatter-add")
        close(gradient(model.function, at, w), wanted)
        assert plainly


@jax.custom_jvp
def straight_through(v: jax.Array) -> jax.Array:
    """Rounds, but its derivative is 1."""
    return jnp.round(8 * v) / 8


@straight_through.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return straight_through(*primals), *tangents


@jax.custom_vjp
def held(v: jax.Array) -> jax.Array:
    """What comes back is limited."""
    return jnp.sin(v)


held.defvjp(lambda v: (jnp.sin(v), v), lambda v, back: (jnp.clip(back * jnp.cos(v), -0.5, 0.5),))


@pytest.mark.xfail(reason="the stated derivative is not used within a loop", strict=True)
@pytest.mark.parametrize("function", [straight_through, held])
def test_stated_derivatives_are_used(function: Callable[[jax.Array], jax.Array]):
    """As when the loop is written out: u = x + loop(x + loop(…))."""
    x, g = jnp.asarray(noise(24, 2)), jnp.asarray(GAINS)

    def body(g: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        return 0.6 * function(g * delay(u, 2)), function(delay(u, 1) * g)

    def written_out(g: jax.Array, x: jax.Array) -> jax.Array:
        u, _ = jax.lax.scan(lambda u, _: (x + body(g, u)[0], None), x, length=len(x) // 2)
        return u * body(g, u)[1]

    def closed(g: jax.Array, x: jax.Array) -> jax.Array:
        u, late = feedback(lambda u: body(g, u), x, has_aux=True)
        return u * late

    w = noise(*x.shape, seed=3)
    close(gradient(closed, (g, x), w), gradient(written_out, (g, x), w))


@pytest.mark.xfail(reason="whole numbers come out of a loop with 32 bits", strict=True)
def test_further_signals_keep_their_type():
    def model(g: jax.Array, x: jax.Array) -> jax.Array:
        u, count = feedback(
            lambda u: (g * delay(u, 2), jnp.round(4 * u).astype(jnp.int64)), x, has_aux=True
        )
        return u * (count + jnp.ones_like(count)).astype(x.dtype)

    Differentiated(example(model, GAINS)).check()
