"""Neural Amp Modeler's files: an architecture, its sizes, and all weights in one list.

Read as sdatkinson/NeuralAmpModelerCore does; sdatkinson/neural-amp-modeler writes them.

- LSTM (`NAM/lstm.cpp`; `nam/models/recurrent.py`): for each cell W (4 H, inputs + H) by rows, which
  stands before input and state in that order, b (4 H), then the state to begin with, h (H) and
  c (H); at the end the head's W (outputs, H) by rows and b (outputs). Gates i, f, g, o.
- WaveNet (`NAM/wavenet/model.cpp`): see `nam_wavenet.py`.
- SlimmableContainer (`NAM/container.cpp`): models of the same capture by size; the last is the full
  one, which plays if nobody asks for less.
- Linear (`NAM/linear.cpp`): taps h_0 … and, with "bias", b: y[t] = b + Σ_k h_k x[t - k].

The players run silence through a model before they play it, and may replace tanh by a rational
function; here a model starts from its first state, and convolutions from zeros, and tanh is tanh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flax import nnx
from jax import Array

from adac_jax.interop import layers
from adac_jax.interop.documents import Part
from adac_jax.interop.nam_wavenet import wavenet
from adac_jax.interop.network import Network
from adac_jax.interop.rtneural import MAX_CHANNELS
from adac_jax.interop.weights import Weights
from adac_jax.nn import FIR
from adac_jax.nn.module import Module
from adac_jax.nn.parameters import param

MAX_LAYERS = 32
MAX_TAPS = 2**16


def nam(document: Any, name: str = "the document") -> Module:
    """The model in a document of Neural Amp Modeler.

    Args:
        document: What `json.load` gives: {"architecture": "LSTM", "WaveNet", "Linear" or
            "SlimmableContainer", "config": {…}, "weights": […], "sample_rate"}; the rate, in Hz,
            may be missing.
        name: What to call it in errors.

    Returns:
        A model, of one input and one output if the document says no other number.

    Raises:
        FormatError: a part is missing, unknown, of another size or not finite.
    """
    return _model(Part(document, name), contained=False)


def _model(root: Part, contained: bool) -> Module:
    readers: dict[str, Callable[[Part, Weights], Module]] = {
        "LSTM": _lstm,
        "WaveNet": wavenet,
        "Linear": _linear,
    }
    kind = root.entry("architecture")
    if kind.value == "SlimmableContainer" and not contained:
        *_, full = root.entry("config").entry("submodels").parts()
        model = _model(full.entry("model"), contained=True)
    else:
        read = readers[kind.text(*readers)]
        weights = Weights(root.entry("weights"))
        model = read(root.entry("config"), weights)
        weights.end()
    if root.has("sample_rate"):
        model.sample_rate = root.entry("sample_rate").number(1.0, 1e7)  # type: ignore[attr-defined]
    return model


def _lstm(config: Part, weights: Weights) -> Module:
    inputs = width = config.entry("input_size").whole(1, MAX_CHANNELS)
    hidden = config.entry("hidden_size").whole(1, MAX_CHANNELS)
    outputs = config.entry("out_channels").whole(1, 64) if config.has("out_channels") else 1
    found: list[tuple[str, Any]] = []
    for _ in range(config.entry("num_layers").whole(1, MAX_LAYERS)):
        both = weights.take(4 * hidden, width + hidden).T
        bias, h, c = weights.take(4 * hidden), weights.take(hidden), weights.take(hidden)
        found.append(("lstm", layers.lstm(both[:width], both[width:], bias, (c, h))))
        width = hidden
    head = weights.take(outputs, hidden).T
    found.append(("head", layers.linear(head, weights.take(outputs))))
    return Network(found, inputs, outputs)


class Offset(nnx.Module):
    """y = x + b, with b one a channel."""

    def __init__(self, bias: np.ndarray) -> None:
        self.bias = param(bias)

    def __call__(self, x: Array) -> Array:
        """Adds it."""
        return x + self.bias[...]


def _linear(config: Part, weights: Weights) -> Module:
    for key in ("in_channels", "out_channels"):
        if config.has(key):
            config.entry(key).whole(1, 1)
    taps = weights.take(config.entry("receptive_field").whole(1, MAX_TAPS))
    found: list[tuple[str, Any]] = [("fir", FIR(1, taps))]
    if config.entry("bias").flag():
        found.append(("offset", Offset(weights.take(1))))
    return Network(found, 1, 1)
