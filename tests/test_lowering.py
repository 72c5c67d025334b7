"""Each rule of the walker: the graph, run by the interpreter, computes what JAX computes."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_composed
import test_recurrences
from jax import lax
from readings import compared_with_jax

import adac_jax
import ir
from adac_jax import delay, feedback, fir, lfilter, sosfilt, variable_delay
from adac_jax.lowering import RULES

LENGTH = 48
# Float64 sums of at most 64 products of numbers below 8: 64 * 8 * 2^-53 = 6e-14.
TOLERANCE = 1e-13

A = np.array([[0.3, -0.5, 0.1], [0.2, 0.4, -0.3], [-0.1, 0.2, 0.5]])
PERMUTATION = np.array([2, 0, 1])
SOS = np.array([[0.2, 0.1, 0.05, 1.0, -0.6, 0.2], [1.0, -0.3, 0.0, 1.0, 0.4, 0.0]])


def scan_free_lowpass(x):
    return feedback(lambda u: 0.5 * delay(u, 1), x)


def shifted(x, m):
    return jnp.concatenate([jnp.zeros((m, x.shape[1])), x[:-m]])


def whole(x):
    return jnp.round(5 * x).astype(int)


CASES = {
    "identity": lambda x: x,
    "scalar arithmetic": lambda x: (2.0 * x - 1.0) / 4.0,
    "per channel": lambda x: x * jnp.array([1.0, -2.0, 0.5]) + jnp.array([0.1, 0.0, 0.0]),
    "nonlinear": lambda x: jnp.tanh(3 * x) + jnp.sin(x) * jnp.exp(-(x**2)),
    "where": lambda x: jnp.where(x > 0, x, 0.1 * x),
    "where of channels": lambda x: jnp.where(jnp.array([True, False, True]), x, -x),
    "clip": lambda x: jnp.clip(x, -0.5, 0.25),
    "maximum": lambda x: jnp.maximum(x, x[:, ::-1]),
    "integer powers": lambda x: x**3 + (1.5 + x) ** -2,
    "real power": lambda x: jnp.abs(x) ** 1.5,
    "round": lambda x: jnp.round(4 * x) / 4 + jnp.floor(3 * x) + jnp.ceil(2 * x),
    "sign and remainder": lambda x: jnp.sign(x) + lax.rem(5 * x, jnp.full_like(x, 1.5)),
    "integers": lambda x: (10 * x).astype(int).astype(float) / 3,
    "booleans": lambda x: ((x > 0) & (x < 0.5) | ~(x > -0.5)).astype(float),
    "softplus relu gelu": lambda x: jax.nn.softplus(x) + jax.nn.relu(x) + jax.nn.gelu(x),
    "swish in jit": lambda x: jax.jit(jax.nn.silu)(x),
    "custom jvp": lambda x: jax.nn.relu6(8 * x),
    "checkpoint": lambda x: jax.checkpoint(lambda v: jnp.sin(v) * v)(x),
    "matrix": lambda x: x @ A,
    "matrix on the left": lambda x: (jnp.asarray(A, x.dtype) @ x.T).T,
    "einsum": lambda x: jnp.einsum("tc,dc->td", x, A),
    "outer": lambda x: jnp.einsum("ti,tj->tij", x, x).reshape(len(x), 9),
    "batched product": lambda x: jnp.einsum("tij,tj->ti", jnp.einsum("ti,tj->tij", x, x), x),
    "sum over channels": lambda x: jnp.sum(x, axis=1, keepdims=True) + x,
    "max over channels": lambda x: x - jnp.max(x, axis=1, keepdims=True),
    "mean and variance": lambda x: (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1),
    "norm": lambda x: x / jnp.sqrt(1 + jnp.sum(x * x, axis=-1, keepdims=True)),
    "product": lambda x: jnp.prod(x, axis=1, keepdims=True) + jnp.min(x, axis=1)[:, None],
    "permutation": lambda x: x[:, PERMUTATION],
    "numbers added to channels": lambda x: x.at[:, PERMUTATION[:2]].add(x[:, 1:]),
    "reversed channels": lambda x: x[:, ::-1],
    "slices and concatenate": lambda x: jnp.concatenate([x[:, 1:], x[:, :1] * 2], axis=1),
    "strided channels": lambda x: x[:, ::2],
    "split": lambda x: jnp.hstack(jnp.split(x, 3, axis=1)[::-1]),
    "stack": lambda x: jnp.stack([x, 2 * x], axis=1).reshape(len(x), 6),
    "stack in front": lambda x: jnp.stack([x, x * x]).sum(0),
    "transpose twice": lambda x: (x.T * jnp.array([[1.0], [2.0], [3.0]])).T,
    "tile": lambda x: jnp.tile(x, (1, 2)),
    "repeat": lambda x: jnp.repeat(x, 2, axis=1),
    "roll channels": lambda x: jnp.roll(x, 1, axis=1),
    "pad channels": lambda x: jnp.pad(x, ((0, 0), (1, 2))),
    "one channel": lambda x: x[:, 1:2],
    "indexed channel": lambda x: x[:, 1][:, None],
    "dynamic slice": lambda x: lax.dynamic_slice_in_dim(x, 1, 2, axis=1),
    "expand and squeeze": lambda x: jnp.squeeze(jnp.expand_dims(x, 1) * 2, 1),
    "vmap over channels": lambda x: jax.vmap(jnp.sin, 1, 1)(x),
    "constant output": lambda x: jnp.ones_like(x) * 0.25,
    "array over time, constant": lambda x: x + jnp.full((len(x), 3), 0.5),
    "shift by concatenate": lambda x: shifted(x, 5),
    "shift by pad": lambda x: jnp.pad(x, ((3, 0), (0, 0)))[: len(x)],
    "shift by negative pad": lambda x: lax.pad(x, 0.0, ((2, -2, 0), (0, 0, 0))),
    "shift with a start": lambda x: jnp.concatenate([jnp.full((2, 3), 0.5), x[:-2]]),
    "difference": lambda x: jnp.pad(x[1:] - x[:-1], ((1, 0), (0, 0))),
    "difference by diff": lambda x: jnp.diff(x, axis=0, prepend=jnp.zeros((1, 3))),
    "ahead and back": lambda x: delay(jnp.concatenate([x[3:], jnp.zeros((3, 3))]), 5),
    "integers, ahead and back": lambda x: delay(jnp.pad(whole(x)[2:], ((0, 2), (0, 0))), 5) / 3.0,
    "truth, ahead and back": lambda x: (
        jnp.pad((whole(x) > 0)[2:], ((3, 0), (0, 0)))[: len(x)] / 1.0
    ),
    "function of a shift, cut": lambda x: jnp.cos(jnp.pad(x, ((4, 0), (0, 0))) + 1.0)[4:],
    "delay": lambda x: delay(x, [0, 1, 7]),
    "delay, all equal": lambda x: delay(x, 4),
    "delay longer than the signal": lambda x: delay(x, 4000),
    "delay with a start": lambda x: delay(x, [1, 2, 3], initial=np.arange(9.0).reshape(3, 3) / 8),
    "delay of a square": lambda x: delay(jnp.einsum("ti,tj->tij", x, x), 2, axis=0).sum(2),
    "delay, another axis": lambda x: delay(x.T[..., None], 2, axis=1)[..., 0].T,
    "clamp": lambda x: lax.clamp(-0.5, x, jnp.full_like(x, 0.25)),
    "copy": lambda x: lax.optimization_barrier(jnp.copy(x)),
    "square": jnp.square,
    "reverse": lambda x: lax.rev(x, (1,)),
    "reshape": lambda x: lax.reshape(x, (len(x), 1, 3))[:, 0],
    "squeeze": lambda x: lax.squeeze(x[:, :1], (1,))[:, None],
    "variable delay": lambda x: variable_delay(x, jnp.array([1, 2, 3]), maximum=4),
    "fir": lambda x: fir(x, [0.5, 0.25, -0.5]),
    "fir per channel": lambda x: fir(x, A),
    "lfilter": lambda x: lfilter([0.2, 0.3], [1.0, -0.5, 0.1], x),
    "lfilter with a state": lambda x: lfilter([0.2, 0.3], [2.0, -0.5], x, np.ones((1, 3)))[0],
    "sosfilt": lambda x: sosfilt(SOS, x),
    "sosfilt with a state": lambda x: sosfilt(SOS, x, np.ones((2, 2, 3)))[0],
    "one-pole": scan_free_lowpass,
    "network": lambda x: feedback(lambda u: delay(u, [2, 3, 5]) @ A, x),
    "network in jit": jax.jit(lambda x: feedback(lambda u: delay(u, [2, 3, 5]) @ A, x)),
    "derivative of a loop": lambda x: sum(
        jax.jvp(lambda g: feedback(lambda u: g * delay(u, [2, 3, 5]) @ A, x), (0.9,), (1.0,))
    ),
    "filter in the loop": lambda x: feedback(lambda u: sosfilt(SOS, delay(u, [2, 3, 5])) @ A, x),
    "loop in a loop": lambda x: feedback(lambda u: 0.3 * delay(scan_free_lowpass(u), 3), x),
    "loop after a loop": lambda x: scan_free_lowpass(scan_free_lowpass(x)),
    "two delays in the loop": lambda x: feedback(lambda u: delay(delay(u, [0, 1, 2]) @ A, 2), x),
    "aux out of the loop": lambda x: feedback(
        lambda u: (0.4 * delay(u, 2), jnp.sin(u)), x, has_aux=True
    )[1],
    "pytree loop": lambda x: sum(
        feedback(lambda u: (0.3 * delay(u[1], 1), 0.2 * delay(u[0], 2)), (x, 2 * x))
    ),
    "signal read inside the loop": lambda x: feedback(lambda u: x * 0.4 * delay(u, 2), x),
    "nonlinear loop": lambda x: feedback(lambda u: 0.9 * jnp.tanh(delay(u, 3)) @ A, x),
    "vmapped loop": lambda x: jax.vmap(
        lambda v: feedback(lambda u: 0.5 * delay(u, 2), v[:, None])[:, 0], 1, 1
    )(x),
    "vmapped filter": lambda x: jax.vmap(lambda v, b: fir(v[:, None], b)[:, 0], (1, 0), 1)(x, A),
}


def noise(channels: int = 3, length: int = LENGTH) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1, 1, (length, channels))


@pytest.mark.parametrize("name", CASES)
def test_graph_computes_what_jax_computes(name):
    compared_with_jax(CASES[name], noise(), TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_traced_program_survives_json(name):
    program = adac_jax.trace(CASES[name], inputs=3).program
    text = ir.dumps(program)
    assert ir.dumps(ir.loads(text)) == text


REFUSED = {
    "narrow integers": (
        lambda x: (10 * x).astype(jnp.uint8).astype(x.dtype),
        "convert_element_type",
        "uint8 have no place",
    ),
    "fft": (lambda x: jnp.fft.rfft(x, axis=0).real[:1] + x, "fft", "whole signal"),
    "reverse": (lambda x: x[::-1], "rev", "reverses time"),
    "mean": (lambda x: x - x.mean(0), "reduce_sum", "all samples"),
    "maximum over time": (lambda x: x / jnp.max(jnp.abs(x)), "reduce_max", "all samples"),
    "decimation": (lambda x: jnp.repeat(x[::2], 2, 0)[: len(x)], "slice", "sample rate"),
    "look-ahead": (
        lambda x: jnp.concatenate([x[2:], jnp.zeros((2, 3))]),
        "output",
        "2 samples ahead",
    ),
    "gram matrix": (lambda x: x @ (x.T @ x), "dot_general", "over time"),
    "one sample": (lambda x: x * x[0], "squeeze", "one sample"),
    "sorting": (lambda x: jnp.sort(x, axis=0), "sort", "all samples"),
    "time-varying array": (
        lambda x: x * jax.random.normal(jax.random.key(0), x.shape),
        "mul",
        "changes over time",
    ),
    "signal as a length": (
        lambda x: lax.while_loop(lambda c: jnp.sum(c) < 1, lambda c: c + 1, x),
        "reduce_sum",
        "",
    ),
    "reshape of time": (lambda x: x.reshape(-1, 1)[: len(x)], "reshape", "mixes time"),
    "joined in time": (lambda x: jnp.concatenate([x[:100], x[100:]]), "concatenate", "joins two"),
    "filter state": (
        lambda x: x + lfilter([1.0], [1.0, 0.5], x, np.zeros((1, 3)))[1],
        "",
        "state after the last sample",
    ),
    "too short": (lambda x: x[:-1], "", "as long as its input"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_causal_is_refused(name):
    function, primitive, reason = REFUSED[name]
    with pytest.raises(adac_jax.AdacError) as caught:
        adac_jax.trace(function, inputs=3)
    assert reason in str(caught.value)
    if primitive not in ("", "output"):
        assert isinstance(caught.value, adac_jax.RefusedError)
        assert caught.value.primitive == primitive
        # The user's own line: this file, not JAX's or this package's.
        assert re.match(r".*test_lowering\.py:\d+ \(", caught.value.where), caught.value.where


def looks_ahead(x):
    return x[3:]


def lacks_its_end(x):
    return jnp.pad(x[:-3], ((0, 3), (0, 0)))


@pytest.mark.parametrize(
    ("function", "padding"), [(looks_ahead, (0, 3)), (looks_ahead, (2, 1)), (lacks_its_end, (0, 0))]
)
def test_a_refused_output_names_the_line_that_cut_it(function, padding):
    with pytest.raises(adac_jax.RefusedError) as caught:
        adac_jax.trace(lambda x: jnp.pad(jnp.sin(function(x)), (padding, (0, 0))) + x, inputs=2)
    line = function.__code__.co_firstlineno + 1
    assert caught.value.where == f"{__file__}:{line} ({function.__name__})"


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint])
def test_a_refusal_names_the_line_in_a_function_that_is_wrapped(wrap):
    def backwards(x):
        return jnp.flip(x, axis=0)

    for _ in range(2):  # the second time from what was kept of the first
        with pytest.raises(adac_jax.RefusedError) as caught:
            adac_jax.trace(lambda x: wrap(backwards)(x), inputs=2)
        line = backwards.__code__.co_firstlineno + 1
        assert f"{__file__}:{line} " in caught.value.where


def test_one_sample_for_all_is_refused():
    with pytest.raises(adac_jax.RefusedError, match="repeats one sample over time"):
        adac_jax.trace(lambda x: x + x[:1], inputs=2)


def test_a_loop_without_delay_is_refused_by_name():
    def model(x):
        def loop(u):
            with jax.named_scope("shaper"):
                return 0.5 * jnp.tanh(u)

        return feedback(loop, x)

    with pytest.raises(
        adac_jax.DelayFreeLoopError,
        match=r"shaper.* at .*test_lowering\.py:\d+ \(.*at least one sample",
    ):
        model(jnp.zeros((8, 1)))


def test_a_partly_delay_free_loop_is_refused():
    with pytest.raises(adac_jax.DelayFreeLoopError):
        feedback(lambda u: delay(u, [0, 3]) @ np.full((2, 2), 0.1), jnp.zeros((8, 2)))


def test_an_entrance_is_added_in_the_loop():
    """The graph is that of what is made before the loop: nothing is added to silence."""

    def loop(u):
        late = delay(u, [2, 3, 5])
        return late @ A, late @ np.ones((3, 1))

    def entrance(v):
        return v @ np.full((1, 3), 0.5)

    def within(x):
        return feedback(loop, x, entrance=entrance, has_aux=True)[1]

    def before(x):
        return feedback(loop, entrance(x), has_aux=True)[1]

    graphs = [adac_jax.trace(model, inputs=1).graph for model in (within, before)]
    ops = [sorted((node.op, node.shape) for _, node in graph) for graph in graphs]
    assert ops[0] == ops[1]
    x = np.random.default_rng(0).normal(size=(40, 1))
    values = [compared_with_jax(model, x, TOLERANCE) for model in (within, before)]
    np.testing.assert_allclose(*values, rtol=0, atol=TOLERANCE)


def test_an_entrance_of_another_length_or_shape_is_refused():
    x = jnp.zeros((8, 1))
    with pytest.raises(ValueError, match=r"different lengths \[7, 8\]"):
        feedback(lambda u: 0.5 * delay(u, 2), x, entrance=lambda v: v[1:])
    with pytest.raises(ValueError, match=r"returns shapes \[\(8, 2\)\].* has \[\(8, 3\)\]"):
        feedback(lambda u: delay(u, 2)[:, :2], x, entrance=lambda v: jnp.tile(v, (1, 3)))


def test_every_rule_has_a_case():
    """Primitives that the cases above show to the walker; a rule that none reaches is untested."""
    seen: set[str] = set()

    def collect(jaxpr):
        for eqn in jaxpr.eqns:
            seen.add(eqn.primitive.name)
            for value in eqn.params.values():
                for item in value if isinstance(value, (tuple, list)) else (value,):
                    inner = getattr(item, "jaxpr", item)
                    if hasattr(inner, "eqns"):
                        collect(inner)

    for cases, channels in ((CASES, 3), (test_recurrences.CASES, 3), (test_composed.CASES, 5)):
        for function in cases.values():
            collect(jax.make_jaxpr(function)(jnp.zeros((LENGTH, channels))).jaxpr)
    elementwise = set(adac_jax.lowering.elementwise.SAME)
    untested = set(RULES) - seen - elementwise
    passed_on = {"copy_p", "optimization_barrier", "stop_gradient", "dce_sink"}
    passed_on |= {"device_put", "sharding_constraint"}
    assert untested <= passed_on | {"fractional_delay", "control"}


@pytest.mark.parametrize("name", sorted(adac_jax.lowering.elementwise.SAME))
def test_elementwise_rules(name):
    """Every elementwise primitive on its own, bound directly."""
    bits = name in ("and", "or", "xor", "not")

    def model(x):
        y = 0.3 + 0.25 * x if name not in ("acosh",) else 1.5 + 0.25 * x
        z = 0.5 - 0.4 * x[:, ::-1]
        if bits:
            y, z = y > 0.3, z > 0.5
        if name.startswith("shift"):
            y, z = (jnp.round(v).astype(jnp.int32) for v in (1000 * y, 40 * z))
        total_order = name.endswith("_to")
        function = getattr(lax, f"{name}_p").bind if total_order else _function(name)
        result = function(y) if name in _UNARY else function(y, z)
        return result.astype(x.dtype)

    x = noise()
    with jax.enable_x64(True):
        program = adac_jax.trace(model, inputs=3).program
        expected = np.asarray(model(jnp.asarray(x)))
    (found,) = ir.run(program, x)
    # The C library and XLA differ by some tens of last places (2^-52) in transcendental functions.
    assert np.max(np.abs(found - expected)) <= 64 * 2**-52 * max(1.0, np.max(np.abs(expected)))


def _function(name: str):
    return getattr(lax, _FUNCTION.get(name, name))


_FUNCTION = {"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "not": "bitwise_not",
             "add_any": "add"}  # fmt: skip
_UNARY = frozenset(
    ("neg", "abs", "sign", "floor", "ceil", "sqrt", "rsqrt", "cbrt", "exp", "exp2", "expm1", "log",
     "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh",
     "atanh", "logistic", "erf", "erfc", "not")
)  # fmt: skip
