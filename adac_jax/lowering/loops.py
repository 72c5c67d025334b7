"""Rules of control flow: recursions over time, loops over anything else, branches.

A scan over time is a loop of the graph: each carried value is the one computed a sample ago, with
its initial value before that. Loops over channels or a fixed count are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from adac_jax._compat import JaxprEqn, jaxpr_as_fun, open_jaxpr
from adac_jax.lowering.arrays import without
from adac_jax.lowering.refusals import AHEAD
from adac_jax.lowering.values import Controlled, Known, Signal, Unusable, Value
from adac_jax.lowering.walker import OF_TIME, WITH_SIGNALS, Walker, kind_of, rule

MOST_STEPS = 4096
"""A loop that is written out takes at most so many steps."""
AFTER = "the state after the last sample has no meaning sample by sample."


@rule("scan")
def _scan(w: Walker, eqn: JaxprEqn, *values: Value) -> list[Value]:
    first = eqn.params["num_consts"]
    last = first + eqn.params["num_carry"]
    consts, carry, xs = values[:first], values[first:last], values[last:]
    if any(isinstance(x, Signal) and x.axis == 0 for x in xs) or w.is_time(eqn.params["length"]):
        return _over_time(w, eqn, consts, carry, xs)
    return _written_out(w, eqn, consts, carry, xs)


def _over_time(
    w: Walker, eqn: JaxprEqn, consts: Sequence[Value], carry: Sequence[Value], xs: Sequence[Value]
) -> list[Value]:
    length = eqn.params["length"]
    if eqn.params["reverse"] != w.reverse:
        raise w.refusal("it runs from the last sample to the first.", "Scan forwards.")
    for value in consts:
        if isinstance(value, Signal):
            raise w.refusal(
                "each step reads a whole signal.",
                "Pass the signal as xs, of which each step gets one sample.",
            )
    for value in carry:
        if not isinstance(value, Known):
            what = "follows a control" if isinstance(value, Controlled) else "depends on a signal"
            raise w.refusal(f"its initial state {what}.", "Begin with constants.")
    entering = [_sampled(w, x) for x in xs]
    valid = min([x.valid for x in entering], default=length)
    body = eqn.params["jaxpr"]
    avals = body.in_avals
    carried = avals[len(consts) : len(consts) + len(carry)]
    mapped = _mapped(body, len(consts), length)
    heads = [w.builder.reserve(tuple(a.shape), kind_of(a.dtype)) for a in carried]
    inside = [Signal(head, 0, 0, valid) for head in heads]
    results = w.walk(*open_jaxpr(mapped), [*consts, *inside, *entering])
    for head, aval, start, result in zip(heads, carried, carry, results, strict=False):
        node = w.full(w.operand(result, 0), tuple(aval.shape))
        initial: list[int] = []
        if not w.is_zero(start):
            assert isinstance(start, Known)
            initial = [w.coefficient(Known(jnp.asarray(start.value)[None], start.path))]
        size = w.builder.type(head).size
        w.builder.define(
            head, "delay", node, *initial, name=w.label() or "scan", samples=(1,) * size
        )
    return [*(Unusable(AFTER) for _ in carry), *results[len(carry) :]]


def _sampled(w: Walker, x: Value) -> Signal:
    """What enters a scan over time, sample by sample."""
    if isinstance(x, Signal) and x.axis != 0:
        raise w.refusal(
            f"one of its xs has time on axis {x.axis}, another is scanned over time.",
            "Bring time to the first axis of all.",
        )
    if isinstance(x, Signal):
        if x.shift:
            raise w.refusal(*AHEAD)
        return x
    if isinstance(x, Unusable):
        raise w.refusal(x.reason)
    assert isinstance(x, Known)  # what follows a knob has no time axis to be scanned over
    node = w.full(w.operand(x, 0), tuple(x.value.shape[1:]))
    return Signal(node, 0, 0, x.value.shape[0])


def _mapped(body: Any, consts: int, length: int) -> Any:
    """The body of a scan for all samples at once: the rules then see time as they always do."""
    avals = body.in_avals
    axes = tuple(None if k < consts else 0 for k in range(len(avals)))
    specs = [
        jax.ShapeDtypeStruct(a.shape if k < consts else (length, *a.shape), a.dtype)
        for k, a in enumerate(avals)
    ]
    function = jaxpr_as_fun(body)
    return jax.make_jaxpr(jax.vmap(function, axes, 0, axis_size=length))(*specs)


def _written_out(
    w: Walker, eqn: JaxprEqn, consts: Sequence[Value], carry: Sequence[Value], xs: Sequence[Value]
) -> list[Value]:
    count = eqn.params["length"]
    _check_count(w, count)
    body, bound = open_jaxpr(eqn.params["jaxpr"])
    avals = [v.aval for v in eqn.invars[len(consts) + len(carry) :]]
    outputs: list[list[Value]] = [[] for _ in eqn.outvars[len(carry) :]]
    order = range(count)
    for k in reversed(order) if eqn.params["reverse"] else order:
        parts = [
            w.call(lambda a, k=k: lax.index_in_dim(a, k, 0, keepdims=False), [x], [aval])[0]
            for x, aval in zip(xs, avals, strict=True)
        ]
        results = w.walk(body, bound, [*consts, *carry, *parts])
        carry = results[: len(carry)]
        for found, result in zip(outputs, results[len(carry) :], strict=True):
            found.append(result)
    if eqn.params["reverse"]:
        outputs = [found[::-1] for found in outputs]
    stacked = []
    for var, found in zip(eqn.outvars[len(carry) :], outputs, strict=True):
        shape = jax.ShapeDtypeStruct(var.aval.shape[1:], var.aval.dtype)
        stacked += w.call(lambda *a: jnp.stack(a), found, [shape] * len(found))
    return [*carry, *stacked]


def _check_count(w: Walker, count: int) -> None:
    if count > MOST_STEPS:
        raise w.refusal(
            f"it takes {count} steps, which are written out one by one; {MOST_STEPS} are the most.",
            "Use a product of matrices, or a filter.",
        )


@rule("while")
def _while(w: Walker, eqn: JaxprEqn, *values: Value) -> list[Value]:
    first = eqn.params["cond_nconsts"]
    last = first + eqn.params["body_nconsts"]
    asked, consts, carry = values[:first], values[first:last], list(values[last:])
    condition, body = (open_jaxpr(eqn.params[key]) for key in ("cond_jaxpr", "body_jaxpr"))
    for _ in range(MOST_STEPS + 1):
        (goes_on,) = w.walk(*condition, [*asked, *carry])
        if isinstance(goes_on, (Signal, Controlled)):
            what = "signal" if isinstance(goes_on, Signal) else "control"
            raise w.refusal(
                f"how often it runs depends on a {what}.",
                "Run it a fixed number of times, and keep what is found with jnp.where.",
            )
        decided = w.concrete(goes_on)
        if decided is None:
            raise w.refusal(
                "how often it runs depends on a parameter.", "Make the number a constant."
            )
        if not decided:
            return carry
        carry = w.walk(*body, [*consts, *carry])
    raise w.refusal(f"it takes more than {MOST_STEPS} steps.", "Use a filter, or fewer steps.")


@rule("cond")
def _cond(w: Walker, eqn: JaxprEqn, which: Value, *values: Value) -> list[Value]:
    branches = [open_jaxpr(branch) for branch in eqn.params["branches"]]
    chosen = w.concrete(which)
    if chosen is not None:
        return w.walk(*branches[int(np.clip(chosen, 0, len(branches) - 1))], values)
    if isinstance(which, Signal):
        raise w.refusal("a branch depends on a signal.", "Use jnp.where.")
    # A parameter or a control decides: all branches are there, and its value picks one.
    found = [w.walk(*branch, values) for branch in branches]
    last, asked = len(branches) - 1, eqn.invars[0].aval
    results = []
    for position, var in enumerate(eqn.outvars):
        cases = [results[position] for results in found]
        answer = cases[0]
        for k, case in enumerate(cases[1:], 1):
            (one,) = w.call(
                lambda i, k=k: jnp.clip(i.astype(jnp.int32), 0, last) == k, [which], [asked]
            )
            aval = var.aval
            specs = [jax.ShapeDtypeStruct((), jnp.bool_), aval, aval]
            (answer,) = w.call(lambda c, a, b: jnp.where(c, a, b), [one, case, answer], specs)
        results.append(answer)
    return results


_IDENTITY = {
    "cumsum": ("add", 0.0),
    "cumprod": ("mul", 1.0),
    "cummax": ("maximum", -1.0),
    "cummin": ("minimum", 1.0),
}
"""The operation of each, and what it begins with; for extremes, as part of the largest number."""
_PLAIN: dict[str, Callable[..., Any]] = {
    "cumsum": lax.add,
    "cumprod": lax.mul,
    "cummax": lax.max,
    "cummin": lax.min,
    "cumlogsumexp": jnp.logaddexp,
}


def _cumulative(w: Walker, eqn: JaxprEqn, value: Value) -> Value:
    name, axis = eqn.primitive.name, eqn.params["axis"]
    aval = eqn.invars[0].aval
    x = value
    if not isinstance(x, Signal):
        x = Signal(w.full(w.operand(x, axis), without(aval.shape, axis)), axis, 0, aval.shape[axis])
    if axis != x.axis:
        count = aval.shape[axis]
        _check_count(w, count)
        turn = -1 if eqn.params["reverse"] else 1

        def running(a: Any) -> Any:
            parts = [lax.index_in_dim(a, k, axis, keepdims=False) for k in range(count)][::turn]
            for k in range(1, count):
                parts[k] = _PLAIN[name](parts[k - 1], parts[k])
            return jnp.stack(parts[::turn], axis=axis)

        return w.call(running, [x], [aval])[0]
    if eqn.params["reverse"] != w.reverse:
        raise w.refusal("it runs from the last sample to the first.", "Accumulate forwards.")
    if name not in _IDENTITY:
        raise w.refusal(
            "its running sum of exponentials has no bound.", "Use a leaky average by lfilter."
        )
    if x.shift:
        raise w.refusal(*AHEAD)
    op, start = _IDENTITY[name]
    type_ = w.builder.type(x.node)
    if op in ("maximum", "minimum"):
        # The largest number of single precision: whatever is heard is smaller.
        limit = np.finfo(np.float32).max if type_.kind == "real" else np.iinfo(np.int32).max
        start = start * float(limit)
    head = w.builder.reserve(type_.shape, type_.kind)
    samples = (1,) * type_.size
    initial = []
    if start:
        number = w.builder.constant(start if type_.kind == "real" else int(start))
        initial = [w.add("broadcast", number, shape=(1, *type_.shape), axes=())]
    before = w.add("delay", head, *initial, samples=samples)
    w.builder.define(head, op, x.node, before, name=w.label() or name)
    return w.mapped(head, x)


rule(*_PLAIN)(_cumulative)


@rule("iota")
def _iota(w: Walker, eqn: JaxprEqn) -> Signal:
    """The number of the sample: n[t] = n[t - 1] + 1, from 0."""
    shape, axis = eqn.params["shape"], eqn.params["dimension"]
    if w.reverse:
        raise w.refusal("it counts samples in reversed time.")
    head = w.builder.reserve((), "int")
    following = w.add("add", head, w.builder.constant(1))
    w.builder.define(head, "delay", following, name=w.label() or "sample", samples=(1,))
    kind = kind_of(eqn.params["dtype"])
    node = head if kind == "int" else w.add("convert", head, kind=kind)
    return Signal(w.full(node, without(shape, axis)), axis, 0, shape[axis])


WITH_SIGNALS.update(("scan", "while", "cond"))


def _scans_time(w: Walker, eqn: JaxprEqn) -> bool:
    # What carries nothing and reads nothing is the same at each sample, and need not be a signal.
    return len(eqn.invars) > eqn.params["num_consts"] and w.is_time(eqn.params["length"])


def _along_time(key: str) -> Callable[[Walker, JaxprEqn], bool]:
    return lambda w, eqn: w.is_time(eqn.outvars[0].aval.shape[eqn.params[key]])


OF_TIME["scan"] = _scans_time
OF_TIME["iota"] = _along_time("dimension")
for _name in _PLAIN:
    OF_TIME[_name] = _along_time("axis")
