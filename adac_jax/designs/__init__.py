"""Filter designs: closed formulas from physical quantities to coefficients."""

from adac_jax.designs.bilinear import first_order, second_order
from adac_jax.designs.decay import attenuation_db
from adac_jax.designs.first_order import one_pole, shelf
from adac_jax.designs.graphic import GraphicBands, graphic_bands, graphic_sections
from adac_jax.designs.interaction import GraphicSolver, graphic_solver
from adac_jax.designs.peak import peak_db
from adac_jax.designs.prototypes import (
    BIQUADS,
    STATE_VARIABLE_MIXES,
    Prototype,
    quality_from_bandwidth,
    state_variable,
)
from adac_jax.designs.response import magnitude_db
from adac_jax.designs.rotations import rotation
from adac_jax.designs.velvet import velvet_noise

__all__ = [
    "BIQUADS",
    "STATE_VARIABLE_MIXES",
    "GraphicBands",
    "GraphicSolver",
    "Prototype",
    "attenuation_db",
    "first_order",
    "graphic_bands",
    "graphic_sections",
    "graphic_solver",
    "magnitude_db",
    "one_pole",
    "peak_db",
    "quality_from_bandwidth",
    "rotation",
    "second_order",
    "shelf",
    "state_variable",
    "velvet_noise",
]
