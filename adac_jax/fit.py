"""`python -m adac_jax.fit`, and `fit` to be imported."""

from __future__ import annotations

import sys

from adac_jax.fitting import Fit, fit

__all__ = ["Fit", "fit"]

if __name__ == "__main__":
    from adac_jax.fitting.cli import main

    sys.exit(main())
