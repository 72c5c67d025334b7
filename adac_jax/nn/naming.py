"""Names of modules inside modules, which become the names of nodes in the graph."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import jax
from jax import Array


def call(name: str, module: Callable[[Array], Array], x: Array) -> Array:
    """Calls a module under its name: nodes of `absorption` in `fdn` are `fdn.absorption`."""
    with jax.named_scope(name):
        return module(x)


def module_names(modules: Sequence[object], names: Sequence[str] | None) -> tuple[str, ...]:
    """One name a module, by default its class in snake case; equal names are allowed.

    Raises:
        ValueError: the number of names is another, or a name is empty or holds "/" or brackets.
    """
    if names is None:
        return tuple(_snake(type(module).__name__) for module in modules)
    if len(names) != len(modules):
        raise ValueError(
            f"`names` (={tuple(names)}) must hold one name for each of {len(modules)} modules."
        )
    for name in names:
        if not re.fullmatch(r"[A-Za-z_][\w .-]*", name):
            raise ValueError(
                f"`names`: {name!r} must be a letter or underscore, then letters, digits, "
                "underscores, spaces, dots and hyphens."
            )
    return tuple(names)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
