"""FAUST's C → sources of plugins: a C library, LV2, CLAP, and VST3 through DPF."""

from emitters.plugin.metadata import KINDS, Form, Metadata, Parameter, Preset, parameters_of
from emitters.plugin.sources import sources
from emitters.plugin.vstpreset import vstpreset

__all__ = [
    "KINDS",
    "Form",
    "Metadata",
    "Parameter",
    "Preset",
    "parameters_of",
    "sources",
    "vstpreset",
]
