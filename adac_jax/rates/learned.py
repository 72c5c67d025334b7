"""What was learned from samples of one rate: what can be derived of it, and what is refused."""

from __future__ import annotations

from typing import Any, NoReturn

from flax import nnx

from adac_jax import effects
from adac_jax.effects.networks import ConvolutionLayer
from adac_jax.interop.adac import Recursion, Shell
from adac_jax.interop.cells import GRUCell, Recurrent
from adac_jax.interop.layers import Activation, PReLU
from adac_jax.interop.nam import Offset
from adac_jax.interop.network import Network
from adac_jax.interop.wavenet import LayerArray, WaveNet
from adac_jax.rates.change import Change, by_parts, rule, unchanged
from adac_jax.rates.levels import evaluated

RECURRENT = (
    effects.LSTMAmplifier,
    GRUCell,
    Recurrent,
    nnx.RNN,
    nnx.GRUCell,
    nnx.LSTMCell,
    nnx.OptimizedLSTMCell,
    nnx.SimpleCell,
)
CONVOLUTIONAL = (effects.TCNAmplifier, ConvolutionLayer, LayerArray, WaveNet, nnx.Conv)

rule(nnx.Linear, nnx.LayerNorm, nnx.RMSNorm, nnx.BatchNorm)(unchanged)
rule(Activation, Offset, PReLU)(unchanged)
rule(Network, Shell, effects.S4DAmplifier)(by_parts)


@rule(*RECURRENT)
def recurrent(module: Any, change: Change) -> NoReturn:
    """Refused.

    Raises:
        RateError: always.
    """
    raise change.refused(
        module, f"its state was learned to move once in 1/{change.old:g} s, by no law in seconds"
    )


@rule(*CONVOLUTIONAL)
def convolutional(module: Any, change: Change) -> NoReturn:
    """Refused.

    Raises:
        RateError: always.
    """
    raise change.refused(
        module,
        f"its taps were learned 1/{change.old:g} s apart, between curves that make frequencies "
        "anew",
    )


@rule(Recursion)
def recursion(module: Recursion, change: Change) -> Recursion:
    """Both ways round the loop; gains stay, so that a line decays as its length was rounded."""
    module.forward = change.of(module.forward, "forward", loop=True)
    module.back = change.of(module.back, "back", loop=True)
    return module


@rule(effects.S4D)
def state_space(module: effects.S4D, change: Change) -> effects.S4D:
    """The same system in continuous time: Δ is what a sample lasts."""
    module.step.set(evaluated(module.step) / change.ratio)
    change.note(module, "the same state space, sampled at another step (zero-order hold)")
    return module
