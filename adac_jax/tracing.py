"""From a model to a program: jaxpr, walk, coefficients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from adac_jax._compat import JaxprEqn, open_jaxpr
from adac_jax.errors import AdacError, DelayFreeLoopError, RefusedError
from adac_jax.lowering import Walker
from adac_jax.lowering.source import user_line
from adac_jax.lowering.values import Known, Signal, Unusable, Value
from adac_jax.primitives.control import at_rest
from ir import Builder, Graph, Program, verify_program
from ir.passes import fold, merge, prune
from ir.verify import DTYPES

Latency = int | Literal["auto"]
TRACE_LENGTH = 65521
"""Samples that a model is traced with: a prime, so that no other axis is taken for time."""


@dataclass(frozen=True)
class Traced:
    """A traced model: one graph, and its coefficients as a function of the parameters.

    Attributes:
        graph: The structure as traced, before any pass that looks at numbers.
        function: The model as a pure function (parameters, audio) → audio.
        parameters: The parameters the model had.
        coefficients: parameters → a JAX array for each slot; jitted, differentiable.
        program: Graph and numbers: what is emitted and shipped.
        added: Samples of latency that were added, which the function does not have.
    """

    graph: Graph
    function: Callable[[Any, jax.Array], Any]
    parameters: Any
    coefficients: Callable[[Any], dict[str, jax.Array]]
    program: Program
    added: int = 0


def pure(model: Any, parameters: Any = None) -> tuple[Callable[[Any, jax.Array], Any], Any]:
    """A model as (function of parameters and audio, parameters).

    Args:
        model: An NNX module; a function of audio; or a function of (parameters, audio), or a Linen
            module, with `parameters` given.
        parameters: The parameters (any pytree) or Linen variables.

    Raises:
        AdacError: the model is nothing of this kind.
    """
    if isinstance(model, nnx.Module):
        graphdef, state = nnx.split(model)

        def run(state: Any, x: jax.Array) -> jax.Array:
            merged = nnx.merge(graphdef, state)
            if x.dtype == jnp.float64:
                _widen_layers(merged)
            return merged(x)  # type: ignore[operator]

        return run, state
    if parameters is not None and isinstance(model, linen.Module):

        def apply(variables: Any, x: jax.Array) -> Any:
            if x.dtype != jnp.float64:
                return model.apply(variables, x)
            with _widened_cells() as intercept, linen.intercept_methods(intercept):
                return model.apply(variables, x)

        return apply, parameters
    if parameters is not None and callable(getattr(model, "apply", None)):
        return model.apply, parameters
    if callable(model):
        if parameters is not None:
            return model, parameters
        return (lambda _, x: model(x)), {}
    raise AdacError(
        f"The model is a {type(model).__name__}, which cannot be called on audio; it must be a "
        "Flax module or a function."
    )


def _widen_layers(model: nnx.Module) -> None:
    """Tells Flax's layers that parameters are float64, as recurrent ones make their state of it."""
    for _, part in nnx.iter_graph(model):
        for name in ("param_dtype", "dtype"):
            if isinstance(part, nnx.Module) and getattr(part, name, None) == jnp.float32:
                setattr(part, name, jnp.float64)


@contextmanager
def _widened_cells() -> Iterator[Callable[..., Any]]:
    """The same for Linen's layers, which are frozen: what is set is set back."""
    kept: list[tuple[Any, Any]] = []

    def intercept(method: Any, arguments: Any, named: Any, context: Any) -> Any:
        parts = [context.module, getattr(context.module, "cell", None)]
        for part in parts:
            if getattr(part, "param_dtype", None) == jnp.float32:
                kept.append((part, part.param_dtype))
                object.__setattr__(part, "param_dtype", jnp.float64)
        return method(*arguments, **named)

    try:
        yield intercept
    finally:
        for part, dtype in kept:
            object.__setattr__(part, "param_dtype", dtype)


