"""Walks a jaxpr once and writes the graph of its per-sample meaning.

Every value is known (JAX computes it) or a signal, for which the walker carries which axis is
time, as batching carries the batch axis. An equation whose inputs are all known runs as it is; any
other is handed to the rule of its primitive. No rule, no graph: the equation is refused, with the
user's line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adac_jax._compat import (
    CALLS,
    JaxprEqn,
    Literal,
    Var,
    bind,
    called_jaxpr,
    is_tracer,
    name_stack,
    open_jaxpr,
)
from adac_jax.errors import RefusedError
from adac_jax.lowering.refusals import NO_RULE
from adac_jax.lowering.source import user_line
from adac_jax.lowering.values import Controlled, Known, Signal, Unusable, Value
from ir import Attribute, Builder
from ir.errors import IRError

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}
"""The rule of each primitive by name: (walker, eqn, *values) -> value or values."""


WITH_SIGNALS: set[str] = set()
"""Primitives whose rules take values that follow knobs beside signals."""


OF_TIME: dict[str, Callable[[Any, JaxprEqn], bool]] = {}
"""Primitives that may make a signal of known values, and whether an equation does."""


def rule(*primitives: str) -> Callable[[Rule], Rule]:
    """Registers the rule of one or more primitives; a second one is a mistake."""

    def register(function: Rule) -> Rule:
        for name in primitives:
            if name in RULES:
                raise KeyError(f"The primitive {name!r} has two rules.")
            RULES[name] = function
        return function

    return register


def kind_of(dtype: Any) -> str:
    """The IR's kind of a JAX type."""
    if jnp.issubdtype(dtype, jnp.floating):
        return "real"
    if jnp.issubdtype(dtype, jnp.integer):
        if dtype not in (jnp.int32, jnp.int64):
            raise IRError(
                f"Signals of the type {dtype} have no place in the IR, whose integers have 32 bits "
                "and a sign; use int32."
            )
        return "int"
    if jnp.issubdtype(dtype, jnp.bool_):
        return "bool"
    raise IRError(f"Values of the type {dtype} have no place in the IR.")


@dataclass(frozen=True, slots=True)
class Slot:
    """A coefficient: its value, and the axis along which it must turn out constant, if any."""

    value: Any
    time_axis: int | None
    eqn: JaxprEqn | None


