"""Fitting room models to measured impulse responses."""

from adac_jax.fitting.fit import Fit, fit, load, summary
from adac_jax.fitting.model import Room, Structure
from adac_jax.fitting.objective import Objective, objective_of
from adac_jax.fitting.target import Target, read_target, target_of
from adac_jax.fitting.training import Progress, train

__all__ = [
    "Fit",
    "Objective",
    "Progress",
    "Room",
    "Structure",
    "Target",
    "fit",
    "load",
    "objective_of",
    "read_target",
    "summary",
    "target_of",
    "train",
]
