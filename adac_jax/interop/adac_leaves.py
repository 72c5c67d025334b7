"""The leaves of adac's JSON: one of FLAMO's modules each, with its numbers in "params".

- Gain, Matrix, HouseholderMatrix: "matrix" (outputs, inputs), what the module multiplies by; or
  "gains", one a channel. parallelGain: "gains".
- parallelDelay: "samples" and "samples_fractional", which adac takes as parameter times fs. FLAMO's
  parameter is in seconds times "unit" (in "flamo"; 1 if missing), so the delay is that / unit;
  whole if "isint", or if it is so but for the rounding of float32. Others are interpolated
  linearly, as adac's FAUST does it; FLAMO's own exp(-jωm) is not causal.
- parallelSOSFilter: "sos" (sections, channels, 5): b_0, b_1, b_2, a_1, a_2 over a_0. SOSFilter,
  which adac calls by the same name: "raw" (sections, 6, outputs, inputs).
- Biquad, parallelBiquad, SVF, parallelSVF, GEQ, parallelGEQ: "raw", which `flamo.py` makes sections
  of; they become parameters as sections, and not as FLAMO's raw numbers.
- Filter, parallelFilter: "raw" taps (taps, outputs, inputs) or (taps, channels).

AccurateGEQ, PEQ, Delay between all pairs of channels, and scattering matrices are refused.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adac_jax.interop import flamo
from adac_jax.interop.documents import FormatError, Part
from adac_jax.nn import FIR, SOS, Delay, FractionalDelay, Gain
from adac_jax.nn.module import Module

MAX_CHANNELS = 1024
MAX_DELAY = 2**24
"""Samples of one delay line."""
LARGEST = 1e30
"""Of coefficients that raw parameters lead to; float32 holds them."""
FLOAT32 = 2.0**-22
"""Share of a delay that its parameter in float32 and its way to samples may be off by."""


def leaf(part: Part, rate: float) -> Module:
    """The module of a leaf.

    Args:
        part: The leaf.
        rate: fs in Hz, for filters that do not state their own.

    Raises:
        FormatError: its type is not known, or its numbers are not of the shape that it needs.
    """
    kind = part.entry("module_type").text(*LEAVES)
    try:
        with np.errstate(all="ignore"):  # what is not finite in the end is refused
            module = LEAVES[kind](part, part.entry("params"), rate)
    except FormatError:
        raise
    except ValueError as error:
        raise part.error(f"a leaf of usable numbers: {str(error).rstrip('.')}") from None
    for key, found in (("input_channels", module.inputs), ("output_channels", module.outputs)):
        if part.has(key):
            part.entry(key).whole(found, found)
    return module


def _gain(part: Part, params: Part, rate: float) -> Module:
    if params.has("matrix"):
        values = params.entry("matrix").array(None, None)
        return Gain((values.shape[0], values.shape[1]), values)
    values = params.entry("gains").array(None)
    return Gain(len(values), values)


def _delay(part: Part, params: Part, rate: float) -> Module:
    key = "samples_fractional" if params.has("samples_fractional") else "samples"
    own = part.entry("flamo") if part.has("flamo") else Part({}, part.file)
    unit = own.entry("unit").number(1e-9, 1e9) if own.has("unit") else 1.0
    lengths = params.entry(key).array(None) / unit
    if not ((lengths >= 0) & (lengths <= MAX_DELAY)).all():
        raise params.entry(key).error(f"a list of delays from 0 to {MAX_DELAY} samples")
    whole = np.round(lengths)
    integer = own.entry("isint").flag() if own.has("isint") else key == "samples"
    if integer or (np.abs(lengths - whole) <= FLOAT32 * np.maximum(whole, 1)).all():
        return Delay(whole.astype(int))
    return FractionalDelay(lengths, order=1)


def _sos(part: Part, params: Part, rate: float) -> Module:
    if params.has("raw"):
        raw = params.entry("raw").array(None, 6, None, None)
        if not raw[:, 3].all():
            raise params.entry("raw").error("of sections without an a_0 of 0")
        return SOS((raw.shape[2], raw.shape[3]), raw)
    b0, b1, b2, a1, a2 = np.moveaxis(params.entry("sos").array(None, None, 5), 2, 0)
    return _sections(np.stack([b0, b1, b2, np.ones_like(b0), a1, a2], axis=1))


def _sections(values: np.ndarray) -> SOS:
    if not (np.abs(values) < LARGEST).all():  # nor is NaN
        raise ValueError("its sections' coefficients are too large")
    channels = values.shape[2:]
    return SOS(channels[0] if len(channels) == 1 else (channels[0], channels[1]), values)


def _raw(params: Part, parallel: bool, *leading: int | None) -> np.ndarray:
    return params.entry("raw").array(*leading, *([None] if parallel else [None, None]))


def _biquad(part: Part, params: Part, rate: float, parallel: bool = False) -> Module:
    kind = part.entry("flamo").entry("filter_type").text(*flamo.BIQUAD_TYPES)
    raw = _raw(params, parallel, None, flamo.BIQUAD_TYPES[kind])
    return _sections(flamo.biquad(raw, kind))


def _svf(part: Part, params: Part, rate: float, parallel: bool = False) -> Module:
    own = part.entry("flamo") if part.has("flamo") else Part({}, part.file)
    kind = own.entry("filter_type").text(*flamo.SVF_TYPES) if own.has("filter_type") else None
    return _sections(flamo.svf(_raw(params, parallel, 5, None), kind))


def _equaliser(part: Part, params: Part, rate: float, parallel: bool = False) -> Module:
    own = part.entry("flamo") if part.has("flamo") else Part({}, part.file)
    rate = own.entry("fs").number(1.0, 1e7) if own.has("fs") else rate
    raw = _raw(params, parallel, None)
    gains = {len(flamo.band_centres(n)) + 3: n for n in (1, 3)}  # "octave_interval" may be missing
    if len(raw) not in gains or not raw.all():
        counts = " or ".join(map(str, gains))
        raise params.entry("raw").error(f"a list of {counts} gains of which none is 0")
    return _sections(flamo.graphic_equaliser(raw, gains[len(raw)], rate))


def _filter(part: Part, params: Part, rate: float, parallel: bool = False) -> Module:
    taps = _raw(params, parallel, None)
    return FIR(taps.shape[1] if parallel else (taps.shape[1], taps.shape[2]), taps)


def _parallel(read: Callable[..., Module]) -> Callable[[Part, Part, float], Module]:
    return lambda part, params, rate: read(part, params, rate, True)


LEAVES: dict[str, Callable[[Part, Part, float], Module]] = {
    "Gain": _gain,
    "Matrix": _gain,
    "HouseholderMatrix": _gain,
    "parallelGain": _gain,
    "parallelDelay": _delay,
    "parallelSOSFilter": _sos,
    "Biquad": _biquad,
    "parallelBiquad": _parallel(_biquad),
    "SVF": _svf,
    "parallelSVF": _parallel(_svf),
    "GEQ": _equaliser,
    "parallelGEQ": _parallel(_equaliser),
    "Filter": _filter,
    "parallelFilter": _parallel(_filter),
}
