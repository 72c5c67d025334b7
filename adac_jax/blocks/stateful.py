"""What the operations of time do to a block, and the state they hand on.

Each has three parts: `start` makes the state before the first sample; `prepare` computes once,
outside all loops, what depends on coefficients alone; `step` turns (state, block) into
(state, block).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

from adac_jax import kernels
from ir import Node

Start = Callable[[Node, tuple[Array, ...], Any], Any]
Prepare = Callable[[Node, tuple[Array, ...], int], Any]
Step = Callable[[Node, Any, Any, Array, tuple[Array, ...]], tuple[Any, Array]]


def _nothing(node: Node, coefficients: tuple[Array, ...], length: int) -> None:
    return None


@dataclass(frozen=True)
class Stateful:
    """The rule of one operation.

    Attributes:
        start: (node, further inputs, dtype) -> state.
        prepare: (node, further inputs, block length) -> prepared.
        step: (node, state, prepared, block, further inputs) -> (state, block).
    """

    start: Start
    step: Step
    prepare: Prepare = _nothing


def _delay_start(node: Node, rest: tuple[Array, ...], dtype: Any) -> Array:
    samples = node.ints("samples")
    history = max(samples, default=0)
    past = jnp.zeros((*node.shape, history), dtype)
    if not rest:
        return past
    # initial_i[t] is due at sample t, so it lies m_i - t samples back in line i.
    flat = past.reshape(len(samples), history)
    initial = jnp.moveaxis(rest[0], 0, -1).reshape(len(samples), history).astype(dtype)
    for k, m in enumerate(samples):
        flat = flat.at[k, history - m :].set(initial[k, :m])
    return flat.reshape(past.shape)


def _delay_step(node: Node, state: Array, _: None, x: Array, rest: Any) -> tuple[Array, Array]:
    return kernels.delay(state, x, node.ints("samples"))


def _variable_start(node: Node, rest: tuple[Array, ...], dtype: Any) -> Array:
    return jnp.zeros((*node.shape, node.int("maximum")), dtype)


def _variable_step(
    node: Node, state: Array, _: None, x: Array, rest: tuple[Array, ...]
) -> tuple[Array, Array]:
    d = rest[0] if rest[0].ndim == x.ndim else rest[0][..., None]
    return kernels.variable_delay(state, x, d, node.int("minimum"), node.int("maximum"))


def _fir_start(node: Node, rest: tuple[Array, ...], dtype: Any) -> Array:
    return jnp.zeros((*node.shape, len(rest[0]) - 1), dtype)


def _fir_step(
    node: Node, state: Array, _: None, x: Array, rest: tuple[Array, ...]
) -> tuple[Array, Array]:
    return kernels.fir(state, x, jnp.moveaxis(rest[0], 0, -1))


def _iir_start(node: Node, rest: tuple[Array, ...], dtype: Any) -> Array:
    if len(rest) == 3:
        return kernels.enter(rest[2])
    return jnp.zeros((*node.shape, len(rest[0]) - 1), dtype)


def _sos_start(node: Node, rest: tuple[Array, ...], dtype: Any) -> Array:
    if len(rest) == 2:
        return kernels.enter_sections(rest[1])
    return jnp.zeros((*node.shape, 2 * len(rest[0])), dtype)


STATEFUL = {
    "delay": Stateful(_delay_start, _delay_step),
    "variable_delay": Stateful(_variable_start, _variable_step),
    "fir": Stateful(_fir_start, _fir_step),
    "iir": Stateful(
        _iir_start,
        lambda node, state, prepared, x, rest: kernels.filter_block(state, x, prepared),
        lambda node, rest, length: kernels.prepare_iir(rest[0], rest[1], length),
    ),
    "sos": Stateful(
        _sos_start,
        lambda node, state, prepared, x, rest: kernels.filter_block(state, x, prepared),
        lambda node, rest, length: kernels.prepare_sos(rest[0], length),
    ),
}
"""The rule of each operation of time."""
