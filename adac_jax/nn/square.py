"""What mixing matrices share: one that is known by what it does, and how parameters are made."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax.nn.module import Module


def apply_matrix(x: Array, M: Array) -> Array:
    """y_o[t] = sum_i M_oi x_i[t], in full precision on every device."""
    return jnp.tensordot(x, jnp.asarray(M, x.dtype), axes=((-1,), (1,)), precision="highest")


def normal(rngs: nnx.Rngs | None, shape: tuple[int, ...]) -> Array:
    """Normal numbers of variance 1, of the default float type."""
    key = (nnx.Rngs(0) if rngs is None else rngs).params()
    return jax.random.normal(key, shape)


def parameter(name: str, value: ArrayLike, shape: tuple[int, ...]) -> nnx.Param[Array]:
    """A trainable array of one shape.

    Raises:
        ValueError: it has another shape.
    """
    array = jnp.asarray(value)
    if array.shape != shape:
        raise ValueError(f"`{name}` has the shape {array.shape} but must be {shape}.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(float)
    return nnx.Param(array)


class Square(Module):
    """A matrix that is known by what it does to a signal."""

    def __init__(self, n: int) -> None:
        if n != int(n) or n < 1:
            raise ValueError(f"`n` (={n}) must be a whole number of channels, at least 1.")
        self.inputs = self.outputs = int(n)

    def __call__(self, x: Float[Array, "time n"]) -> Float[Array, "time n"]:
        """Mixes the channels of each sample."""
        return apply_matrix(x, self.matrix())

    def matrix(self) -> Float[Array, "n n"]:
        """The dense equivalent M."""
        own = jax.tree.leaves(nnx.state(self, nnx.Param))
        dtype = own[0].dtype if own else float
        return self(jnp.eye(self.inputs, dtype=dtype)).T
