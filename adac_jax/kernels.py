"""The operations of time on whole blocks, in plain `jax.numpy`.

Each takes and returns its state, so that a signal cut into blocks of any lengths gives what the
whole signal gives. Time is axis 0, channels follow; nothing here loops over samples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

SLICES = 256
"""Up to this many channels a ragged delay is read by slices (copies of runs), above by a gather."""
FIR_DIRECT = 48
"""Up to this many taps a sum of shifted products; above, a product of spectra."""
IIR_BLOCK = 32
"""Samples that a recursive filter computes at once, by one small matrix."""


def delay_read(past: Array, samples: tuple[int, ...], length: int) -> Array:
    """Reads `length` samples of delay lines that end at the present.

    Args:
        past: (history, *channels): the last samples before the block, and the block's own as far
            as they are known. Sample t of the block is at `past[history + t]`.
        samples: A delay for each channel, at most `history`, row-major.
        length: Samples to read; needs `past` to hold `history + length - min(samples)` samples.
    """
    history = max(samples, default=0)
    channels = past.shape[1:]
    if len(set(samples)) <= 1:
        start = history - (samples[0] if samples else 0)
        return past[start : start + length]
    flat = past.reshape(len(past), -1)
    starts = [history - m for m in samples]
    if len(samples) <= SLICES:
        lines = [flat[s : s + length, k] for k, s in enumerate(starts)]
        return jnp.stack(lines, axis=1).reshape(length, *channels)
    rows = jnp.arange(length)[:, None] + jnp.array(starts)
    return flat[rows, jnp.arange(len(samples))].reshape(length, *channels)


def delay(past: Array, x: Array, samples: tuple[int, ...]) -> tuple[Array, Array]:
    """y_i[t] = x_i[t - samples_i]; `past` (max(samples), *channels) is the state."""
    joined = jnp.concatenate([past.astype(x.dtype), x])
    return joined[len(x) :], delay_read(joined, samples, len(x))


def variable_delay(past: Array, x: Array, d: Array, low: int, high: int) -> tuple[Array, Array]:
    """y[t] = x[t - clip(d[t], low, high)]; state (high, *channels), d integers."""
    joined = jnp.concatenate([past.astype(x.dtype), x])
    flat = joined.reshape(len(joined), -1)
    lengths = jnp.clip(jnp.broadcast_to(d, x.shape).reshape(len(x), -1), low, high)
    rows = jnp.arange(len(x), dtype=lengths.dtype)[:, None] + high - lengths
    y = flat[rows, jnp.arange(flat.shape[1])].reshape(x.shape)
    return joined[len(x) :], y


def fir(past: Array, x: Array, taps: Array) -> tuple[Array, Array]:
    """y[t] = sum_k taps[k] x[t - k]; taps (count, *channels), `past` (count - 1, *channels)."""
    joined = jnp.concatenate([past.astype(x.dtype), x])
    count = len(taps)
    if count <= FIR_DIRECT or len(x) <= FIR_DIRECT:
        y = sum(taps[k] * joined[count - 1 - k : count - 1 - k + len(x)] for k in range(count))
    else:
        size = _fast_length(len(joined))
        spectrum = jnp.fft.rfft(joined, size, axis=0) * jnp.fft.rfft(taps, size, axis=0)
        # The first count - 1 samples hold what wraps round and what came before the block.
        y = jnp.fft.irfft(spectrum, size, axis=0)[count - 1 : count - 1 + len(x)].astype(x.dtype)
    return joined[len(x) :], jnp.asarray(y)


def _fast_length(n: int) -> int:
    """The least 2^a 3^b 5^c that is at least n."""
    best = 1 << (n - 1).bit_length()
    for five in range(4):
        for three in range(6):
            odd = 5**five * 3**three
            best = min(best, odd << max(0, math.ceil(math.log2(n / odd))))
    return best


class IIRBlock(NamedTuple):
    """A recursive filter of order p, prepared for blocks of K samples: y = H x + O s.

    Attributes:
        response: (*channels, K, K): output of the block from its input, lower triangular.
        observe: (*channels, K, p): output of the block from the state before it.
        powers: (*channels, K + 1, p, p): A^t.
        feed: (*channels, p): the state after a unit sample.
    """

    response: Array
    observe: Array
    powers: Array
    feed: Array


def prepare_iir(b: Array, a: Array, block: int) -> IIRBlock:
    """Prepares coefficients b, a (p + 1, *channels) for blocks of `block` samples.

    The state of the transposed direct form II, as in scipy.signal.lfilter, is
    y = b0 x + s_0,  s_i ← s_{i+1} + b_{i+1} x - a_{i+1} y. Of order two it is kept as
    (s_0, s_0 + s_1), see `enter`.
    """
    order = len(b) - 1
    # Row by row: XLA turns a division by a broadcast value into a product with its reciprocal, one
    # rounding off, and 1 + a1 + a2 multiplies that by up to 60,000.
    b, a = (jnp.stack([row / a[0] for row in c]) for c in (b, a))
    b, a = jnp.moveaxis(b, 0, -1), jnp.moveaxis(a, 0, -1)
    if order == 0:
        channels, eye = b.shape[:-1], jnp.eye(block, dtype=b.dtype)
        empty = jnp.zeros((*channels, block, 0), b.dtype)
        powers = jnp.zeros((*channels, block + 1, 0, 0), b.dtype)
        return IIRBlock(b[..., None] * eye, empty, powers, b[..., 1:])
    shift = jnp.eye(order, order, 1, dtype=b.dtype)
    first = jnp.zeros((1, order), b.dtype).at[:, :1].set(1)
    A = shift - a[..., 1:, None] * first
    feed = b[..., 1:] - a[..., 1:] * b[..., :1]
    if order == 2:
        # In the coordinates of `enter`, differences that nearly cancel are taken before products.
        row = jnp.stack([-(1 + a[..., 1]), jnp.ones_like(a[..., 1])], axis=-1)
        last = jnp.stack([-(1 + a[..., 1] + a[..., 2]), jnp.ones_like(a[..., 1])], axis=-1)
        A = jnp.stack([row, last], axis=-2)
        dc = b[..., 0] + b[..., 1] + b[..., 2] + last[..., 0] * b[..., 0]
        feed = jnp.stack([feed[..., 0], dc], axis=-1)
    powers = jnp.broadcast_to(jnp.eye(order, dtype=b.dtype), (*A.shape[:-2], 1, order, order))
    powers = jnp.concatenate([powers, A[..., None, :, :]], axis=-3)
    while powers.shape[-3] < block + 1:
        more = jnp.matmul(powers[..., -1:, :, :], powers[..., 1:, :, :], precision="highest")
        powers = jnp.concatenate([powers, more], axis=-3)
    powers = powers[..., : block + 1, :, :]
    observe = powers[..., :block, 0, :]
    tail = jnp.einsum("...ti,...i->...t", observe[..., : block - 1, :], feed, precision="highest")
    impulse = jnp.concatenate([b[..., :1], tail], axis=-1)
    lag = np.arange(block)[:, None] - np.arange(block)
    response = jnp.where(lag >= 0, impulse[..., np.maximum(lag, 0)], 0)
    return IIRBlock(response, observe, powers, feed)


_ENTER = np.array([[1, 0], [1, 1]])
_LEAVE = np.array([[1, 0], [-1, 1]])


def enter(state: Array) -> Array:
    """The state (order, *channels) of the transposed direct form II in the coordinates used here.

    At low frequencies a second-order section moves little from sample to sample: its matrix is
    close to [[2, 1], [-1, 0]], whose powers cancel to nothing. For (s_0, s_0 + s_1) it is close to
    [[1, 1], [0, 1]], and rounding is smaller by the pole's angle, 250 times at 31 Hz and 48 kHz.
    """
    return _moved(_ENTER, state, axis=0) if len(state) == 2 else state


def leave(state: Array) -> Array:
    """Undoes `enter`."""
    return _moved(_LEAVE, state, axis=0) if len(state) == 2 else state


def _moved(matrix: np.ndarray, state: Array, axis: int = -1) -> Array:
    first, second = jnp.moveaxis(state, axis, 0)
    rows = [row[0] * first + row[1] * second for row in matrix.tolist()]
    return jnp.stack(rows, axis=axis)


def iir_block_size(length: int) -> int:
    """The block length to prepare for, given a signal's length."""
    return max(1, min(length, IIR_BLOCK))


