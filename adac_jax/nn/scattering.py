"""Scattering: feedback matrices whose entries are short, lossless filters."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax.nn.delays import Delay
from adac_jax.nn.matrices import square_matrix
from adac_jax.nn.module import Module
from adac_jax.nn.naming import call


class Scattering(Module):
    """A cascade of mixing matrices and delays, run as such.

    A(z) = D_L(z) U_K D_K(z) … U_1 D_1(z) U_0 D_R(z), D_k(z) = diag(γ^m_ki z^-m_ki), D_L and D_R
    without γ: lossless where every U_k is orthogonal and γ = 1. Each entry is an FIR filter with up
    to N^K taps, for the cost of K + 1 matrices. Schlecht, Habets, "Scattering in feedback delay
    networks", IEEE/ACM TASLP 28, 2020.

    Args:
        shifts: m_k, (K, N), whole samples; K ≥ 0.
        matrix: U_0 … U_K: a name ("orthogonal", "hadamard", "householder", "rotation",
            "circulant") for all of them, or a sequence of K + 1 of names, arrays (N, N) or modules.
        left: Delays behind the last matrix, (N,) in samples; none if None. In a network, left_i and
            right_i lie in line i, so its absorption accounts for m_i + left_i + right_i.
        right: Delays before the first, likewise.
        gain_per_sample: γ, 0 < γ ≤ 1; with g_i = γ^m_i in the lines of a network all modes decay
            alike.
        rngs: Where random numbers come from; `nnx.Rngs(0)` if None.

    Raises:
        ValueError: the shapes do not fit, or a value is out of range.
    """

    def __init__(
        self,
        shifts: ArrayLike,
        *,
        matrix: str | Sequence[str | Module | ArrayLike] = "orthogonal",
        left: Sequence[int] | np.ndarray | None = None,
        right: Sequence[int] | np.ndarray | None = None,
        gain_per_sample: float = 1.0,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        m = np.asarray(shifts)
        if m.ndim != 2:
            raise ValueError(f"`shifts` has the shape {m.shape} but must be (stages, channels).")
        if not 0 < gain_per_sample <= 1:
            raise ValueError(f"`gain_per_sample` (={gain_per_sample}) must lie in 0 to 1.")
        stages, n = m.shape
        self.inputs = self.outputs = n
        self.gain_per_sample = float(gain_per_sample)
        rngs = nnx.Rngs(0) if rngs is None else rngs
        chosen = [matrix] * (stages + 1) if isinstance(matrix, str) else list(matrix)
        if len(chosen) != stages + 1:
            raise ValueError(
                f"`matrix` holds {len(chosen)} matrices, but {stages} stages need {stages + 1}."
            )
        self.matrices = nnx.List([square_matrix(u, n, rngs) for u in chosen])
        self.shifts = nnx.List([Delay(row) for row in m])
        self.left = None if left is None else _fitting("left", left, n)
        self.right = None if right is None else _fitting("right", right, n)

    def __call__(self, x: Float[Array, "time n"]) -> Float[Array, "time n"]:
        """Scatters the channels."""
        if self.right is not None:
            x = call("right", self.right, x)
        x = call("matrices.0", self.matrices[0], x)
        for k, shift in enumerate(self.shifts):
            x = self._shift(f"shifts.{k}", shift, x)
            x = call(f"matrices.{k + 1}", self.matrices[k + 1], x)
        return x if self.left is None else call("left", self.left, x)

    def taps(self) -> Float[Array, "taps n n"]:
        """The filters: y[t] = sum_k taps[k] x[t - k]."""
        own = jax.tree.leaves(nnx.state(self, nnx.Param))
        n = self.inputs
        impulses = jnp.zeros((n, self.length, n), own[0].dtype if own else float)
        impulses = impulses.at[np.arange(n), 0, np.arange(n)].set(1)
        return jax.vmap(self, out_axes=-1)(impulses)

    @property
    def length(self) -> int:
        """Samples from the first tap to the last that a filter may have."""
        parts = [*self.shifts, *(d for d in (self.left, self.right) if d is not None)]
        return 1 + sum(max(d.samples) for d in parts)

    def _shift(self, name: str, shift: Delay, x: Array) -> Array:
        x = call(name, shift, x)
        if self.gain_per_sample == 1:
            return x
        with jax.named_scope(name):
            return x * jnp.asarray(self.gain_per_sample ** np.array(shift.samples), x.dtype)


class VelvetScattering(Scattering):
    """Scattering whose taps lie apart like the pulses of velvet noise, without any two on one spot.

    m_ki = floor(s_k (i + r_ki)) L_k, r uniform in 0 to 1, L_1 = 1 and L_{k+1} = ceil(s_k N) L_k,
    with s_1 = `sparsity` and s_k = 1 thereafter. So stage k spreads what has come about before it,
    at most L_k samples long, over places that do not overlap: each filter has N^K taps of equal
    size, one in `sparsity` samples. The stages are Hadamard matrices where N is a power of two.
    Schlecht, Habets 2020: the velvet feedback matrix.

    Args:
        n: N, channels.
        stages: K ≥ 1.
        sparsity: Samples for each tap, at least 1: 1 is dense.
        matrix: As in `Scattering`; by default "hadamard", or "orthogonal" if N is no power of two.
        left: As in `Scattering`.
        right: As in `Scattering`.
        gain_per_sample: As in `Scattering`.
        seed: Of r.
        rngs: As in `Scattering`.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        n: int,
        stages: int = 2,
        *,
        sparsity: float = 3.0,
        matrix: str | Sequence[str | Module | ArrayLike] | None = None,
        left: Sequence[int] | np.ndarray | None = None,
        right: Sequence[int] | np.ndarray | None = None,
        gain_per_sample: float = 1.0,
        seed: int = 0,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        if matrix is None:
            matrix = "orthogonal" if n & (n - 1) else "hadamard"
        super().__init__(
            velvet_shifts(n, stages, sparsity, seed),
            matrix=matrix,
            left=left,
            right=right,
            gain_per_sample=gain_per_sample,
            rngs=rngs,
        )


def velvet_shifts(n: int, stages: int, sparsity: float, seed: int = 0) -> np.ndarray:
    """The shifts of `VelvetScattering`, (stages, n).

    Raises:
        ValueError: a value is out of range.
    """
    if n < 1 or stages < 1 or not 1 <= sparsity < np.inf:
        raise ValueError(
            f"`n` (={n}), `stages` (={stages}) and `sparsity` (={sparsity}) must be at least 1."
        )
    draw, length, rows = np.random.default_rng(seed), 1, []
    for stage in range(stages):
        spacing = sparsity if stage == 0 else 1.0
        places = np.floor(spacing * (np.arange(n) + draw.random(n)))
        rows.append(places.astype(int) * length)
        length *= int(np.ceil(spacing * n))
    return np.array(rows)


def _fitting(name: str, samples: Sequence[int] | np.ndarray, n: int) -> Delay:
    delay = Delay(samples)
    if delay.inputs != n:
        raise ValueError(f"`{name}` has {delay.inputs} delays, but there are {n} channels.")
    return delay
