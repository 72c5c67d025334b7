"""Recursive filters in a loop that is run back through: their part of the derivative.

A filter is y = H x + O s, s' = A s + G x over K samples (`kernels.state_space`, with A for its
Aᴷ). Its transpose is a filter of the same kind, run from the last block to the first:

    x̄ = Hᵀ ȳ + Gᵀ s̄',    s̄ = Aᵀ s̄' + Oᵀ ȳ.

With (x, s) what a block reads and (ȳ, s̄') what its transpose does, the gradients of H, O, G and A
are the parts of one product over all blocks, Σ (x, s)ᵀ (ȳ, s̄').
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from adac_jax.kernels import StateSpace, run_blocks
from adac_jax.kernels.state_space import product


def transposed(prepared: StateSpace) -> StateSpace:
    """The transpose of a filter, its matrices turned once."""
    respond, gather, step, rest = prepared
    K = gather.shape[-2]
    turned = jnp.swapaxes(respond, -1, -2)
    back = jnp.concatenate([turned[..., :K], jnp.swapaxes(gather, -1, -2)], axis=-2)
    parts = (back, turned[..., K:], jnp.swapaxes(step, -1, -2), jnp.swapaxes(rest, -1, -2))
    return StateSpace(*lax.optimization_barrier(parts))


def run_known(
    state: Array, x: Array, taps: Array, y: Array, back: StateSpace
) -> tuple[Array, Array]:
    """A filter whose output is known, to be differentiated.

    Args:
        state: s before the block, (*channels, p); its value does not matter.
        x: What goes in, (*channels, time), a multiple of K; its value does not matter.
        taps: Zeros, whose cotangent is what the transpose reads.
        y: What comes out.
        back: The transpose.

    Returns:
        The state after the block, of any value, and y.
    """

    @jax.custom_vjp
    def forward(state: Array, x: Array, taps: Array) -> tuple[Array, Array]:
        return state, y

    def backward(_: None, cotangents: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        after, of_y = cotangents
        K = back.gather.shape[-2]
        found = run_blocks(after, of_y.reshape(*of_y.shape[:-1], -1, K), back, backwards=True)
        return found.after, found.y.reshape(x.shape), found.read

    forward.defvjp(lambda state, x, taps: (forward(state, x, taps), None), backward)
    return forward(state, x, taps)


def gradient(prepared: StateSpace, reads: Array, returned: Array) -> StateSpace:
    """The cotangents of a filter's matrices.

    Args:
        prepared: The filter.
        reads: What its blocks read, (*channels, blocks, K + p).
        returned: What those of its transpose do.
    """
    K = prepared.gather.shape[-2]
    every = product("...nt,...ns->...ts", reads, returned)
    of_step = jnp.swapaxes(every[..., K:, K:], -1, -2)
    return StateSpace(every[..., :K], every[..., :K, K:], of_step, jnp.zeros_like(prepared.rest))
