"""Recurrent layers that hold what other programs train: two biases, and a first state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from adac_jax.nn.parameters import param


class GRUCell(nnx.GRUCell):
    """A gated recurrent unit with a bias on the state too, as PyTorch and Keras train it.

    r = σ(W_r x + b_r + U_r h + c_r), z = σ(W_z x + b_z + U_z h + c_z),
    n = tanh(W_n x + b_n + r (U_n h + c_n)), h' = (1 - z) n + z h.

    Flax's cell has no c: c_r and c_z could be added to b_r and b_z, but c_n is multiplied by r.
    PyTorch, `torch.nn.GRU`; Keras, `GRU(reset_after=True)`; RTNeural, `RTNeural/gru/gru.h`.
    """

    def __init__(
        self, in_features: int, hidden_features: int, *, param_dtype: Any, rngs: nnx.Rngs
    ) -> None:
        zeros = nnx.initializers.zeros_init()  # weights are given, never drawn
        super().__init__(
            in_features,
            hidden_features,
            kernel_init=zeros,
            recurrent_kernel_init=zeros,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.dense_h = nnx.Linear(
            hidden_features,
            3 * hidden_features,
            kernel_init=zeros,
            param_dtype=param_dtype,
            rngs=rngs,
        )


class Recurrent(nnx.Module):
    """A cell run over time from a given state, which is trained with it, or from rest.

    Args:
        cell: Of Flax's protocol; its state is one array of H numbers, or `states` of them.
        states: How many arrays: 1 for a GRU, 2 (memory, output) for an LSTM.
        start: The first state, (H,) each; zeros that are no parameters if None.
    """

    def __init__(
        self, cell: Any, states: int = 1, start: Sequence[np.ndarray] | None = None
    ) -> None:
        self.cell = cell  # not under nnx.RNN, which keeps a generator and cannot be closed over
        self.hidden = int(cell.hidden_features)
        self.states = states
        self.start = nnx.data(None) if start is None else nnx.List([param(s) for s in start])

    def __call__(self, x: Float[Array, "*batch time inputs"]) -> Float[Array, "*batch time hidden"]:
        """Runs over time."""
        shape = (*x.shape[:-2], self.hidden)
        if self.start is None:
            states = [jnp.zeros(shape, x.dtype)] * self.states
        else:
            states = [jnp.broadcast_to(s[...].astype(x.dtype), shape) for s in self.start]
        carry = tuple(states) if self.states > 1 else states[0]
        _, y = jax.lax.scan(self.cell, carry, jnp.moveaxis(x, -2, 0))
        return jnp.moveaxis(y, 0, -2)
