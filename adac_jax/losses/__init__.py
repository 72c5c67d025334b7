"""Losses: scalar, differentiable everywhere, in the dtype of what they are given.

Those that compare take (prediction, target, ...), both (..., time, channels), and return the mean
over everything else.
"""

from adac_jax.losses.colourless import (
    colourless,
    colourless_asymmetric,
    spectral_flatness,
    spectrum,
)
from adac_jax.losses.decay import energy_decay_curve, energy_decay_linear
from adac_jax.losses.error import error_to_signal_ratio
from adac_jax.losses.mel import mel, mel_filters
from adac_jax.losses.relief import energy_decay_relief, octave_energies
from adac_jax.losses.reverberation import reverberation_time
from adac_jax.losses.sparsity import matrix_sparsity
from adac_jax.losses.stft import multi_resolution_stft

__all__ = [
    "colourless",
    "colourless_asymmetric",
    "energy_decay_curve",
    "energy_decay_linear",
    "energy_decay_relief",
    "error_to_signal_ratio",
    "matrix_sparsity",
    "mel",
    "mel_filters",
    "multi_resolution_stft",
    "octave_energies",
    "reverberation_time",
    "spectral_flatness",
    "spectrum",
]
