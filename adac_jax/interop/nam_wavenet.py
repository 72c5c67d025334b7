"""WaveNets of Neural Amp Modeler's files: what the configuration says, and whose weights are whose.

Read as `parse_config_json` and the `set_weights_` of `NAM/wavenet/model.cpp` in
sdatkinson/NeuralAmpModelerCore do. In the letters of `wavenet.py`, weights stand in this order: of
each array R (channels, inputs); of each layer conv (outputs, inputs / groups, taps) and its bias, M
(outputs, condition / groups), P, p, Q, q; H (outputs, inputs, taps) and k if "head_bias"; at the
very end the head scale, which counts, and not the one in "config".

a and s have "bottleneck" channels, by default as many as "channels"; there are P and p unless
"layer1x1" is not active, and Q and q if "head1x1" is.
"""

from __future__ import annotations

import numpy as np
from flax import nnx

from adac_jax.interop import layers
from adac_jax.interop.documents import Part
from adac_jax.interop.rtneural import MAX_CHANNELS, MAX_LOOKBACK
from adac_jax.interop.wavenet import Layer, LayerArray, WaveNet
from adac_jax.interop.weights import Weights

FUNCTIONS = {
    "Tanh": "tanh",
    "Hardtanh": "hard_tanh",
    "Fasttanh": "fast_tanh",
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "SiLU": "silu",
    "Hardswish": "hard_swish",
}
"""Activations by their names in `NAM/activations.cpp`."""
FILMS = (
    *("conv_pre_film", "conv_post_film", "input_mixin_pre_film", "input_mixin_post_film"),
    *("activation_pre_film", "activation_post_film", "layer1x1_post_film", "head1x1_post_film"),
)
UNREAD = "missing or null, for this part of newer models is not read"


def wavenet(config: Part, weights: Weights) -> WaveNet:
    """The WaveNet of a configuration.

    Raises:
        FormatError: a part is missing, of another size, or of a newer kind that is not read: a
            network for the condition, one after the arrays, FiLM, blended activations, slimmable.
    """
    for key in ("head", "condition_dsp"):
        if config.has(key):
            raise config.entry(key).error(UNREAD)
    inputs = config.entry("in_channels").whole(1, 64) if config.has("in_channels") else 1
    arrays, width, heads = [], inputs, None
    for part in config.entry("layers").parts():
        array, width, heads = _array(part, weights, inputs, width, heads)
        arrays.append(array)
    config.entry("head_scale").number()
    return WaveNet(arrays, inputs, heads or 1, weights.take(1))


def _array(
    part: Part, weights: Weights, condition: int, width: int, heads: int | None
) -> tuple[LayerArray, int, int]:
    for key in FILMS:
        if part.has(key) and part.entry(key).value is not False and _active(part.entry(key)):
            raise part.entry(key).error(UNREAD)
    if part.has("slimmable"):
        raise part.entry("slimmable").error(UNREAD)
    part.entry("input_size").whole(width, width)
    part.entry("condition_size").whole(condition, condition)
    channels = part.entry("channels").whole(1, MAX_CHANNELS)
    inner = part.entry("bottleneck").whole(1, MAX_CHANNELS) if part.has("bottleneck") else channels
    post, head = _pointwise(part, "layer1x1", True), _pointwise(part, "head1x1", False)
    if post is None and inner != channels:
        raise part.entry("bottleneck").error(f"{channels}, the channels, without a layer1x1")
    summed = inner
    if head is not None:
        summed = part.entry("head1x1").entry("out_channels").whole(1, MAX_CHANNELS)
    if heads is not None and heads != summed:
        raise part.error(f"an array whose heads have {heads} channels, as the one before gives")
    dilations = [d.whole(1, MAX_LOOKBACK) for d in part.entry("dilations").parts()]
    count = len(dilations)
    if part.has("kernel_sizes"):
        taps = [k.whole(1, MAX_LOOKBACK) for k in part.entry("kernel_sizes").parts(count)]
    else:
        taps = [part.entry("kernel_size").whole(1, MAX_LOOKBACK)] * count
    for d, k in zip(dilations, taps, strict=True):
        if d * k > MAX_LOOKBACK:
            raise part.entry("dilations").error(f"such that none times its taps exceeds {2**20}")
    mixed, groups = _groups(part, "groups_input_mixin"), _groups(part, "groups_input")
    rechannel = layers.linear(weights.take(channels, width).T)
    stack = []
    for k in range(count):
        gated = _gated(part, k, count)
        z = 2 * inner if gated else inner
        conv = _convolution(weights, channels, z, taps[k], dilations[k], groups)
        mixin = _convolution(weights, condition, z, 1, 1, mixed, biased=False)
        pair = [
            None if g is None else _convolution(weights, inner, n, 1, 1, g)
            for g, n in ((post, channels), (head, summed))
        ]
        gate = _activation(part, "secondary_activation", k, count, "Sigmoid") if gated else None
        stack.append(Layer(conv, mixin, _activation(part, "activation", k, count), gate, *pair))
    outputs, size, biased = _head(part)
    last = _convolution(weights, summed, outputs, size, 1, 1, biased=biased)
    return LayerArray(rechannel, stack, last), channels, outputs


