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
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

UNROLLED = 8
"""Up to this many blocks are written out: in a loop, its own bookkeeping would take longer."""
TREE = 128
"""From this many blocks on, their states are found by halving their number first."""


VECTOR = 16
"""Numbers that one instruction takes at most, and that a line of the cache holds."""


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

    One a little shorter that fills the processor's vectors too is better. Where there is none
    within a quarter of it, the length itself.
    """
    near = range(length, length - length // 4 - 1, -1)
    filled = [found for found in near if found > 0 and fill(orders, found)]
    aligned = [n for n in filled if n % VECTOR == 0 and n >= length - length // 32]
    return next(iter(aligned or filled), length)


def fill(orders: Collection[int], length: int) -> bool:
    """Whether blocks of filters of all these orders fill a length without a rest."""
    return all(length % block_size(order, length) == 0 for order in orders)


def _count(order: int, length: int) -> int:
    return max(1, round(length / (64 if order >= 8 else 32)))


def prepare(realisation: Realisation, length: int) -> StateSpace:
    """Prepares a filter for signals of `length` samples."""
    A, F, C, D = realisation
    K = block_size(A.shape[-1], length)
    # Rows C A^t and columns A^t F, by doubling how many there are: a loop over them would take
    # K steps of next to nothing, and as many again for its derivative.
    squares = [A]
    while 2 ** len(squares) <= K:
        squares.append(product("...ij,...jk->...ik", squares[-1], squares[-1]))
    observe, gather = C[..., None, :], F[..., None, :]
    for square in squares:
        more = min(observe.shape[-2], K - observe.shape[-2])
        if more > 0:
            further = product("...ti,...ij->...tj", observe[..., :more, :], square)
            observe = jnp.concatenate([observe, further], axis=-2)
            further = product("...ti,...ji->...tj", gather[..., :more, :], square)
            gather = jnp.concatenate([gather, further], axis=-2)
    gather = jnp.flip(gather, -2)
    tail = product("...ti,...i->...t", observe[..., : K - 1, :], F)
    impulse = jnp.concatenate([D[..., None], tail], axis=-1)
    lag = np.arange(K)[:, None] - np.arange(K)
    respond = jnp.where(lag.T >= 0, impulse[..., np.maximum(lag.T, 0)], 0)
    respond = jnp.concatenate([respond, jnp.swapaxes(observe, -1, -2)], axis=-2)
    step = _power(squares, K)
    rest = _power(squares, length % K) if length % K else step
    return StateSpace(respond, gather, step, rest)


def _power(squares: Sequence[Array], exponent: int) -> Array:
    """A^exponent, exponent ≥ 1, from A, A² and so on."""
    taken = [square for n, square in enumerate(squares) if exponent >> n & 1]
    found = taken[0]
    for square in taken[1:]:
        found = product("...ij,...jk->...ik", found, square)
    return found


class Blocks(NamedTuple):
    """What a filter makes of K samples at a time.

    Attributes:
        read: Each K samples, then the state before them, (*channels, blocks, K + p).
        after: s after the last sample, (*channels, p).
        y: (*channels, blocks, K).
    """

    read: Array
    after: Array
    y: Array


def run_blocks(state: Array, x: Array, prepared: StateSpace, *, backwards: bool = False) -> Blocks:
    """Runs a prepared filter over whole blocks.

    Args:
        state: s before the first sample, (*channels, p).
        x: (*channels, blocks, K).
        prepared: The filter.
        backwards: Whether the last block is the first to be run. In each, the samples are taken
            as they lie.
    """
    fed = product("...nt,...ti->...ni", x, prepared.gather)
    states = states_between(prepared.step, jnp.flip(fed, -2) if backwards else fed, state)
    after, states = states[..., -1, :], states[..., :-1, :]
    read = jnp.concatenate([x, jnp.flip(states, -2) if backwards else states], axis=-1)
    return Blocks(read, after, product("...nt,...ts->...ns", read, prepared.respond))


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
    found = run_blocks(state, blocks, prepared)
    y = found.y.reshape(*x.shape[:-1], count * K)[..., :length]
    if rest == K:
        return found.after, y
    last = product("...ij,...j->...i", prepared.rest, found.read[..., -1, K:])
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
