"""Filters at another rate, from their hertz and decibels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from adac_jax import nn
from adac_jax.designs import graphic_solver
from adac_jax.nn.graphic import GraphicEqualiser
from adac_jax.nn.levels import Decibels, Level, ReverberationTime
from adac_jax.nn.module import Filter
from adac_jax.nn.parameters import QUALITY_RANGE
from adac_jax.rates.bands import bands_at, carried
from adac_jax.rates.change import Change, by_parts, rule
from adac_jax.rates.levels import assign, evaluated, lines_at, put, stretch_of
from adac_jax.rates.matching import grid, matched, response_db, tolerance_db, total_db
from adac_jax.rates.sections import remapped

PEAKS = ("peaking", "bandpass", "notch", "allpass")
"""Kinds whose Q is a bandwidth."""
STEPS, BUMP_DB, RIDGE, MOST_DB = 4, 0.1, 1e-7, 6.0
"""Of the search for an equaliser's gains: steps, the difference of a derivative in dB, what is
added to the normal equations, re their largest entry, and how far a gain moves in a step in dB."""


@rule(nn.Gain)
def gain(module: nn.Gain, change: Change) -> nn.Gain:
    """A gain stays what it is; that of delay lines follows their lengths."""
    if isinstance(module.gain, Level):
        module.gain = change.of(module.gain, "gain", stretch=change.stretch)
        return module
    if change.stretch is not None and module.channels == change.stretch.shape:
        g = np.asarray(module.gain[...], np.float64)
        module.gain = put(module.gain, np.sign(g) * np.abs(g) ** change.stretch)
    return module


def derived(module: Filter, change: Change, whole: Any = None) -> Filter:
    """A filter with sections: designed anew, and what that misses of its response made up.

    Args:
        module: The filter.
        change: From where to where.
        whole: The filter with the correction that an earlier derivation gave it, if one did: it is
            then found anew, so that corrections do not pile up.
    """
    f = grid(change)
    stretch = stretch_of(module, change)
    looped = change if stretch is None else replace(change, loop=True)
    wanted = response_db(module, f, change.old) if whole is None else total_db(whole, f, change.old)
    assert wanted is not None
    if stretch is not None:
        wanted = wanted * stretch
    text = DESIGNS[type(module)](module, wanted, f, change, stretch)
    return matched(module, wanted, f, looped, text)


def _parts(module: Any, change: Change, stretch: np.ndarray | None) -> None:
    """Derives levels and frequencies of a filter."""
    lines = getattr(module, "lines", None)
    if lines is not None:
        module.lines = lines_at(lines, change)
    for name, value in list(vars(module).items()):
        if isinstance(value, Level):
            setattr(module, name, change.of(value, name, stretch=stretch))
    by_parts(module, change)


def _one_pole(
    module: nn.OnePole, wanted: np.ndarray, f: np.ndarray, change: Change, stretch: Any
) -> str:
    # |H|² = g² / (1 + k φ), φ = sin²(π f / fs): k is chosen so that it is met at one frequency.
    _parts(module, change, stretch)
    assert module.gain_dc is not None
    assert module.gain_nyquist is not None
    at = int(np.searchsorted(f, 0.6 * change.nyquist))
    dc = evaluated(module.gain_dc)
    fall = 10 ** ((dc - wanted[at]) / 10) - 1
    k = fall / np.sin(np.pi * f[at] / change.new) ** 2
    assign(module.gain_nyquist, dc - 10 * np.log10(np.maximum(1 + k, 1e-4)))
    return "one pole, for the gain at DC and at 0.6 of the Nyquist frequency"


def _shelf(
    module: nn.FirstOrderShelf, wanted: np.ndarray, f: np.ndarray, change: Change, stretch: Any
) -> str:
    _parts(module, change, stretch)
    return "designed anew for its hertz and decibels"


def _biquad(module: Any, wanted: np.ndarray, f: np.ndarray, change: Change, stretch: Any) -> str:
    hertz = evaluated(module.frequency, "hertz")
    _parts(module, change, stretch)
    if module.kind in PEAKS:
        _keep_width(module.quality, hertz, change, slice(None))
    return "designed anew for its hertz and decibels"


def _svf(module: nn.SVF, wanted: np.ndarray, f: np.ndarray, change: Change, stretch: Any) -> str:
    hertz = evaluated(module.frequency, "hertz")
    _parts(module, change, stretch)
    if module.kind in PEAKS:
        _keep_width(module.resonance, hertz, change, slice(None), inverse=True)
    elif module.kind is None and stretch is not None:
        low, band, high = (
            np.asarray(p[...], np.float64) for p in (module.low, module.band, module.high)
        )
        # All gains in dB are scaled where there is one section; the rest is the correction's.
        power = stretch - 1
        module.low = put(module.low, low * np.abs(low) ** power)
        module.high = put(module.high, high * np.abs(high) ** power)
        module.band = put(module.band, band * np.abs(low * high) ** (power / 2))
    return "designed anew for its hertz and decibels"


def _peq(module: nn.PEQ, wanted: np.ndarray, f: np.ndarray, change: Change, stretch: Any) -> str:
    hertz = evaluated(module.frequency, "hertz")
    _parts(module, change, stretch)
    _keep_width(module.quality, hertz, change, slice(1, -1))
    return "designed anew for its hertz and decibels"


def _keep_width(
    quality: Any, hertz: np.ndarray, change: Change, rows: slice, *, inverse: bool = False
) -> None:
    """Gives peaks the Q that keeps their width in octaves.

    asinh(1 / (2 Q)) sin w / w is the same at both rates: see `designs.quality_from_bandwidth`.
    """
    value = evaluated(quality)
    half = value if inverse else 0.5 / value  # R is 1 / (2 Q)
    old, new = (
        np.minimum(2 * np.pi * hertz / rate, 0.95 * np.pi) for rate in (change.old, change.new)
    )
    width = np.arcsinh(half) * np.sinc(old / np.pi) / np.sinc(new / np.pi)
    limits = (0.5 / QUALITY_RANGE[1] * 1.001, 0.5 / QUALITY_RANGE[0] * 0.999)
    kept = half.copy()
    kept[rows] = np.clip(np.sinh(np.minimum(width, 5.0)), *limits)[rows]
    quality.set(kept if inverse else 0.5 / kept)


def _geq(module: nn.GEQ, wanted: np.ndarray, f: np.ndarray, change: Change, stretch: Any) -> str:
    old = module.bands
    _parts(module, change, stretch)
    module.bands = bands_at(old, change)
    solver = graphic_solver(module.bands)
    at = np.stack([np.interp(solver.control, f, c) for c in wanted.reshape(len(f), -1).T], axis=-1)
    gains = (solver.solve @ at).reshape(-1, *wanted.shape[1:])
    assign(module.gains, gains)
    refined(module, module.gains, wanted, f, change)
    return _bands_text(old, module)


def _accurate(
    module: nn.AccurateGEQ, wanted: np.ndarray, f: np.ndarray, change: Change, stretch: Any
) -> str:
    old, commands = module.bands, evaluated_parameter(module.commands)
    frequencies = module.frequencies
    _parts(module, change, stretch)
    module.bands = bands_at(old, change)
    if module.bands.centres != old.centres:
        replace_parameter(module.commands, carried(commands, frequencies, module.frequencies))
    module.offsets = Decibels("offsets", 0.0, (module.bands.filters + 1, *module.channels))
    refined(module, module.offsets, wanted, f, change)
    return _bands_text(old, module)


def refined(module: Any, level: Level, wanted: np.ndarray, f: np.ndarray, change: Change) -> None:
    """Moves an equaliser's gains, in place, to where its response is nearest to what is wanted.

    Gauss-Newton steps in dB, weighted by the tolerance, each line for itself; lines that share a
    parameter share the mean of what they ask for. A ridge keeps gains that no frequency feels.
    """
    weight = 1 / tolerance_db(
        wanted, f, replace(change, loop=change.loop or module.lines is not None)
    )
    lines, module.lines = (
        module.lines,
        None,
    )  # the ceiling of an absorption is no part of the design
    for _ in range(STEPS):
        value = evaluated(level)
        found = response_db(module, f, change.new)
        slopes = []
        for k in range(len(value)):
            bumped = value.copy()
            bumped[k] += BUMP_DB
            assign(level, bumped)
            slopes.append((response_db(module, f, change.new) - found) / BUMP_DB)
        shape = value.shape[1:]
        J = (np.stack(slopes, axis=-1) * weight[..., None]).reshape(len(f), -1, len(value))
        r = ((wanted - found) * weight).reshape(len(f), -1)
        normal = np.einsum("fck,fcl->ckl", J, J)
        normal += RIDGE * np.max(np.abs(normal)) * np.eye(len(value))
        step = np.linalg.solve(normal, np.einsum("fck,fc->ck", J, r)[..., None])[..., 0]
        assign(level, value + np.clip(step.T.reshape(-1, *shape), -MOST_DB, MOST_DB))
    module.lines = lines


def evaluated_parameter(level: Level) -> np.ndarray:
    """A level's own parameter: dB, dB per second, or the logarithm of a reverberation time."""
    if isinstance(level, ReverberationTime):
        return np.log(evaluated(level.t60))
    own = level.db if isinstance(level, Decibels) else level.rate  # type: ignore[attr-defined]
    return np.asarray(own[...], np.float64)


