"""Modules: what a model is made of."""

from adac_jax.nn.accurate_graphic import AccurateGEQ
from adac_jax.nn.biquad import Biquad
from adac_jax.nn.butterflies import Hadamard, Rotation
from adac_jax.nn.compose import Parallel, Serial
from adac_jax.nn.delays import Delay, FractionalDelay, mutually_prime_delays
from adac_jax.nn.fdn import FDN
from adac_jax.nn.fir import FIR
from adac_jax.nn.first_order import FirstOrderShelf, OnePole
from adac_jax.nn.gain import Gain
from adac_jax.nn.graphic import GEQ
from adac_jax.nn.matrices import Circulant, Householder, Matrix, Orthogonal, square_matrix
from adac_jax.nn.module import Filter, Module
from adac_jax.nn.parametric import PEQ
from adac_jax.nn.scattering import Scattering, VelvetScattering
from adac_jax.nn.second_order import SOS
from adac_jax.nn.svf import SVF

__all__ = [
    "FDN",
    "FIR",
    "GEQ",
    "PEQ",
    "SOS",
    "SVF",
    "AccurateGEQ",
    "Biquad",
    "Circulant",
    "Delay",
    "Filter",
    "FirstOrderShelf",
    "FractionalDelay",
    "Gain",
    "Hadamard",
    "Householder",
    "Matrix",
    "Module",
    "OnePole",
    "Orthogonal",
    "Parallel",
    "Rotation",
    "Scattering",
    "Serial",
    "VelvetScattering",
    "mutually_prime_delays",
    "square_matrix",
]
