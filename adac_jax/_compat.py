"""The one place for names of JAX that change from release to release."""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive, Var
from jax.interpreters import ad, batching, mlir

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


def called_jaxpr(eqn: JaxprEqn) -> tuple[Jaxpr, tuple[Any, ...]]:
    """The jaxpr that a call equation calls, and the constants bound at its level."""
    return open_jaxpr(eqn.params[CALLS[eqn.primitive.name]])


def open_jaxpr(jaxpr: Any) -> tuple[Jaxpr, tuple[Any, ...]]:
    """Splits a closed jaxpr; from jax 0.11 on there is one class, which carries its constants."""
    if isinstance(jaxpr, ClosedJaxpr):
        return getattr(jaxpr, "jaxpr", jaxpr), tuple(jaxpr.consts)
    return jaxpr, ()


def name_stack(eqn: JaxprEqn) -> tuple[str, ...]:
    """The `jax.named_scope`s round an equation, outermost first, transformations left out."""
    scopes = str(eqn.source_info.name_stack).split("/")
    return tuple(s for s in scopes if s and not s.startswith(("jvp(", "transpose(", "vmap(")))


def is_tracer(value: Any) -> bool:
    """Whether a value is abstract, being traced."""
    return isinstance(value, jax.core.Tracer)


__all__ = [
    "CALLS",
    "ClosedJaxpr",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Primitive",
    "Var",
    "ad",
    "batching",
    "called_jaxpr",
    "is_tracer",
    "mlir",
    "name_stack",
    "open_jaxpr",
]
