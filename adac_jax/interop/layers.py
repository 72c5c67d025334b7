"""Flax layers made of given weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from adac_jax.interop.cells import GRUCell, Recurrent
from adac_jax.nn.parameters import param

ZEROS = nnx.initializers.zeros_init()
"""Until the weights are set; drawing random ones takes longer than reading the document."""


def linear(kernel: np.ndarray, bias: np.ndarray | None = None) -> nnx.Linear:
    """A matrix: y = x K + b.

    Args:
        kernel: K, (inputs, outputs).
        bias: b, (outputs,); none if None.
    """
    layer = nnx.Linear(
        *kernel.shape,
        use_bias=bias is not None,
        kernel_init=ZEROS,
        param_dtype=_float(),
        rngs=nnx.Rngs(0),
    )
    _set(layer, kernel=kernel, bias=bias)
    return layer


def conv(
    kernel: np.ndarray, bias: np.ndarray | None = None, *, dilation: int = 1, groups: int = 1
) -> nnx.Conv:
    """Causal: y_o[t] = b_o + Σ_k Σ_i K_kio x_i[t - (count - 1 - k) dilation], the newest tap last.

    Args:
        kernel: K, (count, inputs / groups, outputs).
        bias: b, (outputs,); none if None.
        dilation: Samples from tap to tap.
        groups: The channels are dealt out, inputs and outputs alike, in order.
    """
    count, inputs, outputs = kernel.shape
    layer = nnx.Conv(
        inputs * groups,
        outputs,
        kernel_size=(count,),
        kernel_dilation=(dilation,),
        feature_group_count=groups,
        padding="CAUSAL",
        kernel_init=ZEROS,
        use_bias=bias is not None,
        param_dtype=_float(),
        rngs=nnx.Rngs(0),
    )
    _set(layer, kernel=kernel, bias=bias)
    return layer


def lstm(
    kernel: np.ndarray,
    recurrent: np.ndarray,
    bias: np.ndarray,
    start: Sequence[np.ndarray] | None = None,
) -> Recurrent:
    """A long short-term memory, with gates in the order i, f, g, o.

    i, f, o = σ(…), g = tanh(…) of x W + h U + b; c' = f c + i g; h' = o tanh(c').

    Args:
        kernel: W, (inputs, 4 H).
        recurrent: U, (H, 4 H).
        bias: b, (4 H,).
        start: c and h before the first sample, (H,) each; zeros if None.
    """
    cell = nnx.OptimizedLSTMCell(
        kernel.shape[0],
        recurrent.shape[0],
        kernel_init=ZEROS,
        recurrent_kernel_init=ZEROS,
        param_dtype=_float(),
        rngs=nnx.Rngs(0),
    )
    _set(cell.dense_i, kernel=kernel)
    _set(cell.dense_h, kernel=recurrent, bias=bias)
    return Recurrent(cell, 2, start)


def gru(
    kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray, recurrent_bias: np.ndarray
) -> Recurrent:
    """A gated recurrent unit, with gates in the order r, z, n: see `GRUCell`.

    Args:
        kernel: W, (inputs, 3 H).
        recurrent: U, (H, 3 H).
        bias: b, (3 H,).
        recurrent_bias: c, (3 H,).
    """
    cell = GRUCell(kernel.shape[0], recurrent.shape[0], param_dtype=_float(), rngs=nnx.Rngs(0))
    _set(cell.dense_i, kernel=kernel, bias=bias)
    _set(cell.dense_h, kernel=recurrent, bias=recurrent_bias)
    return Recurrent(cell)


def batch_norm(
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
    scale: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> nnx.BatchNorm:
    """Each channel: y = γ (x - μ) / √(v + ε) + β, with μ and v of training; all (channels,)."""
    layer = nnx.BatchNorm(
        len(mean),
        use_running_average=True,
        epsilon=epsilon,
        use_scale=scale is not None,
        use_bias=bias is not None,
        param_dtype=_float(),
        rngs=nnx.Rngs(0),
    )
    _set(layer, mean=mean, var=variance, scale=scale, bias=bias)
    return layer


class PReLU(nnx.Module):
    """y = x where x ≥ 0, else α x.

    Args:
        slope: α, (channels,) or (1,).
    """

    def __init__(self, slope: np.ndarray) -> None:
        self.slope = param(slope)

    def __call__(self, x: Array) -> Array:
        """Applies it."""
        return jnp.where(x >= 0, x, x * self.slope[...])


class Activation(nnx.Module):
    """A function of each sample that has no parameters.

    Args:
        name: One of `ACTIVATIONS`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, x: Array) -> Array:
        """Applies it."""
        return ACTIVATIONS[self.name](x)


def _softmax(x: Array) -> Array:
    e = jnp.exp(x - jnp.max(x, axis=-1, keepdims=True))
    return e / jnp.sum(e, axis=-1, keepdims=True)


def _fast_tanh(x: Array) -> Array:
    """The rational function that NeuralAmpModelerCore calls so (`NAM/activations.h`)."""
    size, square = jnp.abs(x), x * x
    above = 2.45550750702956 * (1 + size) + (0.893229853513558 + 0.821226666969744 * size) * square
    within = jnp.abs(x + 0.814642734961073 * x * size)
    return x * above / (2.44506634652299 + (2.44506634652299 + square) * within)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": lambda x: jnp.maximum(x, 0),
    "elu": lambda x: jnp.where(x > 0, x, jnp.expm1(jnp.minimum(x, 0))),
    "softmax": _softmax,
    "hard_tanh": lambda x: jnp.clip(x, -1, 1),
    "fast_tanh": _fast_tanh,
    "silu": lambda x: x * jax.nn.sigmoid(x),
    "hard_swish": lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
}


def _float() -> np.dtype:
    return jnp.result_type(float)


def _set(layer: nnx.Module, **values: np.ndarray | None) -> None:
    for name, value in values.items():
        if value is not None:
            variable = getattr(layer, name)
            if variable[...].shape != value.shape:
                raise ValueError(f"`{name}` of shape {value.shape} does not fit its layer.")
            variable[...] = jnp.asarray(value, variable[...].dtype)