def _convolution(
    weights: Weights, inputs: int, outputs: int, taps: int, dilation: int, groups: int, biased=True
) -> nnx.Conv:
    if inputs % groups or outputs % groups:
        raise weights.part.error(
            f"that of convolutions whose channels ({inputs} in, {outputs} out) are divided by "
            f"their groups ({groups})"
        )
    kernel = weights.take(outputs, inputs // groups, taps).transpose(2, 1, 0)
    bias = weights.take(outputs) if biased else None
    return layers.conv(kernel, bias, dilation=dilation, groups=groups)


def _groups(part: Part, key: str) -> int:
    return part.entry(key).whole(1, MAX_CHANNELS) if part.has(key) else 1


def _active(part: Part) -> bool:
    return part.entry("active").flag() if part.has("active") else True


def _pointwise(part: Part, key: str, default: bool) -> int | None:
    """The groups of a convolution of one tap; None where there is none."""
    if not part.has(key):
        return 1 if default else None
    own = part.entry(key)
    return own.entry("groups").whole(1, MAX_CHANNELS) if own.entry("active").flag() else None


def _head(part: Part) -> tuple[int, int, bool]:
    """The head's outputs, taps, and whether it has a bias: in an object, or as older files do."""
    if part.has("head"):
        head = part.entry("head")
        outputs = head.entry("out_channels").whole(1, MAX_CHANNELS)
        return outputs, head.entry("kernel_size").whole(1, 2**16), head.entry("bias").flag()
    return (
        part.entry("head_size").whole(1, MAX_CHANNELS),
        1,
        part.entry("head_bias").flag(),
    )


def _of_layer(part: Part, key: str, k: int, count: int) -> Part:
    """What an entry says about layer k: one for all, or a list."""
    entry = part.entry(key)
    return entry.parts(count)[k] if isinstance(entry.value, list) else entry


def _gated(part: Part, k: int, count: int) -> bool:
    if part.has("gating_mode"):
        return _of_layer(part, "gating_mode", k, count).text("none", "gated") == "gated"
    return part.entry("gated").flag() if part.has("gated") else False


def _activation(part: Part, key: str, k: int, count: int, default: str = "") -> nnx.Module:
    if default and not part.has(key):
        return layers.Activation(FUNCTIONS[default])
    own = _of_layer(part, key, k, count)
    kind = own.entry("type") if isinstance(own.value, dict) else own
    name = kind.text(*FUNCTIONS, "LeakyReLU")
    if name != "LeakyReLU":
        return layers.Activation(FUNCTIONS[name])
    slope = own.entry("negative_slope").number() if own.has("negative_slope") else 0.01
    return layers.PReLU(np.array([slope]))
