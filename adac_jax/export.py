"""`python -m adac_jax.export`, and `export` to be imported."""

from __future__ import annotations

import sys
import types
from typing import Any

from adac_jax.exporting import ComparisonError, Exported, export

__all__ = ["ComparisonError", "Exported", "export"]


class _Callable(types.ModuleType):
    """Importing this module puts it where `adac_jax.export` was; it may be called all the same."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return export(*arguments, **named)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    from adac_jax.cli import main

    sys.exit(main())
