"""How sparse a feedback matrix is."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def matrix_sparsity(A: Float[Array, "*batch N N"]) -> Float[Array, ""]:
    """Sparsity of an orthogonal matrix: 1 for a permutation, 0 if all |a_ij| = 1/√N.

        (Σ |a_ij| - N √N) / (N (1 - √N))

    as the mean over the batch. To minimise it gives dense matrices, and with them dense echoes.
    Source: Dal Santo, Prawda, Schlecht and Välimäki, "Differentiable feedback delay network for
    colorless reverberation" (DAFx 2023).

    Args:
        A: Orthogonal, N ≥ 2.

    Raises:
        ValueError: A is not square, or N is less than 2.
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2] or A.shape[-1] < 2:
        raise ValueError(f"`A` (shape {A.shape}) must be square, with N ≥ 2.")
    N = A.shape[-1]
    dense, sparse = N * math.sqrt(N), N
    return jnp.mean((jnp.sum(jnp.abs(A), axis=(-2, -1)) - dense) / (sparse - dense))
