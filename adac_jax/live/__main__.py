"""`python -m adac_jax.live`."""

import sys

from adac_jax.live.cli import main

sys.exit(main())
