"""The one place for names of JAX that change from release to release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jax.core import ShapedArray, Tracer
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Primitive, Var, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

if TYPE_CHECKING:
    # JAX types the avals of an equation's variables without shape and dtype, which all have.
    JaxprEqn = Any
else:
    from jax.extend.core import JaxprEqn

CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}
"""Primitives that only call a jaxpr, and the parameter that holds it."""


def called_jaxpr(eqn: JaxprEqn) -> tuple[Any, tuple[Any, ...]]:
    """The jaxpr that a call equation calls, and the constants bound at its level."""
    return open_jaxpr(eqn.params[CALLS[eqn.primitive.name]])


def open_jaxpr(jaxpr: Any) -> tuple[Any, tuple[Any, ...]]:
    """Splits a closed jaxpr; from jax 0.11 on there is one class, which carries its constants."""
    if isinstance(jaxpr, ClosedJaxpr):
        return getattr(jaxpr, "jaxpr", jaxpr), tuple(jaxpr.consts)
    return jaxpr, ()


def name_stack(eqn: JaxprEqn) -> tuple[str, ...]:
    """The `jax.named_scope`s round an equation, outermost first, transformations left out."""
    scopes = str(eqn.source_info.name_stack).split("/")
    return tuple(s for s in scopes if s and not s.startswith(("jvp(", "transpose(", "vmap(")))


def bind(eqn: JaxprEqn, values: Sequence[Any]) -> list[Any]:
    """Runs one equation, known by its own line and scope in what it makes."""
    params = eqn.primitive.get_bind_params(eqn.params)
    # A tuple (functions, params) before jax 0.10.
    functions, params = params if isinstance(params, tuple) else ((), params)
    info = eqn.source_info
    stack = source_info_util.current_name_stack() + info.name_stack
    with source_info_util.user_context(info.traceback, name_stack=stack):
        results = eqn.primitive.bind(*functions, *values, **params)
    return list(results) if eqn.primitive.multiple_results else [results]


def is_tracer(value: Any) -> bool:
    """Whether a value is abstract, being traced."""
    return isinstance(value, Tracer)


__all__ = [
    "CALLS",
    "ClosedJaxpr",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Primitive",
    "ShapedArray",
    "Var",
    "ad",
    "batching",
    "bind",
    "called_jaxpr",
    "is_tracer",
    "jaxpr_as_fun",
    "mlir",
    "name_stack",
    "open_jaxpr",
]
