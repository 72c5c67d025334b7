"""One training step of adac_jax, its parts, other ways to the gradient, the machine's limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers.serving import pin, serve

pin()
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402

import adac_jax  # noqa: E402
from adac_jax import blocks, losses, nn  # noqa: E402
from adac_jax.frequency import frequency_response  # noqa: E402
from peers.case import BANDWIDTH, LEARNING_RATE, RATE, Case  # noqa: E402

Loss = Callable[[nnx.State], jax.Array]


def network(case: Case) -> nn.FDN:
    """The network that both sides train."""
    n, values = case.lines, case.parameters()
    if case.filters == "gains":
        filters = nn.Gain(n, values["gains"])
    else:
        filters = nn.GEQ(n, values["equalisers"], bandwidth=BANDWIDTH, sample_rate=RATE)
    return nn.FDN(
        case.delays,
        matrix=nn.Orthogonal(n, weight=values["matrix"]),
        absorption=filters,
        input_gain=values["input_gain"],
        output_gain=values["output_gain"],
    )


def colourless(case: Case) -> tuple[Loss, nnx.State]:
    """The mean of (|H| - 1)² over the bins, by the reading that is asked for, and its parameters.

    Input, output gains and matrix are trained, and equalisers if there are any.
    """
    model = network(case)
    trained = nnx.Param if case.filters == "equalisers" else _not_absorption
    graphdef, start, fixed = nnx.split(model, trained, ...)
    impulse = jnp.zeros((case.length, 1)).at[0].set(1.0)
    if case.what == "frequency":
        response = frequency_response(model)

        def spectrum(state: nnx.State) -> jax.Array:
            return response.bins(case.length, nnx.merge_state(state, fixed))[:, 0, 0]

    elif case.what == "scan":
        traced = adac_jax.trace(model)

        def spectrum(state: nnx.State) -> jax.Array:
            values = traced.coefficients(nnx.merge_state(state, fixed))
            found = blocks.run_whole(traced.graph, values, [impulse.T], case.length, in_place=False)
            return losses.spectrum(found[0].T)

    else:

        def spectrum(state: nnx.State) -> jax.Array:
            return losses.spectrum(nnx.merge(graphdef, state, fixed)(impulse))

    def loss(state: nnx.State) -> jax.Array:
        return losses.colourless(spectrum(state))

    return loss, start


def _not_absorption(path: tuple[object, ...], value: object) -> bool:
    return isinstance(value, nnx.Variable) and path[0] != "absorption"


def training_step(case: Case) -> Callable[[], float]:
    """Forward, loss, backward, Adam."""
    loss, state = colourless(case)
    optimizer = optax.adam(LEARNING_RATE)

    def step(state: nnx.State, moments: optax.OptState) -> tuple[Any, optax.OptState, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(state)
        updates, moments = optimizer.update(gradient, moments, state)
        return optax.apply_updates(state, updates), moments, value

    compiled = jax.jit(step, donate_argnums=(0, 1))
    held = [state, optimizer.init(state)]

    def run() -> float:
        *held[:], value = compiled(*held)
        # All that one call computes is there when any of it is.
        return float(value)

    return run


def forward(case: Case) -> Callable[[], float]:
    """The loss alone."""
    loss, state = colourless(case)
    compiled = jax.jit(loss)
    return lambda: float(compiled(state))


def gradient(case: Case) -> Callable[[], float]:
    """The loss and its gradient, by the reading that the case names."""
    loss, state = colourless(case)
    compiled = jax.jit(jax.value_and_grad(loss))
    return lambda: float(jax.block_until_ready(compiled(state))[0])


def product(case: Case) -> Callable[[], float]:
    """One product of square matrices with as many multiply-adds as the gradient needs."""
    size = round(case.products() ** (1 / 3))
    a, b = np.random.default_rng(0).normal(size=(2, size, size)).astype(np.float32)
    a, b, compiled = jnp.asarray(a), jnp.asarray(b), jax.jit(jnp.matmul)
    return lambda: float(jax.block_until_ready(compiled(a, b))[0, 0])


def copy(case: Case) -> Callable[[], float]:
    """A copy that reads and writes, together, as many bytes as the gradient needs."""
    x = jnp.ones(case.moved() // 8)
    # A product with a number that is not known beforehand: XLA gives it to all cores, and a plain
    # copy to one. It takes as long as memory does.
    compiled = jax.jit(lambda x, factor: x * factor)
    return lambda: float(jax.block_until_ready(compiled(x, 1.0))[0])


MEASURED: dict[str, Callable[[Case], Callable[[], float]]] = {
    "step": training_step,
    "forward": forward,
    "gradient": gradient,
    "scan": gradient,
    "frequency": gradient,
    "product": product,
    "copy": copy,
}


if __name__ == "__main__":
    serve(lambda case: MEASURED[case.what](case), ("adac_jax", "jax", "flax", "optax", "numpy"))