def replace_parameter(level: Level, value: np.ndarray) -> None:
    """Puts in place what `evaluated_parameter` gave, of another number of bands."""
    if isinstance(level, ReverberationTime):
        level.t60.raw = put(level.t60.raw, value)
        level.t60.set(np.exp(value))
    elif isinstance(level, Decibels):
        level.db = put(level.db, value)
    else:
        level.rate = put(level.rate, value)  # type: ignore[attr-defined]


def _bands_text(old: Any, module: GraphicEqualiser) -> str:
    dropped = [c for c in old.centres if c not in module.bands.centres]
    text = "designed anew for its bands"
    if dropped:
        text += f", without {' and '.join(f'{c:.0f}' for c in dropped)} Hz, which the rate lacks"
    return text


def _sos(module: nn.SOS, wanted: np.ndarray, f: np.ndarray, change: Change, stretch: Any) -> str:
    sos = evaluated(module, "sos")
    module.coefficients = put(module.coefficients, remapped(sos, change.old, change.new))
    return "raw coefficients, each section through its analogue prototype"


DESIGNS = {
    nn.OnePole: _one_pole,
    nn.FirstOrderShelf: _shelf,
    nn.Biquad: _biquad,
    nn.SVF: _svf,
    nn.PEQ: _peq,
    nn.GEQ: _geq,
    nn.AccurateGEQ: _accurate,
    nn.SOS: _sos,
}
"""How each filter is designed anew; what it takes is what `derived` has."""
rule(*DESIGNS)(derived)