def iir(state: Array, x: Array, filter_: IIRBlock) -> tuple[Array, Array]:
    """Runs a prepared filter; `state` (p, *channels) as `enter` makes it, x (time, *channels).

    Within a block the output is one matrix product; the states between blocks follow
    s_{n+1} = A^K s_n + g_n, solved in log2(blocks) steps by doubling.
    """
    length, order = len(x), filter_.feed.shape[-1]
    K = filter_.response.shape[-1]
    if order == 0:
        return state, filter_.response[..., 0, 0] * x
    if length == 0:
        return state, x
    count = -(-length // K)
    blocks = jnp.moveaxis(jnp.pad(x, [(0, count * K - length)] + [(0, 0)] * (x.ndim - 1)), 0, -1)
    blocks = blocks.reshape(*x.shape[1:], count, K)
    # gather[t] = A^(K-1-t) feed: what a sample t of a block adds to the state after the block.
    gather = _product("...tij,...j->...ti", filter_.powers[..., K - 1 :: -1, :, :], filter_.feed)
    start = jnp.moveaxis(state, 0, -1)
    gains = _product("...nt,...ti->...ni", blocks[..., : count - 1, :], gather)
    states = jnp.concatenate([start[..., None, :], gains], axis=-2)
    step, reach = filter_.powers[..., K, :, :], 1
    while reach < count:
        moved = _product("...ij,...nj->...ni", step, states[..., :-reach, :])
        states = states + jnp.pad(moved, [(0, 0)] * (states.ndim - 2) + [(reach, 0), (0, 0)])
        step, reach = jnp.matmul(step, step, precision="highest"), 2 * reach
    y = _product("...st,...nt->...ns", filter_.response, blocks)
    y = y + _product("...si,...ni->...ns", filter_.observe, states)
    y = jnp.moveaxis(y.reshape(*x.shape[1:], count * K)[..., :length], -1, 0)
    rest = length - (count - 1) * K
    last = _product("...ij,...j->...i", filter_.powers[..., rest, :, :], states[..., -1, :])
    last = last + _product("...ti,...t->...i", gather[..., K - rest :, :], blocks[..., -1, :rest])
    return jnp.moveaxis(last, -1, 0), y


def _product(subscripts: str, left: Array, right: Array) -> Array:
    return jnp.einsum(subscripts, left, right, precision="highest")


def prepare_sos(sos: Array, block: int) -> IIRBlock:
    """Prepares all sections (sections, 6, *channels): the fields get a leading section axis."""
    return jax.vmap(lambda s: prepare_iir(s[:3], s[3:], block))(sos)


def sos(state: Array, x: Array, filter_: IIRBlock) -> tuple[Array, Array]:
    """Runs a cascade; `state` (sections, 2, *channels), each as `enter` makes it."""

    def section(signal: Array, part: tuple[Array, IIRBlock]) -> tuple[Array, Array]:
        after, y = iir(part[0], signal, part[1])
        return y, after

    y, states = jax.lax.scan(section, x, (state, filter_))
    return states, y
