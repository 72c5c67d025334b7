"""Derivatives of random loops in loops: tangents against cotangents, and against differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from differentiated import Differentiated, everything
from gradient_models import LENGTH, Example, noise
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jax import Array
from plain import double

from adac_jax import delay, feedback, fir, fractional_delay, lfilter, sosfilt

Part = Callable[[Any, Array], Array]
SOS = np.array([[0.3, 0.1, 0.05, 1.0, -0.6, 0.2]])


class Grower:
    """Puts parts together, each a function of (parameters, signal) of slope about one at most.

    What comes next is drawn from a seed of its own: hypothesis would repeat itself, and here
    variety is what counts.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.n = self.number(1, 3)
        self.parameters: list[np.ndarray] = []

    def one(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def parameter(self, *shape: int, size: float = 1.0) -> Callable[[Any], Array]:
        """A trained array, as a function of all parameters."""
        self.parameters.append(self.rng.uniform(-size, size, shape))
        k = len(self.parameters) - 1
        return lambda p: p[k]

    def lengths(self, least: int) -> tuple[int, ...]:
        return tuple(self.number(least, 12) for _ in range(self.n))

    def late(self) -> Part:
        """A delay of at least one sample."""
        if self.one(True, False, False):
            extra = self.parameter(self.n, size=0.4)
            whole = self.number(2, 6)
            return lambda p, u: fractional_delay(u, whole + 0.5 + extra(p), minimum=1, maximum=9)
        m = self.lengths(1)
        if self.one(True, False, False):
            k = m[0]
            return lambda p, u: jnp.pad(u[:-k], ((k, 0), (0, 0)))
        return lambda p, u: delay(u, m)

    def part(self, depth: int) -> Part:
        kind = self.one("gain", "matrix", "shape", "delay", "fir", "pole", "sos", "pick", "mix",
                        "by x", "loop", "loop")  # fmt: skip
        if kind == "gain":
            g = self.parameter(self.n)
            return lambda p, u: g(p) * u
        if kind == "matrix":
            A = self.parameter(self.n, self.n, size=1 / self.n)
            return lambda p, u: u @ A(p).T
        if kind == "shape":
            f = self.one(jnp.tanh, jnp.sin, jnp.arctan)
            return lambda p, u: f(u)
        if kind == "delay":
            m = self.lengths(0)
            return lambda p, u: delay(u, m)
        if kind == "fir":
            h = self.parameter(4, self.n, size=0.25)
            return lambda p, u: fir(u, h(p))
        if kind == "pole":
            a = self.parameter(self.n, size=0.6)
            return lambda p, u: (
                0.5 * lfilter(jnp.ones((1, self.n)), jnp.stack([jnp.ones(self.n), a(p)]), u)
            )
        if kind == "sos":
            return lambda p, u: sosfilt(SOS, u)
        if kind == "pick":
            k = self.rng.integers(self.n, size=self.n)
            return lambda p, u: u[:, k] / self.n
        if kind == "mix":
            left, right = self.part(depth), self.late()
            return lambda p, u: 0.5 * (left(p, u) + right(p, u))
        if kind == "by x":
            ramp = noise(LENGTH, self.n, seed=self.number(0, 99))
            return lambda p, u: ramp * u
        return self.loop(depth + 1) if depth < 2 else self.late()

    def loop(self, depth: int = 0) -> Part:
        """u = x + g body(u); what is returned is u, or a signal within the loop too."""
        late, gain = self.late(), self.one(0.4, -0.6)
        parts = [self.part(depth) for _ in range(self.number(1, 3))]
        aside = self.one(True, False)

        def run(p: Any, x: Array) -> Array:
            def body(u: Array) -> tuple[Array, Array]:
                first = v = late(p, u)
                for part in parts:
                    v = part(p, v)
                return gain * v, first

            u, first = feedback(body, x, has_aux=True)
            return first if aside else 0.5 * (u + first)

        return run


def check(seed: int) -> None:
    g = Grower(seed)
    loop, entering = g.loop(), g.parameter(g.n)

    def model(p: Any, x: Array) -> Array:
        return loop(p, x * entering(p))

    with double():
        parameters = [jnp.asarray(v) for v in g.parameters]
        found = Differentiated(Example(model, parameters, jnp.asarray(noise(LENGTH, g.n))))
        found.check([("everything", everything(found.at))])


SEEDS = st.integers(0, 2**32 - 1)
OPTIONS: dict[str, Any] = {
    "derandomize": True,
    "phases": [Phase.generate],  # a smaller seed is no simpler loop
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
}


@settings(max_examples=6, **OPTIONS)
@given(SEEDS)
def test_derivatives_of_random_loops(seed):
    check(seed)


@pytest.mark.slow
@settings(max_examples=80, **OPTIONS)
@given(SEEDS)
def test_derivatives_of_many_random_loops(seed):
    check(seed)
