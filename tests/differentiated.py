"""A model's value and first derivatives, compiled once, and how they are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gradient_models import LENGTH, Example, noise
from jax import Array
from readings import FAST

EPS = float(np.finfo(np.float64).eps)
ROUNDINGS = LENGTH * 20
"""Rounded operations that a number passes, at most: 20 in each of LENGTH samples of a loop."""
STEP = 4e-5
"""Of differences, in units of the parameter, or of its magnitude where that is larger."""


@dataclass(frozen=True)
class Found:
    """What one call gives.

    Attributes:
        loss: ½ Σ w y².
        y: The output.
        gradient: Of the loss, by parameters and audio.
        tangent: ẏ along a direction.
    """

    loss: float
    y: np.ndarray
    gradient: Any
    tangent: np.ndarray


class Differentiated:
    """The loss ½ Σ w y² of a model's output y, w random, and its derivatives.

    Both come from one linearisation y + J v: the tangent J v, and the gradient Jᵀ (w y).
    """

    def __init__(self, example: Example) -> None:
        self.at = (example.parameters, example.x)
        self.weights = weights(example)

        def run(at: Any, along: Any) -> tuple[Array, Array, Any, Array]:
            y, push = jax.linearize(example.function, *at)
            pull = jax.linear_transpose(push, *at)
            w = jnp.asarray(self.weights)
            return 0.5 * jnp.sum(w * y * y), y, pull(w * y), push(*along)

        traced = jax.jit(run).trace(self.at, self.at)
        self.jaxpr = traced.jaxpr
        self._compiled = traced.lower().compile(FAST)

    def __call__(self, at: Any, along: Any) -> Found:
        loss, y, gradient, tangent = self._compiled(at, along)
        return Found(float(loss), np.asarray(y), gradient, np.asarray(tangent))

    def check(self, ways: Iterable[tuple[str, Any]] | None = None) -> None:
        """Compares ⟨w y, J v⟩, ⟨Jᵀ w y, v⟩ and differences, for each parameter and the audio.

        Args:
            ways: Names and directions, in place of one for each leaf.
        """
        for name, along in directions(self.at) if ways is None else ways:
            found = self(self.at, along)
            slope, reached = product(found.gradient, along), self.weights * found.y
            scale = np.abs(reached * found.tangent).sum()
            assert scale > 0, f"{name} changes nothing"
            # ẏ is rounded relative to its peak, as all that a loop feeds back, and is summed.
            rounded = ROUNDINGS * EPS * np.abs(reached).sum() * np.abs(found.tangent).max()
            assert abs(np.vdot(reached, found.tangent) - slope) <= rounded, f"{name}: adjoint"
            # Central differences over one and two steps: the first is off by a third of what they
            # differ by, but for higher orders, and by the rounding of y, divided by the step.
            one, two = (self._difference(along, k * STEP) for k in (1, 2))
            rounded = ROUNDINGS * EPS * np.abs(reached).sum() * np.abs(found.y).max() / STEP
            bound = abs(two - one) + rounded
            assert bound <= 1e-4 * scale, f"{name}: the differences tell nothing, {bound / scale}"
            assert abs(one - slope) <= bound, f"{name}: differences"

    def _difference(self, along: Any, step: float) -> float:
        ends = [self(moved(self.at, along, s), along).loss for s in (step, -step)]
        return (ends[0] - ends[1]) / (2 * step)


def weights(example: Example) -> np.ndarray:
    """w, of the output's shape."""
    return noise(*jax.eval_shape(example.function, example.parameters, example.x).shape, seed=3)


def directions(at: Any) -> Iterator[tuple[str, Any]]:
    """A random direction for each leaf, as large as the leaf if that is larger than 1."""
    paths, tree = jax.tree_util.tree_flatten_with_path(at)
    zeros = [jnp.zeros_like(leaf) for _, leaf in paths]
    for k, (path, leaf) in enumerate(paths):
        if leaf.size:
            own = noise(*leaf.shape, seed=10 + k) * max(1.0, float(jnp.abs(leaf).max()))
            along = [*zeros[:k], jnp.asarray(own, leaf.dtype), *zeros[k + 1 :]]
            yield jax.tree_util.keystr(path), jax.tree.unflatten(tree, along)


def loss_of(model: Example) -> Any:
    """(parameters, audio) -> ½ Σ w y²."""
    w = weights(model)

    def loss(at: Any) -> jax.Array:
        y = model.function(*at)
        return 0.5 * jnp.sum(jnp.asarray(w, y.dtype) * y * y)

    return loss


def everything(at: Any) -> Any:
    """A random direction for all leaves at once."""
    return jax.tree.map(lambda *leaves: sum(leaves), *(along for _, along in directions(at)))


def moved(at: Any, along: Any, step: float) -> Any:
    """A point some way along a direction."""
    return jax.tree.map(lambda a, d: a + step * d, at, along)


def product(one: Any, other: Any) -> float:
    """⟨one, other⟩ over all leaves."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return float(sum(jnp.vdot(a, b) for a, b in pairs))


def close(found: Any, wanted: Any, roundings: int = ROUNDINGS, eps: float = EPS) -> None:
    """Asserts that two gradients are equal to rounding, leaf by leaf, relative to its peak."""
    paths, _ = jax.tree_util.tree_flatten_with_path(wanted)
    for (path, b), a in zip(paths, jax.tree.leaves(found), strict=True):
        peak = np.abs(b).max(initial=0.0)
        error = np.abs(np.asarray(a, np.float64) - b).max(initial=0.0)
        assert error <= roundings * eps * peak, f"{jax.tree_util.keystr(path)}: {error} of {peak}"


def run_backwards(jaxpr: Any) -> Iterator[bool]:
    """Of each loop of a jaxpr that is in no other one: whether time is reversed in it."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "feedback":
            yield eqn.params["reverse"]
            continue
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from run_backwards(inner)
