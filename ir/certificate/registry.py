"""How the certificate's tables of rules are filled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def registrar(table: dict[str, R]) -> Callable[..., Callable[[R], R]]:
    """A decorator that registers the rule of some operations in a table, each once."""

    def rule(*ops: str) -> Callable[[R], R]:
        def register(function: R) -> R:
            for op in ops:
                assert op not in table, op
                table[op] = function
            return function

        return register

    return rule
