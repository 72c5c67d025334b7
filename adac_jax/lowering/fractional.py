"""The rule of `fractional_delay`: it is walked as the delay and the filter it stands for."""

from __future__ import annotations

from functools import partial

from adac_jax._compat import JaxprEqn, source_info_util
from adac_jax.lowering.values import Value
from adac_jax.lowering.walker import Walker, rule
from adac_jax.primitives.fractional_delay import decompose


@rule("fractional_delay")
def _fractional_delay(w: Walker, eqn: JaxprEqn, *values: Value) -> Value:
    avals = [atom.aval for atom in eqn.invars]
    # The equations inside carry the user's line of this one, which is what a refusal names.
    with w.scope(w.label()), source_info_util.user_context(eqn.source_info.traceback):
        return w.call(partial(decompose, **eqn.params), values, avals)[0]
