"""Finite impulse responses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from adac_jax.nn.module import Channels, Filter
from adac_jax.nn.parameters import initial, param
from adac_jax.primitives import fir


class FIR(Filter):
    """y_i[t] = Σ_k h_i[k] x_i[t - k], or y_o[t] = Σ_i Σ_k h_oi[k] x_i[t - k].

    Args:
        channels: N, or (outputs, inputs).
        taps: h: (count,) for all channels or (count, *channels), e.g. a measured response or
            `designs.velvet_noise`; or a number of taps, of which the first is 1, or which are
            random with `rngs`.
        rngs: Makes `taps` normal numbers of variance 1 / count, from the stream `params`.

    Attributes:
        response: The parameter, (count, *channels).

    Raises:
        ValueError: `taps` do not fit `channels`, or there are none.
    """

    def __init__(
        self, channels: Channels, taps: int | ArrayLike = 1, *, rngs: nnx.Rngs | None = None
    ) -> None:
        super().__init__(channels)
        if isinstance(taps, int):
            if taps < 1:
                raise ValueError(f"`taps` (={taps}) must be at least 1.")
            value = np.eye(taps, 1)[:, 0]
        else:
            value = np.asarray(taps, np.float64)
            if rngs is not None:
                raise ValueError("`rngs` goes with a number of `taps`, not with their values.")
        if value.ndim == 0 or len(value) == 0:
            raise ValueError(
                f"`taps` of shape {value.shape} must be (count,) or (count, *channels)."
            )
        if value.ndim == 1:
            value = value.reshape(-1, *(1,) * len(self.channels))
        shape = (len(value), *self.channels)
        if rngs is None:
            self.response = param(initial("taps", value, shape))
        else:
            noise = jax.random.normal(rngs.params(), shape, jnp.result_type(float))
            self.response = nnx.Param(noise / np.sqrt(len(value)))

    def taps(self) -> Array:
        """h, (count, *channels)."""
        return self.response[...]

    def __call__(self, x: Array) -> Array:
        """Convolves, causally."""
        h = self.taps()
        return self.run(x, lambda s, axis: fir(s, h, axis=axis))
