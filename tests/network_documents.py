"""Documents of trained networks, with random weights, and what they compute in plain NumPy.

Each evaluation is written from the equations of the program that the format belongs to, sample by
sample in float64, and shares nothing with the readers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

RNG = np.random.default_rng


def numbers(seed: int, *shape: int, size: float = 0.5) -> np.ndarray:
    """Multiples of 2^-20: float32 holds them exactly, and the sum of two biases too."""
    return np.round(RNG(seed).uniform(-size, size, shape) * 2**20) / 2**20


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


FUNCTIONS = {
    "": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.where(x > 0, x, 0),
    "sigmoid": sigmoid,
    "softmax": softmax,
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
}


def dense(x: np.ndarray, kernel: Any, bias: Any) -> np.ndarray:
    return x @ np.array(kernel) + np.array(bias)


def convolution(x, kernel, bias, dilation=1, groups=1) -> np.ndarray:
    """Keras' Conv1D with padding="causal": tap k meets x[t - (count - 1 - k) dilation]."""
    kernel = np.array(kernel)
    count, width, outputs = kernel.shape
    y = np.zeros((len(x), outputs)) + np.array(bias)
    each = outputs // groups
    for k in range(count):
        late = (count - 1 - k) * dilation
        past = np.vstack([np.zeros((late, x.shape[1])), x])[: len(x)]
        for g in range(groups):
            own = slice(g * each, (g + 1) * each)
            y[:, own] += past[:, g * width : (g + 1) * width] @ kernel[k][:, own]
    return y


def keras_lstm(x, W, U, b, h=None, c=None) -> np.ndarray:
    """Gates i, f, c, o."""
    W, U, b = np.array(W), np.array(U), np.array(b)
    H = len(U)
    h = np.zeros(H) if h is None else h
    c = np.zeros(H) if c is None else c
    out = []
    for v in x:
        z = v @ W + h @ U + b
        i, f, g, o = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.array(out)


def keras_gru(x, W, U, b) -> np.ndarray:
    """Gates z, r, h; reset_after=True."""
    W, U, b = np.array(W), np.array(U), np.array(b)
    H = len(U)
    h, out = np.zeros(H), []
    for v in x:
        a, s = v @ W + b[0], h @ U + b[1]
        z, r = sigmoid(a[:H] + s[:H]), sigmoid(a[H : 2 * H] + s[H : 2 * H])
        h = (1 - z) * np.tanh(a[2 * H :] + r * s[2 * H :]) + z * h
        out.append(h)
    return np.array(out)


def torch_cells(x, state: dict[str, Any], kind: str, count: int) -> np.ndarray:
    """Rows i, f, g, o of an LSTM, r, z, n of a GRU; `torch.nn.LSTM`, `torch.nn.GRU`."""
    for k in range(count):
        Wi, Wh = (np.array(state[f"rec.weight_{s}_l{k}"]) for s in ("ih", "hh"))
        bi, bh = (np.array(state[f"rec.bias_{s}_l{k}"]) for s in ("ih", "hh"))
        H = Wh.shape[1]
        h, c, out = np.zeros(H), np.zeros(H), []
        for v in x:
            a, s = Wi @ v + bi, Wh @ h + bh
            if kind == "LSTM":
                i, f, g, o = np.split(a + s, 4)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            else:
                (ar, az, an), (sr, sz, sn) = np.split(a, 3), np.split(s, 3)
                z = sigmoid(az + sz)
                h = (1 - z) * np.tanh(an + sigmoid(ar + sr) * sn) + z * h
            out.append(h)
        x = np.array(out)
    return x


