"""A program in fixed point: its formats, its noise floor, and what rounded multipliers do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from ir.certificate import certify
from ir.cycles import label
from ir.errors import IRError
from ir.graph import Program
from ir.precision.blocks import COVERED, Runner, fixed_values, prepared
from ir.precision.formats import (
    MOVING,
    Formats,
    exact_filters,
    formats,
    rounded_numbers,
)
from ir.precision.noise import Exact, Rounded, nonlinear, predicted, worst_peaks
from ir.verify import verify_program

Mode = Literal["saturate", "wrap"]
Source = Literal["responses", "certificate", "partly measured", "measured", "given"]
LEAST_BITS, MOST_BITS = 4, 40
"""Of words; beyond, float64 is no reference any more."""
MARGIN = 2.0
"""What a measured peak is multiplied by where none is proved."""
LEVEL = 0.5
"""Of the noise that goes through."""


@dataclass(frozen=True, slots=True)
class SignalFormat:
    """The format of a signal.

    Attributes:
        name: The node's name and operation.
        node: Its position in the prepared graph.
        integer_bits: Before the point, besides the sign; least and most of its channels.
        fraction_bits: After it; least and most.
        bound: The peak that it holds.
        peak: The largest value that came up.
        noise_db: What its rounding adds to the loudest output, predicted, in dB re 1 RMS; None
            where nothing is predicted.
        overflows: How often it was too small.
    """

    name: str
    node: int
    integer_bits: tuple[int, int]
    fraction_bits: tuple[int, int]
    bound: float
    peak: float
    noise_db: float | None
    overflows: int


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """What `fixed_point` found.

    Attributes:
        name: The program.
        sample_rate: In hertz.
        bits: Of each signal.
        coefficient_bits: Of each multiplier.
        seconds: Of noise that went through.
        bounds: Where the peaks come from: "responses": the sums of their magnitudes, for a linear
            program; "certificate": its ranges, for others; "partly measured": where it has none,
            twice the peaks that came up, which prove nothing; "measured": these for all; "given".
        signals: Those that are computed, in order.
        predicted_db: Noise of each output by the linear model, in dB re 1 RMS; None where it does
            not hold.
        measured_db: The same, measured against float64 with the same multipliers and inputs, over
            the second half, when it has built up.
        not_linear: The node for which it does not hold.
        overflows: In all signals.
        coefficient_error_db: Of each output: the energy of the difference that rounding the
            multipliers makes to the responses to pulses, re that of the responses.
    """

    name: str
    sample_rate: float
    bits: int
    coefficient_bits: int
    seconds: float
    bounds: Source
    signals: tuple[SignalFormat, ...]
    predicted_db: tuple[float, ...] | None
    measured_db: tuple[float, ...]
    not_linear: str
    overflows: int
    coefficient_error_db: tuple[float, ...]

    def to_json(self) -> str:
        """All of it; what is infinite is null."""
        return json.dumps(_finite(asdict(self)), indent=2, ensure_ascii=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fixed_point(
    program: Program,
    bits: int = 24,
    *,
    coefficient_bits: int | None = None,
    overflow: Mode = "saturate",
    seconds: float = 1.0,
    peaks: Mapping[int, np.ndarray] | Literal["measured"] | None = None,
    seed: int = 0,
) -> FixedPoint:
    """Runs a program in fixed point and predicts its noise.

    Each signal is a word of `bits` bits with the fewest integer bits that hold its peak for inputs
    within ±1: of a linear program the sum of its response's magnitudes, of another what the
    certificate proves. Products are summed in full precision and rounded once,
    to the nearest, ties to even; a recursive filter is in direct form I, a section at a time.

    Args:
        program: Graph and numbers.
        bits: 4 to 40.
        coefficient_bits: Of the multipliers, which share one point in each array; `bits` if None.
        overflow: What becomes of a number that is too large.
        seconds: Of noise within ±1/2 that goes through.
        peaks: The largest absolute value of each channel of each node of `prepared(program)`, in
            place of these; or "measured": twice what comes up, which proves nothing.
        seed: Of the noise.

    Raises:
        IRError: the program is not valid or holds an operation that has no fixed-point reading, or
            an argument is out of range.
    """
    coefficient_bits = bits if coefficient_bits is None else coefficient_bits
    for name, value in (("bits", bits), ("coefficient_bits", coefficient_bits)):
        if not LEAST_BITS <= value <= MOST_BITS:
            raise IRError(f"`{name}` (={value!r}) must be {LEAST_BITS} to {MOST_BITS}.")
    if overflow not in ("saturate", "wrap"):
        raise IRError(f'`overflow` (={overflow!r}) must be "saturate" or "wrap".')
    if not 0 < seconds <= 60:
        raise IRError(f"`seconds` (={seconds!r}) must be above 0 and at most 60.")
    program = prepared(verify_program(program))
    graph = program.graph
    for k, node in graph:
        if node.op not in COVERED | {"input", "constant", "coefficient"}:
            raise IRError(f"{label(graph, k)} has no fixed-point reading.")
    length = max(2, round(seconds * graph.sample_rate))
    x = _noise(program, length, seed)
    exact = Runner(program, fixed_values(program), exact_filters(program))
    exact.run(Exact(), x, length)
    heard = {k: np.abs(v).max((-2, -1), initial=0.0) for k, v in enumerate(exact.values)}
    runner = Runner(program, *rounded_numbers(program, coefficient_bits))
    bounds, source = _bounds(program, runner, heard, peaks)
    found = formats(program, bits, bounds, coefficient_bits)
    rounded = Rounded(found, overflow == "saturate")
    x = [rounded.store(k, v, 0) for k, v in zip(graph.inputs, x, strict=True)]
    rounded.overflows.clear()
    wanted = _flat(runner.run(Exact(), x, length))
    error = (_flat(runner.run(rounded, x, length)) - wanted)[:, length // 2 :]
    model = predicted(found, runner)
    return FixedPoint(
        name=graph.name,
        sample_rate=graph.sample_rate,
        bits=bits,
        coefficient_bits=coefficient_bits,
        seconds=length / graph.sample_rate,
        bounds=source,
        signals=_signals(found, bounds, heard, rounded, model and model.shares),
        predicted_db=None if model is None else tuple(map(_power_db, model.variance)),
        measured_db=tuple(map(_power_db, (error**2).mean(-1))),
        not_linear=nonlinear(graph),
        overflows=sum(rounded.overflows.values()),
        coefficient_error_db=_coefficient_error(exact, runner, length),
    )


def _noise(program: Program, length: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = []
    for k in program.graph.inputs:
        node = program.graph.nodes[k]
        shape = (*node.shape, 1, length)
        if node.type.kind == "real":
            found.append(rng.uniform(-LEVEL, LEVEL, shape))
        else:
            found.append(rng.integers(0, 2, shape))
    return found


def _bounds(
    program: Program,
    runner: Runner,
    heard: Mapping[int, np.ndarray],
    peaks: Mapping[int, np.ndarray] | Literal["measured"] | None,
) -> tuple[Mapping[int, np.ndarray], Source]:
    """Peaks for inputs within ±1: from responses, or proved, or twice those heard."""
    if peaks == "measured":
        return {k: MARGIN * peak for k, peak in heard.items()}, "measured"
    if peaks is not None:
        return peaks, "given"
    responses = worst_peaks(runner)
    if responses is not None:
        return dict(heard) | responses, "responses"
    ranges = certify(program).ranges
    bounds = {k: np.maximum(*map(np.abs, ranges[k])) for k in heard}
    if all(np.isfinite(b).all() for b in bounds.values()):
        return bounds, "certificate"
    pairs = ((k, bounds[k], MARGIN * peak) for k, peak in heard.items())
    return {k: np.where(np.isfinite(b), b, most) for k, b, most in pairs}, "partly measured"


def _signals(
    found: Formats,
    bounds: Mapping[int, np.ndarray],
    heard: Mapping[int, np.ndarray],
    rounded: Rounded,
    shares: Mapping[int, np.ndarray] | None,
) -> tuple[SignalFormat, ...]:
    graph = found.program.graph
    rows = []
    for k, integer in found.integer.items():
        if graph.nodes[k].op in MOVING or not integer.size:
            continue
        least, most = int(np.min(integer)), int(np.max(integer))
        noise = None
        if shares is not None:
            noise = _power_db(float(np.max(shares.get(k, np.zeros(1)), initial=0.0)))
        rows.append(
            SignalFormat(
                name=label(graph, k),
                node=k,
                integer_bits=(least, most),
                fraction_bits=(found.bits - 1 - most, found.bits - 1 - least),
                bound=float(np.max(bounds[k])),
                peak=float(np.max(heard[k])),
                noise_db=noise,
                overflows=rounded.overflows.get(k, 0),
            )
        )
    return tuple(rows)


def _coefficient_error(exact: Runner, runner: Runner, length: int) -> tuple[float, ...]:
    """Responses to a pulse into each input channel, with rounded multipliers and without."""
    graph = exact.graph
    shapes = [graph.nodes[k].type for k in graph.inputs]
    channels = [(i, c) for i, t in enumerate(shapes) for c in np.ndindex(t.shape)]
    power, difference = (np.zeros(graph.output_channels) for _ in range(2))
    for i, c in channels or [(0, ())]:
        xs = [np.zeros((*t.shape, 1, length)) for t in shapes]
        if xs:
            xs[i][(*c, 0, 0)] = 1.0
        ys = [_flat(r.run(Exact(), xs, length)) for r in (exact, runner)]
        power += (ys[0] ** 2).sum(-1)
        difference += ((ys[1] - ys[0]) ** 2).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return tuple(map(_power_db, np.nan_to_num(difference / power)))


def _flat(ys: Sequence[np.ndarray]) -> np.ndarray:
    """Outputs as (channels, time)."""
    return np.concatenate([np.asarray(y, float).reshape(-1, y.shape[-1]) for y in ys])


def _power_db(power: float) -> float:
    return 10 * math.log10(power) if power > 0 else -math.inf


__all__ = ["FixedPoint", "SignalFormat", "fixed_point"]
