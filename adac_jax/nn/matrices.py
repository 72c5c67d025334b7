"""Mixing matrices: y[t] = M x[t], each computed by its own structure.

A matrix is applied as it is built, so a reflection stays O(N) and a butterfly O(N log N) in the
graph and in what is emitted; `matrix()` gives the dense equivalent.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax import designs
from adac_jax.nn.butterflies import Hadamard, Rotation
from adac_jax.nn.module import Module
from adac_jax.nn.square import Square, apply_matrix, normal, parameter


class Matrix(Module):
    """A free matrix, every entry trainable: y[t] = W x[t]; O(outputs · inputs).

    Args:
        outputs: Rows.
        inputs: Columns.
        weight: W, (outputs, inputs); by default normal of variance 1 / inputs.
        rngs: Where random numbers come from; `nnx.Rngs(0)` if None.

    Raises:
        ValueError: `weight` has another shape.
    """

    def __init__(
        self,
        outputs: int,
        inputs: int,
        *,
        weight: ArrayLike | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        self.inputs, self.outputs = int(inputs), int(outputs)
        shape = (self.outputs, self.inputs)
        scale = max(1, self.inputs) ** -0.5
        value = scale * normal(rngs, shape) if weight is None else weight
        self.weight = parameter("weight", value, shape)

    def __call__(self, x: Float[Array, "time inputs"]) -> Float[Array, "time outputs"]:
        """Mixes the channels of each sample."""
        return apply_matrix(x, self.weight[...])

    def matrix(self) -> Float[Array, "outputs inputs"]:
        """W."""
        return self.weight[...]


class Orthogonal(Square):
    """Any rotation: M = exp(S), S = U - Uᵀ with U the strictly upper part of `weight`; O(N²).

    exp of a skew-symmetric matrix is orthogonal with determinant 1, and every such matrix is one.

    Args:
        n: Channels.
        weight: (n, n), of which only entries above the diagonal count; by default normal of
            variance 1, from which M is far from the identity.
        rngs: Where random numbers come from; `nnx.Rngs(0)` if None.

    Raises:
        ValueError: `weight` has another shape.
    """

    def __init__(
        self, n: int, *, weight: ArrayLike | None = None, rngs: nnx.Rngs | None = None
    ) -> None:
        super().__init__(n)
        value = normal(rngs, (n, n)) if weight is None else weight
        self.weight = parameter("weight", value, (n, n))

    def matrix(self) -> Float[Array, "n n"]:
        """M."""
        upper = jnp.triu(self.weight[...], 1)
        return designs.rotation(upper - upper.T)


class Householder(Square):
    """A reflection: M = I - 2 v vᵀ / (vᵀ v), applied as x - 2 v (v·x) / (v·v); O(N).

    With v = (1, …, 1), the default, it is the matrix of Jot, "Efficient models for reverberation
    and distance rendering in computer music and virtual audio reality", ICMC 1997.

    Args:
        n: Channels.
        vector: v, (n,), not zero.

    Raises:
        ValueError: `vector` has another shape.
    """

    def __init__(self, n: int, *, vector: ArrayLike | None = None) -> None:
        super().__init__(n)
        self.vector = parameter("vector", np.ones(n) if vector is None else vector, (n,))

    def __call__(self, x: Float[Array, "time n"]) -> Float[Array, "time n"]:
        """Reflects each sample."""
        v = self.vector[...]
        w = jnp.asarray(2 * v / jnp.sum(v * v), x.dtype)
        v = jnp.asarray(v, x.dtype)
        projection = jnp.tensordot(x, v, axes=((-1,), (0,)), precision="highest")
        return x - projection[..., None] * w


class Circulant(Square):
    """Each row is the one before, moved right by one: M_ij = r[(j - i) mod N]; O(N²).

    With `orthogonal` the discrete Fourier transform R of r has magnitude 1 throughout, which makes
    M orthogonal: R_0 = R_{N/2} = 1, and R_k = exp(iφ_k), R_{N-k} its conjugate, for 0 < k < N/2.
    So a row is (1 + [N even] (-1)^m + 2 sum_k cos(2πkm/N + φ_k)) / N.

    Args:
        n: Channels.
        row: r, (n,), for a free matrix; by default normal of variance 1 / n.
        orthogonal: Whether M is orthogonal; then `row` must be left out.
        phases: φ in radians, ((n - 1) // 2,), for an orthogonal matrix; by default uniform.
        rngs: Where random numbers come from; `nnx.Rngs(0)` if None.

    Raises:
        ValueError: a shape does not fit, or both `row` and an orthogonal matrix are asked for.
    """

    def __init__(
        self,
        n: int,
        *,
        row: ArrayLike | None = None,
        orthogonal: bool = False,
        phases: ArrayLike | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        super().__init__(n)
        if (row is not None and orthogonal) or (phases is not None and not orthogonal):
            raise ValueError(
                f"`row` belongs to orthogonal=False and `phases` to True, not to {orthogonal}."
            )
        self.orthogonal = orthogonal
        if orthogonal:
            count = (n - 1) // 2
            uniform = np.pi * jax.scipy.special.erf(normal(rngs, (count,)) * 0.5**0.5)
            self.phases = parameter("phases", uniform if phases is None else phases, (count,))
        else:
            free = n**-0.5 * normal(rngs, (n,))
            self.row = parameter("row", free if row is None else row, (n,))

    def matrix(self) -> Float[Array, "n n"]:
        """M."""
        n = self.inputs
        shift = (np.arange(n) - np.arange(n)[:, None]) % n
        return (self._from_phases() if self.orthogonal else self.row[...])[shift]

    def _from_phases(self) -> Array:
        # The inverse DFT of a spectrum of magnitude 1 that is symmetric, written in reals.
        n, phases = self.inputs, self.phases[...]
        m = np.arange(n)
        ends = np.ones(n) + ((-1.0) ** m if n % 2 == 0 else 0.0)
        turns = np.outer(m, np.arange(1, len(phases) + 1)) % n * (2 * np.pi / n)
        waves = jnp.cos(jnp.asarray(turns, phases.dtype) + phases)
        return (jnp.asarray(ends, phases.dtype) + 2 * waves.sum(axis=-1)) / n


_SQUARE: dict[str, Callable[[int, nnx.Rngs | None], Module]] = {
    "orthogonal": lambda n, rngs: Orthogonal(n, rngs=rngs),
    "householder": lambda n, rngs: Householder(n),
    "hadamard": lambda n, rngs: Hadamard(n),
    "rotation": lambda n, rngs: Rotation(n),
    "circulant": lambda n, rngs: Circulant(n, orthogonal=True, rngs=rngs),
}


def square_matrix(matrix: str | Module | ArrayLike, n: int, rngs: nnx.Rngs | None = None) -> Module:
    """A module that mixes n channels: by name ("hadamard", …), from a dense array, or as it is.

    Raises:
        ValueError: there is no such name, or it takes or gives another number of channels.
    """
    if isinstance(matrix, str):
        if matrix not in _SQUARE:
            raise ValueError(f"`matrix` (={matrix!r}) must be one of {', '.join(_SQUARE)}.")
        return _SQUARE[matrix](n, rngs)
    module = matrix if isinstance(matrix, Module) else Matrix(n, n, weight=matrix)
    if (module.inputs, module.outputs) != (n, n):
        raise ValueError(
            f"`matrix` takes {module.inputs} channels and gives {module.outputs}, but there are "
            f"{n}."
        )
    return module
