"""Models at other sample rates than the one they were made for."""

from adac_jax.rates.change import RULES, Change, Note, RateError, by_parts, rule, unchanged
from adac_jax.rates.derive import Derived, at_rate, derive
from adac_jax.rates.resampled import Resampled

__all__ = [
    "RULES",
    "Change",
    "Derived",
    "Note",
    "RateError",
    "Resampled",
    "at_rate",
    "by_parts",
    "derive",
    "rule",
    "unchanged",
]
