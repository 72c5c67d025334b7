"""The proof: FAUST, compiled in this process, against JAX and against the interpreter."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import flax
import jax
import numpy as np

from adac_jax import blocks, signals
from adac_jax.errors import AdacError
from adac_jax.host import Library, Processor, versions
from adac_jax.knob_checks import Limits, cast, joined, knob_checks, split
from adac_jax.primitives.control import set_controls
from adac_jax.report import Check, Report, compare
from adac_jax.tracing import Latency, Traced, trace
from emitters import faust
from ir import Program
from ir.interpreter import run_for
from ir.passes import expand_sos

LIMIT_SINGLE = -120.0
"""dB re peak that FAUST in single precision may differ from JAX in float64."""
ROUNDING_ALLOWANCE = 12.0
"""dB by which it may differ more than the same graph, computed by JAX in single precision, does:
another order of the same sums, and other implementations of the same functions."""
LIMIT_ROUNDING = -80.0
"""dB re peak beyond which no rounding excuses it."""
LIMIT_KNOBS = -54.0
"""The same for knobs that are turned: single precision holds a delay of up to 2^14 samples that
moves within 2^-10 samples, and noise changes by up to 2 from one sample to the next."""
LIMIT_DOUBLE = -240.0
"""dB re peak (1e-12) that float64 readings may differ from each other."""
JUDGED = 4096
"""Samples that the interpreter, which is slow, runs at most."""
JUDGED_OPERATIONS = 100_000
"""Operations that it computes at most for a test signal, at least 256 samples of it."""

ODD_BLOCK = 37
"""Samples a block, of no use to any vector unit."""

Reading = Callable[[np.ndarray], np.ndarray]


def verify(
    model: Any,
    *,
    parameters: Any = None,
    inputs: int | None = None,
    sample_rate: float | None = None,
    seconds: float = 2.0,
    name: str | None = None,
    latency: Latency = 0,
) -> Report:
    """Emits a model as FAUST, compiles it in this process, and compares it with JAX.

    Impulses into each input, noise, a sweep, and silence after noise go through: JAX in float64
    (the reference), the NumPy interpreter (which, being slow, runs the first samples only), FAUST
    in double and in single precision, also in odd blocks and at another sample rate of the host,
    and JAX in float32. If the model has controls, noise goes through with all of them at their
    lowest positions, at their highest, with each alone at either, and moving.

    Args:
        model: As for `trace`, or an `ir.Program`, for which the block reading stands for JAX.
        parameters: As for `trace`.
        inputs: As for `trace`.
        sample_rate: Hertz; the model's attribute `sample_rate`, or 48000, if None.
        seconds: Length of each test signal.
        name: The model's name in the report.
        latency: As for `trace`.

    Returns:
        The report; `report.passed` says whether all comparisons are within their limits: 1e-12 of
        the peak for FAUST in double precision and for the interpreter, -120 dB re peak for FAUST
        in single precision, and no shift by a sample anywhere. Where FAUST in single precision
        misses its limit, the graph is computed in single precision by JAX too, which shares no
        code with FAUST: what that loses to rounding, and 12 dB more, is then the limit, up to
        -80 dB.

    Raises:
        RefusedError, DelayFreeLoopError, AdacError: as `trace`.
        HostError: FAUST does not compile.
    """
    if seconds <= 0:
        raise AdacError(f"`seconds` (={seconds}) must be positive.")
    start = time.perf_counter()
    traced, program = traced_at(model, parameters, inputs, sample_rate, name, latency)
    timings = {"trace": time.perf_counter() - start}
    return verify_program(program, traced, seconds=seconds, timings=timings)


def rate_of(model: Any, sample_rate: float | None) -> float:
    """The sample rate: as given, or as the model says, or 48000."""
    rate = getattr(model, "sample_rate", 48000.0) if sample_rate is None else sample_rate
    if not isinstance(rate, (int, float)) or not 1 <= rate <= 1e7:
        raise AdacError(f"`sample_rate` (={rate}) must be a number of hertz, such as 48000.")
    return float(rate)


def traced_at(
    model: Any,
    parameters: Any = None,
    inputs: int | None = None,
    sample_rate: float | None = None,
    name: str | None = None,
    latency: Latency = 0,
) -> tuple[Traced | None, Program]:
    """Traces a model in float64, so that coefficients are exact; a program stays what it is."""
    if isinstance(model, Program):
        return None, model
    rate = rate_of(model, sample_rate)
    with jax.enable_x64(True):
        traced = trace(
            model,
            parameters=parameters,
            inputs=inputs,
            sample_rate=rate,
            name=name,
            latency=latency,
        )
    return traced, traced.program


def verify_program(
    program: Program,
    traced: Traced | None = None,
    *,
    seconds: float = 2.0,
    source: str | None = None,
    timings: dict[str, float] | None = None,
) -> Report:
    """As `verify`, for a program that is there already, and the model it came from, if any."""
    timings = dict(timings or {})
    graph = program.graph
    rate = round(graph.sample_rate)
    start = time.perf_counter()
    source = faust.emit(program) if source is None else source
    timings["emit"] = time.perf_counter() - start
    length = max(1, round(seconds * rate))
    late = traced.added if traced else 0
    length += late
    judged = min(length, late + JUDGED, max(256, JUDGED_OPERATIONS // len(expand_sos(graph).nodes)))
    checks: list[Check] = []
    traces: dict[str, np.ndarray] = {}
    with Library(source, precision="double", sample_rate=rate) as double:
        single = Processor(source, sample_rate=rate)
        timings["compile double"] = double.compile_seconds
        timings["compile single"] = single.compile_seconds
        _check_arity(program, double)
        with jax.enable_x64(True):
            exact = jax_reading(program, traced, np.float64)
            for label, x in _test_signals(graph.input_channels, length, graph.sample_rate):
                expected = exact(x)[: length - late]
                begun = time.perf_counter()
                rendered = single.render(x)
                timings["× real time"] = seconds / max(1e-9, time.perf_counter() - begun)
                found = {"FAUST single": rendered[late:], "FAUST double": double.render(x)[late:]}
                limits = {"FAUST single": LIMIT_SINGLE, "FAUST double": LIMIT_DOUBLE}
                for reading, y in found.items():
                    checks.append(
                        compare(label, reading, "JAX float64", y, expected, limits[reading])
                    )
                y = joined(run_for(program, judged, *split(program, x[:judged])))[late:]
                checks.append(
                    compare(
                        label, "interpreter", "JAX float64", y, expected[: len(y)], LIMIT_DOUBLE
                    )
                )
                if label in ("noise", "no input"):
                    checks.extend(_other_conditions(source, rate, double, label, x, expected, late))
                if any(not c.passed and "single" in c.reading for c in checks if c.signal == label):
                    checks = _with_rounding(checks, program, label, x, expected, late)
                if not traces:
                    traces = {"JAX float64": expected, **found}
        if graph.controls:
            checks.extend(_knobs(program, traced, source, late, length - late, judged))
    return Report(
        name=graph.name,
        sample_rate=graph.sample_rate,
        inputs=graph.input_channels,
        outputs=graph.output_channels,
        nodes=len(graph.nodes),
        seconds=seconds,
        checks=(*checks, *_training_precision(program, traced, length, checks, traces)),
        timings=timings,
        versions=versions() | {"jax": jax.__version__, "flax": flax.__version__},
        traces=traces,
        latency=graph.latency,
        controls=tuple(dict(node.attributes) for node in graph.controls.values()),
    )


def _knobs(
    program: Program, traced: Traced | None, source: str, late: int, length: int, judged: int
) -> Iterator[Check]:
    """The same with knobs turned, and turning."""
    limits = Limits(LIMIT_DOUBLE, LIMIT_SINGLE, partial(_rounded, most=LIMIT_KNOBS))
    with jax.enable_x64(True):
        exact = _turned(traced) if traced else None
        yield from knob_checks(program, source, exact, late, length, judged, limits)


def _turned(traced: Traced) -> Callable[[Mapping[str, float], np.ndarray], np.ndarray]:
    """The model itself in float64, compiled once for all positions of its knobs."""
    parameters = jax.tree.map(lambda p: cast(p, np.float64), traced.parameters)

    @jax.jit
    def compiled(parameters: Any, positions: Any, x: jax.Array) -> jax.Array:
        with set_controls(positions):
            return traced.function(parameters, x)

    return lambda positions, x: np.asarray(compiled(parameters, dict(positions), x))


def _rounded(lost_db: float, most: float = LIMIT_ROUNDING) -> float:
    """The limit for FAUST in single precision where the graph in float32 is off by so much."""
    return min(most, max(LIMIT_SINGLE, lost_db + ROUNDING_ALLOWANCE))


def _other_conditions(
    source: str,
    rate: int,
    double: Library,
    label: str,
    x: np.ndarray,
    expected: np.ndarray,
    late: int,
) -> Iterator[Check]:
    """The same samples in blocks of an odd length, and in a host at another sample rate.

    A traced program has its rate in its coefficients, so its samples do not depend on the host's.
    """
    few = slice(0, late + JUDGED)
    expected = expected[:JUDGED]
    y = double.render(x[few], block_size=ODD_BLOCK)[late:]
    reading = "FAUST double (blocks)"
    yield compare(label, reading, "JAX float64", y, expected[: len(y)], LIMIT_DOUBLE)
    other = 44100 if rate != 44100 else 48000
    with Library(source, precision="single", sample_rate=other) as library:
        y = library.render(x[few], block_size=ODD_BLOCK)[late:]
    reading = f"FAUST single ({other} Hz)"
    yield compare(label, reading, "JAX float64", y, expected[: len(y)], LIMIT_SINGLE)


def _with_rounding(
    checks: list[Check],
    program: Program,
    label: str,
    x: np.ndarray,
    expected: np.ndarray,
    late: int,
) -> list[Check]:
    """The checks, with limits that say what single precision costs on this signal.

    The coefficients are those that ship, rounded; only the arithmetic is in question.
    """
    with jax.enable_x64(False):
        y = jax_reading(program, None, np.float32)(x)[late:]
    rounding = compare(label, "graph in float32", "JAX float64", y, expected, None)
    limit = _rounded(rounding.error_db)
    return [
        *(
            dataclasses.replace(c, limit_db=limit)
            if c.signal == label and c.reading.startswith("FAUST single")
            else c
            for c in checks
        ),
        rounding,
    ]


def jax_reading(program: Program, traced: Traced | None, dtype: Any) -> Reading:
    """The model itself in JAX, or for a program that came without one, the block reading."""
    if traced is not None:
        parameters = jax.tree.map(lambda p: cast(p, dtype), traced.parameters)
        compiled = jax.jit(traced.function)
        return lambda x: np.asarray(compiled(parameters, x.astype(dtype)))

    coefficients = {k: cast(v, dtype) for k, v in program.coefficients.items()}

    @jax.jit
    def whole(*inputs: jax.Array) -> tuple[jax.Array, ...]:
        return blocks.run(program.graph, coefficients, inputs, len(inputs[0]))

    def read(x: np.ndarray) -> np.ndarray:
        parts = [part.astype(dtype) for part in split(program, x)]
        if not parts:
            empty = blocks.run(program.graph, coefficients, (), len(x))
            return joined(empty)
        return joined(whole(*parts))

    return read


def _training_precision(
    program: Program,
    traced: Traced | None,
    length: int,
    checks: list[Check],
    traces: dict[str, np.ndarray],
) -> Iterator[Check]:
    """How far JAX in float32, in which models train, is from float64: reported, not limited."""
    with jax.enable_x64(False):
        read = jax_reading(program, traced, np.float32)
        channels = program.graph.input_channels
        label, x = next(_test_signals(channels, length, program.graph.sample_rate))
        y = read(x)[: len(traces["JAX float64"])]
        yield compare(label, "JAX float32", "JAX float64", y, traces["JAX float64"], None)


def _test_signals(
    channels: int, length: int, sample_rate: float
) -> Iterator[tuple[str, np.ndarray]]:
    def only(channel: int, x: np.ndarray) -> np.ndarray:
        full = np.zeros((length, channels))
        full[:, channel : channel + 1] = x
        return full

    if channels == 0:
        yield "no input", np.zeros((length, 0))
        return
    for channel in range(channels):
        yield f"impulse into {channel}", only(channel, signals.impulse(length))
    every = range(channels)
    yield "noise", np.hstack([signals.noise(length, c) for c in every])
    yield "sweep", np.hstack([signals.sweep(length, sample_rate)] * channels)
    yield "noise, silence", np.hstack([signals.burst(length, c) for c in every])


def _check_arity(program: Program, library: Library) -> None:
    found = library.inputs, library.outputs
    wanted = program.graph.input_channels, program.graph.output_channels
    if found != wanted:
        raise AdacError(
            f"The emitted FAUST has {found[0]} inputs and {found[1]} outputs, the model "
            f"{wanted[0]} and {wanted[1]}; please report this."
        )