def keras_layer(kind: str, inputs: int, outputs: int, seed: int, **more: Any) -> dict[str, Any]:
    """A layer as RTNeural's `model_utils.py` writes it."""
    taps, groups = more.get("taps", 1), more.get("groups", 1)
    shapes = {
        "dense": [(inputs, outputs), (outputs,)],
        "conv1d": [(taps, inputs // groups, outputs), (outputs,)],
        "lstm": [(inputs, 4 * outputs), (outputs, 4 * outputs), (4 * outputs,)],
        "gru": [(inputs, 3 * outputs), (outputs, 3 * outputs), (2, 3 * outputs)],
        "prelu": [(1, outputs)],
        "batchnorm": [(outputs,)] * 4,
        "activation": [],
    }[kind]
    weights = [numbers(seed + k, *shape).tolist() for k, shape in enumerate(shapes)]
    if kind == "batchnorm":
        weights[3] = np.abs(weights[3]).tolist()
    layer = {
        "type": kind,
        "activation": more.get("activation", ""),
        "shape": [None, None, outputs],
        "weights": weights,
    }
    if kind == "conv1d":
        layer |= {"kernel_size": [taps], "dilation": [more.get("dilation", 1)], "groups": groups}
    if kind == "batchnorm":
        layer["epsilon"] = 0.001
    return layer


def keras_document(inputs: int, *layers: dict[str, Any], **extras: Any) -> dict[str, Any]:
    return {"in_shape": [None, None, inputs], "layers": list(layers), **extras}


def run_keras(document: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """What RTNeural computes of its document."""
    for layer in document["layers"]:
        w = layer["weights"]
        match layer["type"]:
            case "dense":
                x = dense(x, *w)
            case "conv1d":
                x = convolution(x, *w, layer["dilation"][-1], layer["groups"])
            case "lstm":
                x = keras_lstm(x, *w)
            case "gru":
                x = keras_gru(x, *w)
            case "prelu":
                x = np.where(x >= 0, x, x * np.array(w[0][0]))
            case "batchnorm":
                gamma, beta, mean, variance = (np.array(v) for v in w)
                x = gamma / np.sqrt(variance + layer["epsilon"]) * (x - mean) + beta
        if layer["type"] not in ("lstm", "gru"):
            x = FUNCTIONS[layer["activation"]](x)
    return x


def run_aidax(document: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """`applyModel` of AIDA-X: gain, network and skip, gain."""
    v = x.copy()
    v[:, 0] *= 10 ** (document.get("in_gain", 0) / 20)
    y = run_keras(document, v) + document.get("in_skip", 0) * v[:, :1]
    return y * 10 ** (document.get("out_gain", 0) / 20)


def torch_document(
    kind: str, inputs=1, hidden=4, layers=1, outputs=1, skip=1, biased=True, seed=0
) -> dict[str, Any]:
    """As `SimpleRNN.save_model` of CoreAudioML writes it."""
    gates = {"LSTM": 4, "GRU": 3}[kind] * hidden
    state, width = {}, inputs
    for k in range(layers):
        state[f"rec.weight_ih_l{k}"] = numbers(seed + 5 * k, gates, width).tolist()
        state[f"rec.weight_hh_l{k}"] = numbers(seed + 5 * k + 1, gates, hidden).tolist()
        state[f"rec.bias_ih_l{k}"] = numbers(seed + 5 * k + 2, gates).tolist()
        state[f"rec.bias_hh_l{k}"] = numbers(seed + 5 * k + 3, gates).tolist()
        width = hidden
    state["lin.weight"] = numbers(seed + 98, outputs, hidden).tolist()
    if biased:
        state["lin.bias"] = numbers(seed + 99, outputs).tolist()
    data = {
        "model": "SimpleRNN",
        "unit_type": kind,
        "input_size": inputs,
        "hidden_size": hidden,
        "output_size": outputs,
        "num_layers": layers,
        "skip": skip,
        "bias_fl": biased,
    }
    return {"model_data": data, "state_dict": state}


def run_torch(document: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """`SimpleRNN.forward` of CoreAudioML."""
    data, state = document["model_data"], document["state_dict"]
    h = torch_cells(x, state, data["unit_type"], data["num_layers"])
    y = h @ np.array(state["lin.weight"]).T + np.array(state.get("lin.bias", 0.0))
    return y + x[:, : data["skip"]] if data["skip"] else y
