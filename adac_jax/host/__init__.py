"""Compiles FAUST text in this process and runs it: in single or in double precision."""

from adac_jax.host.capi import versions
from adac_jax.host.errors import HostError
from adac_jax.host.libfaust import Library
from adac_jax.host.parameters import Parameter, path_of
from adac_jax.host.processor import Processor

__all__ = ["HostError", "Library", "Parameter", "Processor", "path_of", "versions"]
