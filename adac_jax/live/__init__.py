"""Hearing a model while it trains: `adac_jax.live`, and `python -m adac_jax.live`."""

from __future__ import annotations

import sys
import types
from typing import Any

from adac_jax.live.session import Session
from adac_jax.live.starting import live

__all__ = ["Session", "live"]


class _Callable(types.ModuleType):
    """Importing this package puts it where `adac_jax.live` was; it may be called all the same."""

    def __call__(self, *arguments: Any, **named: Any) -> Session:
        return live(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
