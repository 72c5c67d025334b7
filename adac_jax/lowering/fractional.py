"""The rule of `fractional_delay`: it is walked as the delay and the filter it stands for."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp

from adac_jax._compat import JaxprEqn, source_info_util
from adac_jax.lowering.controls import coefficients_that_follow
from adac_jax.lowering.values import Controlled, Value
from adac_jax.lowering.walker import Walker, rule
from adac_jax.primitives.fractional_delay import decompose, moving


@rule("fractional_delay")
def _fractional_delay(w: Walker, eqn: JaxprEqn, *values: Value) -> Value:
    if isinstance(values[1], Controlled):
        return coefficients_that_follow(w, eqn, partial(_following, w, eqn), 0, *values)
    avals = [atom.aval for atom in eqn.invars]
    # The equations inside carry the user's line of this one, which is what a refusal names.
    with w.scope(w.label()), source_info_util.user_context(eqn.source_info.traceback):
        return w.call(partial(decompose, **eqn.params), values, avals)[0]


def _following(w: Walker, eqn: JaxprEqn, d: Any, x: Any, axis: int) -> Any:
    """Each tap reads where it must at this sample: behind a moved delay, an FIR would not."""
    if eqn.params["method"] != "lagrange":
        raise w.refusal(
            "its length follows a control, and a recursive filter whose coefficients jump rings.",
            'Use method="lagrange".',
        )
    bounds = (eqn.params["order"], "lagrange", eqn.params["minimum"], eqn.params["maximum"])
    return moving(x, jnp.broadcast_to(d, x.shape), jnp.asarray(0, jnp.int32), *bounds, axis)
