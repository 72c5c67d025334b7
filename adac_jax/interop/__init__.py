"""Trained weights from elsewhere, as modules that train, trace, verify and export as any other."""

from adac_jax.interop.aidax import aidax
from adac_jax.interop.documents import FormatError
from adac_jax.interop.guitarml import guitarml
from adac_jax.interop.nam import nam
from adac_jax.interop.network import Network
from adac_jax.interop.rtneural import rtneural

__all__ = ["FormatError", "Network", "aidax", "guitarml", "nam", "rtneural"]
