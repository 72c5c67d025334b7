"""Documents as adac writes them of FLAMO's models, and their frequency responses in plain NumPy.

Filters are evaluated as analogue prototypes at s = (1 - z^-1) / (1 + z^-1), where the reader makes
sections, so that the two have no formula in common.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FS = 48000
RNG = np.random.default_rng


def leaf(kind: str, params: dict[str, Any], **flamo: Any) -> dict[str, Any]:
    found = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in params.items()}
    return {"type": "Leaf", "name": kind, "module_type": kind, "params": found, "flamo": flamo}


def series(*children: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Series", "name": "s", "children": list(children)}


def parallel(*children: dict[str, Any], added: bool) -> dict[str, Any]:
    return {"type": "Parallel", "name": "p", "sum_output": added, "children": list(children)}


def recursion(forward: dict[str, Any], back: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Recursion", "name": "r", "fF": forward, "fB": back}


def document(core: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Shell", "name": "core", "children": [core], "fs": FS, "flamo": {"nfft": 4096}}


def random(seed: int, *shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    return RNG(seed).uniform(low, high, shape)


def delays(*samples: int, unit: int = 1, **flamo: Any) -> dict[str, Any]:
    """As adac writes them: FLAMO's parameter, which is samples / fs * unit, times fs."""
    values = np.array(samples, np.float64) / FS * unit * FS
    params = {"samples": np.round(values).astype(int), "samples_fractional": values}
    return leaf("parallelDelay", params, unit=unit, **({"isint": True} | flamo))


def network(lines=(7, 11, 13, 17), outputs: int = 2, **flamo: Any) -> dict[str, Any]:
    """A feedback delay network of one input: gains, then delays and a lossy matrix in a loop."""
    n = len(lines)
    Q = np.linalg.qr(random(1, n, n))[0]
    back = series(
        leaf("Matrix", {"matrix": Q}, matrix_type="orthogonal"),
        leaf("parallelGain", {"gains": random(2, n, low=0.5, high=0.8)}),
    )
    return series(
        leaf("Gain", {"matrix": random(3, n, 1)}),
        recursion(delays(*lines, **flamo), back),
        leaf("Gain", {"matrix": random(4, outputs, n)}),
    )


def response(node: dict[str, Any], w: np.ndarray) -> np.ndarray:
    """H, (frequencies, outputs, inputs), at w in radians a sample."""
    match node["type"]:
        case "Shell":
            return response(node["children"][0], w)
        case "Series":
            H = response(node["children"][0], w)
            for child in node["children"][1:]:
                H = response(child, w) @ H
            return H
        case "Parallel":
            parts = [response(c, w) for c in node["children"]]
            return sum(parts[1:], parts[0]) if node["sum_output"] else np.concatenate(parts, 1)
        case "Recursion":  # y = F (x + B y)
            F, B = response(node["fF"], w), response(node["fB"], w)
            return np.linalg.solve(np.eye(F.shape[1]) - F @ B, F)
    return of_leaf(node, w)


def of_leaf(node: dict[str, Any], w: np.ndarray) -> np.ndarray:
    z = np.exp(-1j * w)  # z^-1
    kind, params, flamo = node["module_type"], node["params"], node["flamo"]
    if "matrix" in params:
        return np.broadcast_to(np.array(params["matrix"]), (len(w), *np.shape(params["matrix"])))
    if "gains" in params:
        return np.broadcast_to(np.diag(params["gains"]), (len(w), *[len(params["gains"])] * 2))
    if kind == "parallelDelay":
        m = np.array(params["samples_fractional"]) / flamo["unit"]
        whole = np.floor(m + 1e-9)
        lines = z[:, None] ** whole * (1 + (m - whole) * (z[:, None] - 1))  # interpolated linearly
        return _diagonal(lines)
    if "sos" in params:
        b0, b1, b2, a1, a2 = np.moveaxis(np.array(params["sos"])[..., None], 2, 0)
        return _diagonal(np.prod((b0 + b1 * z + b2 * z**2) / (1 + a1 * z + a2 * z**2), 0).T)
    raw = np.array(params["raw"])
    if kind.endswith("ilter") and "SOS" not in kind:
        H = np.sum(raw[..., None] * z ** np.arange(len(raw)).reshape(-1, *[1] * raw.ndim), 0)
    elif kind == "parallelSOSFilter":
        powers = np.stack([z**0, z, z**2])
        b, a = (np.einsum("kpoi,pf->koif", c, powers) for c in (raw[:, :3], raw[:, 3:]))
        H = np.prod(b / a, 0)
    else:
        H = FILTERS[kind.replace("parallel", "")](raw[..., None], flamo, w)
    H = np.moveaxis(H, -1, 0)
    return _diagonal(H) if H.ndim == 2 else H


