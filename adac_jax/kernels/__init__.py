"""The operations of time on whole blocks, in plain `jax.numpy`.

Each takes and returns its state, so that a signal cut into blocks of any lengths gives what the
whole signal gives. Channels come first and time is the last axis, so that the samples of a channel
lie side by side; nothing here loops over samples.
"""

from adac_jax.kernels.convolution import fir
from adac_jax.kernels.delays import delay, delay_read, run, variable_delay, variable_read
from adac_jax.kernels.fourier import rfft
from adac_jax.kernels.recursive import (
    enter,
    enter_sections,
    leave,
    leave_sections,
    prepare_iir,
    prepare_sos,
)
from adac_jax.kernels.state_space import StateSpace, fill, filter_block, run_blocks, whole_blocks

__all__ = [
    "StateSpace",
    "delay",
    "delay_read",
    "enter",
    "enter_sections",
    "fill",
    "filter_block",
    "fir",
    "leave",
    "leave_sections",
    "prepare_iir",
    "prepare_sos",
    "rfft",
    "run",
    "run_blocks",
    "variable_delay",
    "variable_read",
    "whole_blocks",
]
