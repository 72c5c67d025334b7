"""Documents of Neural Amp Modeler, with random weights, and what they compute in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from network_documents import FUNCTIONS, convolution, keras_lstm, numbers, sigmoid


def nam_document(architecture: str, config: dict[str, Any], weights: list, **more) -> dict:
    flat = np.concatenate([np.ravel(w) for w in weights]).tolist()
    return {"version": "0.5.4", "architecture": architecture, "config": config, "weights": flat} | {
        "metadata": None,
        **more,
    }


def nam_lstm(inputs=1, hidden=3, count=2) -> tuple[dict[str, Any], list]:
    """For each cell W (4 H, inputs + H), b, h, c; then the head's W and b."""
    weights, width = [], inputs
    for k in range(count):
        shapes = [(4 * hidden, width + hidden), (4 * hidden,), (hidden,), (hidden,)]
        weights += [numbers(10 * k + j, *shape) for j, shape in enumerate(shapes)]
        width = hidden
    weights += [numbers(90, hidden), numbers(91, 1)]
    config = {"input_size": inputs, "hidden_size": hidden, "num_layers": count}
    return nam_document("LSTM", config, weights, sample_rate=48000), weights


def run_nam_lstm(weights: list, x: np.ndarray) -> np.ndarray:
    *cells, head, bias = weights
    for k in range(0, len(cells), 4):
        W, b, h, c = cells[k : k + 4]
        width = x.shape[1]
        x = keras_lstm(x, W[:, :width].T, W[:, width:].T, b, h, c)
    return x @ head[:, None] + bias


def torch_conv(x, kernel, bias=0.0, dilation=1, groups=1) -> np.ndarray:
    """PyTorch's kernels are (outputs, inputs / groups, taps)."""
    return convolution(x, np.transpose(kernel, (2, 1, 0)), bias, dilation, groups)


NAM_FUNCTIONS = {
    "Tanh": np.tanh,
    "ReLU": FUNCTIONS["relu"],
    "Sigmoid": sigmoid,
    "SiLU": lambda x: x * sigmoid(x),
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "Hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "LeakyReLU": lambda x: np.where(x > 0, x, 0.01 * x),
    "Fasttanh": lambda x: (
        x
        * (
            2.45550750702956
            + 2.45550750702956 * abs(x)
            + (0.893229853513558 + 0.821226666969744 * abs(x)) * x**2
        )
        / (2.44506634652299 + (2.44506634652299 + x**2) * abs(x + 0.814642734961073 * x * abs(x)))
    ),
}


class NamWaveNet:
    """A WaveNet as its `.nam` describes it: makes the weights and evaluates them.

    Args:
        arrays: The entries of "layers".
        inputs: Channels in, which are the condition too.
    """

    def __init__(self, arrays: list[dict[str, Any]], inputs: int = 1) -> None:
        self.arrays, self.inputs = arrays, inputs
        self.weights: list[np.ndarray] = []
        self.taken = 0
        self.run(np.zeros((1, inputs)))  # which makes the weights
        config = {"layers": arrays, "head": None, "head_scale": 0.02}
        if inputs != 1:
            config["in_channels"] = inputs
        self.document = nam_document("WaveNet", config, self.weights, sample_rate=44100)

    def take(self, *shape: int) -> np.ndarray:
        if self.taken == len(self.weights):
            self.weights.append(numbers(1000 + self.taken, *shape))
        self.taken += 1
        assert self.weights[self.taken - 1].shape == shape
        return self.weights[self.taken - 1]

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """After silence for longer than any of these networks looks back."""
        silence = np.zeros((64, self.inputs))
        return self.run(np.concatenate([silence, x]))[64:]

    def run(self, x: np.ndarray) -> np.ndarray:
        self.taken, v, head = 0, x, None
        for array in self.arrays:
            v, head = self.array(array, v, x, head)
        return head * self.take(1)

    def array(self, array, v, x, total):
        channels = array["channels"]
        inner = array.get("bottleneck", channels)
        groups, mixed = array.get("groups_input", 1), array.get("groups_input_mixin", 1)
        gated = array.get("gated", array.get("gating_mode") == "gated")
        z_channels = 2 * inner if gated else inner
        function = array["activation"]
        function = NAM_FUNCTIONS[function["type"] if isinstance(function, dict) else function]
        second = NAM_FUNCTIONS[array.get("secondary_activation", "Sigmoid")]
        post = array.get("layer1x1", {"active": True, "groups": 1})
        top = array.get("head1x1", {"active": False})
        taps = array.get("kernel_sizes") or [array["kernel_size"]] * len(array["dilations"])
        u = v @ self.take(channels, v.shape[1]).T
        for dilation, count in zip(array["dilations"], taps, strict=True):
            kernel = self.take(z_channels, channels // groups, count)
            z = torch_conv(u, kernel, self.take(z_channels), dilation, groups)
            mixin = self.take(z_channels, x.shape[1] // mixed, 1)
            z = z + torch_conv(x, mixin, groups=mixed)
            a = function(z[:, :inner]) * (second(z[:, inner:]) if gated else 1)
            if post["active"]:
                kernel = self.take(channels, inner // post["groups"], 1)
                u = u + torch_conv(a, kernel, self.take(channels), groups=post["groups"])
            if top["active"]:
                outputs = top["out_channels"]
                kernel = self.take(outputs, inner // top["groups"], 1)
                a = torch_conv(a, kernel, self.take(outputs), groups=top["groups"])
            total = a if total is None else total + a
        head = array.get("head") or {
            "out_channels": array["head_size"],
            "kernel_size": 1,
            "bias": array["head_bias"],
        }
        kernel = self.take(head["out_channels"], total.shape[1], head["kernel_size"])
        return u, torch_conv(total, kernel, self.take(len(kernel)) if head["bias"] else 0.0)


def nam_array(inputs: int, channels: int, heads: int, condition: int = 1, **more) -> dict:
    entry = {
        "input_size": inputs,
        "condition_size": condition,
        "head_size": heads,
        "channels": channels,
        "kernel_size": 3,
        "dilations": [1, 2, 4],
        "activation": "Tanh",
        "gated": False,
        "head_bias": False,
    }
    return {k: v for k, v in (entry | more).items() if v is not None}