def channels_of(model: Any, inputs: int | None) -> int:
    """The number of input channels: as given, or as the model says.

    Raises:
        AdacError: neither is there, or it is negative.
    """
    found = getattr(model, "inputs", None) if inputs is None else inputs
    if not isinstance(found, (int, np.integer)) or isinstance(found, bool):
        raise AdacError(
            f"How many input channels does {type(model).__name__} take? Say `inputs=…`, or give "
            "the model an integer attribute `inputs`."
        )
    if found < 0:
        raise AdacError(f"`inputs` (={found}) must not be negative.")
    return int(found)


def trace(
    model: Any,
    *,
    parameters: Any = None,
    inputs: int | None = None,
    sample_rate: float = 48000.0,
    name: str | None = None,
    latency: Latency = 0,
) -> Traced:
    """Traces a model into a graph of per-sample operations and the values of its coefficients.

    Args:
        model: As for `pure`; called on audio of shape (time, inputs). Parameters are widened to
            float64 under x64; arrays that a plain function closes over keep their precision, so
            give a module, or `parameters`, where that matters.
        parameters: For functions of (parameters, audio) and Linen modules.
        inputs: Input channels; the model's own attribute `inputs` if None.
        sample_rate: The rate in hertz that the model was made for; kept in the graph.
        name: The graph's name; the class or function name if None.
        latency: Samples that may be added to the outputs of a model that looks ahead, so that
            what it needs has come; "auto" for as many as it takes. The graph's `latency` is their
            sum with the model's attribute `latency`, if it has one.

    Raises:
        RefusedError: an operation is not causal or has no rule; the message names the user's line.
        DelayFreeLoopError: a loop has no delay.
        AdacError: the model cannot be called in this way.
    """
    if latency != "auto" and not (isinstance(latency, int) and latency >= 0):
        raise AdacError(f'`latency` (={latency!r}) must be "auto" or a number of samples.')
    function, tree = pure(model, parameters)
    count = channels_of(model, inputs)
    title = str(name or getattr(model, "__name__", type(model).__name__))
    dtype = jnp.result_type(float)
    tree = _widened(tree, dtype)
    leaves, treedef = jax.tree.flatten(tree)
    paths = [_path(p) for p, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]

    def flat(leaves: list[jax.Array], x: jax.Array) -> jax.Array:
        return function(jax.tree.unflatten(treedef, leaves), x)

    audio = jax.ShapeDtypeStruct((TRACE_LENGTH, count), dtype)
    with at_rest():
        jaxpr, consts = open_jaxpr(jax.make_jaxpr(flat)(leaves, audio))
    _check_output(jaxpr.outvars)
    kept: dict[str, Any] = {}

    def coefficients(values: list[jax.Array]) -> dict[str, jax.Array]:
        walker = Walker(Builder(title, float(sample_rate)), lift=False, time=TRACE_LENGTH)
        known = [Known(v, p) for v, p in zip(values, paths, strict=True)]
        graph, kept["added"] = _graph(walker, jaxpr, consts, known, count, latency)
        graph = replace(graph, latency=kept["added"] + _own_latency(model))
        kept["graph"] = graph
        kept["timed"] = {
            k: (s.time_axis, s.eqn) for k, s in walker.slots.items() if s.time_axis is not None
        }
        return {k: jnp.asarray(s.value) for k, s in walker.slots.items()}

    compiled = at_rest()(jax.jit(coefficients))
    values = {k: np.asarray(v) for k, v in compiled(leaves).items()}
    for slot, (axis, eqn) in kept["timed"].items():
        values[slot] = _constant_over_time(values[slot], axis, eqn)
    graph: Graph = kept["graph"]
    timed: Mapping[str, tuple[int, Any]] = kept["timed"]

    def of_parameters(new: Any) -> dict[str, jax.Array]:
        found = compiled(jax.tree.leaves(_widened(new, dtype)))
        return {k: jnp.take(v, 0, axis=timed[k][0]) if k in timed else v for k, v in found.items()}

    slots = graph.slots
    numbers = {k: values[k].astype(DTYPES[type_.kind]) for k, type_ in slots.items()}
    raw = verify_program(Program(graph, numbers))
    program = verify_program(fold(raw.with_graph(merge(graph))))
    return Traced(graph, function, tree, of_parameters, program, kept["added"])


