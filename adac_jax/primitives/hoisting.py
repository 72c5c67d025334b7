"""Takes out of a loop what does not depend on the signal in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from adac_jax._compat import ClosedJaxpr, JaxprEqn, Literal, Var, bind, is_tracer, open_jaxpr

INSIDE = frozenset({"broadcast_in_dim", "iota"})
"""Primitives that stay in the loop: what they make is as long as the signal, from very little."""


def hoist(closed: ClosedJaxpr, known: Sequence[Any]) -> tuple[ClosedJaxpr, list[Any]]:
    """Computes what depends on known values alone, and leaves out what nothing reads.

    So the coefficients of a loop are computed, and differentiated, once, whatever the loop is run
    for: its value, its tangents, or with time reversed its cotangents. Constant integers stay
    inside: they are indices, which tracing must see.

    Args:
        closed: A function of the known values and then of signals.
        known: The first arguments.

    Returns:
        A function of other values and then of the signals, and those values.
    """
    jaxpr, consts = open_jaxpr(closed)
    env: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, known, strict=False))
    signals = jaxpr.invars[len(known) :]

    rest: list[JaxprEqn] = []
    for eqn in jaxpr.eqns:
        if _leaves(eqn, env):
            values = [a.val if isinstance(a, Literal) else env[a] for a in eqn.invars]
            env.update(zip(eqn.outvars, bind(eqn, values), strict=True))
        else:
            rest.append(eqn)

    read: dict[Var, None] = {v: None for v in jaxpr.outvars if isinstance(v, Var)}
    kept: list[JaxprEqn] = []
    for eqn in reversed(rest):
        if eqn.effects or any(v in read for v in eqn.outvars):
            kept.append(eqn)
            read.update({a: None for a in eqn.invars if isinstance(a, Var)})
    used = [v for v in env if v in read]
    inner = [v for v in used if _is_index(env[v])]
    free = [v for v in used if v not in set(inner)]
    moved = jaxpr.replace(
        constvars=inner,
        invars=[*free, *signals],
        eqns=kept[::-1],
        debug_info=jaxpr.debug_info._replace(arg_names=None, result_paths=None),
    )
    return ClosedJaxpr(moved, [env[v] for v in inner]), [jnp.asarray(env[v]) for v in free]


def _leaves(eqn: JaxprEqn, env: dict[Var, Any]) -> bool:
    """Whether an equation is computed outside of the loop."""
    if eqn.effects or eqn.primitive.name in INSIDE:
        return False
    if not all(isinstance(a, Literal) or a in env for a in eqn.invars):
        return False
    return all(jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in eqn.outvars)


def _is_index(value: Any) -> bool:
    return not is_tracer(value) and not jnp.issubdtype(jnp.result_type(value), jnp.inexact)
