"""RTNeural's JSON: layers of Keras in a row.

Read as `RTNeural/model_loader.h` of jatinchowdhury18/RTNeural does, which
`python/model_utils.py` beside it writes for: weights are what Keras' `get_weights` gives.

- dense, time-distributed-dense: kernel (inputs, outputs), bias (outputs,).
- conv1d: kernel (count, inputs, outputs), bias; causal, whatever Keras padded it with.
- lstm: (inputs, 4 H), (H, 4 H), (4 H,); gates in the order i, f, c, o (`RTNeural/lstm/lstm.tpp`).
- gru: (inputs, 3 H), (H, 3 H), (2, 3 H); gates in the order z, r, h, the second bias on the state
  and inside the product with r (`RTNeural/gru/gru.h`; Keras, `reset_after=True`).
- prelu: slopes (1, channels) or (1, 1). batchnorm: γ, β, μ, v or only μ, v, and "epsilon".
- activation, and "activation" of dense and conv1d: tanh, relu, sigmoid, softmax, elu or "".

Beyond the loader, conv1d takes "groups", with a kernel (count, inputs / groups, outputs) as Keras
keeps it. What the loader passes over in silence is refused here: unknown layers, activations of
recurrent layers other than tanh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adac_jax.interop import layers
from adac_jax.interop.documents import Part
from adac_jax.interop.network import Network

Named = list[tuple[str, Any]]
MAX_CHANNELS = 4096
MAX_LOOKBACK = 2**20
"""Samples that a convolution may look back."""


def rtneural(document: Any, name: str = "the document") -> Network:
    """The network in a document of RTNeural.

    Args:
        document: What `json.load` gives: {"in_shape": […, n], "layers": […]}.
        name: What to call it in errors.

    Returns:
        A network of `n` inputs and as many outputs as its last layer has.

    Raises:
        FormatError: a part is missing, unknown, of another shape or not finite.
    """
    return Network(*stack(Part(document, name)))


def stack(root: Part) -> tuple[Named, int, int]:
    """The layers, and how many channels go in and come out."""
    inputs = channels = _last(root.entry("in_shape"), MAX_CHANNELS)
    found: Named = []
    for part in root.entry("layers").parts():
        kind = part.entry("type").text(*LAYERS)
        own, outputs = LAYERS[kind](part, channels)
        shape = part.entry("shape")
        if _last(shape, MAX_CHANNELS) != outputs:
            raise shape.error(f"a shape that ends in {outputs}, as the weights do")
        found.extend(own)
        channels = outputs
    return found, inputs, channels


def _dense(part: Part, inputs: int) -> tuple[Named, int]:
    kernel, bias = part.entry("weights").parts(2)
    values = kernel.array(inputs, None)
    outputs = values.shape[1]
    dense = layers.linear(values, bias.array(outputs))
    return [("dense", dense), *_activation(part)], outputs


def _conv(part: Part, inputs: int) -> tuple[Named, int]:
    count = _last(part.entry("kernel_size"), MAX_LOOKBACK)
    dilation = _last(part.entry("dilation"), MAX_LOOKBACK // count)
    groups = _last(part.entry("groups"), inputs) if part.has("groups") else 1
    if inputs % groups:
        raise part.entry("groups").error(f"a divisor of {inputs}, the inputs")
    kernel, bias = part.entry("weights").parts(2)
    values = kernel.array(count, inputs // groups, None)
    outputs = values.shape[2]
    if outputs % groups:
        raise part.entry("groups").error(f"a divisor of {outputs}, the outputs")
    conv = layers.conv(values, bias.array(outputs), dilation=dilation, groups=groups)
    return [("conv", conv), *_activation(part)], outputs


def _lstm(part: Part, inputs: int) -> tuple[Named, int]:
    _plain_gates(part)
    kernel, recurrent, bias = part.entry("weights").parts(3)
    hidden = _hidden(recurrent)
    weights = kernel.array(inputs, 4 * hidden), recurrent.array(hidden, 4 * hidden)
    return [("lstm", layers.lstm(*weights, bias.array(4 * hidden)))], hidden


def _gru(part: Part, inputs: int) -> tuple[Named, int]:
    _plain_gates(part)
    kernel, recurrent, bias = part.entry("weights").parts(3)
    hidden = _hidden(recurrent)
    W, U = kernel.array(inputs, 3 * hidden), recurrent.array(hidden, 3 * hidden)
    b, c = bias.array(2, 3 * hidden)
    return [("gru", layers.gru(*(_reset_first(a) for a in (W, U, b, c))))], hidden


def _prelu(part: Part, inputs: int) -> tuple[Named, int]:
    (slopes,) = part.entry("weights").parts(1)
    values = slopes.array(1, None)[0]
    if len(values) not in (1, inputs):
        raise slopes.error(f"a list of one list of 1 or {inputs}")
    return [("prelu", layers.PReLU(values))], inputs


def _batch_norm(part: Part, inputs: int) -> tuple[Named, int]:
    weights = part.entry("weights")
    values = [w.array(inputs) for w in weights.parts()]
    if len(values) not in (2, 4):
        raise weights.error("a list of 4 (scale, bias, mean, variance) or 2 (mean, variance)")
    epsilon = part.entry("epsilon").number(0.0, 1e3)
    *affine, mean, variance = values
    if not (variance + epsilon > 0).all():
        raise weights.parts()[-1].error("a list of variances of which none is negative")
    return [("norm", layers.batch_norm(mean, variance, epsilon, *affine))], inputs


def _only_activation(part: Part, inputs: int) -> tuple[Named, int]:
    return _activation(part), inputs


LAYERS: dict[str, Callable[[Part, int], tuple[Named, int]]] = {
    "dense": _dense,
    "time-distributed-dense": _dense,
    "conv1d": _conv,
    "lstm": _lstm,
    "gru": _gru,
    "prelu": _prelu,
    "batchnorm": _batch_norm,
    "batchnorm1d": _batch_norm,
    "activation": _only_activation,
}


def _activation(part: Part) -> Named:
    if not part.has("activation"):
        return []
    name = part.entry("activation").text("", "tanh", "relu", "sigmoid", "softmax", "elu")
    return [(name, layers.Activation(name))] if name else []


def _plain_gates(part: Part) -> None:
    """RTNeural's recurrent layers are tanh and σ, whatever stands there."""
    if part.has("activation"):
        part.entry("activation").text("", "tanh")


def _hidden(recurrent: Part) -> int:
    """H of a recurrent kernel (H, …)."""
    hidden = len(recurrent.parts())
    if hidden > MAX_CHANNELS:
        raise recurrent.error(f"a list of at most {MAX_CHANNELS}")
    return hidden


def _reset_first(a: np.ndarray) -> np.ndarray:
    """Gates z, r, h along the last axis as r, z, h, Flax's order."""
    z, r, h = np.split(a, 3, axis=-1)
    return np.concatenate([r, z, h], axis=-1)


def _last(part: Part, most: int) -> int:
    """A size: a number, or the last of a list, as the loader takes it."""
    entries = part.parts() if isinstance(part.value, list) else [part]
    return entries[-1].whole(1, most)
