"""Models with ready knobs, which take a trained model as it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from adac_jax import nn
from adac_jax.errors import AdacError
from adac_jax.macros import knobs
from adac_jax.macros.network import IN_LOOP, longest_line, with_knobs
from adac_jax.macros.sections import Sections, first_order_allpass
from adac_jax.nn.module import Module
from adac_jax.nn.naming import call
from adac_jax.primitives import fractional_delay
from adac_jax.rates.change import Change

OUTSIDE = ("mix", "level", "pre-delay", "brightness")
"""Knobs that act before and after any model."""
KNOBS = tuple(dict.fromkeys((*OUTSIDE, *IN_LOOP)))
"""All there are."""
OCTAVES = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
"""Centres in Hz of the bands that have a decay of their own, by default."""


class Controlled(Module):
    """A model and the knobs round it; made by `with_controls`.

    y = L T((1 - w) D x + w M(z^-p x)), or with a direct path in the model, y = L T(a x' + b y'):
    see docs/controls.md.

    Attributes:
        model: M, its loops with knobs inside.
        trained: The model as it came, whose parameters those are.
        sample_rate: fs in Hz.
    """

    def __init__(
        self,
        model: Module,
        direct: Module | None,
        trained: Module,
        rate: float,
        names: Sequence[str],
        bands: Sequence[float],
    ) -> None:
        self.model, self.direct, self.trained = model, direct, trained
        self.bands = tuple(map(float, bands))
        self.inputs, self.outputs = model.inputs, model.outputs
        self.sample_rate = rate
        self.latency = int(getattr(model, "latency", 0) or 0)
        self.names = tuple(names)
        self.shelf = Sections((first_order_allpass(min(knobs.BRIGHT, rate / 4), rate),), (-1.0,))

    def at_rate(self, change: Change) -> Controlled:
        """The same knobs on the model as derived for another rate; see `adac_jax.at_rate`."""
        derived = change.of(self.trained, "trained")
        return with_controls(derived, self.names, sample_rate=change.new, bands=self.bands)

    def __call__(self, x: Array) -> Array:
        """Processes audio."""
        fed = x
        if "pre-delay" in self.names:
            d = knobs.pre_delay(self.sample_rate)
            most = knobs.most_delay(self.sample_rate)
            fed = fractional_delay(x, d, order=1, minimum=0, maximum=most)
        y = call("model", self.model, fed)
        if "brightness" in self.names:
            excess = knobs.decibels(knobs.brightness()) - 1
            y = self.shelf(y, jnp.reshape(excess, (1, 1)))
        if "mix" not in self.names:
            y = y if self.direct is None else y + call("direct", self.direct, x)
        elif self.direct is None:
            # A model that is all wet: what is dry comes in as the wet sound goes.
            wet = knobs.mix(1.0)
            y = wet * y + (1 - wet) * (x @ jnp.asarray(_straight(self), x.dtype).T)
        else:
            # As it was made in the middle; either goes down towards the other's end.
            wet = knobs.mix(0.5)
            dry = jnp.minimum(1, 2 * (1 - wet)) * call("direct", self.direct, x)
            y = jnp.minimum(1, 2 * wet) * y + dry
        return y * knobs.level() if "level" in self.names else y


def _straight(model: Module) -> np.ndarray:
    """D of a model without a direct path, (outputs, inputs): channel i to all that equal it."""
    common = min(model.inputs, model.outputs)
    rows, columns = np.arange(model.outputs)[:, None], np.arange(model.inputs)
    return ((rows % common == columns % common) / (model.inputs // common)).astype(float)


def with_controls(
    model: Module,
    names: Sequence[str] | None = None,
    *,
    sample_rate: float | None = None,
    bands: Sequence[float] = OCTAVES,
) -> Controlled:
    """A model with knobs: its weights stay its own, and at rest its sound stays to the bit.

    Knobs in a loop go into every `nn.FDN` of the model: one knob turns all of them. The filters by
    which decay times are scaled are designed from the weights as they are now; after further
    training, make the knobs anew. docs/controls.md has the equations, and what may move.

    Args:
        model: Any module of (time, inputs) → (time, outputs).
        names: Of "mix", "level", "pre-delay", "brightness", and for networks "decay", "decay
            bands", "freeze", "size", "modulation"; None: all that the model can have of mix, level,
            pre-delay, brightness, decay and freeze.
        sample_rate: fs in Hz; the model's own if None.
        bands: Centres in Hz of the bands of "decay bands".

    Returns:
        A module that shares the model's parameters.

    Raises:
        AdacError: a knob is not known, or the model has nothing that it could turn.
    """
    rate = getattr(model, "sample_rate", None) if sample_rate is None else sample_rate
    if not isinstance(rate, (int, float)) or not rate > 0:
        raise AdacError(f"`sample_rate` (={rate!r}) must be given, in hertz: the model has none.")
    networks = _networks(model)
    if names is None:
        names = [*OUTSIDE, *(("decay", "freeze") if networks else ())]
    for name in names:
        if name not in KNOBS:
            raise AdacError(f"`names`: {name!r} must be one of {', '.join(KNOBS)}.")
        if name not in OUTSIDE and not networks:
            raise AdacError(f"The knob {name!r} turns a feedback delay network, and there is none.")
    if not all(np.diff([0.0, *bands]) > 0):
        raise AdacError(f"`bands` (={tuple(bands)}) must be frequencies in Hz, rising.")
    longest = longest_line(networks, float(rate))
    settings = (names, float(rate), bands, longest)
    inside = _replaced(model, lambda network: with_knobs(network, *settings))
    direct = None
    if isinstance(inside, nn.FDN) and inside.direct is not None:
        inside = copy.copy(inside)
        direct, inside.direct = inside.direct, None
    return Controlled(inside, direct, model, float(rate), names, bands)


def _networks(model: Any) -> list[nn.FDN]:
    return [part for _, part in nnx.iter_graph(model) if isinstance(part, nn.FDN)]


def _replaced(model: Any, change: Any) -> Any:
    """A copy of a model, with its networks changed; parameters are shared."""
    if isinstance(model, nn.FDN):
        return change(model)
    if not _networks(model):
        return model
    if isinstance(model, nnx.List):
        return nnx.List([_replaced(part, change) for part in model])
    changed = copy.copy(model)
    for name, value in vars(model).items():
        if isinstance(value, (nnx.Module, nnx.List)) and _networks(value):
            setattr(changed, name, _replaced(value, change))
    return changed


__all__ = ["KNOBS", "Controlled", "with_controls"]
