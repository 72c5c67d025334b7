"""Modules one after the other, and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from adac_jax.nn.module import Module
from adac_jax.nn.naming import call, module_names


class Serial(Module):
    """One module after the other: y = f_K(… f_1(x)).

    Args:
        *modules: f_1 … f_K, at least one.
        names: One for each, which nodes of the graph are called after; by default the classes'.
            They need not differ.

    Raises:
        ValueError: a module gives another number of channels than the next one takes.
    """

    def __init__(self, *modules: Module, names: Sequence[str] | None = None) -> None:
        _some("Serial", modules)
        self.names = module_names(modules, names)
        for k, (module, after) in enumerate(pairwise(modules)):
            if module.outputs != after.inputs:
                raise ValueError(
                    f"`Serial`: {self.names[k]!r} (module {k}) gives {module.outputs} channels, "
                    f"but {self.names[k + 1]!r} (module {k + 1}) takes {after.inputs}."
                )
        self.modules = nnx.List(modules)
        self.inputs, self.outputs = modules[0].inputs, modules[-1].outputs

    def __call__(self, x: Float[Array, "time inputs"]) -> Float[Array, "time outputs"]:
        """Runs the modules in order."""
        for name, module in zip(self.names, self.modules, strict=True):
            x = call(name, module, x)
        return x


class Parallel(Module):
    """Modules side by side, on the same input or each on its own channels.

    Args:
        *modules: f_1 … f_K, at least one.
        combine: "sum": y = f_1 + … + f_K. "concatenate": the channels of f_1, then those of f_2 …
        split: Whether the input's channels are dealt out (the first ones to f_1, the next to f_2
            …) instead of all modules getting all of them.
        names: One for each, which nodes of the graph are called after; by default the classes'.
            They need not differ.

    Raises:
        ValueError: the numbers of channels do not fit.
    """

    def __init__(
        self,
        *modules: Module,
        combine: Literal["sum", "concatenate"] = "sum",
        split: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        _some("Parallel", modules)
        if combine not in ("sum", "concatenate"):
            raise ValueError(f"`combine` (={combine!r}) must be 'sum' or 'concatenate'.")
        ins, outs = [m.inputs for m in modules], [m.outputs for m in modules]
        if not split and len(set(ins)) > 1:
            raise ValueError(
                f"`Parallel`: the modules take {ins} channels; they get the same input, so these "
                "must be equal (or use split=True)."
            )
        if combine == "sum" and len(set(outs)) > 1:
            raise ValueError(
                f"`Parallel`: the modules give {outs} channels; they are summed, so these must be "
                "equal (or use combine='concatenate')."
            )
        self.names = module_names(modules, names)
        self.modules = nnx.List(modules)
        self.combine, self.split = combine, split
        self.inputs = sum(ins) if split else ins[0]
        self.outputs = outs[0] if combine == "sum" else sum(outs)

    def __call__(self, x: Float[Array, "time inputs"]) -> Float[Array, "time outputs"]:
        """Runs the modules and combines what they give."""
        results, start = [], 0
        for name, module in zip(self.names, self.modules, strict=True):
            own = x[..., start : start + module.inputs] if self.split else x
            results.append(call(name, module, own))
            start += module.inputs
        if self.combine == "concatenate":
            return jnp.concatenate(results, axis=-1)
        return sum(results[1:], start=results[0])


def _some(name: str, modules: Sequence[Module]) -> None:
    if not modules:
        raise ValueError(f"`{name}` needs at least one module.")
    for module in modules:
        if not isinstance(module, Module):
            raise TypeError(f"`{name}`: {module!r} is not an adac_jax.nn.Module.")
