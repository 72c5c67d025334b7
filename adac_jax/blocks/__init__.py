"""The block reading: a graph run by JAX in the time domain, a block at a time."""

from adac_jax.blocks.adjoint import pull_back
from adac_jax.blocks.course import Course, run_saving, the_loop
from adac_jax.blocks.reading import Plan
from adac_jax.blocks.whole import run, run_in_chunks, run_whole

__all__ = [
    "Course",
    "Plan",
    "pull_back",
    "run",
    "run_in_chunks",
    "run_saving",
    "run_whole",
    "the_loop",
]
