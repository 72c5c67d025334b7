"""Models in which a knob stands in every place a number may: what the tests of controls share."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from adac_jax import (
    control,
    delay,
    feedback,
    fir,
    fractional_delay,
    lfilter,
    sosfilt,
    state_variable,
    variable_delay,
)

RATE = 48000
Model = Callable[[jax.Array], jax.Array]


def knob(name: str = "g", default: float = 0.5, low: float = 0.0, high: float = 0.9) -> jax.Array:
    return control(name, default, low, high)


def gain(x):
    return x * 10 ** (control("gain", -6, -60, 12, "dB") / 20)


def gains(x):
    return x * jnp.stack([knob(), 1 - knob("h")])


def pole(x):
    p = jnp.exp(-1 / (control("tau", 0.01, 0.001, 1, "s", "log") * RATE))
    return lfilter(jnp.stack([1 - p]), jnp.stack([jnp.ones_like(p), -p]), x)


def state_variable_filter(x):
    f = control("f", 1000, 20, 15000, "Hz", "log")
    return state_variable(x, f, control("R", 0.7, 0.1, 2), sample_rate=RATE)[0]


def biquad(x):
    w = 2 * jnp.pi * control("f", 1000, 200, 15000, "Hz", "log") / RATE
    a, c = jnp.sin(w) / 2, jnp.cos(w)
    return sosfilt(jnp.stack([(1 - c) / 2, 1 - c, (1 - c) / 2, 1 + a, -2 * c, 1 - a])[None], x)


def biquads_by_channel(x):
    r = knob() * jnp.array([0.5, 1.0])
    one = jnp.ones_like(r)
    sos = jnp.stack([one, 0 * r, 0 * r, one, -r, r * r / 2])
    return sosfilt(jnp.stack([sos, sos]), x)


def rotation(x):
    t = control("angle", 0.3, 0, 3.14)
    return x @ jnp.array([[jnp.cos(t), jnp.sin(t)], [-jnp.sin(t), jnp.cos(t)]])


def in_feedback(x):
    g = knob()

    @jax.jit
    def inner(u):
        return delay(u, (3, 5)) * g * knob("h", 0.5, 0, 1)

    return feedback(inner, x)


def in_a_scan(x):
    def step(c, v):
        c = c * knob() + v
        return c, c

    return lax.scan(step, jnp.zeros(2, x.dtype), x)[1]


def round_a_scan(x):
    g = knob()

    def step(c, v):
        c = c * g + v
        return c, c

    return lax.scan(step, jnp.zeros(2, x.dtype), x)[1]


def linear_delay(x):
    return fractional_delay(x, control("d", 10.3, 5, 40), order=1, minimum=1, maximum=64)


def cubic_delay(x):
    d = control("d", 10.3, 5, 40) * jnp.array([1.0, 0.5])
    return fractional_delay(x, d, order=3, minimum=1, maximum=64)


def whole_delay(x):
    d = jnp.round(control("d", 10, 5, 40)).astype(jnp.int32)
    return variable_delay(x, d, maximum=64)


def taps(x):
    g = knob()
    return fir(x, jnp.stack([1 + 0 * g, g, g * g]))


def crossfade(x):
    m = control("mix", 0.3, 0, 1)
    return jnp.sqrt(1 - m) * x + jnp.sqrt(m) * delay(x, 7)


def branches(x):
    on = control("mode", 0, 0, 1) > 0.5
    return lax.cond(on, lambda x: 2 * x, lambda x: jnp.tanh(x), x)


def switch(x):
    of = [lambda x: x, lambda x: 2 * x, lambda x: delay(x, 1)]
    return lax.switch(control("mode", 0, 0, 2).astype(jnp.int32), of, x)


def repeated_over_time(x):
    return x + jnp.full_like(x, knob()) + jnp.ones_like(x) * knob() + jnp.zeros_like(x).at[:].add(1)


def counted_loop(x):
    g = knob()
    return x * lax.fori_loop(0, 5, lambda k, a: a * g + k, g)


def scan_over_channels(x):
    def step(c, v):
        return c * knob() + v, c * knob("h", 0.1, 0, 1)

    return x * lax.scan(step, knob(), jnp.arange(2.0))[1]


def scan_that_only_asks(x):
    return x * lax.scan(lambda c, v: (c, v * knob()), 0.0, jnp.arange(2.0))[1]


def table(x):
    return x * jnp.array([0.1, 0.5, 0.9])[control("place", 1, 0, 2).astype(jnp.int32)]


def mapped(x):
    def one(channel, k):
        return channel * knob() ** k

    return jax.vmap(one, in_axes=(1, 0), out_axes=1)(x, jnp.arange(2.0))


def written_into_a_matrix(x):
    return x @ jnp.eye(2).at[0, 1].set(knob())


def normalised(x):
    g = knob()
    return x * jnp.linalg.norm(jnp.stack([g, 1 - g])) + jax.nn.softmax(jnp.stack([g, 2 * g])) * x


def time_last(x):
    return jnp.moveaxis(jnp.moveaxis(x, 0, 1) * knob() * jnp.array([[1.0], [2.0]]), 1, 0)


def chosen(x):
    limit = knob("h", 0.1, 0.05, 1)
    return jnp.where(knob() > 0.4, x, jnp.clip(x, -limit, limit))


MODELS: dict[str, Model] = {
    function.__name__: function
    for function in (
        gain, gains, pole, state_variable_filter, biquad, biquads_by_channel, rotation, in_feedback,
        in_a_scan, round_a_scan, linear_delay, cubic_delay, whole_delay, taps, crossfade, branches,
        switch, repeated_over_time, counted_loop, scan_over_channels, scan_that_only_asks, table,
        mapped, written_into_a_matrix, normalised, time_last, chosen,
    )
}  # fmt: skip

SAFE: dict[str, Callable[..., jax.Array]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "max": jnp.maximum,
    "ratio": lambda a, b: a / (1 + b * b),
    "exp": lambda a, b: jnp.exp(-jnp.abs(a)),
    "decibels": lambda a, b: 10 ** (jnp.clip(a, -3, 1) / 20),
    "tanh": lambda a, b: jnp.tanh(a + b),
    "atan2": lambda a, b: jnp.arctan2(a, 1 + jnp.abs(b)),
    "sin": lambda a, b: jnp.sin(a),
    "root": lambda a, b: jnp.sqrt(1 + a * a),
    "where": lambda a, b: jnp.where(a > 0.25, b, a),
    "norm": lambda a, b: jnp.linalg.norm(jnp.stack([a, b, a * b])),
    "product": lambda a, b: (jnp.stack([a, b]) @ jnp.array([[1.0, 0.5], [-0.5, 1.0]])).sum(),
    "sorted": lambda a, b: jnp.sort(jnp.stack([a, b]))[0],
    "cumsum": lambda a, b: jnp.cumsum(jnp.stack([a, b, a]))[2] / 3,
}
"""Functions of two numbers whose values stay within a few units, and which lose few bits."""


def random_number(rng: np.random.Generator) -> Callable[[], jax.Array]:
    """A random expression of up to three knobs; all draws are made now."""
    names = ["a", "b", "c"]
    steps = [
        (str(rng.choice(list(SAFE))), int(rng.integers(0, 3 + k)), int(rng.integers(0, 3 + k)))
        for k in range(int(rng.integers(2, 7)))
    ]
    nested = rng.random() < 0.3

    def number() -> jax.Array:
        values = [control(name, 0.25 * k, -1, 1.5) for k, name in enumerate(names)]
        for name, left, right in steps:
            values.append(jnp.tanh(SAFE[name](values[left], values[right])))
        return values[-1]

    return jax.jit(number) if nested else number


def random_model(seed: int) -> Model:
    """A random function of knobs in a random place."""
    rng = np.random.default_rng(seed)
    number, second = random_number(rng), random_number(rng)
    matrix = rng.uniform(-1, 1, (2, 2))

    def gain(x):
        return x * number() + delay(x, 3) * jnp.stack([second(), number()])

    def loop(x):
        g = 0.9 * jnp.tanh(number())
        return feedback(lambda u: delay(u, (2, 7)) * g * jnp.abs(second()), x)

    def pole(x):
        p = 0.9 * jnp.tanh(number())
        return lfilter(jnp.stack([1 - jnp.abs(p), second()]), jnp.stack([jnp.ones_like(p), -p]), x)

    def mix(x):
        return x @ (matrix * number() + jnp.asarray(matrix.T) * second())

    def late(x):
        d = 20 + 10 * jnp.tanh(number())
        return fractional_delay(x, d, order=1, minimum=1, maximum=40) * second()

    def recursion(x):
        p = 0.9 * jnp.tanh(number())

        def step(c, v):
            c = c * p + v * second()
            return c, jnp.tanh(c)

        return lax.scan(step, jnp.zeros(2, x.dtype), x)[1]

    places: list[Model] = [gain, loop, pole, mix, late, recursion]
    return places[int(rng.integers(len(places)))]
