"""Random causal functions of audio, as people write them with JAX; well conditioned.

A function is a list of steps, each of which takes earlier values, arrays (time, *channels), and
makes one more. The values come in four pools. *Smooth* ones are at most `LIMIT` in magnitude, and
each step says by how much it enlarges an error (its slope in the maximum norm) and how often it
rounds, so an error bound goes along with each value. *Eighths* (multiples of 1/8), integers and
truth values are exact, and only these are handed to what decides: comparisons, roundings, orders,
branches. What there is of steps is in `function_parts*.py`, and how they are called in
`function_lifts.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from function_lifts import Function, lifted, wrapped
from jax import Array

LENGTH = 61
"""Samples that a function is compared over."""
SMOOTH, EXACT = 3, 2
"""Input channels: of any numbers, and of multiples of 1/8."""
LIMIT = 2.0
"""The magnitude of smooth values; of eighths it is twice that, of integers `INTEGERS`."""
INTEGERS = 48
MOST = 12
"""Numbers a sample that a value has at most."""
LIBM = 8
"""Roundings of a function of the C library, and of a formula of a few of them."""
DTYPES = {"smooth": jnp.float64, "eighths": jnp.float64, "int": jnp.int64, "bool": jnp.bool_}


@dataclass(frozen=True)
class Value:
    """What is known of a value.

    Attributes:
        pool: "smooth", "eighths", "int" or "bool".
        shape: Its channels.
        error: How far a correct reading may be off, in units of 2^-53.
    """

    pool: str
    shape: tuple[int, ...]
    error: float = 0.0


@dataclass(frozen=True)
class Step:
    """One operation: its name, what it computes, and the positions of its arguments."""

    name: str
    function: Function
    sources: tuple[int, ...]


@dataclass(eq=False)
class Sample:
    """A function of audio (time, `SMOOTH` + `EXACT`)."""

    seed: int
    steps: list[Step]
    outputs: list[int]
    values: list[Value]

    def __call__(self, x: Array) -> Array:
        """Every output's channels side by side, as real numbers."""
        values = [x[:, :SMOOTH], x[:, SMOOTH:]]
        for step in self.steps:
            values.append(step.function(*(values[k] for k in step.sources)))
        parts = [values[k].reshape(len(x), -1).astype(x.dtype) for k in self.outputs]
        return jnp.concatenate(parts, axis=1)

    def tolerances(self) -> np.ndarray:
        """For each channel, how far two correct readings may be apart."""
        found = [[self.values[k].error] * math.prod(self.values[k].shape) for k in self.outputs]
        return 2 * 2.0**-53 * np.concatenate(found)

    def __repr__(self) -> str:
        lines = [f"Function {self.seed}: outputs {self.outputs}"]
        lines += [f"  {k + 2}: {s.name} {s.sources} -> {self.values[k + 2]}"
                  for k, s in enumerate(self.steps)]  # fmt: skip
        return "\n".join(lines)


def audio(seed: int) -> np.ndarray:
    """Noise for a function: smooth channels, then exact ones."""
    rng = np.random.default_rng(seed)
    exact = rng.integers(-8, 9, (LENGTH, EXACT)) / 8
    return np.concatenate([rng.uniform(-1, 1, (LENGTH, SMOOTH)), exact], axis=1)


class UnfitError(Exception):
    """A step does not go with the values there are; another is tried."""