class Walker:
    """Turns jaxprs into nodes of one graph.

    Args:
        builder: Takes the nodes.
        lift: What to do with a known value that has a time axis. True: it becomes a further
            input of the graph (inside `feedback`, where arrays are at hand). False: it must not
            change over time, which is checked when its value is there.
        reverse: Whether time runs backwards: the sample of a node is then a sample of its array
            counted from the end, and earlier ones are those that follow.
        time: A length that only the time axis has, if there is one: what counts or repeats so
            often without hearing the input is a signal too.
    """

    def __init__(
        self, builder: Builder, *, lift: bool, reverse: bool = False, time: int | None = None
    ) -> None:
        self.builder = builder
        self.time = time
        self.reverse = reverse
        self.lift = lift
        self.lifted: list[Any] = []
        self.slots: dict[str, Slot] = {}
        self._nodes: dict[tuple[int, int | None], tuple[int, Any]] = {}
        self._scopes: list[str] = []
        self._calls: list[JaxprEqn] = []
        self._eqn: JaxprEqn | None = None
        self._lines: dict[tuple[int, int, int], str] = {}
        self.first_input = 0

    # -- Walking ------------------------------------------------------------------------------

    def walk(
        self,
        jaxpr: Any,
        consts: Sequence[Any],
        values: Sequence[Value],
        wanted: Sequence[bool] | None = None,
    ) -> list[Value]:
        """Walks a jaxpr with these values for its arguments; returns its results.

        What no result needs is not walked, so it may be anything: `jnp.zeros_like(x[0])` reads one
        sample of x, but for its shape alone. Results that are not `wanted` are not needed.
        """
        env: dict[Var, Value] = {}

        def read(atom: Any) -> Value:
            if isinstance(atom, Literal):
                return Known(np.asarray(atom.val, getattr(atom.aval, "dtype", None)))
            return env[atom]

        for var, const in zip(jaxpr.constvars, consts, strict=True):
            env[var] = const if isinstance(const, (Known, Signal, Controlled)) else Known(const)
        for var, value in zip(jaxpr.invars, values, strict=True):
            env[var] = value
        for eqn, used in needed(jaxpr, wanted):
            results = self.equation(eqn, [read(atom) for atom in eqn.invars], used)
            for var, result in zip(eqn.outvars, results, strict=True):
                env[var] = result
                self._check(eqn, var, result)
        needless = Unusable("it is not needed.")
        kept = wanted or [True] * len(jaxpr.outvars)
        return [
            read(atom) if keep else needless for atom, keep in zip(jaxpr.outvars, kept, strict=True)
        ]

    def call(
        self, function: Callable[..., Any], values: Sequence[Value], avals: Sequence[Any]
    ) -> list[Value]:
        """What a function of arrays like `avals` makes of values, by the rules of its parts."""
        specs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals]
        return self.walk(*open_jaxpr(jax.make_jaxpr(function)(*specs)), values)

    def equation(
        self, eqn: JaxprEqn, values: list[Value], used: Sequence[bool] | None = None
    ) -> list[Value]:
        """The results of one equation, of which some may not be used."""
        known = [v for v in values if isinstance(v, Known)]
        name = eqn.primitive.name
        if len(known) == len(values) and not self._counts(eqn):
            return self._compute(eqn, known)
        avals = [var.aval for var in eqn.outvars]
        if avals and all(0 in a.shape and not any(map(self.is_time, a.shape)) for a in avals):
            # Nothing at all, as jax.numpy pads with where there is nothing to pad.
            return [Known(np.zeros(a.shape, a.dtype)) for a in avals]
        outer, self._eqn = self._eqn, eqn
        try:
            if name in CALLS:
                jaxpr, consts = called_jaxpr(eqn)
                with self.scope(".".join(name_stack(eqn)), eqn):
                    entering = values[len(values) - len(jaxpr.invars) :]
                    return self.walk(jaxpr, consts, entering, used)
            for value in values:
                if isinstance(value, Unusable):
                    raise self.refusal(value.reason)
            try:
                results = self._by_rule(eqn, values)
            except IRError as error:
                raise self.refusal(str(error)) from error
        finally:
            self._eqn = outer
        found = list(results) if eqn.primitive.multiple_results else [results]
        self._remember(eqn, values, found)
        return found

    def _by_rule(self, eqn: JaxprEqn, values: list[Value]) -> Any:
        """What the rule of the equation's primitive makes of the values."""
        if any(isinstance(v, Controlled) for v in values):
            from adac_jax.lowering import controls

            values = controls.with_time(self, eqn, values)
            if not any(isinstance(v, Signal) for v in values):
                found = controls.at_each_sample(self, eqn, values)
                return found if eqn.primitive.multiple_results else found[0]
            controls.check_rule(self, eqn)
        name = eqn.primitive.name
        if name not in RULES:
            raise self.refusal(*NO_RULE.get(name, (_UNKNOWN, "")))
        return RULES[name](self, eqn, *values)

    def _remember(self, eqn: JaxprEqn, values: Sequence[Value], results: Sequence[Value]) -> None:
        """Keeps the line that made a signal run ahead, or that padded its end."""
        for var, result in zip(eqn.outvars, results, strict=True):
            if not isinstance(result, Signal):
                continue
            if not result.shift and result.valid >= var.aval.shape[result.axis]:
                continue
            lines = [self.line_of(v) for v in values if isinstance(v, Signal)]
            found = next(filter(None, lines), "") or user_line(eqn, self._calls)
            self._lines.setdefault((result.node, result.shift, result.valid), found)

    def line_of(self, x: Signal) -> str:
        """The user's line for which a signal runs ahead or has a padded end, or ""."""
        return self._lines.get((x.node, x.shift, x.valid), "")

    def _counts(self, eqn: JaxprEqn) -> bool:
        """Whether an equation makes a signal of nothing but known values."""
        if self.time is None:
            return False
        name = eqn.primitive.name
        if name in CALLS:
            return any(map(self._counts, called_jaxpr(eqn)[0].eqns))
        if name in OF_TIME and OF_TIME[name](self, eqn):
            return True
        return any(self._counts(inner) for inner in _inner(eqn) if _asks(inner))

    def refusal(self, reason: str, instead: str = "") -> RefusedError:
        """The error for the equation at hand."""
        eqn = self._eqn
        if eqn is None:
            return RefusedError("model", reason, instead)
        return RefusedError(eqn.primitive.name, reason, instead, user_line(eqn, self._calls))

    def _compute(self, eqn: JaxprEqn, known: list[Known]) -> list[Value]:
        """Runs an equation of known values.

        Index arithmetic and scalars that depend on no parameter are computed at once, since rules
        ask for their values; the rest is left to be compiled as a whole.
        """
        values = [k.value for k in known]
        avals = [v.aval for v in (*eqn.invars, *eqn.outvars)]
        small = max((math.prod(a.shape) for a in avals), default=0) <= SMALL
        integral = all(not jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in eqn.outvars)
        if (small or integral) and not any(map(is_tracer, values)):
            with jax.ensure_compile_time_eval():
                results = bind(eqn, values)
        else:
            results = bind(eqn, [jnp.asarray(v) for v in values])
        path = common_path([k.path for k in known])
        if eqn.primitive.name == "broadcast_in_dim":
            axes = tuple(eqn.params["broadcast_dimensions"])
            spread = (known[0], tuple(eqn.params["shape"]), axes)
            return [Known(results[0], path, spread)]
        return [Known(result, path) for result in results]

    def _check(self, eqn: JaxprEqn, var: Any, value: Value) -> None:
        """After each rule: the result's shape and kind are the equation's."""
        if not isinstance(value, (Signal, Controlled)):
            return
        expected = tuple(var.aval.shape)
        found = self.builder.type(value.node)
        if isinstance(value, Signal):
            expected = expected[: value.axis] + expected[value.axis + 1 :]
        if found.shape != expected or found.kind != kind_of(var.aval.dtype):
            raise AssertionError(
                f"the rule of {eqn.primitive.name} made {found}, not {kind_of(var.aval.dtype)}"
                f"{list(expected)}"
            )

    # -- What rules use -----------------------------------------------------------------------

    def add(self, op: str, *inputs: int, **attributes: Attribute) -> int:
        """Appends a node named after the module it comes from."""
        return self.builder.add(op, *inputs, name=self.label(inputs), **attributes)

    @contextmanager
    def scope(self, name: str, call: JaxprEqn | None = None) -> Iterator[None]:
        """Names what is added inside after a module; its equations' own scopes start anew."""
        outer, self._eqn = self._eqn, None
        self._scopes.append(name)
        self._calls.extend([call] if call else [])
        try:
            yield
        finally:
            self._scopes.pop()
            if call:
                self._calls.pop()
            self._eqn = outer

    def label(self, inputs: Sequence[int] = ()) -> str:
        """The name of a node: the named scopes round it, else the module of its coefficients."""
        own = ".".join(name_stack(self._eqn)) if self._eqn else ""
        scope = ".".join(s for s in (*self._scopes, own) if s)
        if scope:
            return scope
        for k in inputs:
            node = self.builder.node(k)
            if node is not None and node.op == "coefficient":
                return node.name.rpartition(".")[0]
        return ""

    def kind(self, value: Known | Signal | Controlled) -> str:
        """The IR's kind of a value."""
        if isinstance(value, (Signal, Controlled)):
            return self.builder.type(value.node).kind
        return kind_of(value.value.dtype)

    def coefficient(self, known: Known, time_axis: int | None = None) -> int:
        """The node of a known value; with `time_axis`, of what it is at any one time."""
        value = known.value
        key = (id(value), time_axis)
        if key in self._nodes:
            return self._nodes[key][0]
        if time_axis is not None:
            return self._timed(known, time_axis, key)
        shape = tuple(int(n) for n in value.shape)
        if shape == () and not is_tracer(value) and known.path is None:
            number = np.asarray(value).item()
            node = self.builder.constant(number)
        else:
            node = self._slot(known, shape, None)
        self._nodes[key] = node, value  # the value is kept alive, so that its id stays its own
        return node

    def _timed(self, known: Known, axis: int, key: tuple[int, int | None]) -> int:
        value = known.value
        shape = tuple(int(n) for n in value.shape)
        rest = shape[:axis] + shape[axis + 1 :]
        if shape[axis] == 1:
            node = self.coefficient(Known(jnp.squeeze(jnp.asarray(value), axis), known.path))
            self._nodes[key] = node, value
            return node
        if known.spread is not None:
            source, _, axes = known.spread
            if axis not in axes or source.value.shape[axes.index(axis)] == 1:
                return self._respread(source, axes, axis, rest)
        if self.lift:
            node = self.builder.add(
                "input",
                index=self.first_input + len(self.lifted),
                shape=rest,
                kind=kind_of(value.dtype),
            )
            moved = jnp.moveaxis(jnp.asarray(value), axis, -1)
            self.lifted.append(jnp.flip(moved, -1) if self.reverse else moved)
        else:
            node = self._slot(known, rest, axis)
        self._nodes[key] = node, value
        return node

    def _respread(
        self, source: Known, axes: tuple[int, ...], axis: int, rest: tuple[int, ...]
    ) -> int:
        """A broadcast value without the time axis it was spread over."""
        if axis in axes:
            position = axes.index(axis)
            source = Known(jnp.squeeze(jnp.asarray(source.value), position), source.path)
            axes = axes[:position] + axes[position + 1 :]
        node = self.coefficient(source)
        if self.builder.type(node).shape in ((), rest):
            return node
        axes = tuple(a - (a > axis) for a in axes)
        return self.builder.add("broadcast", node, shape=rest, axes=axes)

    def _slot(self, known: Known, shape: tuple[int, ...], time_axis: int | None) -> int:
        base = "constant" if known.path is None else known.path or "derived"
        name, count = base, 2
        while name in self.slots:
            name, count = f"{base}.{count}", count + 1
        self.slots[name] = Slot(known.value, time_axis, self._eqn)
        kind = kind_of(known.value.dtype)
        return self.builder.add("coefficient", name=name, slot=name, shape=shape, kind=kind)

    def operand(self, value: Value, axis: int, shift: int = 0) -> int:
        """The node of an operand of an equation whose time axis is `axis`."""
        if isinstance(value, Unusable):
            raise self.refusal(value.reason)
        if isinstance(value, Signal):
            if value.axis != axis:
                raise self.refusal(
                    f"one operand has time on axis {value.axis}, another on axis {axis}.",
                    "Bring time to the same axis first.",
                )
            return self.delayed(value.node, shift - value.shift)
        if isinstance(value, Controlled):
            return self.without_axis(value, axis)
        if value.value.ndim == 0:
            return self.coefficient(value)
        return self.coefficient(value, axis)

    def without_axis(self, value: Controlled, axis: int) -> int:
        """The node of a value that follows knobs, without the axis that would be time."""
        shape = self.builder.type(value.node).shape
        if not shape:
            return value.node
        if shape[axis] != 1:
            raise self.refusal(
                "it combines each sample with another number that a control decides.",
                "Give a control's value no time axis, or one of length 1.",
            )
        return self.add("reshape", value.node, shape=shape[:axis] + shape[axis + 1 :])

    def still(self, value: Known | Controlled) -> int:
        """The node of a value without a time axis."""
        return value.node if isinstance(value, Controlled) else self.coefficient(value)

    def delayed(self, node: int, samples: int) -> int:
        """A node delayed by the same number of samples in all channels."""
        if samples == 0:
            return node
        return self.add("delay", node, samples=(samples,) * self.builder.type(node).size)

    def align(self, values: Sequence[Value]) -> tuple[list[int], Signal]:
        """Nodes of operands that are combined sample by sample, and what the result is like."""
        signals = [v for v in values if isinstance(v, Signal)]
        axis, shift = signals[0].axis, max(s.shift for s in signals)
        nodes = [self.operand(v, axis, shift) for v in values]  # type: ignore[arg-type]
        return nodes, Signal(-1, axis, shift, min(s.valid for s in signals))

    def spread(self, nodes: Sequence[int], shape: tuple[int, ...]) -> list[int]:
        """Operands of an elementwise operation in one shape; scalars may stay what they are."""
        return [k if self.builder.type(k).shape == () else self.full(k, shape) for k in nodes]

    def full(self, node: int, shape: tuple[int, ...]) -> int:
        """A node repeated to a shape that its own goes to, as NumPy broadcasts."""
        found = self.builder.type(node).shape
        if found == shape:
            return node
        axes = tuple(range(len(shape) - len(found), len(shape)))
        return self.add("broadcast", node, shape=shape, axes=axes)

    def concrete(self, value: Value) -> np.ndarray | None:
        """A known value that does not depend on parameters, as an array; else None."""
        if not isinstance(value, Known) or is_tracer(value.value):
            return None
        return np.asarray(value.value)

    def is_time(self, length: int) -> bool:
        """Whether a length can only be that of the signals."""
        return self.time is not None and length == self.time

    def is_zero(self, value: Value) -> bool:
        """Whether a value is known to be all zeros, whatever the parameters are."""
        if isinstance(value, Known) and value.spread is not None:
            return self.is_zero(value.spread[0])
        found = self.concrete(value)
        return found is not None and not found.any()

    def is_nan(self, value: Value) -> bool:
        """Whether a value is known to be nothing but NaN."""
        found = self.full_of(value)
        return found is not None and math.isnan(found)

    def full_of(self, value: Value) -> float | None:
        """The real number that all of a value is known to be, whatever the parameters are."""
        if isinstance(value, Known) and value.spread is not None:
            return self.full_of(value.spread[0])
        found = self.concrete(value)
        if found is None or found.dtype.kind != "f" or not found.size:
            return None
        first = found.flat[0]
        same = bool((found == first).all() or np.isnan(found).all())
        return float(first) if same else None

    def mapped(self, node: int, like: Signal, axis: int | None = None) -> Signal:
        """A result with another node, and perhaps time on another axis."""
        return Signal(node, like.axis if axis is None else axis, like.shift, like.valid)


