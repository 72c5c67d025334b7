"""Plugins of a model that has been compared and certified."""

from adac_jax.plugin.forms import Origin, Version, metadata_of
from adac_jax.plugin.making import FOLDER, Built, make
from adac_jax.plugin.settings import FORMATS, RATES, Plugins, wanted
from adac_jax.plugin.tools import Tools, find_tools

__all__ = [
    "FOLDER",
    "FORMATS",
    "RATES",
    "Built",
    "Origin",
    "Plugins",
    "Tools",
    "Version",
    "find_tools",
    "make",
    "metadata_of",
    "wanted",
]
