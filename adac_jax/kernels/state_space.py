"""Linear recursions in blocks: matrix products in place of a loop over samples.

A filter of order p is s[t+1] = A s[t] + F x[t], y[t] = C s[t] + D x[t], one for each channel. Over
a block of K samples,

    y = H x + O s,  s' = A^K s + G x,

with H the lower triangular Toeplitz matrix of the impulse response, O_t = C A^t and
G_t = A^(K-1-t) F. What remains to be done one after the other are the states between blocks, which
a tree solves in log2 steps with twice the work of a loop (Blelloch, "Prefix sums and their
applications", CMU-CS-90-190, 1990).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

UNROLLED = 8
"""Up to this many blocks are written out: in a loop, its own bookkeeping would take longer."""
TREE = 128
"""From this many blocks on, their states are found by halving their number first."""


class Realisation(NamedTuple):
    """One filter a channel.

    Attributes:
        A: (*channels, p, p).
        F: (*channels, p).
        C: (*channels, p).
        D: (*channels).
    """

    A: Array
    F: Array
    C: Array
    D: Array


class StateSpace(NamedTuple):
    """A filter prepared for signals of one length.

    Attributes:
        respond: Hᵀ above Oᵀ, (*channels, K + p, K): rows are what is read and columns what comes
            of it, as fast products want their right side; turned, it would be copied each time.
        gather: G, (*channels, K, p).
        step: A^K, (*channels, p, p).
        rest: A^(length mod K), (*channels, p, p); A^K where nothing is left.
    """

    respond: Array
    gather: Array
    step: Array
    rest: Array


def block_size(order: int, length: int) -> int:
    """K: a block costs K + 2p + 2p²/K products a sample, and short blocks waste the processor.

    As many blocks of one length as come nearest to that: without a rest where the length allows.
    """
    return max(1, -(-length // _count(order, length)))


def whole_blocks(orders: Collection[int], length: int) -> int:
    """The greatest length up to the given one that blocks of all these orders fill without a rest.

    Where there is none within a quarter of it, the length itself.
    """
    for found in range(length, length - length // 4 - 1, -1):
        if found > 0 and fill(orders, found):
            return found
    return length


def fill(orders: Collection[int], length: int) -> bool:
    """Whether blocks of filters of all these orders fill a length without a rest."""
    return all(length % block_size(order, length) == 0 for order in orders)


def _count(order: int, length: int) -> int:
    return max(1, round(length / (64 if order >= 8 else 32)))


def prepare(realisation: Realisation, length: int) -> StateSpace:
    """Prepares a filter for signals of `length` samples."""
    A, F, C, D = realisation
    K = block_size(A.shape[-1], length)

    def further(rows: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Any]:
        row, column = rows
        following = product("...i,...ij->...j", row, A), product("...ij,...j->...i", A, column)
        return following, rows

    # Rows C A^t and columns A^t F. As a loop: what is unrolled here is compiled many times over.
    observe, gather = lax.scan(further, (C, F), length=K)[1]
    observe, gather = jnp.moveaxis(observe, 0, -2), jnp.moveaxis(jnp.flip(gather, 0), 0, -2)
    tail = product("...ti,...i->...t", observe[..., : K - 1, :], F)
    impulse = jnp.concatenate([D[..., None], tail], axis=-1)
    lag = np.arange(K)[:, None] - np.arange(K)
    respond = jnp.where(lag.T >= 0, impulse[..., np.maximum(lag.T, 0)], 0)
    respond = jnp.concatenate([respond, jnp.swapaxes(observe, -1, -2)], axis=-2)
    step = _power(A, K)
    rest = _power(A, length % K) if length % K else step
    return StateSpace(respond, gather, step, rest)


def _power(A: Array, exponent: int) -> Array:
    """A^exponent, exponent ≥ 1, by squaring."""
    bits = np.array([bit == "1" for bit in reversed(bin(exponent)[2:])])
    start = jnp.broadcast_to(jnp.eye(A.shape[-1], dtype=A.dtype), A.shape)

    def square(both: tuple[Array, Array], bit: Array) -> tuple[tuple[Array, Array], None]:
        found, power = both
        found = jnp.where(bit, product("...ij,...jk->...ik", found, power), found)
        return (found, product("...ij,...jk->...ik", power, power)), None

    return lax.scan(square, (start, A), jnp.asarray(bits))[0][0]


def filter_block(state: Array, x: Array, prepared: StateSpace) -> tuple[Array, Array]:
    """Runs a prepared filter.

    Args:
        state: s before the first sample, (*channels, p).
        x: (*channels, time), of the length prepared for.
        prepared: The filter.

    Returns:
        s after the last sample, and y.
    """
    length, order = x.shape[-1], state.shape[-1]
    if length == 0:
        return state, x
    if order == 0:
        return state, prepared.respond[..., :1, 0] * x
    K = prepared.gather.shape[-2]
    count = -(-length // K)
    blocks = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, count * K - length)])
    blocks = blocks.reshape(*x.shape[:-1], count, K)
    rest = length - (count - 1) * K
    fed = product("...nt,...ti->...ni", blocks[..., : count - (rest < K), :], prepared.gather)
    states = states_between(prepared.step, fed, state)
    last, states = states[..., -1, :], states[..., :count, :]
    both = jnp.concatenate([blocks, states], axis=-1)
    y = product("...nt,...ts->...ns", both, prepared.respond)
    y = y.reshape(*x.shape[:-1], count * K)[..., :length]
    if rest < K:
        last = product("...ij,...j->...i", prepared.rest, last)
        last_block = blocks[..., -1, :rest]
        last = last + product("...ti,...t->...i", prepared.gather[..., K - rest :, :], last_block)
    return last, y


@jax.custom_jvp
def states_between(A: Array, fed: Array, start: Array) -> Array:
    """s_0 = start, s_{n+1} = A s_n + fed_n: (*channels, count + 1, p)."""
    if fed.shape[-2] < TREE:
        return _states_in_turn(A, fed, start)
    # Every second state follows the same law, with A² and A fed_{2n} + fed_{2n+1}; those between
    # are one step further.
    count = fed.shape[-2]
    pairs = -(-count // 2)
    fed = jnp.pad(fed, [(0, 0)] * (fed.ndim - 2) + [(0, 2 * pairs - count), (0, 0)])
    even, odd = fed[..., 0::2, :], fed[..., 1::2, :]
    square = product("...ij,...jk->...ik", A, A)
    second = states_between(square, product("...ni,...ji->...nj", even, A) + odd, start)
    between = product("...ni,...ji->...nj", second[..., :-1, :], A) + even
    mixed = jnp.stack([second[..., :-1, :], between], axis=-2)
    mixed = mixed.reshape(*fed.shape[:-2], 2 * pairs, fed.shape[-1])
    return jnp.concatenate([mixed, second[..., -1:, :]], axis=-2)[..., : count + 1, :]


@states_between.defjvp
def _states_jvp(primals: Sequence[Array], tangents: Sequence[Array]) -> tuple[Array, Array]:
    """ṡ_{n+1} = A ṡ_n + (Ȧ s_n + ḟ_n): the same recursion.

    So the gradient of A is one product over all states; that of the loop as it is written would be
    added up state by state.
    """
    A, fed, start = primals
    of_A, of_fed, of_start = tangents
    states = states_between(A, fed, start)
    moved = product("...ni,...ji->...nj", states[..., :-1, :], of_A)
    return states, states_between(A, moved + of_fed, of_start)


def _states_in_turn(A: Array, fed: Array, start: Array) -> Array:
    def step(state: Array, added: Array) -> tuple[Array, Array]:
        return product("...ij,...j->...i", A, state) + added, state

    if fed.shape[-2] <= UNROLLED:
        found = [start]
        for n in range(fed.shape[-2]):
            found.append(step(found[-1], fed[..., n, :])[0])
        return jnp.stack(found, axis=-2)
    last, states = lax.scan(step, start, jnp.moveaxis(fed, -2, 0))
    return jnp.moveaxis(jnp.concatenate([states, last[None]]), 0, -2)


def product(subscripts: str, left: Array, right: Array) -> Array:
    """An einsum in full precision."""
    return jnp.einsum(subscripts, left, right, precision="highest")
