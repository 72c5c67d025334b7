"""Small networks that learn to be flat, and the figure by which they are judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jaxtyping import Float

from adac_jax import losses, nn
from adac_jax.frequency import FrequencyResponse, frequency_response

RATE = 48000
DELAYS = {
    4: (1499, 1889, 2381, 2999),
    6: (997, 1153, 1327, 1559, 1801, 2099),
    8: (809, 877, 937, 1049, 1151, 1249, 1373, 1499),
}
"""In samples, by the number of lines."""
LOSSES = {"symmetric": losses.colourless, "asymmetric": losses.colourless_asymmetric}
BINS = 2**18
"""n: the length of the Fourier transform by which a network is judged."""


@dataclass(frozen=True, slots=True)
class Training:
    """How networks are trained.

    Attributes:
        loss: Of |H|: a key of `LOSSES`.
        sparsity: Weight of the matrix's sparsity.
        steps: Of Adam.
        rate: Of Adam at first; it falls to 0 along a cosine.
        bins: Frequencies that a step sees.
        seed: Of these frequencies.
    """

    loss: str
    sparsity: float
    steps: int
    rate: float
    bins: int
    seed: int


def network(lines: int, gain: float, seed: int) -> nn.FDN:
    """A random network with the published delays and `gain` a sample in its loop."""
    m = np.array(DELAYS[lines])
    return nn.FDN(m, absorption=nn.Gain(lines, gain**m), rngs=nnx.Rngs(seed))


def is_trained(path: tuple[Any, ...], variable: Any) -> bool:
    """Matrix and gains at both ends, but not the gains in the loop."""
    return isinstance(variable, nnx.Param) and "absorption" not in path


def train(models: Sequence[nn.FDN], training: Training) -> list[nn.FDN]:
    """Trains networks of one shape, all at once.

    A step sees the response exactly, at `training.bins` frequencies: one drawn within each of as
    many equal bands from 0 to π, so that no resonance hides between them for long.
    """
    graphdef, _, fixed = nnx.split(models[0], is_trained, ...)
    started = [nnx.split(model, is_trained, ...)[1] for model in models]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *started)
    response = frequency_response(models[0], sample_rate=RATE)
    adam = optax.adam(optax.cosine_decay_schedule(training.rate, training.steps))
    band = math.pi / training.bins

    def loss(state: Any, omega: jax.Array) -> jax.Array:
        flat = LOSSES[training.loss](response(omega, nnx.merge_state(state, fixed)))
        A = matrix_of(nnx.merge(graphdef, state, fixed).matrix)
        return flat + training.sparsity * losses.matrix_sparsity(A)

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
        state, moments = carry
        omega = band * (jnp.arange(training.bins) + jax.random.uniform(key, (training.bins,)))
        gradient = jax.grad(loss)(state, omega)
        updates, moments = adam.update(gradient, moments)
        return (optax.apply_updates(state, updates), moments), None

    @jax.jit
    @jax.vmap
    def run(state: Any, key: jax.Array) -> Any:
        keys = jax.random.split(key, training.steps)
        return jax.lax.scan(step, (state, adam.init(state)), keys)[0][0]

    trained = run(states, jax.random.split(jax.random.key(training.seed), len(models)))
    return [
        nnx.merge(graphdef, jax.tree.map(lambda leaf, k=k: leaf[k], trained), fixed)
        for k in range(len(models))
    ]


def matrix_of(part: nn.Module) -> Float[Array, "rows columns"]:
    """What a part that mixes channels multiplies by."""
    assert isinstance(part, (nn.Orthogonal, nn.Matrix))
    return part.matrix()


def matrices(model: nn.FDN) -> dict[str, Float[np.ndarray, "rows columns"]]:
    """A, b and c of a network, by these names."""
    parts = {"A": model.matrix, "b": model.input_gain, "c": model.output_gain}
    return {name: np.asarray(matrix_of(part), np.float64) for name, part in parts.items()}


def with_gain(parameters: dict[str, Any], gain: float) -> nn.FDN:
    """The network of A, b and c with `gain` a sample in its loop."""
    lines = len(parameters["A"])
    return nn.FDN(
        DELAYS[lines],
        matrix=parameters["A"],
        absorption=gain ** np.array(DELAYS[lines], np.float64),
        input_gain=parameters["b"],
        output_gain=parameters["c"],
    )


@cache
def response_of(lines: int) -> FrequencyResponse:
    """The response of all networks of so many lines, given their parameters; call it under x64."""
    return frequency_response(with_gain(matrices(network(lines, 1.0, 0)), 1.0), sample_rate=RATE)


def levels(parameters: dict[str, Any], gain: float) -> Float[np.ndarray, " bins"]:
    """20 log10 |H| at all bins, in float64."""
    with jax.enable_x64(True):
        response = response_of(len(parameters["A"]))
        H = response.bins(BINS, nnx.state(with_gain(parameters, gain)))
        return 20 * np.log10(np.abs(np.asarray(H)[:, 0, 0]))


def impulse_response(parameters: dict[str, Any], gain: float) -> Float[np.ndarray, " time"]:
    """The first BINS samples, in float64."""
    with jax.enable_x64(True):
        impulse = jnp.zeros((BINS, 1)).at[0].set(1.0)
        return np.asarray(with_gain(parameters, gain)(impulse))[:, 0]
