"""Recursive filters in a loop that is run back through: their part of the derivative.

A filter is y = H x + O s, s' = Aᴷ s + G x over K samples (`kernels.state_space`). On the way back
its transpose is needed in each block,

    s̄ = Oᵀ ȳ + (Aᴷ)ᵀ s̄',    x̄ = Hᵀ ȳ + Gᵀ s̄',

and the gradients of H, O, G and Aᴷ are products over all blocks at once, of what goes in and what
comes back: ȳ and s̄ are kept for that, x and s follow from the way forward.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from adac_jax.kernels import StateSpace
from adac_jax.kernels.state_space import product, states_between


class Turned(NamedTuple):
    """The matrices of a filter as its transpose wants them.

    Attributes:
        respond: (*channels, K, K + p).
        gather: (*channels, p, K).
        step: (*channels, p, p).
    """

    respond: Array
    gather: Array
    step: Array


class Taps(NamedTuple):
    """Zeros that are added within a filter: their cotangents are those of what they are added to.

    Attributes:
        states: To the states after each K samples, (*channels, blocks, p).
        output: To y, (*channels, time).
    """

    states: Array
    output: Array


def turned(prepared: StateSpace) -> Turned:
    """The transposed matrices, made once."""
    parts = (prepared.respond, prepared.gather, prepared.step)
    return Turned(*(lax.optimization_barrier(jnp.swapaxes(part, -1, -2)) for part in parts))


def no_taps(prepared: StateSpace, length: int, dtype: jnp.dtype) -> Taps:
    """Taps for a signal of so many samples, a multiple of K."""
    *channels, K, p = prepared.gather.shape
    return Taps(
        jnp.zeros((*channels, length // K, p), dtype), jnp.zeros((*channels, length), dtype)
    )


def run_known(state: Array, x: Array, taps: Taps, y: Array, back: Turned) -> tuple[Array, Array]:
    """A filter whose output is known, to be differentiated.

    Args:
        state: s before the block, (*channels, p); its value does not matter.
        x: What goes in, (*channels, time), a multiple of K; its value does not matter.
        taps: Zeros.
        y: What comes out.
        back: The filter's matrices.

    Returns:
        The state after the block, of any value, and y.
    """

    @jax.custom_vjp
    def forward(state: Array, x: Array, taps: Taps) -> tuple[Array, Array]:
        return state, y

    def backward(_: None, cotangents: tuple[Array, Array]) -> tuple[Array, Array, Taps]:
        after, of_y = cotangents
        K = back.respond.shape[-2]
        blocks = of_y.reshape(*of_y.shape[:-1], -1, K)
        both = product("...ns,...st->...nt", blocks, back.respond)
        of_x, heard = both[..., :K], both[..., K:]
        # s̄ of the last block first.
        turned_round = states_between(back.step, jnp.flip(heard, -2), after)
        of_states = jnp.flip(turned_round[..., :-1, :], -2)
        of_x = of_x + product("...ni,...it->...nt", of_states, back.gather)
        return turned_round[..., -1, :], of_x.reshape(x.shape), Taps(of_states, of_y)

    forward.defvjp(lambda state, x, taps: (forward(state, x, taps), None), backward)
    return forward(state, x, taps)


def states_of(prepared: StateSpace, x: Array, begun: Array) -> Array:
    """The states before each K samples, from those before each block.

    Args:
        prepared: The filter.
        x: What goes in, (*channels, time).
        begun: (*channels, blocks, p).

    Returns:
        (*channels, time / K, p).
    """
    K = prepared.gather.shape[-2]
    *channels, count, p = begun.shape
    fed = product("...nt,...ti->...ni", x.reshape(*channels, -1, K), prepared.gather)
    fed = jnp.moveaxis(fed.reshape(*channels, count, -1, p), -2, 0)
    states = [begun]
    for added in fed[:-1]:
        states.append(product("...ni,...ji->...nj", states[-1], prepared.step) + added)
    return jnp.stack(states, axis=-2).reshape(*channels, -1, p)


def gradient(
    prepared: StateSpace, x: Array, states: Array, of_states: Array, of_output: Array
) -> StateSpace:
    """The cotangents of a filter's matrices.

    Args:
        prepared: The filter.
        x: What goes in, (*channels, time).
        states: Of `states_of`.
        of_states: The cotangent of the states after each K samples, as `states`.
        of_output: Of y, (*channels, time).
    """
    blocks = x.reshape(*states.shape[:-1], -1)
    both = jnp.concatenate([blocks, states], axis=-1)
    back = of_output.reshape(blocks.shape)
    return StateSpace(
        product("...nt,...ns->...ts", both, back),
        product("...nt,...ni->...ti", blocks, of_states),
        product("...ni,...nj->...ij", of_states, states),
        jnp.zeros_like(prepared.rest),
    )
