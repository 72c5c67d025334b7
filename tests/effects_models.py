"""The table of effects that the tests cross with readings, derivatives and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import effects_plain as plain
import jax
import numpy as np
from effects_plain import RATE
from flax import nnx
from network_documents import convolution, keras_lstm, sigmoid

from adac_jax import effects
from adac_jax.effects.tone_stack import BASSMAN

LENGTH = 240


@dataclass(frozen=True)
class Example:
    """An effect, what it should compute, and from what its rounding errors are bounded.

    Attributes:
        make: The module, in float64.
        plain: (module, x) to y, in NumPy.
        operations: Rounded operations a sample, at most, on the longest way through.
        memory: Samples over which errors add up, at most.
        size: Largest number that is rounded, or the slope that its error meets times that.
        channels: Of x.
        loud: Peak of x.
    """

    make: Callable[[], Any]
    plain: Callable[[Any, np.ndarray], np.ndarray]
    operations: int
    memory: int = 1
    size: float = 1.0
    channels: int = 2
    loud: float = 1.0

    @property
    def tolerance(self) -> float:
        """Largest difference that rounding explains in float64."""
        return self.operations * self.memory * self.size * 2.0**-53

    def signal(self, seed: int = 5) -> np.ndarray:
        """Noise in bursts."""
        noise = np.random.default_rng(seed).uniform(-1, 1, (LENGTH, self.channels))
        envelope = np.where((np.arange(LENGTH) // 60) % 2 == 0, 1.0, 0.02)
        return self.loud * noise * envelope[:, None]


MODELS: dict[str, Example] = {}


def _of(kind: type, function: Callable[..., np.ndarray], options: dict[str, Any], **facts: Any):
    """One whose plain function takes what its constructor takes."""
    return Example(
        lambda: kind(2, **options, sample_rate=RATE), lambda _, x: function(x, **options), **facts
    )


# Rates and delays at which no sample falls on a kink, where differences are none of the derivative.
# A delay of 30 samples, of which each rounding meets a slope of 4 a sample; the loop of the flanger
# has a gain of 0.6 at most, so errors add up 2.5-fold over its 30 Lagrange taps.
MOVED: dict[str, dict[str, Any]] = {
    "chorus": {"delay": 4.1e-4, "depth": 2e-4, "rate": 707.0, "wave": "sine", "spread": 1.0},
    "flanger": {"delay": 1.1e-4, "depth": 3e-4, "rate": 507.0, "wave": "triangle", "spread": 0.5},
    "vibrato": {"delay": 5e-5, "depth": 5e-4, "rate": 907.0, "wave": "sine", "spread": 0.25},
}


def _moved(**options: Any) -> Callable[[Any, np.ndarray], np.ndarray]:
    options["wet"] = options.pop("mix", 1.0)
    return lambda _, x: plain.modulated_delay(x, **options)


MODELS["chorus"] = Example(
    lambda: effects.Chorus(2, mix=0.6, **MOVED["chorus"], sample_rate=RATE),
    _moved(mix=0.6, **MOVED["chorus"]),
    operations=30,
    size=120,
)
MODELS["flanger"] = Example(
    lambda: effects.Flanger(2, mix=0.8, feedback=-0.6, **MOVED["flanger"], sample_rate=RATE),
    _moved(mix=0.8, feedback=-0.6, **MOVED["flanger"]),
    operations=30,
    memory=30,
    size=120 * 2.5,
)
MODELS["vibrato"] = Example(
    lambda: effects.Vibrato(2, **MOVED["vibrato"], sample_rate=RATE),
    _moved(dry=0.0, **MOVED["vibrato"]),
    operations=30,
    size=120,
)
MODELS["tremolo"] = _of(
    effects.Tremolo,
    plain.tremolo,
    {"depth": 0.7, "rate": 607.0, "wave": "sine", "spread": 1.0},
    operations=10,
)
# Sixteen roundings a stage; a loop of gain 0.4 round stages whose state decays at 0.8 a sample
# or faster: within 240 samples, all of them.
MODELS["phaser"] = _of(
    effects.Phaser,
    plain.phaser,
    {
        "stages": 4, "low": 400.0, "high": 6000.0, "rate": 307.0, "feedback": 0.4, "mix": 0.9,
        "wave": "triangle", "spread": 0.5,
    },
    operations=64, memory=LENGTH, size=4,
)  # fmt: skip
MODELS["ping_pong"] = _of(
    effects.PingPong,
    plain.ping_pong,
    {"time": 7e-4, "feedback": 0.7, "damping": 5000.0, "dry": 0.9, "wet": 0.6},
    operations=10,
    memory=LENGTH,
    size=3,
)
# Decibels of up to 400, of which each rounding is one of 12 % a decibel; contracting.
MODELS["gate"] = _of(
    effects.Gate,
    plain.gate,
    {
        "range_db": -40.0, "threshold_db": -20.0, "ratio": 8.0, "knee_db": 6.0, "attack": 2e-4,
        "release": 1e-3,
    },
    operations=20, memory=LENGTH, size=400,
)  # fmt: skip
MODELS["limiter"] = _of(
    effects.Limiter,
    plain.limiter,
    {"ceiling_db": -9.0, "lookahead": 4e-4, "release": 2e-3},
    operations=30,
    memory=20,
    loud=1.5,
)
for _curve in plain.CURVES:
    for _anti in (False, True):
        _options: dict[str, Any] = {
            "curve": _curve, "drive_db": 14.0, "level_db": -2.0, "bias": 0.3, "antialias": _anti,
        }  # fmt: skip
        # Means of numbers below 10 over differences above `shapes.NEAR`, an eighth.
        MODELS[_curve + " averaged" * _anti] = Example(
            lambda _o=_options: effects.Waveshaper(2, **_o),
            lambda _, x, _o=_options: plain.waveshaper(x, **_o),
            operations=40,
            size=80 if _anti else 10,
        )


def _numbers(module: Any) -> list[np.ndarray]:
    return [np.asarray(leaf, float) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param))]


def _learned(module: Any, x: np.ndarray) -> np.ndarray:
    layers = [(np.asarray(n.kernel[...]), np.asarray(n.bias[...])) for n in module.layers]
    still = plain.learned_curve(layers, 0.0)
    whole = np.vectorize(lambda v: v + plain.learned_curve(layers, v) - still)
    if not module.antialias:
        return whole(x)
    points, weights = np.polynomial.legendre.leggauss(5)
    before = np.vstack([np.zeros((1, x.shape[1])), x[:-1]])
    ways = [(before + x) / 2 + p * (x - before) / 2 for p in points]
    return sum(w / 2 * whole(v) for w, v in zip(weights, ways, strict=True))


for _anti in (False, True):
    MODELS["learned curve" + " averaged" * _anti] = Example(
        lambda _a=_anti: _randomised(
            effects.LearnedWaveshaper(2, (5, 4), antialias=_a, rngs=nnx.Rngs(1)), 4
        ),
        _learned,
        operations=200,
        size=4,
    )  # fmt: skip


def _equalise(module: Any, seed: int) -> None:
    """Random gains, since those of a new equaliser do nothing."""
    shape = module.gain.db[...].shape
    module.gain.db[...] = jax.numpy.asarray(np.random.default_rng(seed).uniform(-6, 6, shape))


def _sos(module: Any, x: np.ndarray) -> np.ndarray:
    return plain.sections(x, np.asarray(module.sos()))


def _wiener() -> effects.WienerHammerstein:
    module = effects.WienerHammerstein(2, bands=3, curve="cubic", bias=0.1, sample_rate=RATE)
    _equalise(module.before, 1)
    _equalise(module.after, 2)
    return module


def _plain_wiener(module: Any, x: np.ndarray) -> np.ndarray:
    x = plain.waveshaper(_sos(module.before, x), curve="cubic", drive_db=12.0, bias=0.1)
    return _sos(module.after, x)


# Three sections of 9 operations, with poles from 20 Hz on, whose direct form multiplies a rounding
# by no more than 1 / (1 - |p|)² of what is remembered of it: the length squared, over two.
MODELS["wiener_hammerstein"] = Example(
    _wiener, _plain_wiener, operations=100, memory=LENGTH**2 // 2, size=10
)
KNOBS = {"treble": 0.8, "middle": 0.3, "bass": 0.6}


def _gray_box() -> effects.GrayBoxAmplifier:
    module = effects.GrayBoxAmplifier(2, **KNOBS, sample_rate=RATE)
    _equalise(module.speaker, 3)
    return module


def _plain_gray_box(module: Any, x: np.ndarray) -> np.ndarray:
    x = plain.waveshaper(_sos(module.coupling, x), curve="tanh", drive_db=30.0, bias=0.2)
    x = plain.tone_stack(x, *KNOBS.values(), BASSMAN)
    x = plain.waveshaper(_sos(module.decoupling, x), curve="tanh", drive_db=12.0)
    return _sos(module.speaker, x)


# As above, and what comes before a drive of 30 dB counts 32-fold.
MODELS["gray_box_amplifier"] = Example(
    _gray_box, _plain_gray_box, operations=200, memory=LENGTH**2 // 2, size=32
)
# A passive circuit: no error grows; conductances from 1e-6 to 1e-3 are solved for.
MODELS["tone_stack"] = Example(
    lambda: effects.ToneStack(2, **KNOBS, sample_rate=RATE),
    lambda _, x: plain.tone_stack(x, *KNOBS.values(), BASSMAN),
    operations=30,
    memory=LENGTH,
    size=1000,
)


def _plain_lstm(module: Any, x: np.ndarray) -> np.ndarray:
    h = x
    for layer in module.layers:
        W, U = layer.cell.dense_i, layer.cell.dense_h
        h = keras_lstm(h, W.kernel[...], U.kernel[...], U.bias[...])
    return h @ np.asarray(module.out.kernel[...]) + np.asarray(module.out.bias[...]) + x[:, :1]


def _randomised(module: Any, seed: int) -> Any:
    """Parameters of which none is zero, as biases at first are."""
    draws = np.random.default_rng(seed)
    graph, state = nnx.split(module)
    return nnx.merge(
        graph,
        jax.tree.map(
            lambda p: (
                jax.numpy.asarray(np.asarray(p, float) + draws.uniform(-0.1, 0.1, p.shape))
                if jax.numpy.issubdtype(p.dtype, np.floating)
                else p
            ),
            state,
        ),
    )


# Sums of some dozen products; gates forget within a few samples, but not certainly: all count.
MODELS["lstm"] = Example(
    lambda: _randomised(
        effects.LSTMAmplifier(4, layers=2, conditions=1, rngs=nnx.Rngs(2)), 1
    ),
    _plain_lstm, operations=60, memory=LENGTH, size=4,
)  # fmt: skip


def _plain_tcn(module: Any, x: np.ndarray) -> np.ndarray:
    def linear(layer: Any, v: np.ndarray) -> np.ndarray:
        return v @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])

    u, knobs = linear(module.first, x[:, :1]), x[:, 1:]
    heard = np.zeros_like(u)
    for layer in module.layers:
        conv = layer.conv
        z = convolution(u, conv.kernel[...], conv.bias[...], conv.kernel_dilation[0])
        if layer.film is not None:
            scale, shift = np.split(linear(layer.film, knobs), 2, axis=1)
            z = (1 + scale) * z + shift
        if layer.gated:
            left, right = np.split(z, 2, axis=1)
            a = np.tanh(left) * sigmoid(right)
        else:
            a = np.tanh(z)
        u, heard = u + linear(layer.mix, a), heard + a
    return linear(module.out, heard)


for _name, _gated, _knobs in (("tcn", False, 0), ("tcn gated", True, 0), ("tcn knobs", True, 2)):
    MODELS[_name] = Example(
        lambda _g=_gated, _k=_knobs: _randomised(
            effects.TCNAmplifier(3, (1, 4, 16), gated=_g, conditions=_k, rngs=nnx.Rngs(3)), 2
        ),
        _plain_tcn, operations=150, memory=9, size=4, channels=1 + _knobs,
    )  # fmt: skip


def space(module: Any) -> tuple[np.ndarray, ...]:
    """Δ, A, C and D of an `S4D`, from its raw parameters."""
    A = -np.exp(np.asarray(module.decay[...])) + 1j * np.asarray(module.turn[...])
    C = np.asarray(module.real[...]) + 1j * np.asarray(module.imaginary[...])
    return np.asarray(module.step()), A, C, np.asarray(module.direct[...])


def _plain_spaces(module: Any, x: np.ndarray) -> np.ndarray:
    def linear(layer: Any, v: np.ndarray) -> np.ndarray:
        return v @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])

    u = linear(module.first, x)
    for one, gate, mix in zip(module.spaces, module.gates, module.mixes, strict=True):
        left, right = np.split(
            linear(gate, plain.gelu(plain.state_space(u, *space(one)))), 2, axis=1
        )
        u = u + linear(mix, left * sigmoid(right))
    return linear(module.out, u) + x[:, :1]


# States of up to 1 / |A| = 2 times the memory; each step rounds them four times.
MODELS["s4d"] = Example(
    lambda: effects.S4D(2, 6, rngs=nnx.Rngs(4)),
    lambda module, x: plain.state_space(x, *space(module)),
    operations=20,
    memory=LENGTH,
    size=20,
)
MODELS["s4d_amplifier"] = Example(
    lambda: _randomised(
        effects.S4DAmplifier(4, layers=2, states=4, conditions=1, rngs=nnx.Rngs(5)), 3
    ),
    _plain_spaces,
    operations=150,
    memory=LENGTH,
    size=40,
)
