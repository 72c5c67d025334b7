"""`python -m adac_jax.export`, and `export` to be imported."""

from __future__ import annotations

import sys

from adac_jax.exporting import ComparisonError, Exported, export

__all__ = ["ComparisonError", "Exported", "export"]

if __name__ == "__main__":
    from adac_jax.cli import main

    sys.exit(main())
