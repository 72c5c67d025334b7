"""Delays, networks and what mixes channels, at another rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from flax import nnx

from adac_jax import nn
from adac_jax.rates.change import Change, rule, unchanged
from adac_jax.rates.filters import DESIGNS, derived
from adac_jax.rates.lengths import coprime, rounded
from adac_jax.rates.levels import put
from adac_jax.rates.matching import CORRECTED, check_peak, most_db

MIXING = (nn.Matrix, nn.Orthogonal, nn.Householder, nn.Circulant, nn.Hadamard, nn.Rotation)
"""What mixes the channels of one sample: the same at any rate."""
rule(*MIXING)(unchanged)


@rule(nn.Delay)
def delay(module: nn.Delay, change: Change) -> nn.Delay:
    """Whole samples, rounded."""
    module.samples = rounded(module.samples, change)
    return module


@rule(nn.FractionalDelay)
def fractional(module: nn.FractionalDelay, change: Change) -> nn.FractionalDelay:
    """The same seconds, exactly; the interpolator's own response moves with the rate."""
    least = module.order - 0.5 if module.method == "thiran" else 0.0
    module.minimum = int(module.minimum * change.ratio)
    if module.maximum is None:
        module.samples = tuple(max(least, d * change.ratio) for d in module.samples)
        return module
    module.maximum = int(np.ceil(module.maximum * change.ratio)) + module.order
    trained: Any = module.samples
    value = np.asarray(trained[...], np.float64) * change.ratio
    module.samples = put(trained, np.maximum(value, least))
    return module


@rule(nn.Serial)
def serial(module: nn.Serial, change: Change) -> nn.Serial:
    """Part by part; what stands in the loop of a line there does so here."""
    if module.names == CORRECTED and type(module.modules[0]) in DESIGNS:
        return derived(module.modules[0], change, module)  # type: ignore
    for k, part in enumerate(module.modules):
        module.modules[k] = change.of(part, module_name(module, k), stretch=change.stretch)
    return module


@rule(nn.Parallel)
def parallel(module: nn.Parallel, change: Change) -> nn.Parallel:
    """Part by part; each part's channels follow their own lines where they are dealt out."""
    dealt = module.split and module.combine == "concatenate" and change.stretch is not None
    start = 0
    for k, part in enumerate(module.modules):
        own = change.stretch[start : start + part.inputs] if dealt else None  # type: ignore[index]
        module.modules[k] = change.of(part, module_name(module, k), stretch=own)
        start += part.inputs
    return module


def module_name(module: Any, k: int) -> str:
    """The name of a part, which may not be the only one of that name."""
    name = module.names[k]
    return name if module.names.count(name) == 1 else f"{name}[{k}]"


@rule(nn.Scattering, nn.VelvetScattering)
def scattering(module: nn.Scattering, change: Change) -> nn.Scattering:
    """Shifts are rounded; γ is taken to the power of the old rate over the new one."""
    for part in (*module.shifts, *(d for d in (module.left, module.right) if d is not None)):
        change.of(part, "shifts")
    module.gain_per_sample = module.gain_per_sample ** (1 / change.ratio)
    for k, matrix in enumerate(module.matrices):
        module.matrices[k] = change.of(matrix, f"matrices.{k}")
    return module


@rule(nn.FDN)
def network(module: nn.FDN, change: Change) -> nn.FDN:
    """Lengths first, coprime where they were; then the absorption for what was made of them."""
    before = line_lengths(module)
    if type(module.delays) is nn.Delay:
        module.delays.samples = coprime(module.delays.samples, change)
        change.done[id(module.delays)] = (module.delays, module.delays)
    for name in ("delays", "feedback_delays", "matrix", "loop"):
        setattr(module, name, change.of(getattr(module, name), name, loop=True))
    after = line_lengths(module)
    stretch = after / np.maximum(1e-9, before * change.ratio)
    if module.absorption is not None:
        most = most_db(module.absorption, change.old)
        module.absorption = change.of(module.absorption, "absorption", loop=True, stretch=stretch)
        here = replace(change, path=f"{change.path}.absorption".lstrip("."))
        check_peak(module.absorption, None if most is None else most * stretch, here)
    for name in ("input_gain", "output_gain", "direct", "pre_tone", "tone"):
        setattr(module, name, change.of(getattr(module, name), name))
    if "sample_rate" in vars(module):
        module.sample_rate = change.new
    error = float(np.max(np.abs(stretch - 1)))
    change.note(module, f"lines of {min(after):.0f} to {max(after):.0f} samples, each within "
                f"{100 * error:.2g} % of its seconds")  # fmt: skip
    return module


def line_lengths(module: nn.FDN) -> np.ndarray:
    """Samples in each line's way round the loop, as far as they are lengths of delays, (lines,)."""
    total = np.zeros(module.delays.inputs)
    parts = [module.delays, module.feedback_delays]
    if isinstance(module.matrix, nn.Scattering):
        parts += [module.matrix.left, module.matrix.right]
    for part in parts:
        if isinstance(part, (nn.Delay, nn.FractionalDelay)):
            own = part.samples
            total += np.asarray(own[...] if isinstance(own, nnx.Param) else own, np.float64)
    return total
