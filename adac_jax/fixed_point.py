"""`python -m adac_jax.fixed_point`, and `fixed_point` to be imported."""

from __future__ import annotations

import sys
import types
from typing import Any

from adac_jax.quantising import FixedPoint, fixed_point

__all__ = ["FixedPoint", "fixed_point"]


class _Callable(types.ModuleType):
    """Importing this module puts it where the function was; it may be called all the same."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return fixed_point(*arguments, **named)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    from adac_jax.quantising_cli import main

    sys.exit(main())
