"""Trained weights from elsewhere, as modules that train, trace, verify and export as any other."""

from adac_jax.interop.adac import adac
from adac_jax.interop.aidax import aidax
from adac_jax.interop.documents import FormatError
from adac_jax.interop.guitarml import guitarml
from adac_jax.interop.loading import SUFFIXES, known, load
from adac_jax.interop.nam import nam
from adac_jax.interop.rtneural import rtneural

__all__ = [
    "SUFFIXES",
    "FormatError",
    "adac",
    "aidax",
    "guitarml",
    "known",
    "load",
    "nam",
    "rtneural",
]
