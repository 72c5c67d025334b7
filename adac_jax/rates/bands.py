"""Bands of graphic equalisers at another rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adac_jax.designs import GraphicBands
from adac_jax.rates.change import Change


def bands_at(bands: GraphicBands, change: Change) -> GraphicBands:
    """The same bands, in Hz; those are left out whose upper crossover the rate does not have.

    Raises:
        RateError: none is left.
    """
    half = bands.crossovers[1] / bands.centres[-1]
    kept = tuple(c for c in bands.centres if c * half < change.new / 2)
    if not kept:
        raise change.refused(bands, f"none of its bands lies below {change.new / 2:g} Hz")
    upper = bands.crossovers[1] if kept == bands.centres else kept[-1] * half
    crossovers = (bands.crossovers[0], upper)
    return replace(bands, centres=kept, crossovers=crossovers, sample_rate=change.new)


def carried(value: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Values (old, …) at other frequencies, (new, …), over the logarithm of frequency."""
    flat = value.reshape(len(old), -1)
    found = [np.interp(np.log(new), np.log(old), column) for column in flat.T]
    return np.stack(found, axis=-1).reshape(len(new), *value.shape[1:])
