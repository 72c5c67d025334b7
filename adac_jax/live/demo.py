"""A training to listen to: a network of sixteen combs becomes a hall."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from adac_jax import losses, nn
from adac_jax.fitting.training import COMPILER
from adac_jax.macros import with_controls
from adac_jax.nn.module import Module

LINES = 16
SHORTEST, LONGEST = 0.017, 0.071
"""Seconds of the delay lines."""
BEGINNING = 0.25, 0.2
"""Seconds of decay by 60 dB that the network begins with, at 0 Hz and at half the sample rate."""
T60_LOW, T60_HIGH = 1.9, 0.7
"""Seconds of decay of the target at 0 Hz and at half the sample rate."""
SECONDS = 1.2
"""Length of the responses that are compared."""
MIXING = 0.02
"""How much of a random rotation the lines are mixed by at first: hardly any, which rings."""
LOUDER = 6.0
"""Gain of the outputs at first, for the energy of the response to be about one."""
RATE = 0.04
"""Adam's step."""
FLAT, LEVEL = 4.0, 0.1
"""Weights of the spectrum's flatness, and of the level in dB squared, beside the decay in dB."""


def target(sample_rate: float) -> np.ndarray:
    """Noise that decays like a hall, (time, 2): fast at high frequencies, slowly at low ones."""
    count = round(SECONDS * sample_rate)
    t = np.arange(count) / sample_rate
    noise = np.random.default_rng(5).standard_normal((2, count))
    bands = np.fft.rfft(noise)
    share = np.linspace(0, 1, bands.shape[1]) ** 0.5
    low, high = np.fft.irfft(bands * (1 - share), count), np.fft.irfft(bands * share, count)
    fall = -3 * np.log(10) * t
    x = low * np.exp(fall / T60_LOW) + high * np.exp(fall / T60_HIGH)
    return (x / np.sqrt(np.sum(x**2, axis=1, keepdims=True))).T


def network(sample_rate: float) -> nn.FDN:
    """The network before it is trained: its lines hardly mix, and it rings like pipes."""
    rngs = nnx.Rngs(3)
    m = nn.mutually_prime_delays(LINES, round(SHORTEST * sample_rate), round(LONGEST * sample_rate))
    absorption = nn.OnePole.from_t60(*BEGINNING, m, sample_rate=sample_rate, train="t60")
    model = nn.FDN(m, outputs=2, matrix="orthogonal", absorption=absorption, rngs=rngs)
    weight = model.matrix.weight  # type: ignore[attr-defined]
    weight[...] = MIXING * weight[...]
    gain = model.output_gain.weight  # type: ignore[attr-defined]
    gain[...] = LOUDER * gain[...]
    model.sample_rate = sample_rate
    return model


class Training:
    """The network, the target, and the steps between them.

    Args:
        sample_rate: Hertz.

    Attributes:
        model: The network with knobs, as it is to be heard; changed by each step.
    """

    def __init__(self, sample_rate: float = 48000.0) -> None:
        self._network = network(sample_rate)
        self.model: Module = with_controls(
            self._network, ["level", "pre-delay", "brightness", "mix"], sample_rate=sample_rate
        )
        self._target = jnp.asarray(target(sample_rate), jnp.float32)
        self._impulse = jnp.zeros((len(self._target), 1)).at[0].set(1.0)
        self._sample_rate = sample_rate

    def steps(self, count: int) -> Iterator[jax.Array]:
        """Trains; gives the loss after each step."""
        graph, state = nnx.split(self._network)
        optimiser = optax.adam(RATE)
        moments = optimiser.init(state)

        def loss(state: nnx.State) -> jax.Array:
            y = nnx.merge(graph, state)(self._impulse)
            decay = losses.energy_decay_relief(y, self._target, self._sample_rate)
            flat = losses.spectral_flatness(jnp.fft.rfft(y, axis=0))
            level = 10 * jnp.log10(jnp.mean(jnp.sum(y**2, axis=0)))
            return decay + FLAT * flat + LEVEL * level**2

        def step(state: nnx.State, moments: optax.OptState):
            value, gradient = jax.value_and_grad(loss)(state)
            updates, moments = optimiser.update(gradient, moments)
            return optax.apply_updates(state, updates), moments, value

        options = COMPILER if jax.default_backend() == "cpu" else None
        compiled = jax.jit(step, compiler_options=options)
        for _ in range(count):
            state, moments, value = compiled(state, moments)
            nnx.update(self._network, state)
            yield jax.block_until_ready(value)


__all__ = ["Training"]
