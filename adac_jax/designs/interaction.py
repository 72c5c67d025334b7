"""From the gains a graphic equaliser shall have to the gains of its filters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jax import Array

from adac_jax.designs.graphic import GraphicBands, graphic_prototypes
from adac_jax.designs.response import magnitude_db

PROTOTYPE_GAIN = 10.0
"""Gain in dB at which the interaction of the filters is measured."""
BETWEEN_WEIGHT = 0.3
"""What a miss between two commands counts, where a miss at a command counts 1."""


@dataclass(frozen=True, eq=False)
class GraphicSolver:
    """The least-squares design of a graphic equaliser, all in float64.

    Attributes:
        bands: Where the filters are.
        frequencies: In Hz, of the command gains: below the bands, each centre, above the bands.
        control: In Hz, where the design is fitted.
        targets: (control, commands): from command gains to gains at `control`.
        solve: (filters + 1, control): from gains at `control` to filter gains.
        omega: (filters, control): tan(π f / fs) of `control` over that of each filter.
    """

    bands: GraphicBands
    frequencies: np.ndarray
    control: np.ndarray
    targets: np.ndarray
    solve: np.ndarray
    omega: np.ndarray

    def gains(self, commands_db: Array, corrections: int) -> Array:
        """Filter gains in dB for command gains in dB.

        x = S T c, and then, `corrections` times, x ← x + S (T c - L(x)), where L is what the
        filters really have at the control frequencies: peaks are not quite proportional to their
        gain in dB, which is all that the first step misses.

        Args:
            commands_db: (commands, *channels).
            corrections: ≥ 0; with 0 the result is linear in the commands.

        Returns:
            (filters + 1, *channels): broadband gain first.
        """
        dtype = commands_db.dtype
        T, S = jnp.asarray(self.targets, dtype), jnp.asarray(self.solve, dtype)
        wanted = jnp.tensordot(T, commands_db, 1, precision="highest")
        x = jnp.tensordot(S, wanted, 1, precision="highest")
        for _ in range(corrections):
            missing = wanted - self.response(x)
            x = x + jnp.tensordot(S, missing, 1, precision="highest")
        return x

    def response(self, gains_db: Array) -> Array:
        """L(x): gains in dB at the control frequencies, (control, *channels)."""
        extra = (1,) * (gains_db.ndim - 1)
        A = 10 ** (gains_db[1:, None] / 40)
        Q = jnp.asarray(self.bands.qualities, gains_db.dtype).reshape(-1, 1, *extra)
        omega = jnp.asarray(self.omega, gains_db.dtype).reshape(*self.omega.shape, *extra)
        total = gains_db[0]
        for rows, prototype in graphic_prototypes(self.bands, A, Q):
            total = total + jnp.sum(magnitude_db(prototype, omega[rows], jnp), axis=0)
        return total


@lru_cache(maxsize=64)
def graphic_solver(bands: GraphicBands) -> GraphicSolver:
    """Prepares the design for some bands.

    The interaction matrix holds what each filter, at 10 dB, contributes to each control
    frequency, in dB over its gain; filter gains are its least-squares solution. Sources: Schlecht
    and Habets, "Accurate reverberation time control in feedback delay networks" (DAFx 2017),
    section 4; Välimäki and Liski, "Accurate cascade graphic equalizer" (IEEE Signal Processing
    Letters 24(2), 2017).

    The control frequencies are those of the commands and, with less weight, the geometric means
    between them and both ends of the spectrum. There the targets are interpolated between the
    commands in dB over the logarithm of frequency, and those of the nearest command at the ends.
    """
    fs, centres = bands.sample_rate, np.array(bands.centres)
    step = (bands.crossovers[1] / centres[-1]) ** 2
    above = min(centres[-1] * step, np.sqrt(bands.crossovers[1] * fs / 2))
    frequencies = np.array([centres[0] / step, *centres, above])
    between = np.sqrt(frequencies[1:] * frequencies[:-1])
    ends = np.array([frequencies[0] / 16, fs / 2 - (fs / 2 - above) / 16])
    control = np.sort(np.concatenate([frequencies, between, ends]))
    log_f, log_c = np.log(frequencies), np.log(control)
    unit = np.eye(len(frequencies))
    targets = np.stack([np.interp(log_c, log_f, row) for row in unit], axis=1)

    omega = np.tan(np.pi * control / fs) / bands.warped[:, None]
    A = np.full((bands.filters, 1), 10 ** (PROTOTYPE_GAIN / 40))
    groups = graphic_prototypes(bands, A, bands.qualities[:, None])
    shapes = np.concatenate([magnitude_db(prototype, omega[rows]) for rows, prototype in groups])
    interaction = np.concatenate([np.ones((1, len(control))), shapes / PROTOTYPE_GAIN]).T
    weights = np.where(np.isin(control, frequencies), 1.0, BETWEEN_WEIGHT)
    solve = np.linalg.pinv(weights[:, None] * interaction) * weights
    return GraphicSolver(bands, frequencies, control, targets, solve, omega)
