"""Where on the unit circle a response is evaluated, and how exactly.

z = exp(jω). What a reading needs of a frequency is the phase of a delay, z^-m, and the half angle
ω/2, in which second-order sections are evaluated without cancellation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Complex, Float, UInt32

MAX_BINS = 2**28
"""Bound on the length of a Fourier transform, for products that fit 32 bits."""
Samples = np.ndarray | Array


class Points(Protocol):
    """Frequencies; the last axis of everything that is computed at them."""

    def delay(self, samples: Samples) -> Complex[Array, "... frequencies"]:
        """z^-m for delays of m whole samples."""
        ...

    def half(self) -> tuple[Float[Array, " frequencies"], Float[Array, " frequencies"]]:
        """cos(ω/2) and sin(ω/2)."""
        ...


@dataclass(frozen=True)
class Frequencies:
    """Any frequencies.

    The phase m ω is a product in floating point, off by up to m ω u: u = 2^-24 in single precision,
    so 2e-4 radians for 1,000 samples at ω = π; and by as much again for the rounding of ω itself.
    """

    omega: Float[Array, " frequencies"]

    def delay(self, samples: Samples) -> Complex[Array, "... frequencies"]:
        """exp(-j m ω)."""
        angle = jnp.asarray(samples).astype(self.omega.dtype)[..., None] * self.omega
        # One complex function: XLA would compute a cosine and a sine again at each use.
        return jnp.exp(lax.complex(jnp.zeros_like(angle), -angle))

    def half(self) -> tuple[Float[Array, " frequencies"], Float[Array, " frequencies"]]:
        """cos(ω/2) and sin(ω/2)."""
        return jnp.cos(self.omega / 2), jnp.sin(self.omega / 2)


@dataclass(frozen=True)
class Bins:
    """Bins of a discrete Fourier transform: ω = 2π k / n.

    z^-m = exp(-2πj (m k mod n) / n), the product reduced in integers, so that the phase of the
    longest delay is as exact as that of the shortest.

    Attributes:
        index: k, 0 to n - 1.
        n: The transform's length, 1 to `MAX_BINS`.
        dtype: The real type of results.
    """

    index: UInt32[Array, " frequencies"]
    n: int
    dtype: Any

    def delay(self, samples: Samples) -> Complex[Array, "... frequencies"]:
        """exp(-2πj (m k mod n) / n)."""
        turns = _product(samples, self.index, self.n)
        # By quarters: exp(-jφ) = exp(-jρ) / j^q for φ = q π/2 + ρ, so that ρ is small.
        quarter = (jnp.uint32(8) * turns + jnp.uint32(self.n)) // jnp.uint32(2 * self.n)
        # 4 r - q n lies within n / 2 of zero: as an unsigned number it wraps round, and back again.
        rest = (jnp.uint32(4) * turns - quarter * jnp.uint32(self.n)).astype(jnp.int32)
        rho = rest.astype(self.dtype) * jnp.asarray(math.pi / (2 * self.n), self.dtype)
        # j^q for q = 0 … 4 without a table: its real part is 1, 0, -1, 0, 1.
        across = jnp.abs(quarter.astype(self.dtype) - 2) - 1
        up = jnp.where(quarter % jnp.uint32(2) == 1, 2 - quarter.astype(self.dtype), 0)
        return lax.complex(jnp.cos(rho), -jnp.sin(rho)) / lax.complex(across, up)

    def half(self) -> tuple[Float[Array, " frequencies"], Float[Array, " frequencies"]]:
        """cos(π k / n) and sin(π k / n)."""
        angle = self.index.astype(self.dtype) * jnp.asarray(math.pi / self.n, self.dtype)
        # Near π/2 the cosine is the sine of what is left, an exact difference of integers.
        left = jnp.uint32(self.n) - jnp.uint32(2) * self.index
        left = left.astype(jnp.int32).astype(self.dtype)
        return jnp.sin(left * jnp.asarray(math.pi / (2 * self.n), self.dtype)), jnp.sin(angle)


def _product(samples: Samples, index: Array, n: int) -> Array:
    """M k mod n in 32 bits, by the digits of m: m k = Σ_i d_i k 2^(c i), d_i below 2^c."""
    if isinstance(samples, np.ndarray):
        m = jnp.asarray((samples % n).astype(np.uint32))
    else:
        m = jnp.mod(samples, jnp.asarray(n, samples.dtype)).astype(jnp.uint32)
    modulus = jnp.uint32(n)
    bits = n.bit_length()
    width = 32 - bits  # n 2^width < 2^32
    mask, shift = jnp.uint32(2**width - 1), jnp.uint32(width)
    found = jnp.zeros((*m.shape, len(index)), jnp.uint32)
    for digit in reversed(range(math.ceil(bits / width))):
        d = (m >> jnp.uint32(digit * width)) & mask
        found = ((found << shift) % modulus + (d[..., None] * index) % modulus) % modulus
    return found