def _biquad(raw, flamo, w):
    """Butterworth's low- and highpass, and the cookbook's bandpass of 0 dB; sections multiplied."""
    kind, gain = flamo["filter_type"], np.clip(abs(raw[:, -1]), 1e-3, 1e3)
    first = np.pi * raw[:, 0]
    if kind == "bandpass":
        second = np.pi * raw[:, 1]
        centre = (first + second) / 2
        octaves = np.log2(second / first)
        inverse_q = 2 * np.sinh(np.log(2) / 2 * octaves * centre / np.sin(centre))
        s = 1j * np.tan(w / 2) / np.tan(centre / 2)
        return np.prod(gain * inverse_q * s / (s * s + inverse_q * s + 1), 0)
    s = 1j * np.tan(w / 2) / np.tan(first / 2)
    top = 1 if kind == "lowpass" else s * s
    return np.prod(gain * top / (s * s + np.sqrt(2) * s + 1), 0)


def _svf(raw, flamo, w):
    kind = flamo.get("filter_type")
    f = np.tan(np.pi / 2 / (1 + np.exp(-raw[0])))
    r = np.log1p(np.exp(raw[1])) / np.log(2)
    G = 10 ** -np.log1p(np.exp(raw[2]))
    s = 1j * np.tan(w / 2) / f
    damping = 1 / r if kind == "peaking" else r
    band = 2 * r * np.sqrt(G) * s
    top = {
        "lowpass": 1,
        "highpass": s * s,
        "bandpass": s,
        "lowshelf": 1 + band + G * s * s,
        "highshelf": G + band + s * s,
        "peaking": 1 + band + s * s,
        "notch": 1 + band + s * s,
        None: (raw[2] + 1) + (raw[3] + 2) * s + (raw[4] + 1) * s * s,
    }[kind]
    return np.prod(top / (1 + 2 * damping * s + s * s), 0)


def _geq(raw, flamo, w):
    centres = 31.25 * 2 ** np.arange(1, 10)
    g = abs(raw)
    s = 1j * np.tan(w / 2)
    H = g[0] * np.ones_like(s)
    for gain, frequency, high in ((g[1], centres[0] / 2**0.5, 0), (g[-1], 16000 * 2**0.5, 1)):
        t = np.tan(np.pi * frequency / FS)
        middle = np.sqrt(2) * t * gain**0.25 * s
        low = gain**0.5 * (gain**0.5 * t * t + middle + s * s)
        other = gain**0.5 * s * s + middle + t * t
        H = H * (gain * other / low if high else low / other)
    Q = np.sqrt(2.7) / 1.7
    for gain, frequency in zip(g[2:-1], centres, strict=True):
        omega = 2 * np.pi * frequency / FS
        t, root = np.tan(omega / Q / 2), np.sqrt(gain)
        rest = root * (np.cos(w) - np.cos(omega))  # of 1 - 2 cos(ω) z^-1 + z^-2, over 2 z^-1
        H = H * (rest + 1j * gain * t * np.sin(w)) / (rest + 1j * t * np.sin(w))
    return H


FILTERS = {"Biquad": _biquad, "SVF": _svf, "GEQ": _geq}


def _diagonal(H: np.ndarray) -> np.ndarray:
    return H[:, :, None] * np.eye(H.shape[1])
