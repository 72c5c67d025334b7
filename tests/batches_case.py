"""Networks, data and a plain training loop that the tests of batches share with their children."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from adac_jax import losses, nn

LENGTH, STEPS = 300, 3
DELAYS = (7, 11, 17)
RATE, MOMENTUM = 0.05, 0.9
OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(RATE, momentum=MOMENTUM))
EPS = float(np.finfo(np.float64).eps)
# Gradients are clipped to norm 1, so that each step moves a model by RATE / (1 - MOMENTUM) at most.
# They are sums over LENGTH samples of as many products as there are lines and coefficients (60 at
# most), each rounded some ten times (the windowed FFTs of 64 samples: 2 log2(64)).
BOUND = STEPS * RATE / (1 - MOMENTUM) * LENGTH * 60 * 10 * EPS
# Losses follow parameters with slopes of some ten at most.
LOSS_BOUND = 10 * BOUND


def network(seed: int) -> nn.FDN:
    """With a matrix exponential, which XLA does not divide among devices."""
    return nn.FDN(DELAYS, absorption=np.full(3, 0.8), rngs=nnx.Rngs(seed))


def impulse() -> jax.Array:
    return jnp.zeros((LENGTH, 1)).at[0].set(1.0)


def targets(members: int) -> np.ndarray:
    """Decaying noise, (members, LENGTH, 1)."""
    noise = np.random.default_rng(5).standard_normal((members, LENGTH, 1))
    return noise * np.exp(-np.arange(LENGTH) / 80)[:, None]


def loss(model: nnx.Module, target: jax.Array) -> jax.Array:
    """With FFTs, which XLA does not divide either."""
    y = model(impulse())
    stft = losses.multi_resolution_stft(y, target, ((64, 16, 64),))
    return stft + losses.error_to_signal_ratio(y, target)


def alone(seeds: Sequence[int], targets: np.ndarray) -> list[tuple[nnx.State, list[float]]]:
    """The parameters after STEPS steps of each network by itself, and the losses before each.

    Network k has the target k.
    """
    graphdef, _ = nnx.split(network(0))

    @jax.jit
    def gradient(parameters, target):
        return jax.value_and_grad(lambda p: loss(nnx.merge(graphdef, p), target))(parameters)

    found = []
    for k in seeds:
        parameters = nnx.state(network(k))
        state, values = OPTIMISER.init(parameters), []
        for _ in range(STEPS):
            value, slope = gradient(parameters, targets[k])
            updates, state = OPTIMISER.update(slope, state, parameters)
            parameters = optax.apply_updates(parameters, updates)
            values.append(float(value))
        found.append((parameters, values))
    return found


def assert_trees_close(found: object, wanted: object, bound: float) -> None:
    """Equal trees to an absolute bound."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=0, atol=bound)
