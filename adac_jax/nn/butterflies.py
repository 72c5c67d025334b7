"""Mixing matrices that are products of log2 N stages of 2 × 2 matrices; O(N log N)."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax.nn.square import Square, parameter


class Hadamard(Square):
    """M = H / sqrt(N), H Sylvester's matrix of ±1, by butterflies; O(N log N). No parameters.

    H_1 = 1, H_2N = [[H_N, H_N], [H_N, -H_N]].

    Args:
        n: Channels, a power of two.

    Raises:
        ValueError: `n` is no power of two.
    """

    def __init__(self, n: int) -> None:
        super().__init__(n)
        _stages("Hadamard", n)

    def __call__(self, x: Float[Array, "time n"]) -> Float[Array, "time n"]:
        """Mixes the channels of each sample."""
        for stage in range(_stages("Hadamard", self.inputs)):
            x = _butterfly(x, 1 << stage, lambda a, b: (a + b, a - b))
        return x * self.inputs**-0.5


class Rotation(Square):
    """A Kronecker product of plane rotations, R(θ_0) ⊗ … ⊗ R(θ_{K-1}), K = log2 N; O(N log N).

    R(θ) = [[cos θ, sin θ], [-sin θ, cos θ]]. Each factor is one stage of butterflies, as in a
    Hadamard transform, whose entries are those of M at θ = π/4 but for signs; θ = 0 is the
    identity. So K angles go from no mixing to full mixing, and M is orthogonal for all of them.

    Args:
        n: Channels, a power of two.
        angles: θ in radians, one for all stages or (K,); π/4 by default.

    Raises:
        ValueError: `n` is no power of two, or `angles` has another shape.
    """

    def __init__(self, n: int, *, angles: ArrayLike = np.pi / 4) -> None:
        super().__init__(n)
        stages = _stages("Rotation", n)
        angles = np.full(stages, angles) if np.ndim(angles) == 0 else angles
        self.angles = parameter("angles", angles, (stages,))

    def __call__(self, x: Float[Array, "time n"]) -> Float[Array, "time n"]:
        """Mixes the channels of each sample."""
        angles = self.angles[...]
        cosines, sines = (jnp.asarray(f(angles), x.dtype) for f in (jnp.cos, jnp.sin))
        for k in range(len(angles)):
            c, s = cosines[k], sines[k]
            x = _butterfly(
                x,
                self.inputs >> (k + 1),
                lambda a, b, c=c, s=s: (c * a + s * b, c * b - s * a),
            )
        return x


def _stages(name: str, n: int) -> int:
    """log2 n.

    Raises:
        ValueError: n is no power of two.
    """
    if n & (n - 1):
        raise ValueError(f"`n` (={n}) must be a power of two for a {name} matrix.")
    return n.bit_length() - 1


def _butterfly(x: Array, half: int, mix: Callable[[Array, Array], tuple[Array, Array]]) -> Array:
    """Replaces channels k and k + half, in each group of 2 · half, by what `mix` makes of them."""
    *leading, n = x.shape
    a, b = jnp.split(x.reshape(*leading, n // (2 * half), 2 * half), 2, axis=-1)
    return jnp.concatenate(mix(a, b), axis=-1).reshape(*leading, n)
