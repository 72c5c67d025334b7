"""`python -m adac_jax.fit`, and `fit` to be imported."""

from __future__ import annotations

import sys
import types
from typing import Any

from adac_jax.fitting import Fit, fit

__all__ = ["Fit", "fit"]


class _Callable(types.ModuleType):
    """Importing this module puts it where `adac_jax.fit` was; it may be called all the same."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return fit(*arguments, **named)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    from adac_jax.fitting.cli import main

    sys.exit(main())
