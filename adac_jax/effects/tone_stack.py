"""The tone controls of guitar amplifiers, from their circuit."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from adac_jax.effects.effect import Effect
from adac_jax.nn.parameters import Positive, initial, param, positive_rate

BASSMAN = {
    "R1": 250e3, "R2": 1e6, "R3": 25e3, "R4": 56e3, "C1": 250e-12, "C2": 20e-9, "C3": 20e-9
}  # fmt: skip
"""Ohm and farad: treble, bass and middle pots, slope resistor, and three capacitors."""
RESISTORS = np.array(
    [[1, -1, 0, 0, 0], [0, 1, 0, -1, 0], [0, 0, 0, 1, -1], [0, 0, 0, 0, 1], [0, 0, 1, 0, 0]], float
)
"""Between which of five nodes R1, R2, the two parts of R3, and R4 are; the last two end at ground
and at the input."""
KNOB_RANGE = 1e-3
"""A knob keeps this far from its ends, where a resistance would be zero; given, twice as far, where
its gradient is still felt."""


class ToneStack(Effect):
    """Treble, middle and bass as a passive circuit has them: they work on each other.

    From the input, C1 goes to the treble pot R1 and the resistor R4 to the capacitors C2 and C3; C2
    joins the treble pot's other end and the bass pot R2, which goes on to the middle pot R3 and to
    ground; C3 is at the wiper of R3, the output at that of R1. The capacitors' voltages v obey
    v̇ = A v + B x, y = c v + d x, which the trapezoidal rule turns into

        δ[t] = (I - A / 2 fs)^-1 (A s[t-1] + B x[t]) / 2 fs,
        v[t] = s[t-1] + δ[t],  s[t] = v[t] + δ[t]:

    steps, which single precision holds. Knobs and components are trained; the circuit is passive
    whatever they are. Source of the circuit: Yeh and Smith, "Discretization of the '59 Fender
    Bassman tone stack" (DAFx 2006).

    Args:
        channels: N.
        treble: Knob, 0 to 1.
        middle: Likewise.
        bass: Likewise (a linear pot; players' are logarithmic).
        components: Values of R1 … R4 in ohm and C1 … C3 in farad that differ from `BASSMAN`.
        sample_rate: fs in Hz.

    Raises:
        ValueError: a knob is beyond 0 to 1, or a component is unknown or out of range.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        treble: float = 0.5,
        middle: float = 0.5,
        bass: float = 0.5,
        components: dict[str, float] | None = None,
        sample_rate: float,
    ) -> None:
        super().__init__(channels)
        self.sample_rate = positive_rate(sample_rate)
        given = components or {}
        if unknown := sorted(set(given) - set(BASSMAN)):
            raise ValueError(f"`components`: {unknown[0]!r} is none of {', '.join(BASSMAN)}.")
        self.components = nnx.Dict(
            {
                name: Positive(name, value, (), (value / 20, value * 20))
                for name, value in {**BASSMAN, **given}.items()
            }
        )
        self.knobs = nnx.Dict(
            {
                name: param(_logit(name, value))
                for name, value in (("treble", treble), ("middle", middle), ("bass", bass))
            }
        )

    def set(self, *, treble: float, middle: float, bass: float) -> None:
        """Turns the knobs.

        Raises:
            ValueError: one is beyond 0 to 1.
        """
        for name, value in (("treble", treble), ("middle", middle), ("bass", bass)):
            raw = self.knobs[name]
            raw[...] = jnp.asarray(_logit(name, value), raw[...].dtype)

    def circuit(self) -> tuple[Array, Array, Array, Array]:
        """A (3, 3) and B (3,) in 1/s, and c (3,) and d."""
        R1, R2, R3, R4, C1, C2, C3 = (self.components[name]() for name in BASSMAN)
        knobs = (nnx.sigmoid(self.knobs[name][...]) for name in ("treble", "middle", "bass"))
        t, m, b = (KNOB_RANGE + (1 - 2 * KNOB_RANGE) * k for k in knobs)
        # Nodes: 0 top of treble; 1 its foot, with C2 and bass; 2 R4, C2 and C3; 3 foot of bass and
        # top of middle; 4 wiper of middle, with C3. Sources, held: the input, and the capacitors.
        D = jnp.asarray(RESISTORS, t.dtype)
        conductances = 1 / jnp.stack([R1, b * R2, (1 - m) * R3, m * R3, R4])
        G = D.T @ (conductances[:, None] * D)
        # v1 = input - node 0, v2 = node 2 - node 1, v3 = node 2 - node 4; their currents unknown.
        E = jnp.asarray(
            np.array([[-1, 0, 0, 0, 0], [0, -1, 1, 0, 0], [0, 0, 1, 0, -1]], float), t.dtype
        )
        system = jnp.block([[G, E.T], [E, jnp.zeros((3, 3), t.dtype)]])
        into = jnp.zeros((8, 4), t.dtype)
        into = into.at[5:, 1:].set(jnp.eye(3, dtype=t.dtype)).at[5, 0].set(-1.0)
        into = into.at[2, 0].set(1 / R4)
        solved = jnp.linalg.solve(system, into)
        charge = solved[5:] / jnp.stack([C1, C2, C3])[:, None]
        output = t * solved[0] + (1 - t) * solved[1]
        return charge[:, 1:], charge[:, 0], output[1:], output[0]

    def __call__(self, x: Float[Array, "*batch time channels"]) -> Array:
        """Processes audio, from rest."""
        self.check(x)
        A, B, c, d = self.circuit()
        half = A / (2 * self.sample_rate)
        inverse = jnp.linalg.inv(jnp.eye(3, dtype=A.dtype) - half)
        step_by = (inverse @ A / (2 * self.sample_rate)).astype(x.dtype)
        enter = (inverse @ B / (2 * self.sample_rate)).astype(x.dtype)
        c, d = c.astype(x.dtype), d.astype(x.dtype)

        def step(s: Array, now: Array) -> tuple[Array, Array]:
            change = s @ step_by.T + now[..., None] * enter
            v = s + change
            return v + change, v

        entering = jnp.moveaxis(x, -2, 0)
        rest = jnp.zeros((*entering.shape[1:], 3), x.dtype)
        voltages = jnp.moveaxis(lax.scan(step, rest, entering)[1], 0, -3)
        return voltages @ c + d * x


def _logit(name: str, value: ArrayLike) -> np.ndarray:
    number = initial(name, value, ())
    if not 0 <= number <= 1:
        raise ValueError(f"`{name}` (={value}) must lie in 0 to 1.")
    # Where the logistic function, stretched to what a knob keeps, has this value.
    inside = np.clip((number - KNOB_RANGE) / (1 - 2 * KNOB_RANGE), KNOB_RANGE, 1 - KNOB_RANGE)
    return np.log(inside / (1 - inside))