@dataclass
class Grower:
    """Adds steps, one after another. The same seed with fewer steps gives the same first ones."""

    seed: int
    steps: list[Step] = field(default_factory=list)
    values: list[Value] = field(
        default_factory=lambda: [Value("smooth", (SMOOTH,)), Value("eighths", (EXACT,))]
    )

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    # Choices.

    def one(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def uniform(self, *shape: int) -> np.ndarray:
        return self.rng.uniform(-1, 1, shape)

    def rows(self, count: int, size: int) -> np.ndarray:
        """A matrix (count, size) whose rows have absolute sums of one."""
        A = self.uniform(count, size)
        return A / np.abs(A).sum(1, keepdims=True)

    def pick(
        self, *pools: str, rank: int = 0, shape: tuple[int, ...] | None = None, last: int = 0
    ) -> int:
        """A value of one of these pools, newer ones more likely.

        Raises:
            UnfitError: there is none.
        """
        found = [
            k for k, v in enumerate(self.values)
            if v.pool in pools and len(v.shape) >= rank and (shape is None or v.shape == shape)
            and (not last or v.shape[-1:] == (last,))
        ]  # fmt: skip
        if not found:
            raise UnfitError
        return max(self.one(*found), self.one(*found))

    def number_of(self, k: int) -> int:
        """The last axis of a value."""
        return self.values[k].shape[-1]

    # Steps.

    def push(
        self,
        name: str,
        pool: str,
        function: Function,
        *sources: int,
        slope: float = 1.0,
        size: float = LIMIT,
        roundings: float = LIBM,
        lift: bool = True,
    ) -> int:
        """Adds a step.

        Args:
            name: What it is called.
            pool: The pool of its result.
            function: Of arrays (*channels) a sample, or (..., *channels), if lifted; else of arrays
                (time, *channels).
            sources: Its arguments.
            slope: By how much errors of its arguments, added up, can grow.
            size: The largest magnitude of its result, or of what it computes on the way.
            roundings: How often it rounds, relative to `size`.
            lift: Whether it is written for one sample.

        Raises:
            UnfitError: the result is empty or too large.
        """
        arguments = [self.values[k] for k in sources]
        lead = () if lift else (LENGTH,)
        specs = [jax.ShapeDtypeStruct((*lead, *v.shape), DTYPES[v.pool]) for v in arguments]
        result: Any = jax.eval_shape(function, *specs)
        shape = tuple(result.shape[len(lead) :])
        if not 0 < math.prod(shape) <= MOST or len(shape) > 3:
            raise UnfitError
        assert result.dtype == DTYPES[pool], f"{name} makes {result.dtype}, not {pool}"
        error = 0.0
        if pool == "smooth":
            error = slope * sum(v.error for v in arguments) + roundings * max(size, LIMIT)
            scale = 2.0 ** -max(0, math.ceil(math.log2(size / LIMIT)))
            if scale < 1:
                function, error = _scaled(function, scale), error * scale
        way, function = (
            lifted(self.one, function, bool(shape) and all(v.shape for v in arguments))
            if lift
            else ("", function)
        )
        wrap, function = wrapped(self.one, function)
        self.steps.append(Step(" ".join(filter(None, (wrap, way, name))), function, sources))
        self.values.append(Value(pool, shape, error))
        return len(self.values) - 1

    def sample(self) -> Sample:
        """The function: it returns what no step reads, and the last value."""
        read = {k for step in self.steps for k in step.sources}
        outputs = [k for k in range(2, len(self.values)) if k not in read] or [0, 1]
        return Sample(self.seed, self.steps, outputs[-6:], self.values)


def _scaled(function: Function, scale: float) -> Function:
    return lambda *xs: function(*xs) * scale


Maker = Callable[[Grower], Any]
MAKERS: list[Maker] = []
"""What may come next; a maker that stands there twice comes twice as often."""


def maker(weight: int = 1) -> Callable[[Maker], Maker]:
    """Registers what adds a step."""

    def register(function: Maker) -> Maker:
        MAKERS.extend([function] * weight)
        return function

    return register


def grown(seed: int, steps: int) -> Grower:
    """A random function of so many steps."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        g = Grower(seed)
        while len(g.steps) < steps:
            with suppress(UnfitError):
                g.one(*MAKERS)(g)
    return g


def functions(steps: int = 8) -> st.SearchStrategy[Sample]:
    """Functions of up to so many steps."""
    return st.builds(
        lambda seed, count: replace(grown(seed, count).sample(), seed=seed),
        st.integers(0, 2**32 - 1),
        st.integers(min(3, steps), steps),
    )
