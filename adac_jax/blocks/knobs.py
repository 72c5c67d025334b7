"""The value of a knob over a block, as `ir.knobs.follow` has it."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from ir import Node
from ir.ops.controls import attribute


def follow(node: Node, steps: Array, positions: Array) -> tuple[Array, Array]:
    """The value of a control at each sample of a block.

    Args:
        node: The control.
        steps: How many steps its value is away from its default before the block, a scalar.
        positions: Where the knob stands, (length,).

    Returns:
        The steps after the block, and the values (length,).
    """
    dtype = positions.dtype
    default, step, low, high = (
        jnp.asarray(attribute(node, key), dtype)
        for key in ("default", "step", "minimum", "maximum")
    )
    k = jnp.clip(positions, low, high)
    target = (k - default) / step

    def move(n: Array, goal: Array) -> tuple[Array, Array]:
        n = jnp.maximum(n - 1, jnp.minimum(n + 1, goal))
        return n, n

    after, n = lax.scan(move, steps.astype(dtype), target)
    return after, jnp.where(n == target, k, jnp.clip(default + step * n, low, high))
