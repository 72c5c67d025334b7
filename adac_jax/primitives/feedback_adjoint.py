"""The derivative of a loop of delays and of operations on one sample, in one run back through it.

Of most loops, forward mode makes another loop round the tangents, and reverse mode that loop with
its arrows turned round (`feedback`). Here the way forward keeps what its delay lines held
(`feedback_saving`), and reverse mode runs through its blocks from the last to the first and adds
up the gradients of the coefficients meanwhile (`feedback_adjoint`; see `blocks.adjoint`): no array
as long as the signal is made but the lines. Between the two, `feedback_tangent` stands for the
derivative, so that JAX can transpose it. Derivatives of these, and what no rule here knows, are
those of the plain loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from adac_jax import blocks
from adac_jax._compat import (
    ClosedJaxpr,
    JaxprEqn,
    Primitive,
    ShapedArray,
    ad,
    batching,
    open_jaxpr,
)
from adac_jax.errors import AdacError, IRError
from adac_jax.lowering.values import Signal, Value
from adac_jax.lowering.walker import Walker, rule
from adac_jax.primitives.composite import batch_size, define, front, replaced, time_back, time_last
from adac_jax.primitives.feedback import batched, feedback_p, is_plain, plainly, tangent
from adac_jax.primitives.lowered import lower, parted
from ir import Graph

Parameters = dict[str, Any]


def _plain(
    jaxpr: ClosedJaxpr, axes: tuple[int, ...], length: int, silent: tuple[bool, ...]
) -> Parameters:
    """The parameters of the loop itself."""
    return {"jaxpr": jaxpr, "axes": axes, "length": length, "reverse": False, "silent": silent}


def _loop(primals: Sequence[Any], parameters: Parameters) -> tuple[Graph, blocks.Course] | None:
    """The graph and its loop, if this module can run back through it."""
    found: list[tuple[Graph, blocks.Course]] = []
    consts, xs = parted(primals, parameters["axes"])

    def lowered(*values: Array) -> list[Array]:
        graph, _, results = lower(consts=values, xs=xs, **_plain(**parameters))
        loop = blocks.the_loop(graph, parameters["length"])
        if loop is not None and all(isinstance(r, Signal) for r in results):
            found.append((graph, loop))
        return []

    specs = [jax.ShapeDtypeStruct(c.shape, c.dtype) for c in consts]
    xs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in xs]
    try:
        jax.eval_shape(lowered, *specs)
    except (AdacError, IRError):
        return None
    return found[0] if found else None


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    /,
    *,
    reverse: bool,
    **parameters: Any,
) -> tuple[list[Any], list[Any]]:
    """The derivative of `feedback`, by the primitives of this module where they apply."""
    if reverse or is_plain() or _loop(primals, parameters) is None:
        options = {**parameters, "reverse": reverse}
        results = feedback_p.bind(*primals, **options)
        return results, tangent(primals, results, tangents, **options)
    found = feedback_saving_p.bind(*primals, **parameters)
    results, lines = _results(found, parameters)
    count = len(parameters["axes"])
    moving = tuple(type(t) is not ad.Zero for t in tangents)
    given = [t for t in tangents if type(t) is not ad.Zero]
    moved = iter(
        feedback_tangent_p.bind(
            *primals, *results[:count], *lines, *given, moving=moving, **parameters
        )
    )
    answer = [next(moved) if _is_real(r) else _no_tangent(r) for r in results]
    return results, answer


def _results(found: Sequence[Any], parameters: Parameters) -> tuple[list[Any], list[Any]]:
    count = len(parameters["jaxpr"].out_avals)
    return list(found[:count]), list(found[count:])


def _is_real(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _no_tangent(x: Any) -> Any:
    return ad.Zero(ShapedArray(x.shape, jax.dtypes.float0))


# The loop, keeping what its lines held.


def _saving(*operands: Array, **parameters: Any) -> list[Array]:
    consts, xs = parted(operands, parameters["axes"])
    lowered = lower(consts=consts, xs=xs, **_plain(**parameters))
    graph, walker, results = lowered
    inputs = [time_last(x, a) for x, a in zip(xs, parameters["axes"], strict=True)]
    values = {name: jnp.asarray(slot.value) for name, slot in walker.slots.items()}
    every = [*inputs, *walker.lifted]
    saved = blocks.run_saving(graph, values, every, parameters["length"])
    outputs = [
        time_back(y, r.axis)
        for y, r in zip(saved.outputs, results, strict=True)
        if isinstance(r, Signal)
    ]
    return [*outputs, *saved.held]


def _saving_abstract(*operands: Any, **parameters: Any) -> list[Any]:
    specs = [jax.ShapeDtypeStruct(o.shape, o.dtype) for o in operands]
    found = jax.eval_shape(lambda *o: _saving(*o, **parameters), *specs)
    return [ShapedArray(f.shape, f.dtype) for f in found]


def _saving_jvp_again(primals: Any, tangents: Any, /, **parameters: Any) -> Any:
    results, lines = _results(feedback_saving_p.bind(*primals, **parameters), parameters)
    # What the lines held counts as known: see `_adjoint_jvp`.
    moved = tangent(primals, results, tangents, **_plain(**parameters))
    still = [ad.Zero(ShapedArray(x.shape, x.dtype)) for x in lines]
    return [*results, *lines], [*moved, *still]


def _saving_batch(operands: Any, axes: Any, /, **parameters: Any) -> Any:
    full, new = batched(operands, axes, **parameters)
    found = feedback_saving_p.bind(*full, **new)
    return found, [0] * len(found)


# Its derivative, as a linear function of the tangents.


def _split(operands: Sequence[Any], moving: Sequence[bool], count: int) -> tuple[list[Any], ...]:
    """Primals, u, lines, tangents."""
    n, given = len(moving), sum(moving)
    last = len(operands) - given
    return (
        list(operands[:n]),
        list(operands[n : n + count]),
        list(operands[n + count : last]),
        list(operands[last:]),
    )


def plain_tangent(*operands: Array, moving: tuple[bool, ...], **parameters: Any) -> list[Array]:
    """It, by plain loops: a linear function of the last operands."""
    primals, u, _, given = _split(operands, moving, len(parameters["axes"]))
    left = iter(given)
    tangents = [
        next(left) if m else ad.Zero(ShapedArray(p.shape, p.dtype))
        for p, m in zip(primals, moving, strict=True)
    ]
    results = [*u, *parameters["jaxpr"].out_avals[len(u) :]]
    with plainly():
        found = tangent(primals, results, tangents, **_plain(**parameters))
    return [
        jnp.zeros(r.shape, r.dtype) if type(t) is ad.Zero else t
        for r, t in zip(results, found, strict=True)
        if _is_real(r)
    ]


@rule("feedback_tangent")
def _tangent_rule(w: Walker, eqn: JaxprEqn, *values: Value) -> list[Value]:
    """As a graph, the loops that it is."""
    specs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
    closed = jax.make_jaxpr(partial(plain_tangent, **eqn.params))(*specs)
    return w.walk(*open_jaxpr(closed), list(values))


def _tangent_abstract(*operands: Any, **parameters: Any) -> list[Any]:
    count = len(parameters["axes"])
    xs = _split(operands, parameters["moving"], count)[1]
    results = [*xs, *parameters["jaxpr"].out_avals[count:]]
    return [ShapedArray(r.shape, r.dtype) for r in results if _is_real(r)]


def _tangent_jvp(primals: Any, tangents: Any, /, **parameters: Any) -> Any:
    return _jvp_of(lambda *o: plain_tangent(*o, **parameters), feedback_tangent_p, parameters)(
        primals, tangents
    )


def _tangent_transpose(cotangents: Any, /, *operands: Any, **parameters: Any) -> list[Any]:
    moving = parameters["moving"]
    primals, u, lines, given = _split(operands, moving, len(parameters["axes"]))
    nothing = [None] * (len(operands) - len(given))
    if all(type(c) is ad.Zero for c in cotangents):
        return [*nothing, *(ad.Zero(g.aval) for g in given)]
    if any(map(ad.is_undefined_primal, [*primals, *u, *lines])):
        raise AdacError("The derivative of a loop is linear in the tangents alone.")
    heard = tuple(type(c) is not ad.Zero for c in cotangents)
    entering = [c for c in cotangents if type(c) is not ad.Zero]
    found = feedback_adjoint_p.bind(*primals, *lines, *entering, heard=heard, **parameters)
    return [*nothing, *found]


def _tangent_batch(operands: Any, axes: Any, /, moving: Any, **parameters: Any) -> Any:
    size, n = batch_size(operands, axes), len(moving)
    full, new = batched(operands[:n], axes[:n], moving, size, **parameters)
    rest = [front(o, a, size) for o, a in zip(operands[n:], axes[n:], strict=True)]
    found = feedback_tangent_p.bind(*full, *rest, moving=moving, **new)
    return found, [0] * len(found)


# That function transposed.


def _adjoint(
    *operands: Array, moving: tuple[bool, ...], heard: tuple[bool, ...], **parameters: Any
) -> list[Array]:
    axes, length = parameters["axes"], parameters["length"]
    n, entering = len(moving), sum(heard)
    primals = operands[:n]
    lines = operands[n : len(operands) - entering]
    consts, xs = parted(primals, axes)
    of_consts, of_xs = parted(moving, axes)
    at = [k for k, m in enumerate(of_consts) if m]
    plain = _plain(**parameters)
    graph, walker, results = lower(consts=consts, xs=xs, **plain)
    slots = {name: jnp.asarray(slot.value) for name, slot in walker.slots.items()}
    lifted = list(walker.lifted)

    def coefficients(*values: Array) -> tuple[dict[str, Array], list[Array]]:
        """What the graph takes of what the loop closes over."""
        again = lower(consts=replaced(consts, at, values), xs=xs, **plain)[1]
        found = {name: jnp.asarray(again.slots[name].value) for name in slots}
        return (
            {name: value for name, value in found.items() if _is_real(value)},
            [x for x in again.lifted if _is_real(x)],
        )

    inputs = [*(time_last(x, a) for x, a in zip(xs, axes, strict=True)), *lifted]
    left = iter(operands[len(operands) - entering :])
    heard_of = iter(heard)
    cotangents: list[Array | None] = []
    for r, aval in zip(results, _avals(xs, parameters), strict=True):
        assert isinstance(r, Signal)
        is_heard = _is_real(aval) and next(heard_of)
        cotangents.append(time_last(next(left), r.axis) if is_heard else None)
    real = {name: value for name, value in slots.items() if _is_real(value)}
    whole = {name: value for name, value in slots.items() if not _is_real(value)}
    wanted = [*of_xs, *(_is_real(x) and bool(at) for x in lifted)]
    of_slots, of_inputs = blocks.pull_back(
        graph, real, whole, inputs, lines, cotangents, length, wanted
    )
    further = [c for c in of_inputs[len(xs) :] if c is not None]
    if at:
        of_lifted = iter(further)
        full = [next(of_lifted) if w else jnp.zeros_like(x) for x, w in
                zip(lifted, wanted[len(xs):], strict=True) if _is_real(x)]  # fmt: skip
        moved = jax.vjp(coefficients, *(consts[k] for k in at))[1]((of_slots, full))
    else:
        moved = ()
    back = [time_back(c, a) for c, a in zip(of_inputs, axes, strict=False) if c is not None]
    return [*moved, *back]


def _avals(xs: Sequence[Any], parameters: Parameters) -> list[Any]:
    return [*xs, *parameters["jaxpr"].out_avals[len(xs) :]]


def _adjoint_abstract(*operands: Any, moving: Any, **_: Any) -> list[Any]:
    found = [o for o, m in zip(operands, moving, strict=False) if m]
    return [ShapedArray(o.shape, o.dtype) for o in found]


def _adjoint_plain(
    *operands: Array, moving: tuple[bool, ...], heard: tuple[bool, ...], **parameters: Any
) -> list[Array]:
    """The same, from the primals alone, by the derivatives of plain loops."""
    n, entering = len(moving), sum(heard)
    primals, given = operands[:n], iter(operands[len(operands) - entering :])
    at = [k for k, m in enumerate(moving) if m]

    def loop(*values: Array) -> list[Array]:
        found = feedback_p.bind(*replaced(primals, at, values), **_plain(**parameters))
        return [r for r in found if _is_real(r)]

    with plainly():
        results, back = jax.vjp(loop, *(primals[k] for k in at))
        cotangents = [
            next(given) if h else jnp.zeros_like(r) for r, h in zip(results, heard, strict=True)
        ]
        return list(back(cotangents))


def _adjoint_jvp(primals: Any, tangents: Any, /, **parameters: Any) -> Any:
    """What the lines held follows from the primals, through which its part of this goes."""
    return _jvp_of(lambda *o: _adjoint_plain(*o, **parameters), feedback_adjoint_p, parameters)(
        primals, tangents
    )


def _adjoint_batch(operands: Any, axes: Any, /, moving: Any, heard: Any, **parameters: Any) -> Any:
    size, n = batch_size(operands, axes), len(moving)
    full, new = batched(operands[:n], axes[:n], moving, size, **parameters)
    rest = [front(o, a, size) for o, a in zip(operands[n:], axes[n:], strict=True)]
    found = feedback_adjoint_p.bind(*full, *rest, moving=moving, heard=heard, **new)
    return found, [0] * len(found)


def _jvp_of(function: Any, primitive: Primitive, parameters: Parameters) -> Any:
    """The rule of a primitive that is differentiated as a function that does the same."""

    def rule(primals: Any, tangents: Any) -> Any:
        moving = [k for k, t in enumerate(tangents) if type(t) is not ad.Zero]

        def of_moving(*values: Array) -> list[Array]:
            return function(*replaced(primals, moving, values))

        results = primitive.bind(*primals, **parameters)
        with plainly():
            at, along = [primals[k] for k in moving], [tangents[k] for k in moving]
            return results, jax.jvp(of_moving, at, along)[1]

    return rule


def _primitive(name: str, function: Any, abstract: Any, jvp: Any, batch: Any) -> Primitive:
    primitive = Primitive(name)
    primitive.multiple_results = True
    define(primitive, function)
    primitive.def_abstract_eval(abstract)
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batch
    return primitive


feedback_saving_p = _primitive(
    "feedback_saving", _saving, _saving_abstract, _saving_jvp_again, _saving_batch
)
feedback_tangent_p = _primitive(
    "feedback_tangent", plain_tangent, _tangent_abstract, _tangent_jvp, _tangent_batch
)
feedback_adjoint_p = _primitive(
    "feedback_adjoint", _adjoint, _adjoint_abstract, _adjoint_jvp, _adjoint_batch
)
ad.primitive_transposes[feedback_tangent_p] = _tangent_transpose
ad.primitive_jvps[feedback_p] = _jvp
