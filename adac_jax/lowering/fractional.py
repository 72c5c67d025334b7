"""The rule of `fractional_delay`: it is walked as the delay and the filter it stands for."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax

from adac_jax._compat import JaxprEqn, open_jaxpr, source_info_util
from adac_jax.lowering.values import Value
from adac_jax.lowering.walker import Walker, rule
from adac_jax.primitives.fractional_delay import decompose


@rule("fractional_delay")
def _fractional_delay(w: Walker, eqn: JaxprEqn, *values: Value) -> Value:
    avals: list[Any] = [atom.aval for atom in eqn.invars]
    specs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    # The equations inside carry the user's line of this one, which is what a refusal names.
    with source_info_util.user_context(eqn.source_info.traceback):
        jaxpr = jax.make_jaxpr(partial(decompose, **eqn.params))(*specs)
    with w.scope(w.label()):
        return w.walk(*open_jaxpr(jaxpr), values)[0]
