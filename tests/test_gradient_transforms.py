"""Derivatives under JAX's transformations, in single precision, and through the spectrum."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from differentiated import (
    EPS,
    ROUNDINGS,
    STEP,
    Differentiated,
    close,
    directions,
    everything,
    loss_of,
    moved,
    product,
)
from gradient_loops import LOOPS
from gradient_models import NETWORKS, Example, example, noise
from plain import Sections, double
from readings import FAST

from adac_jax import nn
from adac_jax.frequency import frequency_response
from adac_jax.tracing import pure

GAINS = np.array([0.7, -0.5])


@pytest.fixture(autouse=True)
def _double():
    with double():
        yield


def named(name: str) -> Example:
    return example(LOOPS[name], GAINS) if name in LOOPS else example(NETWORKS[name]())


@pytest.mark.parametrize(
    "name", ["saturating", "nested", "further signals", "one-poles for a decay", "fractions"]
)
def test_second_derivatives(name):
    """H v is the difference of gradients, and H is symmetric."""
    model = named(name)
    at = (model.parameters, model.x)
    gradient = jax.grad(loss_of(model))
    run = jax.jit(lambda at, along: jax.jvp(gradient, (at,), (along,)), compiler_options=FAST)
    both, (_, other) = everything(at), next(directions(at))
    slope, bent = run(at, both)

    def difference(step: float) -> list[np.ndarray]:
        ends = [jax.tree.leaves(run(moved(at, both, s), both)[0]) for s in (step, -step)]
        return [np.asarray(b - a) / (2 * step) for b, a in zip(*ends, strict=True)]

    leaves = zip(
        jax.tree.leaves(bent),
        jax.tree.leaves(slope),
        difference(STEP),
        difference(2 * STEP),
        strict=True,
    )
    for H, g, one, two in leaves:
        # As for first derivatives: what is differentiated is rounded to ROUNDINGS of its peak.
        bound = np.abs(two - one).max() + ROUNDINGS * EPS * np.abs(g).max() / STEP
        assert bound <= 1e-3 * np.abs(H).max()
        assert np.abs(H - one).max() <= bound
    sides = product(run(at, both)[1], other), product(run(at, other)[1], both)
    # Sums of a few hundred products, each as exact as a gradient.
    scale = sum(float(jnp.abs(h).max() * jnp.abs(v).sum()) for h, v in zip(
        jax.tree.leaves(bent), jax.tree.leaves(other), strict=True))  # fmt: skip
    assert abs(sides[0] - sides[1]) <= ROUNDINGS * EPS * scale


@pytest.mark.parametrize(
    "name", ["one-poles for a decay", "fractions", "network in a network", "further signals"]
)
def test_batches_of_models_are_one_after_another(name):
    """Many starting points at once: each has the gradient it has alone."""
    model = named(name)
    at = (model.parameters, model.x)
    gradient = jax.grad(loss_of(model))
    spread = jax.tree.map(lambda v: 0.01 * jnp.asarray(noise(*v.shape, seed=8)), at)
    many = jax.tree.map(lambda *v: jnp.stack(v), *(moved(at, spread, k) for k in range(3)))
    found = jax.jit(jax.vmap(gradient), compiler_options=FAST)(many)
    alone = jax.jit(gradient, compiler_options=FAST)
    for k in range(3):
        one, of_many = (jax.tree.map(lambda v, k=k: v[k], tree) for tree in (many, found))
        close(of_many, alone(one))


def test_a_batch_of_signals_adds_up():
    """One model on many signals: its gradient is the sum of theirs."""
    model = named("one-poles for a decay")
    loss = loss_of(model)
    x = jnp.stack([model.x, 0.5 * model.x[::-1], model.x**2])

    def total(parameters: Any) -> jax.Array:
        return jnp.sum(jax.vmap(lambda v: loss((parameters, v)))(x))

    found = jax.jit(jax.grad(total), compiler_options=FAST)(model.parameters)
    alone = jax.jit(jax.grad(loss), compiler_options=FAST)
    parts = [alone((model.parameters, v))[0] for v in x]
    close(found, jax.tree.map(lambda *leaves: sum(leaves), *parts))


@pytest.mark.parametrize(
    "name", ["linear", pytest.param("one-poles for a decay", marks=pytest.mark.slow)]
)
def test_compilation_changes_nothing(name):
    model = named(name)
    at, gradient = (model.parameters, model.x), jax.grad(loss_of(model))
    close(gradient(at), jax.jit(gradient, compiler_options=FAST)(at))


@pytest.mark.parametrize(
    "name", ["orthogonal", "one-poles for a decay", "fractions", "nested", "coupled"]
)
def test_single_precision(name):
    """The same gradient, in single precision: its rounding is all that differs."""
    model = named(name)
    gradient = jax.grad(loss_of(model))
    at = jax.tree.map(lambda v: v.astype(jnp.float32), (model.parameters, model.x))
    with jax.enable_x64(False):
        found = jax.jit(gradient, compiler_options=FAST)(at)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}
    wide = jax.tree.map(lambda v: v.astype(jnp.float64), at)
    wanted = jax.jit(gradient, compiler_options=FAST)(wide)
    close(found, wanted, eps=float(np.finfo(np.float32).eps))


@pytest.mark.parametrize(
    "name",
    [
        "network in a network",
        pytest.param("one-poles for a decay", marks=pytest.mark.slow),
        pytest.param("fractions", marks=pytest.mark.slow),
    ],
)
def test_the_spectrum_has_the_same_gradient(name):
    """A loss on the transform of the impulse response is one on the frequency response."""
    model, n = NETWORKS[name](), 1024
    response = frequency_response(model)
    function, _ = pure(model)
    impulse = jnp.zeros((n, 1)).at[0].set(1)
    h = jax.jit(function, compiler_options=FAST)(response.parameters, impulse)
    # It decays within the transform, so that nothing wraps round.
    assert np.abs(h[-100:]).max() < EPS * np.abs(h).max()
    target = jnp.asarray(1 + noise(n // 2 + 1))

    def loss(H: jax.Array) -> jax.Array:
        return jnp.sum((jnp.abs(H.ravel()) - target) ** 2) / n

    def in_time(parameters: Any) -> jax.Array:
        return loss(jnp.fft.rfft(function(parameters, impulse), axis=0))

    def in_frequency(parameters: Any) -> jax.Array:
        return loss(response.bins(n, parameters))

    found, wanted = (
        jax.jit(jax.grad(f), compiler_options=FAST)(response.parameters)
        for f in (in_time, in_frequency)
    )
    # Twenty operations in each of n samples, and modes that ring for some tens of them.
    close(found, wanted, roundings=20 * n)


@pytest.mark.parametrize(
    "case",
    [
        "fdn_N4_gain",
        pytest.param("fdn_N8_sos", marks=pytest.mark.slow),
        pytest.param("fdn_N6_scatter", marks=pytest.mark.slow),
    ],
)
def test_networks_of_others(case, data_folder):
    """Long lines: a signal goes round four times."""
    path = data_folder / "fdn_reference" / f"{case}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    d = np.load(path)
    matrix = d.get("A")
    if matrix is None:
        left, right = d["m_L"].astype(int), d["m_R"].astype(int)
        matrix = nn.Scattering(d["shifts"].astype(int), matrix=list(d["U"]), left=left, right=right)
    model = nn.FDN(
        d["delays"],
        matrix=matrix,
        absorption=d["gains"] if "gains" in d else Sections(d["sos"]),
        input_gain=d["b"],
        output_gain=d["c"],
        direct=d["d"],
    )
    function, parameters = pure(model)
    Differentiated(Example(function, parameters, jnp.asarray(noise(4000, 1)))).check()
