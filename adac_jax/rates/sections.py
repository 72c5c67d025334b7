"""Raw second-order sections at another rate."""

from __future__ import annotations

import numpy as np

LOWEST, HIGHEST = 1e-4, 1e4
"""Range of tan(π f / fs) in which a section's own frequency is looked for."""


def remapped(sos: np.ndarray, old: float, new: float) -> np.ndarray:
    """Sections (sections, 6, *channels) for another rate, each by the bilinear transform.

    A polynomial in z^-1 is one in s = (1 - z^-1) / (1 + z^-1): (c_0 + c_1 + c_2) + 2 (c_0 - c_2) s
    + (c_0 - c_1 + c_2) s². The new section is that of κ s, κ = tan(π f / fs') / tan(π f / fs), for
    the frequency f at which the old denominator resonates: there, and at DC, the responses agree,
    poles stay within the unit circle, and beyond they agree as far as the bilinear transform does
    not bend the axis. Sections without an own frequency are mapped at a quarter of the lower rate.
    """
    b, a = sos[:, :3], sos[:, 3:]
    B, A = (np.stack([c[:, 0] + c[:, 1] + c[:, 2], 2 * (c[:, 0] - c[:, 2]),
                      c[:, 0] - c[:, 1] + c[:, 2]]) for c in (b, a))  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.sqrt(np.abs(A[0] / A[2]))
    turn = np.arctan(np.where(np.isfinite(own), np.clip(own, LOWEST, HIGHEST), HIGHEST))
    limit = 0.25 * np.pi * min(1.0, new / old)
    turn = np.minimum(turn, limit)
    kappa = np.tan(turn * old / new) / np.tan(turn)
    scale = np.stack([np.ones_like(kappa), 1 / kappa, 1 / kappa**2])

    def forward(P: np.ndarray) -> np.ndarray:
        p = P * scale
        return np.stack([p[0] + p[1] + p[2], 2 * (p[0] - p[2]), p[0] - p[1] + p[2]], axis=1)

    b, a = forward(B), forward(A)
    lead = a[:, :1]
    return np.concatenate([b / lead, a / lead], axis=1)
