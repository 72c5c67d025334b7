"""What filters of second-order sections have in common, and the plain ones."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from adac_jax import designs
from adac_jax.nn.levels import Lines
from adac_jax.nn.module import Channels, Filter
from adac_jax.nn.parameters import initial, param
from adac_jax.primitives import sosfilt


class SecondOrder(Filter):
    """A cascade of second-order sections."""

    def sos(self) -> Array:
        """The sections, (sections, 6, *channels): b_0, b_1, b_2, a_0, a_1, a_2 of each."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its sections are.")

    def __call__(self, x: Array) -> Array:
        """Filters, from rest."""
        sections = self.sos()
        return self.run(x, lambda s, axis: sosfilt(sections, s, axis=axis))


class Designed(SecondOrder):
    """A cascade designed from analogue prototypes.

    As an absorption, made by `from_t60`, its response leaves a line at no frequency a T60 above
    1000 s: by what it may exceed that, the broadband gain is lowered. So no parameters make a loop
    with a lossless matrix unstable.

    Attributes:
        lines: The delay lines that this is the absorption of, or None.
    """

    lines: Lines | None = None

    def prototypes(self) -> tuple[list[tuple[designs.Prototype, Array]], Array | None]:
        """Sections, and what they are multiplied by in dB, (*channels), if by anything.

        Sections are prototypes, each of one or more of them, and the tan(π f / fs) that they are
        placed at, (sections, *channels).
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what its sections are.")

    def sos(self) -> Array:
        """The sections, (sections, 6, *channels), with a_0 = 1."""
        placed, broadband = self.prototypes()
        sections = jnp.concatenate([designs.second_order(*prototype, g) for prototype, g in placed])
        if self.lines is not None:
            level = jnp.zeros((), sections.dtype) if broadband is None else broadband
            ceiling = jnp.asarray(self.lines.ceiling(), sections.dtype)
            broadband = level - jnp.maximum(level + designs.peak_db(placed) - ceiling, 0)
        if broadband is None:
            return sections
        return sections.at[0, :3].multiply(10 ** (broadband / 20))


def section_count(sections: int) -> int:
    """A number of sections.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(sections, int) or sections < 1:
        raise ValueError(f"`sections` (={sections}) must be a whole number of 1 or more.")
    return sections


class SOS(SecondOrder):
    """A cascade whose coefficients themselves are the parameters.

    Each section is a_0 y[t] = b_0 x[t] + b_1 x[t-1] + b_2 x[t-2] - a_1 y[t-1] - a_2 y[t-2].
    Nothing keeps it stable while it is trained; `Biquad` and `SVF` do.

    Args:
        channels: N, or (outputs, inputs).
        sections: (sections, 6) for all channels or (sections, 6, *channels), as designs and the
            other filters' `sos()` give them; or a number of sections that do nothing yet.

    Attributes:
        coefficients: The parameter, (sections, 6, *channels).

    Raises:
        ValueError: the shape does not fit, or an a_0 is 0.
    """

    def __init__(self, channels: Channels, sections: int | ArrayLike = 1) -> None:
        super().__init__(channels)
        if isinstance(sections, int):
            value = np.tile([1.0, 0.0, 0.0, 1.0, 0.0, 0.0], (section_count(sections), 1))
        else:
            value = np.asarray(sections, np.float64)
        if value.ndim < 2 or value.shape[1] != 6 or len(value) == 0:
            raise ValueError(
                f"`sections` of shape {value.shape} must be (sections, 6) or "
                f"(sections, 6, {', '.join(map(str, self.channels))})."
            )
        if value.ndim == 2:
            value = value.reshape(*value.shape, *(1,) * len(self.channels))
        value = initial("sections", value, (*value.shape[:2], *self.channels))
        if not value[:, 3].all():
            raise ValueError("`sections` must have no a_0 of 0.")
        self.coefficients = param(value)

    def sos(self) -> Array:
        """The sections, (sections, 6, *channels), divided by a_0."""
        value = self.coefficients[...]
        # Compiled, a / a may be one rounding step off 1.
        return (value / jnp.expand_dims(value[:, 3], 1)).at[:, 3].set(1)
