"""`python -m adac_jax.certify`, and `certify` to be imported."""

from __future__ import annotations

import sys
import types
from typing import Any

from adac_jax.certifying import CertificateError, certify

__all__ = ["CertificateError", "certify"]


class _Callable(types.ModuleType):
    """Importing this module puts it where `adac_jax.certify` was; it may be called all the same."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return certify(*arguments, **named)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    from adac_jax.certifying_cli import main

    sys.exit(main())
