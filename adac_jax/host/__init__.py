"""Compiles FAUST text in this process and runs it: in single or in double precision."""

from adac_jax.host.capi import versions
from adac_jax.host.errors import HostError
from adac_jax.host.libfaust import Library
from adac_jax.host.parameters import Parameter, path_of
from adac_jax.host.processor import Processor
from adac_jax.host.sources import c_source

__all__ = ["HostError", "Library", "Parameter", "Processor", "c_source", "path_of", "versions"]
