"""The block reading: a graph run by JAX in the time domain, a block at a time."""

from adac_jax.blocks.reading import run

__all__ = ["run"]