def _own_latency(model: Any) -> int:
    found = getattr(model, "latency", 0)
    return int(found) if isinstance(found, (int, np.integer)) and found > 0 else 0


def _graph(
    walker: Walker, jaxpr: Any, consts: Any, known: list[Known], count: int, latency: Latency
) -> tuple[Graph, int]:
    """The graph, and the latency that its outputs were given."""
    source = walker.builder.add("input", index=0, shape=(count,), kind="real", name="input")
    x = Signal(source, 0, 0, TRACE_LENGTH)
    results = walker.walk(jaxpr, consts, [*known, x])
    (output,) = results
    if latency == "auto":
        latency = int(output.shift) if isinstance(output, Signal) else 0
    outputs = [_output(walker, output, latency)]
    try:
        return prune(walker.builder.build(outputs)), latency
    except DelayFreeLoopError as error:
        raise error.with_traceback(None) from None


def _output(walker: Walker, value: Value, latency: int) -> int:
    if isinstance(value, Unusable):
        raise RefusedError("output", value.reason)
    if isinstance(value, Known):
        # An output that does not hear the input: it must be constant.
        return walker.operand(value, 0)
    assert isinstance(value, Signal)  # what follows a knob has no time axis, which was checked
    if value.axis != 0:
        raise RefusedError("output", f"the output has time on axis {value.axis}, not on axis 0.")
    if value.shift > latency:
        raise RefusedError(
            "output",
            f"the output looks {value.shift} samples ahead, so it needs input that has not come.",
            f"Delay it: adac_jax.delay(y, {value.shift}) in place of a slice, or let that latency "
            f"be added and reported: latency={value.shift}.",
            walker.line_of(value),
        )
    if value.valid < TRACE_LENGTH - value.shift:
        raise RefusedError(
            "output",
            f"the last {TRACE_LENGTH - value.valid} samples are padding, not signal.",
            where=walker.line_of(value),
        )
    return walker.delayed(value.node, latency - value.shift)


def _check_output(outvars: Any) -> None:
    if len(outvars) != 1:
        raise AdacError(f"The model must return one array of audio, not {len(outvars)}.")
    shape = tuple(outvars[0].aval.shape)
    if len(shape) != 2 or shape[0] != TRACE_LENGTH:
        raise AdacError(
            "The model must return audio (time, channels) as long as its input; for an input of "
            f"{TRACE_LENGTH} samples it returned the shape {shape}."
        )


def _constant_over_time(value: np.ndarray, axis: int, eqn: JaxprEqn | None) -> np.ndarray:
    first = np.take(value, [0], axis=axis)
    if not np.array_equal(np.broadcast_to(first, value.shape), value):
        name, where = (eqn.primitive.name, user_line(eqn)) if eqn else ("model", "")
        raise RefusedError(
            name,
            "it combines the signal with an array that changes over time.",
            "Compute what changes from the signal itself, or pass it as an input.",
            where,
        )
    return np.squeeze(first, axis)


def _widened(tree: Any, dtype: Any) -> Any:
    """Floats in the precision at hand: float64 under x64, so that coefficients are exact."""

    def widen(leaf: Any) -> Any:
        array = jnp.asarray(leaf)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            return leaf
        return array.astype(dtype)

    return jax.tree.map(widen, tree)


def _path(keys: Any) -> str:
    """`matrix.weight` from a key path of JAX."""
    names = []
    for key in keys:
        name = getattr(key, "key", getattr(key, "name", getattr(key, "idx", None)))
        if name is not None and name not in ("value", "params"):
            names.append(str(name))
    return ".".join(names)
