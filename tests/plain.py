"""Networks in plain NumPy, one sample at a time, and how models are compared with them.

All in float64. Where a tolerance is `EPS * n`, n is the number of rounded operations that one
output sample may pass: at most its terms times the passes round the loop; signals are of magnitude
about 1.
"""

from __future__ import annotations

from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.signal
from flax import nnx

import ir.interpreter
from adac_jax import nn, trace
from adac_jax.primitives import sosfilt

EPS = float(np.finfo(np.float64).eps)
RNG = np.random.default_rng(1)
START = RNG.bit_generator.state


@contextmanager
def double():
    """Float64, strict promotion, and the same random numbers in whatever order tests run."""
    RNG.bit_generator.state = START
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        yield


def noise(length: int, channels: int) -> np.ndarray:
    return RNG.uniform(-1, 1, (length, channels))


def impulse(length: int, channels: int = 1) -> jax.Array:
    return jnp.zeros((length, channels)).at[0].set(1)


def interpreted(model, x: np.ndarray) -> np.ndarray:
    """The model's graph, run by the reference interpreter."""
    return ir.interpreter.run(trace(model).program, x)[0]


def nodes(model) -> list:
    return list(trace(model).program.graph.nodes)


class Sections(nn.Module):
    """A cascade of given sections on each channel; what these tests put into loops."""

    def __init__(self, sos: np.ndarray) -> None:
        self.sos = nnx.Param(jnp.asarray(sos))
        self.inputs = self.outputs = sos.shape[-1]

    def __call__(self, x):
        return sosfilt(self.sos[...], x)


def sections(channels: int) -> np.ndarray:
    """(2, 6, channels): stable sections that attenuate everywhere."""
    poles, angles = RNG.uniform(0.1, 0.6, (2, channels)), RNG.uniform(0, np.pi, (2, channels))
    one = np.ones_like(poles)
    b = 0.3 * np.stack([one, RNG.uniform(-0.5, 0.5, one.shape), 0.2 * one], axis=1)
    a = np.stack([one, -2 * poles * np.cos(angles), poles**2], axis=1)
    return np.concatenate([b, a], axis=1)


class Line:
    """Delay lines of at least one sample: read, then write."""

    def __init__(self, samples) -> None:
        self.past = [[0.0] * int(m) for m in samples]

    def read(self) -> np.ndarray:
        return np.array([p[0] for p in self.past])

    def write(self, x: np.ndarray) -> None:
        for p, value in zip(self.past, x, strict=True):
            p.append(value)
            p.pop(0)


class Step:
    """Delays of any length, and sections, as functions of one sample."""

    def __init__(self, samples=None, sos=None) -> None:
        self.samples, self.sos, self.past = samples, sos, []
        if sos is not None:
            self.state = np.zeros((len(sos), 2, sos.shape[-1]))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        if self.samples is not None:
            self.past.append(x)
            t = len(self.past) - 1
            return np.array(
                [self.past[t - m][i] if m <= t else 0.0 for i, m in enumerate(self.samples)]
            )
        for k, (b0, b1, b2, a0, a1, a2) in enumerate(self.sos):
            y = (b0 * x + self.state[k, 0]) / a0
            self.state[k, 0] = b1 * x - a1 * y + self.state[k, 1]
            self.state[k, 1] = b2 * x - a2 * y
            x = y
        return x


class Network:
    """s = F (B x + A s), y = C s + D x, written out."""

    def __init__(self, m, A, B, C, D=0.0, absorption=None, fed_back=None, inner=None) -> None:
        self.line, self.A, self.B, self.C, self.D = Line(m), A, B, C, D
        same = [lambda s: s] * 3
        self.absorption, self.fed_back, self.inner = (
            given or default
            for given, default in zip((absorption, fed_back, inner), same, strict=True)
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        s = self.absorption(self.line.read())
        self.line.write(self.B @ x + self.fed_back(self.A @ self.inner(s)))
        return self.C @ s + self.D @ x if np.ndim(self.D) else self.C @ s

    def run(self, x: np.ndarray) -> np.ndarray:
        return np.array([self(sample) for sample in x])


def gains(n: int, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    B, C = RNG.uniform(-0.7, 0.7, (n, inputs)), RNG.uniform(-0.7, 0.7, (outputs, n))
    return {"input_gain": B, "output_gain": C, "direct": RNG.uniform(-1, 1, (outputs, inputs))}


def contraction(n: int) -> np.ndarray:
    """0.8 times an orthogonal matrix."""
    return 0.8 * scipy.linalg.qr(RNG.normal(size=(n, n)))[0]


def agree(model, wanted: np.ndarray, x: np.ndarray, operations: int) -> None:
    """JAX and the traced graph both give what is wanted."""
    scale = max(1.0, np.abs(wanted).max())
    got = np.asarray(jax.jit(model)(jnp.asarray(x)))
    assert np.abs(got - wanted).max() <= EPS * operations * scale
    assert np.abs(interpreted(model, x) - wanted).max() <= EPS * operations * scale