def needed(jaxpr: Any, wanted: Sequence[bool] | None) -> list[tuple[JaxprEqn, list[bool]]]:
    """The equations that results need, in order, and which of their own results are needed."""
    kept = wanted or [True] * len(jaxpr.outvars)
    alive = {v for v, keep in zip(jaxpr.outvars, kept, strict=True) if keep and type(v) is Var}
    found = []
    for eqn in reversed(jaxpr.eqns):
        used = [v in alive for v in eqn.outvars]
        if any(used):
            found.append((eqn, used))
            alive.update(v for v in eqn.invars if type(v) is Var)
    return found[::-1]


SMALL = 4
"""Up to this many numbers, a value without parameters is computed at once."""


def _inner(eqn: JaxprEqn) -> Iterator[JaxprEqn]:
    """The equations of the jaxprs that an equation holds."""
    for value in eqn.params.values():
        for held in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(held, "eqns"):
                yield from open_jaxpr(held)[0].eqns


def _asks(eqn: JaxprEqn) -> bool:
    """Whether an equation asks for a control, or holds one that does."""
    return eqn.primitive.name == "control" or any(map(_asks, _inner(eqn)))


def common_path(paths: Sequence[str | None]) -> str | None:
    """The one parameter, or the innermost module, that all paths lie in; None if there is none."""
    parts = [p.split(".") if p else [] for p in paths if p is not None]
    if not parts:
        return None
    shared = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return ".".join(shared)


_UNKNOWN = "it has no rule that gives it a meaning sample by sample."
